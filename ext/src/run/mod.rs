//! Whole runs made of the rooms below: the integration and its report, metrics, the monitor, alerts, maintenance.
use crate::kit::*;

mod agreement;
mod alerts;
mod collect;
mod deliver;
mod history;
mod host;
mod integrate;
mod maintain;
mod measure;
mod metrics;
mod monitor;
mod optimize;
mod record;
mod report_page;
mod schedule;

pub const ROOM: Room = Room {
    name: "run",
    summary: "Whole runs made of the rooms below: the integration and its report, metrics, the monitor, alerts, maintenance.",
    functions: &[
        alerts::EVALUATE_ALERTS,
        alerts::ACKNOWLEDGE_ALERT,
        alerts::RESOLVE_ALERT,
        monitor::MONITOR_START,
        monitor::MONITOR_STOP,
        monitor::MONITOR_ROUND,
        monitor::PROMETHEUS_METRICS,
        integrate::REPORT,
        maintain::OPTIMIZE_DATABASE,
        maintain::RUN_MAINTENANCE,
    ],
    tables: &[
        collect::COLLECT_METRICS,
        collect::METRIC_TYPES,
        monitor::MONITOR_STATUS,
        history::METRIC_SERIES,
        history::ALERT_HISTORY,
        history::FLEET_OVERVIEW,
        integrate::INTEGRATE,
        maintain::MAINTENANCE_DUE,
    ],
};
