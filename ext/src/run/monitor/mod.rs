//! The monitor: a thread of this process that samples the fleet, and stops with the connection that started it.
mod engine;
mod lock;
mod prometheus;
mod rollup;

use super::deliver;
use crate::db::time;
use crate::error::{Error, Kind, Result};
use crate::hub::{Hub, settings};
use crate::kit::*;
use engine::{Engine, Halt};
use rusqlite::{Connection, OptionalExtension, types::Value};
use serde_json::json;
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

pub use prometheus::PROMETHEUS_METRICS;

pub const MONITOR_START: Function = Function {
    name: "monitor_start",
    args: &[typed("interval_s", Type::Number, true, "seconds between two rounds, for all metrics; default: each group at its own interval")],
    returns: "json {state, started, owner, pid, interval_s, hub}",
    access: Access::Outside,
    summary: "Starts sampling the fleet in a thread of this program, with connections of its own; it ends with this connection.",
    example: "SELECT json_extract(monitor_start(60), '$.state'); SELECT json_extract(monitor_stop(), '$.stopped');",
    run: start,
};

pub const MONITOR_STOP: Function = Function {
    name: "monitor_stop",
    args: &[],
    returns: "json {stopped, rounds, samples, errors}",
    access: Access::Outside,
    summary: "Ends the monitor of this hub, wherever it runs: in this program at once, in another within its next round.",
    example: "SELECT json_extract(monitor_stop(), '$.stopped');",
    run: |call| {
        let hub = Hub::need(call.db)?;
        let sql = "SELECT owner, rounds, samples, errors FROM hub.monitor_lock WHERE id = 1";
        type Row = (String, i64, i64, i64);
        let read = |db: &Connection| -> Result<Option<Row>> {
            Ok(db.prepare(&hub.sql(sql))?.query_row([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))).optional()?)
        };
        let row = read(call.db)?;
        let here = running(&engine::hub_file(call.db, &hub)?);
        if let Some(monitor) = &here {
            monitor.end();
        }
        hub.execute(call.db, "DELETE FROM hub.monitor_lock", [])?;
        let (_, rounds, samples, errors) = row.clone().unwrap_or_default();
        Ok(Value::Text(json!({"stopped": row.is_some() || here.is_some(), "rounds": rounds, "samples": samples, "errors": errors}).to_string()))
    },
};

pub const MONITOR_ROUND: Function = Function {
    name: "monitor_round",
    args: &[],
    returns: "json {databases, samples, opened[], resolved[], active, rolled_up}",
    access: Access::Outside,
    summary: "One round of the monitor, now: measures every registered database, evaluates the alert rules, rolls up old figures.",
    example: "SELECT json_extract(monitor_round(), '$.databases');",
    run: |call| {
        let hub = Hub::need(call.db)?;
        if !call.db.is_autocommit() {
            return Err(Error::new(Kind::InTransaction, "a round cannot be part of a transaction").hint("COMMIT or ROLLBACK first"));
        }
        let mut engine = Engine::new(&engine::hub_file(call.db, &hub)?, &hub.prefix, None, deliver::channels(call.db)?)?;
        let turn = engine.turn(&Halt::default());
        if let Some(e) = engine.beat.last_error {
            return Err(Error::new(Kind::Sqlite, e));
        }
        let t = json!({"databases": turn.databases, "samples": turn.samples, "opened": turn.opened, "resolved": turn.resolved, "active": turn.active, "rolled_up": turn.rolled_up});
        Ok(Value::Text(t.to_string()))
    },
};

pub const MONITOR_STATUS: Table = Table {
    name: "monitor_status",
    args: &[],
    columns: &[
        col("state", "TEXT"),
        col("host", "TEXT"),
        col("pid", "INTEGER"),
        col("interval_s", "REAL"),
        col("started_at", "TEXT"),
        col("heartbeat_at", "TEXT"),
        col("rounds", "INTEGER"),
        col("samples", "INTEGER"),
        col("errors", "INTEGER"),
        col("last_error", "TEXT"),
        col("raw_rows", "INTEGER"),
        col("history_rows", "INTEGER"),
    ],
    access: Access::Reads,
    summary: "Whether a monitor is at work for this hub: RUNNING, STOPPED, or GONE where it ended without a word.",
    example: "SELECT state, rounds FROM monitor_status;",
    rows: |call| {
        let stopped = || vec![Value::Text("STOPPED".into()), Value::Null, Value::Null, Value::Null, Value::Null, Value::Null];
        let Some(hub) = Hub::find(call.db)? else { return rows(vec![]) };
        let count = |table: &str| call.db.query_row(&hub.sql(&format!("SELECT count(*) FROM hub.{table}")), [], |r| r.get::<_, Value>(0));
        let (raw, history) = (count("performance_metrics")?, count("metric_history")?);
        let state = match lock::holder(call.db, &hub)? {
            Some(h) if h.is_alive(&time::now()) => "RUNNING",
            Some(_) => "GONE",
            None => {
                let zero = || Value::Integer(0);
                return rows(vec![stopped().into_iter().chain([zero(), zero(), zero(), Value::Null, raw, history]).collect()]);
            }
        };
        let sql = "SELECT host, pid, interval_s, started_at, heartbeat_at, rounds, samples, errors, last_error FROM hub.monitor_lock";
        let row: Vec<Value> = call.db.query_row(&hub.sql(sql), [], |r| (0..9).map(|i| r.get(i)).collect())?;
        rows(vec![[Value::Text(state.into())].into_iter().chain(row).chain([raw, history]).collect()])
    },
};

/// A monitor of this process.
struct Monitor {
    halt: Halt,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The thread does not exist in a forked child.
    pid: u32,
    file: PathBuf,
}

/// By the file of the hub.
static MONITORS: Mutex<Option<HashMap<PathBuf, Arc<Monitor>>>> = Mutex::new(None);

fn running(file: &PathBuf) -> Option<Arc<Monitor>> {
    MONITORS.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.get(file).cloned()
}

/// Longest wait for the thread's last step; the library stays loaded, so that it may end later.
const PATIENCE: Duration = Duration::from_secs(5);

impl Monitor {
    fn end(&self) {
        self.halt.stop.store(true, std::sync::atomic::Ordering::SeqCst);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread.filter(|_| self.pid == std::process::id()) {
            let until = Instant::now() + PATIENCE;
            while !thread.is_finished() && Instant::now() < until {
                self.halt.watch.look(true);
                thread.thread().unpark();
                thread::sleep(Duration::from_millis(2));
            }
            if thread.is_finished() {
                // A panic inside was caught there.
                let _ = thread.join();
            }
        }
        if let Some(all) = MONITORS.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            all.remove(&self.file);
        }
    }

    fn work(&self, engine: &mut Engine) {
        while !self.halt.is_set() {
            let turn = engine.turn(&self.halt);
            if turn.lost {
                break;
            }
            while !self.halt.is_set() {
                let rest = engine.rest();
                if rest.is_zero() {
                    break;
                }
                thread::park_timeout(rest);
            }
        }
    }
}

/// Ends the monitor when the host closes the connection that started it.
struct UntilClose(Arc<Monitor>);
impl Drop for UntilClose {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn interval(call: &Call<'_>) -> Result<Option<f64>> {
    if let Some(s) = call.opt_number("interval_s") {
        return if s.is_finite() && (0.1..=86_400.0).contains(&s) {
            Ok(Some(s))
        } else {
            Err(Error::argument(format!("an interval is from 0.1 to 86400 seconds, not {s}")))
        };
    }
    let found = settings::get(call.db, "monitor.interval_ms")?;
    Ok(if found.source == "default" { None } else { Some((settings::number(call.db, "monitor.interval_ms")? / 1000.0).clamp(0.1, 86_400.0)) })
}

fn start(call: &Call<'_>) -> Result<Value> {
    let interval = interval(call)?;
    if !settings::switch(call.db, "monitor.enabled")? {
        return Err(Error::new(Kind::Denied, "monitoring is switched off").hint("SELECT dbint_set('monitor.enabled', 'true')"));
    }
    if !threads_allowed() {
        return Err(Error::unsupported("this program uses SQLite without threads").hint("`dbint monitor FILE` samples from a process of its own"));
    }
    let hub = Hub::need(call.db)?;
    let file = engine::hub_file(call.db, &hub)?;
    let told = |started: bool, owner: Option<&str>| {
        json!({"state": "RUNNING", "started": started, "owner": owner, "pid": std::process::id(), "interval_s": interval, "hub": file}).to_string()
    };
    if running(&file).is_some() {
        return Ok(Value::Text(told(false, None)));
    }
    if !call.db.is_autocommit() {
        return Err(
            Error::new(Kind::InTransaction, "the monitor cannot start inside a transaction, which locks dbint's tables").hint("COMMIT or ROLLBACK first")
        );
    }
    let mut engine = Engine::new(&file, &hub.prefix, interval, deliver::channels(call.db)?)?;
    engine.take_place()?;
    let owner = engine.owner.clone();
    let monitor = Arc::new(Monitor { halt: Halt { spread: true, ..Halt::default() }, thread: Mutex::new(None), pid: std::process::id(), file: file.clone() });
    let worker = monitor.clone();
    let thread = thread::Builder::new().name("dbint-monitor".into()).spawn(move || {
        // A bug of ours must not end the host; it shows as a monitor that is GONE.
        let _ = caught(|| worker.work(&mut engine));
        let _ = engine.leave();
        if let Some(all) = MONITORS.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            all.remove(&worker.file);
        }
    });
    let thread = thread.map_err(|e| Error::from(e).context("the monitor's thread"))?;
    *monitor.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    MONITORS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(file.clone(), monitor.clone());
    at_close(call.db, UntilClose(monitor))?;
    Ok(Value::Text(told(true, Some(&owner))))
}
