//! Maintenance: one database on demand, the whole fleet by a schedule of rows that users may change.
use super::{
    collect,
    metrics::Group,
    optimize::{self, Job, Op, Outcome, Status},
    record,
    schedule::{self, Came, Due},
};
use crate::backup::{self, BackupOptions};
use crate::db::{header, ident::quote, open::BUSY_TIMEOUT, parallel::each, size, time};
use crate::error::{Error, Kind, Result};
use crate::hub::{Hub, Target, limits, registry, target::Place};
use crate::kit::file::{Transaction, transaction};
use crate::{kit::*, options};
use chrono::Utc;
use rusqlite::{Connection, types::Value};
use serde_json::{Value as Json, json};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

options! {
    struct MaintenanceOptions {
        /// Only these tasks: vacuum, analyze, reindex, optimize, checkpoint, backup, performance.
        tasks: Vec<String>,
        /// Only this database, by its registered name.
        db: String,
        /// Only tell what is due; default false.
        dry_run: bool,
    }
}

pub const OPTIMIZE_DATABASE: Function = Function {
    name: "optimize_database",
    args: &[database(), opt("operations", "comma-separated: reindex, vacuum, analyze, optimize, checkpoint; default: all, in this order")],
    returns: "json {db_name, db_path, status, operations[{operation, status, detail, duration_s, bytes_before, bytes_after}], before{size_bytes, database_bytes, wal_bytes, pages, free_pages, query_ms}, after{…}, bytes_saved, performance_improvement, duration_s, recommended_pragmas[{pragma, recommended, current, kept_in_file, statement, why}]}",
    access: Access::Outside,
    summary: "Rebuilds, compacts and analyses a database, with figures from before and after; an operation that is not safe just now is SKIPPED and says why.",
    example: "SELECT json_extract(optimize_database('analytics', 'vacuum, analyze'), '$.status');",
    run: |call| Ok(Value::Text(optimized(call.db, call.opt_text("db"), &Op::list(call.opt_text("operations"))?)?.to_string())),
};

pub const RUN_MAINTENANCE: Function = Function {
    name: "run_maintenance",
    args: &[options(MaintenanceOptions::KEYS)],
    returns: "json {run, succeeded, skipped, failed, dry_run, results[{task, db_name, status, detail, duration_s, bytes_before, bytes_after}], duration_s}",
    access: Access::Outside,
    summary: "Does what maintenance_due lists; a task that fails keeps no other from being done and is tried again after five minutes.",
    example: "SELECT json_extract(run_maintenance('{\"tasks\":[\"analyze\"],\"db\":\"analytics\"}'), '$.failed');",
    run: |call| Ok(Value::Text(run(call.db, &call.options()?)?.to_string())),
};

pub const MAINTENANCE_DUE: Table = Table {
    name: "maintenance_due",
    args: &[],
    columns: &[
        col("task", "TEXT"),
        col("db_name", "TEXT"),
        col("frequency_s", "INTEGER"),
        col("last_done", "TEXT"),
        col("due_since", "TEXT"),
        col("last_status", "TEXT"),
        col("last_detail", "TEXT"),
    ],
    access: Access::Reads,
    summary: "Maintenance whose time has come, by the rows of maintenance_schedule; never done has no due_since.",
    example: "SELECT task FROM maintenance_due WHERE db_name = 'analytics';",
    rows: |call| {
        let Some(hub) = Hub::find(call.db)? else { return rows(vec![]) };
        let text = |t: Option<String>| t.map_or(Value::Null, Value::Text);
        let row = |d: Due| {
            let since = d.since.map(time::stored);
            vec![
                Value::Text(d.task),
                Value::Text(d.db_name),
                Value::Integer(d.frequency_s),
                text(d.done_at),
                text(since),
                text(d.last_status),
                text(d.last_detail),
            ]
        };
        rows(schedule::due(call.db, &hub, &own_name(call.db)?, Utc::now())?.into_iter().map(row).collect())
    },
};

/// How the caller's own database is called in the schedule.
fn own_name(db: &Connection) -> Result<String> {
    Ok(Target::resolve(db, None)?.name)
}

/// Who does the work.
enum Hands {
    Own(Job),
    /// Schema and file of a database that only the caller's connection can change just now.
    Host(String, Option<PathBuf>),
}

fn hands(host: &Connection, target: &Target, ops: &[Op], scheduled: bool) -> Result<Hands> {
    let limit = limits::enforced(host, &target.name, None)?;
    let job = |path: PathBuf, wait| Hands::Own(Job { path, ops: ops.to_vec(), limit, wait, scheduled });
    let schema = match &target.place {
        Place::Server(_) => return Err(Error::unsupported(format!("{} is a server, and this works on SQLite databases", target.name))),
        // The very file may be attached here under another name.
        Place::File(path) => match path.canonicalize().ok().map(|full| registry::attached(host, &full)) {
            Some(Ok(Some(schema))) => schema,
            _ => return Ok(job(path.clone(), BUSY_TIMEOUT)),
        },
        Place::Schema(schema) => schema.clone(),
    };
    let state = transaction(host, &schema);
    if state == Some(Transaction::Write) || !host.is_autocommit() {
        return Err(Error::new(Kind::InTransaction, format!("a transaction is open on {schema}")).hint("COMMIT or ROLLBACK first"));
    }
    let file = crate::hub::target::file_of(host, &schema)?;
    let pragma = |name: &str| host.query_row(&format!("PRAGMA {}.{name}", quote(&schema)), [], |r| r.get::<_, String>(0));
    let free = state == Some(Transaction::None);
    Ok(match file {
        // A reader holds up no writer in WAL mode; with a rollback journal nobody but itself can commit.
        Some(path) if pragma("locking_mode")? == "normal" && (free || pragma("journal_mode")? == "wal") => {
            job(path, if free { BUSY_TIMEOUT } else { Duration::ZERO })
        }
        file => Hands::Host(schema, file),
    })
}

/// The caller's own view of a database that was worked on beside it: its statistics.
fn tell_host(host: &Connection, path: &Path, ops: &[Op]) -> Result<()> {
    let Some(full) = path.canonicalize().ok() else { return Ok(()) };
    if ops.contains(&Op::Analyze)
        && let Some(schema) = registry::attached(host, &full)?
    {
        // Only reads the new statistics; none are there where no table has an index.
        let _ = host.execute_batch(&format!("ANALYZE {}.sqlite_master", quote(&schema)));
    }
    Ok(())
}

fn optimized(host: &Connection, given: Option<&str>, ops: &[Op]) -> Result<Json> {
    let began = Instant::now();
    let target = Target::resolve(host, given)?;
    let file = target.file(host)?;
    let (done, schema) = match hands(host, &target, ops, false)? {
        Hands::Host(schema, file) => {
            let limit = limits::enforced(host, &target.name, None)?;
            (optimize::by_host(host, &schema, file.as_deref(), ops, limit)?, Some(schema))
        }
        Hands::Own(job) => {
            let done = each(host, std::slice::from_ref(&job), Job::run)?;
            let done = done.into_iter().next().unwrap_or_else(|| Err(Error::internal("no outcome"))).and_then(|r| r);
            let done = done.map_err(|e| e.context(format!("\"{}\"", job.path.display())))?;
            tell_host(host, &job.path, ops)?;
            (done, if let Place::Schema(s) = &target.place { Some(s.clone()) } else { None })
        }
    };
    let pragmas = match (&schema, &file) {
        (Some(schema), _) => optimize::pragmas(host, schema, true)?,
        (None, Some(path)) => optimize::pragmas(&Target::file_at(path).session(host, crate::hub::target::Mode::Read)?.db, "main", false)?,
        (None, None) => vec![],
    };
    if let Some(hub) = Hub::find(host)? {
        schedule::keep(host, &hub, &came(&target.name, &done))?;
    }
    let failed = done.steps.iter().any(|s| s.status == Status::Failed);
    let gain = if done.before.query_ms > 0.0 { (done.before.query_ms - done.after.query_ms) / done.before.query_ms * 100.0 } else { 0.0 };
    Ok(json!({
        "db_name": target.name,
        "db_path": file.map(|f| f.display().to_string()),
        "status": if failed { "FAILED" } else { "SUCCESS" },
        "operations": done.steps.iter().map(optimize::Step::json).collect::<Vec<_>>(),
        "before": done.before.json(),
        "after": done.after.json(),
        "bytes_saved": done.before.bytes.total() as i64 - done.after.bytes.total() as i64,
        "performance_improvement": (gain * 10.0).round() / 10.0,
        "duration_s": began.elapsed().as_secs_f64(),
        "recommended_pragmas": pragmas,
    }))
}

fn came(db_name: &str, done: &Outcome) -> Vec<Came> {
    let one = |s: &optimize::Step| Came {
        task: s.op.word().to_owned(),
        db_name: db_name.to_owned(),
        status: s.status,
        duration_s: s.duration_s,
        before: Some(s.before),
        after: Some(s.after),
        detail: s.detail.clone(),
    };
    done.steps.iter().map(one).collect()
}

/// A task that came to nothing before it began.
fn failed(due: &Due, e: &Error) -> Came {
    Came {
        task: due.task.clone(),
        db_name: due.db_name.clone(),
        status: Status::Failed,
        duration_s: 0.0,
        before: None,
        after: None,
        detail: Some(e.to_string()),
    }
}

const TASKS: [&str; 7] = ["vacuum", "analyze", "reindex", "optimize", "checkpoint", "backup", "performance"];

fn run(host: &Connection, o: &MaintenanceOptions) -> Result<Json> {
    let began = Instant::now();
    for task in o.tasks.iter().flatten() {
        one_of("task", task, &TASKS)?;
    }
    let hub = Hub::need(host)?;
    let mut due = schedule::due(host, &hub, &own_name(host)?, Utc::now())?;
    due.retain(|d| o.tasks.as_ref().is_none_or(|t| t.iter().any(|t| t.eq_ignore_ascii_case(&d.task))) && o.db.as_ref().is_none_or(|n| *n == d.db_name));
    let mut results: Vec<Came> = vec![];
    let mut keep = |came: Vec<Came>| -> Result<()> {
        schedule::keep(host, &hub, &came)?;
        results.extend(came);
        Ok(())
    };
    let dry_run = o.dry_run.unwrap_or(false);
    if !dry_run {
        let mut jobs: Vec<(Vec<&Due>, Job)> = vec![];
        for of_one in due.chunk_by(|a, b| a.db_name == b.db_name) {
            let (files, rest): (Vec<&Due>, Vec<&Due>) = of_one.iter().partition(|d| Op::list(Some(&d.task)).is_ok());
            for d in rest {
                Interrupt::of(host)?.check()?;
                keep(vec![by_hand(host, &hub, d)])?;
            }
            if files.is_empty() {
                continue;
            }
            match prepared(host, &files) {
                Err(e) => keep(files.iter().map(|d| failed(d, &e)).collect())?,
                Ok((skipped, None)) => keep(skipped)?,
                Ok((skipped, Some((left, Hands::Host(schema, file))))) => {
                    keep(skipped)?;
                    let ops = ops(&left);
                    let limit = left.first().map_or(Ok(None), |d| limits::enforced(host, &d.db_name, None))?;
                    match optimize::by_host(host, &schema, file.as_deref(), &ops, limit) {
                        Ok(done) => keep(left.first().map_or(vec![], |d| came(&d.db_name, &done)))?,
                        Err(e) if e.kind == Kind::Interrupted => return Err(e),
                        Err(e) => keep(left.iter().map(|d| failed(d, &e)).collect())?,
                    }
                }
                Ok((skipped, Some((left, Hands::Own(job))))) => {
                    keep(skipped)?;
                    jobs.push((left, job));
                }
            }
        }
        jobs.sort_by_key(|(_, job)| std::cmp::Reverse(size::on_disk(&job.path).total()));
        let done = each(host, &jobs, |(_, job), watch| job.run(watch))?;
        for ((due, job), outcome) in jobs.iter().zip(done) {
            match outcome.and_then(|r| r) {
                Ok(outcome) => {
                    tell_host(host, &job.path, &job.ops)?;
                    keep(due.first().map_or(vec![], |d| came(&d.db_name, &outcome)))?;
                }
                Err(e) => keep(due.iter().map(|d| failed(d, &e)).collect())?,
            }
        }
    }
    let count = |status| results.iter().filter(|r| r.status == status).count();
    let (succeeded, skipped, broken) = (count(Status::Success), count(Status::Skipped), count(Status::Failed));
    let shown: Vec<Json> = if dry_run {
        due.iter().map(|d| json!({"task": d.task, "db_name": d.db_name, "status": "DUE", "detail": d.last_detail})).collect()
    } else {
        results.iter().map(shown).collect()
    };
    Ok(json!({
        "run": succeeded + skipped + broken, "succeeded": succeeded, "skipped": skipped, "failed": broken, "dry_run": dry_run, "results": shown,
        "duration_s": began.elapsed().as_secs_f64(),
    }))
}

fn shown(c: &Came) -> Json {
    json!({
        "task": c.task, "db_name": c.db_name, "status": c.status.word(), "detail": c.detail, "duration_s": c.duration_s, "bytes_before": c.before,
        "bytes_after": c.after,
    })
}

fn ops(due: &[&Due]) -> Vec<Op> {
    let mut ops: Vec<Op> = due.iter().filter_map(|d| Op::list(Some(&d.task)).ok()).flatten().collect();
    ops.sort_unstable();
    ops
}

type Prepared<'d> = (Vec<Came>, Option<(Vec<&'d Due>, Hands)>);

/// Leaves out what would find the file as it left it.
fn prepared<'d>(host: &Connection, due: &[&'d Due]) -> Result<Prepared<'d>> {
    let Some(first) = due.first() else { return Ok((vec![], None)) };
    let target = Target::resolve(host, Some(&first.db_name))?;
    let changed = match target.file(host)? {
        Some(path) => {
            if header::read(&path)? == header::Kin::Empty {
                return Ok((due.iter().map(|d| skipped(d, "the file has zero bytes")).collect(), None));
            }
            last_change(&path)
        }
        None => None,
    };
    let unchanged = |d: &&&Due| match (changed, d.done_at.as_deref().and_then(time::parse)) {
        (Some(at), Some(done)) => chrono::DateTime::<Utc>::from(at) <= done,
        _ => false,
    };
    let (idle, left): (Vec<&Due>, Vec<&Due>) = due.iter().partition(|d| unchanged(d));
    let idle = idle.into_iter().map(|d| skipped(d, "the file has not changed since")).collect();
    if left.is_empty() {
        return Ok((idle, None));
    }
    let hands = hands(host, &target, &ops(&left), true)?;
    Ok((idle, Some((left, hands))))
}

fn last_change(path: &Path) -> Option<SystemTime> {
    let modified = |p: &Path| std::fs::metadata(p).and_then(|m| m.modified()).ok();
    modified(path).max(modified(&crate::db::copy::with_suffix(path, "-wal")))
}

fn skipped(d: &Due, why: &str) -> Came {
    Came { status: Status::Skipped, detail: Some(why.to_owned()), ..failed(d, &Error::internal("")) }
}

/// Tasks that need the hub: done one after another.
fn by_hand(host: &Connection, hub: &Hub, due: &Due) -> Came {
    let began = Instant::now();
    let done = match due.task.as_str() {
        "backup" => backed_up(host, due),
        "performance" => measured(host, hub, due).map(|()| None),
        other => one_of("task", other, &TASKS).map(|_| None),
    };
    match done {
        Ok(detail) => Came { status: Status::Success, detail, duration_s: began.elapsed().as_secs_f64(), ..failed(due, &Error::internal("")) },
        Err(e) => Came { duration_s: began.elapsed().as_secs_f64(), ..failed(due, &e) },
    }
}

fn backed_up(host: &Connection, due: &Due) -> Result<Option<String>> {
    // Full where there is none to build on.
    let options = BackupOptions { r#type: Some("incremental".into()), ..BackupOptions::default() };
    let receipt = backup::backup(host, Some(&due.db_name), &options)?;
    Ok(receipt.get("backup_id").and_then(Json::as_str).map(|id| format!("backup {id}")))
}

fn measured(host: &Connection, hub: &Hub, due: &Due) -> Result<()> {
    let target = Target::resolve(host, Some(&due.db_name))?;
    let Some(path) = target.file(host)? else { return Ok(()) };
    let now = time::now();
    let readings = collect::of_file(host, hub, &target.name, &path, &[Group::Health, Group::Performance], None, &now)?;
    record::write(host, hub, |db, hub| record::readings(db, hub, &target.name, &readings, &now)).map(drop)
}
