//! The checks themselves: first what the file's header and its neighbours tell, then what SQLite tells.
use super::{
    check::{Check, Kind, Score, Severity, Status, rounded},
    indexes, references,
};
use crate::db::{
    copy::with_suffix,
    header::{self, Header, Kin},
    host,
    ident::quote,
    limit, open,
    parallel::Watch,
    size::{self, Bytes},
};
use crate::error::{Error, Kind as ErrorKind, Result};
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How much is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Level {
    /// The first 100 bytes, and the files beside it.
    Header,
    /// Opens it: structure, keys, indexes, response.
    Quick,
    /// Every page and every index entry.
    Deep,
}

impl Level {
    pub fn of(word: Option<&str>) -> Result<Level> {
        Ok(match crate::kit::one_of("level", word.unwrap_or("quick"), &["header", "quick", "deep"])? {
            "header" => Level::Header,
            "deep" => Level::Deep,
            _ => Level::Quick,
        })
    }

    pub const fn word(self) -> &'static str {
        match self {
            Level::Header => "header",
            Level::Quick => "quick",
            Level::Deep => "deep",
        }
    }

    /// Time a database of that size may take: a damaged one must not hold up the fleet.
    pub fn patience(self, bytes: u64) -> Duration {
        let mb = bytes / 1_000_000;
        Duration::from_millis(4_000 + if self == Level::Deep { mb * 500 } else { mb * 100 })
    }
}

const HEADER: Kind = Kind { id: "header", name: "Header", severity: Severity::Critical, weight: 0.0, evidence: "PRAGMA {s}.page_size" };
const LENGTH: Kind = Kind { id: "file_length", name: "File length", severity: Severity::Critical, weight: 0.0, evidence: "PRAGMA {s}.page_count" };
const JOURNAL: Kind = Kind { id: "journal", name: "Journal and WAL", severity: Severity::Warning, weight: 15.0, evidence: "PRAGMA {s}.journal_mode" };
const FREELIST: Kind = Kind { id: "freelist", name: "Free pages", severity: Severity::Warning, weight: 20.0, evidence: "PRAGMA {s}.freelist_count" };
const SIZE: Kind = Kind { id: "size_limit", name: "Size limit", severity: Severity::Warning, weight: 0.0, evidence: "SELECT size_check()" };
const WAL_RESET: Kind =
    Kind { id: "wal_reset", name: "WAL-reset bug of this SQLite", severity: Severity::Info, weight: 0.0, evidence: "SELECT sqlite_version()" };
const SCHEMA: Kind = Kind { id: "schema", name: "Schema", severity: Severity::Critical, weight: 0.0, evidence: "SELECT * FROM {s}.sqlite_schema" };
const TABLES: Kind = Kind {
    id: "table_count",
    name: "Tables",
    severity: Severity::Warning,
    weight: 0.0,
    evidence: "SELECT count(*) FROM {s}.sqlite_schema WHERE type = 'table'",
};
const RESPONSE: Kind =
    Kind { id: "response_time", name: "Response time", severity: Severity::Warning, weight: 25.0, evidence: "SELECT * FROM {s}.sqlite_schema" };
const QUICK: Kind = Kind { id: "quick_check", name: "Quick check", severity: Severity::Critical, weight: 0.0, evidence: "PRAGMA {s}.quick_check" };
const INTEGRITY: Kind =
    Kind { id: "integrity_check", name: "Integrity check", severity: Severity::Critical, weight: 0.0, evidence: "PRAGMA {s}.integrity_check" };
const CACHE: Kind = Kind { id: "settings", name: "Cache and journal settings", severity: Severity::Info, weight: 5.0, evidence: "PRAGMA {s}.cache_size" };

pub struct Report {
    pub name: String,
    pub path: Option<PathBuf>,
    pub level: Level,
    pub score: Score,
    pub checks: Vec<Check>,
    pub bytes: Bytes,
    pub response_ms: Option<f64>,
    pub duration_ms: f64,
    pub error: Option<String>,
}

impl Report {
    fn begin(name: &str, path: Option<&Path>, level: Level) -> Report {
        let bytes = path.map_or(Bytes::default(), size::on_disk);
        Report {
            name: name.to_owned(),
            path: path.map(Path::to_owned),
            level,
            score: Score::UNREACHABLE,
            checks: vec![],
            bytes,
            response_ms: None,
            duration_ms: 0.0,
            error: None,
        }
    }

    fn ended(mut self, began: Instant) -> Report {
        if self.error.is_none() || !self.checks.is_empty() {
            self.score = Score::of(&self.checks);
        }
        self.duration_ms = began.elapsed().as_secs_f64() * 1000.0;
        self
    }

    /// A database that cannot be looked at, or whose error is its finding.
    fn refused(mut self, e: &Error, began: Instant) -> Report {
        self.error = Some(e.to_string());
        if matches!(e.kind, ErrorKind::Corrupt | ErrorKind::NotADatabase | ErrorKind::Sqlite) {
            self.checks.push(SCHEMA.failed("main", 0.0, e.message.clone(), "salvage what can be read, or restore a backup"));
            let mut done = self.ended(began);
            done.score = Score { status: Status::Critical, score: 0.0, integrity: done.score.integrity, performance: 0.0 };
            return done;
        }
        self.checks.clear();
        self.ended(began)
    }

    /// For a member that is no file of ours to open.
    pub fn unreachable(name: &str, why: &str) -> Report {
        Report { error: Some(why.to_owned()), ..Report::begin(name, None, Level::Header) }
    }

    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|c| !c.passed)
    }

    pub fn json(&self) -> Json {
        json!({
            "db_name": self.name,
            "db_path": self.path.as_ref().map(|p| p.display().to_string()),
            "status": self.score.status.word(),
            "score": rounded(self.score.score),
            "integrity": rounded(self.score.integrity),
            "performance": rounded(self.score.performance),
            "level": self.level.word(),
            "size_bytes": self.bytes.total(),
            "response_time_ms": self.response_ms.map(rounded),
            "duration_ms": rounded(self.duration_ms),
            "error": self.error,
            "formula": "score = (integrity + performance) / 2; integrity = 100 * passed / checks; performance = 100 - deductions; INFO is not counted",
            "checks": self.checks.iter().map(Check::json).collect::<Vec<_>>(),
        })
    }
}

/// A file, by a connection of our own.
pub fn file(name: &str, path: &Path, level: Level, limit: u64, watch: &Watch) -> Report {
    let began = Instant::now();
    let mut report = Report::begin(name, Some(path), level);
    if !path.exists() {
        return report.refused(&Error::not_found(format!("no file \"{}\"", path.display())), began);
    }
    let kin = match header::read(path) {
        Ok(kin) => kin,
        Err(e) => return report.refused(&e, began),
    };
    let wal = matches!(&kin, Kin::Database(h) if h.wal);
    if !by_header(&mut report, kin, limit) || level == Level::Header {
        return report.ended(began);
    }
    let told = report.checks.len();
    if wal && let Some(rest) = open::AtRest::of(path) {
        let seen = by_own(&mut report, || rest.open(), watch);
        if rest.undisturbed() {
            return concluded(report, seen, watch, began);
        }
        report.checks.truncate(told);
    }
    let seen = by_own(&mut report, || open::open_within(path, open::Mode::Read, Duration::from_millis(1_000)), watch);
    concluded(report, seen, watch, began)
}

/// All of it at one moment, and one lock for all.
fn by_own(report: &mut Report, open: impl FnOnce() -> Result<Connection>, watch: &Watch) -> Result<()> {
    let opened = Instant::now();
    let db = open()?;
    let _watched = watch.over(&db, report.level.patience(report.bytes.total()));
    db.execute_batch("BEGIN")?;
    by_connection(report, &db, "main", opened)
}

fn concluded(mut report: Report, seen: Result<()>, watch: &Watch, began: Instant) -> Report {
    match seen {
        Ok(()) => report.ended(began),
        Err(e) if e.kind == ErrorKind::Interrupted && watch.was_late() => {
            let late = SCHEMA.failed("main", 0.0, format!("stopped after {:.1} s", began.elapsed().as_secs_f64()), "integrity_report shows how far it gets");
            report.checks.push(late);
            report.ended(began)
        }
        Err(e) => report.refused(&e, began),
    }
}

/// A database of the caller's own connection.
pub fn schema(name: &str, db: &Connection, schema: &str, path: Option<&Path>, level: Level, limit: u64) -> Result<Report> {
    let began = Instant::now();
    let mut report = Report::begin(name, path, level);
    match path {
        None => report.bytes.database = size::paged(db, schema)?,
        Some(path) => {
            // A database nobody has written yet has no file, or one of zero bytes.
            if let Ok(kin) = header::read(path)
                && !by_header(&mut report, kin, limit)
            {
                return Ok(report.ended(began));
            }
        }
    }
    if level > Level::Header {
        match by_connection(&mut report, db, schema, began) {
            Ok(()) => {}
            Err(e) if e.kind == ErrorKind::Interrupted => return Err(e),
            Err(e) => return Ok(report.refused(&e, began)),
        }
        settings(&mut report, db, schema)?;
    }
    Ok(report.ended(began))
}

/// False where there is nothing more to look at.
fn by_header(report: &mut Report, kin: Kin, limit: u64) -> bool {
    let h = match kin {
        Kin::Database(h) => h,
        Kin::Empty => {
            let empty = HEADER.failed("main", 0.0, "the file has zero bytes: it was never written, or it was emptied", "restore a backup, or delete the file");
            // SQLite takes it for an empty database: suspicious, but not damaged.
            report.checks.push(Check { severity: Severity::Error, ..empty });
            return false;
        }
        Kin::Damaged(what) => {
            report.error = Some(what.clone());
            report.checks.push(HEADER.failed("main", 0.0, what, "salvage what can be read, or restore a backup"));
            return false;
        }
        Kin::Other => {
            let what = "no SQLite header: another format, or encrypted";
            report.error = Some(what.to_owned());
            report.checks.push(HEADER.failed("main", 0.0, what, "open it with the key, or restore a backup"));
            return false;
        }
    };
    report
        .checks
        .push(HEADER.passed("main", format!("pages of {} bytes, {}, {}", h.page_size, h.encoding_name(), if h.wal { "WAL" } else { "rollback journal" })));
    report.checks.push(match h.contradiction(report.bytes.wal > 0) {
        None => LENGTH.passed("main", format!("{} pages", h.file_pages())),
        Some(what) => LENGTH.failed("main", 0.0, what, "restore a backup, or salvage what can be read"),
    });
    report.checks.push(journal(report, &h));
    report.checks.push(freelist(&h));
    let total = report.bytes.total();
    report.checks.push(if !limit::fits(total, limit) {
        SIZE.failed("main", 0.0, format!("{} and the limit is {}", size::shown(total), size::shown(limit)), "SELECT optimize_database(), or move data out")
    } else if total as f64 >= limit as f64 * 0.9 {
        SIZE.failed(
            "main",
            0.0,
            format!("{} is over 90 % of the limit {}", size::shown(total), size::shown(limit)),
            "SELECT optimize_database(), or move data out",
        )
    } else {
        SIZE.passed("main", format!("{} of {}", size::shown(total), size::shown(limit)))
    });
    if h.wal && !host::wal_reset_fixed() {
        let detail = format!("SQLite {} can lose pages when a checkpoint meets a writer in WAL mode", rusqlite::version());
        report.checks.push(WAL_RESET.failed("main", 0.0, detail, "use SQLite 3.51.3 or later (or 3.50.7, 3.44.6) in every program that writes it"));
    }
    true
}

fn journal(report: &Report, h: &Header) -> Check {
    let leftover = report.path.as_ref().and_then(|p| std::fs::metadata(with_suffix(p, "-journal")).ok()).map_or(0, |m| m.len());
    let (wal, db) = (report.bytes.wal, report.bytes.database);
    if leftover > 512 && !h.wal {
        // A writer at work has one, too: it is told, and costs little.
        let detail = format!("a rollback journal of {leftover} bytes stands beside it: a writer is at work, or crashed");
        JOURNAL.failed("main", 0.2, detail, "open the database for writing once: SQLite rolls back what a crash left")
    } else if wal > db.max(1) && wal > 1_000_000 {
        JOURNAL.failed(
            "main",
            1.0,
            format!("the WAL ({}) is larger than the database ({})", size::shown(wal), size::shown(db)),
            "close long readers, then checkpoint: SELECT optimize_database(NULL, 'checkpoint')",
        )
    } else if wal > 4_200_000 {
        JOURNAL.failed("main", 1.0 / 3.0, format!("{} wait in the WAL", size::shown(wal)), "SELECT optimize_database(NULL, 'checkpoint')")
    } else {
        JOURNAL.passed("main", if h.wal { format!("WAL, {wal} bytes pending") } else { "rollback journal, none left over".into() })
    }
}

fn freelist(h: &Header) -> Check {
    let ratio = h.free_ratio();
    let detail = format!("{} of {} pages are free ({:.1} %)", h.free_pages, h.file_pages(), ratio * 100.0);
    // A handful of free pages in a small file is no waste worth a VACUUM.
    let share = match ratio {
        _ if u64::from(h.free_pages) * h.page_size < 100_000 => 0.0,
        r if r > 0.50 => 1.0,
        r if r > 0.25 => 0.5,
        r if r > 0.10 => 0.25,
        _ => 0.0,
    };
    if share > 0.0 { FREELIST.failed("main", share, detail, "VACUUM") } else { FREELIST.passed("main", detail) }
}

/// One row of the schema, as the checks need it.
pub struct Object {
    pub kind: String,
    pub name: String,
    pub table: String,
    pub root: i64,
    pub sql: String,
}

fn by_connection(report: &mut Report, db: &Connection, schema: &str, began: Instant) -> Result<()> {
    let objects = objects(db, schema)?;
    let tables: Vec<&Object> = objects.iter().filter(|o| o.kind == "table" && o.root > 0 && !o.name.starts_with("sqlite_")).collect();
    report.checks.push(SCHEMA.passed(schema, format!("{} objects", objects.len())));
    report.checks.push(match tables.len() {
        0 => TABLES.failed(schema, 0.0, "there is no table", "create the tables, or remove the file from the fleet"),
        n => TABLES.passed(schema, format!("{n} tables")),
    });
    for table in tables.iter().take(3) {
        let mut q = db.prepare(&format!("SELECT 1 FROM {}.{} LIMIT 1", quote(schema), quote(&table.name)))?;
        q.query([])?.next()?;
    }
    let ms = began.elapsed().as_secs_f64() * 1000.0;
    report.response_ms = Some(ms);
    let detail = format!("{ms:.1} ms to open it, read its schema and a row of {} tables", tables.len().min(3));
    report.checks.push(match ms {
        ms if ms > 1000.0 => RESPONSE.failed(schema, 1.0, detail, "look for slow storage, a long schema, or a large WAL"),
        ms if ms > 100.0 => RESPONSE.failed(schema, 0.4, detail, "look for slow storage, a long schema, or a large WAL"),
        _ => RESPONSE.passed(schema, detail),
    });
    let (kind, pragma) = if report.level == Level::Deep { (&INTEGRITY, "integrity_check") } else { (&QUICK, "quick_check") };
    report.checks.push(structure(db, schema, kind, pragma)?);
    report.checks.extend(references::examine(db, schema, &tables)?);
    report.checks.extend(indexes::examine(db, schema, &objects, report.level)?);
    Ok(())
}

fn objects(db: &Connection, schema: &str) -> Result<Vec<Object>> {
    let mut q = db.prepare(&format!("SELECT type, name, tbl_name, rootpage, sql FROM {}.sqlite_schema", quote(schema)))?;
    // A damaged schema may hold anything in any column.
    let text = |v: rusqlite::types::ValueRef<'_>| match v {
        rusqlite::types::ValueRef::Text(t) => String::from_utf8_lossy(t).into_owned(),
        _ => String::new(),
    };
    let rows = q.query_map([], |r| {
        Ok(Object {
            kind: text(r.get_ref(0)?),
            name: text(r.get_ref(1)?),
            table: text(r.get_ref(2)?),
            root: r.get_ref(3)?.as_i64().unwrap_or(0),
            sql: text(r.get_ref(4)?),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// quick_check or integrity_check, its first findings in the detail. An answer without rows never counts as passed.
fn structure(db: &Connection, schema: &str, kind: &Kind, pragma: &str) -> Result<Check> {
    let mut q = db.prepare(&format!("PRAGMA {}.{pragma}(20)", quote(schema)))?;
    let found: std::result::Result<Vec<String>, _> = q.query_map([], |r| r.get(0))?.collect();
    let remedy = "SELECT * FROM integrity_report(): it tells what can be mended without loss";
    Ok(match found {
        Ok(rows) if rows == ["ok"] => kind.passed(schema, "ok"),
        Ok(rows) if rows.is_empty() => kind.failed(schema, 0.0, "SQLite gave no answer", remedy),
        Ok(rows) => kind.failed(schema, 0.0, format!("{} findings: {}", rows.len(), rows.into_iter().take(3).collect::<Vec<_>>().join("; ")), remedy),
        Err(e) => {
            let e = Error::from(e);
            if e.kind == ErrorKind::Interrupted {
                return Err(e);
            }
            let damaged = matches!(e.kind, ErrorKind::Corrupt | ErrorKind::NotADatabase | ErrorKind::Io);
            let failed = kind.failed(schema, 0.0, e.message, remedy);
            // A collation or module this program does not have: the check could not be made, which is no damage.
            if damaged { failed } else { Check { severity: Severity::Error, ..failed } }
        }
    })
}

/// Settings of the caller's own connection; those of other programs cannot be seen from outside.
fn settings(report: &mut Report, db: &Connection, schema: &str) -> Result<()> {
    let pragma = |name: &str| db.query_row(&format!("PRAGMA {}.{name}", quote(schema)), [], |r| r.get::<_, i64>(0));
    let (cache, page, sync) = (pragma("cache_size")?, pragma("page_size")?, pragma("synchronous")?);
    let bytes = if cache < 0 { -cache * 1024 } else { cache * page };
    report.checks.push(if sync == 0 {
        CACHE.failed(schema, 1.0, "synchronous is OFF: a power failure can damage the file", "PRAGMA synchronous=NORMAL")
    } else if bytes < 1_000_000 {
        CACHE.failed(schema, 0.4, format!("the page cache holds {bytes} bytes"), "PRAGMA cache_size=10000")
    } else {
        CACHE.passed(schema, format!("page cache {}, synchronous {sync}", size::shown(bytes as u64)))
    });
    Ok(())
}
