//! Mutated databases through every function that opens a stranger's file: no crash, no hang, no memory beyond 256 MB.
//! DBINT_ROBUST_FILES sets their number, DBINT_SEED the first seed. Each batch is a process of its own with its own limits.
use lint_kit::{Random, number};
use rusqlite::Connection;
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

mod lint_kit;

const BATCH: u64 = 250;
/// Seconds of the processor that one call may take.
const HANG: u64 = 5;
const MEMORY_KB: u64 = 256 << 10;
const KINDS: [&str; 12] = [
    "truncated",
    "bits",
    "header bits",
    "pages swapped",
    "page copied",
    "noise",
    "child loops",
    "cells point anywhere",
    "cell count",
    "overflow loops",
    "freelist loops",
    "schema bytes",
];

fn base(n: u64) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("base.db");
    let db = Connection::open(&file).unwrap();
    let (page, vacuum, rows) = [(512, 0, 120), (1024, 1, 150), (4096, 0, 300), (512, 2, 60), (65536, 0, 40), (1024, 0, 1)][n as usize % 6];
    db.execute_batch(&format!(
        "PRAGMA page_size={page}; PRAGMA auto_vacuum={vacuum}; PRAGMA journal_mode={}; PRAGMA synchronous=OFF;
         CREATE TABLE a(id INTEGER PRIMARY KEY, x TEXT, y REAL CHECK(y > -1)); CREATE INDEX a_x ON a(x); CREATE INDEX a_e ON a(length(x)) WHERE y > 3;
         CREATE TABLE b(k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID; CREATE TABLE c(id INTEGER PRIMARY KEY AUTOINCREMENT, a REFERENCES a(id), j);
         CREATE VIEW v AS SELECT x, j FROM a JOIN c ON c.a = a.id; CREATE TRIGGER tr AFTER DELETE ON a BEGIN DELETE FROM c WHERE a = old.id; END;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {rows})
         INSERT INTO a SELECT i, 'text of row ' || i, i / 3.0 FROM n;
         INSERT INTO b SELECT 'key' || id, zeroblob(id * 7 % 300) FROM a; INSERT INTO c(a, j) SELECT id, '{{\"n\":' || id || '}}' FROM a;
         INSERT INTO c(a, j) VALUES(1, hex(zeroblob({page} * 4))); CREATE TABLE gone AS SELECT * FROM a; DROP TABLE gone; ANALYZE;",
        if n == 3 { "WAL" } else { "DELETE" }
    ))
    .unwrap();
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(db);
    fs::read(file).unwrap()
}

fn mutate(bytes: &mut Vec<u8>, kind: usize, random: &mut Random) {
    let page = match u16::from_be_bytes([bytes[16], bytes[17]]) {
        1 => 65536,
        n => usize::from(n),
    };
    let pages = (bytes.len() / page).max(1);
    let mut times = 1 + random.below(4);
    while times > 0 {
        times -= 1;
        let len = bytes.len();
        if len < page {
            return;
        }
        let any = random.below((len / page) as u64) as usize * page;
        let head = any + if any == 0 { 100 } else { 0 };
        let small = (random.below(pages as u64 + 2)) as u32;
        match kind {
            0 => bytes.truncate(random.below(len as u64) as usize),
            1 => (0..1 + random.below(40)).for_each(|_| bytes[random.below(len as u64) as usize] ^= 1 << random.below(8)),
            2 => bytes[random.below(100) as usize] ^= 1 << random.below(8),
            3 | 4 => {
                let other = random.below((len / page) as u64) as usize * page;
                let (a, b) = (bytes[any..any + page].to_vec(), bytes[other..other + page].to_vec());
                bytes[any..any + page].copy_from_slice(&b);
                if kind == 3 {
                    bytes[other..other + page].copy_from_slice(&a);
                }
            }
            5 => bytes[head..any + page].iter_mut().for_each(|b| *b = random.below(256) as u8),
            // An interior page, made of any page, whose children are itself and others.
            6 => {
                bytes[head] = [2, 5][random.below(2) as usize];
                bytes[head + 8..head + 12].copy_from_slice(&small.to_be_bytes());
                let own = (any / page + 1) as u32;
                let at = head + 12 + random.below((any + page - head - 20) as u64) as usize;
                bytes[at..at + 4].copy_from_slice(&own.to_be_bytes());
                bytes[head + 12..head + 14].copy_from_slice(&((at - any) as u16).to_be_bytes());
            }
            7 => {
                let to = random.below(page as u64) as u16;
                let n = random.below(((page - 120) / 2) as u64) as usize;
                for i in 0..n {
                    bytes[head + 8 + 2 * i..head + 10 + 2 * i].copy_from_slice(&to.to_be_bytes());
                }
                bytes[head + 3..head + 5].copy_from_slice(&(n as u16).to_be_bytes());
            }
            8 => bytes[head + 3..head + 5].copy_from_slice(&(random.below(65536) as u16).to_be_bytes()),
            // Any page's first number is the next page of a chain, if it is one.
            9 => bytes[any..any + 4].copy_from_slice(&if any == 0 { *b"SQLi" } else { small.to_be_bytes() }),
            10 => {
                bytes[32..36].copy_from_slice(&small.to_be_bytes());
                bytes[36..40].copy_from_slice(&(random.below(100_000) as u32).to_be_bytes());
                bytes[any..any + 4].copy_from_slice(&if any == 0 { *b"SQLi" } else { small.to_be_bytes() });
            }
            _ => (0..1 + random.below(6)).for_each(|_| {
                let at = 100 + random.below(page as u64 - 100) as usize;
                if at < len {
                    bytes[at] = random.below(256) as u8;
                }
            }),
        }
    }
}

/// Seconds of the processor this process has had.
fn processor() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let after = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<f64> = after.split_whitespace().filter_map(|f| f.parse().ok()).collect();
    // utime and stime, in hundredths; the state before them is no number.
    (fields[10] + fields[11]) / 100.0
}

/// One batch, in its own process: what it tells goes to its standard output.
fn child(first: u64, last: u64) {
    let dir = tempfile::tempdir().unwrap();
    let bases: Vec<Vec<u8>> = (0..6).map(base).collect();
    let current = Arc::new(AtomicU64::new(0));
    let begun = Arc::new(AtomicU64::new(u64::MAX));
    let (c, b) = (current.clone(), begun.clone());
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let since = b.load(Ordering::SeqCst);
            if since != u64::MAX && (processor() * 1000.0) as u64 > since + HANG * 1000 {
                println!("HANG in seed {}", c.load(Ordering::SeqCst));
                std::process::abort();
            }
        }
    });
    let (mut slowest, mut salvaged, mut rows) = (0u64, 0, 0i64);
    for seed in first..last {
        current.store(seed, Ordering::SeqCst);
        let mut random = Random::new(seed);
        let kind = (seed % KINDS.len() as u64) as usize;
        let mut bytes = bases[random.below(6) as usize].clone();
        mutate(&mut bytes, kind, &mut random);
        let folder = dir.path().join(seed.to_string());
        fs::create_dir(&folder).unwrap();
        let file = folder.join("mutated.db");
        fs::write(&file, &bytes).unwrap();
        if random.below(10) == 0 {
            let other: Vec<u8> = (0..random.below(5000)).map(|_| random.below(256) as u8).collect();
            fs::write(folder.join(["mutated.db-wal", "mutated.db-journal"][random.below(2) as usize]), other).unwrap();
        }
        let host = Connection::open_in_memory().unwrap();
        dbint::register(&host).unwrap();
        let saved = dir.path().join(format!("saved{seed}.db"));
        let calls: [(&str, &str); 5] = [
            ("SELECT length(db_health(?1, '{\"level\":\"deep\"}'))", "file"),
            ("SELECT count(detail) FROM integrity_report(?1)", "file"),
            ("SELECT count(detail) FROM size_report(?1)", "folder"),
            ("SELECT count(status) FROM discover_databases(?1)", "folder"),
            ("SELECT json_extract(salvage_database(?1, ?2), '$.rows')", "salvage"),
        ];
        for (sql, what) in calls {
            let now = (processor() * 1000.0) as u64;
            begun.store(now, Ordering::SeqCst);
            let place: &Path = if what == "folder" { &folder } else { &file };
            let mut q = host.prepare(sql).unwrap();
            // An error is an answer.
            let answer: rusqlite::Result<Option<i64>> = match what {
                "salvage" => q.query_row([place.to_str(), saved.to_str()], |r| r.get(0)),
                _ => q.query_row([place.to_str()], |r| r.get(0)),
            };
            begun.store(u64::MAX, Ordering::SeqCst);
            slowest = slowest.max((processor() * 1000.0) as u64 - now);
            if what == "salvage"
                && let Ok(found) = answer
            {
                salvaged += 1;
                rows += found.unwrap_or(0);
                let verdict: String = Connection::open(&saved).unwrap().query_row("PRAGMA quick_check(1)", [], |r| r.get(0)).unwrap_or_else(|e| e.to_string());
                if verdict != "ok" {
                    println!("UNSOUND seed {seed}: {verdict}");
                }
            }
        }
        drop(host);
        let _ = fs::remove_file(saved);
        fs::remove_dir_all(folder).unwrap();
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).and_then(|v| v.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(0);
    println!("BATCH {} {slowest} {peak} {salvaged} {rows}", last - first);
}

#[test]
fn no_mutated_database_crashes_hangs_or_fills_the_memory() {
    if let Ok(range) = std::env::var("DBINT_ROBUST_BATCH") {
        let (first, last) = range.split_once('-').unwrap();
        return child(first.parse().unwrap(), last.parse().unwrap());
    }
    let (files, seed) = (number("DBINT_ROBUST_FILES", 240), number("DBINT_SEED", 1));
    let me = std::env::current_exe().unwrap();
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    let mut wrong = vec![];
    let mut first = seed;
    while first < seed + files {
        let last = (first + BATCH).min(seed + files);
        let out = Command::new("sh")
            .args(["-c", &format!("ulimit -d {MEMORY_KB}; exec \"$0\" --nocapture --test-threads 1"), me.to_str().unwrap()])
            .env("DBINT_ROBUST_BATCH", format!("{first}-{last}"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let told: Option<Vec<u64>> = text.lines().find_map(|l| l.split("BATCH ").nth(1)).map(|l| l.split(' ').filter_map(|n| n.parse().ok()).collect());
        wrong.extend(text.lines().filter(|l| l.contains("HANG") || l.contains("UNSOUND")).map(str::to_owned));
        match told {
            Some(n) if out.status.success() => {
                for (name, value) in ["files", "slowest ms", "memory KB", "salvaged", "rows"].into_iter().zip(n) {
                    let sum = sums.entry(name).or_default();
                    *sum = if name.contains(' ') { value.max(*sum) } else { *sum + value };
                }
            }
            _ => wrong.push(format!(
                "batch {first}-{last} ended with {}: {}",
                out.status,
                String::from_utf8_lossy(&out.stderr).chars().take(2000).collect::<String>()
            )),
        }
        first = last;
    }
    println!("seed {seed}, {files} mutated databases, {} kinds of harm: {sums:?}", KINDS.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
