//! What a caller of `sync_table` chose, checked before anything is read.
use crate::{
    error::{Error, Result},
    hub::settings,
    kit::{self, one_of},
    options,
};
use rusqlite::Connection;

options! {
    pub struct SyncOptions {
        /// incremental (default): inserts, updates and tracked deletes; full: the target becomes identical.
        mode: String,
        /// Who wins where both sides have a row and differ: timestamp_priority (default where there is a timestamp column), source_wins, target_wins, error.
        conflict: String,
        /// Where the rows come from: schema, registered name or file; default main.
        source: String,
        /// Columns that name a row; default: the primary key, or the whole row where there is none.
        keys: Vec<String>,
        /// Columns to carry, the keys always among them; default all.
        columns: Vec<String>,
        /// Column that tells when a row was written; default updated_at, last_modified or modified_at.
        timestamp_column: String,
        /// SQL condition: only rows it holds for take part, on both sides.
        r#where: String,
        /// to_target (default), or both: what the target changed comes back, too. Both sides must be tracked; the first such sync unites them, and rows that differ are conflicts.
        direction: String,
        /// Whether rows only the target has are deleted; default in mode full.
        delete: bool,
        /// Only tell what would be done.
        dry_run: bool,
        /// Make the target file where there is none.
        create: bool,
        /// Tries again after a lock or an I/O error; default 3.
        retries: u32,
        /// Rows between two looks at Ctrl-C; a sync commits once, at its end.
        batch_size: u32,
        /// Copy the target file first; the copy is removed once the receipt is written.
        backup: bool,
        /// Read through this connection, its open transaction included.
        allow_uncommitted: bool,
        /// auto (default), change_log, pages, rowid_merge, hash_join, key_merge, lookup, refill: how differences are found.
        method: String,
        /// counts (default): one audit row an action; rows: one a row.
        audit: String,
        /// Fire the target's own triggers; default off, and the receipt names them.
        triggers: bool,
        /// Check the target's foreign keys before the commit; default on.
        foreign_keys: bool,
        /// Keep what undo_sync needs; default on.
        undo: bool,
        /// Size in MB the target must stay below.
        limit_mb: f64,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    TimestampPriority,
    SourceWins,
    TargetWins,
    Error,
}

impl Policy {
    pub const fn word(self) -> &'static str {
        match self {
            Policy::TimestampPriority => "timestamp_priority",
            Policy::SourceWins => "source_wins",
            Policy::TargetWins => "target_wins",
            Policy::Error => "error",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Auto,
    ChangeLog,
    Pages,
    RowidMerge,
    HashJoin,
    KeyMerge,
    Lookup,
    Refill,
}

impl Method {
    const WORDS: [(&'static str, Method); 8] = [
        ("auto", Method::Auto),
        ("change_log", Method::ChangeLog),
        ("pages", Method::Pages),
        ("rowid_merge", Method::RowidMerge),
        ("hash_join", Method::HashJoin),
        ("key_merge", Method::KeyMerge),
        ("lookup", Method::Lookup),
        ("refill", Method::Refill),
    ];

    pub fn word(self) -> &'static str {
        Method::WORDS.iter().find(|(_, m)| *m == self).map_or("auto", |(w, _)| w)
    }
}

/// The options with their defaults; `policy` stays open until the table's columns are known.
#[derive(Clone, Debug)]
pub struct Choice {
    pub full: bool,
    pub policy: Option<Policy>,
    pub method: Method,
    pub delete: Option<bool>,
    pub dry_run: bool,
    pub retries: u32,
    pub batch: u32,
    pub audit_rows: bool,
    pub foreign_keys: bool,
    pub undo: bool,
    /// In both directions.
    pub both: bool,
    /// Nobody else's commit waits for this one's.
    pub alone: bool,
    /// A line a row is asked for, by the option or by the log file.
    pub lines: bool,
    /// Settings are read before anything is locked: once the target is, the caller's connection may not be able to.
    pub retention_days: f64,
    /// Whether a change log may stand in for a comparison.
    pub by_log: bool,
    pub given: SyncOptions,
    /// As the caller wrote them, for the receipt.
    pub text: Option<String>,
}

impl Choice {
    pub fn parse(host: &Connection, text: Option<&str>) -> Result<Choice> {
        let given: SyncOptions = kit::parse(text)?;
        let word = |what: &str, given: &Option<String>, words: &[&'static str]| given.as_deref().map(|g| one_of(what, g, words)).transpose();
        let full = word("mode", &given.mode, &["incremental", "full"])? == Some("full");
        let policy = word("conflict policy", &given.conflict, &["timestamp_priority", "source_wins", "target_wins", "error"])?.map(|w| match w {
            "timestamp_priority" => Policy::TimestampPriority,
            "target_wins" => Policy::TargetWins,
            "error" => Policy::Error,
            _ => Policy::SourceWins,
        });
        if full && policy.is_some_and(|p| p != Policy::SourceWins) {
            return Err(Error::argument("mode full makes the target identical: it goes with conflict source_wins only")
                .hint("Leave mode out to keep newer rows of the target"));
        }
        let words: Vec<&'static str> = Method::WORDS.iter().map(|(w, _)| *w).collect();
        let method = word("method", &given.method, &words)?;
        let method = Method::WORDS.iter().find(|(w, _)| Some(*w) == method).map_or(Method::Auto, |(_, m)| *m);
        let both = word("direction", &given.direction, &["to_target", "both"])? == Some("both");
        if both && (full || given.r#where.is_some() || given.columns.is_some()) {
            return Err(Error::argument("direction both carries whole rows that changed: it goes without mode full, where and columns"));
        }
        let audit = word("audit", &given.audit, &["counts", "rows"])?;
        let setting = |key| settings::number(host, key).map(|n| n.clamp(0.0, f64::from(u32::MAX)) as u32);
        Ok(Choice {
            full,
            policy,
            method,
            delete: given.delete,
            dry_run: given.dry_run.unwrap_or(false),
            retries: given.retries.map_or_else(|| setting("sync.retries"), Ok)?.min(20),
            batch: given.batch_size.map_or_else(|| setting("sync.batch_size"), Ok)?.max(1),
            audit_rows: audit == Some("rows"),
            alone: true,
            lines: audit == Some("rows") || settings::text(host, "sync.log_path")?.is_some(),
            retention_days: settings::number(host, "sync.retention_days")?,
            foreign_keys: given.foreign_keys.unwrap_or(true),
            undo: given.undo.unwrap_or(true),
            both,
            by_log: true,
            given,
            text: text.map(str::to_owned),
        })
    }

    pub fn mode(&self) -> &'static str {
        if self.full { "full" } else { "incremental" }
    }
}
