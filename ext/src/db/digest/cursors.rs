//! The rows of a table by SQL; those of a snapshot on two threads, half of the rowids each.
use super::Sum;
use crate::{
    db::{
        ident::{list, qualified},
        pages::Snapshot,
        schema::{Table, TableKind},
    },
    error::Result,
    kit::{Field, Stmt, beside, two_threads_help},
};
use rusqlite::Connection;

/// Tables that reach over fewer rowids are not worth a second thread.
const WORTH_A_THREAD: i128 = 20_000;

type Range = (i64, i64);

/// Adds every row as `db` sees it.
pub fn add(db: &Connection, schema: &str, table: &Table, sum: &mut Sum, tick: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    rows(db, schema, table, None, sum, tick)
}

/// Adds every row of a snapshot.
pub fn add_snapshot(snapshot: &Snapshot, table: &Table, sum: &mut Sum, tick: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    let Some((here, there, other)) = halves(snapshot, table)? else { return add(snapshot.db(), "main", table, sum, tick) };
    let mut theirs = Sum::new(sum.algorithm());
    let (mine, their) = {
        let theirs = &mut theirs;
        beside(move |tick| rows(other.db(), "main", table, Some(there), theirs, tick), || rows(snapshot.db(), "main", table, Some(here), sum, tick))
    };
    let shared = mine.and(their.transpose())?.is_some();
    // A host that has no thread left to give.
    if !shared {
        rows(snapshot.db(), "main", table, Some(there), sum, tick)?;
    }
    sum.merge(&theirs);
    Ok(())
}

/// Two halves of the rowids and a second snapshot, where that is worth it.
fn halves(snapshot: &Snapshot, table: &Table) -> Result<Option<(Range, Range, Snapshot)>> {
    let Some(rowid) = table.rowid_name().filter(|_| table.kind == TableKind::Table) else { return Ok(None) };
    if !two_threads_help() {
        return Ok(None);
    }
    let end = |f: &str| -> Result<Option<i64>> {
        Ok(snapshot.db().query_row(&format!("SELECT {f}({rowid}) FROM {}", qualified("main", &table.name)), [], |r| r.get(0))?)
    };
    let (Some(first), Some(last)) = (end("min")?, end("max")?) else { return Ok(None) };
    let reach = i128::from(last) - i128::from(first);
    if reach < WORTH_A_THREAD {
        return Ok(None);
    }
    let middle = (i128::from(first) + reach / 2) as i64;
    Ok(snapshot.again().map(|other| ((first, middle), (middle + 1, last), other)))
}

fn rows(db: &Connection, schema: &str, table: &Table, range: Option<Range>, sum: &mut Sum, tick: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    let columns = list(table.writable().map(|c| c.name.as_str()));
    let within = match (range, table.rowid_name()) {
        (Some(_), Some(rowid)) => format!(" WHERE {rowid} BETWEEN ? AND ?"),
        _ => String::new(),
    };
    let mut q = Stmt::prepare(db, &format!("SELECT {columns} FROM {}{within}", qualified(schema, &table.name)))?;
    if let Some((first, last)) = range {
        q.bind(1, Field::Int(first))?;
        q.bind(2, Field::Int(last))?;
    }
    let n = q.columns();
    while q.step()? {
        for i in 0..n {
            sum.field(q.field(i));
        }
        sum.add();
        tick()?;
    }
    Ok(())
}
