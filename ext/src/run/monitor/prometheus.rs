//! The last figures in Prometheus' text format, version 0.0.4.
use crate::db::time;
use crate::error::Result;
use crate::hub::Hub;
use crate::kit::*;
use rusqlite::{Connection, types::Value};
use std::fmt::Write;

/// Name there, what one of our units is worth in theirs, and the help line.
const NAMES: &[(&str, &str, f64, &str)] = &[
    ("availability", "sqlite_up", 0.01, "1 where the database answered the last probe, else 0."),
    ("storage_used", "sqlite_db_size_bytes", 1.0, "Bytes of the database file and its -wal."),
    ("storage_limit", "sqlite_db_size_limit_ratio", 0.01, "Size against the size limit."),
    ("size_growth", "sqlite_db_growth_ratio_per_day", 0.01, "Growth a day against the size before."),
    ("database_integrity", "sqlite_integrity_ratio", 0.01, "Integrity checks passed of those run."),
    ("health_status", "sqlite_health_status", 1.0, "0 healthy, 1 warning, 2 critical, 3 unreachable."),
    ("query_time", "sqlite_query_time_seconds", 1.0, "Median time of the probe query."),
    ("query_time_average", "sqlite_query_time_average_seconds", 1.0, "Mean of the last 60 probe queries."),
    ("connection_time", "sqlite_connection_time_seconds", 1.0, "Time to open the database, the slowest of three."),
    ("connection_efficiency", "sqlite_connection_efficiency_ratio", 0.01, "Connections answered within 0.1 s of those tried."),
    ("connection_count", "sqlite_connections", 1.0, "Open handles on the file."),
    ("lock_waits", "sqlite_lock_waits", 1.0, "Times the last probe had to wait for a lock."),
    ("insert_throughput", "sqlite_insert_rows_per_second", 1.0, "Rows a second into a scratch file of the same page size."),
    ("sync_duration", "sqlite_sync_duration_seconds", 1.0, "Mean duration of the syncs of 24 hours."),
    ("error_rate", "sqlite_error_ratio", 0.01, "Failed syncs and unanswered probes of all."),
    ("consistency", "sqlite_consistency_ratio", 0.01, "Mean consistency score of the mappings."),
    ("consistency_warnings", "sqlite_consistency_warnings", 1.0, "Consistency checks that did not pass."),
    ("memory_usage", "dbint_host_memory_usage_ratio", 0.01, "Memory in use of the host or its container."),
    ("cpu_usage", "dbint_host_cpu_usage_ratio", 0.01, "Processor time in use, of all cores."),
    ("disk_io", "dbint_process_disk_bytes_per_second", 1.0, "Bytes the monitor's process reads and writes."),
    ("pool_usage", "dbint_pool_usage_ratio", 0.01, "Connections of a pool in use."),
];

/// These are of the machine, the same for every database.
const OF_THE_MACHINE: &[&str] = &["memory_usage", "cpu_usage", "disk_io"];

pub const PROMETHEUS_METRICS: Function = Function {
    name: "prometheus_metrics",
    args: &[],
    returns: "text in Prometheus' format",
    access: Access::Reads,
    summary: "The last figures of the fleet as Prometheus reads them; `dbint dashboard` and `dbint monitor --listen` serve them at /metrics.",
    example: "SELECT instr(prometheus_metrics(), 'dbint_databases 8') > 0;",
    run: |call| Ok(Value::Text(text(call.db)?)),
};

fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn family(out: &mut String, name: &str, help: &str, samples: &[(String, f64)]) {
    if samples.is_empty() {
        return;
    }
    // Writing to a String cannot fail.
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n");
    for (labels, value) in samples {
        let _ = writeln!(out, "{name}{labels} {value}");
    }
}

fn text(db: &Connection) -> Result<String> {
    let mut out = String::new();
    let Some(hub) = Hub::find(db)? else { return Ok(out) };
    let mut latest = db.prepare(&hub.sql(
        "SELECT l.db_name, l.metric_value FROM hub.metric_latest AS l JOIN hub.database_registry AS r ON r.db_name = l.db_name \
         WHERE l.metric_type = ? AND l.metric_value IS NOT NULL ORDER BY l.db_name",
    ))?;
    for (metric, name, worth, help) in NAMES {
        let mut samples = latest.query_map([metric], |r| Ok((r.get::<_, String>(0)?, r.get::<_, f64>(1)? * worth)))?.collect::<rusqlite::Result<Vec<_>>>()?;
        if OF_THE_MACHINE.contains(metric) {
            samples.truncate(1);
        }
        let machine = OF_THE_MACHINE.contains(metric);
        let samples: Vec<_> = samples.into_iter().map(|(n, v)| (if machine { String::new() } else { format!("{{db=\"{}\"}}", label(&n)) }, v)).collect();
        family(&mut out, name, help, &samples);
    }
    for (column, name, help) in
        [("table_count", "sqlite_db_tables", "Tables of the database."), ("record_count", "sqlite_db_rows", "Rows of all tables, when last counted.")]
    {
        let sql = format!("SELECT db_name, {column} FROM hub.database_registry WHERE {column} IS NOT NULL ORDER BY db_name");
        let mut q = db.prepare(&hub.sql(&sql))?;
        let samples = q.query_map([], |r| Ok((format!("{{db=\"{}\"}}", label(&r.get::<_, String>(0)?)), r.get::<_, f64>(1)?)))?;
        family(&mut out, name, help, &samples.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    let one = |sql: &str| db.query_row(&hub.sql(sql), [], |r| r.get::<_, f64>(0));
    let mut alerts = vec![];
    for severity in ["CRITICAL", "WARNING", "INFO"] {
        let n = one(&format!("SELECT count(*) FROM hub.alerts WHERE state <> 'RESOLVED' AND severity = '{severity}'"))?;
        alerts.push((format!("{{severity=\"{}\"}}", severity.to_lowercase()), n));
    }
    family(&mut out, "dbint_active_alerts", "Alerts that are not resolved.", &alerts);
    family(&mut out, "dbint_databases", "Registered databases.", &[(String::new(), one("SELECT count(*) FROM hub.database_registry")?)]);
    let beat: Option<String> = db.query_row(&hub.sql("SELECT max(heartbeat_at) FROM hub.monitor_lock"), [], |r| r.get(0))?;
    let at = beat.as_deref().and_then(time::parse).map(|t| t.timestamp_millis() as f64 / 1000.0);
    family(
        &mut out,
        "dbint_monitor_heartbeat_timestamp_seconds",
        "When the monitor last gave a sign of life.",
        &at.map_or(vec![], |t| vec![(String::new(), t)]),
    );
    Ok(out)
}
