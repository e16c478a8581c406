//! Backups that have been restored before you need them.
use crate::kit::*;

pub const ROOM: Room = Room { name: "backup", summary: "Backups that have been restored before you need them.", functions: &[], tables: &[] };
