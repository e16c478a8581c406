//! The whole run, by the shell, as a user starts it: a fleet that is well, a folder of everything that can be broken, a stop in the middle.
use dbint_tests::{Way, demo_fleet, shell};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value as Json;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// `demo_fleet` changes the working folder of this process.
static FOLDER: Mutex<()> = Mutex::new(());

/// The fleet below a folder of its own, so that what is written beside it can be seen.
fn fleet() -> (TempDir, PathBuf) {
    let _one = FOLDER.lock().unwrap_or_else(PoisonError::into_inner);
    let top = tempfile::tempdir().unwrap();
    let to = top.path().canonicalize().unwrap().join("fleet");
    fs::create_dir(&to).unwrap();
    let made = demo_fleet();
    for f in fs::read_dir(made.path()).unwrap().flatten().filter(|f| f.path().is_file()) {
        fs::copy(f.path(), to.join(f.file_name())).unwrap();
    }
    // The script registered the files where it made them.
    let db = Connection::open(to.join("production.db")).unwrap();
    db.execute("UPDATE database_registry SET db_path = ? || '/' || db_name || '.db'", [to.display().to_string()]).unwrap();
    drop(db);
    (top, to)
}

fn integrate(dir: &Path, args: &[&str]) -> Output {
    Command::new(shell()).arg("integrate").arg(dir).args(args).env_remove("DBINT_WORKSPACE").output().unwrap()
}

fn report(out: &Output) -> Json {
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
}

fn keys(j: &Json) -> Vec<&str> {
    j.as_object().unwrap().keys().map(String::as_str).collect()
}

fn look(path: &Path) -> Connection {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

/// Tables and rows, counted here.
fn counted(files: &[PathBuf]) -> (i64, i64, u64) {
    let (mut tables, mut rows, mut bytes) = (0, 0, 0);
    for f in files {
        let db = look(f);
        let mut q = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'").unwrap();
        for t in q.query_map([], |r| r.get::<_, String>(0)).unwrap().flatten() {
            tables += 1;
            rows += db.query_row(&format!("SELECT count(*) FROM \"{}\"", t.replace('"', "\"\"")), [], |r| r.get::<_, i64>(0)).unwrap();
        }
        bytes += fs::metadata(f).unwrap().len();
    }
    (tables, rows, bytes)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir).unwrap().flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "db")).collect();
    all.sort();
    all
}

#[test]
fn a_fleet_of_eight_runs_through_and_its_figures_are_measured() {
    let (top, dir) = fleet();
    // Something to synchronise, and something that is not the run's business.
    let db = Connection::open(dir.join("session_management.db")).unwrap();
    let changed = db.execute("UPDATE session_tracking SET status = 'expired', updated_at = '2027-01-01 00:00:00' WHERE session_id IN (SELECT session_id FROM session_tracking LIMIT 7)", []).unwrap();
    drop(db);
    let others: Vec<PathBuf> = files(&dir).into_iter().filter(|f| !f.ends_with("production.db")).collect();
    let (tables, rows, _) = counted(&others);
    let out = integrate(&dir, &["--json", "--generate-report"]);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let r = report(&out);
    assert_eq!(
        keys(&r),
        ["integration_session", "database_discovery", "integration_results", "performance_optimization", "consistency_validation", "recommendations", "run"]
    );
    assert_eq!(keys(&r["integration_session"]), ["session_id", "start_time", "end_time", "duration_seconds", "workspace_path"]);
    assert_eq!(keys(&r["database_discovery"]), ["databases_found", "total_size_mb", "total_tables", "total_records"]);
    assert_eq!(
        keys(&r["integration_results"]),
        ["sync_operations", "successful_syncs", "failed_syncs", "sync_success_rate", "avg_sync_duration", "total_records_synced"]
    );
    assert_eq!(
        keys(&r["performance_optimization"]),
        ["vacuum_operations", "analyze_operations", "reindex_operations", "performance_improvement", "optimization_time"]
    );
    assert_eq!(keys(&r["consistency_validation"]), ["consistency_checks", "checks_passed", "checks_failed", "consistency_score", "critical_issues"]);
    let id = r["integration_session"]["session_id"].as_str().unwrap();
    let parts: Vec<&str> = id.split('-').collect();
    assert_eq!((parts[0], parts[1].len(), parts[2].len(), parts[3].len(), parts.len()), ("INTEGRATION", 8, 6, 6, 4), "{id}");
    // Counted beside it: the hub's own tables changed meanwhile, those of the others did not.
    let db = look(&dir.join("production.db"));
    let seen: (i64, i64) = db
        .query_row("SELECT sum(table_count), sum(record_count) FROM database_registry WHERE db_name <> 'production'", [], |r| Ok((r.get(0)?, r.get(1)?)))
        .unwrap();
    assert_eq!(seen, (tables, rows));
    let whole: (i64, i64) = db.query_row("SELECT sum(table_count), sum(record_count) FROM database_registry", [], |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
    assert_eq!((r["database_discovery"]["total_tables"].as_i64(), r["database_discovery"]["total_records"].as_i64()), (Some(whole.0), Some(whole.1)));
    assert_eq!(r["database_discovery"]["databases_found"], 8);
    let results = &r["integration_results"];
    assert_eq!((results["sync_operations"].as_i64(), results["successful_syncs"].as_i64(), results["failed_syncs"].as_i64()), (Some(4), Some(4), Some(0)));
    assert_eq!(results["total_records_synced"].as_i64(), Some(changed as i64));
    let target = look(&dir.join("analytics.db"));
    assert_eq!(target.query_row("SELECT count(*) FROM session_tracking WHERE status = 'expired'", [], |r| r.get::<_, i64>(0)).unwrap(), 7);
    // Nine phases, each with a second verdict where there was something to confirm.
    let phases = r["run"]["phases"].as_array().unwrap();
    assert_eq!(phases.iter().map(|p| p["weight"].as_i64().unwrap()).collect::<Vec<_>>(), [5, 15, 15, 10, 20, 15, 5, 10, 5]);
    for p in phases {
        assert_eq!(p["status"], "COMPLETED", "{p}");
        assert!(p["second_check"].as_str().unwrap().starts_with("CONFIRMED"), "{p}");
    }
    let stored: Vec<(i64, String)> = db
        .prepare("SELECT weight, verdict FROM integration_phases WHERE session_id = ? ORDER BY number")
        .unwrap()
        .query_map([id], |r| Ok((r.get(0)?, r.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(stored.len(), 9);
    assert_eq!(r["run"]["integrity_at_start"]["passed"], 8);
    assert_eq!(r["run"]["integrity_at_end"]["passed"], 8);
    let log = fs::read_to_string(dir.join("logs/integration.log")).unwrap();
    assert_eq!(log.lines().filter(|l| l.contains(" phase ")).count(), 9);
    assert!(fs::read_to_string(dir.join("logs/synchronization.log")).unwrap().contains("update session_tracking:"));
    assert!(top.path().join("fleet-backups").is_dir());
    for ending in ["json", "md", "html"] {
        assert!(fs::read_to_string(dir.join(format!("reports/{id}.{ending}"))).unwrap().contains(id));
    }
    // Nothing to do any more: nothing is carried, and it is as well as before.
    let again = report(&integrate(&dir, &["--json"]));
    assert_eq!(again["integration_results"]["total_records_synced"], 0);
    assert_eq!(again["run"]["status"], "COMPLETED");
    assert_eq!(again["database_discovery"]["databases_found"], 8);
}

#[test]
fn validation_changes_no_database_but_the_hub() {
    let (top, dir) = fleet();
    let before: BTreeMap<PathBuf, Vec<u8>> = files(&dir).into_iter().map(|f| (f.clone(), fs::read(f).unwrap())).collect();
    let out = integrate(&dir, &["--mode", "validate", "--databases", "analytics.db,monitoring", "--json"]);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let r = report(&out);
    assert_eq!(r["database_discovery"]["databases_found"], 2);
    let skipped: Vec<&str> = r["run"]["phases"].as_array().unwrap().iter().filter(|p| p["status"] == "SKIPPED").map(|p| p["phase"].as_str().unwrap()).collect();
    assert_eq!(skipped, ["Integration Setup", "Data Synchronization", "Performance Optimization"]);
    for (f, content) in before {
        assert!(f.ends_with("production.db") || fs::read(&f).unwrap() == content, "{} was changed", f.display());
    }
    assert!(!top.path().join("fleet-backups").exists());
    let out = integrate(&dir, &["--databases", "analytic"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("Did you mean \"analytics\"?"));
}

/// One of every kind.
fn broken(dir: &Path) {
    let sound = |name: &str, sql: &str| {
        let db = Connection::open(dir.join(name)).unwrap();
        db.execute_batch(sql).unwrap();
    };
    let rows = "CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT NOT NULL); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) \
                INSERT INTO t SELECT i, hex(randomblob(40)) FROM n; CREATE INDEX ix ON t(x);";
    for name in ["good.db", "it's \"π\" 100 %.db", "truncated.db", "flipped.db", "header.db", "locked.db"] {
        sound(name, rows);
    }
    sound("wal.db", &format!("PRAGMA journal_mode=WAL; {rows}"));
    sound("utf16.db", &format!("PRAGMA encoding='UTF-16'; {rows}"));
    sound(
        "orphans.db",
        "PRAGMA foreign_keys=OFF; CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p); INSERT INTO c VALUES(1), (2), (NULL);",
    );
    sound("view.db", "CREATE TABLE t(x); CREATE VIEW v AS SELECT y FROM t;");
    fs::write(dir.join("empty.db"), "").unwrap();
    fs::write(dir.join("text.db"), "These are words in a file that only calls itself a database, and they go on for more than a hundred bytes, so.").unwrap();
    fs::write(dir.join("notes.txt"), "not looked at").unwrap();
    let whole = fs::read(dir.join("truncated.db")).unwrap();
    fs::write(dir.join("truncated.db"), &whole[..whole.len() / 2 + 100]).unwrap();
    let mut bytes = fs::read(dir.join("flipped.db")).unwrap();
    // The third page: cell pointers of the tree.
    for b in &mut bytes[4096 * 2..4096 * 2 + 64] {
        *b ^= 0x55;
    }
    fs::write(dir.join("flipped.db"), bytes).unwrap();
    let mut bytes = fs::read(dir.join("header.db")).unwrap();
    bytes[18] = 9;
    fs::write(dir.join("header.db"), bytes).unwrap();
    fs::create_dir(dir.join("sub")).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("..", dir.join("sub/up")).unwrap();
        std::os::unix::fs::symlink("../good.db", dir.join("sub/same.db")).unwrap();
        std::os::unix::fs::symlink("nowhere.db", dir.join("gone.db")).unwrap();
    }
}

#[test]
fn every_kind_of_broken_file_is_named_and_harms_no_other() {
    let top = tempfile::tempdir().unwrap();
    let dir = top.path().canonicalize().unwrap().join("all kinds");
    fs::create_dir(&dir).unwrap();
    broken(&dir);
    // Held by another program, as far as SQLite can tell.
    let holder = Connection::open(dir.join("locked.db")).unwrap();
    holder.execute_batch("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let untouched = ["truncated.db", "flipped.db", "header.db", "text.db", "empty.db"];
    let before: Vec<Vec<u8>> = untouched.iter().map(|f| fs::read(dir.join(f)).unwrap()).collect();
    // Built before the clock runs.
    shell();
    let began = Instant::now();
    let out = integrate(&dir, &["--json"]);
    assert_eq!(out.status.code(), Some(3), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(began.elapsed() < Duration::from_secs(120));
    let r = report(&out);
    // The text is none, links are no files of their own.
    assert_eq!(r["database_discovery"]["databases_found"], 11, "{r:#}");
    let failed: BTreeMap<String, String> = r["run"]["integrity_at_end"]["failed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["db_name"].as_str().unwrap().to_owned(), f["status"].as_str().unwrap().to_owned()))
        .collect();
    let names: Vec<&str> = failed.keys().map(String::as_str).collect();
    assert_eq!(names, ["empty", "flipped", "header", "locked", "orphans", "truncated"], "{failed:?}");
    assert_eq!((failed["flipped"].as_str(), failed["locked"].as_str()), ("CRITICAL", "UNREACHABLE"));
    let advice = r["recommendations"].as_array().unwrap();
    for name in ["empty", "flipped", "header", "locked", "orphans", "truncated", "view"] {
        let mine = advice.iter().find(|a| a["db_name"].as_str().is_some_and(|n| n == name || n.contains(&format!("/{name}.db"))));
        assert!(mine.is_some(), "nothing about {name}: {advice:#?}");
    }
    assert!(advice.iter().any(|a| a["db_name"].as_str().is_some_and(|n| n.ends_with("text.db"))));
    for a in advice {
        assert!(!a["statement"].as_str().unwrap().is_empty(), "{a}");
    }
    for (f, content) in untouched.iter().zip(before) {
        assert!(fs::read(dir.join(f)).unwrap() == content, "{f} was changed");
    }
    // The sound ones were backed up and optimised, whatever their names.
    let hub = look(&dir.join("dbint.db"));
    let saved: i64 = hub
        .query_row("SELECT count(DISTINCT db_name) FROM backup_catalog WHERE db_name IN ('good', 'it''s \"π\" 100 %', 'wal', 'utf16')", [], |r| r.get(0))
        .unwrap();
    assert_eq!(saved, 4);
    let sum: i64 = look(&dir.join("good.db")).query_row("SELECT count(*) FROM t", [], |r| r.get(0)).unwrap();
    assert_eq!(sum, 3000);
    drop(holder);
    // The hub that the run made is no member of the fleet.
    assert_eq!(hub.query_row("SELECT count(*) FROM database_registry WHERE db_name = 'dbint'", [], |r| r.get::<_, i64>(0)).unwrap(), 0);
}

#[test]
fn folders_that_are_none_or_hold_nothing() {
    let top = tempfile::tempdir().unwrap();
    let out = integrate(&top.path().join("none"), &[]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("none"));
    let out = integrate(top.path(), &["--json"]);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(report(&out)["database_discovery"]["databases_found"], 0);
    assert_eq!(integrate(top.path(), &["--mode", "everything"]).status.code(), Some(2));
}

#[cfg(unix)]
#[test]
fn sigterm_stops_it_and_the_next_run_goes_through() {
    let (_top, dir) = fleet();
    for i in 0..60 {
        fs::copy(dir.join("analytics.db"), dir.join(format!("copy{i:02}.db"))).unwrap();
    }
    let mut child = Command::new(shell()).arg("integrate").arg(&dir).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    // In the middle of the backups.
    let catalog = || look(&dir.join("production.db")).query_row("SELECT count(*) FROM backup_catalog", [], |r| r.get::<_, i64>(0)).unwrap_or(0);
    let until = Instant::now() + Duration::from_secs(30);
    while catalog() < 3 {
        assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "it did not come to its backups");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let asked = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    let db = look(&dir.join("production.db"));
    let status = || db.query_row("SELECT status FROM integration_sessions ORDER BY start_time DESC LIMIT 1", [], |r| r.get::<_, String>(0)).unwrap();
    assert_eq!(status(), "INTERRUPTED");
    drop(db);
    // Killed without a word: the next run settles it.
    let mut child = Command::new(shell()).arg("integrate").arg(&dir).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    child.kill().unwrap();
    child.wait().unwrap();
    let out = integrate(&dir, &["--mode", "sync", "--json"]);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let left: i64 = look(&dir.join("production.db")).query_row("SELECT count(*) FROM integration_sessions WHERE status = 'RUNNING'", [], |r| r.get(0)).unwrap();
    assert_eq!(left, 0);
}

#[test]
fn the_same_run_from_sql_and_the_library() {
    for way in Way::BOTH {
        let (_top, dir) = fleet();
        let db = Connection::open(dir.join("production.db")).unwrap();
        way.register(&db).unwrap();
        let mut q = db.prepare("SELECT number, status, progress FROM integrate(?)").unwrap();
        let rows: Vec<(i64, String, f64)> =
            q.query_map([dir.display().to_string()], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.iter().map(|r| r.2).collect::<Vec<_>>(), [5.0, 20.0, 35.0, 45.0, 65.0, 80.0, 85.0, 95.0, 100.0], "{way:?}");
        assert!(rows.iter().all(|r| r.1 == "COMPLETED"), "{way:?}: {rows:?}");
        let one = |sql: &str| db.query_row(sql, [], |r| r.get::<_, String>(0)).unwrap();
        assert_eq!(one("SELECT json_extract(integration_report(), '$.run.status')"), "COMPLETED");
        assert!(one("SELECT integration_report(NULL, '{\"format\":\"markdown\"}')").starts_with("# Integration report: COMPLETED"));
        assert!(one("SELECT integration_report('{\"format\":\"html\"}')").starts_with("<!doctype html>"));
        // Left before its end, it says so.
        let _: i64 = db.query_row("SELECT number FROM integrate(?) LIMIT 1", [dir.display().to_string()], |r| r.get(0)).unwrap();
        assert_eq!(one("SELECT status FROM integration_sessions ORDER BY rowid DESC LIMIT 1"), "INTERRUPTED");
        db.execute_batch("BEGIN").unwrap();
        let e = db.query_row("SELECT number FROM integrate(?)", [dir.display().to_string()], |r| r.get::<_, i64>(0)).unwrap_err().to_string();
        assert!(e.contains("[DBINT_IN_TRANSACTION]"), "{e}");
    }
}
