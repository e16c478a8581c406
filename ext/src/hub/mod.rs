//! dbint's own tables in a user's database, its settings, and "which database did the caller mean?"
pub mod discover;
pub mod install;
pub mod limits;
pub mod registry;
pub mod settings;
mod severity;
pub mod target;
mod views;

pub use install::Hub;
pub use severity::Severity;
pub use target::{Session, Target};

use crate::{kit::*, options};
use rusqlite::types::Value;
use serde_json::json;

options! {
    struct InitOptions {
        /// Put before the name of each of dbint's tables, where a name is taken by a table of yours.
        prefix: String,
    }
}
options! {
    struct UninstallOptions {
        /// Only tell what would be removed.
        dry_run: bool,
    }
}

pub const ROOM: Room = Room {
    name: "hub",
    summary: "dbint's own tables, settings and views.",
    functions: &[
        Function {
            name: "dbint_init",
            args: &[opt("schema", "where the tables go; default main"), options(InitOptions::KEYS)],
            returns: "json {hub, version, created, adopted}",
            access: Access::Writes,
            summary: "Installs or upgrades dbint's tables and views; running it again changes nothing.",
            example: "SELECT json_extract(dbint_init(), '$.hub');",
            run: |call| {
                let o: InitOptions = call.options()?;
                let done = install::install(call.db, call.opt_text("schema").unwrap_or("main"), o.prefix.as_deref())?;
                Ok(Value::Text(json!({"hub": done.hub.schema, "version": install::version(), "created": done.created, "adopted": done.adopted}).to_string()))
            },
        },
        Function {
            name: "dbint_uninstall",
            args: &[options(UninstallOptions::KEYS)],
            returns: "json {removed, kept, dry_run}",
            access: Access::Writes,
            summary: "Removes dbint's tables and views; adopted tables of yours stay.",
            example: "SELECT json_extract(dbint_uninstall('{\"dry_run\":true}'), '$.dry_run');",
            run: |call| {
                let dry_run = call.options::<UninstallOptions>()?.dry_run.unwrap_or(false);
                let (removed, kept) = install::uninstall(call.db, dry_run)?;
                Ok(Value::Text(json!({"removed": removed, "kept": kept, "dry_run": dry_run}).to_string()))
            },
        },
        Function {
            name: "dbint_set",
            args: &[req("key", "a key of dbint_settings"), typed("value", Type::Any, false, "NULL takes the setting back")],
            returns: "text: the value now in force",
            access: Access::Writes,
            summary: "Sets a setting: stored in the hub where there is one, and trusted for this connection.",
            example: "SELECT dbint_set('sync.batch_size', 500);",
            run: |call| settings::set(call.db, call.text("key")?, call.value("value")),
        },
        registry::REGISTER_DATABASE,
        registry::UNREGISTER_DATABASE,
        registry::REFRESH_REGISTRY,
    ],
    tables: &[
        Table {
            name: "dbint_settings",
            args: &[],
            columns: &[
                col("key", "TEXT"),
                col("value", "TEXT"),
                col("source", "TEXT"),
                col("default_value", "TEXT"),
                col("environment", "TEXT"),
                col("summary", "TEXT"),
            ],
            access: Access::Reads,
            summary: "Every setting, its value and where it comes from; secrets show only that they are set.",
            example: "SELECT key, value, source FROM dbint_settings WHERE key LIKE 'sync.%';",
            rows: settings::list,
        },
        registry::DISCOVER_DATABASES,
        views::UNIFIED_SYSTEM_STATUS,
        views::PERFORMANCE_DASHBOARD,
        views::SYNC_STATUS_SUMMARY,
        views::ACTIVE_ALERTS,
        views::PERFORMANCE_ANALYTICS,
    ],
};
