//! Index usage: foreign keys without an index, indexes no query can need, statistics that are missing or old.
use super::{
    check::{Check, Kind, Severity},
    examine::{Level, Object},
};
use crate::db::{
    foreign_keys,
    ident::{qualified, quote, same},
    schema::{self, Index},
};
use crate::error::Result;
use rusqlite::Connection;

const USAGE: Kind = Kind {
    id: "index_usage",
    name: "Index usage",
    severity: Severity::Warning,
    weight: 10.0,
    evidence: "SELECT m.name, l.name, l.\"unique\", l.origin FROM {s}.sqlite_schema AS m, pragma_index_list(m.name) AS l WHERE m.type = 'table'",
};
const STATISTICS: Kind =
    Kind { id: "statistics", name: "Planner statistics", severity: Severity::Warning, weight: 5.0, evidence: "SELECT tbl, idx, stat FROM {s}.sqlite_stat1" };

/// Without statistics the planner guesses; below this many pages a wrong guess costs nothing.
const SMALL: i64 = 250;

pub fn examine(db: &Connection, schema: &str, objects: &[Object], level: Level) -> Result<Vec<Check>> {
    let tables: Vec<&Object> = objects.iter().filter(|o| o.kind == "table" && o.root > 0 && !o.name.starts_with("sqlite_")).collect();
    let (mut missing, mut needless) = (vec![], vec![]);
    for table in &tables {
        let made: Vec<&Object> = objects.iter().filter(|o| o.kind == "index" && same(&o.table, &table.name)).collect();
        let refers = table.sql.to_ascii_uppercase().contains("REFERENCES");
        if !refers && made.len() < 2 {
            continue;
        }
        let indexes = schema::indexes(db, schema, &table.name)?;
        if refers {
            missing.extend(without_index(db, schema, &table.name, &indexes)?);
        }
        needless.extend(redundant(&indexes));
    }
    let usage = match (missing.as_slice(), needless.as_slice()) {
        ([], []) => USAGE.passed(schema, format!("{} indexes, none missing or redundant", objects.iter().filter(|o| o.kind == "index").count())),
        ([], [(index, by), ..]) => {
            let detail = format!("{} redundant indexes; {index} is covered by {by}", needless.len());
            USAGE.failed(schema, 0.3, detail, format!("DROP INDEX {}", qualified(schema, index)))
        }
        ([(shown, remedy), ..], _) => {
            let detail = format!("{} foreign keys without an index, {} redundant indexes; first: {shown}", missing.len(), needless.len());
            USAGE.failed(schema, 1.0, detail, remedy.clone())
        }
    };
    Ok(vec![usage, statistics(db, schema, objects, &tables, level)?])
}

/// Foreign keys that make a delete of a parent scan the child, with the index that would help.
fn without_index(db: &Connection, schema: &str, table: &str, indexes: &[Index]) -> Result<Vec<(String, String)>> {
    let mut found = vec![];
    let keys = foreign_keys::of(db, schema, table)?;
    if keys.is_empty() {
        return Ok(found);
    }
    let mut key: Vec<schema::Column> = schema::columns(db, schema, table)?.into_iter().filter(|c| c.pk > 0).collect();
    key.sort_by_key(|c| c.pk);
    let key: Vec<&str> = key.iter().map(|c| c.name.as_str()).collect();
    for fk in keys {
        let leads = |columns: &[&str]| {
            let n = fk.columns.len();
            columns.len() >= n && columns.iter().take(n).all(|c| fk.columns.iter().any(|f| same(f, c)))
        };
        let served = leads(&key) || indexes.iter().filter(|i| !i.partial).any(|i| leads(&i.columns.iter().map_while(|c| c.as_deref()).collect::<Vec<_>>()));
        if !served {
            let columns = crate::db::ident::list(fk.columns.iter().map(String::as_str));
            let name = format!("idx_{table}_{}", fk.columns.join("_"));
            found.push((fk.shown(table), format!("CREATE INDEX {} ON {}({columns})", qualified(schema, &name), quote(table))));
        }
    }
    Ok(found)
}

/// Plain indexes whose columns begin another index of the table: (name, the one that serves).
fn redundant(indexes: &[Index]) -> Vec<(String, String)> {
    let mut found = vec![];
    for (i, a) in indexes.iter().enumerate() {
        if a.origin != "c" || a.partial || a.unique || a.columns.iter().any(Option::is_none) {
            continue;
        }
        let covers = |(j, b): &(usize, &Index)| {
            *j != i
                && !b.partial
                && b.columns.len() >= a.columns.len()
                && a.columns.iter().zip(&b.columns).all(|(x, y)| matches!((x, y), (Some(x), Some(y)) if same(x, y)))
                && a.collations.iter().zip(&b.collations).all(|(x, y)| same(x, y))
                // Of two equal ones the first stays.
                && (b.columns.len() > a.columns.len() || b.unique || *j < i)
        };
        if let Some((_, b)) = indexes.iter().enumerate().find(covers) {
            found.push((a.name.clone(), b.name.clone()));
        }
    }
    found
}

fn statistics(db: &Connection, schema: &str, objects: &[Object], tables: &[&Object], level: Level) -> Result<Check> {
    let indexed = tables.iter().any(|t| objects.iter().any(|o| o.kind == "index" && same(&o.table, &t.name)));
    let there = objects.iter().any(|o| o.name == "sqlite_stat1");
    let pages: i64 = db.query_row(&format!("PRAGMA {}.page_count", quote(schema)), [], |r| r.get(0))?;
    if !indexed || (!there && pages < SMALL) {
        return Ok(STATISTICS.passed(schema, "none needed: no index, or a small database"));
    }
    if !there {
        return Ok(STATISTICS.failed(schema, 1.0, "never analysed: the planner guesses", format!("ANALYZE {}", quote(schema))));
    }
    let mut old = vec![];
    if level == Level::Deep {
        let mut q = db.prepare(&format!("SELECT tbl, max(CAST(stat AS INTEGER)) FROM {}.sqlite_stat1 GROUP BY tbl", quote(schema)))?;
        let stats: Vec<(String, i64)> = q.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
        for (table, then) in stats {
            if !tables.iter().any(|t| same(&t.name, &table)) {
                continue;
            }
            let now: i64 = db.query_row(&format!("SELECT count(*) FROM {}", qualified(schema, &table)), [], |r| r.get(0))?;
            // Half or twice as many rows: plans may differ.
            if now > 2 * then.max(50) || then > 2 * now.max(50) {
                old.push(format!("{table}: {then} rows then, {now} now"));
            }
        }
    }
    Ok(match old.first() {
        None => STATISTICS.passed(schema, "analysed"),
        Some(first) => {
            STATISTICS.failed(schema, 0.6, format!("{} tables changed much since ANALYZE; {first}", old.len()), format!("ANALYZE {}", quote(schema)))
        }
    })
}
