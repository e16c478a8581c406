//! The database under examination: its files, its schema, and one pass over its rows that all checks share.
use super::profile::{self, Profile};
use crate::db::{
    foreign_keys::{self, ForeignKey},
    ident::{quote, same},
    open,
    schema::{self, Index, TableKind},
};
use crate::error::{Error, Kind, Result};
use crate::hub::{
    Hub, Session, Target,
    install::is_own,
    target::{Conn, Mode, Place, file_of},
};
use crate::kit::{Field, Stmt};
use rusqlite::Connection;
use std::{
    cell::OnceCell,
    fs,
    path::{Path, PathBuf},
};

/// A row of the schema.
pub struct Object {
    pub kind: String,
    pub name: String,
    pub table: String,
    pub sql: String,
}

/// A table, with what belongs to it.
pub struct Item {
    pub table: schema::Table,
    pub indexes: Vec<Index>,
    pub foreign_keys: Vec<ForeignKey>,
    /// One of dbint's own: nothing the user could make better.
    pub ours: bool,
}

/// What the file system says.
pub struct Files {
    pub path: PathBuf,
    pub size: u64,
    pub wal: Option<u64>,
    pub shm: Option<u64>,
    pub journal: Option<u64>,
    /// The first 100 bytes; None where only SQLite may read them, or there are none.
    pub header: Option<Vec<u8>>,
    /// The journal begins with the mark of an unfinished transaction.
    pub journal_is_hot: bool,
}

pub struct Subject<'h> {
    pub host: &'h Connection,
    pub name: String,
    /// None for a database in memory.
    pub files: Option<Files>,
    /// The caller's own connection is looked at, with its own settings.
    pub is_host: bool,
    /// Why it cannot be read, or not without tolerance.
    pub trouble: Option<String>,
    session: Option<Session<'h>>,
    pub objects: Vec<Object>,
    /// Ordinary tables, shadow tables left out.
    pub tables: Vec<Item>,
    profiles: OnceCell<Vec<Profile>>,
    verdict: OnceCell<Vec<String>>,
}

impl<'h> Subject<'h> {
    /// Fails only where nothing was found under that name; a database that cannot be read is a subject with trouble.
    pub fn open(host: &'h Connection, given: Option<&str>) -> Result<Self> {
        let target = Target::resolve(host, given)?;
        if let Place::Server(_) = target.place {
            return Err(Error::unsupported(format!("{} is a server, and this examines SQLite databases", target.name)));
        }
        let files = target.file(host)?.map(|p| Files::of(host, &p)).transpose()?;
        let mut subject = Subject {
            host,
            name: target.name.clone(),
            files,
            is_host: matches!(target.place, Place::Schema(_)),
            trouble: None,
            session: None,
            objects: vec![],
            tables: vec![],
            profiles: OnceCell::new(),
            verdict: OnceCell::new(),
        };
        if let Err(e) = target.session(host, Mode::Read).and_then(|s| subject.read(s)) {
            subject.trouble = Some(e.message.clone());
            if e.kind == Kind::Corrupt
                && let Place::File(path) = &target.place
            {
                let tolerant = open::open_damaged(path).map(|db| Session { db: Conn::Own(db), schema: "main".into(), name: target.name.clone() });
                let _ = tolerant.and_then(|s| subject.read(s));
            }
        }
        Ok(subject)
    }

    fn read(&mut self, s: Session<'h>) -> Result<()> {
        self.objects = objects(&s.db, &s.schema)?;
        self.tables.clear();
        // A hub that is newer than this library is told elsewhere.
        let hub = Hub::find(&s.db).unwrap_or_default();
        for o in self.objects.iter().filter(|o| o.kind == "table") {
            // A table that does not parse is a finding of its own.
            let Ok(Some(table)) = schema::find_table(&s.db, &s.schema, &o.name) else { continue };
            if table.kind == TableKind::Table && !table.columns.is_empty() && !is_internal(&table.name) {
                let indexes = schema::indexes(&s.db, &s.schema, &o.name)?;
                let foreign_keys = foreign_keys::of(&s.db, &s.schema, &o.name)?;
                let ours = is_own(hub.as_ref(), &s.schema, &table);
                self.tables.push(Item { table, indexes, foreign_keys, ours });
            }
        }
        self.session = Some(s);
        Ok(())
    }

    pub fn is_open(&self) -> bool {
        self.session.is_some()
    }

    pub fn db(&self) -> Result<&Connection> {
        self.session.as_ref().map(|s| &*s.db).ok_or_else(|| Error::internal("the database is not open"))
    }

    pub fn schema(&self) -> &str {
        self.session.as_ref().map_or("main", |s| &s.schema)
    }

    /// `name` in the schema that is examined.
    pub fn qualified(&self, name: &str) -> String {
        crate::db::ident::qualified(self.schema(), name)
    }

    pub fn item(&self, table: &str) -> Option<&Item> {
        self.tables.iter().find(|t| same(&t.table.name, table))
    }

    /// A PRAGMA of one whole number.
    pub fn pragma(&self, name: &str) -> Result<i64> {
        Ok(self.db()?.query_row(&format!("PRAGMA {}.{name}", quote(self.schema())), [], |r| r.get(0))?)
    }

    /// The lines of PRAGMA integrity_check; just `ok` for a sound database. Read once.
    pub fn verdict(&self) -> Result<&[String]> {
        if self.verdict.get().is_none() {
            let _ = self.verdict.set(self.lines("integrity_check(1000)")?);
        }
        Ok(self.verdict.get().map_or(&[], Vec::as_slice))
    }

    /// The lines a PRAGMA answers. Damage that ends it is its last line; what it cites from the file may be no UTF-8.
    pub fn lines(&self, pragma: &str) -> Result<Vec<String>> {
        let mut all = vec![];
        let mut read = || -> Result<()> {
            let mut q = Stmt::prepare(self.db()?, &format!("PRAGMA {}.{pragma}", quote(self.schema())))?;
            while q.step()? {
                if let Field::Text(line) = q.field(0) {
                    all.push(String::from_utf8_lossy(line).into_owned());
                }
            }
            Ok(())
        };
        match read() {
            Err(e) if e.kind == Kind::Corrupt => all.push(e.message),
            other => other?,
        }
        Ok(all)
    }

    /// What one pass over the rows of every table has seen; made at the first call.
    pub fn profiles(&self) -> Result<impl Iterator<Item = (&Item, &Profile)>> {
        if self.profiles.get().is_none() {
            let all = self.tables.iter().map(|t| profile::of(self, t)).collect::<Result<_>>()?;
            let _ = self.profiles.set(all);
        }
        Ok(self.tables.iter().zip(self.profiles.get().map_or(&[][..], Vec::as_slice)))
    }
}

fn is_internal(name: &str) -> bool {
    name.get(..7).is_some_and(|p| same(p, "sqlite_"))
}

fn objects(db: &Connection, schema: &str) -> Result<Vec<Object>> {
    // CAST: a damaged schema row may hold anything.
    let sql = format!(
        "SELECT CAST(type AS TEXT), CAST(name AS TEXT), CAST(tbl_name AS TEXT), CAST(coalesce(sql, '') AS TEXT) FROM {}.sqlite_schema ORDER BY rowid",
        quote(schema)
    );
    let mut q = Stmt::prepare(db, &sql)?;
    let mut all = vec![];
    while q.step()? {
        let get = |i| match q.field(i) {
            Field::Text(b) => String::from_utf8_lossy(b).into_owned(),
            _ => String::new(),
        };
        all.push(Object { kind: get(0), name: get(1), table: get(2), sql: get(3) });
    }
    Ok(all)
}

impl Files {
    fn of(host: &Connection, path: &Path) -> Result<Files> {
        let size = fs::metadata(path).map_err(|e| Error::from(e).context(path.display()))?.len();
        let beside = |suffix| fs::metadata(crate::db::copy::with_suffix(path, suffix)).ok().map(|m| m.len());
        let mut start = [0u8; 8];
        let journal = crate::db::copy::with_suffix(path, "-journal");
        // The journal is no database file: reading it takes no lock away from anybody.
        // Opening a pipe would wait for its writer for ever.
        let plain = fs::metadata(&journal).is_ok_and(|m| m.is_file());
        let read = plain.then(|| fs::File::open(journal).and_then(|mut f| std::io::Read::read_exact(&mut f, &mut start)));
        const UNFINISHED: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
        Ok(Files {
            path: path.to_owned(),
            size,
            wal: beside("-wal"),
            shm: beside("-shm"),
            journal: beside("-journal"),
            header: if is_attached(host, path)? { None } else { first_bytes(path) },
            journal_is_hot: read.is_some_and(|r| r.is_ok()) && start == UNFINISHED,
        })
    }
}

/// The header, by way of SQLite: closing a descriptor of ours would drop the locks of every connection of this process.
fn first_bytes(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 100];
    let read = crate::kit::peek(path, &mut bytes).ok()?.read;
    (read == bytes.len()).then_some(bytes)
}

/// Whether the caller's connection has this file open: then only SQLite may read it.
fn is_attached(host: &Connection, path: &Path) -> Result<bool> {
    let full = |p: &Path| p.canonicalize().unwrap_or_else(|_| p.to_owned());
    let names: Vec<String> = host.prepare("SELECT name FROM pragma_database_list")?.query_map([], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?;
    for name in names {
        if file_of(host, &name)?.is_some_and(|f| full(&f) == full(path)) {
            return Ok(true);
        }
    }
    Ok(false)
}
