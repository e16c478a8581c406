//! One monitor a hub: a row that is renewed while it lives, and passes to another once its owner is gone.
use crate::db::time;
use crate::error::{Error, Kind, Result};
use crate::hub::Hub;
use crate::run::host;
use rusqlite::{Connection, OptionalExtension, params};

/// The row's owner as it stands.
pub struct Holder {
    pub owner: String,
    pub host: Option<String>,
    pub pid: Option<u32>,
    pub started_at: String,
    heartbeat_at: String,
    expires_at: String,
}

impl Holder {
    /// Whether it is still at work. On this machine its process tells, and a heartbeat that is late beyond doubt; a clock
    /// that was set back makes nobody look late.
    pub fn is_alive(&self, now: &str) -> bool {
        let here = self.host.as_deref() == Some(host::name().as_str());
        let gone = here && self.pid.is_some_and(|p| !host::alive(p));
        !gone && (now < self.expires_at.as_str() || self.heartbeat_at.as_str() > now)
    }
}

pub fn holder(db: &Connection, hub: &Hub) -> Result<Option<Holder>> {
    let sql = "SELECT owner, host, pid, started_at, heartbeat_at, expires_at FROM hub.monitor_lock WHERE id = 1";
    let row = db.prepare(&hub.sql(sql))?.query_row([], |r| {
        Ok(Holder { owner: r.get(0)?, host: r.get(1)?, pid: r.get(2)?, started_at: r.get(3)?, heartbeat_at: r.get(4)?, expires_at: r.get(5)? })
    });
    Ok(row.optional()?)
}

/// Seconds after which a silent monitor counts as gone.
const SILENCE: f64 = 90.0;

fn expiry(interval: Option<f64>) -> String {
    let seconds = SILENCE.max(interval.unwrap_or(30.0) * 3.0);
    time::stored(chrono::Utc::now() + chrono::Duration::milliseconds((seconds * 1000.0) as i64))
}

/// Takes the place, or says who has it. Call it inside a transaction that may write.
pub fn take(db: &Connection, hub: &Hub, owner: &str, interval: Option<f64>) -> Result<()> {
    let now = time::now();
    if let Some(h) = holder(db, hub)?.filter(|h| h.owner != owner && h.is_alive(&now)) {
        let who = format!("process {} on {}", h.pid.unwrap_or(0), h.host.as_deref().unwrap_or("another machine"));
        return Err(Error::new(Kind::Busy, format!("a monitor is at work already: {who}, since {}", h.started_at)).hint("monitor_stop() ends it"));
    }
    db.execute(
        &hub.sql("REPLACE INTO hub.monitor_lock(id, owner, host, pid, interval_s, started_at, heartbeat_at, expires_at) VALUES(1, ?, ?, ?, ?, ?, ?, ?)"),
        params![owner, host::name(), std::process::id(), interval, now, now, expiry(interval)],
    )?;
    Ok(())
}

/// What a round adds to the row.
#[derive(Default, Clone)]
pub struct Beat {
    pub rounds: i64,
    pub samples: i64,
    pub errors: i64,
    pub last_error: Option<String>,
}

/// False where the place belongs to somebody else now, or was given up for us.
pub fn renew(db: &Connection, hub: &Hub, owner: &str, interval: Option<f64>, beat: &Beat) -> Result<bool> {
    let sql = "UPDATE hub.monitor_lock SET heartbeat_at = ?2, expires_at = ?3, rounds = ?4, samples = ?5, errors = ?6, \
               last_error = coalesce(?7, last_error) WHERE id = 1 AND owner = ?1";
    Ok(db.execute(&hub.sql(sql), params![owner, time::now(), expiry(interval), beat.rounds, beat.samples, beat.errors, beat.last_error])? > 0)
}

pub fn release(db: &Connection, hub: &Hub, owner: &str) -> Result<()> {
    db.execute(&hub.sql("DELETE FROM hub.monitor_lock WHERE owner = ?"), [owner])?;
    Ok(())
}
