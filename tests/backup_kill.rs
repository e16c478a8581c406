//! kill -9 at any moment of a backup, a prune or a restore: the repository stays valid, no proven backup is lost, and a
//! restore target is the old file or the new one.
//!
//! BACKUP_KILLS (500 for the full proof) chooses the count, BACKUP_KILL_SEED the run.
#[path = "backup_kit.rs"]
mod kit;

use kit::*;
use rusqlite::Connection;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const CHILD: &str = "BACKUP_KILL_CHILD";

/// Not a test of its own: what the other process runs until it is killed.
#[test]
fn child() {
    if let Ok(sql) = std::env::var(CHILD) {
        let db = open(Path::new(&std::env::var("BACKUP_KILL_HUB").unwrap()));
        println!("ready");
        ask(&db, &sql).unwrap();
    }
}

/// Runs `sql` in another process; kills it after `after`. Whether it ended by itself, and how long it took.
fn run(hub: &Path, sql: &str, after: Option<Duration>) -> (bool, Duration) {
    let mut c = Command::new(std::env::current_exe().unwrap());
    c.args(["--exact", "child", "--nocapture"])
        .env(CHILD, sql)
        .env("BACKUP_KILL_HUB", hub)
        .env("BACKUP_PATH", hub.with_file_name("b"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = c.spawn().unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    // The clock starts when the work does.
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut out, &mut line).unwrap() > 0, "the other process did not begin");
    }
    let started = Instant::now();
    if let Some(after) = after {
        std::thread::sleep(after);
        let _ = child.kill();
    }
    let mut errors = String::new();
    let _ = std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut errors);
    let done = child.wait().unwrap();
    assert!(done.code() != Some(101), "{sql}: {errors}");
    (done.success(), started.elapsed())
}

/// Proven backups in the repository, oldest first.
fn proven(db: &Connection) -> Vec<String> {
    let mut q = db.prepare("SELECT backup_id FROM backups WHERE status = 'SUCCESS' AND proven_at IS NOT NULL ORDER BY backup_id").unwrap();
    q.query_map([], |r| r.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn any_moment() {
    let rounds = count("BACKUP_KILLS", 40);
    let (seed, mut r) = Random::from_env("BACKUP_KILL");
    println!("seed {seed}");
    let dir = tempfile::tempdir().unwrap();
    let (hub, source, target) = (dir.path().join("hub.db"), dir.path().join("s.db"), dir.path().join("target.db"));
    let db = open(&hub);
    ask(&db, "SELECT dbint_init()").unwrap();
    ask(&db, &format!("SELECT dbint_set('backup.path', '{}')", dir.path().join("b").display())).unwrap();
    let writer = Connection::open(&source).unwrap();
    writer
        .execute_batch(
            "PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, x);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8000) INSERT INTO t SELECT i, randomblob(200) FROM n",
        )
        .unwrap();
    let mut contents: HashMap<String, Vec<u8>> = HashMap::new();
    let mut took: BTreeMap<&str, Duration> = BTreeMap::new();
    let mut ended: BTreeMap<(&str, bool), u32> = BTreeMap::new();
    let (mut old, mut new) = (0, 0);
    let backup = |ty: &str| format!("SELECT backup_database('{}', '{{\"type\":\"{ty}\"}}')", source.display());
    let started = Instant::now();
    for round in 0..rounds + 4 {
        let n = 1 + r.below(2000);
        writer.execute_batch(&format!("UPDATE t SET x = randomblob(200) WHERE id BETWEEN {n} AND {n} + 500; PRAGMA wal_checkpoint(TRUNCATE)")).unwrap_or(());
        let now = fs::read(&source).unwrap();
        let before = proven(&db);
        // The first rounds run to their end: they tell how long each takes.
        let what =
            *["full", "incremental", "prune", "restore"].get(round).unwrap_or(r.pick(&["full", "incremental", "incremental", "prune", "restore", "restore"]));
        let id = before.get(r.below(before.len())).cloned().unwrap_or_default();
        let count = 1 + r.below(3);
        let sql = match what {
            "prune" => format!("SELECT prune_backups('{{\"days\":0,\"generations\":0,\"count\":{count}}}')"),
            "restore" => format!("SELECT restore_database('{id}', '{}', '{{\"overwrite\":true}}')", target.display()),
            ty => backup(ty),
        };
        let target_before = fs::read(&target).ok();
        let typical = took.get(what).copied();
        let after = typical.map(|d| d.mul_f64(1.1 * r.below(10_000) as f64 / 10_000.0));
        let (whole, time) = run(&hub, &sql, after);
        if after.is_none() {
            took.insert(what, time);
        }
        *ended.entry((what, whole)).or_default() += 1;
        let here = format!("seed {seed}, round {round}, {what} killed after {after:?}");

        let said = json(&db, "SELECT verify_backup()");
        assert_eq!(said["ok"], true, "{here}: {said}");
        let left = proven(&db);
        for id in left.iter().filter(|id| !before.contains(id)) {
            contents.insert(id.clone(), now.clone());
        }
        if what == "prune" {
            assert_eq!(before.last(), left.last(), "{here}: the last proven backup is gone");
        } else {
            let (before, left): (BTreeSet<_>, BTreeSet<_>) = (before.iter().collect(), left.iter().collect());
            assert!(before.is_subset(&left), "{here}: a proven backup is gone");
        }
        // A killed backup may be whole and unproven; any proven one gives its bytes back.
        let id = r.pick(&left).clone();
        let to = dir.path().join("again.db");
        json(&db, &format!("SELECT restore_database('{id}', '{}')", to.display()));
        assert!(fs::read(&to).unwrap() == contents[&id], "{here}: {id} restores other bytes");
        fs::remove_file(&to).unwrap();
        if what == "restore" {
            let file = fs::read(&target).ok();
            if file.as_ref() == Some(&contents[&id_of(&sql)]) {
                new += 1;
            } else {
                assert!(file == target_before, "{here}: the target is neither old nor new");
                old += 1;
            }
            for kept in files(dir.path()).iter().filter(|p| p.to_string_lossy().contains("target.db.")) {
                fs::remove_file(kept).unwrap();
            }
        }
    }
    // What the dead left behind does not pile up: the next run clears it.
    json(&db, &backup("full"));
    let stale: Vec<_> = files(&dir.path().join("b/tmp")).into_iter().filter(|p| p.to_string_lossy().ends_with("-pack")).collect();
    assert!(stale.is_empty(), "{stale:?}");
    println!("{rounds} kills in {:.0} s; targets: {old} old, {new} new", started.elapsed().as_secs_f64());
    ended.iter().for_each(|((what, whole), n)| println!("  {what:12} {} {n}", if *whole { "ended  " } else { "killed " }));
}

/// Writes fail from some size on, as on a full disk: an error, a valid repository, and the next run goes through.
#[test]
#[cfg(unix)]
fn a_disk_that_is_full() {
    let (seed, mut r) = Random::from_env("BACKUP_KILL");
    println!("seed {seed}");
    let dir = tempfile::tempdir().unwrap();
    let (hub, source, target) = (dir.path().join("hub.db"), dir.path().join("s.db"), dir.path().join("target.db"));
    let db = open(&hub);
    ask(&db, "SELECT dbint_init()").unwrap();
    ask(&db, &format!("SELECT dbint_set('backup.path', '{}')", dir.path().join("b").display())).unwrap();
    Connection::open(&source)
        .unwrap()
        .execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, x); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8000) INSERT INTO t SELECT i, randomblob(200) FROM n")
        .unwrap();
    let backup = format!("SELECT backup_database('{}')", source.display());
    let restore = format!("SELECT restore_database('2999-01-01', '{}', '{{\"overwrite\":true}}')", target.display());
    json(&db, &backup);
    json(&db, &restore);
    let whole = fs::read(&target).unwrap();
    let mut failed = 0;
    for round in 0..12 {
        let writer = Connection::open(&source).unwrap();
        writer.execute_batch("UPDATE t SET x = randomblob(200)").unwrap();
        let before = proven(&db);
        let sql = if round % 3 == 2 { &restore } else { &backup };
        // In blocks of 1024 bytes; the signal is ignored, so that the write fails.
        let limit = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" --exact child --nocapture", r.below(2200));
        let mut c = Command::new("bash");
        c.args(["-c", &limit]).arg(std::env::current_exe().unwrap()).env(CHILD, sql).env("BACKUP_KILL_HUB", &hub).env("BACKUP_PATH", dir.path().join("b"));
        let out = c.output().unwrap();
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        failed += usize::from(!out.status.success());
        assert!(out.status.success() || errors.contains("DBINT_") || errors.contains("disk"), "seed {seed}, round {round}: {errors}");
        let said = json(&db, "SELECT verify_backup()");
        assert_eq!(said["ok"], true, "seed {seed}, round {round}: {said}");
        assert!(before.iter().all(|id| proven(&db).contains(id)), "seed {seed}, round {round}: a proven backup is gone");
        assert!(fs::read(&target).unwrap().len() == whole.len() && state_is_sound(&target), "seed {seed}, round {round}");
    }
    assert_eq!(json(&db, &backup)["proven"], true);
    assert!(failed > 0, "nothing failed");
    println!("{failed} of 12 runs failed for want of room");
}

fn state_is_sound(file: &Path) -> bool {
    Connection::open(file).unwrap().query_row("PRAGMA integrity_check", [], |r| r.get::<_, String>(0)).unwrap() == "ok"
}

fn id_of(sql: &str) -> String {
    sql.split('\'').nth(1).unwrap_or_default().to_owned()
}
