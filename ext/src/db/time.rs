//! Stored times are UTC `YYYY-MM-DD HH:MM:SS.SSS`, so that they compare with SQLite's `datetime('now', …)`.
use chrono::{DateTime, Utc};

/// Now, as stored.
pub fn now() -> String {
    stored(Utc::now())
}

pub fn stored(t: DateTime<Utc>) -> String {
    t.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// An id that sorts by time.
pub fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}
