//! `sync_diff`: what a sync would do, row by row and column by column, without doing it.
use super::{
    judge::{Judged, Sink, label},
    options::Choice,
    run::{self, Ends},
};
use crate::{
    error::Result,
    kit::{Call, Field, Rows, Stmt},
};
use rusqlite::{Connection, OpenFlags, types::Value};

/// The rows to be shown, outside of memory until they are asked for.
struct Shown<'s> {
    add: Stmt<'s>,
}

impl Sink for Shown<'_> {
    fn row(&mut self, j: Judged<'_, '_>) -> Result<()> {
        let key = label(j.shape, |i| if j.t.is_some() { j.target.field(i) } else { j.source.field(i) });
        let reason = j.conflict.map_or(Field::Null, |c| Field::Text(c.reason.as_bytes()));
        for (i, column) in j.shape.columns.iter().enumerate() {
            let before = if j.t.is_some() { j.target.field(i) } else { Field::Null };
            let after = if j.s.is_some() { j.source.field(i) } else { Field::Null };
            // Of a changed row, what stays is not shown.
            if j.t.is_some() && j.s.is_some() && before == after {
                continue;
            }
            let word = Field::Text(j.action.word().as_bytes());
            for (at, v) in [word, Field::Text(key.as_bytes()), Field::Text(column.as_bytes()), before, after, reason].into_iter().enumerate() {
                self.add.bind(at + 1, v)?;
            }
            self.add.run()?;
        }
        Ok(())
    }

    fn left(&mut self, _: u64) {}

    fn equal(&mut self) {}
}

struct Iter {
    db: Connection,
    next: i64,
}

impl Iterator for Iter {
    type Item = Result<Vec<Value>>;
    fn next(&mut self) -> Option<Self::Item> {
        let read = || -> Result<Option<Vec<Value>>> {
            let mut q = Stmt::prepare(&self.db, "SELECT action, k, col, before, after, reason FROM shown WHERE n = ?")?;
            q.bind(1, Field::Int(self.next))?;
            Ok(if q.step()? { Some((0..6).map(|i| q.field(i).shown()).collect()) } else { None })
        };
        let row = read().transpose();
        self.next += 1;
        row
    }
}

pub fn diff(call: &Call<'_>) -> Result<Rows> {
    let choice = Choice::parse(call.db, call.opt_text("options"))?;
    let ends = Ends::resolve(call.db, call.text("target")?, &choice.given)?;
    let db = Connection::open_with_flags("", OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.execute_batch(
        "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-4000; BEGIN;
         CREATE TABLE shown(n INTEGER PRIMARY KEY, action TEXT, k TEXT, col TEXT, before, after, reason TEXT)",
    )?;
    let mut shown = Shown { add: Stmt::prepare(&db, "INSERT INTO shown(action, k, col, before, after, reason) VALUES(?, ?, ?, ?, ?, ?)")? };
    let receipt = run::preview(call.db, call.text("table")?, &ends, &choice, Some(&mut shown))?;
    if receipt.created_table {
        let row = [
            Field::Text(b"create_table"),
            Field::Text(receipt.table.as_bytes()),
            Field::Null,
            Field::Null,
            Field::Int(receipt.tally.inserted as i64),
            Field::Text(b"the target has no such table"),
        ];
        for (at, v) in row.into_iter().enumerate() {
            shown.add.bind(at + 1, v)?;
        }
        shown.add.run()?;
    }
    drop(shown);
    Ok(Box::new(Iter { db, next: 1 }))
}
