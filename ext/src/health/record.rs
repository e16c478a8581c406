//! What a check leaves in the hub: history, the registry's status, the state of the part "health", a size for the growth.
use super::{
    check::Status,
    examine::{Level, Report},
};
use crate::db::time;
use crate::error::Result;
use crate::hub::{Hub, install::savepoint};
use rusqlite::Connection;
use serde_json::{Value as Json, json};

const HISTORY: &str = "INSERT INTO hub.health_history(check_id, db_name, checked_at, level, status, score, integrity, performance, duration_ms, failed, error) \
                       VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const REGISTRY: &str =
    "UPDATE hub.database_registry SET health_status = ?1, performance_score = ?2, db_size = coalesce(?3, db_size), timestamp = ?4 WHERE db_name = ?5";
const METRIC: &str =
    "INSERT INTO hub.performance_metrics(metric_id, db_name, metric_type, metric_value, unit, measurement_time) VALUES(?, ?, 'storage_used', ?, 'bytes', ?)";
const PART: &str = "REPLACE INTO hub.integration_status(status_id, component_name, status, health_score, last_update, error_count, warning_count) \
                    VALUES('health', 'health', ?, ?, ?, ?, ?)";

/// All of it or none.
pub fn keep(db: &Connection, hub: &Hub, reports: &[Report]) -> Result<()> {
    let now = time::now();
    savepoint(db, || {
        let mut history = db.prepare(&hub.sql(HISTORY))?;
        let mut registry = db.prepare(&hub.sql(REGISTRY))?;
        let mut metric = db.prepare(&hub.sql(METRIC))?;
        for r in reports {
            let s = &r.score;
            let failed = r.failed().map(|c| c.id).collect::<Vec<_>>().join(",");
            let id = time::new_id();
            history.execute((&id, &r.name, &now, r.level.word(), s.status.word(), s.score, s.integrity, s.performance, r.duration_ms, failed, &r.error))?;
            let bytes = (s.status != Status::Unreachable).then_some(r.bytes.total() as i64);
            // A header alone says little of performance: the score of the last real look stays.
            let performance = if r.level == Level::Header && s.status != Status::Unreachable { None } else { Some(s.performance) };
            match performance {
                Some(p) => registry.execute((s.status.word(), p, bytes, &now, &r.name))?,
                None => registry.execute((s.status.word(), s.performance, bytes, &now, &r.name))?,
            };
            if let Some(bytes) = bytes {
                metric.execute((time::new_id(), &r.name, bytes, &now))?;
            }
        }
        let count = |status: &[Status]| reports.iter().filter(|r| status.contains(&r.score.status)).count() as i64;
        let (errors, warnings) = (count(&[Status::Critical, Status::Unreachable]), count(&[Status::Warning]));
        if reports.len() > 1 {
            let score = reports.iter().map(|r| r.score.score).sum::<f64>() / reports.len() as f64;
            let status = if errors > 0 { "DEGRADED" } else { "HEALTHY" };
            db.execute(&hub.sql(PART), (status, score, &now, errors, warnings))?;
        }
        Ok(())
    })
}

pub fn open_alerts(db: &Connection) -> Result<Vec<Json>> {
    let Some(hub) = Hub::find(db)? else { return Ok(vec![]) };
    let mut q = db.prepare(&hub.sql("SELECT alert_id, severity, db_name, message, opened_at FROM hub.alerts WHERE state <> 'RESOLVED' ORDER BY opened_at"))?;
    let all = q.query_map([], |r| {
        let text = |i| r.get::<_, Option<String>>(i);
        Ok(json!({"alert_id": text(0)?, "severity": text(1)?, "db_name": text(2)?, "message": text(3)?, "opened_at": text(4)?}))
    })?;
    Ok(all.collect::<rusqlite::Result<_>>()?)
}
