//! Entries of indexes among pages that nothing leads to: one whose row was saved tells nothing new.
use super::writer;
use crate::db::{
    ident::{qualified, quote},
    pages::{Found, fields},
};
use crate::error::Result;
use crate::kit::{Field, Stmt};
use rusqlite::Connection;

/// An index of the new database, and the question whether a row has these values.
struct Entry<'c> {
    /// For each value of an entry, whether it is part of the question; an expression is not.
    asked: Vec<bool>,
    /// The last value is the rowid.
    rowid: bool,
    row: Stmt<'c>,
}

pub struct Entries<'c>(Vec<Entry<'c>>);

impl<'c> Entries<'c> {
    pub fn of(db: &'c Connection) -> Result<Entries<'c>> {
        let mut all = vec![];
        let mut q = db.prepare("SELECT name, tbl_name FROM main.sqlite_schema WHERE type = 'index' AND tbl_name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")?;
        let indexes: Vec<(String, String)> = q.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
        for (index, table) in indexes {
            let mut q = db.prepare("SELECT cid, name FROM pragma_index_xinfo(?)")?;
            let columns: Vec<(i64, Option<String>)> = q.query_map([&index], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
            let rowid = columns.last().is_some_and(|c| c.0 == -1);
            let asked: Vec<bool> = columns.iter().map(|c| c.1.is_some() || c.0 == -1).collect();
            let named = columns.iter().filter_map(|(cid, name)| match name {
                Some(name) => Some(quote(name)),
                None => (*cid == -1).then(|| "_rowid_".to_owned()),
            });
            let conditions: Vec<String> = named.map(|c| format!("{c} IS ?")).collect();
            let sql = format!("SELECT 1 FROM {} WHERE {}", qualified("main", &table), conditions.join(" AND "));
            // A column that is called _rowid_ hides the rowid; then nothing is known of this index.
            if let (false, Ok(row)) = (conditions.is_empty(), Stmt::prepare(db, &sql)) {
                all.push(Entry { asked, rowid, row });
            }
        }
        Ok(Entries(all))
    }

    /// Whether the row of this entry was saved; None where it is no entry of an index.
    pub fn explain(&mut self, found: &Found<'_>, encoding: u32) -> Result<Option<bool>> {
        let values = fields(found.record)?;
        let mut answer = None;
        for entry in self.0.iter_mut().filter(|e| e.asked.len() == values.len()) {
            if entry.rowid && !matches!(values.last(), Some(Field::Int(_))) {
                continue;
            }
            let asked = entry.asked.iter().zip(&values).filter(|(asked, _)| **asked);
            for (at, (_, value)) in asked.enumerate() {
                writer::bind(&mut entry.row, at + 1, *value, encoding)?;
            }
            let saved = entry.row.step()?;
            entry.row.reset();
            if saved {
                return Ok(Some(true));
            }
            // Without a rowid at its end it may be a row of its own.
            if entry.rowid {
                answer = Some(false);
            }
        }
        Ok(answer)
    }
}
