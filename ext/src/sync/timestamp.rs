//! When was this row written? Timestamps in the usual forms, made comparable.
//!
//! | stored as | read as |
//! |---|---|
//! | text `2026-03-01`, `2026-03-01 12:00[:30[.25]]`, with `T` or a blank | UTC |
//! | the same with `Z`, `+02`, `+02:00`, `+0200` | that zone |
//! | integer or real, below 1e11 | seconds since 1970 |
//! | below 1e14, 1e17, above | milliseconds, microseconds, nanoseconds |
//! | a number as text | as the number |
//!
//! Anything else, NULL included, is no timestamp: older than every timestamp.
use crate::kit::Field;
use chrono::{DateTime, NaiveDate, NaiveDateTime};

/// Microseconds since 1970; None where there is no timestamp.
pub fn micros(v: Field<'_>) -> Option<i64> {
    match v {
        Field::Int(i) => Some(integer(i)),
        Field::Real(r) => real(r),
        Field::Text(b) => text(std::str::from_utf8(b).ok()?.trim()),
        Field::Null | Field::Blob(_) => None,
    }
}

fn integer(v: i64) -> i64 {
    match v.unsigned_abs() {
        0..100_000_000_000 => v * 1_000_000,
        100_000_000_000..100_000_000_000_000 => v * 1000,
        100_000_000_000_000..100_000_000_000_000_000 => v,
        _ => v / 1000,
    }
}

fn real(v: f64) -> Option<i64> {
    let size = v.abs();
    let micros = if size < 1e11 {
        v * 1e6
    } else if size < 1e14 {
        v * 1e3
    } else if size < 1e17 {
        v
    } else {
        v / 1e3
    };
    micros.is_finite().then_some(micros.round() as i64)
}

fn text(s: &str) -> Option<i64> {
    if let Ok(i) = s.parse() {
        return Some(integer(i));
    }
    let s = &s.replacen('T', " ", 1);
    const ZONED: [&str; 2] = ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z"];
    const PLAIN: [&str; 2] = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"];
    let plain = s.strip_suffix(['Z', 'z']).unwrap_or(s).trim_end();
    PLAIN
        .iter()
        .find_map(|f| NaiveDateTime::parse_from_str(plain, f).ok())
        .map(|t| t.and_utc().timestamp_micros())
        .or_else(|| ZONED.iter().find_map(|f| DateTime::parse_from_str(s, f).ok()).map(|t| t.timestamp_micros()))
        .or_else(|| NaiveDate::parse_from_str(plain, "%Y-%m-%d").ok().and_then(|d| d.and_hms_opt(0, 0, 0)).map(|t| t.and_utc().timestamp_micros()))
        .or_else(|| s.parse().ok().and_then(real))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_in_every_form() {
        let noon = 1_772_366_400_000_000;
        let t = |s: &str| micros(Field::Text(s.as_bytes()));
        for s in [
            "2026-03-01 12:00:00",
            "2026-03-01T12:00:00Z",
            "2026-03-01T12:00",
            "2026-03-01 14:00:00+02:00",
            "2026-03-01T14:00:00.000+0200",
            "2026-03-01 14:00+02",
            " 2026-03-01 12:00:00.000000 ",
            "1772366400",
            "1772366400000",
            "1772366400.0",
        ] {
            assert_eq!(t(s), Some(noon), "{s}");
        }
        for v in [Field::Int(1_772_366_400), Field::Int(1_772_366_400_000), Field::Int(1_772_366_400_000_000), Field::Real(1_772_366_400.0)] {
            assert_eq!(micros(v), Some(noon));
        }
        assert_eq!(t("2026-03-01"), Some(noon - 12 * 3600 * 1_000_000));
        assert_eq!(t("2026-03-01 12:00:00.25"), Some(noon + 250_000));
        assert_eq!(
            (t("soon"), t(""), micros(Field::Null), micros(Field::Real(f64::INFINITY)), micros(Field::Int(i64::MIN)).is_some()),
            (None, None, None, None, true)
        );
    }
}
