//! A private connection inside a read transaction: the lock under which pages are read, and the SQL to fall back on.
use super::wal::WalHeader;
use crate::{
    db::{ident::quote, open},
    error::Result,
    kit::file::{self, Transaction},
};
use rusqlite::{Connection, OptionalExtension};
use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

/// A transaction begun while another process committed is begun again, this often.
const TRIES: usize = 5;

/// Why pages cannot be read raw here, and cursors must be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// In memory, temporary, or on a server.
    NoFile,
    /// Not SQLite's plain file system layer: encryption, compression, checksums or a test may be in between.
    Vfs,
    /// Opened with `nolock` or `immutable`, which see the file by other rules.
    Uri,
    /// The file was renamed or replaced under the open connection.
    Moved,
    /// The caller's own transaction is open: only its connection sees what that transaction sees.
    HostTransaction,
    /// Rows of the table were written and not committed: only the connection that wrote them sees them.
    Uncommitted,
    /// Somebody holds the file exclusively.
    Busy,
    /// No read transaction, or this SQLite does not tell.
    NoTransaction,
    /// No header of a SQLite database.
    Header,
    /// Bytes are reserved on each page: their owner knows how to read them.
    Reserved,
    /// A journal mode that leaves the file in an unknown state.
    JournalMode,
    /// The WAL has frames the file lacks, and commits come too fast to pin it.
    Moving,
    /// The wal-index cannot be read, or has another layout.
    WalIndex,
    /// SQLite refused a question about the file.
    Sql,
    /// Pages of these two tables cannot be compared: other schema, encoding, or key order.
    Schema,
    /// Text is stored as UTF-16.
    Encoding,
    /// Records are older than a column with a default.
    Default,
    /// The walk met bytes that are no b-tree.
    Damaged,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::NoFile => "the database is not a file",
            Why::Vfs => "another file system layer than SQLite's own",
            Why::Uri => "opened with nolock or immutable",
            Why::Moved => "the file was moved",
            Why::HostTransaction => "a transaction of the caller is open",
            Why::Uncommitted => "the table has changes that are not committed yet",
            Why::Busy => "the file is locked",
            Why::NoTransaction => "no read transaction",
            Why::Header => "no SQLite header",
            Why::Reserved => "bytes are reserved on each page",
            Why::JournalMode => "unusual journal mode",
            Why::Moving => "the WAL is written too fast",
            Why::WalIndex => "the wal-index cannot be read",
            Why::Sql => "SQLite refused",
            Why::Schema => "the tables differ in schema or encoding",
            Why::Encoding => "text is stored as UTF-16",
            Why::Default => "a column with a default was added to older rows",
            Why::Damaged => "the pages are damaged",
        })
    }
}

/// An own connection with an open read transaction; dropping it ends both.
pub struct Snapshot {
    pub(super) db: Connection,
    /// The wal-index header before the transaction began; equal afterwards, it is the transaction's own.
    pub(super) before: Option<WalHeader>,
    /// It is.
    pub(super) pinned: bool,
}

/// Which commit a read transaction sees.
pub struct Pin(Option<WalHeader>);

/// Begins a read transaction on an own connection, and says which commit it sees; None where commits came too fast to tell.
pub fn begin_read(db: &Connection) -> Result<Option<Pin>> {
    touch(db)?;
    let (before, pinned) = begin_pinned(db)?;
    Ok(pinned.then_some(Pin(before)))
}

fn begin_pinned(db: &Connection) -> Result<(Option<WalHeader>, bool)> {
    for _ in 1..TRIES {
        let before = wal_header(db)?;
        begin(db)?;
        if wal_header(db)? == before {
            return Ok((before, true));
        }
        db.execute_batch("COMMIT")?;
    }
    let before = wal_header(db)?;
    begin(db)?;
    Ok((before, false))
}

impl Snapshot {
    /// Opens `path` and begins; waits up to [`open::BUSY_TIMEOUT`] for a lock.
    pub fn begin(path: &Path) -> Result<Snapshot> {
        Snapshot::of(open::open_to_recover(path, open::BUSY_TIMEOUT)?)
    }

    /// As `begin`, with an own patience: none where the caller itself may hold the lock.
    pub fn begin_within(path: &Path, wait: Duration) -> Result<Snapshot> {
        Snapshot::of(open::open_to_recover(path, wait)?)
    }

    /// The snapshot beside the host's connection, or why the host would see something else.
    pub fn beside(host: &Connection, schema: &str) -> std::result::Result<Snapshot, Why> {
        Snapshot::begin_within(&beside(host, schema)?, Duration::ZERO).map_err(|_| Why::Busy)
    }

    /// Begins on a connection made by [`open::open`].
    pub fn of(db: Connection) -> Result<Snapshot> {
        db.execute_batch("PRAGMA query_only=1; PRAGMA mmap_size=0")?;
        touch(&db)?;
        let (before, pinned) = begin_pinned(&db)?;
        Ok(Snapshot { db, before, pinned })
    }

    /// Whether this one sees that very commit. In rollback mode nobody commits while either holds its lock; in WAL mode equal
    /// headers are one commit.
    pub fn sees(&self, pin: &Pin) -> bool {
        self.pinned && self.before == pin.0
    }

    /// A second snapshot of the very same content, for another thread; None where a commit came in between.
    ///
    /// In rollback mode nobody commits while this one holds its lock; in WAL mode equal headers are one commit.
    pub fn again(&self) -> Option<Snapshot> {
        let path: Option<String> = self.db.query_row("SELECT file FROM pragma_database_list WHERE name = 'main'", [], |r| r.get(0)).ok()?;
        let other = Snapshot::begin_within(Path::new(&path?), Duration::ZERO).ok()?;
        (self.pinned && other.pinned && self.before == other.before).then_some(other)
    }

    /// For SQL on the same snapshot. Leave its transaction alone.
    pub fn db(&self) -> &Connection {
        &self.db
    }

    /// Ends the transaction and gives the connection back, for another snapshot.
    #[cfg(test)]
    pub fn end(self) -> Result<Connection> {
        self.db.execute_batch("COMMIT")?;
        Ok(self.db)
    }

    /// The b-tree of a table or an index.
    pub fn root(&self, name: &str) -> Result<Option<u32>> {
        let found: Option<u32> =
            self.db.query_row("SELECT rootpage FROM sqlite_schema WHERE name = ? COLLATE NOCASE AND rootpage > 0", [name], |r| r.get(0)).optional()?;
        Ok(found)
    }
}

/// Asked for in WAL mode only: in another mode SQLite would make a -shm file to look into, and leave it there.
fn wal_header(db: &Connection) -> Result<Option<WalHeader>> {
    let mode: String = db.query_row("PRAGMA journal_mode", [], |r| r.get(0))?;
    Ok((mode == "wal").then(|| WalHeader::read(db)).flatten())
}

fn begin(db: &Connection) -> Result<()> {
    db.execute_batch("BEGIN")?;
    touch(db)
}

/// The first read takes SHARED or a read mark, rolls a hot journal back, and maps the wal-index.
fn touch(db: &Connection) -> Result<()> {
    Ok(db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?)
}

/// The file behind the host's schema, where a connection beside it sees the same content.
fn beside(host: &Connection, schema: &str) -> std::result::Result<PathBuf, Why> {
    // Asked first: any statement in an open BEGIN may start its snapshot.
    let open = match file::transaction(host, schema) {
        Some(Transaction::None) => false,
        Some(Transaction::Read) => !host.is_autocommit(),
        Some(Transaction::Write) | None => true,
    };
    let file: Option<Option<String>> =
        host.query_row("SELECT file FROM pragma_database_list WHERE name = ? COLLATE NOCASE", [schema], |r| r.get(0)).optional().map_err(|_| Why::Sql)?;
    let Some(file) = file.flatten().filter(|f| !f.is_empty()) else { return Err(Why::NoFile) };
    if file::vfs_name(host, schema).as_deref() != Some(VFS) {
        return Err(Why::Vfs);
    }
    if [file::uri_flag(host, schema, "nolock"), file::uri_flag(host, schema, "immutable")] != [Some(false); 2] {
        return Err(Why::Uri);
    }
    if file::has_moved(host, schema) != Some(false) {
        return Err(Why::Moved);
    }
    if open {
        return Err(Why::HostTransaction);
    }
    let locking: String = host.query_row(&format!("PRAGMA {}.locking_mode", quote(schema)), [], |r| r.get(0)).map_err(|_| Why::Sql)?;
    if locking != "normal" { Err(Why::Busy) } else { Ok(PathBuf::from(file)) }
}

/// The file system layer the rule was proven on.
pub(super) const VFS: &str = "unix";
