//! Carrying tables from one database into another, with a preview, a receipt and an undo.
mod compare;
mod create;
mod delta;
mod guards;
mod judge;
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

use crate::kit::*;
use options::{Choice, SyncOptions};
use rusqlite::types::Value;

pub const ROOM: Room = Room {
    name: "sync",
    summary: "Carrying tables from one database into another, with a preview, a receipt and an undo.",
    functions: &[Function {
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
    }],
    tables: &[],
};
