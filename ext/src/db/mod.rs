//! SQLite know-how as plain functions on a connection.
pub mod affinity;
#[allow(dead_code, unused_imports, reason = "its users arrive room by room")]
pub mod changelog;
#[allow(dead_code, unused_imports, reason = "its users arrive room by room")]
pub mod copy;
#[allow(dead_code, unused_imports, reason = "its users arrive room by room")]
pub mod digest;
pub mod foreign_keys;
pub mod header;
pub mod host;
pub mod ident;
#[allow(dead_code, unused_imports, reason = "its users arrive room by room")]
pub mod lex;
#[allow(dead_code, unused_imports, reason = "its users arrive room by room")]
pub mod limit;
pub mod open;
#[allow(dead_code, unused_imports, reason = "its users arrive room by room")]
pub mod pages;
pub mod parallel;
#[allow(dead_code, unused_imports, reason = "its users arrive room by room")]
pub mod schema;
#[allow(dead_code, unused_imports, reason = "its users arrive room by room")]
pub mod size;
pub mod time;
pub mod transaction;
