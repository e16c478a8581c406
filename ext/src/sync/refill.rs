//! An empty table is filled, not compared: by SQLite's own transfer of b-trees where both tables are made alike, else row by row.
use super::{
    options::{Choice, Method},
    shape::Shape,
    side::{Destination, Reader, Source},
};
use crate::{
    db::{
        digest,
        ident::{list, literal, qualified},
        schema::{self, Table, table_body},
    },
    error::Result,
    kit::Stmt,
};
use rusqlite::Connection;

const SOURCE: &str = "dbint_source";

/// The source is attached to the target's connection, or why not.
pub type Attached = std::result::Result<(), String>;

/// Before the transaction: a database cannot be attached inside of one everywhere.
pub fn prepare(source: &Source<'_>, target: &Destination<'_>, from: &Table, choice: &Choice) -> Result<Attached> {
    if choice.dry_run || !matches!(choice.method, Method::Auto | Method::Refill) {
        return Ok(Err("not asked for".into()));
    }
    let (Reader::Own(_), Some(file), Ok(_)) = (&source.reader, &source.file, target.readable_file()) else {
        return Ok(Err("transfer: one side is read or written by the caller's own connection".into()));
    };
    // Rows in the target already: there will be a comparison, and no transfer.
    if let Ok(Some(t)) = schema::find_table(target.db(), &target.schema, &from.name)
        && target.db().query_row(&format!("SELECT EXISTS(SELECT 1 FROM {})", qualified(&target.schema, &t.name)), [], |r| r.get::<_, bool>(0)).unwrap_or(true)
    {
        return Ok(Err("not empty".into()));
    }
    let sql = format!("ATTACH {} AS {SOURCE}", literal(&file.to_string_lossy()));
    Ok(target.db().execute_batch(&sql).map_err(|e| format!("transfer: {e}")))
}

pub struct Filled {
    pub rows: u64,
    /// Content of the whole table.
    pub digest: String,
    pub passed_over: Vec<String>,
}

pub fn run(
    attached: &Attached,
    source: &Source<'_>,
    target: &Connection,
    target_schema: &str,
    shape: &Shape,
    choice: &Choice,
    tick: &mut dyn FnMut() -> Result<()>,
) -> Result<Filled> {
    let alike = shape.condition.is_none()
        && shape.target_only.is_empty()
        && shape.source_only.is_empty()
        && table_body(&shape.source.sql) == table_body(&shape.target.sql)
        && choice.given.columns.is_none();
    let into = qualified(target_schema, &shape.target.name);
    let why = match attached {
        Ok(()) if alike => None,
        Ok(()) => Some("transfer: the tables are not made alike, or only some rows or columns are asked for".to_owned()),
        Err(why) => Some(why.clone()),
    };
    let rows = if why.is_none() {
        (tick)()?;
        target.execute(&format!("INSERT INTO {into} SELECT * FROM {}", qualified(SOURCE, &shape.source.name)), [])? as u64
    } else {
        by_rows(source, target, &into, shape, tick)?
    };
    // The snapshot holds what was transferred, unless somebody committed in between.
    let digest = match &source.reader {
        Reader::Own(snapshot) if why.is_none() && snapshot.again().is_some() => digest::of_snapshot(snapshot, &shape.source.name, tick)?,
        _ => digest::of_rows(target, target_schema, &shape.target.name, tick)?,
    };
    Ok(Filled { rows, digest: digest.hex, passed_over: why.into_iter().collect() })
}

fn by_rows(source: &Source<'_>, target: &Connection, into: &str, shape: &Shape, tick: &mut dyn FnMut() -> Result<()>) -> Result<u64> {
    let mut rows = 0;
    let mut q = Stmt::prepare(source.db(), &format!("{}{}", shape.select_source(&source.schema), shape.filter()))?;
    let marks = vec!["?"; shape.columns.len()].join(", ");
    let columns = list(shape.columns.iter().map(String::as_str));
    let mut add = Stmt::prepare(target, &format!("INSERT OR ABORT INTO {into}({columns}) VALUES({marks})"))?;
    let skip = usize::from(shape.rowids.is_some());
    while q.step()? {
        (tick)()?;
        for i in 0..shape.columns.len() {
            add.bind_column(i + 1, &q, i + skip)?;
        }
        add.run()?;
        rows += 1;
    }
    Ok(rows)
}
