//! Backups that have been restored before you need them.
use crate::kit::*;
use rusqlite::types::Value;

mod bytes;
mod catalogue;
mod crypt;
mod fleet;
mod job;
mod lock;
mod look;
mod manifest;
mod pack;
mod place;
mod policy;
mod prune;
mod remote;
mod repository;
mod restore;
mod show;
mod source;
mod take;
mod verify;

use fleet::FleetRestoreOptions;
pub use job::{BackupOptions, backup};
use look::{LookOptions, TableOptions};
use policy::{PruneOptions, RunOptions};
use remote::CopyOptions;
use show::{PathOption, RestoreOptions};

const BACKUP: &str = "id, name, or the beginning of an id";

pub const ROOM: Room = Room {
    name: "backup",
    summary: "Backups that have been restored before you need them.",
    functions: &[
        Function {
            name: "backup_database",
            args: &[database(), options(BackupOptions::KEYS)],
            returns: "json {backup_id, name, status, proven, db_name, type, parent, created_at, backup_path, repository, size_bytes, stored_bytes, pages, changed_pages, new_pages, sha256, root, read, encrypted, restore_test, damaged, note, duration_s[, remote]}",
            access: Access::Outside,
            summary: "Backs up a live database page by page, each page once, then restores it to a temporary file and checks it.",
            example: "SELECT json_extract(backup_database('analytics'), '$.status');",
            run: |call| Ok(Value::Text(job::backup(call.db, call.opt_text("db"), &call.options::<BackupOptions>()?)?.to_string())),
        },
        Function {
            name: "verify_backup",
            args: &[opt("backup", "id, name, or the beginning of an id; default: all, and every pack"), options(PathOption::KEYS)],
            returns: "json {ok, backups, problems[{backup_id, problem}], duration_s}",
            access: Access::Outside,
            summary: "Reads and checks every byte a backup needs.",
            example: "SELECT json_extract(backup_database('analytics', '{\"name\":\"first\"}'), '$.status'); SELECT json_extract(verify_backup('first'), '$.ok');",
            run: |call| Ok(Value::Text(show::verify(call.db, call.opt_text("backup"), &call.options::<PathOption>()?)?.to_string())),
        },
        Function {
            name: "restore_test",
            args: &[req("backup", BACKUP), options(PathOption::KEYS)],
            returns: "json {backup_id, ok, problems[], sha256, root, row_counts, tested_at, duration_s}",
            access: Access::Outside,
            summary: "Restores a backup to a temporary file, compares it with what was backed up and runs integrity_check; the result is kept as proof.",
            example: "SELECT json_extract(backup_database('analytics', '{\"name\":\"first\"}'), '$.status'); SELECT json_extract(restore_test('first'), '$.ok');",
            run: |call| Ok(Value::Text(show::test(call.db, call.text("backup")?, &call.options::<PathOption>()?)?.to_string())),
        },
        Function {
            name: "restore_database",
            args: &[
                req("backup", "id, name, or a time: the newest backup at or before it"),
                req("file", "where the database goes"),
                options(RestoreOptions::KEYS),
            ],
            returns: "json {backup_id, name, restored_path, size_bytes, sha256, root, kept, duration_s}",
            access: Access::Outside,
            summary: "Restores a database; a file that is there is replaced only by option, atomically, and kept aside.",
            example: "SELECT json_extract(backup_database('analytics', '{\"name\":\"first\"}'), '$.status'); SELECT json_extract(restore_database('first', 'restored.db'), '$.restored_path');",
            run: |call| Ok(Value::Text(show::restore(call.db, call.text("backup")?, call.text("file")?, &call.options::<RestoreOptions>()?)?.to_string())),
        },
        Function {
            name: "restore_table",
            args: &[req("backup", BACKUP), req("table", "its name in the backup"), req("into", "schema, registered name or file"), options(TableOptions::KEYS)],
            returns: "json {backup_id, table, into, rows, left_out[{name, why}], duration_s}",
            access: Access::Outside,
            summary: "Copies one table, with its rows, indexes and triggers, out of a backup.",
            example: "SELECT json_extract(backup_database('analytics', '{\"name\":\"first\"}'), '$.status'); SELECT json_extract(restore_table('first', 'daily_usage', 'main'), '$.left_out');",
            run: |call| {
                Ok(Value::Text(
                    look::table(call.db, call.text("backup")?, call.text("table")?, call.text("into")?, &call.options::<TableOptions>()?)?.to_string(),
                ))
            },
        },
        Function {
            name: "open_backup",
            args: &[req("backup", "id, name, or the beginning of an id"), options(LookOptions::KEYS)],
            returns: "json {backup_id, name, created_at, schema, tables[]}",
            access: Access::Outside,
            summary: "Attaches a backup, read-only, to look into it by SQL; DETACH ends it.",
            example: "SELECT json_extract(backup_database('analytics', '{\"name\":\"first\"}'), '$.status'); SELECT json_extract(open_backup('first'), '$.schema'); SELECT count(*) > 0 FROM backup.daily_usage;",
            run: |call| Ok(Value::Text(look::open(call.db, call.text("backup")?, &call.options::<LookOptions>()?)?.to_string())),
        },
        Function {
            name: "backup_fleet",
            args: &[options(BackupOptions::KEYS)],
            returns: "json {fleet_id, instant, databases, failed, held_ms, results[], remote, duration_s}",
            access: Access::Outside,
            summary: "Backs up all registered databases at one instant: all are locked for the moment in which the readers open.",
            example: "SELECT json_extract(r, '$.databases'), json_extract(r, '$.failed') FROM (SELECT backup_fleet() AS r);",
            run: |call| Ok(Value::Text(fleet::backup(call.db, &call.options::<BackupOptions>()?)?.to_string())),
        },
        Function {
            name: "restore_fleet",
            args: &[req("fleet", "a time, or the id of a fleet backup"), req("dir", "the folder the databases go to"), options(FleetRestoreOptions::KEYS)],
            returns: "json {fleet_id, instant, databases, results[], duration_s}",
            access: Access::Outside,
            summary: "Restores all databases of one fleet backup, as they were at one instant.",
            example: "SELECT json_extract(restore_fleet(json_extract(backup_fleet(), '$.fleet_id'), 'restored'), '$.databases');",
            run: |call| {
                Ok(Value::Text(
                    fleet::restore(call.db, call.text("fleet")?, std::path::Path::new(call.text("dir")?), &call.options::<FleetRestoreOptions>()?)?.to_string(),
                ))
            },
        },
        Function {
            name: "run_backups",
            args: &[options(RunOptions::KEYS)],
            returns: "json {run, failed, results[], pruned}",
            access: Access::Outside,
            summary: "Makes the backups that backup_policies say are due, then prunes.",
            example: "INSERT INTO backup_policies(db_name) VALUES('analytics'); SELECT json_extract(run_backups(), '$.failed');",
            run: |call| Ok(Value::Text(policy::run(call.db, &call.options::<RunOptions>()?)?.to_string())),
        },
        Function {
            name: "copy_backups",
            args: &[
                opt(
                    "to",
                    "a folder, s3://bucket/folder, az://container/folder or gs://bucket/folder; default: the settings backup.storage_type and backup.bucket",
                ),
                options(CopyOptions::KEYS),
            ],
            returns: "json {from, to, dry_run, backups, files, bytes, there_already, duration_s}",
            access: Access::Outside,
            summary: "Copies backups to another place, or from one, and goes on where a copy was cut off; what reads backups takes such a URL as \"path\".",
            example: "SELECT json_extract(backup_database('analytics', '{\"name\":\"first\"}'), '$.status'); SELECT json_extract(copy_backups('second_place'), '$.backups');",
            run: |call| Ok(Value::Text(remote::copy(call.db, call.opt_text("to"), &call.options::<CopyOptions>()?)?.to_string())),
        },
        Function {
            name: "prune_backups",
            args: &[options(PruneOptions::KEYS)],
            returns: "json {dry_run, removed[], kept, packs_removed, packs_rewritten, bytes_freed}",
            access: Access::Outside,
            summary: "Removes expired backups and pages nobody needs; never a parent of one that stays, nor the last proven one.",
            example: "SELECT json_extract(backup_database('analytics', '{\"name\":\"first\"}'), '$.status'); SELECT json_extract(prune_backups('{\"dry_run\":true}'), '$.removed');",
            run: |call| Ok(Value::Text(policy::prune_all(call.db, &call.options::<PruneOptions>()?)?.to_string())),
        },
    ],
    tables: &[
        Table {
            name: "backup_diff",
            args: &[req("a", BACKUP), req("b", BACKUP), options(TableOptions::KEYS)],
            columns: &[
                col("table_name", "TEXT"),
                col("change", "TEXT"),
                col("rows_a", "INTEGER"),
                col("rows_b", "INTEGER"),
                col("only_a", "INTEGER"),
                col("only_b", "INTEGER"),
            ],
            access: Access::Outside,
            summary: "Tables in which two backups differ: added, removed, schema or rows, with the rows only one of them has.",
            example: "SELECT json_extract(backup_database('analytics', '{\"name\":\"first\"}'), '$.status'); SELECT * FROM backup_diff('first', 'first');",
            rows: look::diff,
        },
        Table {
            name: "backups_due",
            args: &[opt("path", "the folder of the backups; default: the setting backup.path")],
            columns: &[col("db_name", "TEXT"), col("type", "TEXT"), col("due_since", "TEXT")],
            access: Access::Outside,
            summary: "Backups that backup_policies ask for now; a row for * stands for every registered database.",
            example: "INSERT INTO backup_policies(db_name) VALUES('analytics'); SELECT db_name, type FROM backups_due;",
            rows: policy::due_rows,
        },
        Table {
            name: "backup_status",
            args: &[opt("path", "the folder of the backups; default: the setting backup.path")],
            columns: &[
                col("db_name", "TEXT"),
                col("state", "TEXT"),
                col("backups", "INTEGER"),
                col("last_backup", "TEXT"),
                col("last_age_s", "REAL"),
                col("last_proven", "TEXT"),
                col("proven_age_s", "REAL"),
                col("due", "TEXT"),
                col("stored_bytes", "INTEGER"),
            ],
            access: Access::Outside,
            summary: "How old the last backup and the last proven one of each database are: PROVEN, STALE, UNPROVEN or NEVER.",
            example: "SELECT db_name, state FROM backup_status WHERE db_name LIKE 'a%';",
            rows: policy::status,
        },
        Table {
            name: "backups",
            args: &[opt("path", "the folder of the backups; default: the setting backup.path")],
            columns: &[
                col("backup_id", "TEXT"),
                col("name", "TEXT"),
                col("db_name", "TEXT"),
                col("type", "TEXT"),
                col("status", "TEXT"),
                col("created_at", "TEXT"),
                col("proven_at", "TEXT"),
                col("size_bytes", "INTEGER"),
                col("stored_bytes", "INTEGER"),
                col("sha256", "TEXT"),
                col("parent_id", "TEXT"),
                col("backup_path", "TEXT"),
                col("detail", "TEXT"),
            ],
            access: Access::Outside,
            summary: "Every backup in the folder, and those the catalogue remembers but the folder has lost.",
            example: "SELECT json_extract(backup_database('analytics', '{\"name\":\"first\"}'), '$.status'); SELECT name, db_name, type, status FROM backups;",
            rows: show::backups,
        },
    ],
};
