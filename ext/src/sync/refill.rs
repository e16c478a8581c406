//! An empty table is filled, not compared: by SQLite's own transfer of b-trees where both tables are made alike, else row by row.
use super::{
    options::Choice,
    shape::Shape,
    side::{Destination, Reader, Source},
};
use crate::{
    db::{
        digest::{self, Digest},
        ident::{list, literal, qualified},
        schema::table_body,
    },
    error::Result,
    kit::{Stmt, beside, two_threads_help, watched},
};
use rusqlite::Connection;

const SOURCE: &str = "dbint_source";

/// Attaches the source to the target's connection, or says why not. Inside the transaction: begun afterwards, it would lock
/// the source for writing, too.
fn attach(source: &Source<'_>, target: &Destination<'_>) -> std::result::Result<(), String> {
    let (Reader::Own(_), Some(file), true) = (&source.reader, &source.file, target.is_own()) else {
        return Err("transfer: one side is read or written by the caller's own connection".into());
    };
    let sql = format!("ATTACH {} AS {SOURCE}", literal(&file.to_string_lossy()));
    target.db().execute_batch(&sql).map_err(|e| format!("transfer: {e}"))
}

pub struct Filled {
    pub rows: u64,
    /// Content of the whole table.
    pub digest: String,
    pub passed_over: Vec<String>,
}

pub fn run(source: &Source<'_>, to: &Destination<'_>, shape: &Shape, choice: &Choice, tick: &mut dyn FnMut() -> Result<()>) -> Result<Filled> {
    let alike = shape.condition.is_none()
        && shape.target_only.is_empty()
        && shape.source_only.is_empty()
        && table_body(&shape.source.sql) == table_body(&shape.target.sql)
        && choice.given.columns.is_none();
    let (target, target_schema) = (to.db(), to.schema.as_str());
    let into = qualified(target_schema, &shape.target.name);
    let mut why = if !choice.alone {
        // Attached, the source stays locked until the commit, and the hub, which may be the same file, could not be written before.
        Some("transfer: several tables are committed together".into())
    } else if alike {
        attach(source, to).err()
    } else {
        Some("transfer: the tables are not made alike, or only some rows or columns are asked for".into())
    };
    let mut transfer = None;
    if why.is_none() {
        // Where SQLite cannot take over b-trees (an index differs), `*` brings computed columns, too, and it refuses.
        match target.prepare(&format!("INSERT INTO {into} SELECT * FROM {}", qualified(SOURCE, &shape.source.name))) {
            Ok(q) => transfer = Some(q),
            Err(e) => why = Some(format!("transfer: {e}")),
        }
    }
    let (rows, digest) = match &mut transfer {
        Some(q) => digested_beside(source, &shape.source.name, || watched(target, tick, || Ok(q.execute([])? as u64)))?,
        None => (by_rows(source, target, &into, shape, tick)?, None),
    };
    drop(transfer);
    // The snapshot holds what was transferred, unless somebody committed in between.
    let digest = match &source.reader {
        Reader::Own(snapshot) if why.is_none() && snapshot.again().is_some() => match digest {
            Some(digest) => digest,
            None => digest::of_snapshot(snapshot, &shape.source.name, tick)?,
        },
        _ => digest::of_rows(target, target_schema, &shape.target.name, tick)?,
    };
    Ok(Filled { rows, digest: digest.hex, passed_over: why.into_iter().collect() })
}

/// Does `work` while another thread reads the source for its digest. None where there is no second thread or connection
/// to be had, or it failed: whoever then reads again meets the error.
fn digested_beside<T>(source: &Source<'_>, table: &str, work: impl FnOnce() -> Result<T>) -> Result<(T, Option<Digest>)> {
    let other = match &source.reader {
        Reader::Own(snapshot) if two_threads_help() => snapshot.again(),
        _ => None,
    };
    let Some(other) = other else { return Ok((work()?, None)) };
    let (done, digest) = beside(move |tick| digest::of_snapshot(&other, table, tick), work);
    Ok((done?, digest.and_then(Result::ok)))
}

fn by_rows(source: &Source<'_>, target: &Connection, into: &str, shape: &Shape, tick: &mut dyn FnMut() -> Result<()>) -> Result<u64> {
    let mut rows = 0;
    let mut q = Stmt::prepare(source.db(), &format!("{}{}", shape.select_source(&source.schema), shape.filter()))?;
    let marks = vec!["?"; shape.columns.len()].join(", ");
    let columns = list(shape.columns.iter().map(String::as_str));
    let mut add = Stmt::prepare(target, &format!("INSERT OR ABORT INTO {into}({columns}) VALUES({marks})"))?;
    let skip = usize::from(shape.rowids.is_some());
    // Handed over as UTF-16, a text that begins with U+FEFF would lose it: SQLite takes it for a byte order mark.
    let utf8 = source.db().query_row("PRAGMA encoding", [], |r| r.get::<_, String>(0))? == "UTF-8";
    while q.step()? {
        (tick)()?;
        for i in 0..shape.columns.len() {
            if utf8 {
                add.bind_column(i + 1, &q, i + skip)?;
            } else {
                add.bind(i + 1, q.field(i + skip))?;
            }
        }
        add.run()?;
        rows += 1;
    }
    Ok(rows)
}
