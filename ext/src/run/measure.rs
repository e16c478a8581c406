//! Measures one database on connections of its own: short reads, no lock for writing, nothing left behind.
use super::{
    host::Machine,
    metrics::{Group, Reading},
};
use crate::db::{
    ident::{qualified, quote},
    open,
    parallel::Watch,
    schema,
};
use crate::error::{Error, Kind, Result};
use crate::kit::threads_allowed;
use rusqlite::{Connection, ErrorCode};
use std::{
    cell::Cell,
    collections::HashMap,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime},
};

/// A connection that answers within this time was efficient.
const PROMPT: Duration = Duration::from_millis(100);
const CONNECTIONS: usize = 3;
const RUNS: usize = 5;
const TABLES: usize = 8;
const ROWS: usize = 1_000;
/// quick_check reads every page: a larger file is checked with the consistency round, not every minute.
const QUICK_BYTES: u64 = 64_000_000;
/// A check of one database ends after this time.
const PATIENCE: Duration = Duration::from_secs(120);

thread_local!(static WAITS: Cell<u32> = const { Cell::new(0) });

/// SQLite calls this when the file is locked: counts, waits, gives up after two seconds.
fn waited(attempt: i32) -> bool {
    WAITS.set(WAITS.get() + 1);
    std::thread::sleep(Duration::from_millis(20));
    attempt < 100
}

/// Bytes of a database and its -wal.
pub fn storage(file: &Path) -> u64 {
    let size = |p: &Path| std::fs::metadata(p).map_or(0, |m| m.len());
    size(file) + size(&crate::db::copy::with_suffix(file, "-wal"))
}

/// What a look may cost.
pub struct Cost<'w> {
    /// Whether quick_check may read every page.
    pub check: bool,
    /// Whether a check ends, without a verdict, as soon as a writer waits for it.
    pub polite: bool,
    /// Throughput by page size, where it was measured for another database of this round.
    pub inserts: HashMap<i64, Reading>,
    /// Ends what takes long when the monitor is stopped.
    pub watch: Option<&'w Watch>,
}

impl Cost<'_> {
    /// Everything is looked at.
    pub fn any() -> Cost<'static> {
        Cost { check: true, polite: false, inserts: HashMap::new(), watch: None }
    }
}

/// The figures of one file, for the groups asked. An unreachable database is a finding, not an error.
pub fn file(path: &Path, groups: &[Group], machine: Option<&Machine>) -> Vec<Reading> {
    within(path, groups, machine, &mut Cost::any())
}

/// As `file`, at a limited cost.
pub fn within(path: &Path, groups: &[Group], machine: Option<&Machine>, cost: &mut Cost<'_>) -> Vec<Reading> {
    let mut out = vec![];
    let has = |g: Group| groups.contains(&g);
    WAITS.set(0);
    let (mut slowest, mut prompt) = (0.0f64, 0);
    let mut db = Err(Error::internal("not opened"));
    for _ in 0..if has(Group::Performance) { CONNECTIONS } else { 1 } {
        let start = Instant::now();
        db = open::open_to_look(path, open::BUSY_TIMEOUT);
        let took = start.elapsed();
        slowest = slowest.max(took.as_secs_f64());
        prompt += usize::from(db.is_ok() && took <= PROMPT);
        if db.is_err() {
            break;
        }
    }
    match &db {
        Ok(db) => {
            let _ = db.busy_handler(Some(waited));
            let _watched = cost.watch.map(|w| w.over(db, PATIENCE));
            if has(Group::Performance) {
                out.push(Reading::new("connection_time", slowest));
                performance(db, &mut cost.inserts, &mut out);
            }
            if has(Group::Health) {
                out.push(Reading::new("availability", 100.0));
            }
            // Between two rounds of consistency the last verdict on a large file stands.
            if cost.check && (has(Group::Consistency) || (has(Group::Health) && storage(path) <= QUICK_BYTES)) {
                let giving_way = cost.polite && threads_allowed();
                if giving_way { writers_first(path, db, |db| integrity(db, &mut out)) } else { integrity(db, &mut out) }
            }
        }
        Err(e) => unreachable(e, groups, &mut out),
    }
    if has(Group::Performance) {
        out.push(Reading::new("connection_efficiency", prompt as f64 / CONNECTIONS as f64 * 100.0));
        out.push(Reading::new("lock_waits", f64::from(WAITS.get())));
    }
    if has(Group::Resources) {
        out.push(Reading::new("storage_used", storage(path) as f64));
        if let Some(machine) = machine {
            out.extend(machine.readings.iter().cloned());
            out.push(machine.connections(path));
        }
    }
    out
}

/// A database without a file: what the caller's own connection can tell.
pub fn memory(db: &Connection, schema: &str, groups: &[Group], machine: Option<&Machine>) -> Vec<Reading> {
    let mut out = vec![];
    let no_file = |m| Reading::none(m, "the database has no file");
    if groups.contains(&Group::Performance) {
        performance(db, &mut HashMap::new(), &mut out);
        out.extend(["connection_time", "connection_efficiency", "lock_waits"].map(no_file));
    }
    if groups.contains(&Group::Health) {
        out.push(Reading::new("availability", 100.0));
        integrity(db, &mut out);
    }
    if groups.contains(&Group::Resources) {
        let pragma = |name: &str| db.query_row(&format!("PRAGMA {}.{name}", quote(schema)), [], |r| r.get::<_, f64>(0)).unwrap_or(0.0);
        out.push(Reading::new("storage_used", pragma("page_size") * pragma("page_count")));
        out.extend(machine.map(|m| m.readings.clone()).unwrap_or_default());
        out.push(no_file("connection_count"));
    }
    out
}

fn unreachable(e: &Error, groups: &[Group], out: &mut Vec<Reading>) {
    let reason = || format!("the database cannot be opened: {}", e.message);
    if groups.contains(&Group::Performance) {
        out.extend(["connection_time", "query_time", "insert_throughput"].map(|m| Reading::none(m, reason())));
    }
    if groups.contains(&Group::Health) {
        // A file that answers, but not as a database, is there and broken.
        let broken = matches!(e.kind, Kind::Corrupt | Kind::NotADatabase);
        out.push(Reading::new("availability", 0.0));
        out.push(Reading::new("health_status", if broken { 2.0 } else { 3.0 }));
        out.push(if broken { Reading::new("database_integrity", 0.0) } else { Reading::none("database_integrity", reason()) });
    }
}

fn performance(db: &Connection, inserts: &mut HashMap<i64, Reading>, out: &mut Vec<Reading>) {
    out.push(match query_time(db, "main") {
        Ok(s) => Reading::new("query_time", s),
        Err(e) => Reading::none("query_time", e.message),
    });
    let page_size = db.query_row("PRAGMA page_size", [], |r| r.get(0)).unwrap_or(4096);
    let measured = inserts.entry(page_size).or_insert_with(|| match insert_throughput(page_size) {
        Ok(n) => Reading::new("insert_throughput", n),
        Err(e) => Reading::none("insert_throughput", e.message),
    });
    out.push(measured.clone());
}

/// Seconds of the probe that stands for a query.
pub fn query_time(db: &Connection, schema: &str) -> Result<f64> {
    let tables = schema::tables(db, schema)?;
    let mut took = vec![];
    for _ in 0..RUNS {
        let start = Instant::now();
        db.query_row(&format!("SELECT count(*) FROM {}.sqlite_schema", quote(schema)), [], |_| Ok(()))?;
        for table in tables.iter().take(TABLES) {
            // A virtual table without its module is not this database being slow.
            let _ = db.query_row(&format!("SELECT * FROM {} LIMIT 1", qualified(schema, table)), [], |_| Ok(()));
        }
        took.push(start.elapsed().as_secs_f64());
    }
    took.sort_by(f64::total_cmp);
    took.get(RUNS / 2).copied().ok_or_else(|| Error::internal("no run"))
}

/// An unnamed file, deleted by SQLite when it is closed.
fn insert_throughput(page_size: i64) -> Result<f64> {
    let db = Connection::open("")?;
    db.execute_batch(&format!("PRAGMA page_size={page_size}; CREATE TABLE scratch(id INTEGER PRIMARY KEY, payload TEXT)"))?;
    let payload = "x".repeat(100);
    let start = Instant::now();
    db.execute_batch("BEGIN")?;
    let mut put = db.prepare("INSERT INTO scratch(payload) VALUES(?)")?;
    for _ in 0..ROWS {
        put.execute([&payload])?;
    }
    db.execute_batch("COMMIT")?;
    Ok(ROWS as f64 / start.elapsed().as_secs_f64().max(1e-9))
}

/// How often a check looks for a writer.
const LOOK: Duration = Duration::from_millis(2);
/// A journal that was touched so recently belongs to a transaction under way; an older one was left over or is kept for the next.
const RECENT: Duration = Duration::from_secs(60);

/// Runs a check that reads the whole file. With a rollback journal such a reader keeps every writer from committing, so
/// the check is interrupted once a journal shows that somebody writes, and does not begin while one does.
fn writers_first(path: &Path, db: &Connection, check: impl FnOnce(&Connection)) {
    let journal = crate::db::copy::with_suffix(path, "-journal");
    let stamp = || std::fs::metadata(&journal).ok().map(|m| (m.len(), m.modified().ok()));
    let before = stamp();
    // Its header is written at the commit only: what tells is that it has bytes, and since when.
    let touched = |at: Option<SystemTime>| at.and_then(|at| at.elapsed().ok()).is_none_or(|age| age < RECENT);
    if before.is_some_and(|(len, at)| len > 0 && touched(at)) {
        return;
    }
    let (done, handle) = (AtomicBool::new(false), db.get_interrupt_handle());
    std::thread::scope(|scope| {
        let guard = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if stamp() != before {
                    handle.interrupt();
                }
                std::thread::park_timeout(LOOK);
            }
        });
        check(db);
        done.store(true, Ordering::Relaxed);
        guard.thread().unpark();
    });
}

/// Says nothing where it was interrupted: there is no verdict then.
fn integrity(db: &Connection, out: &mut Vec<Reading>) {
    let interrupted = |e: &rusqlite::Error| e.sqlite_error_code() == Some(ErrorCode::OperationInterrupted);
    let quick = db.query_row("PRAGMA quick_check(1)", [], |r| r.get::<_, String>(0)).map(|v| v == "ok");
    if quick.as_ref().is_err_and(interrupted) {
        return;
    }
    let keys = db.prepare("PRAGMA foreign_key_check").and_then(|mut q| q.exists([])).map(|found| !found);
    if keys.as_ref().is_err_and(interrupted) {
        return;
    }
    let passed = [quick.is_ok_and(|ok| ok), keys.unwrap_or(false)];
    let [whole, _] = passed;
    let score = passed.iter().filter(|ok| **ok).count() as f64 / passed.len() as f64 * 100.0;
    out.push(Reading::new("database_integrity", score));
    out.push(Reading::new(
        "health_status",
        if !whole {
            2.0
        } else if score < 100.0 {
            1.0
        } else {
            0.0
        },
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_makes_way_for_a_writer() {
        let dir = std::env::temp_dir().join(format!("dbint-polite-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("a.db");
        let writer = Connection::open(&path).unwrap();
        writer.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES(1)").unwrap();
        let polite = || within(&path, &[Group::Health], None, &mut Cost { polite: true, ..Cost::any() });
        let judged = |all: &[Reading]| all.iter().any(|r| r.metric == "database_integrity");
        assert!(judged(&polite()));
        // Begun already: the check does not begin, and the database is there all the same.
        writer.execute_batch("BEGIN; INSERT INTO t VALUES(2)").unwrap();
        let during = polite();
        assert!(!judged(&during) && during.iter().any(|r| r.metric == "availability" && r.value == Ok(100.0)));
        writer.execute_batch("COMMIT").unwrap();
        assert!(judged(&polite()));
        // Begins meanwhile: what would never end is ended, and the writer comes through.
        let reader = Connection::open(&path).unwrap();
        let mut ended = Ok(());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(30));
                writer.busy_timeout(Duration::from_secs(50)).unwrap();
                writer.execute_batch("INSERT INTO t VALUES(2)").unwrap();
            });
            let long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n, t";
            writers_first(&path, &reader, |db| ended = db.query_row(long, [], |_| Ok(())));
        });
        assert!(ended.is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn measures_and_says_why_not() {
        let dir = std::env::temp_dir().join(format!("dbint-measure-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("a.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES(1)").unwrap();
        let machine = Machine::look();
        let all = file(&path, &Group::ALL, Some(&machine));
        let get = |all: &[Reading], m: &str| all.iter().find(|r| r.metric == m).unwrap_or_else(|| panic!("{m}")).value.clone();
        for m in ["query_time", "insert_throughput", "connection_efficiency", "memory_usage", "storage_used"] {
            assert!(get(&all, m).unwrap() > 0.0, "{m}");
        }
        assert_eq!(get(&all, "database_integrity"), Ok(100.0));
        assert_eq!(get(&all, "lock_waits"), Ok(0.0));
        assert_eq!(get(&all, "storage_used"), Ok(std::fs::metadata(&path).unwrap().len() as f64));
        if cfg!(target_os = "linux") {
            assert!(get(&all, "connection_count").unwrap() >= 1.0);
        }
        std::fs::write(dir.join("b.db"), [7u8; 4096]).unwrap();
        let broken = file(&dir.join("b.db"), &Group::ALL, None);
        assert_eq!(get(&broken, "database_integrity"), Ok(0.0));
        assert!(get(&broken, "query_time").unwrap_err().contains("not a SQLite database"));
        let gone = file(&dir.join("c.db"), &Group::ALL, None);
        assert_eq!((get(&gone, "availability"), get(&gone, "health_status")), (Ok(0.0), Ok(3.0)));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
