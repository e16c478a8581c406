//! Carrying tables from one database into another, with a preview, a receipt and an undo.
mod compare;
mod create;
mod delta;
mod fleet;
mod guards;
mod judge;
#[allow(dead_code, reason = "undo_sync is its next user")]
mod ledger;
mod options;
mod receipt;
mod refill;
mod rows;
mod run;
mod shape;
mod side;
mod timestamp;
mod writer;

use crate::{db::time, kit::*};
use fleet::AllOptions;
use options::{Choice, SyncOptions};
use rusqlite::types::Value;

pub const ROOM: Room = Room {
    name: "sync",
    summary: "Carrying tables from one database into another, with a preview, a receipt and an undo.",
    functions: &[
        Function {
            name: "sync_table",
            args: &[req("table", "the table, by the same name on both sides"), req("target", "schema, registered name or file"), options(SyncOptions::KEYS)],
            returns: "json {sync_id, table, source, target, mode, inserted, updated, deleted, unchanged, conflicts, skipped, target_only_rows, duration_s, dry_run, method, passed_over[], conflict_policy, keys[], timestamp_column, created_table, digest, undo, tracked, read_by, retries, triggers_not_fired[], target_only_columns[], source_only_columns[], notes[]}",
            access: Access::Outside,
            summary: "Carries a table's rows into another database, in one transaction: what changed, or everything.",
            example: "SELECT json_extract(sync_table('session_tracking', 'analytics', '{\"source\":\"session_management\"}'), '$.inserted');",
            run: |call| {
                let choice = Choice::of(call.db, call.options::<SyncOptions>()?)?;
                let ends = run::Ends::resolve(call.db, call.text("target")?, &choice.given)?;
                Ok(Value::Text(run::sync(call.db, call.text("table")?, &ends, &choice)?.json().to_string()))
            },
        },
        Function {
            name: "sync_all",
            args: &[options(AllOptions::KEYS)],
            returns: "json {syncs, succeeded, failed, rows, duration_s, backups_kept[], results[{mapping, table, status, error, …the fields of sync_table}]}",
            access: Access::Outside,
            summary: "Runs every enabled row of sync_mapping, parents before children; a table that fails does not stop the others.",
            example: "SELECT json_extract(sync_all(), '$.syncs', '$.failed');",
            run: |call| {
                let o: AllOptions = call.options()?;
                Ok(Value::Text(fleet::all(call.db, &fleet::mappings(call.db, o.mapping)?, &o)?.to_string()))
            },
        },
        Function {
            name: "run_syncs",
            args: &[options(AllOptions::KEYS)],
            returns: "json, as sync_all",
            access: Access::Outside,
            summary: "Runs the rows of sync_mapping that are due by their frequency_s.",
            example: "SELECT json_extract(run_syncs(), '$.failed');",
            run: |call| {
                let o: AllOptions = call.options()?;
                let now = time::now();
                let mut due = fleet::mappings(call.db, o.mapping)?;
                due.retain(|m| m.due_in(&now) <= 0.0);
                Ok(Value::Text(fleet::all(call.db, &due, &o)?.to_string()))
            },
        },
    ],
    tables: &[Table {
        name: "sync_due",
        args: &[],
        columns: &[
            col("mapping", "INTEGER"),
            col("source_db", "TEXT"),
            col("tables", "TEXT"),
            col("target_db", "TEXT"),
            col("sync_type", "TEXT"),
            col("frequency_s", "INTEGER"),
            col("last_run", "TEXT"),
            col("due_in_s", "REAL"),
        ],
        access: Access::Reads,
        summary: "The enabled rows of sync_mapping and when each is due next; 0 or less is now.",
        example: "SELECT source_db, target_db, due_in_s <= 0 AS due FROM sync_due;",
        rows: |call| {
            let now = time::now();
            let text = |t: &str| Value::Text(t.to_owned());
            let mut all = vec![];
            for m in fleet::mappings(call.db, None)? {
                let due = Value::Real(m.due_in(&now));
                let last = m.last_run.as_deref().map_or(Value::Null, text);
                all.push(vec![
                    Value::Integer(m.id),
                    text(&m.source),
                    text(&m.tables),
                    text(&m.target),
                    text(&m.sync_type),
                    Value::Integer(m.frequency_s),
                    last,
                    due,
                ]);
            }
            rows(all)
        },
    }],
};
