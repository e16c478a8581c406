//! What the SQLite we run on can be trusted with.

/// Whether this SQLite is free of the WAL-reset bug (3.7.0 to 3.51.2: a checkpoint that meets a writer can lose pages).
/// The fix was taken back into 3.44.6 and 3.50.7.
pub fn wal_reset_fixed() -> bool {
    fixed(rusqlite::version_number())
}

const fn fixed(version: i32) -> bool {
    matches!(version, 3_051_003..|3_050_007..3_051_000| 3_044_006..3_045_000)
}

#[cfg(test)]
mod tests {
    #[test]
    fn backports_count() {
        for (version, fixed) in
            [(3_040_001, false), (3_044_005, false), (3_044_006, true), (3_045_000, false), (3_050_007, true), (3_051_002, false), (3_051_003, true)]
        {
            assert_eq!(super::fixed(version), fixed, "{version}");
        }
    }
}
