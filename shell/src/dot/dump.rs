//! `.dump`: a database as SQL that makes it again, value by value.
use crate::{
    error::Result,
    render::{literal, name},
    session::{Flow, Session},
};
use rusqlite::{Connection, types::ValueRef};
use std::io::Write;

struct Object {
    kind: String,
    name: String,
    sql: String,
}

pub fn dump(session: &mut Session, args: &[&str]) -> Result<Flow> {
    let pattern = args.first().copied().unwrap_or("%");
    let opened = session.opened.clone();
    let db = &opened.borrow().db;
    let _running = crate::run::Running::start();
    // One instant for all tables.
    let held = db.is_autocommit();
    if held {
        db.execute_batch("BEGIN")?;
    }
    let done = write(db, pattern, &mut session.out);
    if held {
        db.execute_batch("ROLLBACK")?;
    }
    done?;
    Ok(Flow::Go)
}

fn write(db: &Connection, pattern: &str, out: &mut dyn Write) -> Result<()> {
    let sql = "SELECT type, name, sql FROM main.sqlite_schema WHERE sql IS NOT NULL AND tbl_name LIKE ?1 ORDER BY type <> 'table', rowid";
    let mut q = db.prepare(sql)?;
    let read = |r: &rusqlite::Row<'_>| Ok(Object { kind: r.get(0)?, name: r.get(1)?, sql: r.get(2)? });
    let all: Vec<Object> = q.query_map([pattern], read)?.collect::<rusqlite::Result<_>>()?;
    writeln!(out, "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;")?;
    let mut schema_open = false;
    for o in &all {
        if o.name == "sqlite_sequence" {
            writeln!(out, "DELETE FROM sqlite_sequence;")?;
        } else if o.name.starts_with("sqlite_stat") {
            writeln!(out, "ANALYZE sqlite_schema;")?;
        } else if o.sql.get(..14).is_some_and(|s| s.eq_ignore_ascii_case("CREATE VIRTUAL")) {
            // Its rows are in the tables behind it, which follow as they are: the table itself only enters the schema.
            if !schema_open {
                writeln!(out, "PRAGMA writable_schema=ON;")?;
                schema_open = true;
            }
            let (n, s) = (literal(ValueRef::Text(o.name.as_bytes())), literal(ValueRef::Text(o.sql.as_bytes())));
            writeln!(out, "INSERT INTO sqlite_schema(type,name,tbl_name,rootpage,sql) VALUES('table',{n},{n},0,{s});")?;
            continue;
        } else {
            writeln!(out, "{};", o.sql)?;
        }
        if o.kind == "table" {
            rows(db, &o.name, out)?;
        }
    }
    if schema_open {
        writeln!(out, "PRAGMA writable_schema=OFF;")?;
    }
    writeln!(out, "COMMIT;")?;
    Ok(())
}

fn rows(db: &Connection, table: &str, out: &mut dyn Write) -> Result<()> {
    let columns: Vec<(String, bool)> = db
        .prepare("SELECT name, hidden = 0 FROM pragma_table_xinfo(?1, 'main')")?
        .query_map([table], |r| Ok((r.get(0)?, r.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    // Generated columns make themselves.
    let stored: Vec<String> = columns.iter().filter(|(_, stored)| *stored).map(|(n, _)| name(n)).collect();
    let into = if stored.len() == columns.len() { name(table) } else { format!("{}({})", name(table), stored.join(",")) };
    let mut q = db.prepare(&format!("SELECT {} FROM main.{}", stored.join(","), name(table)))?;
    let n = q.column_count();
    let mut rows = q.query([])?;
    while let Some(r) = rows.next()? {
        let values = (0..n).map(|i| r.get_ref(i).map(literal)).collect::<rusqlite::Result<Vec<_>>>()?;
        writeln!(out, "INSERT INTO {into} VALUES({});", values.join(","))?;
    }
    Ok(())
}
