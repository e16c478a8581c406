//! Several at once: two processes that sync into one target, a writer busy on the source, an interrupt in the middle.
use dbint_tests::Way;
use rusqlite::Connection;
use std::{
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

fn host(file: &Path) -> Connection {
    let db = Connection::open(file).unwrap();
    db.busy_timeout(Duration::from_secs(5)).unwrap();
    Way::Linked.register(&db).unwrap();
    db
}

/// The table with `value` in all of `rows` rows.
fn make(file: &Path, journal: &str, rows: u32, value: i64) {
    Connection::open(file)
        .unwrap()
        .execute_batch(&format!(
            "PRAGMA journal_mode={journal}; CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER, pad BLOB);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) INSERT INTO t SELECT i, {value}, zeroblob(200) FROM n WHERE {rows} > 0"
        ))
        .unwrap();
}

/// How many rows have each value.
fn values(file: &Path) -> Vec<(i64, i64)> {
    let db = host(file);
    let intact: String = db.query_row("PRAGMA integrity_check", [], |r| r.get(0)).unwrap();
    assert_eq!(intact, "ok");
    let mut q = db.prepare("SELECT v, count(*) FROM t GROUP BY v").unwrap();
    q.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Not a test of its own: what the other processes run.
#[test]
fn the_other_process() {
    let (Some(file), Some(target)) = (std::env::var_os("DBINT_SYNC_FILE"), std::env::var_os("DBINT_SYNC_TARGET")) else { return };
    let db = host(Path::new(&file));
    for _ in 0..3 {
        let done = db.query_row("SELECT sync_table('t', ?, '{\"mode\":\"full\"}')", [target.to_str()], |r| r.get::<_, String>(0));
        if let Err(e) = done {
            assert!(e.to_string().ends_with("[DBINT_BUSY]"), "{e}");
        }
    }
}

#[test]
fn two_processes_into_one_target() {
    for journal in ["delete", "wal"] {
        let dir = tempfile::tempdir().unwrap();
        let (files, target) = ([dir.path().join("a.db"), dir.path().join("b.db")], dir.path().join("target.db"));
        make(&files[0], journal, 500, 1);
        make(&files[1], journal, 700, 2);
        make(&target, journal, 600, 3);
        let begun = Instant::now();
        let others: Vec<_> = files
            .iter()
            .map(|f| {
                Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "the_other_process"])
                    .env("DBINT_SYNC_FILE", f)
                    .env("DBINT_SYNC_TARGET", &target)
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        // Whoever looks in between sees one sync or the other, whole.
        let whole = |v: &[(i64, i64)]| [vec![(1, 500)], vec![(2, 700)], vec![(3, 600)]].iter().any(|w| w == v);
        let mut looks = 0;
        let mut others = others;
        while others.iter_mut().any(|c| c.try_wait().unwrap().is_none()) {
            let seen = values(&target);
            assert!(whole(&seen), "{journal}: {seen:?}");
            looks += 1;
            assert!(begun.elapsed() < Duration::from_secs(120), "a deadlock");
        }
        assert!(others.iter_mut().all(|c| c.wait().unwrap().success()));
        let last = values(&target);
        assert!(last == [(1, 500)] || last == [(2, 700)], "{journal}: {last:?}");
        println!("{journal}: {looks} looks in between");
    }
}

/// The writer moves amounts between rows: their sum is the same at every moment.
#[test]
fn a_writer_busy_on_the_source() {
    for journal in ["delete", "wal"] {
        for tracked in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let (source, target) = (dir.path().join("source.db"), dir.path().join("target.db"));
            make(&source, journal, 400, 100);
            make(&target, journal, 0, 0);
            if tracked {
                host(&source).query_row("SELECT track_changes('t')", [], |_| Ok(())).unwrap();
            }
            let done = AtomicBool::new(false);
            let writes = thread::scope(|s| {
                let writer = s.spawn(|| {
                    let db = Connection::open(&source).unwrap();
                    db.busy_timeout(Duration::from_secs(20)).unwrap();
                    let mut n = 0_i64;
                    while !done.load(SeqCst) {
                        n += 1;
                        let sql = format!(
                            "BEGIN IMMEDIATE; UPDATE t SET v = v - {n} WHERE id = {}; UPDATE t SET v = v + {n} WHERE id = {}; COMMIT",
                            n % 400 + 1,
                            n * 7 % 400 + 1
                        );
                        db.execute_batch(&sql).unwrap();
                        thread::sleep(Duration::from_millis(1));
                    }
                    n
                });
                let db = host(&source);
                for n in 0..12 {
                    let done = db.query_row("SELECT sync_table('t', ?)", [target.to_str()], |r| r.get::<_, String>(0)).unwrap();
                    let (sum, rows): (i64, i64) = host(&target).query_row("SELECT sum(v), count(*) FROM t", [], |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
                    assert_eq!((sum, rows), (40_000, 400), "{journal}, tracked {tracked}, sync {n}: {done}");
                }
                done.store(true, SeqCst);
                writer.join().unwrap()
            });
            assert!(writes > 5, "the writer got {writes} turns only");
            host(&source).query_row("SELECT sync_table('t', ?)", [target.to_str()], |_| Ok(())).unwrap();
            assert_eq!(values(&source), values(&target));
        }
    }
}

/// What a preview counts is one state of the target, though commits go on: all rows have one value, and half may be gone.
#[test]
fn a_preview_beside_a_writer_busy_on_the_target() {
    for journal in ["delete", "wal"] {
        let dir = tempfile::tempdir().unwrap();
        let (file, target) = (dir.path().join("source.db"), dir.path().join("target.db"));
        make(&file, journal, 2_000, 1);
        make(&target, journal, 2_000, 1);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let db = host(&target);
                for n in 0.. {
                    if done.load(SeqCst) {
                        break;
                    }
                    let sql = ["UPDATE t SET v = 2", "DELETE FROM t WHERE id % 2", "INSERT INTO t SELECT id - 1, 2, pad FROM t", "UPDATE t SET v = 1"][n % 4];
                    // In rollback mode a preview may hold the writer up longer than it waits.
                    let _ = db.execute_batch(sql);
                }
            });
            let db = host(&file);
            let end = Instant::now() + Duration::from_secs(2);
            let mut told = 0;
            while Instant::now() < end {
                let sql = "SELECT json_extract(r, '$.updated'), json_extract(r, '$.inserted'), json_extract(r, '$.unchanged') \
                           FROM (SELECT sync_table('t', ?, '{\"mode\":\"full\",\"dry_run\":true}') AS r)";
                match db.query_row(sql, [target.to_str()], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, i64>(1)?, r.get::<_, i64>(2)?))) {
                    Ok(seen) => assert!([(0, 0, 2000), (2000, 0, 0), (1000, 1000, 0), (0, 1000, 1000)].contains(&seen), "{journal}: {seen:?}"),
                    Err(e) => assert!(e.to_string().ends_with("[DBINT_BUSY]"), "{journal}: {e}"),
                }
                told += 1;
            }
            done.store(true, SeqCst);
            assert!(told > 2, "{journal}: {told} previews");
        });
    }
}

#[test]
fn an_interrupt_changes_nothing() {
    let (mut stopped, mut ended) = (0, 0);
    for journal in ["delete", "wal"] {
        let dir = tempfile::tempdir().unwrap();
        let (source, target) = (dir.path().join("source.db"), dir.path().join("target.db"));
        make(&source, journal, 6000, 1);
        make(&target, journal, 6000, 0);
        let db = host(&source);
        let handle = db.get_interrupt_handle();
        let mut value = 1;
        for n in 0..24 {
            let before = values(&target);
            let done = thread::scope(|s| {
                s.spawn(|| {
                    thread::sleep(Duration::from_millis(n * 6));
                    handle.interrupt();
                });
                db.query_row("SELECT sync_table('t', ?, '{\"batch_size\":10}')", [target.to_str()], |r| r.get::<_, String>(0))
            });
            match done {
                Ok(_) => {
                    assert_eq!(values(&target), [(value, 6000)]);
                    ended += 1;
                    value += 1;
                    db.execute("UPDATE t SET v = ?", [value]).unwrap();
                }
                Err(e) => {
                    assert!(e.to_string().contains("nterrupt"), "{e}");
                    // The caller's own statement may be stopped when the sync is done already: then it is not dbint that says so.
                    if e.to_string().ends_with("[DBINT_INTERRUPTED]") {
                        assert_eq!(values(&target), before, "{e}");
                        stopped += 1;
                    } else {
                        assert!(values(&target) == before || values(&target) == [(value, 6000)], "{e}");
                    }
                }
            }
        }
        // Interrupted ever so often, it still can.
        while db.query_row("SELECT sync_table('t', ?)", [target.to_str()], |_| Ok(())).is_err() {}
        assert_eq!(values(&target), [(value, 6000)]);
    }
    println!("{stopped} syncs stopped, {ended} ended before");
    assert!(stopped > 0, "no interrupt came in time");
}

/// A statement that reads the target while it calls does not keep the sync from committing.
#[test]
fn the_callers_statement_reads_the_target() {
    for journal in ["delete", "wal"] {
        let dir = tempfile::tempdir().unwrap();
        let (source, target) = (dir.path().join("source.db"), dir.path().join("target.db"));
        make(&source, journal, 300, 5);
        make(&target, journal, 200, 6);
        let db = host(&target);
        db.execute_batch("CREATE TABLE list(name); INSERT INTO list VALUES('t')").unwrap();
        let o = format!("{{\"mode\":\"full\",\"retries\":0,\"source\":\"{}\"}}", source.display());
        let inserted: i64 = db.query_row("SELECT json_extract(sync_table(name, 'main', ?), '$.inserted') FROM list", [o], |r| r.get(0)).unwrap();
        assert_eq!(inserted, 100, "{journal}");
        assert_eq!(values(&target), [(5, 300)]);
    }
}
