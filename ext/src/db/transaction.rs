//! All of a change, or nothing of it, inside whatever transaction the caller has.
use crate::error::Result;
use rusqlite::Connection;

/// Runs `body` in a savepoint; an error takes back what it did.
pub fn savepoint<T>(db: &Connection, body: impl FnOnce() -> Result<T>) -> Result<T> {
    db.execute_batch("SAVEPOINT dbint")?;
    let out = body();
    let kept = if out.is_ok() { db.execute_batch("RELEASE dbint") } else { Ok(()) };
    if out.is_err() || kept.is_err() {
        // A commit that met a lock leaves the transaction open: the caller must not find it so.
        let undone = db.execute_batch("ROLLBACK TO dbint; RELEASE dbint");
        let out = out?;
        kept?;
        undone?;
        return Ok(out);
    }
    out
}
