//! Whole runs made of the rooms below: the integration, its report, the monitor, maintenance.
use crate::kit::*;

pub const ROOM: Room =
    Room { name: "run", summary: "Whole runs made of the rooms below: the integration, its report, the monitor, maintenance.", functions: &[], tables: &[] };
