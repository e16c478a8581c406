//! The walkers against SQL on the same snapshot: every page format, WAL states, locks, and damaged files.
use super::*;
use crate::kit::{Field, Stmt};
use rusqlite::Connection;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// A folder of its own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static N: AtomicU32 = AtomicU32::new(0);
        let dir = std::env::temp_dir().join(format!("dbint-pages-{}-{}", std::process::id(), N.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&dir).unwrap();
        Scratch(dir)
    }
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// xorshift: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// A value for comparing: type and bits.
fn shown(f: Field<'_>) -> String {
    match f {
        Field::Null => "n".into(),
        Field::Int(v) => format!("i{v}"),
        Field::Real(v) => format!("r{:x}", v.to_bits()),
        Field::Text(b) => format!("t{b:?}"),
        Field::Blob(b) => format!("b{b:?}"),
    }
}

fn decoded(b: &[u8], encoding: u32) -> Vec<u8> {
    let units = |f: fn([u8; 2]) -> u16| b.chunks(2).map(|c| f([c[0], c[1]])).collect::<Vec<_>>();
    match encoding {
        2 => String::from_utf16_lossy(&units(u16::from_le_bytes)).into_bytes(),
        3 => String::from_utf16_lossy(&units(u16::from_be_bytes)).into_bytes(),
        _ => b.to_vec(),
    }
}

/// `real` are columns that store whole numbers as integers; `alias` is the column that stands for the rowid.
fn row(record: &[u8], rowid: i64, alias: Option<usize>, real: &[usize], encoding: u32) -> Vec<String> {
    let show = |(i, f)| match f {
        _ if alias == Some(i) => shown(Field::Int(rowid)),
        Field::Int(v) if real.contains(&i) => shown(Field::Real(v as f64)),
        Field::Text(b) => shown(Field::Text(&decoded(b, encoding))),
        f => shown(f),
    };
    fields(record).unwrap().into_iter().enumerate().map(show).collect()
}

fn by_sql(db: &Connection, sql: &str) -> Vec<Vec<String>> {
    let mut q = Stmt::prepare(db, sql).unwrap();
    let mut rows = vec![];
    while q.step().unwrap() {
        rows.push((0..q.columns()).map(|i| shown(q.field(i))).collect());
    }
    rows
}

fn table_rows(r: &PageReader<'_>, root: u32, alias: Option<usize>, real: &[usize]) -> Result<Vec<Vec<String>>> {
    let mut t = Table::new(r, root)?;
    let mut rows = vec![];
    while !t.is_done() {
        let id = t.rowid();
        rows.push(row(t.record()?, id, alias, real, r.encoding));
        t.advance()?;
    }
    Ok(rows)
}

fn index_rows(r: &PageReader<'_>, root: u32) -> Result<Vec<Vec<String>>> {
    let mut t = Index::new(r, root);
    let mut rows = vec![];
    while t.advance()? {
        rows.push(row(t.record(), 0, None, &[], r.encoding));
    }
    Ok(rows)
}

#[test]
fn every_page_format_reads_as_sql_reads_it() {
    let dir = Scratch::new();
    let mut rnd = Random(3);
    let mut cases = 0;
    for size in [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536usize] {
        for vacuum in ["none", "full", "incremental"] {
            for encoding in ["UTF-8", "UTF-16le", "UTF-16be"] {
                for journal in ["delete", "wal"] {
                    // Every size, and every other choice at two of them.
                    if ![512, 4096].contains(&size) && (vacuum, encoding) != ("none", "UTF-8") {
                        continue;
                    }
                    cases += 1;
                    let path = dir.file(&format!("{cases}.db"));
                    let db = Connection::open(&path).unwrap();
                    db.execute_batch(&format!(
                        "PRAGMA page_size={size}; PRAGMA encoding='{encoding}'; PRAGMA auto_vacuum={vacuum}; PRAGMA journal_mode={journal}; PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=OFF; BEGIN;
                         CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, r REAL, x TEXT, y BLOB, e);
                         CREATE TABLE w(k TEXT, n INT, v TEXT, b BLOB, PRIMARY KEY(k, n)) WITHOUT ROWID;
                         CREATE TABLE empty(a, b); CREATE INDEX t_n ON t(n, x)"
                    ))
                    .unwrap();
                    for i in 0..60i64 {
                        let len = rnd.pick(&[0, 1, 10, 100, size - 40, size - 35, size - 36, size * 2, size * 5 + 7]).min(20_000);
                        let id = (rnd.next() >> rnd.below(60)) as i64 * rnd.pick(&[1, -1]);
                        let text = rnd.pick(&["é", "€", "😀", "z"]).repeat(len);
                        let n = rnd.pick(&[0i64, 1, -1, 127, 128, -32769, 1 << 23, 1 << 40, -(1 << 62)]);
                        let real = rnd.pick(&[0.5, 3.0, -0.0, 1e300]);
                        let blob = vec![rnd.next() as u8; len.min(3000)];
                        db.execute("INSERT OR REPLACE INTO t VALUES(?, ?, ?, ?, ?, NULL)", (id, n, real, &text, &blob)).unwrap();
                        let key = format!("k{}{}", rnd.below(5000), "x".repeat(rnd.pick(&[0, 5, size / 4])));
                        db.execute("INSERT OR REPLACE INTO w VALUES(?, ?, ?, NULL)", (key, i, "w".repeat(len.min(20_000)))).unwrap();
                    }
                    db.execute_batch("COMMIT; DELETE FROM t WHERE id % 5 = 0; DELETE FROM w WHERE n % 4 = 0; PRAGMA incremental_vacuum(5)").unwrap();
                    let snap = Snapshot::begin(&path).unwrap();
                    let r = open(&snap).unwrap();
                    assert_eq!(r.overlaid() > 0, journal == "wal");
                    let root = |n| snap.root(n).unwrap().unwrap();
                    let sql = |q| by_sql(snap.db(), q);
                    let what = format!("{size} {vacuum} {encoding} {journal}");
                    assert_eq!(table_rows(&r, root("t"), Some(0), &[2]).unwrap(), sql("SELECT * FROM t ORDER BY id"), "{what}");
                    assert_eq!(index_rows(&r, root("w")).unwrap(), sql("SELECT * FROM w ORDER BY k, n"), "{what}");
                    assert_eq!(index_rows(&r, root("t_n")).unwrap(), sql("SELECT n, x, id FROM t ORDER BY n, x, id"), "{what}");
                    assert!(table_rows(&r, root("empty"), None, &[]).unwrap().is_empty());
                    assert_eq!(table_rows(&r, 1, None, &[]).unwrap(), sql("SELECT * FROM sqlite_schema ORDER BY rowid"), "{what}");
                    let parts = table::split(&r, root("t"), 2).unwrap();
                    let mut n = 0;
                    for part in parts {
                        let mut t = Table::of(&r, part).unwrap();
                        while !t.is_done() {
                            n += 1;
                            t.advance().unwrap();
                        }
                    }
                    assert_eq!(n, sql("SELECT id FROM t").len());
                    assert!(r.still_valid());
                    space_adds_up(&r, snap.db(), &what);
                }
            }
        }
    }
    assert_eq!(cases, 48);
}

/// Each page of the file is in a tree, free, the pointer map, or the lock-byte page; and dbstat counts the same.
fn space_adds_up(r: &PageReader<'_>, db: &Connection, what: &str) {
    let one = |sql: &str| db.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap() as u64;
    let all = spaces(r, db, || Ok(())).unwrap();
    let pages: u64 = all.iter().map(Space::pages).sum();
    let per_map = r.page_size as u64 / 5 + 1;
    let maps = if one("PRAGMA auto_vacuum") > 0 { (u64::from(r.pages) - 1).div_ceil(per_map) } else { 0 };
    assert_eq!(pages + one("PRAGMA freelist_count") + maps, u64::from(r.pages), "{what}");
    if db.prepare("SELECT 1 FROM dbstat").is_ok() {
        for s in &all {
            // dbstat reads the content offset 0, which stands for 65536, as 0: its count of unused bytes is wrong there.
            let skip = if r.page_size == 65536 { "0" } else { "sum(unused)" };
            let unused = if r.page_size == 65536 { 0 } else { s.unused };
            let sql = format!("SELECT count(*) || ' ' || sum(payload) || ' ' || {skip} FROM dbstat WHERE name = '{}'", s.name);
            let stat: String = db.query_row(&sql, [], |r| r.get(0)).unwrap();
            assert_eq!(format!("{} {} {}", s.pages(), s.payload, unused), stat, "{what} {}", s.name);
        }
    }
}

fn plain(path: &Path, rows: u32, journal: &str) -> Connection {
    let db = Connection::open(path).unwrap();
    db.execute_batch(&format!(
        "PRAGMA journal_mode={journal}; PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=OFF; CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, x);
         WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {rows}) INSERT INTO t SELECT i, i, printf('%.*c', 300, 'a') FROM s"
    ))
    .unwrap();
    db
}

fn differences(a: &Path, b: &Path) -> (Vec<Change<()>>, u64) {
    let (a, b) = (Snapshot::begin(a).unwrap(), Snapshot::begin(b).unwrap());
    comparable(&a, "t", &b, "t").unwrap();
    let (ra, rb) = (open(&a).unwrap(), open(&b).unwrap());
    let root = |s: &Snapshot| s.root("t").unwrap().unwrap();
    let mut diff = Diff::new(Table::new(&ra, root(&a)).unwrap(), Table::new(&rb, root(&b)).unwrap());
    let mut found = vec![];
    while let Some(c) = diff.advance(|_| Ok(())).unwrap() {
        found.push(c);
    }
    (found, diff.equal_pages)
}

#[test]
fn a_diff_finds_what_changed_and_passes_equal_pages_by() {
    let dir = Scratch::new();
    let (a, b) = (dir.file("a.db"), dir.file("b.db"));
    let db = plain(&a, 3000, "delete");
    fs::copy(&a, &b).unwrap();
    let (found, equal) = differences(&a, &b);
    assert!(found.is_empty() && equal > 200, "{found:?} {equal}");
    db.execute_batch("UPDATE t SET x = 'b' WHERE id = 7; DELETE FROM t WHERE id IN (1, 1500, 3000); INSERT INTO t VALUES(-5, 0, 'new'), (9999, 0, 'new')")
        .unwrap();
    use Change::*;
    let (found, equal) = differences(&a, &b);
    assert_eq!(found, [OnlyLeft(-5, ()), OnlyRight(1, ()), Differs(7, (), ()), OnlyRight(1500, ()), OnlyRight(3000, ()), OnlyLeft(9999, ())]);
    assert!(equal > 200);
    // Page sizes differ: no page is equal, the answer is.
    let c = dir.file("c.db");
    let big = Connection::open(&c).unwrap();
    big.execute_batch("PRAGMA page_size=1024").unwrap();
    big.execute_batch(&format!("ATTACH '{}' AS b; CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, x); INSERT INTO t SELECT * FROM b.t", b.display())).unwrap();
    let (again, equal) = differences(&a, &c);
    assert_eq!((again, equal), (found, 0));
}

#[test]
fn equal_pages_with_overflow_are_not_equal_rows() {
    let dir = Scratch::new();
    let make = |name: &str, last: char| {
        let path = dir.file(name);
        let db = Connection::open(&path).unwrap();
        db.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, x)").unwrap();
        db.execute("INSERT INTO t VALUES(1, ?)", [format!("{}{last}", "y".repeat(20_000))]).unwrap();
        path
    };
    let (a, b, c) = (make("a.db", '1'), make("b.db", '2'), make("c.db", '1'));
    assert_eq!(differences(&a, &b).0, [Change::Differs(1, (), ())]);
    assert!(differences(&a, &c).0.is_empty());
}

#[test]
fn tables_made_by_other_statements_are_not_compared() {
    let dir = Scratch::new();
    let make = |name: &str, sql: &str| {
        let path = dir.file(name);
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        Snapshot::begin(&path).unwrap()
    };
    let a = make("a.db", "CREATE TABLE t(a, b DEFAULT 1)");
    assert_eq!(comparable(&a, "t", &make("b.db", "CREATE TABLE t(a, b DEFAULT 2)"), "t"), Err(Why::Schema));
    assert_eq!(comparable(&a, "t", &make("c.db", "CREATE TABLE \"other (name\"(a, b DEFAULT 1)"), "other (name"), Ok(()));
    assert_eq!(comparable(&a, "t", &make("d.db", "PRAGMA encoding='UTF-16'; CREATE TABLE t(a, b DEFAULT 1)"), "t"), Err(Why::Schema));
    assert_eq!(comparable(&a, "t", &a, "none"), Err(Why::Schema));
}

/// All four states of a WAL, and the one in which the file alone would be wrong.
#[test]
fn looking_at_a_database_in_rollback_mode_leaves_no_file() {
    let dir = Scratch::new();
    let path = dir.file("d.db");
    drop(plain(&path, 200, "delete"));
    let snapshot = Snapshot::begin(&path).unwrap();
    assert!(open(&snapshot).is_ok());
    drop(snapshot);
    let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["d.db"]);
}

#[test]
fn wal_states() {
    let dir = Scratch::new();
    let path = dir.file("w.db");
    let db = plain(&path, 200, "wal");
    let checkpoint = |mode: &str| db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())).unwrap();
    let walk = |overlay: bool| {
        let snap = Snapshot::begin(&path).unwrap();
        let r = open(&snap).unwrap();
        assert_eq!(r.overlaid() > 0, overlay);
        let rows = table_rows(&r, snap.root("t").unwrap().unwrap(), Some(0), &[]).unwrap();
        assert_eq!(rows, by_sql(snap.db(), "SELECT * FROM t ORDER BY id"));
        assert!(r.still_valid());
    };
    walk(true);
    checkpoint("passive");
    walk(false);
    db.execute_batch("UPDATE t SET x = 'b' WHERE id = 5").unwrap();
    walk(true);
    checkpoint("truncate");
    walk(false);
    // An older reader stops the checkpoint; the pages it skips have newer frames, so the file holds neither version whole.
    db.execute_batch("UPDATE t SET x = 'c' WHERE id < 100").unwrap();
    let old = Snapshot::begin(&path).unwrap();
    db.execute_batch("UPDATE t SET x = 'd' WHERE id < 100").unwrap();
    checkpoint("passive");
    assert!(matches!(open(&old), Err(Why::Moving)));
    walk(true);
    drop(old);
    checkpoint("passive");
    walk(false);
}

#[test]
fn a_snapshot_stays_while_others_commit_and_checkpoint() {
    let dir = Scratch::new();
    let path = dir.file("w.db");
    let db = plain(&path, 500, "wal");
    let snap = Snapshot::begin(&path).unwrap();
    let r = open(&snap).unwrap();
    let root = snap.root("t").unwrap().unwrap();
    let before = table_rows(&r, root, Some(0), &[]).unwrap();
    for mode in ["passive", "full", "restart", "truncate"] {
        db.execute_batch("UPDATE t SET n = n + 1; DELETE FROM t WHERE id % 50 = 0").unwrap();
        let _ = db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()));
        assert_eq!(table_rows(&r, root, Some(0), &[]).unwrap(), before, "{mode}");
        assert!(r.still_valid());
    }
}

#[test]
fn what_cannot_be_trusted_is_refused() {
    let dir = Scratch::new();
    let path = dir.file("a.db");
    let db = plain(&path, 10, "delete");
    let why = |host: &Connection, schema| Snapshot::beside(host, schema).map(|_| ()).unwrap_err();
    assert_eq!(Snapshot::beside(&db, "main").map(|s| open(&s).map(|_| ()).unwrap()).ok(), Some(()));
    assert_eq!(why(&db, "temp"), Why::NoFile);
    assert_eq!(why(&Connection::open_in_memory().unwrap(), "main"), Why::NoFile);
    db.execute_batch("BEGIN").unwrap();
    assert!(Snapshot::beside(&db, "main").is_ok(), "BEGIN alone has no snapshot yet");
    db.query_row("SELECT count(*) FROM t", [], |_| Ok(())).unwrap();
    assert_eq!(why(&db, "main"), Why::HostTransaction);
    db.execute_batch("COMMIT; BEGIN IMMEDIATE").unwrap();
    assert_eq!(why(&db, "main"), Why::HostTransaction);
    db.execute_batch("ROLLBACK; PRAGMA locking_mode=EXCLUSIVE").unwrap();
    assert_eq!(why(&db, "main"), Why::Busy);
    db.execute_batch("PRAGMA locking_mode=NORMAL; SELECT * FROM t; BEGIN EXCLUSIVE").unwrap();
    assert!(Snapshot::begin_within(&path, std::time::Duration::ZERO).is_err_and(|e| e.kind == crate::Kind::Busy));
    db.execute_batch("ROLLBACK").unwrap();
    for uri in ["immutable=1", "nolock=1"] {
        let host = Connection::open(format!("file:{}?{uri}", path.display())).unwrap();
        assert_eq!(why(&host, "main"), Why::Uri, "{uri}");
    }
    let moved = dir.file("moved.db");
    fs::rename(&path, &moved).unwrap();
    assert_eq!(why(&db, "main"), Why::Moved);
    drop(db);
    // Reserved bytes belong to somebody: the bytes of the file say so, whoever opens it.
    let mut bytes = fs::read(&moved).unwrap();
    let snap = Snapshot::begin(&moved).unwrap();
    let conn = snap.end().unwrap();
    assert!(matches!(open(&Snapshot { db: conn, before: None, pinned: true }), Err(Why::NoTransaction)));
    bytes[20] = 32;
    fs::write(&moved, bytes).unwrap();
    assert!(Snapshot::begin(&moved).is_ok_and(|s| matches!(open(&s), Err(Why::Reserved))));
    let empty = dir.file("empty.db");
    fs::write(&empty, []).unwrap();
    assert!(Snapshot::begin(&empty).is_ok_and(|s| matches!(open(&s), Err(Why::Header))));
}

/// Bytes changed at random, near headers preferably: no panic, no loop; a count of the answers shows that both kinds occur.
#[test]
fn damaged_files_end_in_an_error_or_an_answer() {
    let dir = Scratch::new();
    let mut rnd = Random(11);
    let mut seen = BTreeMap::<&str, u32>::new();
    let rounds = std::env::var("DBINT_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    for size in [512usize, 4096] {
        let good = dir.file("good.db");
        let _ = fs::remove_file(&good);
        let db = Connection::open(&good).unwrap();
        db.execute_batch(&format!(
            "PRAGMA page_size={size}; CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, x); CREATE TABLE w(k TEXT PRIMARY KEY, n INT, v) WITHOUT ROWID; BEGIN"
        ))
        .unwrap();
        for i in 0..1500i64 {
            db.execute("INSERT INTO t VALUES(?, ?, ?)", (i, i, "x".repeat(rnd.pick(&[10, 50, 50, size * 3])))).unwrap();
            db.execute("INSERT INTO w VALUES(?, ?, ?)", (format!("k{i}"), i, "v".repeat(if i % 50 == 0 { size * 2 } else { 9 }))).unwrap();
        }
        db.execute_batch("COMMIT").unwrap();
        drop(db);
        let sound = fs::read(&good).unwrap();
        let pages = (sound.len() / size) as u64;
        for round in 0..rounds {
            let mut bytes = sound.clone();
            for _ in 0..rnd.pick(&[1, 1, 2, 5, 30]) {
                let page = 1 + rnd.below(pages - 1);
                let at = page as usize * size + rnd.pick(&[12, 60, size as u64 - 4]).min(rnd.next() % size as u64) as usize % (size - 4);
                match rnd.below(5) {
                    0 | 1 => bytes[at] = rnd.next() as u8,
                    2 | 3 => {
                        let n = rnd.pick(&[rnd.0 as u32 % pages as u32 + 1, page as u32 + 1, 0, u32::MAX, 2, 3]);
                        bytes[at..at + 4].copy_from_slice(&n.to_be_bytes());
                    }
                    _ => bytes[at..at + 2].copy_from_slice(&rnd.pick(&[0, 1, (size - 1) as u16, u16::MAX]).to_be_bytes()),
                }
            }
            if round % 20 == 0 {
                bytes.truncate((1 + rnd.below(pages)) as usize * size + rnd.pick(&[0, 17]));
            }
            let path = dir.file("bad.db");
            fs::write(&path, &bytes).unwrap();
            let Ok(snap) = Snapshot::begin(&path) else { continue };
            let Ok(r) = open(&snap) else { continue };
            let walk = |root: &str| -> Result<u64> {
                let root = snap.root(root).ok().flatten().ok_or(Bad::Corrupt("root"))?;
                let mut n = 0;
                let mut t = Table::new(&r, root)?;
                while !t.is_done() {
                    fields(t.record()?)?;
                    t.advance()?;
                    n += 1;
                }
                Ok(n)
            };
            let index = |root: &str| -> Result<u64> {
                let mut t = Index::new(&r, snap.root(root).ok().flatten().ok_or(Bad::Corrupt("root"))?);
                let mut n = 0;
                while t.advance()? {
                    fields(t.record())?;
                    n += 1;
                }
                Ok(n)
            };
            for (name, end) in [("t", walk("t")), ("w", index("w"))] {
                *seen.entry(if end.is_ok() { "read" } else { "refused" }).or_default() += 1;
                let Ok(Some(root)) = snap.root(name) else { continue };
                let mut state = Salvage::new(&r);
                salvage(&r, root, &mut state, &mut |_| Ok(())).unwrap();
                assert!(end.is_ok() || !state.bad.is_empty(), "{end:?} but nothing noted");
                assert!(end.is_err() || state.records == 1500 || !state.bad.is_empty() || end != Ok(1500));
                let _ = spaces(&r, snap.db(), || Ok(()));
            }
        }
    }
    assert!(seen["read"] > 10 && seen["refused"] > 10, "{seen:?}");
}

#[test]
fn salvage_takes_the_rest_of_a_damaged_table() {
    let dir = Scratch::new();
    let path = dir.file("a.db");
    drop(plain(&path, 3000, "delete"));
    let mut bytes = fs::read(&path).unwrap();
    let pages = bytes.len() / 4096;
    // Wipe a leaf in the middle, and the root's own header.
    let middle = pages / 2;
    bytes[middle * 4096..(middle + 1) * 4096].fill(0xee);
    fs::write(&path, &bytes).unwrap();
    let snap = Snapshot::begin(&path).unwrap();
    let r = open(&snap).unwrap();
    let root = snap.root("t").unwrap().unwrap();
    assert!(table_rows(&r, root, Some(0), &[]).is_err());
    let mut ids = vec![];
    let mut state = Salvage::new(&r);
    salvage(&r, root, &mut state, &mut |found| {
        ids.push(found.rowid.unwrap());
        assert_eq!(found.doubt, None);
        Ok(())
    })
    .unwrap();
    assert_eq!(state.bad.len(), 1);
    assert!(ids.len() > 2950 && ids.len() < 3000 && ids.is_sorted(), "{}", ids.len());
    assert!(state.unreached(&r).is_empty());
    drop(snap);
    bytes[(root as usize - 1) * 4096..root as usize * 4096].fill(0);
    fs::write(&path, &bytes).unwrap();
    let snap = Snapshot::begin(&path).unwrap();
    let r = open(&snap).unwrap();
    let mut state = Salvage::new(&r);
    salvage(&r, root, &mut state, &mut |_| Ok(())).unwrap();
    assert_eq!(state.records, 0);
    for leaf in state.unreached(&r) {
        salvage(&r, leaf.page, &mut state, &mut |_| Ok(())).unwrap();
    }
    assert_eq!(state.records, ids.len() as u64);
}
