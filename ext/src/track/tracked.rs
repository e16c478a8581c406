//! `tracked_changes`: the tables whose changes are recorded, and whether their logs can be believed.
use crate::{
    db::changelog::{Log, Status},
    db::schema,
    error::{Error, Result},
    hub::{Target, target::Mode},
    kit::*,
};
use rusqlite::{Connection, types::Value};

pub const TRACKED_CHANGES: Table = Table {
    name: "tracked_changes",
    args: &[database()],
    columns: &[
        col("table_name", "TEXT"),
        col("status", "TEXT"),
        col("detail", "TEXT"),
        col("keys", "TEXT"),
        col("entries", "INTEGER"),
        col("last_seq", "INTEGER"),
        col("tracked_since", "TEXT"),
        col("log_table", "TEXT"),
        col("log_id", "TEXT"),
    ],
    access: Access::Outside,
    summary: "Tables whose changes are recorded; status is ok, altered (the table changed its shape) or broken (a trigger is missing).",
    example: "SELECT track_changes('services') IS NOT NULL AS tracked; SELECT table_name, status, keys FROM tracked_changes;",
    rows: |call| {
        let session = Target::resolve(call.db, call.opt_text("db"))?.session(call.db, Mode::Read)?;
        let mut all = vec![];
        for log in Log::all(&session.db, &session.schema)? {
            all.push(row(&session.db, &log)?);
        }
        rows(all)
    },
};

fn row(db: &Connection, log: &Log) -> Result<Vec<Value>> {
    let (word, detail) = match log.status(db)? {
        Status::Ok => ("ok", None),
        Status::Altered(what) => ("altered", Some(what)),
        Status::Broken(what) => ("broken", Some(what)),
    };
    let count = |n: Result<i64>| n.map_or(Value::Null, Value::Integer);
    Ok(vec![
        Value::Text(log.table.clone()),
        Value::Text(word.to_owned()),
        detail.map_or(Value::Null, Value::Text),
        Value::Text(log.key.join(", ")),
        count(log.entries(db)),
        count(log.last(db)),
        Value::Text(log.since.clone()),
        Value::Text(log.log_table.clone()),
        Value::Text(log.id.clone()),
    ])
}

/// The log of a table, or an error that says how to begin one.
pub fn need(db: &Connection, schema: &str, table: &str) -> Result<Log> {
    if let Some(log) = Log::find(db, schema, table)? {
        return Ok(log);
    }
    let table = schema::table(db, schema, table)?;
    Err(Error::not_found(format!("\"{}\" is not tracked", table.name)).hint("track_changes begins to record its changes"))
}
