//! All of a change, or nothing of it, inside whatever transaction the caller has.
use crate::error::Result;
use rusqlite::Connection;

/// Runs `body` in a savepoint; an error takes back what it did.
pub fn savepoint<T>(db: &Connection, body: impl FnOnce() -> Result<T>) -> Result<T> {
    db.execute_batch("SAVEPOINT dbint")?;
    let out = body();
    let end = if out.is_ok() { "RELEASE dbint" } else { "ROLLBACK TO dbint; RELEASE dbint" };
    let ended = db.execute_batch(end);
    let out = out?;
    ended?;
    Ok(out)
}
