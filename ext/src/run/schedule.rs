//! Which maintenance is due: the rows of `maintenance_schedule` against what was done last.
use super::{optimize::Status, record};
use crate::db::time;
use crate::error::Result;
use crate::hub::{Hub, target};
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A task that failed is tried again no sooner.
const RETRY_S: i64 = 300;
/// Rows of `maintenance_log` are kept so long.
const KEEP_DAYS: i64 = 90;

/// A task of one database whose time has come.
#[derive(Clone, Debug)]
pub struct Due {
    pub task: String,
    pub db_name: String,
    pub frequency_s: i64,
    pub done_at: Option<String>,
    /// None where it was never done.
    pub since: Option<DateTime<Utc>>,
    pub last_status: Option<String>,
    pub last_detail: Option<String>,
}

/// What is known of a task of a database.
#[derive(Default)]
struct State {
    tried: Option<DateTime<Utc>>,
    done_at: Option<String>,
    status: Option<String>,
    detail: Option<String>,
}

/// Everything that is due, by database, then by task. Where no database is registered, `*` stands for `own`.
pub fn due(db: &Connection, hub: &Hub, own: &str, now: DateTime<Utc>) -> Result<Vec<Due>> {
    let mut rules: BTreeMap<String, HashMap<String, (i64, bool)>> = BTreeMap::new();
    let mut q = db.prepare(&hub.sql("SELECT task, db_name, frequency_s, enabled FROM hub.maintenance_schedule"))?;
    let mut rows = q.query([])?;
    while let Some(r) = rows.next()? {
        rules.entry(r.get(0)?).or_default().insert(r.get(1)?, (r.get(2)?, r.get(3)?));
    }
    let mut states: HashMap<(String, String), State> = HashMap::new();
    let mut q = db.prepare(&hub.sql("SELECT task, db_name, tried_at, done_at, status, detail FROM hub.maintenance_state"))?;
    let mut rows = q.query([])?;
    while let Some(r) = rows.next()? {
        let tried = r.get::<_, Option<String>>(2)?.and_then(|t| time::parse(&t));
        states.insert((r.get(0)?, r.get(1)?), State { tried, done_at: r.get(3)?, status: r.get(4)?, detail: r.get(5)? });
    }
    let mut fleet: BTreeSet<String> = target::registry(db)?.into_iter().filter(|(_, path)| !path.contains("://")).map(|(name, _)| name).collect();
    if fleet.is_empty() {
        fleet.insert(own.to_owned());
    }
    let named = rules.values().flat_map(HashMap::keys).filter(|n| *n != "*");
    let names: BTreeSet<&String> = fleet.iter().chain(named).collect();
    let mut all = vec![];
    for name in names {
        for (task, rule) in &rules {
            let Some((frequency_s, true)) = rule.get(name).or_else(|| rule.get("*").filter(|_| fleet.contains(name))).copied() else { continue };
            let state = states.remove(&(task.clone(), name.clone())).unwrap_or_default();
            let since = state.done_at.as_deref().and_then(time::parse).map(|t| t + TimeDelta::seconds(frequency_s));
            let failed = state.status.as_deref() == Some(Status::Failed.word());
            let waits = failed && state.tried.is_some_and(|t| t + TimeDelta::seconds(frequency_s.min(RETRY_S)) > now);
            if !waits && since.is_none_or(|s| s <= now) {
                all.push(Due {
                    task: task.clone(),
                    db_name: name.clone(),
                    frequency_s,
                    done_at: state.done_at,
                    since,
                    last_status: state.status,
                    last_detail: state.detail,
                });
            }
        }
    }
    Ok(all)
}

/// What a task came to.
pub struct Came {
    pub task: String,
    pub db_name: String,
    pub status: Status,
    pub duration_s: f64,
    pub before: Option<u64>,
    pub after: Option<u64>,
    pub detail: Option<String>,
}

/// Remembers when it was done; what changed a file goes into the log, too.
pub fn keep(db: &Connection, hub: &Hub, all: &[Came]) -> Result<()> {
    record::write(db, hub, |db, hub| {
        let mut state = db.prepare(&hub.sql(
            "INSERT INTO hub.maintenance_state(task, db_name, tried_at, done_at, status, detail) VALUES(?1, ?2, ?3, CASE WHEN ?4 <> 'FAILED' THEN ?3 END, ?4, ?5) \
             ON CONFLICT(task, db_name) DO UPDATE SET tried_at = ?3, done_at = coalesce(excluded.done_at, done_at), status = ?4, detail = ?5",
        ))?;
        let mut log = db.prepare(&hub.sql(
            "INSERT INTO hub.maintenance_log(run_id, task, db_name, started_at, duration_s, status, bytes_before, bytes_after, detail) \
             VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ))?;
        let now = Utc::now();
        for c in all {
            let at = time::stored(now);
            state.execute(params![c.task, c.db_name, at, c.status.word(), c.detail])?;
            if c.status != Status::Skipped && c.task != "performance" {
                let began = time::stored(now - TimeDelta::milliseconds((c.duration_s * 1000.0) as i64));
                let bytes = |b: Option<u64>| b.map(|b| b as i64);
                log.execute(params![time::new_id(), c.task, c.db_name, began, c.duration_s, c.status.word(), bytes(c.before), bytes(c.after), c.detail])?;
            }
        }
        let old = time::stored(now - TimeDelta::days(KEEP_DAYS));
        db.execute(&hub.sql("DELETE FROM hub.maintenance_log WHERE started_at < ?"), [old])?;
        Ok(())
    })
}
