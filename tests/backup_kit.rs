//! What the harnesses of backups share: a seeded random source, a connection with dbint, JSON answers, file bytes.
#![allow(dead_code, reason = "each harness uses its part")]
use dbint_tests::Way;
use rusqlite::Connection;
use serde_json::Value as Json;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// xorshift64: the same seed, the same run.
pub struct Random(u64);

impl Random {
    /// Seed and generator; `NAME_SEED` chooses it, else the clock does.
    pub fn from_env(name: &str) -> (u64, Random) {
        let now = std::time::UNIX_EPOCH.elapsed().map_or(1, |d| d.as_nanos() as u64);
        let seed = std::env::var(format!("{name}_SEED")).ok().and_then(|s| s.parse().ok()).unwrap_or(now | 1);
        (seed, Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1))
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 11) as usize % n.max(1)
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// How many rounds: the environment's `name`, else the small number of the normal run.
pub fn count(name: &str, small: usize) -> usize {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(small)
}

pub fn open(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.busy_timeout(Duration::from_secs(30)).unwrap();
    Way::Linked.register(&db).unwrap();
    db
}

/// The one value of a query, or the error's text.
pub fn ask(db: &Connection, sql: &str) -> Result<String, String> {
    db.query_row(sql, [], |r| r.get::<_, rusqlite::types::Value>(0))
        .map(|v| match v {
            rusqlite::types::Value::Text(t) => t,
            rusqlite::types::Value::Integer(i) => i.to_string(),
            other => format!("{other:?}"),
        })
        .map_err(|e| e.to_string())
}

/// A function's JSON answer; the function must succeed.
pub fn json(db: &Connection, sql: &str) -> Json {
    serde_json::from_str(&ask(db, sql).unwrap_or_else(|e| panic!("{sql}: {e}"))).unwrap()
}

/// Every file below `dir`, by name.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![];
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all.sort();
    all
}

/// The files of a repository that its backups need.
pub fn needed(dir: &Path) -> Vec<PathBuf> {
    files(dir).into_iter().filter(|p| p.file_name().is_some_and(|n| n != "lock") && p.parent().is_some_and(|d| !d.ends_with("tmp"))).collect()
}
