//! kill -9 at any moment of a sync: each file is exactly old or exactly new, and what is left over ends at the next sync.
//!
//! DBINT_KILLS says how many syncs are killed, DBINT_SEED at which moments. Most die while a journal or a WAL grows.
use dbint_tests::Way;
use rusqlite::{Connection, OptionalExtension, types::ValueRef};
use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hasher},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const ROWS: u32 = 6000;

struct Random(u64);
impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Update,
    Refill,
    ChangeLog,
    Both,
    Atomic,
}

/// A kind of sync in one journal mode, with its files as they are before it.
struct Scene {
    kind: Kind,
    journal: &'static str,
    dir: tempfile::TempDir,
    /// The files that a sync changes.
    watched: Vec<PathBuf>,
    old: Vec<State>,
    new: Vec<State>,
    takes: Duration,
    /// Bytes of journals and WALs at their largest.
    most: u64,
}

/// Content of the table, and the position in the source's log.
type State = (u64, Option<i64>);

impl Scene {
    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn sql(&self) -> String {
        let target = self.file("target.db").display().to_string();
        match self.kind {
            Kind::Update => format!("SELECT sync_table('t', '{target}', '{{\"mode\":\"full\"}}')"),
            Kind::Refill | Kind::ChangeLog => format!("SELECT sync_table('t', '{target}')"),
            Kind::Both => format!("SELECT sync_table('t', '{target}', '{{\"direction\":\"both\"}}')"),
            Kind::Atomic => "SELECT sync_all('{\"atomic\":true,\"backup\":false}')".into(),
        }
    }

    /// The answer of the sync, run here.
    fn run(&self) -> String {
        host(&self.file("source.db")).query_row(&self.sql(), [], |r| r.get(0)).unwrap()
    }

    fn new(kind: Kind, journal: &'static str) -> Scene {
        let fast = Path::new("/dev/shm");
        let dir = if fast.is_dir() { tempfile::tempdir_in(fast) } else { tempfile::tempdir() }.unwrap();
        let mut s = Scene { kind, journal, dir, watched: vec![], old: vec![], new: vec![], takes: Duration::ZERO, most: 0 };
        s.watched = match kind {
            Kind::Both => vec![s.file("target.db"), s.file("source.db")],
            Kind::Atomic => vec![s.file("target.db"), s.file("other.db")],
            _ => vec![s.file("target.db")],
        };
        for name in ["source.db", "target.db", "other.db"] {
            let db = Connection::open(s.file(name)).unwrap();
            db.execute_batch(&format!(
                "PRAGMA journal_mode={journal}; CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b REAL, pad BLOB, updated_at INTEGER); CREATE INDEX t_a ON t(a);"
            ))
            .unwrap();
        }
        let source = host(&s.file("source.db"));
        let fill = format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
             INSERT INTO t SELECT i, hex(i * 7919 % 10007), i / 7.0, zeroblob(250 + i % 100), 1772366400 FROM n"
        );
        source.execute_batch(&fill).unwrap();
        let ask = |sql: &str| source.query_row(sql, [], |_| Ok(())).unwrap();
        if matches!(kind, Kind::ChangeLog | Kind::Both) {
            ask("SELECT track_changes('t')");
        }
        if kind == Kind::Both {
            let target = host(&s.file("target.db"));
            target.query_row("SELECT track_changes('t')", [], |_| Ok(())).unwrap();
        }
        if kind == Kind::Atomic {
            ask("SELECT dbint_init()");
            for name in ["target.db", "other.db"] {
                let sql = "INSERT INTO sync_mapping(source_db, tables, target_db, sync_type) VALUES('main', 't', ?, 'FULL')";
                source.execute(sql, [s.file(name).to_str()]).unwrap();
            }
        }
        if kind != Kind::Refill {
            s.run();
        }
        const CHANGE: &str =
            "UPDATE t SET a = hex(id * 31 % 10007), b = b + 1, updated_at = updated_at + 60 WHERE id % 10 < 7; DELETE FROM t WHERE id % 17 = 3;
            INSERT INTO t SELECT id + 100000, a, -b, pad, updated_at FROM t WHERE id % 13 = 5";
        source.execute_batch(CHANGE).unwrap();
        if kind == Kind::Both {
            let target = Connection::open(s.file("target.db")).unwrap();
            target
                .execute_batch(
                    "UPDATE t SET a = hex(id * 37 % 10007), updated_at = updated_at + 30 + id % 60 WHERE id % 10 > 4; DELETE FROM t WHERE id % 23 = 5",
                )
                .unwrap();
        }
        drop(source);
        for name in ["source.db", "target.db", "other.db"] {
            // Whatever a WAL holds goes into the file, so that one file is all.
            Connection::open(s.file(name)).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
            fs::copy(s.file(name), s.file(&format!("{name}.before"))).unwrap();
        }
        s.old = s.states();
        let begun = Instant::now();
        let mut child = s.child();
        while child.try_wait().unwrap().is_none() {
            s.most = s.most.max(s.growing());
            thread::sleep(Duration::from_micros(200));
        }
        s.takes = begun.elapsed();
        s.new = s.states();
        assert!(s.old.iter().zip(&s.new).all(|(a, b)| a.0 != b.0), "{kind:?} {journal}: the sync changes every file: {}", s.run());
        s
    }

    fn child(&self) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_process_that_is_killed", "--nocapture"])
            .env("DBINT_KILL_FILE", self.file("source.db"))
            .env("DBINT_KILL_SQL", self.sql())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Puts the files back as they were before the sync.
    fn reset(&self) {
        for name in ["source.db", "target.db", "other.db"] {
            ["-journal", "-wal", "-shm"].iter().for_each(|x| drop(fs::remove_file(self.file(&format!("{name}{x}")))));
            fs::copy(self.file(&format!("{name}.before")), self.file(name)).unwrap();
        }
    }

    /// Bytes of journals and WALs.
    fn growing(&self) -> u64 {
        let suffix = if self.journal == "wal" { "-wal" } else { "-journal" };
        self.watched.iter().map(|f| fs::metadata(format!("{}{suffix}", f.display())).map_or(0, |m| m.len())).sum()
    }

    fn states(&self) -> Vec<State> {
        self.watched.iter().map(|f| state(f)).collect()
    }
}

fn host(file: &Path) -> Connection {
    let db = Connection::open(file).unwrap();
    Way::Linked.register(&db).unwrap();
    db
}

/// By plain SQLite.
fn state(file: &Path) -> State {
    let db = Connection::open(file).unwrap();
    let mut hash = DefaultHasher::new();
    let mut q = db.prepare("SELECT id, a, b, pad, updated_at FROM t ORDER BY id").unwrap();
    let mut rows = q.query([]).unwrap();
    while let Some(r) = rows.next().unwrap() {
        for i in 0..5 {
            match r.get_ref(i).unwrap() {
                ValueRef::Null => hash.write_u8(0),
                ValueRef::Integer(v) => hash.write_i64(v),
                ValueRef::Real(v) => hash.write_u64(v.to_bits()),
                ValueRef::Text(b) | ValueRef::Blob(b) => hash.write(b),
            }
            hash.write_u8(i as u8);
        }
    }
    let known: bool = db.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'dbint_positions'", [], |r| r.get(0)).unwrap();
    let position = known.then(|| db.query_row("SELECT max(seq) FROM dbint_positions", [], |r| r.get(0)).optional().unwrap().flatten()).flatten();
    (hash.finish(), position)
}

/// Not a test of its own: what the other process runs until it is killed.
#[test]
fn the_process_that_is_killed() {
    let (Some(file), Ok(sql)) = (std::env::var_os("DBINT_KILL_FILE"), std::env::var("DBINT_KILL_SQL")) else { return };
    host(Path::new(&file)).query_row(&sql, [], |_| Ok(())).unwrap();
}

#[test]
fn a_killed_sync_is_whole_or_not_at_all() {
    let number = |name: &str, or: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(or);
    let (kills, seed) = (number("DBINT_KILLS", 30), number("DBINT_SEED", std::process::id().into()));
    println!("seed {seed}");
    let mut r = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let kinds = [Kind::Update, Kind::Refill, Kind::ChangeLog, Kind::Both, Kind::Atomic];
    let scenes: Vec<Scene> = ["delete", "wal"].iter().flat_map(|j| kinds.iter().map(|k| Scene::new(*k, j))).collect();
    let mut died: BTreeMap<(String, &str), u32> = BTreeMap::new();
    let mut total: BTreeMap<&str, u32> = BTreeMap::new();
    let begun = Instant::now();
    for n in 0..kills {
        let s = &scenes[n as usize % scenes.len()];
        s.reset();
        let what = format!("{:?} {}", s.kind, s.journal);
        let mut child = s.child();
        // Three of four die while files are written, the others at any time.
        let (size, after) =
            if n / scenes.len() as u64 % 4 < 3 { ((r.unit() * s.most as f64) as u64 + 1, s.takes * 20) } else { (u64::MAX, s.takes.mul_f64(r.unit() * 1.1)) };
        let started = Instant::now();
        while s.growing() < size && started.elapsed() < after && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_micros(100));
        }
        let _ = child.kill();
        child.wait().unwrap();
        let written = s.growing() > 0;
        let here = format!("seed {seed}, kill {n}: {what} at {size} bytes or {after:?}");
        let got = s.states();
        for (file, (state, (old, new))) in s.watched.iter().zip(got.iter().zip(s.old.iter().zip(&s.new))) {
            assert!(state == old || state == new, "{here}: {} is neither old nor new: {state:?}, {old:?}, {new:?}", file.display());
            let intact: String = Connection::open(file).unwrap().query_row("PRAGMA integrity_check", [], |r| r.get(0)).unwrap();
            assert_eq!(intact, "ok", "{here}");
        }
        let new = got.iter().zip(&s.new).filter(|(a, b)| a == b).count();
        let moment = match new {
            0 if !written => "before the write",
            0 => "during the write",
            n if n < got.len() => "between two files",
            _ => "after the write",
        };
        *died.entry((what.clone(), moment)).or_default() += 1;
        *total.entry(moment).or_default() += 1;
        if s.kind == Kind::Atomic {
            let ended: String = host(&s.file("source.db")).query_row("SELECT recover_sync()", [], |r| r.get(0)).unwrap();
            let now = s.states();
            let (all_old, all_new) = (now.iter().zip(&s.old).all(|(a, b)| a.0 == b.0), now == s.new);
            assert!(all_old || all_new, "{here}: one file is new, another old, after recover_sync: {ended}");
        }
        // What was left undone, the next sync does.
        let answer = s.run();
        let now: Vec<u64> = s.states().iter().map(|s| s.0).collect();
        assert_eq!(now, s.new.iter().map(|s| s.0).collect::<Vec<_>>(), "{here}: the sync after it: {answer}");
    }
    println!("{kills} syncs killed in {:.0} s: {total:?}", begun.elapsed().as_secs_f64());
    died.iter().for_each(|((what, moment), n)| println!("  {what:18} {moment:18} {n}"));
    let during = total.get("during the write").copied().unwrap_or_default() + total.get("between two files").copied().unwrap_or_default();
    assert!(u64::from(during) * 4 >= kills, "only {during} of {kills} died while files were written");
}
