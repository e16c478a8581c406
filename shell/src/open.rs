//! Opening a database with dbint in it: the one door through which every subcommand gets its connection.
use crate::error::{Error, Result};
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};

/// A connection that has dbint, and the empty file it may have left behind.
pub struct Opened {
    pub db: Connection,
    pub path: Option<PathBuf>,
    /// The file did not exist before: taken away again if nothing was ever written to it, so that a typo leaves no trace.
    fresh: bool,
}

/// `None` and `:memory:` are a database in memory.
pub fn open(path: Option<&Path>, readonly: bool) -> Result<Opened> {
    let path = path.filter(|p| *p != Path::new(":memory:") && !p.as_os_str().is_empty());
    let db = match path {
        None => Connection::open_in_memory()?,
        Some(p) if p.is_dir() => return Err(Error::usage(format!("\"{}\" is a folder. Start in it with: cd {0} && dbint FILE", p.display()))),
        Some(p) => {
            let mode = if readonly { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE };
            let fresh = !p.exists();
            let db = Connection::open_with_flags(p, mode | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX)
                .map_err(|e| Error::usage(format!("cannot open \"{}\": {}", p.display(), reason(p, &e))))?;
            match db.query_row("SELECT 1 FROM sqlite_schema", [], |_| Ok(())) {
                Err(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
                    return Err(Error::usage(format!("\"{}\" is not a SQLite database, or it is encrypted", p.display())));
                }
                // Whatever else is wrong with it, one may want to examine it.
                _ => {}
            }
            dbint::register(&db)?;
            return Ok(Opened { db, path: Some(p.to_owned()), fresh });
        }
    };
    dbint::register(&db)?;
    Ok(Opened { db, path: None, fresh: false })
}

fn reason(path: &Path, e: &rusqlite::Error) -> String {
    match path.parent().filter(|d| !d.as_os_str().is_empty() && !d.exists()) {
        Some(dir) => format!("there is no folder \"{}\"", dir.display()),
        None => e.to_string(),
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(p) = self.path.as_ref().filter(|_| self.fresh)
            && p.metadata().is_ok_and(|m| m.is_file() && m.len() == 0)
        {
            // Nothing is lost by a failure here.
            let _ = std::fs::remove_file(p);
        }
    }
}

impl Opened {
    pub fn is_fresh(&self) -> bool {
        self.fresh && self.path.as_ref().is_some_and(|p| p.metadata().is_ok_and(|m| m.len() == 0))
    }
}

/// Loads an extension library, as the user asked.
#[expect(unsafe_code, reason = "the user names a library to run in this process; SQLite's SQL function for it stays off")]
pub fn load(db: &Connection, path: &str, entry: Option<&str>) -> Result<()> {
    // SAFETY: what the library does is in the user's hands, as with `sqlite3`.
    unsafe {
        db.load_extension_enable()?;
        let done = db.load_extension(path, entry);
        db.load_extension_disable()?;
        Ok(done?)
    }
}
