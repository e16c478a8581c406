//! Rules the data must keep, and what breaks them.
use crate::kit::*;

pub const ROOM: Room = Room { name: "quality", summary: "Rules the data must keep, and what breaks them.", functions: &[], tables: &[] };
