//! Carrying tables from one database into another, with a preview, a receipt and an undo.
mod ahead;
mod atomic;
mod compare;
mod create;
mod delta;
mod fleet;
mod guards;
mod judge;
mod ledger;
mod options;
mod past;
mod receipt;
mod refill;
mod resolve;
mod rows;
mod run;
mod shape;
mod show;
mod side;
mod timestamp;
mod undo;
mod verify;
mod writer;

use self::options::{Choice, SyncOptions};
use crate::{db::time, kit::*, options};
use fleet::AllOptions;
use rusqlite::types::Value;

options! {
    struct UndoOptions {
        /// The target, where there is no hub to look it up in.
        target: String,
    }
}

pub const ROOM: Room = Room {
    name: "sync",
    summary: "Carrying tables from one database into another, with a preview, a receipt and an undo.",
    functions: &[
        Function {
            name: "sync_table",
            args: &[req("table", "the table, by the same name on both sides"), req("target", "schema, registered name or file"), options(SyncOptions::KEYS)],
            returns: "json {sync_id, table, source, target, source_file, target_file, options, mode, inserted, updated, deleted, unchanged, conflicts, skipped, target_only_rows, duration_s, dry_run, method, passed_over[], conflict_policy, keys[], timestamp_column, created_table, digest, undo, tracked, read_by, retries, triggers_not_fired[], target_only_columns[], source_only_columns[], notes[]}; in both directions also back, the same of the way back",
            access: Access::Outside,
            summary: "Carries a table's rows into another database, in one transaction: what changed, or everything.",
            example: "SELECT json_extract(sync_table('session_tracking', 'analytics', '{\"source\":\"session_management\"}'), '$.inserted');",
            run: |call| {
                let choice = Choice::parse(call.db, call.opt_text("options"))?;
                let ends = run::Ends::resolve(call.db, call.text("target")?, &choice.given)?;
                let table = call.text("table")?;
                if !choice.both {
                    return Ok(Value::Text(run::sync(call.db, table, &ends, &choice)?.json().to_string()));
                }
                let (there, back) = run::both(call.db, table, &ends, &choice)?;
                let mut receipt = there.json();
                if let Some(fields) = receipt.as_object_mut() {
                    fields.insert("back".into(), back.json());
                }
                Ok(Value::Text(receipt.to_string()))
            },
        },
        Function {
            name: "undo_sync",
            args: &[req("sync_id", "from the receipt, or from cross_db_sync_log"), options(UndoOptions::KEYS)],
            returns: "json {sync_id, table, target, removed, restored, undone_at}",
            access: Access::Outside,
            summary: "Takes a sync back: the target's table holds exactly what it held before. Refuses where a row has changed since, and says how many.",
            example: "SELECT json_extract(undo_sync(json_extract(sync_table('session_tracking', 'monitoring', '{\"source\":\"session_management\"}'), '$.sync_id')), '$.removed') > 0;",
            run: |call| {
                let o: UndoOptions = call.options()?;
                Ok(Value::Text(undo::undo(call.db, call.text("sync_id")?, o.target.as_deref())?.to_string()))
            },
        },
        Function {
            name: "verify_sync",
            args: &[req("sync_id", "from the receipt, or from cross_db_sync_log")],
            returns: "json {sync_id, table, source, target, ok, missing, different, newer_in_target, only_in_target, equal, method, source_rows, target_rows, source_digest, target_digest}",
            access: Access::Outside,
            summary: "Reads source and target anew and tells whether the target still has what the sync carried.",
            example: "SELECT json_extract(verify_sync(json_extract(sync_table('session_tracking', 'monitoring', '{\"source\":\"session_management\"}'), '$.sync_id')), '$.ok');",
            run: |call| Ok(Value::Text(verify::verify(call.db, call.text("sync_id")?)?.to_string())),
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
            name: "recover_sync",
            args: &[],
            returns: "json [{group_id, outcome, syncs}]; outcome is finished or undone",
            access: Access::Outside,
            summary: "Ends atomic syncs over several targets that a crash left half committed: all of them or none. Every sync_all does so first.",
            example: "SELECT recover_sync();",
            run: |call| Ok(Value::Text(serde_json::Value::Array(atomic::recover(call.db)?).to_string())),
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
    tables: &[
        Table {
            name: "sync_diff",
            args: &[req("table", "the table, by the same name on both sides"), req("target", "schema, registered name or file"), options(SyncOptions::KEYS)],
            columns: &[col("action", "TEXT"), col("row_key", "TEXT"), col("column_name", "TEXT"), col("before", ""), col("after", ""), col("reason", "TEXT")],
            access: Access::Outside,
            summary: "What sync_table would do with the same options, a row for each column that would change; nothing is changed. Action is insert, update, delete, conflict_skip or create_table.",
            example: "SELECT action, count(*) FROM sync_diff('services', 'monitoring') GROUP BY action;",
            rows: show::diff,
        },
        Table {
            name: "resolve_conflict",
            args: &[typed("id", Type::Integer, false, "id in sync_conflicts"), req("choice", "source or target: whose row is to stand")],
            columns: &[col("table_name", "TEXT"), col("row_key", "TEXT"), col("changed", "INTEGER")],
            access: Access::Outside,
            summary: "Resolves a conflict: the chosen side's row stands in the target. Refuses where the row has changed since.",
            example: "SELECT r.changed FROM sync_conflicts AS c, resolve_conflict(c.id, 'source') AS r WHERE c.resolution IS NULL;",
            rows: |call| {
                let id = call.opt_integer("id").ok_or_else(|| crate::Error::argument("argument id must be an integer, not NULL"))?;
                let done = resolve::resolve(call.db, id, call.text("choice")?)?;
                rows(vec![vec![Value::Text(done.table), Value::Text(done.row_key), Value::Integer(done.changed.into())]])
            },
        },
        Table {
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
        },
    ],
};
