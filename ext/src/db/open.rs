//! Opens a database file the way dbint always does: no surprise for the file, for its other users, or for the host.
use crate::{
    error::{Error, Kind, Result},
    kit::{journal, left_descriptors},
};
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use std::{
    ffi::CStr,
    io::ErrorKind,
    path::Path,
    time::{Duration, SystemTime},
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Read,
    Write,
    /// As `Write`, and makes the file where there is none.
    Create,
}

/// How long an own connection waits for a lock before it is an error (or a retry).
pub const BUSY_TIMEOUT: Duration = Duration::from_millis(2_000);

/// Opens `path`; the error names it and says what is wrong with it.
pub fn open(path: &Path, mode: Mode) -> Result<Connection> {
    open_within(path, mode, BUSY_TIMEOUT)
}

/// As `open`, with an own patience for locks.
pub fn open_within(path: &Path, mode: Mode, wait: Duration) -> Result<Connection> {
    let db = if mode == Mode::Read { connect_to_look(path, wait)? } else { connect(path, mode, wait)? };
    check(&db).map_err(|e| describe(e, path))?;
    Ok(db)
}

/// Opens `path` for a transaction that changes many pages: its rollback journal is written in few pieces.
pub fn open_to_change_much(path: &Path, mode: Mode) -> Result<Connection> {
    let Some(layer) = journal::layer().filter(|_| mode != Mode::Read) else { return open(path, mode) };
    let db = connect_through(path, mode, BUSY_TIMEOUT, Some(layer))?;
    check(&db).map_err(|e| describe(e, path))?;
    if journal::gathered(&db) {
        return Ok(db);
    }
    drop(db);
    open(path, mode)
}

/// Opens a file for looking, with an own patience.
pub fn open_to_look(path: &Path, wait: Duration) -> Result<Connection> {
    open_within(path, Mode::Read, wait)
}

/// Opens for reading what only a writer can read: a hot journal must be rolled back before the first page.
pub fn open_to_recover(path: &Path, wait: Duration) -> Result<Connection> {
    let at_rest = wal_at_rest(path);
    let db = connect(path, Mode::Write, wait)?;
    take_away(&db, at_rest)?;
    check(&db).map_err(|e| describe(e, path))?;
    Ok(db)
}

/// Opens a file that nobody else has open, and keeps it so until the connection is closed; then no -wal and no -shm is left.
/// The file's bytes stay as they are, but for what its WAL or hot journal has to give back. Others on the file: Busy.
pub fn open_alone(path: &Path) -> Result<Connection> {
    let db = connect(path, Mode::Write, BUSY_TIMEOUT)?;
    let alone = || -> Result<()> {
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        // Before the first read: only then does a WAL connection lock out readers, too.
        db.execute_batch("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT")?;
        // Safe on any SQLite: nobody else is on the file.
        let busy: i64 = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get(0))?;
        if busy == 0 { Ok(()) } else { Err(Error::new(Kind::Busy, "its WAL cannot be emptied")) }
    };
    alone().map_err(|e| describe(e, path))?;
    Ok(db)
}

/// Opens a file that may be damaged, for reading: nothing is read yet, and schema rows that do not parse are passed over.
pub fn open_damaged(path: &Path) -> Result<Connection> {
    let db = connect_to_look(path, BUSY_TIMEOUT)?;
    db.execute_batch("PRAGMA writable_schema=ON")?;
    Ok(db)
}

/// A file that nobody writes while it is open: no locks, and no -wal or -shm beside it.
pub fn open_immutable(path: &Path) -> Result<Connection> {
    let uri = format!("file:{}?immutable=1", path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23"));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(uri, flags)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    db.execute_batch("PRAGMA mmap_size=0")?;
    Ok(db)
}

/// A database in WAL mode that nobody has open. Its -wal and -shm would be made and taken away again for each look, which
/// costs more than the look; read as immutable it costs neither, and what was read counts if nobody came meanwhile.
pub struct AtRest<'p> {
    path: &'p Path,
    modified: SystemTime,
    length: u64,
}

impl<'p> AtRest<'p> {
    /// A writer of WAL mode has a -wal from its first read on. A file written just now is not at rest: file systems keep
    /// times in steps, and a second write within one would not show.
    pub fn of(path: &'p Path) -> Option<AtRest<'p>> {
        let (modified, length) = stamp(path)?;
        let quiet = SystemTime::now().duration_since(modified).is_ok_and(|age| age > Duration::from_secs(3));
        (quiet && alone(path)).then_some(AtRest { path, modified, length })
    }

    pub fn open(&self) -> Result<Connection> {
        open_immutable(self.path)
    }

    /// Whether nobody wrote since, or could have.
    pub fn undisturbed(&self) -> bool {
        alone(self.path) && stamp(self.path) == Some((self.modified, self.length))
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let m = std::fs::metadata(path).ok()?;
    Some((m.modified().ok()?, m.len()))
}

fn alone(path: &Path) -> bool {
    ["-wal", "-journal"].iter().all(|s| matches!(std::fs::metadata(super::copy::with_suffix(path, s)), Err(e) if e.kind() == ErrorKind::NotFound))
}

/// Reading leaves nothing behind: a WAL database at rest would keep the -wal and -shm that a read-only connection makes.
fn connect_to_look(path: &Path, wait: Duration) -> Result<Connection> {
    if wal_at_rest(path)
        && let Ok(db) = connect(path, Mode::Write, wait)
    {
        take_away(&db, true)?;
        return Ok(db);
    }
    connect(path, Mode::Read, wait)
}

/// No write from here on. Where the WAL was at rest it is so again: the last connection takes -wal and -shm away, which
/// SQLite does only while it holds the file alone.
fn take_away(db: &Connection, at_rest: bool) -> Result<()> {
    db.execute_batch("PRAGMA query_only=1")?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !at_rest)?;
    Ok(())
}

/// In WAL mode with nothing in the WAL.
fn wal_at_rest(path: &Path) -> bool {
    std::fs::metadata(super::copy::with_suffix(path, "-wal")).map_or(true, |m| m.len() == 0)
        && matches!(super::header::read(path), Ok(super::header::Kin::Database(h)) if h.wal)
}

fn connect(path: &Path, mode: Mode, wait: Duration) -> Result<Connection> {
    connect_through(path, mode, wait, None)
}

/// `layer`: a file system layer other than SQLite's default.
fn connect_through(path: &Path, mode: Mode, wait: Duration, layer: Option<&CStr>) -> Result<Connection> {
    if left_descriptors() {
        return Err(Error::internal("this thread may not open a database: SQLite would take its descriptors for another thread's"));
    }
    let shown = path.display();
    let create = mode == Mode::Create;
    match std::fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound && create => {}
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(Error::not_found(format!("no file \"{shown}\"")).hint("To make a new database there, pass the option {\"create\":true}"));
        }
        Err(e) => return Err(Error::from(e).context(&shown)),
        Ok(m) if m.is_dir() => return Err(Error::new(Kind::NotADatabase, format!("\"{shown}\" is a directory, not a database"))),
        Ok(m) if !m.is_file() => return Err(Error::new(Kind::NotADatabase, format!("\"{shown}\" is not a regular file"))),
        Ok(_) => {}
    }
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE
        | match mode {
            Mode::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
            Mode::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
            Mode::Create => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        };
    let opened = match layer {
        Some(layer) => Connection::open_with_flags_and_vfs(path, flags, layer),
        None => Connection::open_with_flags(path, flags),
    };
    let db = opened.map_err(|e| Error::from(e).context(&shown))?;
    settle(&db, wait).map_err(|e| e.context(&shown))?;
    Ok(db)
}

/// Settings of every own connection, whatever the host's SQLite was compiled with.
fn settle(db: &Connection, wait: Duration) -> Result<()> {
    db.busy_timeout(wait)?;
    // Others may use the file: never checkpoint it behind their back (SQLite before 3.51.3 can lose pages then).
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Functions of ours or of the host must not run because a stranger's schema says so.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // mmap would be SIGBUS for the host when somebody truncates the file.
    db.execute_batch("PRAGMA wal_autocheckpoint=0; PRAGMA foreign_keys=OFF; PRAGMA mmap_size=0; PRAGMA recursive_triggers=OFF")?;
    Ok(())
}

/// Reads the header: SQLite opens anything, and complains at the first read only.
fn check(db: &Connection) -> Result<()> {
    db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(())
}

fn describe(e: Error, path: &Path) -> Error {
    let shown = path.display();
    match e.kind {
        Kind::NotADatabase => Error::new(Kind::NotADatabase, format!("\"{shown}\" is not a SQLite database (or it is encrypted)")),
        Kind::Corrupt => Error::new(Kind::Corrupt, format!("\"{shown}\" is damaged: {}", e.message)).hint("integrity_report tells where"),
        _ => e.context(shown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_files_are_named() {
        let dir = std::env::temp_dir().join(format!("dbint-open-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let kind = |p: &Path| open(p, Mode::Read).unwrap_err().kind;
        assert_eq!(kind(&dir.join("none.db")), Kind::NotFound);
        assert!(!dir.join("none.db").exists());
        assert_eq!(kind(&dir), Kind::NotADatabase);
        let text = dir.join("text.db");
        std::fs::write(&text, "just some words, long enough to be a header, but they are no header at all, really not; more words follow").unwrap();
        assert_eq!(kind(&text), Kind::NotADatabase);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_wal_database_at_rest_is_read_without_a_trace_and_a_writer_shows() {
        let dir = std::env::temp_dir().join(format!("dbint-at-rest-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("a ?%#.db");
        Connection::open(&path).unwrap().execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1)").unwrap();
        // Written just now: a second write may carry the same time.
        assert!(AtRest::of(&path).is_none());
        let age = || std::fs::File::options().append(true).open(&path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        age();
        let rest = AtRest::of(&path).unwrap();
        let db = rest.open().unwrap();
        assert_eq!(db.query_row("SELECT x FROM t", [], |r| r.get::<_, i64>(0)).unwrap(), 1);
        assert!(rest.undisturbed() && std::fs::read_dir(&dir).unwrap().count() == 1);
        // A writer that is still there, and one that came and went.
        let writer = Connection::open(&path).unwrap();
        writer.execute_batch("INSERT INTO t VALUES(2)").unwrap();
        assert!(!rest.undisturbed() && AtRest::of(&path).is_none());
        drop(writer);
        assert!(!rest.undisturbed());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
