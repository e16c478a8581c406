//! The one list of everything visible from SQL.
use crate::{about, backup, consistency, health, hub, integrity, kit::Room, quality, run, size, sync, track};

pub const ROOMS: &[&Room] = &[
    &about::ROOM,
    &hub::ROOM,
    &health::ROOM,
    &integrity::ROOM,
    &size::ROOM,
    &sync::ROOM,
    &track::ROOM,
    &consistency::ROOM,
    &quality::ROOM,
    &backup::ROOM,
    &run::ROOM,
];
