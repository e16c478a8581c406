//! How a Rust function becomes a SQL function or table. All `unsafe` lives here and in `entry`.
mod at_close;
mod beside;
mod call;
pub mod file;
mod function;
mod guard;
mod interrupt;
pub mod journal;
mod lasting;
mod many;
mod options;
#[cfg(test)]
mod panics;
mod peek;
mod progress;
mod spec;
mod statement;
mod table;
mod values;

pub use at_close::*;
pub use beside::*;
pub use call::*;
pub use guard::*;
pub use interrupt::*;
pub use many::*;
pub use options::*;
pub use peek::*;
pub use progress::*;
pub use spec::*;
pub use statement::*;
pub use values::*;

use rusqlite::Connection;

/// Registers one room's functions and tables.
pub fn register(db: &Connection, room: &'static Room) -> rusqlite::Result<()> {
    for f in room.functions {
        function::register(db, f)?;
    }
    for t in room.tables {
        table::register(db, t)?;
    }
    Ok(())
}

/// Whether this connection already has dbint.
pub fn is_registered(db: &Connection) -> bool {
    db.prepare("SELECT dbint_version()").is_ok()
}
