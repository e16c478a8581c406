//! SQLite know-how as plain functions on a connection.
pub mod affinity;
pub mod changelog;
pub mod copy;
pub mod digest;
pub mod foreign_keys;
pub mod header;
pub mod host;
pub mod ident;
pub mod lex;
pub mod limit;
pub mod open;
pub mod pages;
pub mod parallel;
pub mod schema;
pub mod size;
pub mod time;
pub mod transaction;
