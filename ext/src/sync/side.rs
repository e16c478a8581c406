//! The two ends of a sync: who reads the source, who writes the target, and what was set aside meanwhile.
//!
//! The source is read by an own connection, so that what arrives was committed. The host's own connection reads where only it
//! can: a database in memory or temporary, one it has locked exclusively, one behind another file system layer, and with
//! `allow_uncommitted`. The target is written by an own connection in one transaction; by the host's, in a savepoint, where
//! only the host can, or where the host's open transaction is to hold the sync, too.
use super::{ledger, options::SyncOptions};
use crate::{
    db::{
        changelog,
        ident::{quote, same},
        open,
        pages::{self, Pin, Snapshot, Why},
    },
    error::{At, Error, Kind, Result},
    hub::target::{Mode, Place, Target, file_of},
    kit::file::{self, Transaction},
};
use rusqlite::{Connection, config::DbConfig};
use std::{
    cell::{Cell, RefCell},
    path::{Path, PathBuf},
};

pub enum Reader<'c> {
    Own(Box<Snapshot>),
    /// And why not an own one.
    Host(&'c Connection, Why),
}

pub struct Source<'c> {
    pub name: String,
    pub file: Option<PathBuf>,
    pub schema: String,
    pub reader: Reader<'c>,
}

impl<'c> Source<'c> {
    pub fn open(host: &'c Connection, target: &Target, o: &SyncOptions) -> Result<Source<'c>> {
        let file = target.file(host)?;
        let own = |path: &Path| Snapshot::begin(path).at(format!("source {}", target.name)).map(|s| Reader::Own(Box::new(s)));
        let (schema, reader) = match &target.place {
            Place::Server(_) => return Err(Error::unsupported(format!("{} is a server, and a sync reads SQLite files only", target.name))),
            Place::File(path) => ("main".to_owned(), own(path)?),
            Place::Schema(schema) => {
                let state = file::transaction(host, schema);
                let writing = state == Some(Transaction::Write) || state.is_none() && !host.is_autocommit();
                if writing && o.allow_uncommitted != Some(true) {
                    let what = format!("a transaction with changes is open on the source \"{schema}\": rolled back later, they would stay in the target");
                    return Err(Error::new(Kind::InTransaction, what).hint("COMMIT first, or pass the option {\"allow_uncommitted\":true}"));
                }
                let reader = if writing {
                    Reader::Host(host, Why::HostTransaction)
                } else {
                    match (Snapshot::beside(host, schema), &file) {
                        (Ok(s), _) => Reader::Own(Box::new(s)),
                        // Locked for a moment by a writer: worth waiting, unless the host itself keeps it locked.
                        (Err(Why::Busy), Some(path)) if !exclusive(host, schema)? => own(path)?,
                        (Err(Why::HostTransaction), Some(path)) => own(path)?,
                        (Err(why), _) => Reader::Host(host, why),
                    }
                };
                let schema = if matches!(reader, Reader::Own(_)) { "main".to_owned() } else { schema.clone() };
                (schema, reader)
            }
        };
        Ok(Source { name: target.name.clone(), file, schema, reader })
    }

    pub fn db(&self) -> &Connection {
        match &self.reader {
            Reader::Own(s) => s.db(),
            Reader::Host(c, _) => c,
        }
    }

    /// Which connection reads, and why, for the receipt.
    pub fn read_by(&self) -> String {
        match &self.reader {
            Reader::Own(_) => "own connection".into(),
            Reader::Host(_, why) => format!("the caller's connection: {why}"),
        }
    }

    /// How positions in a change log name this database: a copy of it is another one.
    pub fn identity(&self) -> String {
        identity(self.file.as_deref(), &self.schema)
    }
}

pub fn identity(file: Option<&Path>, schema: &str) -> String {
    file.map_or_else(|| format!("schema:{schema}"), |f| f.canonicalize().unwrap_or_else(|_| f.to_owned()).to_string_lossy().into_owned())
}

fn exclusive(host: &Connection, schema: &str) -> Result<bool> {
    let mode: String = host.query_row(&format!("PRAGMA {}.locking_mode", quote(schema)), [], |r| r.get(0))?;
    Ok(mode != "normal")
}

/// The caller's statement reads the target while it calls: in rollback mode nobody else can commit then.
fn in_the_way(host: &Connection, schema: &str) -> Result<bool> {
    let reading = file::transaction(host, schema).is_some_and(|t| t != Transaction::None);
    Ok(reading && !host.query_row(&format!("PRAGMA {}.journal_mode", quote(schema)), [], |r| r.get::<_, String>(0))?.eq_ignore_ascii_case("wal"))
}

/// 32 MB: most of what an own connection may take while it writes.
const CACHE: &str = "PRAGMA cache_size=-32000";

enum Writer<'c> {
    Own(Connection),
    Host(&'c Connection),
}

/// What keeps the target as its connection sees it.
pub enum Hold {
    /// The write lock: nobody else commits.
    Locked,
    /// Nothing, as in a dry run: others see the same where they see that commit.
    Seen(Pin),
    Unknown,
}

impl Hold {
    /// Whether another connection's snapshot shows what the target's own connection sees of committed rows.
    pub fn covers(&self, other: &Snapshot) -> bool {
        match self {
            Hold::Locked => true,
            Hold::Seen(pin) => other.sees(pin),
            Hold::Unknown => false,
        }
    }
}

/// The target with its transaction; dropped before `commit`, everything is taken back.
pub struct Destination<'c> {
    pub name: String,
    pub file: Option<PathBuf>,
    pub schema: String,
    writer: Writer<'c>,
    /// The file was made for this sync.
    made: Option<PathBuf>,
    open: bool,
    pub hold: Hold,
    /// Triggers and foreign keys as the host had them.
    before: Option<(bool, bool)>,
    /// Tables this transaction writes.
    written: RefCell<Vec<String>>,
    /// With triggers, it may have written any.
    triggers: Cell<bool>,
}

impl<'c> Destination<'c> {
    /// For a dry run nothing is locked: the connection reads.
    pub fn open(host: &'c Connection, target: &Target, create: bool, dry: bool) -> Result<Destination<'c>> {
        let place = || format!("target {}", target.name);
        if host.query_row("PRAGMA query_only", [], |r| r.get::<_, bool>(0))? && !dry {
            return Err(Error::new(Kind::ReadOnly, "this connection is set to PRAGMA query_only").hint("PRAGMA query_only=OFF allows writing again"));
        }
        let file = target.file(host)?;
        let mut made = None;
        let own = |path: &Path, mode| open::open_to_change_much(path, mode).at(place()).map(Writer::Own);
        let (writer, schema) = match &target.place {
            Place::Server(_) => return Err(Error::unsupported(format!("{} is a server, and a sync writes SQLite files only", target.name))),
            Place::File(path) => {
                let mode = match (dry, path.exists()) {
                    (true, _) => Mode::Read,
                    (false, true) => Mode::Write,
                    (false, false) if create => {
                        made = Some(path.clone());
                        Mode::Create
                    }
                    (false, false) => Mode::Write,
                };
                let writer = match dry && create && !path.exists() {
                    // What would be made is empty.
                    true => Writer::Own(Connection::open_in_memory()?),
                    false => own(path, mode)?,
                };
                (writer, "main".to_owned())
            }
            Place::Schema(schema) => match file_of(host, schema)? {
                Some(path) if host.is_autocommit() && !exclusive(host, schema)? && plain(host, schema) && !in_the_way(host, schema)? => {
                    (own(&path, if dry { Mode::Read } else { Mode::Write })?, "main".to_owned())
                }
                _ => (Writer::Host(host), schema.clone()),
            },
        };
        Ok(Destination {
            name: target.name.clone(),
            file,
            schema,
            writer,
            made,
            open: false,
            hold: Hold::Unknown,
            before: None,
            written: RefCell::default(),
            triggers: Cell::new(false),
        })
    }

    pub fn db(&self) -> &Connection {
        match &self.writer {
            Writer::Own(c) => c,
            Writer::Host(c) => c,
        }
    }

    /// Written by a connection made for this sync.
    pub fn is_own(&self) -> bool {
        matches!(self.writer, Writer::Own(_))
    }

    /// The file, where another own connection sees the very rows of `table` that this one sees: those that were committed.
    pub fn readable_file(&self, table: &str) -> std::result::Result<&Path, Why> {
        let listed = || self.written.borrow().iter().any(|t| same(t, table));
        let by_the_way = |db: &Connection| db.total_changes() > 0 && (self.triggers.get() || ledger::is_own(table) || changelog::is_own(table));
        match (&self.writer, &self.file) {
            // An own connection is made for one transaction: what it ever changed is not committed.
            (Writer::Own(db), Some(_)) if listed() || by_the_way(db) => Err(Why::Uncommitted),
            (Writer::Own(_), Some(f)) => Ok(f),
            (Writer::Own(_), None) => Err(Why::NoFile),
            (Writer::Host(_), _) => Err(Why::HostTransaction),
        }
    }

    /// Takes the write lock, so that what is compared is what will be changed. Reading only, it pins a snapshot.
    pub fn begin(&mut self, dry: bool) -> Result<()> {
        let begun = match (&self.writer, dry) {
            (Writer::Own(db), true) => pages::begin_read(db).map(|pin| pin.map_or(Hold::Unknown, Hold::Seen)),
            (Writer::Own(db), false) => db.execute_batch("BEGIN IMMEDIATE").map(|()| Hold::Locked).map_err(Into::into),
            (Writer::Host(db), _) => db.execute_batch("SAVEPOINT dbint_sync").map(|()| Hold::Unknown).map_err(Into::into),
        };
        self.hold = begun.at(format!("target {}", self.name))?;
        self.open = true;
        if matches!(self.writer, Writer::Host(_)) && !dry {
            let switch = |c| self.db().db_config(c);
            self.before = Some((switch(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER)?, switch(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY)?));
            // Cascades would change rows nobody asked for; the check before the commit stands in for them.
            self.set(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false)?;
        }
        Ok(())
    }

    /// Before `table` is made, or its first row is written.
    ///
    /// A page that leaves the cache before the commit may be read and written again, and each cacheful costs an fsync.
    pub fn writes(&self, table: &str) -> Result<()> {
        self.written.borrow_mut().push(table.to_owned());
        match &self.writer {
            Writer::Own(db) => Ok(db.execute_batch(CACHE)?),
            Writer::Host(_) => Ok(()),
        }
    }

    pub fn fire_triggers(&self, on: bool) -> Result<()> {
        self.triggers.set(self.triggers.get() || on);
        self.set(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, on)
    }

    fn set(&self, what: DbConfig, on: bool) -> Result<()> {
        self.db().set_db_config(what, on)?;
        Ok(())
    }

    pub fn commit(mut self) -> Result<()> {
        self.restore();
        let sql = if self.is_own() { "COMMIT" } else { "RELEASE dbint_sync" };
        self.db().execute_batch(sql).at(format!("target {}", self.name))?;
        self.open = false;
        self.made = None;
        Ok(())
    }

    fn restore(&mut self) {
        if let Some((triggers, keys)) = self.before.take() {
            // Both were read from this connection a moment ago.
            let _ = self.set(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, triggers);
            let _ = self.set(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, keys);
        }
    }
}

impl Drop for Destination<'_> {
    fn drop(&mut self) {
        self.restore();
        if self.open {
            let sql = if self.is_own() { "ROLLBACK" } else { "ROLLBACK TO dbint_sync; RELEASE dbint_sync" };
            // An error may have ended the transaction already: then there is nothing to take back.
            let _ = self.db().execute_batch(sql);
        }
        if let Some(path) = self.made.take() {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A sync into the very table it reads has nothing to do, and would wait for its own lock.
pub fn refuse_same(host: &Connection, source: &Target, target: &Target) -> Result<()> {
    let whole = |t: &Target| -> Result<Option<PathBuf>> { Ok(t.file(host)?.map(|f| f.canonicalize().unwrap_or(f))) };
    let same_place = match (&source.place, &target.place) {
        (Place::Schema(a), Place::Schema(b)) if same(a, b) => true,
        _ => matches!((whole(source)?, whole(target)?), (Some(a), Some(b)) if a == b || same_inode(&a, &b)),
    };
    if same_place { Err(Error::argument(format!("source and target are the same database: {}", source.name))) } else { Ok(()) }
}

/// A hard link is the same file by another name.
#[cfg(unix)]
fn same_inode(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (std::fs::metadata(a), std::fs::metadata(b)) {
        (Ok(a), Ok(b)) => a.dev() == b.dev() && a.ino() == b.ino(),
        _ => false,
    }
}
#[cfg(not(unix))]
fn same_inode(_: &Path, _: &Path) -> bool {
    false
}

/// An own connection sees the same bytes: SQLite's default file system layer, no locks left out.
fn plain(host: &Connection, schema: &str) -> bool {
    file::vfs_name(host, schema).is_none_or(|v| !v.contains('/') && v != "memdb") && file::uri_flag(host, schema, "nolock") != Some(true)
}
