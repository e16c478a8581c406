//! SQLite know-how as plain functions on a connection.
pub mod copy;
pub mod foreign_keys;
pub mod ident;
pub mod lex;
pub mod open;
pub mod pages;
pub mod schema;
pub mod time;
