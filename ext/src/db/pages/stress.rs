//! Walks over raw pages while other processes write, check-point, vacuum and are killed: what a walk saw is one committed
//! state, the one SQL sees in the same snapshot. The same walks without the lock must show that they can fail.
//!
//! DBINT_WALKS says how many walks there are in all.
use super::*;
use crate::kit::{Field, Stmt};
use rusqlite::Connection;
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const ROWS: i64 = 300;
const SUM: i64 = ROWS * 100;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

/// The journal mode and the page size.
const SCENES: [(&str, u32); 6] = [("delete", 4096), ("wal", 4096), ("persist", 1024), ("wal", 1024), ("truncate", 8192), ("wal", 512)];

/// Two tables that say the same in two layouts: `t` by rowid, `w` by a text key without rowids.
fn make(path: &Path, journal: &str, page: u32) {
    let db = Connection::open(path).unwrap();
    db.execute_batch(&format!(
        "PRAGMA page_size={page}; PRAGMA journal_mode={journal}; PRAGMA synchronous=OFF; BEGIN;
         CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, pad BLOB); CREATE TABLE w(k TEXT PRIMARY KEY, n INT, pad BLOB) WITHOUT ROWID;
         WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {ROWS}) INSERT INTO t SELECT i, 100, zeroblob(i % 50 * 20) FROM s;
         INSERT INTO w SELECT 'k' || (id * 7919 % 10007) || '/' || id, n, pad FROM t; COMMIT"
    ))
    .unwrap();
}

/// Not a test of its own: a process that writes until it is killed. Every commit keeps the sum, and both tables alike.
#[test]
fn the_writer_that_is_killed() {
    let (Some(path), Ok(seed)) = (env::var_os("DBINT_STRESS_FILE"), env::var("DBINT_STRESS_SEED")) else { return };
    let db = Connection::open(PathBuf::from(path)).unwrap();
    db.busy_timeout(Duration::from_secs(5)).unwrap();
    db.execute_batch("PRAGMA synchronous=OFF; PRAGMA cache_size=12; PRAGMA wal_autocheckpoint=40").unwrap();
    let mut r = Random(seed.parse::<u64>().unwrap() | 1);
    loop {
        match r.below(40) {
            0 => drop(db.execute_batch("VACUUM")),
            n @ 1..=4 => drop(db.query_row(&format!("PRAGMA wal_checkpoint({})", ["passive", "full", "restart", "truncate"][n as usize - 1]), [], |_| Ok(()))),
            _ => drop(write(&db, &mut r)),
        }
        if db.is_autocommit() {
            thread::sleep(Duration::from_micros(r.below(2000)));
        } else {
            let _ = db.execute_batch("ROLLBACK");
        }
    }
}

fn write(db: &Connection, r: &mut Random) -> rusqlite::Result<()> {
    db.execute_batch("BEGIN IMMEDIATE")?;
    for _ in 0..1 + r.below(30) {
        let (a, b, amount, pad) = (r.below(600) as i64, r.below(600) as i64, r.below(50) as i64, [0, 30, 400, 9000][r.below(4) as usize]);
        let both = "(SELECT count(*) FROM t WHERE id IN (?1, ?2)) = 2 AND ?1 <> ?2";
        db.execute(
            &format!("UPDATE t SET n = n + CASE id WHEN ?1 THEN -?3 ELSE ?3 END, pad = zeroblob(?4) WHERE id IN (?1, ?2) AND {both}"),
            (a, b, amount, pad),
        )?;
        // A row moves to another place of the tree.
        db.execute("UPDATE OR IGNORE t SET id = ?1 WHERE id = ?2", (r.below(600) as i64, a))?;
    }
    db.execute_batch("DELETE FROM w; INSERT INTO w SELECT 'k' || (id * 7919 % 10007) || '/' || id, n, pad FROM t")?;
    db.execute_batch(if r.below(6) == 0 { "ROLLBACK" } else { "COMMIT" })
}

/// Rows, the sum, and what both tables hold besides: must be alike in `t`, in `w`, and by SQL.
#[derive(PartialEq, Eq, Debug, Default, Clone, Copy)]
struct Seen {
    rows: i64,
    sum: i64,
    bytes: i64,
}

impl Seen {
    fn add(&mut self, record: &[u8]) -> Result<()> {
        let all = fields(record)?;
        let (Some(Field::Int(n)), Some(Field::Blob(pad))) = (all.get(1), all.get(2)) else { return Err(Bad::Corrupt("row")) };
        if pad.iter().any(|b| *b != 0) {
            return Err(Bad::Corrupt("content"));
        }
        self.rows += 1;
        self.sum += n;
        self.bytes += pad.len() as i64 * (n % 97);
        Ok(())
    }
}

fn walk(r: &PageReader<'_>, (t, w): (u32, u32), random: &mut Random) -> Result<(Seen, Seen)> {
    let (mut a, mut b) = (Seen::default(), Seen::default());
    let pause = random.below(ROWS as u64) as i64;
    let mut table = Table::new(r, t)?;
    while !table.is_done() {
        a.add(table.record()?)?;
        if a.rows == pause {
            thread::sleep(Duration::from_micros(random.below(3000)));
        }
        table.advance()?;
    }
    let mut index = Index::new(r, w);
    while index.advance()? {
        b.add(index.record())?;
    }
    Ok((a, b))
}

fn by_sql(db: &Connection, table: &str) -> Seen {
    let mut q = Stmt::prepare(db, &format!("SELECT count(*), sum(n), sum(length(pad) * (n % 97)) FROM {table}")).unwrap();
    assert!(q.step().unwrap());
    Seen { rows: q.int(0), sum: q.int(1), bytes: q.int(2) }
}

fn writer(path: &Path, seed: u64) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "db::pages::stress::the_writer_that_is_killed", "--nocapture"])
        .env("DBINT_STRESS_FILE", path)
        .env("DBINT_STRESS_SEED", seed.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What became of the walks of one scene.
#[derive(Default)]
struct Count {
    told: BTreeMap<String, u64>,
    violated: u64,
}

fn scene(dir: &Path, (journal, page): (&str, u32), walks: u64, locked: bool, seed: u64) -> Count {
    let path = dir.join(format!("{journal}{page}{locked}.db"));
    make(&path, journal, page);
    let mut random = Random(seed | 1);
    let mut writers = [writer(&path, seed + 1), writer(&path, seed + 2)];
    let mut count = Count::default();
    let (mut done, mut tries) = (0, 0);
    let end = Instant::now() + Duration::from_secs(20 + walks);
    let mut states = std::collections::BTreeSet::new();
    while done < walks && Instant::now() < end {
        tries += 1;
        let mut tell = |what: &str| *count.told.entry(what.to_owned()).or_default() += 1;
        if tries % 10 == 0 {
            let i = random.below(2) as usize;
            writers[i].kill().unwrap();
            writers[i].wait().unwrap();
            writers[i] = writer(&path, seed + tries);
            tell("killed writers");
        }
        let Ok(snap) = Snapshot::begin_within(&path, Duration::from_secs(2)) else {
            tell("busy");
            continue;
        };
        let reader = match open(&snap) {
            Ok(r) => r,
            Err(why) => {
                tell(&format!("fallback: {why}"));
                continue;
            }
        };
        let roots = (snap.root("t").unwrap().unwrap(), snap.root("w").unwrap().unwrap());
        let sql = (by_sql(snap.db(), "t"), by_sql(snap.db(), "w"));
        assert!(sql.0 == sql.1 && sql.0.rows == ROWS && sql.0.sum == SUM, "the writers broke their own rule: {sql:?}");
        if !locked {
            snap.db().execute_batch("COMMIT").unwrap();
            thread::sleep(Duration::from_micros(random.below(2000)));
        }
        let found = walk(&reader, roots, &mut random);
        done += 1;
        tell(if reader.overlaid() > 0 { "walks with frames" } else { "walks" });
        states.insert(sql.0.bytes);
        match found {
            Ok(found) if found == sql => {}
            // The control looks at what the walk says, not at whether the reader would have noticed.
            Ok(_) if locked && !reader.still_valid() => tell("moving"),
            other => {
                count.violated += 1;
                assert!(!locked, "{journal} {page}, walk {done} of seed {seed}: {other:?}, by SQL {sql:?}");
            }
        }
    }
    for w in &mut writers {
        let _ = w.kill();
        w.wait().unwrap();
    }
    assert!(done == walks, "{journal} {page}: {done} of {walks} walks: {:?}", count.told);
    *count.told.entry("states".into()).or_default() += states.len() as u64;
    let intact: String = Connection::open(&path).unwrap().query_row("PRAGMA integrity_check", [], |r| r.get(0)).unwrap();
    assert_eq!(intact, "ok");
    count
}

#[test]
fn a_walk_sees_one_committed_state_whatever_others_do() {
    let number = |name: &str, or: u64| env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(or);
    let (walks, seed) = (number("DBINT_WALKS", 60), number("DBINT_SEED", std::process::id().into()));
    let fast = Path::new("/dev/shm");
    let dir = if fast.is_dir() { fast.to_owned() } else { env::temp_dir() }.join(format!("dbint-stress-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    println!("seed {seed}");
    for s in SCENES {
        let count = scene(&dir, s, walks / SCENES.len() as u64, true, seed);
        println!("{} {}: {} violated, {:?}", s.0, s.1, count.violated, count.told);
    }
    // Without its lock the reader must be seen to fail.
    for s in [SCENES[0], SCENES[1]] {
        let count = scene(&dir, s, 40 + walks / 100, false, seed);
        println!("control, {} {} without a lock: {} violated, {:?}", s.0, s.1, count.violated, count.told);
        assert!(count.violated > 0, "the control shows nothing");
    }
    fs::remove_dir_all(&dir).unwrap();
}
