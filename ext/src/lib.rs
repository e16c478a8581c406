//! dbint: the operations console for a fleet of SQLite databases, as a SQLite extension.
//!
//! A house with floors; a room uses the floors below it, never one beside or above it:
//!
//! ```text
//! 5  catalog, entry           the one list of what SQL can call; the C entry point
//! 4  run                      whole runs made of the rooms below
//! 3  health, size, sync, …    the domain rooms
//! 2  hub                      dbint's own tables, settings, and "which database was meant?"
//! 1  db                       SQLite know-how as plain functions on a connection
//! 0  kit, error               how Rust becomes SQL; the only `unsafe` besides `entry`
//! ```
// A user's data must never be able to bring the host down: what can panic is refused at compile time.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

#[cfg(all(feature = "bundled", feature = "loadable"))]
compile_error!("`loadable` calls the host's SQLite and `bundled` brings its own: build the extension with `cargo ext`");

mod about;
mod backup;
mod catalog;
mod consistency;
mod db;
#[cfg(feature = "loadable")]
mod entry;
mod error;
mod health;
mod hub;
mod integrity;
pub mod kit;
mod quality;
mod run;
mod size;
mod sync;
mod track;

pub use catalog::ROOMS;
pub use error::{Error, Kind, Result, did_you_mean};

/// Registers every SQL function and table on one connection. Writes nothing to any database.
pub fn register(db: &rusqlite::Connection) -> rusqlite::Result<()> {
    for room in ROOMS {
        kit::register(db, room)?;
    }
    Ok(())
}
