//! The monitor: in the host's own process, and as a service; one a hub, whatever happens to the others.
use dbint_tests::{Way, client, quick, shell};
use rusqlite::Connection;
use serde_json::Value as Json;
use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A hub, and two databases of its fleet.
fn fleet() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    for name in ["shop", "it's \"odd\"\\"] {
        Connection::open(dir.path().join(format!("{name}.db"))).unwrap().execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES(1)").unwrap();
    }
    let hub = dir.path().join("dbint.db");
    let db = open(Way::Linked, &hub);
    for name in ["shop", "it's \"odd\"\\"] {
        db.query_row("SELECT register_database(?)", [dir.path().join(format!("{name}.db")).display().to_string()], |_| Ok(())).unwrap();
    }
    (dir, hub)
}

fn open(way: Way, hub: &Path) -> Connection {
    let db = Connection::open(hub).unwrap();
    way.register(&db).unwrap();
    db.busy_timeout(Duration::from_secs(5)).unwrap();
    db
}

fn json(db: &Connection, sql: &str) -> Json {
    serde_json::from_str(&db.query_row(sql, [], |r| r.get::<_, String>(0)).unwrap()).unwrap()
}

fn status(db: &Connection) -> (String, i64) {
    db.query_row("SELECT state, rounds FROM monitor_status", [], |r| Ok((r.get(0)?, r.get(1)?))).unwrap()
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < until, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn service(hub: &Path, args: &[&str]) -> Child {
    Command::new(shell())
        .arg("monitor")
        .arg(hub.parent().unwrap())
        .args(["--interval", "0.2"])
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn it_ends_with_the_connection_that_started_it() {
    for way in Way::BOTH {
        let (_dir, hub) = fleet();
        let (db, other) = (open(way, &hub), open(way, &hub));
        assert_eq!(status(&db), ("STOPPED".into(), 0), "{way:?}");
        assert_eq!(json(&db, "SELECT monitor_start(0.2)")["started"], true);
        wait("a round", || status(&other).1 > 1);
        // A second one in this process is the same one.
        assert_eq!(json(&other, "SELECT monitor_start(0.2)")["started"], false);
        db.close().unwrap();
        let (state, rounds) = status(&other);
        assert_eq!(state, "STOPPED", "{way:?}");
        std::thread::sleep(Duration::from_millis(600));
        assert_eq!(status(&other), ("STOPPED".into(), rounds));
        // By hand, and again.
        for _ in 0..2 {
            assert_eq!(json(&other, "SELECT monitor_start(0.2)")["state"], "RUNNING");
            wait("a round", || status(&other).1 > 0);
            assert_eq!(json(&other, "SELECT monitor_stop()")["stopped"], true);
            assert_eq!(status(&other).0, "STOPPED");
        }
        assert_eq!(json(&other, "SELECT monitor_stop()")["stopped"], false);
        let failed = |sql: &str| other.query_row(sql, [], |_| Ok(())).unwrap_err().to_string();
        for wrong in ["0", "-1", "1e99", "86401"] {
            assert!(failed(&format!("SELECT monitor_start({wrong})")).contains("[DBINT_ARGUMENT]"), "{wrong}");
        }
        assert!(failed("SELECT monitor_start('soon')").contains("[DBINT_ARGUMENT]"));
        other.execute_batch("BEGIN; DELETE FROM alert_events").unwrap();
        assert!(failed("SELECT monitor_start(1)").contains("[DBINT_IN_TRANSACTION]"));
        other.execute_batch("ROLLBACK; SELECT dbint_set('monitor.enabled', 'false')").unwrap();
        assert!(failed("SELECT monitor_start(1)").contains("[DBINT_DENIED]"));
        let memory = Connection::open_in_memory().unwrap();
        way.register(&memory).unwrap();
        let e = memory.query_row("SELECT monitor_start(1)", [], |_| Ok(())).unwrap_err().to_string();
        assert!(e.contains("in memory"), "{e}");
    }
}

#[test]
fn a_database_that_goes_and_comes_back_opens_and_resolves_its_alert() {
    let (dir, hub) = fleet();
    let db = open(Way::Linked, &hub);
    let shop = dir.path().join("shop.db");
    let state = |rule: &str| -> Option<String> {
        db.query_row("SELECT state FROM alerts WHERE rule_id = ? AND db_name = 'shop' ORDER BY opened_at DESC LIMIT 1", [rule], |r| r.get(0)).ok()
    };
    json(&db, "SELECT monitor_start(0.2)");
    wait("a round", || status(&db).1 > 0);
    std::fs::rename(&shop, dir.path().join("away")).unwrap();
    wait("the alert", || state("connection_failure").as_deref() == Some("OPEN") && state("health_critical").as_deref() == Some("OPEN"));
    std::fs::rename(dir.path().join("away"), &shop).unwrap();
    wait("its end", || state("connection_failure").as_deref() == Some("RESOLVED") && state("health_critical").as_deref() == Some("RESOLVED"));
    // Damage is seen, too, though nothing but one page differs.
    let sound = std::fs::read(&shop).unwrap();
    let mut bytes = sound.clone();
    for b in &mut bytes[4096..4200] {
        *b ^= 0x5a;
    }
    std::fs::write(&shop, bytes).unwrap();
    wait("the damage", || state("integrity_violation").as_deref() == Some("OPEN"));
    std::fs::write(&shop, sound).unwrap();
    wait("the repair", || state("integrity_violation").as_deref() == Some("RESOLVED"));
    assert!(!dir.path().join("shop.db-wal").exists() && !dir.path().join("shop.db-shm").exists());
}

#[cfg(unix)]
#[test]
fn one_service_a_hub_and_every_way_to_end_it() {
    let (_dir, hub) = fleet();
    let db = open(Way::Linked, &hub);
    let mut first = service(&hub, &["--verbose"]);
    wait("the service", || status(&db).1 > 0);
    let second = Command::new(shell()).arg("monitor").arg(hub.parent().unwrap()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&format!("process {}", first.id())) && said.contains("[DBINT_BUSY]"), "{said}");
    assert!(db.query_row("SELECT monitor_start(1)", [], |_| Ok(())).unwrap_err().to_string().contains("[DBINT_BUSY]"));
    // SIGTERM: a clean end.
    Command::new("kill").args(["-TERM", &first.id().to_string()]).status().unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(0));
    let mut log = String::new();
    first.stdout.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("monitor started: 2 databases") && log.contains("stopped by a signal"), "{log}");
    assert_eq!(status(&db).0, "STOPPED");
    // monitor_stop() from elsewhere.
    let mut service_ = service(&hub, &[]);
    wait("the service", || status(&db).1 > 0);
    db.query_row("SELECT monitor_stop()", [], |_| Ok(())).unwrap();
    assert_eq!(service_.wait().unwrap().code(), Some(0));
    // kill -9: gone, and the next one takes its place at once.
    let mut killed = service(&hub, &[]);
    wait("the service", || status(&db).1 > 0);
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(status(&db).0, "GONE");
    // A clock that was set back meanwhile changes nothing.
    db.execute_batch("UPDATE monitor_lock SET heartbeat_at = '2199-01-01 00:00:00', expires_at = '2199-01-01 00:01:30'").unwrap();
    assert_eq!(status(&db).0, "GONE");
    assert_eq!(json(&db, "SELECT monitor_start(0.2)")["started"], true);
    db.query_row("SELECT monitor_stop()", [], |_| Ok(())).unwrap();
    // A living one whose clock is ahead of ours is alive.
    db.execute("INSERT INTO monitor_lock(id, owner, host, pid, started_at, heartbeat_at, expires_at) VALUES(1, 'x', 'elsewhere', 1, '2199-01-01', '2199-01-01 00:00:00', '2199-01-01 00:00:01')", [])
        .unwrap();
    assert_eq!(status(&db).0, "RUNNING");
    db.execute_batch("UPDATE monitor_lock SET heartbeat_at = '2001-01-01 00:00:00', expires_at = '2001-01-01 00:01:30'").unwrap();
    assert_eq!(status(&db).0, "GONE");
    // --once leaves no trace of a monitor.
    let once = Command::new(shell()).arg("monitor").arg(hub.parent().unwrap()).arg("--once").output().unwrap();
    assert_eq!(once.status.code(), Some(0), "{}", String::from_utf8_lossy(&once.stderr));
    assert!(String::from_utf8_lossy(&once.stdout).contains("\"databases\":2"));
}

#[test]
fn it_maintains_only_where_it_is_told_to() {
    let (_dir, hub) = fleet();
    let db = open(Way::Linked, &hub);
    let one = |sql: &str| db.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
    let done = || one("SELECT count(*) FROM maintenance_state WHERE task = 'analyze'");
    db.execute_batch("UPDATE maintenance_schedule SET enabled = task = 'analyze'").unwrap();
    json(&db, "SELECT monitor_start(0.2)");
    wait("rounds", || status(&db).1 > 3);
    assert_eq!(done(), 0);
    // As a row: a setting of another connection counts for the monitor, too.
    db.execute_batch("INSERT OR REPLACE INTO configuration(key, value) VALUES('maintenance.auto', 'true')").unwrap();
    wait("maintenance", || done() == 2);
    assert_eq!(one("SELECT count(*) FROM maintenance_due WHERE task = 'analyze'"), 0);
    json(&db, "SELECT monitor_stop()");
}

#[test]
fn it_repairs_only_where_it_is_told_to_and_a_failed_repair_stops_nothing() {
    let (dir, hub) = fleet();
    let shop = dir.path().join("shop.db");
    // An index that missed a row: REINDEX loses nothing.
    for sql in [
        "CREATE INDEX i ON t(x); CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE name = 'i';
         PRAGMA writable_schema=ON; DELETE FROM sqlite_schema WHERE name = 'i'",
        "INSERT INTO t VALUES(2); PRAGMA writable_schema=ON; INSERT INTO sqlite_schema SELECT * FROM kept",
    ] {
        let db = Connection::open(&shop).unwrap();
        db.execute_batch(sql).unwrap();
        db.close().unwrap();
    }
    // A table whose root is no b-tree page: nothing repairs that without loss.
    let lost = dir.path().join("it's \"odd\"\\.db");
    let mut bytes = std::fs::read(&lost).unwrap();
    bytes[4096..4196].fill(0xff);
    std::fs::write(&lost, bytes).unwrap();
    let db = open(Way::Linked, &hub);
    let verdict = || Connection::open(&shop).unwrap().query_row("PRAGMA integrity_check", [], |r| r.get::<_, String>(0)).unwrap();
    let copies = || std::fs::read_dir(dir.path()).unwrap().flatten().filter(|f| f.file_name().to_string_lossy().contains("before-repair")).count();
    assert_ne!(verdict(), "ok");
    json(&db, "SELECT monitor_start(0.2)");
    wait("rounds", || status(&db).1 > 3);
    assert!(verdict() != "ok" && copies() == 0);
    db.execute_batch("INSERT OR REPLACE INTO configuration(key, value) VALUES('repair.auto', 'true')").unwrap();
    wait("a repair", || verdict() == "ok");
    assert_eq!(copies(), 1);
    let told = || db.query_row("SELECT coalesce(last_error, '') FROM monitor_status", [], |r| r.get::<_, String>(0)).unwrap();
    wait("word of the other", || told().contains("repair of it's"));
    let rounds = status(&db).1;
    wait("rounds", || status(&db).1 > rounds + 3);
    assert_eq!(copies(), 1);
    json(&db, "SELECT monitor_stop()");
}

/// Samples of the text, by name and labels; fails on what is no line of the format.
fn samples(text: &str) -> Vec<(String, f64)> {
    text.lines()
        .filter(|l| !l.starts_with('#'))
        .map(|l| {
            let (name, value) = l.rsplit_once(' ').unwrap_or_else(|| panic!("{l}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{l}")))
        })
        .collect()
}

#[test]
fn prometheus_reads_the_metrics() {
    let (_dir, hub) = fleet();
    let db = open(Way::Linked, &hub);
    json(&db, "SELECT monitor_round()");
    let text: String = db.query_row("SELECT prometheus_metrics()", [], |r| r.get(0)).unwrap();
    let all = samples(&text);
    let get = |name: &str| all.iter().find(|s| s.0 == name).unwrap_or_else(|| panic!("{name} in {text}")).1;
    assert_eq!(get("sqlite_up{db=\"shop\"}"), 1.0);
    assert_eq!(get("sqlite_db_size_bytes{db=\"shop\"}"), 8192.0);
    assert_eq!(get("sqlite_db_size_bytes{db=\"it's \\\"odd\\\"\\\\\"}"), 8192.0);
    assert_eq!(get("sqlite_integrity_ratio{db=\"shop\"}"), 1.0);
    assert_eq!(get("dbint_databases"), 2.0);
    assert_eq!(get("dbint_active_alerts{severity=\"critical\"}"), 0.0);
    assert!(get("dbint_host_memory_usage_ratio") > 0.0);
    if quick() {
        return;
    }
    // By Prometheus' own client, which refuses what the server would.
    let script = "import sys\nfrom prometheus_client.parser import text_string_to_metric_families as p\n\
                  print(sum(len(f.samples) for f in p(sys.stdin.read()) if f.documentation and f.type == 'gauge'))";
    let mut python = Command::new(client("prometheus/bin/python")).args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut python.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let out = python.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), all.len().to_string());
}
