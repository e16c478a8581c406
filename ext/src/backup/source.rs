//! The pages of one consistent state of a live database, whoever reads them.
use crate::db::open::{self, Mode};
use crate::error::{Error, Kind, Result};
use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

/// A state of a database as its pages, in order.
pub trait Source {
    fn page_size(&self) -> u32;
    fn pages(&self) -> u32;
    /// Fills `buffer` with the next pages; it is a multiple of the page size long.
    fn next(&mut self, buffer: &mut [u8]) -> Result<()>;
    /// A connection that sees the same state.
    fn snapshot(&self) -> &Connection;
}

/// The state copied by SQLite's backup API into a file of ours, for databases whose pages cannot be read in place:
/// in memory, by another VFS, or locked exclusively by the caller.
pub struct Copied {
    copy: Connection,
    file: File,
    path: PathBuf,
    page_size: u32,
    pages: u32,
}

/// Pages copied between two looks at Ctrl-C.
const STEP: i32 = 1000;

impl Copied {
    /// Copies schema `schema` of `from` to `path`.
    pub fn new(from: &Connection, schema: &str, path: PathBuf, tick: &mut dyn FnMut() -> Result<()>) -> Result<Copied> {
        let made = Copied::copy(from, schema, &path, tick);
        if made.is_err() {
            let _ = std::fs::remove_file(&path);
        }
        made
    }

    fn copy(from: &Connection, schema: &str, path: &Path, tick: &mut dyn FnMut() -> Result<()>) -> Result<Copied> {
        let mut out = Connection::open(path)?;
        // The copy is read once and thrown away: it need not survive anything.
        out.execute_batch("PRAGMA synchronous=OFF")?;
        {
            let copy = Backup::new_with_names(from, schema, &mut out, "main")?;
            let mut waits = 0;
            loop {
                match copy.step(STEP)? {
                    StepResult::Done => break,
                    StepResult::More => waits = 0,
                    _ if waits < 200 => {
                        waits += 1;
                        std::thread::sleep(Duration::from_millis(25));
                    }
                    _ => return Err(Error::new(Kind::Busy, "the source stayed locked during the copy")),
                }
                tick()?;
            }
        }
        out.close().map_err(|(_, e)| Error::from(e))?;
        // A WAL in the header would make the next reader create files beside it.
        let copy = Connection::open_with_flags(
            format!("file:{}?immutable=1", uri(path)),
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_URI,
        )?;
        let page_size = copy.query_row("PRAGMA page_size", [], |r| r.get(0))?;
        let file = File::open(path)?;
        let pages = u32::try_from(file.metadata()?.len() / u64::from(page_size)).map_err(|_| Error::internal("too many pages"))?;
        Ok(Copied { copy, file, path: path.to_owned(), page_size, pages })
    }

    /// Copies a file through a connection of our own.
    pub fn of_file(path: &Path, to: PathBuf, tick: &mut dyn FnMut() -> Result<()>) -> Result<Copied> {
        let db = open::open(path, Mode::Read)?;
        // One read transaction, so that a writer between two steps does not make the copy start again.
        db.execute_batch("BEGIN")?;
        db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Copied::new(&db, "main", to, tick)
    }
}

/// A path in a `file:` URI.
fn uri(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}

impl Source for Copied {
    fn page_size(&self) -> u32 {
        self.page_size
    }

    fn pages(&self) -> u32 {
        self.pages
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<()> {
        Ok(self.file.read_exact(buffer)?)
    }

    fn snapshot(&self) -> &Connection {
        &self.copy
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
