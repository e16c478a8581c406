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

/// A stored time, with or without fractions; None for anything else.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    chrono::NaiveDateTime::parse_from_str(text.trim(), "%Y-%m-%d %H:%M:%S%.f").ok().map(|t| t.and_utc())
}

/// Seconds from one stored time to another; None where either is no time.
pub fn seconds_between(from: &str, to: &str) -> Option<f64> {
    Some((parse(to)? - parse(from)?).num_milliseconds() as f64 / 1000.0)
}
