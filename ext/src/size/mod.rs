//! How large is it, how fast does it grow, and when does it meet its limit?
use crate::kit::*;

pub const ROOM: Room = Room { name: "size", summary: "How large is it, how fast does it grow, and when does it meet its limit?", functions: &[], tables: &[] };
