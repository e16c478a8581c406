//! How many bytes a database takes. MB means 1,000,000 bytes in every limit and report.
use super::{copy::with_suffix, ident::quote};
use crate::error::Result;
use rusqlite::Connection;
use std::path::Path;

pub const MB: f64 = 1_000_000.0;
/// The limit where nobody set one: 99.9 MB.
pub const DEFAULT_LIMIT: u64 = 99_900_000;

/// Bytes on disk now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    pub database: u64,
    pub wal: u64,
}

impl Bytes {
    /// The size every limit is about.
    pub fn total(self) -> u64 {
        self.database + self.wal
    }
}

pub fn on_disk(path: &Path) -> Bytes {
    let length = |p: &Path| std::fs::metadata(p).map_or(0, |m| m.len());
    Bytes { database: length(path), wal: length(&with_suffix(path, "-wal")) }
}

/// Size of a schema of a connection: its file, or its pages where it has none (in memory).
pub fn of_schema(db: &Connection, schema: &str, file: Option<&Path>) -> Result<Bytes> {
    match file {
        Some(path) => Ok(on_disk(path)),
        None => Ok(Bytes { database: paged(db, schema)?, wal: 0 }),
    }
}

/// Pages times page size, uncommitted pages of this connection included.
pub fn paged(db: &Connection, schema: &str) -> Result<u64> {
    let number = |pragma: &str| db.query_row(&format!("PRAGMA {}.{pragma}", quote(schema)), [], |r| r.get::<_, i64>(0));
    Ok((number("page_count")? * number("page_size")?).max(0) as u64)
}

/// `12345678` → `12.346`, for messages.
pub fn shown(bytes: u64) -> String {
    format!("{:.3} MB", bytes as f64 / MB)
}
