//! Makes the data of the benchmarks, the same bytes every time:
//!
//! ```text
//! gen table text|int ROWS FILE      session_tracking with ROWS rows; a random TEXT or an INTEGER primary key
//! gen lag text|int PER_MILLE FILE   makes a copy lag: half of the rows that differ stale, a quarter missing, a quarter extra
//! gen fleet COUNT FOLDER            databases of 1 to 90 MB, more small than large
//! gen small COUNT FOLDER            databases of a few pages in WAL mode, a hundred a folder
//! ```
use rusqlite::{Connection, Result, params};
use std::{env, fmt::Write, fs, path::Path, process::ExitCode};

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }
}

fn mixed(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const WORDS: [&str; 24] = [
    "agent", "session", "build", "error", "commit", "branch", "deploy", "query", "index", "table", "cache", "token", "retry", "queue", "worker", "status",
    "pending", "done", "failed", "merge", "review", "context", "schema", "column",
];

fn moment(seconds: u64) -> String {
    let (day, s) = (seconds / 86_400, seconds % 86_400);
    format!("2025-{:02}-{:02} {:02}:{:02}:{:02}", 1 + day / 28 % 12, 1 + day % 28, s / 3600, s / 60 % 60, s % 60)
}

/// About 120 bytes of JSON.
fn payload(r: &mut Random) -> String {
    let n = 88 + r.below(41) as usize;
    let mut text = String::from("{\"msg\":\"");
    while text.len() < n {
        text += WORDS[r.below(WORDS.len() as u64) as usize];
        text.push(' ');
    }
    let _ = write!(text, "\",\"n\":{}}}", r.below(100_000));
    text
}

#[derive(Clone, Copy, PartialEq)]
enum Key {
    Text,
    Integer,
}

impl Key {
    fn ty(self) -> &'static str {
        if self == Key::Text { "TEXT" } else { "INTEGER" }
    }

    fn of(self, i: u64) -> rusqlite::types::Value {
        match self {
            Key::Text => format!("{:016x}{:016x}", mixed(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)), mixed(i ^ 0x0abc_def1_2345_6789)).into(),
            Key::Integer => (i as i64).into(),
        }
    }
}

fn open(file: &Path) -> Result<Connection> {
    let db = Connection::open(file)?;
    db.execute_batch("PRAGMA synchronous=OFF; PRAGMA journal_mode=OFF; PRAGMA cache_size=-200000")?;
    Ok(db)
}

const INSERT: &str = "INSERT INTO session_tracking VALUES(?, ?, ?, ?, ?, ?)";

fn insert(st: &mut rusqlite::Statement<'_>, key: Key, i: u64, seed: u64) -> Result<usize> {
    let mut r = Random(mixed(i ^ seed.rotate_left(32)));
    let user = format!("user_{:05}", r.below(20_000));
    let (started, updated) = (moment(i * 17 + r.below(15)), moment(i * 17 + r.below(90_000)));
    st.execute(params![key.of(i), user, started, updated, payload(&mut r), r.below(1 << 40) as f64 / 1_048_576.0])
}

fn table(key: Key, rows: u64, file: &Path) -> Result<()> {
    let db = open(file)?;
    let sql = "CREATE TABLE session_tracking(session_id KEY PRIMARY KEY, user TEXT, started_at TEXT, updated_at TEXT, payload TEXT, score REAL); BEGIN";
    db.execute_batch(&sql.replace("KEY PRIMARY", &format!("{} PRIMARY", key.ty())))?;
    let mut st = db.prepare(INSERT)?;
    for i in 1..=rows {
        insert(&mut st, key, i, 1)?;
    }
    db.execute_batch("COMMIT")
}

fn lag(key: Key, per_mille: f64, file: &Path) -> Result<()> {
    let db = open(file)?;
    let rows: i64 = db.query_row("SELECT max(rowid) FROM session_tracking", [], |r| r.get(0))?;
    let mut stale =
        db.prepare("UPDATE session_tracking SET updated_at = '2024-06-01 00:00:00', score = score + 1, payload = payload || 'x' WHERE rowid = ?")?;
    let mut missing = db.prepare("DELETE FROM session_tracking WHERE rowid = ?")?;
    let mut extra = db.prepare(INSERT)?;
    db.execute_batch("BEGIN")?;
    let limit = (per_mille / 1000.0 * u64::MAX as f64) as u64;
    let mut next = rows as u64;
    for i in 1..=rows as u64 {
        let h = mixed(i ^ 0x5eed_5eed);
        if h >= limit {
            continue;
        }
        match mixed(h) % 4 {
            0 | 1 => stale.execute([i as i64])?,
            2 => missing.execute([i as i64])?,
            _ => {
                next += 1;
                insert(&mut extra, key, next, 99)?
            }
        };
    }
    db.execute_batch("COMMIT")
}

/// Users and their events: a foreign key, a unique and two plain indexes.
fn member(megabytes: u64, seed: u64, file: &Path) -> Result<()> {
    let db = open(file)?;
    db.execute_batch(
        "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT UNIQUE, created_at TEXT);
         CREATE TABLE events(id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users, kind TEXT NOT NULL, at TEXT, body TEXT, score REAL CHECK(score >= 0));
         CREATE INDEX events_user ON events(user_id);
         CREATE INDEX events_at ON events(at);
         BEGIN",
    )?;
    let (mut user, mut event) = (db.prepare("INSERT INTO users VALUES(?, ?, ?)")?, db.prepare("INSERT INTO events VALUES(?, ?, ?, ?, ?, ?)")?);
    let mut r = Random(seed);
    let users = (megabytes * 60).max(100);
    for i in 1..=users {
        user.execute(params![i as i64, format!("user_{:016x}", mixed(i ^ seed)), moment(i * 31)])?;
    }
    for i in 1..=megabytes * 4100 {
        let kind = WORDS[r.below(WORDS.len() as u64) as usize];
        let body = payload(&mut r) + "; and what followed, in some words more";
        event.execute(params![i as i64, 1 + r.below(users) as i64, kind, moment(i * 13), body, r.below(1 << 30) as f64 / 1024.0])?;
    }
    db.execute_batch("COMMIT")
}

fn fleet(count: u64, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
    for i in 0..count {
        let place = i as f64 / (count.max(2) - 1) as f64;
        member(1 + (89.0 * place * place) as u64, i + 7, &folder.join(format!("db{i:02}.db")))?;
    }
    Ok(())
}

fn small(count: u64, folder: &Path) -> Result<()> {
    let failed = |e: std::io::Error| rusqlite::Error::ToSqlConversionFailure(e.into());
    fs::create_dir_all(folder).map_err(failed)?;
    // Eight different ones; the others are copies, which are files of their own all the same.
    let mut models = vec![];
    for i in 0..count.min(8) {
        let file = folder.join("model");
        let db = open(&file)?;
        db.execute_batch(
            "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; CREATE TABLE device(id INTEGER PRIMARY KEY, name TEXT NOT NULL, seen TEXT);
             CREATE TABLE reading(id INTEGER PRIMARY KEY, device INTEGER NOT NULL REFERENCES device, value REAL); CREATE INDEX reading_device ON reading(device)",
        )?;
        for n in 0..5 * (i + 1) {
            db.execute("INSERT INTO device VALUES(?, ?, ?)", params![n as i64, format!("device {n}"), moment(n * 60)])?;
            db.execute("INSERT INTO reading VALUES(?, ?, ?)", params![n as i64, n as i64, n as f64 / 7.0])?;
        }
        db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
        db.close().map_err(|(_, e)| e)?;
        models.push(fs::read(&file).map_err(failed)?);
        fs::remove_file(&file).map_err(failed)?;
    }
    for (i, model) in (0..count).zip(models.iter().cycle()) {
        let sub = folder.join(format!("{:04}", i / 100));
        if i % 100 == 0 {
            fs::create_dir_all(&sub).map_err(failed)?;
        }
        fs::write(sub.join(format!("db{i:06}.db")), model).map_err(failed)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let key = |word: &str| if word == "int" { Key::Integer } else { Key::Text };
    let done = match words[..] {
        ["table", kind @ ("text" | "int"), rows, file] => rows.parse().ok().map(|n| table(key(kind), n, file.as_ref())),
        ["lag", kind @ ("text" | "int"), per_mille, file] => per_mille.parse().ok().map(|n| lag(key(kind), n, file.as_ref())),
        ["fleet", count, folder] => count.parse().ok().map(|n| fleet(n, folder.as_ref())),
        ["small", count, folder] => count.parse().ok().map(|n| small(n, folder.as_ref())),
        _ => None,
    };
    match done {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(e)) => {
            eprintln!("gen: {e}");
            ExitCode::FAILURE
        }
        None => {
            eprintln!("usage: gen table text|int ROWS FILE | lag text|int PER_MILLE FILE | fleet COUNT FOLDER | small COUNT FOLDER");
            ExitCode::from(2)
        }
    }
}
