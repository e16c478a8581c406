//! Bad input of every kind, through everything that looks at databases: one labelled row each, in time, and nothing else spoilt.
use dbint_tests::Way;
use rusqlite::Connection;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// No answer about one database takes longer.
const PATIENCE: Duration = Duration::from_secs(5);

fn host() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    Way::Linked.register(&db).unwrap();
    db
}

/// A database with some of everything, of about 40 pages.
fn sample(path: &Path, wal: bool) -> Vec<u8> {
    let db = Connection::open(path).unwrap();
    db.execute_batch(&format!(
        "PRAGMA page_size=1024; PRAGMA journal_mode={};
         CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, body BLOB); CREATE INDEX t_body ON t(body);
         CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID; CREATE VIEW v AS SELECT * FROM t; CREATE TABLE c(t REFERENCES t);
         WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) INSERT INTO t SELECT i, 'name ' || i, zeroblob(i) FROM n;
         INSERT INTO t VALUES(1000, 'long', zeroblob(5000)); INSERT INTO w SELECT name, id FROM t; INSERT INTO c SELECT id FROM t;
         CREATE TABLE gone(x); INSERT INTO gone VALUES(zeroblob(3000)); DROP TABLE gone; ANALYZE",
        if wal { "WAL" } else { "DELETE" }
    ))
    .unwrap();
    db.close().unwrap();
    fs::read(path).unwrap()
}

/// db_name → status of a table function's rows.
fn rows(db: &Connection, sql: &str, dir: &Path) -> BTreeMap<String, (String, Option<String>)> {
    let mut q = db.prepare(sql).unwrap();
    let mut out = BTreeMap::new();
    let found = q.query_map([dir.to_str().unwrap()], |r| Ok((r.get::<_, String>(0)?, (r.get(1)?, r.get(2)?)))).unwrap();
    for row in found {
        let (path, status) = row.unwrap();
        let name = Path::new(&path).strip_prefix(dir).unwrap_or(Path::new(&path)).display().to_string();
        assert!(out.insert(name.clone(), status).is_none(), "{name} has two rows");
    }
    out
}

const DISCOVER: &str = "SELECT path, status, detail FROM discover_databases(?)";
const SIZES: &str = "SELECT db_path, status, detail FROM size_report(?)";

/// Everything that looks at one database, each in time; an error has its tag.
fn look(db: &Connection, path: &Path) -> Result<String, String> {
    let path = path.to_str().unwrap();
    let mut status = String::new();
    for sql in [
        "SELECT json_extract(db_health(?), '$.status')",
        "SELECT json_extract(db_health(?, '{\"level\":\"header\"}'), '$.status')",
        "SELECT json_extract(db_health(?, '{\"level\":\"deep\"}'), '$.status')",
        "SELECT json_extract(size_check(?), '$.status')",
        "SELECT count(*) FROM table_sizes(?)",
        "SELECT count(*) FROM integrity_report(?)",
        "SELECT json_extract(optimize_database(?, 'analyze'), '$.status')",
    ] {
        let began = Instant::now();
        let got = db.query_row(sql, [path], |r| r.get::<_, rusqlite::types::Value>(0));
        if began.elapsed() > PATIENCE {
            return Err(format!("{sql} took {:?}", began.elapsed()));
        }
        match got {
            Ok(rusqlite::types::Value::Text(s)) if status.is_empty() => status = s,
            Ok(_) => {}
            Err(e) if e.to_string().ends_with(']') && !e.to_string().contains("INTERNAL") && !sql.contains("db_health") => {}
            Err(e) => return Err(format!("{sql}: {e}")),
        }
    }
    Ok(status)
}

/// Writes every file, then asks for all of them at once and for each alone.
fn everything(name: &str, files: &[(String, Vec<u8>)], expect: impl Fn(&str, &str, &str)) {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let good = dir.path().join("good.db");
    let sound = sample(&good, false);
    let began = Instant::now();
    let db = host();
    for sql in [DISCOVER, SIZES, "SELECT path, status, detail FROM discover_databases(?, '{\"level\":\"header\"}')"] {
        let found = rows(&db, sql, dir.path());
        assert_eq!(found.len(), files.len() + 1, "{name}: {sql}");
        assert_eq!(found["good.db"].0, "OK", "{name}: {sql}");
    }
    let registered: i64 = db
        .query_row(
            "SELECT json_extract(r, '$.registered') + json_array_length(r, '$.skipped') FROM (SELECT register_database(?) AS r)",
            [dir.path().to_str()],
            |r| r.get(0),
        )
        .unwrap();
    assert_eq!(registered as usize, files.len() + 1, "{name}");
    // What was not registered is a member, too: members may break later.
    let mut add = db.prepare("INSERT OR IGNORE INTO database_registry(db_id, db_name, db_path) SELECT ?1, ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM database_registry WHERE db_path = ?2)").unwrap();
    for (name, _) in files {
        add.execute([name.as_str(), dir.path().canonicalize().unwrap().join(name).to_str().unwrap()]).unwrap();
    }
    for level in ["header", "quick", "deep"] {
        let mut q = db.prepare("SELECT db_path, health_status, score FROM fleet_health(?)").unwrap();
        let mut n = 0;
        for row in q.query_map([format!("{{\"level\":\"{level}\"}}")], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?, r.get::<_, f64>(2)?))).unwrap() {
            let (path, status, score) = row.unwrap();
            let name = Path::new(&path).file_name().unwrap().to_str().unwrap();
            assert!((0.0..=100.0).contains(&score) && ["HEALTHY", "WARNING", "CRITICAL", "UNREACHABLE"].contains(&status.as_str()), "{path}: {status} {score}");
            if name == "good.db" {
                assert_eq!(status, "HEALTHY", "{name}, {level}");
            } else {
                expect(name, level, &status);
            }
            n += 1;
        }
        assert_eq!(n, files.len() + 1, "{name}: {level}");
    }
    let (refreshed, failed): (i64, i64) = db
        .query_row("SELECT json_extract(r, '$.refreshed'), json_array_length(r, '$.failed') FROM (SELECT refresh_registry() AS r)", [], |r| {
            Ok((r.get(0)?, r.get(1)?))
        })
        .unwrap();
    assert_eq!((refreshed + failed) as usize, files.len() + 1, "{name}");
    let all = began.elapsed();
    for (file, _) in files {
        if let Err(e) = look(&db, &dir.path().join(file)) {
            panic!("{name}: {file}: {e}");
        }
    }
    // Looking changes nothing: analyze was the one thing that may write, and only where it worked.
    assert_eq!(fs::read(&good).unwrap(), sound, "{name}");
    println!("{name}: {} files, the fleet in {all:.1?}, each alone in {:.1?}", files.len(), began.elapsed() - all);
}

#[test]
fn each_byte_of_the_header_flipped() {
    let dir = tempfile::tempdir().unwrap();
    for wal in [false, true] {
        let bytes = sample(&dir.path().join(format!("base{wal}.db")), wal);
        let mut files = vec![];
        for at in 0..100 {
            for bits in [0x01, 0xff] {
                let mut b = bytes.clone();
                b[at] ^= bits;
                files.push((format!("{at:03}-{bits:02x}.db"), b));
            }
        }
        everything(if wal { "header of a WAL database" } else { "header" }, &files, |name, level, status| {
            let at: usize = name[..3].parse().unwrap();
            // The magic; page size; versions; payload fractions.
            if at < 16 || (17..18).contains(&at) || (21..24).contains(&at) {
                assert_eq!(status, "CRITICAL", "{name}, {level}");
            }
        });
    }
}

#[test]
fn truncated_at_every_page() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = sample(&dir.path().join("base.db"), false);
    let pages = bytes.len() / 1024;
    assert!(pages > 30);
    let mut files = vec![];
    for page in 0..pages {
        files.push((format!("{page:03}-edge.db"), bytes[..page * 1024].to_vec()));
        files.push((format!("{page:03}-half.db"), bytes[..page * 1024 + 512].to_vec()));
    }
    everything("truncated", &files, |name, level, status| {
        let zero = name == "000-edge.db";
        assert_eq!(status, if zero { "WARNING" } else { "CRITICAL" }, "{name}, {level}");
    });
}

#[test]
fn other_files_than_sound_databases() {
    let dir = tempfile::tempdir().unwrap();
    let base = sample(&dir.path().join("base.db"), false);
    let schema = |text: &str| {
        let path = dir.path().join("schema.db");
        let _ = fs::remove_file(&path);
        sample(&path, false);
        let db = Connection::open(&path).unwrap();
        db.execute_batch(&format!("PRAGMA writable_schema=ON; UPDATE sqlite_schema SET {text}")).unwrap();
        db.close().unwrap();
        fs::read(&path).unwrap()
    };
    // As SQLCipher writes: the first page is noise, too.
    let mut state = 7u32;
    let noise = (0..40_960).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let mut wide = base.clone();
    wide.extend_from_slice(&[0; 100]);
    let mut shuffled = base.clone();
    let (left, right) = shuffled.split_at_mut(5 * 1024);
    left[4 * 1024..].swap_with_slice(&mut right[10 * 1024..11 * 1024]);
    let files = [
        ("empty.db", vec![]),
        ("one byte.db", vec![b'S']),
        ("text.db", b"id,name\n1,just a file of text\n".repeat(100)),
        ("encrypted.db", noise.collect()),
        ("zeros.db", vec![0; 8192]),
        ("longer.db", wide),
        ("shuffled.db", shuffled),
        ("schema text.db", schema("sql = 'CREATE TABLE nonsense(' WHERE name = 't'")),
        ("schema blob.db", schema("sql = x'ff00ff' WHERE name = 't'")),
        ("schema root.db", schema("rootpage = 99999 WHERE name = 't'")),
        ("schema self.db", schema("rootpage = 1 WHERE name = 't'")),
        ("schema type.db", schema("type = 7, name = NULL WHERE name = 't'")),
        ("it's \"quoted\"; --.db", base.clone()),
        ("größe 数据 🦀.db", base.clone()),
        ("percent %41 ?mode=memory#x.db", base),
    ];
    let files: Vec<_> = files.into_iter().map(|(n, b)| (n.to_owned(), b)).collect();
    everything("other files", &files, |name, level, status| {
        let healthy = name.contains("quoted") || name.contains("größe") || name.contains("percent");
        let deep_only = name.starts_with("schema") || name == "shuffled.db";
        match (healthy, deep_only && level == "header") {
            (true, _) => assert_eq!(status, "HEALTHY", "{name}, {level}"),
            (_, true) => {}
            _ => assert!(["WARNING", "CRITICAL"].contains(&status), "{name}, {level}: {status}"),
        }
    });
}

#[test]
fn links_pipes_and_what_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    sample(&at("good.db"), false);
    fs::create_dir_all(at("sub/deeper")).unwrap();
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, at(name)).unwrap();
    link("..", "sub/up");
    link("deeper", "sub/round");
    link("../round", "sub/deeper/round");
    link("self.db", "self.db");
    link("nowhere.db", "dangling.db");
    link("good.db", "alias.db");
    // A regular file that not even root can read.
    link("/proc/self/mem", "unreadable.db");
    fs::create_dir(at("folder.db")).unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(at("pipe.db")).status().unwrap();
    assert!(fifo.success());
    let _socket = std::os::unix::net::UnixListener::bind(at("socket.db")).unwrap();
    let invalid = dir.path().join(std::ffi::OsStr::from_bytes(b"not \xff UTF-8.db"));
    fs::copy(at("good.db"), &invalid).unwrap();
    fs::write(at("notes.txt"), "no database, and none promised").unwrap();
    let db = host();
    let began = Instant::now();
    for sql in [DISCOVER, SIZES] {
        let found = rows(&db, sql, dir.path());
        let status = |name: &str| found.get(name).map(|s| s.0.as_str());
        assert_eq!(status("good.db"), Some("OK"));
        assert_eq!(status("alias.db"), Some("LINK"));
        assert_eq!(status("self.db"), Some("UNREADABLE"));
        assert_eq!(status("dangling.db"), Some("VANISHED"));
        for name in ["unreadable.db", "pipe.db", "socket.db", "not \u{fffd} UTF-8.db"] {
            assert_eq!(status(name), Some("UNREADABLE"), "{name}");
        }
        assert_eq!(status("notes.txt"), None);
        assert_eq!(status("folder.db"), None, "a directory of that name is no file");
        assert_eq!(status("sub/up"), Some("LINK"));
        // No labelled row is without its reason.
        for (name, (status, detail)) in &found {
            assert!(status == "OK" || detail.is_some(), "{name}: {status}");
        }
    }
    assert!(began.elapsed() < PATIENCE);
    for name in ["self.db", "dangling.db", "unreadable.db", "pipe.db", "socket.db", "folder.db"] {
        let began = Instant::now();
        let status: Result<String, _> = db.query_row("SELECT json_extract(db_health(?), '$.status')", [at(name).to_str()], |r| r.get(0));
        assert!(status.as_ref().map_or_else(|e| e.to_string().contains("DBINT_"), |s| ["UNREACHABLE", "CRITICAL"].contains(&s.as_str())), "{name}: {status:?}");
        for call in ["size_check(?)", "register_database(?)", "optimize_database(?)", "integrity_report(?)"] {
            let sql = if call.starts_with("integrity") { format!("SELECT count(*) FROM {call}") } else { format!("SELECT {call}") };
            let _ = db.query_row(&sql, [at(name).to_str()], |_| Ok(()));
            assert!(began.elapsed() < PATIENCE, "{name}: {call}");
        }
    }
}

#[test]
fn locked_exclusively_by_somebody_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut held = vec![];
    for wal in [false, true] {
        let path = dir.path().join(format!("locked{wal}.db"));
        sample(&path, wal);
        let other = Connection::open(&path).unwrap();
        other.execute_batch("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; INSERT INTO c VALUES(1)").unwrap();
        held.push(other);
    }
    sample(&dir.path().join("good.db"), false);
    let db = host();
    let began = Instant::now();
    let found = rows(&db, DISCOVER, dir.path());
    assert_eq!(found["good.db"].0, "OK");
    for name in ["lockedfalse.db", "lockedtrue.db"] {
        assert_eq!(found[name].0, "LOCKED", "{found:?}");
    }
    // By the header there is nothing to wait for.
    assert_eq!(rows(&db, SIZES, dir.path())["lockedtrue.db"].0, "OK");
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    let n: i64 = db.query_row("SELECT json_extract(register_database(?), '$.registered')", [dir.path().to_str()], |r| r.get(0)).unwrap();
    assert_eq!(n, 3);
    let mut q = db.prepare("SELECT health_status, error FROM fleet_health WHERE db_name LIKE 'locked%'").unwrap();
    for row in q.query_map([], |r| Ok((r.get::<_, String>(0)?, r.get::<_, Option<String>>(1)?))).unwrap() {
        let (status, error) = row.unwrap();
        assert!(status == "UNREACHABLE" && error.as_ref().is_some_and(|e| e.contains("DBINT_BUSY")), "{status}: {error:?}");
    }
    // Each function waits two seconds for the lock: one of the two files says enough.
    look(&db, &dir.path().join("lockedtrue.db")).unwrap();
}

#[test]
fn files_that_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let base = sample(&dir.path().join("good.db"), false);
    let stop = AtomicBool::new(false);
    let (mut rounds, mut seen) = (0, 0);
    std::thread::scope(|s| {
        s.spawn(|| {
            let mut i = 0u64;
            while !stop.load(Ordering::Relaxed) {
                let path = dir.path().join(format!("{}.db", i % 40));
                let sub = dir.path().join(format!("sub{}", i % 7));
                let _ = fs::write(&path, &base[..(i as usize * 997) % base.len()]);
                let _ = fs::create_dir(&sub);
                let _ = fs::write(sub.join("x.db"), &base);
                let _ = fs::remove_file(dir.path().join(format!("{}.db", (i * 7) % 40)));
                let _ = fs::remove_dir_all(dir.path().join(format!("sub{}", (i * 3) % 7)));
                i += 1;
            }
        });
        let db = host();
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            for sql in [DISCOVER, SIZES] {
                let found = rows(&db, sql, dir.path());
                assert_eq!(found["good.db"].0, "OK");
                seen += found.len();
            }
            rounds += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("{rounds} rounds, {seen} rows");
    assert!(rounds > 3 && seen > 100);
}

/// Where the test runs by an ordinary user, permissions count, too.
#[test]
fn permissions() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (file, sub) = (dir.path().join("secret.db"), dir.path().join("closed"));
    sample(&file, false);
    fs::create_dir(&sub).unwrap();
    sample(&sub.join("inside.db"), false);
    let shut = |p: &PathBuf, mode| fs::set_permissions(p, fs::Permissions::from_mode(mode)).unwrap();
    shut(&file, 0);
    shut(&sub, 0);
    let everyone = fs::read(&file).is_ok();
    let found = rows(&host(), DISCOVER, dir.path());
    shut(&sub, 0o755);
    if everyone {
        assert_eq!((found["secret.db"].0.as_str(), found["closed/inside.db"].0.as_str()), ("OK", "OK"), "root may read all");
    } else {
        assert_eq!((found["secret.db"].0.as_str(), found["closed"].0.as_str()), ("UNREADABLE", "UNREADABLE"));
    }
}
