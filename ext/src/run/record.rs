//! Readings become rows of `performance_metrics`, each with the mean of those before it and the difference.
use super::metrics::Reading;
use crate::db::{open, time};
use crate::error::{Kind, Result};
use crate::hub::{Hub, install::savepoint, target};
use rusqlite::{Connection, OptionalExtension, params};

/// Runs `body` in one transaction on the hub: on the caller's connection, or, where that meets a lock because somebody
/// has committed since its read began, on an own one.
pub fn write<T>(db: &Connection, hub: &Hub, body: impl Fn(&Connection, &Hub) -> Result<T>) -> Result<T> {
    match savepoint(db, || body(db, hub)) {
        Err(e) if e.kind == Kind::Busy => {
            let Some(file) = target::file_of(db, &hub.schema)? else { return Err(e) };
            let own = open::open(&file, open::Mode::Write)?;
            let there = Hub { schema: "main".into(), prefix: hub.prefix.clone() };
            savepoint(&own, || body(&own, &there))
        }
        other => other,
    }
}

/// A reading as it was stored.
pub struct Stored {
    pub baseline: Option<f64>,
    pub delta: Option<f64>,
}

/// The mean that a value is compared with: of all earlier ones, the last hundred weighing most.
const MEMORY: i64 = 100;

/// Stores what was read of one database; the latest value of each metric stands in `metric_latest`.
pub fn readings(db: &Connection, hub: &Hub, name: &str, all: &[Reading], now: &str) -> Result<Vec<Stored>> {
    let mut latest = db.prepare(&hub.sql("SELECT samples, baseline_value, metric_value FROM hub.metric_latest WHERE db_name = ? AND metric_type = ?"))?;
    let mut keep = db.prepare(&hub.sql(
        "INSERT INTO hub.metric_latest(db_name, metric_type, metric_value, unit, reason, measurement_time, samples, baseline_value) \
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT(db_name, metric_type) DO UPDATE SET \
         metric_value = ?3, unit = ?4, reason = ?5, measurement_time = ?6, samples = ?7, baseline_value = ?8",
    ))?;
    let mut put = db.prepare(&hub.sql(
        "INSERT INTO hub.performance_metrics(metric_id, db_name, metric_type, metric_value, unit, measurement_time, baseline_value, performance_delta) \
         VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
    ))?;
    let mut out = vec![];
    for reading in all {
        let before: Option<(i64, Option<f64>)> = latest.query_row([name, reading.metric], |r| Ok((r.get(0)?, r.get(1)?))).optional()?;
        let (samples, baseline) = before.unwrap_or((0, None));
        let Ok(value) = reading.value else {
            let reason = reading.value.as_ref().err();
            keep.execute(params![name, reading.metric, None::<f64>, reading.unit(), reason, now, samples, baseline])?;
            out.push(Stored { baseline, delta: None });
            continue;
        };
        let delta = baseline.filter(|b| *b != 0.0).map(|b| (value - b) / b.abs() * 100.0);
        let n = (samples + 1).min(MEMORY) as f64;
        let mean = baseline.map_or(value, |b| b + (value - b) / n);
        put.execute(params![time::new_id(), name, reading.metric, value, reading.unit(), now, baseline, delta])?;
        keep.execute(params![name, reading.metric, value, reading.unit(), None::<String>, now, samples + 1, mean])?;
        out.push(Stored { baseline, delta });
    }
    Ok(out)
}
