//! The views of `sql/views` as tables: they work before there is a hub (no rows) and without a view in the user's
//! file, so that nothing of ours stands in the way of the user's ALTER TABLE. A view of the same name comes first.
use super::Hub;
use crate::kit::*;

/// Name and text of each view, in the order of creation.
pub const ALL: &[(&str, &str)] = &[
    ("unified_system_status", include_str!("../../../sql/views/unified_system_status.sql")),
    ("performance_dashboard", include_str!("../../../sql/views/performance_dashboard.sql")),
    ("sync_status_summary", include_str!("../../../sql/views/sync_status_summary.sql")),
    ("active_alerts", include_str!("../../../sql/views/active_alerts.sql")),
    ("performance_analytics", include_str!("../../../sql/views/performance_analytics.sql")),
];

const fn view(name: &'static str, columns: &'static [Column], summary: &'static str, example: &'static str) -> Table {
    Table { name, args: &[], columns, access: Access::Reads, summary, example, rows: show }
}

/// Runs the view's own SELECT on the hub, wherever it is.
fn show(call: &Call<'_>) -> crate::Result<Rows> {
    let Some(hub) = Hub::find(call.db)? else { return rows(vec![]) };
    let select = ALL.iter().find(|(n, _)| *n == call.name).and_then(|(_, sql)| sql.split_once(" AS\n")).map_or("", |(_, s)| s);
    let mut q = call.db.prepare(&hub.sql(select))?;
    let n = q.column_count();
    let all = q.query_map([], |r| (0..n).map(|i| r.get(i)).collect())?.collect::<rusqlite::Result<_>>()?;
    rows(all)
}

pub const UNIFIED_SYSTEM_STATUS: Table = view(
    "unified_system_status",
    &[
        col("db_name", "TEXT"),
        col("health_status", "TEXT"),
        col("performance_score", "REAL"),
        col("metric_count", "INTEGER"),
        col("avg_performance_delta", "REAL"),
        col("last_modified", "TEXT"),
    ],
    "Every registered database with its health and figures of performance.",
    "SELECT db_name, health_status FROM unified_system_status;",
);
pub const PERFORMANCE_DASHBOARD: Table = view(
    "performance_dashboard",
    &[
        col("db_name", "TEXT"),
        col("metric_type", "TEXT"),
        col("avg_value", "REAL"),
        col("min_value", "REAL"),
        col("max_value", "REAL"),
        col("measurement_count", "INTEGER"),
        col("last_measurement", "TEXT"),
    ],
    "The last 24 hours of metrics, one row a database and metric.",
    "SELECT db_name, metric_type, measurement_count FROM performance_dashboard ORDER BY 1, 2 LIMIT 3;",
);
pub const SYNC_STATUS_SUMMARY: Table = view(
    "sync_status_summary",
    &[
        col("source_db", "TEXT"),
        col("target_db", "TEXT"),
        col("total_syncs", "INTEGER"),
        col("successful_syncs", "INTEGER"),
        col("avg_duration", "REAL"),
        col("last_sync", "TEXT"),
    ],
    "The last 7 days of syncs, one row a source and target; durations in seconds.",
    "SELECT source_db, target_db, total_syncs, successful_syncs FROM sync_status_summary;",
);
pub const ACTIVE_ALERTS: Table = view(
    "active_alerts",
    &[
        col("alert_id", "TEXT"),
        col("severity", "TEXT"),
        col("db_name", "TEXT"),
        col("rule_id", "TEXT"),
        col("message", "TEXT"),
        col("value", "REAL"),
        col("state", "TEXT"),
        col("opened_at", "TEXT"),
        col("acknowledged_by", "TEXT"),
    ],
    "Alerts that are not resolved, the gravest first.",
    "SELECT severity, db_name, message FROM active_alerts;",
);
pub const PERFORMANCE_ANALYTICS: Table = view(
    "performance_analytics",
    &[
        col("db_name", "TEXT"),
        col("avg_query_time", "REAL"),
        col("avg_sync_duration", "REAL"),
        col("avg_memory_usage", "REAL"),
        col("total_measurements", "INTEGER"),
    ],
    "The last 24 hours, one row a database: average query time and sync duration in seconds, memory in percent.",
    "SELECT db_name, total_measurements > 0 AS measured FROM performance_analytics ORDER BY 1 LIMIT 3;",
);
