//! Backups that have been restored before you need them.
use crate::kit::*;
use rusqlite::types::Value;

mod bytes;
mod catalogue;
mod crypt;
mod job;
mod lock;
mod manifest;
mod pack;
mod place;
mod repository;
mod restore;
mod show;
mod source;
mod take;
mod verify;

use job::BackupOptions;
use show::{PathOption, RestoreOptions};

const BACKUP: &str = "id, name, or the beginning of an id";

pub const ROOM: Room = Room {
    name: "backup",
    summary: "Backups that have been restored before you need them.",
    functions: &[
        Function {
            name: "backup_database",
            args: &[database(), options(BackupOptions::KEYS)],
            returns: "json {backup_id, name, status, proven, db_name, type, parent, created_at, backup_path, repository, size_bytes, stored_bytes, pages, changed_pages, new_pages, sha256, root, encrypted, restore_test, damaged, note, duration_s}",
            access: Access::Outside,
            summary: "Backs up a live database page by page, each page once, then restores it to a temporary file and checks it.",
            example: "SELECT json_extract(backup_database('analytics', '{\"path\":\"../backups\"}'), '$.status');",
            run: |call| Ok(Value::Text(job::backup(call.db, call.opt_text("db"), &call.options::<BackupOptions>()?)?.to_string())),
        },
        Function {
            name: "verify_backup",
            args: &[opt("backup", "id, name, or the beginning of an id; default: all, and every pack"), options(PathOption::KEYS)],
            returns: "json {ok, backups, problems[{backup_id, problem}], duration_s}",
            access: Access::Outside,
            summary: "Reads and checks every byte a backup needs.",
            example: "SELECT json_extract(verify_backup(NULL, '{\"path\":\"../backups\"}'), '$.ok') FROM (SELECT backup_database('analytics', '{\"path\":\"../backups\"}'));",
            run: |call| Ok(Value::Text(show::verify(call.db, call.opt_text("backup"), &call.options::<PathOption>()?)?.to_string())),
        },
        Function {
            name: "restore_test",
            args: &[req("backup", BACKUP), options(PathOption::KEYS)],
            returns: "json {backup_id, ok, problems[], sha256, root, row_counts, tested_at, duration_s}",
            access: Access::Outside,
            summary: "Restores a backup to a temporary file, compares it with what was backed up and runs integrity_check; the result is kept as proof.",
            example: "SELECT json_extract(restore_test(json_extract(backup_database('analytics', '{\"path\":\"../backups\"}'), '$.backup_id'), '{\"path\":\"../backups\"}'), '$.ok');",
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
            example: "SELECT json_extract(restore_database(json_extract(backup_database('analytics', '{\"path\":\"../backups\"}'), '$.backup_id'), 'restored.db', '{\"path\":\"../backups\"}'), '$.size_bytes') > 0;",
            run: |call| Ok(Value::Text(show::restore(call.db, call.text("backup")?, call.text("file")?, &call.options::<RestoreOptions>()?)?.to_string())),
        },
    ],
    tables: &[Table {
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
        example: "SELECT db_name, type, status FROM backups WHERE path = '../backups' ORDER BY created_at LIMIT 1;",
        rows: show::backups,
    }],
};
