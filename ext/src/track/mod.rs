//! Which rows changed, recorded by triggers.
mod tracked;

use crate::{
    db::{changelog, limit, transaction::savepoint},
    error::Result,
    hub::{Target, limits, target::Mode},
    kit::*,
    options,
};
use rusqlite::types::Value;
use serde_json::json;

options! {
    struct TrackOptions {
        /// The database, where it is not this one.
        db: String,
        /// Columns that name a row; default: the primary key, or all columns where there is none.
        keys: Vec<String>,
    }
}
options! {
    struct OtherOptions {
        /// The database, where it is not this one.
        db: String,
    }
}

pub const ROOM: Room = Room {
    name: "track",
    summary: "Which rows changed, recorded by triggers.",
    functions: &[
        Function {
            name: "track_changes",
            args: &[req("table", "the table"), options(TrackOptions::KEYS)],
            returns: "json {table, log_table, keys, created}",
            access: Access::Writes,
            summary: "Records from now on which rows change, by triggers of built-in SQL: writers without dbint keep working.",
            example: "SELECT json_extract(track_changes('services'), '$.keys');",
            run: |call| {
                let o: TrackOptions = call.options()?;
                let target = Target::resolve(call.db, o.db.as_deref())?;
                let (file, most) = (target.file(call.db)?, limits::enforced(call.db, &target.name, None)?);
                let (log, created) = on(call, o.db.as_deref(), |db, schema| {
                    savepoint(db, || {
                        let done = changelog::track(db, schema, call.text("table")?, o.keys.as_deref())?;
                        limit::check_before_commit(db, schema, file.as_deref(), most).map(|()| done)
                    })
                })?;
                Ok(Value::Text(json!({"table": log.table, "log_table": log.log_table, "keys": log.key, "created": created}).to_string()))
            },
        },
        Function {
            name: "untrack_changes",
            args: &[req("table", "the table"), options(OtherOptions::KEYS)],
            returns: "integer: 1 where it was tracked",
            access: Access::Writes,
            summary: "Removes the triggers and the log of a table.",
            example: "SELECT untrack_changes('services');",
            run: |call| {
                let o: OtherOptions = call.options()?;
                let removed = on(call, o.db.as_deref(), |db, schema| {
                    let table = call.text("table")?;
                    let removed = changelog::untrack(db, schema, table)?;
                    if !removed {
                        crate::db::schema::table(db, schema, table)?;
                    }
                    Ok(removed)
                })?;
                Ok(Value::Integer(removed.into()))
            },
        },
        Function {
            name: "compact_changes",
            args: &[req("table", "the table"), options(OtherOptions::KEYS)],
            returns: "integer: entries removed",
            access: Access::Writes,
            summary: "Keeps the last entry of each row in a table's log; every target still gets all it lacks.",
            example: "SELECT track_changes('services') IS NOT NULL, compact_changes('services');",
            run: |call| {
                let o: OtherOptions = call.options()?;
                Ok(Value::Integer(on(call, o.db.as_deref(), |db, schema| tracked::need(db, schema, call.text("table")?)?.compact(db))? as i64))
            },
        },
    ],
    tables: &[tracked::TRACKED_CHANGES],
};

fn on<T>(call: &Call<'_>, db: Option<&str>, body: impl FnOnce(&rusqlite::Connection, &str) -> Result<T>) -> Result<T> {
    let session = Target::resolve(call.db, db)?.session(call.db, Mode::Write)?;
    body(&session.db, &session.schema)
}
