//! Do two databases agree, in schema and in content?
mod checksum;

use crate::kit::*;

pub const ROOM: Room =
    Room { name: "consistency", summary: "Do two databases agree, in schema and in content?", functions: &[checksum::TABLE_CHECKSUM], tables: &[] };
