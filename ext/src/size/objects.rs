//! Bytes of each table and index: counted from the pages, else told by dbstat, else estimated, and always said which.
use crate::db::{
    ident::{qualified, quote},
    pages::{self, Snapshot},
    schema,
};
use crate::error::{Kind, Result};
use crate::hub::{Session, Target, target::Place};
use crate::kit::Interrupt;
use rusqlite::{Connection, types::ValueRef};
use std::collections::HashMap;

/// One b-tree of a database, or the pages that belong to none.
pub struct Object {
    /// None for free pages and for those of SQLite's own bookkeeping.
    pub name: Option<String>,
    /// The table an index belongs to; a table's own name.
    pub table: Option<String>,
    pub kind: &'static str,
    pub pages: u64,
    pub bytes: u64,
    /// Bytes of the records, and bytes that hold nothing; None in an estimate.
    pub payload: Option<u64>,
    pub unused: Option<u64>,
    /// Rows of a table, entries of an index.
    pub entries: Option<u64>,
}

pub struct Objects {
    /// `pages` and `dbstat` are exact, `estimate` is not.
    pub method: &'static str,
    /// Why it is no better than that.
    pub note: Option<String>,
    pub list: Vec<Object>,
}

/// Every b-tree by name, then the free pages, then what is left: the sum of all is the page count of the database.
pub fn of(host: &Connection, target: &Target) -> Result<Objects> {
    let mut interrupt = Interrupt::of(host)?;
    let (snapshot, why) = match &target.place {
        Place::Schema(schema) => match Snapshot::beside(host, schema) {
            Ok(snapshot) => (Some(snapshot), None),
            Err(why) => (None, Some(why.to_string())),
        },
        Place::File(path) => (Some(Snapshot::begin(path)?), None),
        Place::Server(_) => (None, None),
    };
    let why = match &snapshot {
        None => why,
        Some(snapshot) => match pages::open(snapshot) {
            Err(why) => Some(why.to_string()),
            Ok(reader) => {
                let found = pages::spaces(&reader, snapshot.db(), || interrupt.tick()).map(|list| (reader.still_valid(), list));
                match found {
                    Ok((true, list)) => return counted(snapshot.db(), reader.page_size as u64, list),
                    Ok((false, _)) => Some("the WAL is written too fast".to_owned()),
                    Err(e) if e.kind == Kind::Corrupt => Some(e.message),
                    Err(e) => return Err(e),
                }
            }
        },
    };
    // The very snapshot again, or the connection of the caller, who may have a transaction open.
    match snapshot {
        Some(snapshot) => by_sql(snapshot.db(), "main", why, &mut interrupt),
        None => {
            let session: Session<'_> = target.session(host, crate::hub::target::Mode::Read)?;
            by_sql(&session.db, &session.schema, why, &mut interrupt)
        }
    }
}

fn counted(db: &Connection, page_size: u64, spaces: Vec<pages::Space>) -> Result<Objects> {
    let list = spaces.into_iter().map(|s| Object {
        kind: if s.name == s.table { "table" } else { "index" },
        pages: s.pages(),
        bytes: s.pages() * page_size,
        payload: Some(s.payload),
        unused: Some(s.unused),
        entries: Some(s.entries),
        name: Some(s.name),
        table: Some(s.table),
    });
    finished(db, "main", "pages", None, page_size, list.collect())
}

fn by_sql(db: &Connection, schema: &str, why: Option<String>, interrupt: &mut Interrupt<'_>) -> Result<Objects> {
    let page_size = number(db, schema, "page_size")?;
    match by_dbstat(db, schema) {
        Ok(list) => finished(db, schema, "dbstat", why, page_size, list),
        // This SQLite was built without it.
        Err(e) if e.kind == Kind::Sqlite => {
            let note = format!("{}; this SQLite has no dbstat: figures are estimated from the lengths of the values", why.unwrap_or_default());
            let list = estimated(db, schema, page_size, interrupt)?;
            finished(db, schema, "estimate", Some(note.trim_start_matches("; ").to_owned()), page_size, list)
        }
        Err(e) => Err(e),
    }
}

fn by_dbstat(db: &Connection, schema: &str) -> Result<Vec<Object>> {
    let mut tables = HashMap::new();
    let mut q = db.prepare(&format!("SELECT name, tbl_name FROM {}.sqlite_schema WHERE rootpage > 0", quote(schema)))?;
    let mut rows = q.query([])?;
    while let Some(r) = rows.next()? {
        tables.insert(text(r.get_ref(0)?), text(r.get_ref(1)?));
    }
    let mut q = db.prepare("SELECT name, sum(pgsize), count(*), sum(payload), sum(unused) FROM dbstat WHERE schema = ? GROUP BY name")?;
    let mut rows = q.query([schema])?;
    let mut list = vec![];
    while let Some(r) = rows.next()? {
        let name = text(r.get_ref(0)?);
        let table = tables.get(&name).cloned().unwrap_or_else(|| name.clone());
        let n = |i| r.get::<_, i64>(i).map(|n| n.max(0) as u64);
        list.push(Object {
            kind: if name == table { "table" } else { "index" },
            name: Some(name),
            table: Some(table),
            bytes: n(1)?,
            pages: n(2)?,
            payload: Some(n(3)?),
            unused: Some(n(4)?),
            entries: None,
        });
    }
    Ok(list)
}

/// Bytes SQLite adds to a record and its cell, on average: header, rowid, pointer.
const RECORD: f64 = 6.0;

/// Shares the pages out in proportion to the bytes of the values, every b-tree one at least.
fn estimated(db: &Connection, schema: &str, page_size: u64, interrupt: &mut Interrupt<'_>) -> Result<Vec<Object>> {
    let mut weights = vec![("sqlite_schema".to_owned(), "sqlite_schema".to_owned(), 1.0, None)];
    for name in schema::stored_tables(db, schema)? {
        let table = schema::table(db, schema, &name)?;
        let columns: Vec<&str> = table.writable().map(|c| c.name.as_str()).collect();
        let lengths = columns.iter().map(|c| format!(", sum(coalesce(length(CAST({} AS BLOB)), 0) + 1)", quote(c))).collect::<String>();
        let (n, bytes): (u64, HashMap<&str, f64>) = db.query_row(&format!("SELECT count(*){lengths} FROM {}", qualified(schema, &name)), [], |r| {
            let sizes = columns.iter().enumerate().map(|(i, c)| Ok((*c, r.get::<_, Option<f64>>(i + 1)?.unwrap_or(0.0))));
            Ok((r.get::<_, i64>(0)?.max(0) as u64, sizes.collect::<rusqlite::Result<_>>()?))
        })?;
        interrupt.check()?;
        weights.push((name.clone(), name.clone(), bytes.values().sum::<f64>() + RECORD * n as f64, Some(n)));
        for index in schema::indexes(db, schema, &name)? {
            // The primary key of a WITHOUT ROWID table is the table.
            if table.without_rowid && index.origin == "pk" {
                continue;
            }
            let keys: f64 = index.columns.iter().map(|c| c.as_ref().and_then(|c| bytes.get(c.as_str()).copied()).unwrap_or(8.0 * n as f64)).sum();
            weights.push((index.name, name.clone(), keys + RECORD * n as f64, Some(n)));
        }
    }
    let used = number(db, schema, "page_count")?.saturating_sub(number(db, schema, "freelist_count")?);
    let all: f64 = weights.iter().map(|w| w.2).sum();
    let list = weights.into_iter().map(|(name, table, weight, entries)| {
        let pages = ((weight / all.max(1.0) * used as f64).round() as u64).max(1);
        Object {
            kind: if name == table { "table" } else { "index" },
            name: Some(name),
            table: Some(table),
            pages,
            bytes: pages * page_size,
            payload: None,
            unused: None,
            entries,
        }
    });
    Ok(list.collect())
}

fn finished(db: &Connection, schema: &str, method: &'static str, note: Option<String>, page_size: u64, mut list: Vec<Object>) -> Result<Objects> {
    list.sort_by(|a, b| (&a.table, a.kind != "table", &a.name).cmp(&(&b.table, b.kind != "table", &b.name)));
    let (all, free) = (number(db, schema, "page_count")?, number(db, schema, "freelist_count")?);
    let other = all.saturating_sub(free + list.iter().map(|o| o.pages).sum::<u64>());
    for (kind, pages) in [("free", free), ("other", other)] {
        if pages > 0 {
            list.push(Object { name: None, table: None, kind, pages, bytes: pages * page_size, payload: None, unused: None, entries: None });
        }
    }
    Ok(Objects { method, note, list })
}

fn number(db: &Connection, schema: &str, pragma: &str) -> Result<u64> {
    Ok(db.query_row(&format!("PRAGMA {}.{pragma}", quote(schema)), [], |r| r.get::<_, i64>(0))?.max(0) as u64)
}

/// A damaged schema may hold anything in any column.
fn text(v: ValueRef<'_>) -> String {
    match v {
        ValueRef::Text(t) => String::from_utf8_lossy(t).into_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_methods_agree() {
        let path = std::env::temp_dir().join(format!("dbint-objects-{}.db", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let db = Connection::open(&path).unwrap();
        db.execute_batch(
            "CREATE TABLE t(a TEXT, b); CREATE INDEX i ON t(a); CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID; CREATE TABLE gone(x);
             WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO t SELECT 'name ' || i, zeroblob(i % 300) FROM n;
             INSERT INTO t VALUES('long', zeroblob(100000)); INSERT INTO w SELECT a, b FROM t WHERE rowid < 1000; INSERT INTO gone SELECT b FROM t; DROP TABLE gone",
        )
        .unwrap();
        let target = Target::resolve(&db, None).unwrap();
        let exact = of(&db, &target).unwrap();
        assert_eq!((exact.method, exact.note.as_deref()), ("pages", None));
        let mut interrupt = Interrupt::of(&db).unwrap();
        let stat = by_sql(&db, "main", None, &mut interrupt).unwrap();
        assert_eq!(stat.method, "dbstat");
        let figures = |o: &Objects| o.list.iter().map(|o| (o.name.clone(), o.table.clone(), o.kind, o.pages, o.bytes, o.unused)).collect::<Vec<_>>();
        assert_eq!(figures(&exact), figures(&stat));
        assert_eq!(exact.list.iter().map(|o| o.bytes).sum::<u64>(), std::fs::metadata(&path).unwrap().len());
        let guess = estimated(&db, "main", 4096, &mut interrupt).unwrap();
        let bytes = |list: &[Object], name: &str| list.iter().find(|o| o.name.as_deref() == Some(name)).unwrap().bytes as f64;
        for name in ["t", "i", "w"] {
            let ratio = bytes(&guess, name) / bytes(&exact.list, name);
            assert!((0.6..1.6).contains(&ratio), "{name}: {ratio}");
        }
        // An open transaction is counted, too: by the connection that sees it.
        db.execute_batch("BEGIN; INSERT INTO t VALUES('more', zeroblob(1000000))").unwrap();
        let open = of(&db, &target).unwrap();
        assert_eq!(open.method, "dbstat");
        assert!(bytes(&open.list, "t") > bytes(&exact.list, "t") + 900_000.0);
        drop(interrupt);
        db.execute_batch("ROLLBACK").unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
