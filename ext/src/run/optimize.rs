//! One database made small and fast again, with figures from before and after.
//!
//! VACUUM and a checkpoint cannot run on the connection that made the call, so everything on files is done by an own one.
use super::measure;
use crate::db::{
    host,
    ident::{qualified, quote},
    limit,
    open::{self, Mode},
    parallel::Watch,
    schema,
    size::{self, Bytes},
    transaction::savepoint,
};
use crate::error::{Error, Kind, Result};
use crate::kit::{
    file::{Transaction, transaction},
    one_of,
};
use rusqlite::{Connection, config::DbConfig};
use serde_json::{Value as Json, json};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// In the order in which they are done: what writes comes before what tidies up after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Op {
    Reindex,
    Vacuum,
    Analyze,
    Optimize,
    Checkpoint,
}

impl Op {
    pub const ALL: [Op; 5] = [Op::Reindex, Op::Vacuum, Op::Analyze, Op::Optimize, Op::Checkpoint];

    pub const fn word(self) -> &'static str {
        match self {
            Op::Reindex => "reindex",
            Op::Vacuum => "vacuum",
            Op::Analyze => "analyze",
            Op::Optimize => "optimize",
            Op::Checkpoint => "checkpoint",
        }
    }

    /// `vacuum, analyze`; all of them where nothing is given.
    pub fn list(text: Option<&str>) -> Result<Vec<Op>> {
        let Some(text) = text else { return Ok(Op::ALL.to_vec()) };
        let mut ops = vec![];
        for word in text.split(',').map(str::trim).filter(|w| !w.is_empty()) {
            let word = one_of("operation", word, &Op::ALL.map(Op::word))?;
            ops.extend(Op::ALL.into_iter().find(|o| o.word() == word));
        }
        if ops.is_empty() {
            return Err(Error::argument(format!("no operation is named; they are {}", Op::ALL.map(Op::word).join(", "))));
        }
        ops.sort_unstable();
        ops.dedup();
        Ok(ops)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Success,
    Skipped,
    Failed,
}

impl Status {
    pub const fn word(self) -> &'static str {
        match self {
            Status::Success => "SUCCESS",
            Status::Skipped => "SKIPPED",
            Status::Failed => "FAILED",
        }
    }
}

/// What one operation did.
#[derive(Clone, Debug)]
pub struct Step {
    pub op: Op,
    pub status: Status,
    pub detail: Option<String>,
    pub duration_s: f64,
    pub before: u64,
    pub after: u64,
}

impl Step {
    pub fn json(&self) -> Json {
        json!({
            "operation": self.op.word(), "status": self.status.word(), "detail": self.detail, "duration_s": self.duration_s,
            "bytes_before": self.before, "bytes_after": self.after,
        })
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub bytes: Bytes,
    pub pages: i64,
    pub free_pages: i64,
    /// Milliseconds of the probe that `query_time` measures.
    pub query_ms: f64,
}

impl Figures {
    pub fn json(&self) -> Json {
        json!({
            "size_bytes": self.bytes.total(), "database_bytes": self.bytes.database, "wal_bytes": self.bytes.wal, "pages": self.pages,
            "free_pages": self.free_pages, "query_ms": self.query_ms,
        })
    }
}

#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub steps: Vec<Step>,
    pub before: Figures,
    pub after: Figures,
}

/// What is to be done to one file.
#[derive(Clone, Debug)]
pub struct Job {
    pub path: PathBuf,
    pub ops: Vec<Op>,
    /// The size that no operation may reach.
    pub limit: Option<u64>,
    /// Patience for locks: none where the caller itself may hold one.
    pub wait: Duration,
    /// By a schedule: what would gain nothing is left out.
    pub scheduled: bool,
}

/// Free pages that a scheduled VACUUM does not run for, as a share of all.
const WORTH: f64 = 0.05;
/// Rows of each index that a scheduled ANALYZE looks at.
const SAMPLE: u32 = 1_000;
/// No operation on a file is given longer.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

impl Job {
    pub fn run(&self, watch: &Watch) -> Result<Outcome> {
        let db = open::open_within(&self.path, Mode::Write, self.wait)?;
        let watched = watch.over(&db, PATIENCE);
        if db.is_readonly("main")? {
            return Err(Error::new(Kind::ReadOnly, format!("\"{}\" cannot be written", self.path.display())));
        }
        if self.ops.iter().any(|o| matches!(o, Op::Reindex | Op::Vacuum)) {
            sound(&db, "main")?;
        }
        let before = figures(&db, "main", Some(&self.path))?;
        let mut steps = vec![];
        for &op in self.ops.iter().filter(|o| **o != Op::Checkpoint) {
            steps.push(timed(op, || size::on_disk(&self.path).total(), || self.step(&db, op))?);
        }
        let mut after = figures(&db, "main", Some(&self.path))?;
        drop(watched);
        if self.ops.contains(&Op::Checkpoint) {
            steps.push(timed(Op::Checkpoint, || size::on_disk(&self.path).total(), || checkpoint(db, &self.path))?);
            after.bytes = size::on_disk(&self.path);
        }
        Ok(Outcome { steps, before, after })
    }

    fn step(&self, db: &Connection, op: Op) -> Result<Done> {
        match op {
            Op::Vacuum => self.vacuum(db),
            Op::Reindex => changed(db, "main", Some(&self.path), self.limit, "REINDEX"),
            Op::Analyze if self.scheduled => {
                db.execute_batch(&format!("PRAGMA analysis_limit={SAMPLE}"))?;
                changed(db, "main", Some(&self.path), self.limit, "ANALYZE")
            }
            Op::Analyze => changed(db, "main", Some(&self.path), self.limit, "ANALYZE"),
            // Before 3.46 it looks only at tables this connection has queried, and ours is new.
            Op::Optimize if rusqlite::version_number() < 3_046_000 => {
                Ok(Done::Skipped(format!("SQLite {} optimizes only what a connection has queried; analyze does more", rusqlite::version())))
            }
            Op::Optimize => changed(db, "main", Some(&self.path), self.limit, "PRAGMA optimize=0x10002"),
            Op::Checkpoint => Err(Error::internal("the checkpoint comes last")),
        }
    }

    fn vacuum(&self, db: &Connection) -> Result<Done> {
        let number = |pragma: &str| db.query_row(&format!("PRAGMA {pragma}"), [], |r| r.get::<_, i64>(0));
        let (pages, free, page_size) = (number("page_count")?, number("freelist_count")?, number("page_size")?);
        let share = free as f64 / pages.max(1) as f64;
        if self.scheduled && share < WORTH {
            return Ok(Done::Skipped(format!("{:.1} % of the pages are free: not worth it below {:.0} %", share * 100.0, WORTH * 100.0)));
        }
        let wal = is_wal(db, "main")?;
        // All pages that are in use go through the WAL first.
        let peak = size::on_disk(&self.path).total() + ((pages - free).max(0) * page_size).max(0) as u64;
        if let Some(limit) = self.limit
            && wal
            && !limit::fits(peak, limit)
        {
            let text = format!("in WAL mode VACUUM would take up to {} and the limit is {}", size::shown(peak), size::shown(limit));
            return Err(Error::new(Kind::SizeLimit, text).hint("Nothing was changed. Raise the limit meanwhile"));
        }
        let before = last_rowids(db)?;
        db.execute_batch("VACUUM")?;
        let moved: Vec<String> = last_rowids(db)?.into_iter().zip(before).filter(|(a, b)| a != b).map(|((name, _), _)| quote(&name)).collect();
        let mut notes = vec![];
        if !moved.is_empty() {
            notes.push(format!("rowids of {} were renumbered: no column holds them", moved.join(", ")));
        }
        if wal {
            notes.push("the file itself shrinks at the next checkpoint".to_owned());
        }
        Ok(Done::Success(Some(notes.join("; ")).filter(|n| !n.is_empty())))
    }
}

enum Done {
    Success(Option<String>),
    Skipped(String),
}

/// Runs one operation; its failure is its status, only Ctrl-C ends the whole.
fn timed(op: Op, bytes: impl Fn() -> u64, body: impl FnOnce() -> Result<Done>) -> Result<Step> {
    let (began, before) = (Instant::now(), bytes());
    let (status, detail) = match body() {
        Ok(Done::Success(detail)) => (Status::Success, detail),
        Ok(Done::Skipped(why)) => (Status::Skipped, Some(why)),
        Err(e) if e.kind == Kind::Interrupted => return Err(e),
        Err(e) => (Status::Failed, Some(e.to_string())),
    };
    Ok(Step { op, status, detail, duration_s: began.elapsed().as_secs_f64(), before, after: bytes() })
}

/// A change in a transaction that the size limit may refuse.
fn changed(db: &Connection, schema: &str, file: Option<&Path>, limit: Option<u64>, sql: &str) -> Result<Done> {
    savepoint(db, || {
        db.prepare(sql)?.query([])?.next()?;
        limit::check_before_commit(db, schema, file, limit)
    })?;
    Ok(Done::Success(None))
}

/// A damaged file is for integrity_report: rebuilding it could carry the damage on.
fn sound(db: &Connection, schema: &str) -> Result<()> {
    let verdict: String = db.query_row(&format!("PRAGMA {}.quick_check(1)", quote(schema)), [], |r| r.get(0))?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(Error::new(Kind::Corrupt, format!("quick_check says: {verdict}")).hint("Nothing was changed. integrity_report tells what can be mended"))
}

fn is_wal(db: &Connection, schema: &str) -> Result<bool> {
    Ok(db.query_row(&format!("PRAGMA {}.journal_mode", quote(schema)), [], |r| r.get::<_, String>(0))? == "wal")
}

const NO_WAL: &str = "it has no WAL";

/// The WAL goes into the database where that is safe: on a SQLite without the WAL-reset bug, or while nobody else has the
/// file open, which SQLite itself makes sure of when the last connection closes.
fn checkpoint(db: Connection, path: &Path) -> Result<Done> {
    if !is_wal(&db, "main")? {
        return Ok(Done::Skipped(NO_WAL.into()));
    }
    if host::wal_reset_fixed() {
        let (busy, frames, copied): (bool, i64, i64) = db.query_row("PRAGMA main.wal_checkpoint(TRUNCATE)", [], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
        return Ok(if busy { Done::Skipped(format!("others read it: {copied} of {frames} pages were copied")) } else { Done::Success(None) });
    }
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    db.close().map_err(|(_, e)| Error::from(e))?;
    if size::on_disk(path).wal == 0 {
        return Ok(Done::Success(Some("nobody else had it open".into())));
    }
    let why = format!("others have it open (this connection, too, counts), and SQLite {} can lose pages when a checkpoint meets a writer", rusqlite::version());
    Ok(Done::Skipped(why))
}

/// The highest rowid of each table whose rowid is no column: VACUUM may renumber those.
fn last_rowids(db: &Connection) -> Result<Vec<(String, Option<i64>)>> {
    let mut out = vec![];
    for name in schema::stored_tables(db, "main")? {
        let table = schema::table(db, "main", &name)?;
        if table.rowid_alias(db)?.is_none()
            && let Some(rowid) = table.rowid_name()
        {
            let last = db.query_row(&format!("SELECT max({rowid}) FROM {}", qualified("main", &name)), [], |r| r.get(0))?;
            out.push((name, last));
        }
    }
    Ok(out)
}

fn figures(db: &Connection, schema: &str, file: Option<&Path>) -> Result<Figures> {
    let number = |pragma: &str| db.query_row(&format!("PRAGMA {}.{pragma}", quote(schema)), [], |r| r.get::<_, i64>(0));
    Ok(Figures {
        bytes: size::of_schema(db, schema, file)?,
        pages: number("page_count")?,
        free_pages: number("freelist_count")?,
        query_ms: measure::query_time(db, schema)? * 1000.0,
    })
}

/// A database only the caller's connection can work on: in memory, or locked by it.
pub fn by_host(db: &Connection, schema: &str, file: Option<&Path>, ops: &[Op], limit: Option<u64>) -> Result<Outcome> {
    let reads = transaction(db, schema) == Some(Transaction::Read);
    let why = if reads { "the statement that makes this call reads the database" } else { "only this connection can open the database" };
    if ops.contains(&Op::Reindex) {
        sound(db, schema)?;
    }
    let before = figures(db, schema, file)?;
    let mut steps = vec![];
    for &op in ops {
        let bytes = || size::of_schema(db, schema, file).map_or(0, Bytes::total);
        let s = quote(schema);
        steps.push(timed(op, bytes, || match op {
            Op::Checkpoint if !is_wal(db, schema)? => Ok(Done::Skipped(NO_WAL.into())),
            Op::Vacuum | Op::Checkpoint => Ok(Done::Skipped(format!("{why}: run {} by itself", verb(op, &s)))),
            Op::Reindex => {
                for table in schema::stored_tables(db, schema)? {
                    changed(db, schema, file, limit, &format!("REINDEX {}", qualified(schema, &table)))?;
                }
                Ok(Done::Success(None))
            }
            Op::Analyze => changed(db, schema, file, limit, &format!("ANALYZE {s}")),
            Op::Optimize => changed(db, schema, file, limit, &format!("PRAGMA {s}.optimize")),
        })?);
    }
    Ok(Outcome { steps, before, after: figures(db, schema, file)? })
}

fn verb(op: Op, schema: &str) -> String {
    if op == Op::Vacuum { format!("VACUUM {schema}") } else { format!("PRAGMA {schema}.wal_checkpoint(TRUNCATE)") }
}

/// Settings worth having, and the present ones where they can be seen: those of a connection are its own affair.
pub fn pragmas(db: &Connection, schema: &str, own: bool) -> Result<Vec<Json>> {
    let current = |name: &str| db.query_row(&format!("PRAGMA {}.{name}", quote(schema)), [], |r| r.get::<_, rusqlite::types::Value>(0)).map(text).ok();
    let mode = current("journal_mode").unwrap_or_default();
    let mut all = vec![];
    let mut put = |name: &str, value: &str, in_file: bool, why: String| {
        all.push(json!({
            "pragma": name, "recommended": value, "current": if own || in_file { current(name) } else { None }, "kept_in_file": in_file,
            "statement": format!("PRAGMA {name}={value}"), "why": why,
        }));
    };
    let care = if host::wal_reset_fixed() {
        String::new()
    } else {
        format!("; first give every program that writes it a SQLite of 3.51.3 or later: {} has the WAL-reset bug", rusqlite::version())
    };
    if mode != "memory" && mode != "off" {
        put("journal_mode", "WAL", true, format!("readers and a writer do not wait for each other{care}"));
    }
    put(
        "synchronous",
        "NORMAL",
        false,
        "in WAL mode a crash damages nothing, and a commit need not wait for the disk; with a rollback journal keep FULL".into(),
    );
    put("cache_size", "10000", false, "pages kept in memory by each connection".into());
    put("temp_store", "MEMORY", false, "sorts and temporary tables stay off the disk".into());
    put("mmap_size", "268435456", false, "reads without copying; not on files that another program may truncate".into());
    Ok(all)
}

fn text(v: rusqlite::types::Value) -> String {
    use rusqlite::types::Value;
    match v {
        Value::Integer(i) => i.to_string(),
        Value::Real(r) => r.to_string(),
        Value::Text(t) => t,
        Value::Null | Value::Blob(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_sorted_and_checked() {
        assert_eq!(Op::list(None).unwrap().len(), 5);
        assert_eq!(Op::list(Some("Analyze, VACUUM,vacuum")).unwrap(), [Op::Vacuum, Op::Analyze]);
        assert!(Op::list(Some("vacum")).unwrap_err().message.contains("Did you mean \"vacuum\""));
        assert!(Op::list(Some(" , ")).is_err());
    }

    #[test]
    fn a_vacuum_past_the_limit_changes_nothing() {
        let dir = std::env::temp_dir().join(format!("dbint-optimize-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("a.db");
        let other = Connection::open(&path).unwrap();
        other
            .execute_batch(
                "PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(500000)), (zeroblob(500000)); DELETE FROM t WHERE rowid = 1",
            )
            .unwrap();
        let job = |ops: &[Op], limit| Job { path: path.clone(), ops: ops.to_vec(), limit, wait: Duration::ZERO, scheduled: false };
        let now = size::on_disk(&path).total();
        let done = job(&[Op::Vacuum], Some(now + 1000)).run(&Watch::default()).unwrap();
        assert_eq!(done.steps[0].status, Status::Failed);
        assert!(done.steps[0].detail.as_ref().unwrap().contains("DBINT_SIZE_LIMIT"), "{done:?}");
        assert_eq!(size::on_disk(&path).total(), now);
        let done = job(&[Op::Vacuum], None).run(&Watch::default()).unwrap();
        assert_eq!((done.steps[0].status, done.after.free_pages), (Status::Success, 0), "{done:?}");
        assert!(done.before.free_pages > 100);
        let last: i64 = other.query_row("SELECT max(rowid) FROM t", [], |r| r.get(0)).unwrap();
        assert_eq!(last, 1);
        assert!(done.steps[0].detail.as_ref().unwrap().contains("renumbered"));
        // Somebody writes: nothing is waited for, nothing is changed.
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let done = job(&[Op::Vacuum, Op::Analyze], None).run(&Watch::default()).unwrap();
        assert!(done.steps.iter().all(|s| s.status == Status::Failed && s.detail.as_ref().unwrap().contains("DBINT_BUSY")), "{done:?}");
        drop(other);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
