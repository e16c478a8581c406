//! Foreign keys: rows without a parent. Where an index of the child holds the key, it is read instead of the whole table.
use super::{
    check::{Check, Kind, Severity},
    examine::Object,
};
use crate::db::{
    affinity::Affinity,
    foreign_keys::{self, ForeignKey},
    ident::{qualified, quote, same},
    schema,
};
use crate::error::{Error, Kind as ErrorKind, Result};
use rusqlite::Connection;

const FOREIGN: Kind = Kind { id: "foreign_key_check", name: "Foreign keys", severity: Severity::Error, weight: 0.0, evidence: "PRAGMA {s}.foreign_key_check" };
const REMEDY: &str = "SELECT * FROM integrity_report(): it lists each orphan";

/// Below this many pages SQLite's own check is the quicker one.
const SMALL: i64 = 250;

/// None where no table refers to another.
pub fn examine(db: &Connection, schema: &str, tables: &[&Object]) -> Result<Option<Check>> {
    let refer: Vec<&Object> = tables.iter().filter(|o| o.sql.to_ascii_uppercase().contains("REFERENCES")).copied().collect();
    if refer.is_empty() {
        return Ok(None);
    }
    let pages: i64 = db.query_row(&format!("PRAGMA {}.page_count", quote(schema)), [], |r| r.get(0))?;
    let mut orphans = Orphans::default();
    let checked = if pages < SMALL {
        orphans.add(db, &format!("PRAGMA {}.foreign_key_check", quote(schema)))
    } else {
        refer.iter().try_for_each(|t| {
            if is_whole(db, schema, &t.name)? { Ok(()) } else { orphans.add(db, &format!("PRAGMA {}.foreign_key_check({})", quote(schema), quote(&t.name))) }
        })
    };
    match checked {
        // A key whose declaration cannot work ("foreign key mismatch") is a finding, too.
        Err(e) if e.kind == ErrorKind::Sqlite => Ok(Some(FOREIGN.failed(schema, 0.0, e.message, REMEDY))),
        Err(e) => Err(e),
        Ok(()) if orphans.n == 0 => Ok(Some(FOREIGN.passed(schema, "every reference has its row"))),
        Ok(()) => Ok(Some(FOREIGN.failed(schema, 0.0, format!("{} rows without a parent, the first: {}", orphans.n, orphans.first), REMEDY))),
    }
}

#[derive(Default)]
struct Orphans {
    n: u64,
    first: String,
}

impl Orphans {
    fn add(&mut self, db: &Connection, pragma: &str) -> Result<()> {
        let mut q = db.prepare(pragma)?;
        let mut rows = q.query([])?;
        while let Some(r) = rows.next().map_err(Error::from)? {
            if self.n == 0 {
                let key = r.get_ref(1)?.as_i64().map_or(String::new(), |k| format!(" row {k}"));
                self.first = format!("{}{key} has no parent in {}", r.get_ref(0)?.as_str().unwrap_or("?"), r.get_ref(2)?.as_str().unwrap_or("?"));
            }
            self.n += 1;
        }
        Ok(())
    }
}

/// Whether every key of the table has its parent, as far as indexes alone can prove it.
fn is_whole(db: &Connection, schema: &str, table: &str) -> Result<bool> {
    let Some(child) = schema::find_table(db, schema, table)? else { return Ok(false) };
    let indexes = schema::indexes(db, schema, table)?;
    for key in foreign_keys::of(db, schema, table)? {
        let Some(sql) = proof(db, schema, &child, &indexes, &key)? else { return Ok(false) };
        if db.query_row(&sql, [], |r| r.get::<_, bool>(0))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Asks for one value without a parent: a key of one column that leads an index, compared as the constraint compares.
fn proof(db: &Connection, schema: &str, child: &schema::Table, indexes: &[schema::Index], key: &ForeignKey) -> Result<Option<String>> {
    let [column] = key.columns.as_slice() else { return Ok(None) };
    let leads = |i: &schema::Index| !i.partial && i.columns.first().is_some_and(|c| c.as_deref().is_some_and(|c| same(c, column)));
    let (true, Some(from)) = (indexes.iter().any(leads), child.column(column)) else { return Ok(None) };
    let Some(parent) = schema::find_table(db, schema, &key.parent)? else { return Ok(None) };
    if key.broken(db, Some(&parent))?.is_some() {
        return Ok(None);
    }
    let targets = key.targets(&parent);
    let [target] = targets.as_slice() else { return Ok(None) };
    // The constraint gives the child's value the parent's affinity; a comparison does so only where both are of one kind.
    if parent.column(target).is_none_or(|to| Affinity::of(&to.ty) != Affinity::of(&from.ty)) {
        return Ok(None);
    }
    let (column, target) = (quote(column), quote(target));
    Ok(Some(format!(
        "SELECT EXISTS(SELECT 1 FROM (SELECT DISTINCT {column} AS v FROM {} WHERE {column} IS NOT NULL) AS c \
         WHERE NOT EXISTS(SELECT 1 FROM {} AS p WHERE p.{target} = c.v))",
        qualified(schema, &child.name),
        qualified(schema, &parent.name)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_prove_what_the_pragma_says() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(
            "CREATE TABLE p(id INTEGER PRIMARY KEY, k TEXT UNIQUE COLLATE NOCASE, n TEXT UNIQUE);
             CREATE TABLE a(x INTEGER REFERENCES p); CREATE INDEX a_x ON a(x);
             CREATE TABLE b(x TEXT REFERENCES p(k)); CREATE INDEX b_x ON b(x);
             CREATE TABLE c(x INTEGER REFERENCES p(n)); CREATE INDEX c_x ON c(x);
             CREATE TABLE d(x INTEGER REFERENCES p);
             INSERT INTO p VALUES(1, 'One', '01'), (2, 'Two', '2'); INSERT INTO a VALUES(1), (NULL), (2), (2); INSERT INTO b VALUES('ONE'), ('two')",
        )
        .unwrap();
        let whole = |t: &str| is_whole(&db, "main", t).unwrap();
        let pragma = |t: &str| !db.prepare(&format!("PRAGMA foreign_key_check({t})")).unwrap().exists([]).unwrap();
        assert_eq!((whole("a"), pragma("a"), whole("b"), pragma("b")), (true, true, true, true));
        // Other affinities, and no index: SQLite is asked.
        assert_eq!((whole("c"), whole("d")), (false, false));
        db.execute_batch("PRAGMA foreign_keys=OFF; INSERT INTO a VALUES(77); INSERT INTO b VALUES('three')").unwrap();
        assert_eq!((whole("a"), pragma("a"), whole("b"), pragma("b")), (false, false, false, false));
    }
}
