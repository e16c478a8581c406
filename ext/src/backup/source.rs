//! The pages of one consistent state of a live database, whoever reads them.
use super::repository::Repository;
use crate::db::{
    open::{self, Mode},
    pages::{self, PageReader, Snapshot, Why},
};
use crate::error::{Error, Kind, Result};
use crate::hub::{Target, target::Place};
use crate::kit::file::{self, Transaction};
use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A state of a database as its pages, in order.
pub trait Source {
    fn page_size(&self) -> u32;
    fn pages(&self) -> u32;
    /// Fills `buffer` with the next pages; it is a multiple of the page size long.
    fn next(&mut self, buffer: &mut [u8]) -> Result<()>;
    /// A connection that sees the same state.
    fn snapshot(&self) -> &Connection;
    /// After the last page: whether they were all of that state.
    fn still_valid(&self) -> bool {
        true
    }
    /// How the pages are read, for the receipt.
    fn how(&self) -> &'static str;
}

/// Looks at Ctrl-C, renews the lock.
pub type Tick<'t> = &'t mut dyn FnMut() -> Result<()>;
/// What is done with a source while it is open.
pub type Body<'b, T> = &'b mut dyn FnMut(&mut dyn Source, Tick<'_>) -> Result<T>;

/// Opens the database as last committed, by the fastest way that is safe here, and runs `body` on it.
pub fn with<T>(host: &Connection, target: &Target, repo: &Repository, tick: Tick<'_>, body: Body<'_, T>) -> Result<T> {
    match &target.place {
        Place::Server(_) => Err(Error::unsupported("a server's pages cannot be backed up here; it has tools of its own")),
        Place::File(path) => match between_commits(path, tick) {
            Ok(snapshot) => in_place(&snapshot, repo, tick, body),
            // Not ours to write: read it without the chance to roll a hot journal back.
            Err(e) if matches!(e.kind, Kind::ReadOnly | Kind::Io) => {
                let db = open::open(path, Mode::Read)?;
                db.execute_batch("BEGIN")?;
                db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
                body(&mut Copied::new(&db, "main", repo.tmp("copy"), tick)?, tick)
            }
            Err(e) => Err(e),
        },
        Place::Schema(schema) => {
            let file = target.file(host)?;
            let snapshot = match (Snapshot::beside(host, schema), &file) {
                (Ok(snapshot), _) => Ok(snapshot),
                // The caller's transaction does not matter: a backup holds committed rows.
                (Err(Why::HostTransaction | Why::Busy), Some(path)) => Snapshot::begin_within(path, WAIT).map_err(|_| Why::Busy),
                (Err(why), _) => Err(why),
            };
            match snapshot {
                Ok(snapshot) => in_place(&snapshot, repo, tick, body),
                // Only the caller's own connection can read it: in memory, by another VFS, or locked exclusively by itself.
                Err(_) if file::transaction(host, schema).unwrap_or(Transaction::Write) == Transaction::Write => {
                    Err(Error::new(Kind::InTransaction, "your transaction is open, and a backup holds committed rows only").hint("COMMIT first"))
                }
                Err(_) => body(&mut Copied::new(host, schema, repo.tmp("copy"), tick)?, tick),
            }
        }
    }
}

/// In rollback mode a writer lets readers in between two commits only: one at full speed leaves short moments, and SQLite's own
/// waiting sleeps longer each time it misses one.
fn between_commits(path: &Path, tick: Tick<'_>) -> Result<Snapshot> {
    let started = Instant::now();
    loop {
        match Snapshot::begin_within(path, PROBE) {
            Err(e) if e.kind == Kind::Busy && started.elapsed() < PATIENCE => tick()?,
            other => return other,
        }
    }
}

/// How long one try to get in lasts, and all of them.
const PROBE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a file is waited for that the caller itself may have locked.
const WAIT: Duration = Duration::from_millis(500);

/// Pages read in place under the snapshot's lock; where that cannot be, copied from the same snapshot.
pub fn in_place<T>(snapshot: &Snapshot, repo: &Repository, tick: Tick<'_>, body: Body<'_, T>) -> Result<T> {
    if let Ok(reader) = pages::open(snapshot) {
        match body(&mut Raw { reader, db: snapshot.db(), next: 1 }, tick) {
            Err(e) if e.message == MOVED => {}
            other => return other,
        }
    }
    body(&mut Copied::new(snapshot.db(), "main", repo.tmp("copy"), tick)?, tick)
}

/// The one error after which the same snapshot is copied instead.
pub const MOVED: &str = "the pages changed while they were read";

/// Pages in place, through SQLite's own file object.
struct Raw<'s> {
    reader: PageReader<'s>,
    db: &'s Connection,
    next: u32,
}

impl Source for Raw<'_> {
    fn page_size(&self) -> u32 {
        self.reader.page_size as u32
    }

    fn pages(&self) -> u32 {
        self.reader.pages
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.reader.copy(self.next, buffer)?;
        self.next += (buffer.len() / self.reader.page_size) as u32;
        Ok(())
    }

    fn snapshot(&self) -> &Connection {
        self.db
    }

    fn still_valid(&self) -> bool {
        self.reader.still_valid()
    }

    fn how(&self) -> &'static str {
        "pages"
    }
}

/// The state copied by SQLite's backup API into a file of ours.
struct Copied {
    copy: Connection,
    file: File,
    path: PathBuf,
    page_size: u32,
    pages: u32,
}

/// Pages copied between two looks at Ctrl-C.
const STEP: i32 = 1000;

impl Copied {
    /// Copies schema `schema` of `from` to `path`. Under an open read transaction no writer makes it start again.
    fn new(from: &Connection, schema: &str, path: PathBuf, tick: Tick<'_>) -> Result<Copied> {
        let made = Copied::copy(from, schema, &path, tick);
        if made.is_err() {
            let _ = std::fs::remove_file(&path);
        }
        made
    }

    fn copy(from: &Connection, schema: &str, path: &Path, tick: Tick<'_>) -> Result<Copied> {
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
        let copy = open::open_immutable(path)?;
        let page_size = copy.query_row("PRAGMA page_size", [], |r| r.get(0))?;
        let file = File::open(path)?;
        let pages = u32::try_from(file.metadata()?.len() / u64::from(page_size)).map_err(|_| Error::internal("too many pages"))?;
        Ok(Copied { copy, file, path: path.to_owned(), page_size, pages })
    }
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

    fn how(&self) -> &'static str {
        "copy"
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
