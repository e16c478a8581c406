//! The dashboard in a real browser, and against requests a browser would not make.
use dbint_tests::{Way, client, demo_fleet, quick, root, shell};
use rusqlite::Connection;
use serde_json::Value as Json;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tempfile::TempDir;

static FOLDER: Mutex<()> = Mutex::new(());

/// A fleet that was measured for two hours, with one alert open.
fn fleet() -> (TempDir, PathBuf) {
    let _one = FOLDER.lock().unwrap_or_else(PoisonError::into_inner);
    let made = demo_fleet();
    let hub = made.path().join("production.db");
    let db = Connection::open(&hub).unwrap();
    Way::Linked.register(&db).unwrap();
    for (metric, value) in [("query_time", 0.002), ("storage_used", 250_000.0)] {
        for minute in 0..120 {
            let sql = "INSERT INTO performance_metrics(metric_id, db_name, metric_type, metric_value, measurement_time) \
                       SELECT hex(randomblob(8)), db_name, ?, ? * (1 + (rowid % 5)), datetime('now', ?) FROM database_registry";
            db.execute(sql, (metric, value, format!("-{minute} minutes"))).unwrap();
        }
    }
    db.execute_batch(
        "INSERT INTO performance_metrics(metric_id, db_name, metric_type, metric_value) VALUES('x', 'monitoring', 'availability', 0);
         SELECT evaluate_alerts();",
    )
    .unwrap();
    (made, hub)
}

struct Dashboard {
    child: Child,
    url: String,
}

impl Dashboard {
    fn open(dir: &Path) -> Dashboard {
        let mut child = Command::new(shell()).arg("dashboard").arg(dir).stdout(Stdio::piped()).spawn().unwrap();
        let url = BufReader::new(child.stdout.as_mut().unwrap()).lines().map_while(Result::ok).find(|l| l.contains("http://")).expect("an address");
        Dashboard { child, url: url.trim().to_owned() }
    }

    fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap().split('/').next().unwrap()
    }

    fn token(&self) -> &str {
        self.url.split_once("token=").unwrap().1
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status, headers and text of one request; its lines as given.
fn ask(address: &str, request: &str) -> (u16, String) {
    let mut s = TcpStream::connect(address).unwrap();
    s.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    s.write_all(format!("{request}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut bytes = vec![];
    let _ = s.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    (text.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0), text)
}

#[test]
fn only_the_token_opens_it_and_only_under_its_own_name() {
    let (_fleet, hub) = fleet();
    let d = Dashboard::open(hub.parent().unwrap());
    let (a, token) = (d.address().to_owned(), d.token().to_owned());
    let get = |path: &str, more: &str| ask(&a, &format!("GET {path} HTTP/1.1\r\nHost: {a}{more}"));
    let cookie = format!("\r\nCookie: other=1; dbint_token={token}");
    assert_eq!(get("/", "").0, 401);
    assert_eq!(get("/?token=0123456789abcdef0123456789abcdef", "").0, 401);
    assert_eq!(get("/api/state", "\r\nCookie: dbint_token=").0, 401);
    let (status, text) = get(&format!("/?token={token}"), "");
    assert!(status == 303 && text.contains("HttpOnly") && text.contains("SameSite=Strict"), "{text}");
    let (status, text) = get("/", &cookie);
    assert!(status == 200 && text.contains("default-src 'none'"));
    // Another site's name for this address is refused, token or not.
    assert_eq!(ask(&a, &format!("GET / HTTP/1.1\r\nHost: evil.example{cookie}")).0, 421);
    assert_eq!(ask(&a, &format!("GET /api/state HTTP/1.0{cookie}")).0, 421);
    for path in ["/../../etc/passwd", "/..%2f..%2fetc/passwd", "/%00", "/api", "/api/state/../x", "//"] {
        assert_eq!(get(path, &cookie).0, 404, "{path}");
    }
    for path in ["/api/series?metric=nope&hours=1", "/api/series?metric=query_time&hours=7", "/api/series", "/api/series?metric=%ff&hours=%"] {
        assert_eq!(get(path, &cookie).0, 400, "{path}");
    }
    assert_eq!(get("/api/state?q=%27%3B--%ff+", &cookie).0, 200);
    assert_eq!(get("/api/acknowledge", &cookie).0, 405);
    let id: String = Connection::open(&hub).unwrap().query_row("SELECT alert_id FROM alerts", [], |r| r.get(0)).unwrap();
    let post = |more: &str, body: &str| {
        ask(&a, &format!("POST /api/acknowledge HTTP/1.1\r\nHost: {a}{cookie}{more}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()))
    };
    let body = format!("{{\"alert_id\":\"{id}\"}}");
    assert_eq!(post("\r\nOrigin: http://evil.example\r\nContent-Type: application/json", &body).0, 403);
    assert_eq!(post(&format!("\r\nOrigin: http://{a}\r\nContent-Type: text/plain"), &body).0, 403);
    assert_eq!(post(&format!("\r\nOrigin: http://{a}\r\nContent-Type: application/json"), "[]").0, 400);
    assert_eq!(post(&format!("\r\nOrigin: http://{a}\r\nContent-Type: application/json"), "{\"alert_id\":\"none\"}").0, 409);
    let state = || Connection::open(&hub).unwrap().query_row("SELECT state FROM alerts", [], |r| r.get::<_, String>(0)).unwrap();
    assert_eq!(state(), "OPEN");
    assert_eq!(post(&format!("\r\nOrigin: http://{a}\r\nContent-Type: application/json"), &body).0, 200);
    assert_eq!(state(), "ACKNOWLEDGED");
    // Metrics are for the collector, which has no cookie.
    let (status, text) = get("/metrics", "");
    assert!(status == 200 && text.contains("sqlite_db_size_bytes{db=\"analytics\"}"), "{text}");
    // Many at once.
    let all: Vec<_> = (0..200)
        .map(|_| {
            let (a, cookie) = (a.clone(), cookie.clone());
            std::thread::spawn(move || ask(&a, &format!("GET /api/state HTTP/1.1\r\nHost: {a}{cookie}")).0)
        })
        .collect();
    assert!(all.into_iter().all(|t| t.join().unwrap() == 200));
}

#[test]
fn a_person_reads_it_in_a_browser() {
    if quick() {
        return;
    }
    let (fleet, hub) = fleet();
    let d = Dashboard::open(fleet.path());
    let report = fleet.path().join("report.html");
    let made = Command::new(shell()).arg("report").arg(fleet.path()).arg("--html").arg(&report).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let shots = root().join("target/screenshots");
    fs::create_dir_all(&shots).unwrap();
    let mut node = Command::new(client("newest/bin/node"))
        .arg(root().join("tests/hosts/dashboard.js"))
        .arg(&d.url)
        .arg(&report)
        .arg(&shots)
        .env("NODE_PATH", client("npm/node_modules"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let db = Connection::open(&hub).unwrap();
    Way::Linked.register(&db).unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    let seen: Json = loop {
        let line = lines.next().expect("the browser ended early").unwrap();
        if line == "CHANGE" {
            db.execute_batch("SELECT resolve_alert(alert_id) FROM active_alerts").unwrap();
        } else {
            break serde_json::from_str(&line).unwrap();
        }
    };
    assert!(node.wait().unwrap().success());
    for shot in seen["shots"].as_array().unwrap().iter().chain([&seen["live"], &seen["report"]]) {
        assert_eq!(shot["errors"], serde_json::json!([]), "{shot}");
        let own = |h: &Json| h == d.address() || h == "file";
        assert!(shot["hosts"].as_array().unwrap().iter().all(own), "{shot}");
        if shot.get("overflow").is_some() {
            assert_eq!(shot["overflow"], 0, "{shot}");
        }
        if shot.get("nameless").is_some() {
            assert_eq!(shot["nameless"], serde_json::json!([]));
        }
    }
    assert_ne!(seen["shots"][0]["background"], seen["shots"][1]["background"], "light and dark look the same");
    // The token does not stay in the address.
    assert_eq!(seen["address"], format!("http://{}/", d.address()));
    let one = |sql: &str| db.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap().to_string();
    assert_eq!(seen["tiles"]["databases"], one("SELECT count(*) FROM database_registry"));
    assert_eq!(seen["tiles"]["alerts"], "1");
    let plain = |t: &Json| t.as_str().unwrap().replace(['\u{202f}', '\u{a0}'], "");
    assert_eq!(
        plain(&seen["tiles"]["rows"]),
        format!("{} rows in {} tables", one("SELECT sum(record_count) FROM database_registry"), one("SELECT sum(table_count) FROM database_registry"))
    );
    let rows = seen["fleet"].as_array().unwrap();
    assert_eq!(rows.len(), 8);
    for row in rows {
        let name = row[0].as_str().unwrap();
        let known: (String, i64) =
            db.query_row("SELECT health_status, rows FROM fleet_overview WHERE db_name = ?", [name], |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
        assert_eq!((row[1].as_str().unwrap(), plain(&row[5])), (known.0.as_str(), known.1.to_string()), "{row}");
    }
    for (axes, title) in [(&seen["axes"], "Probe time (milliseconds)"), (&seen["axesOfSize"], "Size (MB)")] {
        assert_eq!(axes["y"], title);
        assert!(axes["x"].as_str().unwrap().starts_with("Local time, 20"), "{axes}");
        assert!(axes["ticksX"].as_array().unwrap().len() >= 3 && axes["ticksY"].as_array().unwrap().len() >= 3, "{axes}");
    }
    let names: Vec<&str> = seen["sorted"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!(seen["ariaSort"], "ascending");
    assert!(seen["found"].as_array().unwrap().iter().all(|n| n.as_str().unwrap().contains("moni")));
    assert!(seen["alert"].as_str().unwrap().contains("monitoring: the database cannot be reached"));
    assert_eq!(seen["acknowledged"], "seen by dashboard");
    assert!(seen["history"].as_str().unwrap().contains("ACKNOWLEDGED"));
    assert_eq!(seen["followed"], true);
    assert_eq!((seen["report"]["fleet"].as_i64(), seen["report"]["buttons"].as_i64()), (Some(8), Some(0)));
}

#[test]
fn a_large_fleet_is_one_page_within_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let hub = dir.path().join("dbint.db");
    let db = Connection::open(&hub).unwrap();
    Way::Linked.register(&db).unwrap();
    db.execute_batch(
        "SELECT dbint_init();
         BEGIN;
         INSERT INTO database_registry(db_id, db_name, db_path, db_size, table_count, record_count)
           WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) SELECT 'id' || i, printf('db%05d', i), '/none/' || i, 4096 * i, 3, 10 * i FROM n;
         INSERT INTO metric_latest(db_name, metric_type, metric_value, unit, measurement_time) SELECT db_name, 'query_time', 0.001, 's', datetime('now') FROM database_registry;
         INSERT INTO performance_metrics(metric_id, db_name, metric_type, metric_value) SELECT db_id, db_name, 'storage_used', db_size FROM database_registry;
         COMMIT;",
    )
    .unwrap();
    let d = Dashboard::open(dir.path());
    let a = d.address().to_owned();
    let get = |path: &str| ask(&a, &format!("GET {path} HTTP/1.1\r\nHost: {a}\r\nCookie: dbint_token={}", d.token()));
    get("/api/state");
    for path in ["/", "/api/state", "/api/state?q=db0999", "/api/series?metric=storage_used&hours=24"] {
        // The best of some: other tests keep the machine busy.
        let mut took = Duration::MAX;
        for _ in 0..5 {
            let began = Instant::now();
            let (status, text) = get(path);
            took = took.min(began.elapsed());
            assert_eq!(status, 200, "{path}");
            assert!(text.len() < 200_000, "{path}: {} bytes", text.len());
        }
        println!("{path}: {took:?}");
        assert!(took < Duration::from_secs(1), "{path}: {took:?}");
    }
    assert!(get("/api/state?q=db0999").1.contains("db09990"));
}
