//! Do source and target of a mapping agree? By content, whatever the sync says of itself.
use crate::db::{
    digest::{self, Algorithm, Method},
    ident::same,
    open::Mode,
    schema,
};
use crate::error::{Kind, Result};
use crate::hub::{Hub, Target};
use crate::kit::Interrupt;
use rusqlite::Connection;

/// One row of `sync_mapping`.
pub struct Mapping {
    pub id: i64,
    pub source: String,
    pub tables: String,
    pub target: String,
}

/// The enabled rows of `sync_mapping`.
pub fn mappings(db: &Connection, hub: &Hub) -> Result<Vec<Mapping>> {
    let mut q = db.prepare(&hub.sql("SELECT id, source_db, tables, target_db FROM hub.sync_mapping WHERE enabled ORDER BY id"))?;
    let all = q.query_map([], |r| Ok(Mapping { id: r.get(0)?, source: r.get(1)?, tables: r.get(2)?, target: r.get(3)? }))?;
    Ok(all.collect::<rusqlite::Result<_>>()?)
}

pub enum Compared {
    Equal,
    /// Every row of the source may be there, and others.
    Larger,
    Different,
}

/// Every table of a mapping, source against target, by checksums.
pub fn compare(db: &Connection, m: &Mapping) -> Result<Vec<(String, Compared)>> {
    let (Ok(source), Ok(target)) = (Target::resolve(db, Some(&m.source)), Target::resolve(db, Some(&m.target))) else { return Ok(vec![]) };
    let (source, target) = (source.session(db, Mode::Read)?, target.session(db, Mode::Read)?);
    let mut interrupt = Interrupt::of(db)?;
    let listed: Vec<String> = m.tables.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect();
    let tables = if listed.iter().any(|t| t == "*") { schema::stored_tables(&source.db, &source.schema)? } else { listed };
    let mut out = vec![];
    for table in tables {
        let (Some(a), Some(b)) = (schema::find_table(&source.db, &source.schema, &table)?, schema::find_table(&target.db, &target.schema, &table)?) else {
            out.push((table, Compared::Different));
            continue;
        };
        let same_columns = a.columns.len() == b.columns.len() && a.columns.iter().zip(&b.columns).all(|(x, y)| same(&x.name, &y.name));
        let one = digest::table(&source.db, &source.schema, &table, Algorithm::Fast, Method::Auto, &mut interrupt)?;
        let other = digest::table(&target.db, &target.schema, &table, Algorithm::Fast, Method::Auto, &mut interrupt)?;
        let verdict = match (one.hex == other.hex, one.rows.cmp(&other.rows)) {
            (true, _) => Compared::Equal,
            (false, std::cmp::Ordering::Less) => Compared::Larger,
            // Columns in another order give another checksum for the same rows.
            (false, std::cmp::Ordering::Equal) if !same_columns => Compared::Equal,
            _ => Compared::Different,
        };
        out.push((table, verdict));
    }
    Ok(out)
}

/// Percent of the mapped tables of a database that agree, and how many do not; None where no mapping names it.
pub fn score(db: &Connection, hub: &Hub, name: &str) -> Result<Option<(f64, f64)>> {
    let (mut all, mut wrong) = (0, 0);
    for m in mappings(db, hub)?.iter().filter(|m| m.source == name || m.target == name) {
        match compare(db, m) {
            Ok(tables) => {
                all += tables.len();
                wrong += tables.iter().filter(|(_, c)| matches!(c, Compared::Different)).count();
            }
            Err(e) if e.kind == Kind::Interrupted => return Err(e),
            // A side that cannot be read agrees with nothing.
            Err(_) => (all, wrong) = (all + 1, wrong + 1),
        }
    }
    Ok((all > 0).then(|| ((all - wrong) as f64 / all as f64 * 100.0, wrong as f64)))
}
