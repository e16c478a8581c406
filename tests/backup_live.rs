//! Backups of databases that are written to meanwhile: every restored copy is a state the source really had.
//!
//! BACKUP_LIVE (50 for the full proof) chooses how many backups, BACKUP_FLEET (40) how many databases share one instant.
#[path = "backup_kit.rs"]
mod kit;

use kit::*;
use rusqlite::Connection;
use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

fn writer(path: &Path, mode: &str) -> Connection {
    let db = Connection::open(path).unwrap();
    db.busy_timeout(Duration::from_secs(60)).unwrap();
    db.query_row(&format!("PRAGMA journal_mode={mode}"), [], |_| Ok(())).unwrap();
    db.execute_batch("PRAGMA synchronous=NORMAL").unwrap();
    db
}

/// Each transaction counts once in `counter`, adds row n with its own check, moves an amount between two accounts, and
/// deletes an old row: whoever sees half of one sees a contradiction.
const SCHEMA: &str = "CREATE TABLE counter(n INTEGER); INSERT INTO counter VALUES(0);
    CREATE TABLE log(n INTEGER PRIMARY KEY, twice INTEGER, filler BLOB); CREATE INDEX log_twice ON log(twice);
    CREATE TABLE account(id INTEGER PRIMARY KEY, amount INTEGER);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) INSERT INTO account SELECT i, 100 FROM n;";

fn step(db: &Connection, n: u64) -> rusqlite::Result<()> {
    let (a, b) = (n % 200 + 1, n * 7919 % 200 + 1);
    db.execute_batch(&format!(
        "BEGIN IMMEDIATE; UPDATE counter SET n = {n}; INSERT INTO log VALUES({n}, 2 * {n}, randomblob(300));
         UPDATE account SET amount = amount - 1 WHERE id = {a}; UPDATE account SET amount = amount + 1 WHERE id = {b};
         DELETE FROM log WHERE n = {n} - 3000; COMMIT"
    ))
}

/// The counter of a state, after all that must hold in it.
fn state(path: &Path) -> u64 {
    let db = Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let one = |sql: &str| db.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
    assert_eq!(db.query_row("PRAGMA integrity_check", [], |r| r.get::<_, String>(0)).unwrap(), "ok");
    let n = one("SELECT n FROM counter");
    assert_eq!(one("SELECT coalesce(max(n), 0) FROM log"), n, "the last row is the counter's");
    assert_eq!(one("SELECT count(*) FROM log"), n.min(3000), "no row is missing");
    assert_eq!(one("SELECT count(*) FROM log WHERE twice IS NOT 2 * n"), 0);
    assert_eq!(one("SELECT sum(amount) FROM account"), 20_000);
    n as u64
}

/// Ends the writers also where an assertion fails: the scope would wait for them for ever.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn a_writer_at_full_speed() {
    let rounds = count("BACKUP_LIVE", 4);
    for mode in ["wal", "delete"] {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("live.db");
        writer(&source, mode).execute_batch(SCHEMA).unwrap();
        let (stop, committed) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let ended = Stop(&stop);
            scope.spawn(|| {
                let db = writer(&source, mode);
                let mut n = 0;
                while !stop.load(Relaxed) {
                    n += 1;
                    step(&db, n).unwrap();
                    committed.store(n, Relaxed);
                }
            });
            let db = open(&dir.path().join("hub.db"));
            let mut seen = vec![];
            let started = Instant::now();
            for round in 0..rounds {
                let ty = ["full", "incremental", "incremental", "differential"][round % 4];
                let before = committed.load(Relaxed);
                let made =
                    json(&db, &format!("SELECT backup_database('{}', '{{\"type\":\"{ty}\",\"path\":\"{}/b\"}}')", source.display(), dir.path().display()));
                let after = committed.load(Relaxed);
                assert_eq!(made["proven"], true, "{made}");
                let id = made["backup_id"].as_str().unwrap();
                let to = dir.path().join("restored.db");
                json(&db, &format!("SELECT restore_database('{id}', '{}', '{{\"path\":\"{}/b\"}}')", to.display(), dir.path().display()));
                let n = state(&to);
                // One more may be committed than was told yet.
                assert!((before..=after + 1).contains(&n), "{mode}: backup {round} holds {n}, not within {before}..={after}");
                seen.push(n);
                files(dir.path()).iter().filter(|p| p.to_string_lossy().contains("restored.db")).for_each(|p| fs::remove_file(p).unwrap());
            }
            drop(ended);
            let (n, s) = (committed.load(Relaxed), started.elapsed().as_secs_f64());
            assert!(seen.is_sorted() && n > *seen.first().unwrap());
            println!("{mode}: {rounds} backups, {n} transactions beside them in {s:.1} s, states {}..{}", seen[0], seen[rounds - 1]);
        });
    }
}

#[test]
fn a_chain_of_thirty_restores_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("s.db");
    let w = writer(&source, "wal");
    w.execute_batch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b REAL, c BLOB); CREATE INDEX t_a ON t(a); CREATE TABLE \"odd \"\"name\"(x PRIMARY KEY, y) WITHOUT ROWID;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO t SELECT i, 'word ' || i % 97, i / 7.0, randomblob(80) FROM n;
         INSERT INTO \"odd \"\"name\" SELECT id, c FROM t WHERE id % 50 = 0",
    )
    .unwrap();
    let db = open(&dir.path().join("hub.db"));
    let path = format!("\"path\":\"{}/b\"", dir.path().display());
    let mut made: Vec<(String, Vec<u8>)> = vec![];
    let started = Instant::now();
    for i in 0..=30 {
        match i % 6 {
            0 => w.execute_batch(&format!("UPDATE t SET c = randomblob(90) WHERE id % 31 = {i}")).unwrap(),
            1 => w.execute_batch(&format!("DELETE FROM t WHERE id % 29 = {i}; VACUUM")).unwrap(),
            2 => w.execute_batch("INSERT INTO t(a, b, c) SELECT a, -b, randomblob(300) FROM t LIMIT 500").unwrap(),
            3 => w.execute_batch(&format!("CREATE TABLE n{i} AS SELECT * FROM t LIMIT 200")).unwrap(),
            4 => w
                .execute_batch(&format!(
                    "DROP TABLE n{}; DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY id DESC LIMIT 700); PRAGMA incremental_vacuum",
                    i - 1
                ))
                .unwrap(),
            _ => {}
        }
        w.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        let ty = if i == 0 { "full" } else { "incremental" };
        let r = json(&db, &format!("SELECT backup_database('{}', '{{\"type\":\"{ty}\",{path}}}')", source.display()));
        assert_eq!(r["type"], ty, "{r}");
        made.push((r["backup_id"].as_str().unwrap().to_owned(), fs::read(&source).unwrap()));
    }
    for (i, (id, bytes)) in made.iter().enumerate().rev() {
        let to = dir.path().join(format!("{i}.db"));
        json(&db, &format!("SELECT restore_database('{id}', '{}', '{{{path}}}')", to.display()));
        assert!(fs::read(&to).unwrap() == *bytes, "backup {i} of the chain");
    }
    // One table, rows and types compared with the source's.
    let into = dir.path().join("one.db");
    Connection::open(&into).unwrap().execute_batch("CREATE TABLE other(x)").unwrap();
    for table in ["t", "odd \"name"] {
        let name = table.replace('\'', "''");
        json(&db, &format!("SELECT restore_table('{}', '{name}', '{}', '{{{path}}}')", made[30].0, into.display()));
        let quoted = table.replace('"', "\"\"");
        let both = Connection::open(&source).unwrap();
        both.execute("ATTACH ?1 AS o", [into.to_str().unwrap()]).unwrap();
        let n = |sql: String| both.query_row(&sql, [], |r| r.get::<_, i64>(0)).unwrap();
        let rows = n(format!("SELECT count(*) FROM main.\"{quoted}\""));
        assert!(rows > 50);
        for (a, b) in [("main", "o"), ("o", "main")] {
            assert_eq!(n(format!("SELECT count(*) FROM (SELECT * FROM {a}.\"{quoted}\" EXCEPT SELECT * FROM {b}.\"{quoted}\")")), 0, "{table}");
            assert_eq!(n(format!("SELECT count(*) FROM {a}.\"{quoted}\"")), rows, "{table}");
        }
    }
    println!("31 backups, each restored byte for byte, 2 tables equal, {:.1} s", started.elapsed().as_secs_f64());
}

/// The writer keeps one sum over all databases: it takes from one and gives to another while it holds both.
#[test]
fn one_instant_for_a_fleet() {
    let (n, rounds) = (count("BACKUP_FLEET", 40), count("BACKUP_FLEET_ROUNDS", 2));
    let dir = tempfile::tempdir().unwrap();
    let hub = open(&dir.path().join("hub.db"));
    ask(&hub, "SELECT dbint_init()").unwrap();
    let path = |i: usize| dir.path().join(format!("m{i:02}.db"));
    for i in 0..n {
        // Every fifth in rollback mode: its writers wait until it is read.
        writer(&path(i), if i % 5 == 4 { "delete" } else { "wal" })
            .execute_batch("CREATE TABLE account(amount INTEGER, moves INTEGER); INSERT INTO account VALUES(1000, 0)")
            .unwrap();
        hub.execute("INSERT INTO database_registry(db_id, db_name, db_path) VALUES(?1, ?1, ?2)", (format!("m{i:02}"), path(i).to_str().unwrap())).unwrap();
    }
    let (stop, moves) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _ended = Stop(&stop);
        for worker in 0..2 {
            let (stop, moves, path) = (&stop, &moves, &path);
            scope.spawn(move || {
                let (_, mut r) = Random::from_env(&format!("BACKUP_FLEET_{worker}"));
                while !stop.load(Relaxed) {
                    let (a, b) = (r.below(n), r.below(n));
                    if a == b {
                        continue;
                    }
                    // Always in the order of the paths, as everybody who locks several must.
                    let (first, second) = (Connection::open(path(a.min(b))).unwrap(), Connection::open(path(a.max(b))).unwrap());
                    [&first, &second].iter().for_each(|c| c.busy_timeout(Duration::from_secs(60)).unwrap());
                    first.execute_batch("BEGIN IMMEDIATE; UPDATE account SET amount = amount - 7, moves = moves + 1").unwrap();
                    second.execute_batch("BEGIN IMMEDIATE; UPDATE account SET amount = amount + 7, moves = moves + 1").unwrap();
                    first.execute_batch("COMMIT").unwrap();
                    second.execute_batch("COMMIT").unwrap();
                    moves.fetch_add(1, Relaxed);
                }
            });
        }
        for round in 0..rounds {
            let made = json(&hub, &format!("SELECT backup_fleet('{{\"path\":\"{}/b\"}}')", dir.path().display()));
            assert_eq!((made["databases"].as_u64(), made["failed"].as_u64()), (Some(n as u64), Some(0)), "{made}");
            let out = dir.path().join(format!("out{round}"));
            let fleet = made["fleet_id"].as_str().unwrap();
            let back = json(&hub, &format!("SELECT restore_fleet('{fleet}', '{}', '{{\"path\":\"{}/b\"}}')", out.display(), dir.path().display()));
            assert_eq!(back["databases"].as_u64(), Some(n as u64));
            let (mut sum, mut seen) = (0, 0);
            for i in 0..n {
                let db = Connection::open(out.join(format!("m{i:02}.db"))).unwrap();
                let (amount, m): (i64, i64) = db.query_row("SELECT amount, moves FROM account", [], |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
                (sum, seen) = (sum + amount, seen + m);
            }
            assert_eq!((sum, seen % 2), (1000 * n as i64, 0), "round {round}: a transfer is half there");
            println!("round {round}: {n} databases at one instant, held {} ms, {} transfers seen, sum {sum}", made["held_ms"], seen / 2);
        }
    });
    assert!(moves.load(Relaxed) > 10, "the writers hardly ran");
}
