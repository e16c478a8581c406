//! SQLite know-how as plain functions on a connection.
pub mod copy;
pub mod ident;
pub mod open;
pub mod schema;
pub mod time;
