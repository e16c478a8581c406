//! SQLite know-how as plain functions on a connection.
pub mod affinity;
#[allow(dead_code, reason = "two-way syncs are its next user")]
pub mod changelog;
pub mod copy;

#[allow(dead_code, reason = "two-way syncs keep a running sum")]
pub mod digest;
pub mod foreign_keys;
pub mod header;
pub mod host;
pub mod ident;
#[allow(dead_code, reason = "its users arrive room by room")]
pub mod lex;
pub mod limit;
pub mod open;
pub mod pages;
pub mod parallel;
pub mod record;
pub mod schema;
pub mod size;
pub mod time;
pub mod transaction;
