//! Looking back: metrics over time, the history of alerts, and the fleet as it was last seen.
use crate::db::time;
use crate::error::{Error, Result};
use crate::hub::{Hub, limits, settings};
use crate::{kit::*, options};
use rusqlite::{Connection, types::Value};

options! {
    struct SeriesOptions {
        /// Hours to look back; default 24.
        hours: f64,
        /// Most points a database; default 240.
        points: u32,
    }
}

pub const METRIC_SERIES: Table = Table {
    name: "metric_series",
    args: &[req("metric", "a metric_type or alias of metric_types"), opt("db", "a registered name; default: every database"), options(SeriesOptions::KEYS)],
    columns: &[col("db_name", "TEXT"), col("at", "TEXT"), col("value", "REAL"), col("min_value", "REAL"), col("max_value", "REAL"), col("samples", "INTEGER")],
    access: Access::Reads,
    summary: "A metric over time, raw and rolled-up figures joined, as mean, least and greatest of equal parts of the time.",
    example: "SELECT db_name, samples FROM metric_series('storage_used', 'analytics');",
    rows: series,
};

fn series(call: &Call<'_>) -> Result<Rows> {
    let o: SeriesOptions = call.options()?;
    let given = call.text("metric")?;
    let metric = super::metrics::find(given).ok_or_else(|| {
        let near = crate::error::did_you_mean(given, super::metrics::METRICS.iter().map(|m| m.word));
        Error::not_found(format!("no metric \"{given}\".{near}")).hint("metric_types lists them")
    })?;
    let hours = o.hours.unwrap_or(24.0);
    if !(hours.is_finite() && hours > 0.0 && hours <= 24.0 * 366.0 * 10.0) {
        return Err(Error::argument("option \"hours\" is above 0 and at most ten years"));
    }
    let points = f64::from(o.points.unwrap_or(240).clamp(1, 10_000));
    let Some(hub) = Hub::find(call.db)? else { return rows(vec![]) };
    let since = time::stored(chrono::Utc::now() - chrono::Duration::milliseconds((hours * 3_600_000.0) as i64));
    let bucket = (hours * 3600.0 / points).max(1.0);
    let mut q = call.db.prepare(&hub.sql(SERIES))?;
    let all = q.query_map(rusqlite::params![metric.word, call.opt_text("db"), since, bucket], |r| {
        (0..6).map(|i| r.get(i)).collect::<rusqlite::Result<Vec<Value>>>()
    })?;
    rows(all.collect::<rusqlite::Result<_>>()?)
}

/// Both kinds of rows in parts of ?4 seconds.
const SERIES: &str = "SELECT db_name, datetime(CAST(part * ?4 AS INTEGER), 'unixepoch'), sum(value * n) / sum(n), min(least), max(greatest), sum(n) FROM ( \
    SELECT db_name, CAST(strftime('%s', measurement_time) / ?4 AS INTEGER) AS part, metric_value AS value, metric_value AS least, metric_value AS greatest, 1 AS n \
      FROM hub.performance_metrics WHERE metric_type = ?1 AND (?2 IS NULL OR db_name = ?2) AND measurement_time >= ?3 AND metric_value IS NOT NULL \
    UNION ALL \
    SELECT db_name, CAST(strftime('%s', start_time) / ?4 AS INTEGER), avg_value, min_value, max_value, samples \
      FROM hub.metric_history WHERE metric_type = ?1 AND (?2 IS NULL OR db_name = ?2) AND start_time >= ?3) \
    GROUP BY db_name, part ORDER BY db_name, part";

pub const ALERT_HISTORY: Table = Table {
    name: "alert_history",
    args: &[],
    columns: &[
        col("event_id", "INTEGER"),
        col("at", "TEXT"),
        col("event", "TEXT"),
        col("severity", "TEXT"),
        col("db_name", "TEXT"),
        col("rule_id", "TEXT"),
        col("message", "TEXT"),
        col("who", "TEXT"),
        col("value", "REAL"),
        col("note", "TEXT"),
        col("alert_id", "TEXT"),
    ],
    access: Access::Reads,
    summary: "What happened to every alert: OPENED, ACKNOWLEDGED, RESOLVED, in that order of time.",
    example: "SELECT count(*) FROM alert_history;",
    rows: |call| {
        let Some(hub) = Hub::find(call.db)? else { return rows(vec![]) };
        listed(
            call.db,
            &hub.sql(
                "SELECT e.event_id, e.at, e.event, a.severity, a.db_name, a.rule_id, a.message, e.who, e.value, e.note, e.alert_id \
                 FROM hub.alert_events AS e JOIN hub.alerts AS a USING(alert_id) ORDER BY e.event_id",
            ),
            11,
        )
    },
};

fn listed(db: &Connection, sql: &str, columns: usize) -> Result<Rows> {
    let mut q = db.prepare(sql)?;
    let all = q.query_map([], |r| (0..columns).map(|i| r.get(i)).collect::<rusqlite::Result<Vec<Value>>>())?;
    rows(all.collect::<rusqlite::Result<_>>()?)
}

pub const FLEET_OVERVIEW: Table = Table {
    name: "fleet_overview",
    args: &[],
    columns: &[
        col("db_name", "TEXT"),
        col("db_path", "TEXT"),
        col("health_status", "TEXT"),
        col("performance_score", "REAL"),
        col("size_bytes", "INTEGER"),
        col("limit_bytes", "INTEGER"),
        col("growth_percent_day", "REAL"),
        col("tables", "INTEGER"),
        col("rows", "INTEGER"),
        col("query_time_s", "REAL"),
        col("available", "REAL"),
        col("active_alerts", "INTEGER"),
        col("last_sync", "TEXT"),
        col("last_proven_backup", "TEXT"),
        col("seen_at", "TEXT"),
    ],
    access: Access::Reads,
    summary: "The fleet as it was last seen, a row a database, from dbint's own tables: no database is opened.",
    example: "SELECT db_name, health_status, tables FROM fleet_overview WHERE db_name LIKE 'a%';",
    rows: overview,
};

/// Joined from what each part last wrote; the newest of registry and monitor counts.
const OVERVIEW: &str = "SELECT r.db_name, r.db_path, \
      CASE (SELECT metric_value FROM hub.metric_latest WHERE db_name = r.db_name AND metric_type = 'health_status' AND measurement_time > coalesce(r.timestamp, '')) \
        WHEN 0 THEN 'HEALTHY' WHEN 1 THEN 'WARNING' WHEN 2 THEN 'CRITICAL' WHEN 3 THEN 'UNREACHABLE' ELSE r.health_status END, \
      r.performance_score, \
      coalesce((SELECT CAST(metric_value AS INTEGER) FROM hub.metric_latest WHERE db_name = r.db_name AND metric_type = 'storage_used'), r.db_size), \
      (SELECT limit_mb FROM hub.size_limits WHERE db_name = r.db_name), \
      (SELECT metric_value FROM hub.metric_latest WHERE db_name = r.db_name AND metric_type = 'size_growth'), \
      r.table_count, r.record_count, \
      (SELECT metric_value FROM hub.metric_latest WHERE db_name = r.db_name AND metric_type = 'query_time'), \
      (SELECT metric_value FROM hub.metric_latest WHERE db_name = r.db_name AND metric_type = 'availability'), \
      coalesce(a.n, 0), s.at, b.at, \
      (SELECT max(measurement_time) FROM hub.metric_latest WHERE db_name = r.db_name) \
    FROM hub.database_registry AS r \
    LEFT JOIN (SELECT db_name, count(*) AS n FROM hub.alerts WHERE state <> 'RESOLVED' GROUP BY 1) AS a ON a.db_name = r.db_name \
    LEFT JOIN (SELECT name, max(at) AS at FROM (SELECT source_db AS name, max(timestamp) AS at FROM hub.cross_db_sync_log WHERE sync_status = 'SUCCESS' GROUP BY 1 \
               UNION ALL SELECT target_db, max(timestamp) FROM hub.cross_db_sync_log WHERE sync_status = 'SUCCESS' GROUP BY 1) GROUP BY 1) AS s ON s.name = r.db_name \
    LEFT JOIN (SELECT db_name, max(proven_at) AS at FROM hub.backup_catalog GROUP BY 1) AS b ON b.db_name = r.db_name \
    ORDER BY r.db_name";

fn overview(call: &Call<'_>) -> Result<Rows> {
    let Some(hub) = Hub::find(call.db)? else { return rows(vec![]) };
    let general = limits::bytes(settings::number(call.db, "size.limit_mb")?)? as i64;
    let mut q = call.db.prepare(&hub.sql(OVERVIEW))?;
    let all = q.query_map([], |r| {
        let mut row = (0..15).map(|i| r.get(i)).collect::<rusqlite::Result<Vec<Value>>>()?;
        if let Some(limit) = row.get_mut(5) {
            *limit = Value::Integer(match limit {
                Value::Real(mb) => (*mb * 1e6).round() as i64,
                Value::Integer(mb) => *mb * 1_000_000,
                _ => general,
            });
        }
        Ok(row)
    })?;
    rows(all.collect::<rusqlite::Result<_>>()?)
}
