//! Something to be ended when the host closes its connection.
use rusqlite::{Connection, functions::FunctionFlags, types::Null};
use std::sync::atomic::{AtomicU32, Ordering};

/// Keeps `guard` until the connection is closed, then drops it: SQLite destroys a connection's functions with it.
pub fn at_close(db: &Connection, guard: impl Send + Sync + 'static) -> rusqlite::Result<()> {
    // A function that exists cannot be replaced while a statement runs: each has a name of its own.
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("dbint_until_close_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    db.create_scalar_function(name.as_str(), 0, FunctionFlags::SQLITE_DIRECTONLY, move |_| {
        let _ = &guard;
        Ok(Null)
    })
}
