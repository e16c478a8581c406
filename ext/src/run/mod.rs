//! Whole runs made of the rooms below: the integration and its report, metrics, the monitor, alerts, maintenance.
use crate::kit::*;

mod alerts;
mod collect;
mod deliver;
mod host;
mod integrate;
mod maintain;
mod measure;
mod metrics;
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
        integrate::REPORT,
        maintain::OPTIMIZE_DATABASE,
        maintain::RUN_MAINTENANCE,
    ],
    tables: &[collect::COLLECT_METRICS, collect::METRIC_TYPES, integrate::INTEGRATE, maintain::MAINTENANCE_DUE],
};
