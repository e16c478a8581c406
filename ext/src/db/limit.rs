//! The size guard: asked after the writes and before the commit, so that a database that would become too large
//! stays as it was.
use super::size;
use crate::error::{Error, Kind, Result};
use rusqlite::Connection;
use std::path::Path;

/// A database is fine while it is *below* its limit.
pub fn fits(bytes: u64, limit: u64) -> bool {
    bytes < limit
}

/// Bytes the database will have on disk once the open transaction of `db` is committed: the file and its -wal.
///
/// In rollback mode that is its page count times its page size. In WAL mode the changed pages are appended to the -wal
/// first; how many is not told before the commit, so what the transaction added to the database stands for them.
pub fn after_commit(db: &Connection, schema: &str, file: Option<&Path>) -> Result<u64> {
    let paged = size::paged(db, schema)?;
    let Some(path) = file else { return Ok(paged) };
    let now = size::on_disk(path);
    if now.wal == 0 {
        return Ok(paged.max(if db.is_autocommit() { now.database } else { 0 }));
    }
    Ok(now.total().max(paged + now.wal))
}

/// Refuses the commit with `[DBINT_SIZE_LIMIT]` where the database would not stay below `limit` bytes.
/// Call it inside the transaction that grows `schema` of `db`; roll back on error.
pub fn check_before_commit(db: &Connection, schema: &str, file: Option<&Path>, limit: Option<u64>) -> Result<()> {
    let Some(limit) = limit else { return Ok(()) };
    let bytes = after_commit(db, schema, file)?;
    if fits(bytes, limit) {
        return Ok(());
    }
    let name = file.map_or_else(|| schema.to_owned(), |f| f.display().to_string());
    Err(Error::new(Kind::SizeLimit, format!("\"{name}\" would have {} and its limit is {}; nothing was changed", size::shown(bytes), size::shown(limit)))
        .hint("Raise the limit, or move data out first"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_before_the_commit_in_both_journal_modes() {
        for mode in ["DELETE", "WAL"] {
            let path = std::env::temp_dir().join(format!("dbint-limit-{mode}-{}.db", std::process::id()));
            let _ = std::fs::remove_file(&path);
            let db = Connection::open(&path).unwrap();
            db.execute_batch(&format!("PRAGMA journal_mode={mode}; CREATE TABLE t(x)")).unwrap();
            let check = |limit| check_before_commit(&db, "main", Some(&path), Some(limit));
            db.execute_batch("BEGIN; INSERT INTO t VALUES(zeroblob(100000))").unwrap();
            assert!(check(1_000_000).is_ok());
            assert_eq!(check(100_000).unwrap_err().kind, Kind::SizeLimit);
            db.execute_batch("ROLLBACK").unwrap();
            assert!(check(100_000).is_ok());
            drop(db);
            for suffix in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(super::super::copy::with_suffix(&path, suffix));
            }
        }
        assert!(fits(99_899_999, size::DEFAULT_LIMIT) && !fits(99_900_000, size::DEFAULT_LIMIT));
    }
}
