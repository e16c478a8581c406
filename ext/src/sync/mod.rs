//! Carrying tables from one database into another, with a preview, a receipt and an undo.
use crate::kit::*;

pub const ROOM: Room =
    Room { name: "sync", summary: "Carrying tables from one database into another, with a preview, a receipt and an undo.", functions: &[], tables: &[] };
