//! Finding databases: every SQLite file below a directory, by its header, and what cannot be read, labelled.
use crate::db::{
    copy::with_suffix,
    header::{self, Header, Kin},
    open,
    parallel::{Watch, each, each_peeking},
    schema,
    size::Bytes,
    time,
};
use crate::error::{Error, Kind, Result};
use crate::kit::Interrupt;
use rusqlite::Connection;
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use walkdir::WalkDir;

/// Names that promise a database: such a file is listed even where it is none.
const EXTENSIONS: &[&str] = &["db", "db3", "sqlite", "sqlite3", "s3db", "sl3", "gpkg", "mbtiles"];
/// Names of what stands beside a database.
const COMPANIONS: &[&str] = &["-wal", "-shm", "-journal"];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Ok,
    /// Zero bytes.
    Empty,
    Corrupt,
    /// By its name a database, by its content not (or encrypted).
    NotADatabase,
    /// Locked exclusively by somebody else.
    Locked,
    Unreadable,
    /// Gone while we looked.
    Vanished,
    /// A link to what is listed already, or in a circle.
    Link,
}

impl Status {
    pub const fn word(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::Empty => "EMPTY",
            Status::Corrupt => "CORRUPT",
            Status::NotADatabase => "NOT_A_DATABASE",
            Status::Locked => "LOCKED",
            Status::Unreadable => "UNREADABLE",
            Status::Vanished => "VANISHED",
            Status::Link => "LINK",
        }
    }

    pub fn of(e: &Error) -> Status {
        match e.kind {
            Kind::Busy => Status::Locked,
            Kind::NotADatabase => Status::NotADatabase,
            Kind::NotFound => Status::Vanished,
            Kind::ReadOnly | Kind::Io => Status::Unreadable,
            _ => Status::Corrupt,
        }
    }
}

/// What opening a database tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub tables: i64,
    pub rows: i64,
}

#[derive(Clone, Debug)]
pub struct Found {
    pub path: PathBuf,
    pub bytes: Bytes,
    pub modified: Option<String>,
    pub header: Option<Header>,
    pub counts: Option<Counts>,
    pub status: Status,
    pub detail: Option<String>,
}

impl Found {
    fn labelled(path: &Path, status: Status, detail: impl Into<Option<String>>) -> Found {
        Found { path: path.to_owned(), bytes: Bytes::default(), modified: None, header: None, counts: None, status, detail: detail.into() }
    }

    pub fn name(&self) -> String {
        self.path.file_stem().map_or_else(|| self.path.display().to_string(), |s| s.to_string_lossy().into_owned())
    }
}

fn promises_a_database(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| EXTENSIONS.iter().any(|x| x.eq_ignore_ascii_case(e)))
}

/// Everything below `dir` that is a database or calls itself one, in the order of paths. `count` opens each for its
/// tables and rows; without it only headers are read.
pub fn discover(host: &Connection, dir: &Path, count: bool) -> Result<Vec<Found>> {
    let meta = std::fs::metadata(dir).map_err(|e| Error::from(e).context(format!("\"{}\"", dir.display())))?;
    if !meta.is_dir() {
        return Err(Error::argument(format!("\"{}\" is not a directory", dir.display())));
    }
    let (files, companions, mut found) = walk(host, dir)?;
    let looked = each_peeking(host, &files, |path| look(path, &companions))?;
    for (path, result) in files.iter().zip(looked) {
        match result {
            Ok(one) => found.extend(one),
            Err(e) => found.push(Found::labelled(path, Status::Unreadable, e.message)),
        }
    }
    if count {
        let counted = each(host, &found, |f, watch| f.header.as_ref().map(|_| counts_of_file(&f.path, watch)))?;
        for (f, counts) in found.iter_mut().zip(counted) {
            match counts.and_then(Option::transpose) {
                Ok(counts) => f.counts = counts,
                Err(e) => (f.status, f.detail) = (Status::of(&e), Some(e.message)),
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

type Walked = (Vec<PathBuf>, HashSet<PathBuf>, Vec<Found>);

/// Files to look at, companions seen, and rows for what the walk itself met.
fn walk(host: &Connection, dir: &Path) -> Result<Walked> {
    let mut interrupt = Interrupt::of(host)?;
    let root = dir.canonicalize()?;
    let (mut files, mut companions, mut met) = (vec![], HashSet::new(), vec![]);
    let mut entries = WalkDir::new(dir).follow_links(true).into_iter();
    while let Some(entry) = entries.next() {
        interrupt.tick()?;
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) => {
                let path = e.path().unwrap_or(dir);
                let gone = e.io_error().is_some_and(|e| e.kind() == std::io::ErrorKind::NotFound);
                if e.loop_ancestor().is_some() {
                    met.push(Found::labelled(path, Status::Link, "a link to a directory above itself".to_owned()));
                } else if !gone || promises_a_database(path) {
                    let status = if gone { Status::Vanished } else { Status::Unreadable };
                    met.push(Found::labelled(path, status, e.io_error().map(ToString::to_string)));
                }
                continue;
            }
        };
        if entry.path_is_symlink()
            && let Ok(to) = entry.path().canonicalize()
            && to.starts_with(&root)
        {
            let is_dir = entry.file_type().is_dir();
            if is_dir {
                entries.skip_current_dir();
            }
            if is_dir || promises_a_database(entry.path()) {
                met.push(Found::labelled(entry.path(), Status::Link, format!("a link to {}", to.display())));
            }
        } else if entry.file_type().is_file() {
            let companion = entry.file_name().to_str().is_some_and(|n| COMPANIONS.iter().any(|c| n.ends_with(c)));
            if companion {
                companions.insert(entry.into_path());
            } else {
                files.push(entry.into_path());
            }
        } else if !entry.file_type().is_dir() && promises_a_database(entry.path()) {
            met.push(Found::labelled(entry.path(), Status::Unreadable, "a pipe, a socket or a device".to_owned()));
        }
    }
    Ok((files, companions, met))
}

/// None for a file that neither is a database nor calls itself one.
fn look(path: &Path, companions: &HashSet<PathBuf>) -> Option<Found> {
    let promised = promises_a_database(path);
    let (kin, peeked) = match header::look(path) {
        Ok(looked) => looked,
        Err(_) if !promised => return None,
        Err(e) if !path.exists() => return Some(Found::labelled(path, Status::Vanished, e.message)),
        Err(e) => return Some(Found::labelled(path, Status::Unreadable, e.message)),
    };
    if !promised && matches!(kin, Kin::Other | Kin::Empty) {
        return None;
    }
    let has_wal = !companions.is_empty() && companions.contains(&with_suffix(path, "-wal"));
    let wal = if has_wal { std::fs::metadata(with_suffix(path, "-wal")).map_or(0, |m| m.len()) } else { 0 };
    let mut found = Found { bytes: Bytes { database: peeked.length, wal }, modified: peeked.modified.map(stored), ..Found::labelled(path, Status::Ok, None) };
    let (status, detail) = match kin {
        Kin::Empty => (Status::Empty, None),
        Kin::Other => (Status::NotADatabase, Some("no SQLite header: another format, or encrypted".to_owned())),
        Kin::Damaged(what) => (Status::Corrupt, Some(what)),
        Kin::Database(h) => {
            let wrong = h.contradiction(wal > 0);
            found.header = Some(h);
            (if wrong.is_some() { Status::Corrupt } else { Status::Ok }, wrong)
        }
    };
    (found.status, found.detail) = (status, detail);
    Some(found)
}

/// Long enough for any count that makes progress.
const COUNTING: Duration = Duration::from_secs(60);

pub fn counts_of_file(path: &Path, watch: &Watch) -> Result<Counts> {
    let db = open::open(path, open::Mode::Read)?;
    // A small file that keeps SQLite busy this long is damaged.
    let small = std::fs::metadata(path).is_ok_and(|m| m.len() < 10_000_000);
    let _watched = watch.over(&db, if small { Duration::from_secs(4) } else { COUNTING });
    counts(&db, "main")
}

/// Tables and rows of a schema; virtual tables are not asked, since that may run a module's code.
pub fn counts(db: &Connection, schema: &str) -> Result<Counts> {
    let mut counts = Counts::default();
    for table in schema::stored_tables(db, schema)? {
        counts.tables += 1;
        counts.rows += db.query_row(&format!("SELECT count(*) FROM {}", crate::db::ident::qualified(schema, &table)), [], |r| r.get::<_, i64>(0))?;
    }
    Ok(counts)
}

pub fn stored(t: SystemTime) -> String {
    time::stored(t.into())
}
