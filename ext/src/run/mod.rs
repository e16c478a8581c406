//! Whole runs made of the rooms below: the integration and its report, metrics, the monitor, alerts.
use crate::kit::*;

mod alerts;
mod collect;
mod deliver;
mod host;
mod integrate;
mod measure;
mod metrics;
mod record;
mod report_page;

pub const ROOM: Room = Room {
    name: "run",
    summary: "Whole runs made of the rooms below: the integration and its report, metrics, the monitor, alerts.",
    functions: &[alerts::EVALUATE_ALERTS, alerts::ACKNOWLEDGE_ALERT, alerts::RESOLVE_ALERT, integrate::REPORT],
    tables: &[collect::COLLECT_METRICS, collect::METRIC_TYPES, integrate::INTEGRATE],
};
