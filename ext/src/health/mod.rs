//! Is this database in good shape?
use crate::kit::*;

pub const ROOM: Room = Room { name: "health", summary: "Is this database in good shape?", functions: &[], tables: &[] };
