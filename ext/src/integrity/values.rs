//! What a single value looks like: a number, a date in some format, JSON, text that was decoded twice.

/// `12`, `-3.5`; not `007`, `+1`, ` 1`, `1e5`: those are codes, or meant as text.
pub fn is_number(t: &[u8]) -> bool {
    let digits = t.strip_prefix(b"-").unwrap_or(t);
    let mut parts = digits.splitn(2, |b| *b == b'.');
    let (whole, fraction) = (parts.next().unwrap_or_default(), parts.next());
    let all = |p: &[u8]| !p.is_empty() && p.len() <= 18 && p.iter().all(u8::is_ascii_digit);
    all(whole) && (whole.len() == 1 || whole.first() != Some(&b'0')) && fraction.is_none_or(all)
}

/// UTF-8 read as Latin-1 and stored as UTF-8 again (`Ã©` for é), or the mark of text that was lost on the way.
pub fn is_mojibake(t: &str) -> bool {
    let mut last = ' ';
    t.chars().any(|c| {
        let twice = matches!(last, 'Ã' | 'Â') && ('\u{80}'..='\u{bf}').contains(&c) || last == 'â' && c == '€';
        last = c;
        twice || c == '\u{fffd}'
    })
}

pub fn looks_like_json(t: &[u8]) -> bool {
    let trimmed = t.trim_ascii();
    matches!((trimmed.first(), trimmed.last()), (Some(b'{'), Some(_)) | (Some(b'['), Some(b']')))
}

pub fn is_json(t: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(t).is_ok()
}

/// Formats of dates, in the words of the report.
pub const FORMATS: [&str; 9] = [
    "YYYY-MM-DD",
    "YYYY-MM-DD HH:MM",
    "YYYY-MM-DDTHH:MM",
    "with time zone",
    "YYYY/MM/DD",
    "D/M/YYYY",
    "D.M.YYYY",
    "seconds since 1970",
    "milliseconds since 1970",
];

/// How many values of a column are dates in each format.
#[derive(Default)]
pub struct Dates {
    counts: [u64; FORMATS.len()],
}

impl Dates {
    pub fn see_text(&mut self, t: &[u8]) {
        if let Some(n) = format(t).and_then(|i| self.counts.get_mut(i)) {
            *n += 1;
        }
    }

    /// Whole numbers between 2000 and 2100: dates only in a column whose name says so.
    pub fn see_integer(&mut self, v: i64) {
        const SECONDS: std::ops::Range<i64> = 946_684_800..4_102_444_800;
        let at = if SECONDS.contains(&v) { 7 } else { 8 };
        if (at == 7 || SECONDS.contains(&(v / 1000)))
            && let Some(n) = self.counts.get_mut(at)
        {
            *n += 1;
        }
    }

    /// The formats seen, and how often; numbers only where `numbers` says that they are dates.
    pub fn seen(&self, numbers: bool) -> Vec<(&'static str, u64)> {
        let take = if numbers { FORMATS.len() } else { FORMATS.len() - 2 };
        FORMATS.iter().copied().zip(self.counts).take(take).filter(|(_, n)| *n > 0).collect()
    }
}

/// Which format of [`FORMATS`] a text has.
fn format(t: &[u8]) -> Option<usize> {
    if !(8..=40).contains(&t.len()) || !t.first()?.is_ascii_digit() {
        return None;
    }
    // The shape: digits as 9, everything else as it is.
    let shape: Vec<u8> = t.iter().map(|b| if b.is_ascii_digit() { b'9' } else { *b }).collect();
    let zoned = |rest: &[u8]| rest.ends_with(b"Z") || rest.iter().skip(1).any(|b| matches!(b, b'+' | b'-'));
    if let Some(rest) = shape.strip_prefix(b"9999-99-99") {
        return match rest.first() {
            None => Some(0),
            Some(b' ' | b'T') if zoned(rest) => Some(3),
            Some(b' ') => Some(1),
            Some(b'T') => Some(2),
            _ => None,
        };
    }
    if shape.starts_with(b"9999/99/99") {
        return Some(4);
    }
    let day: &[u8] = shape.split(|b| *b == b' ').next()?;
    let parts = |mark: u8| {
        let lengths: Vec<usize> = day.split(|b| *b == mark).map(|p| if p.iter().all(|b| *b == b'9') { p.len() } else { 0 }).collect();
        matches!(lengths.as_slice(), [1 | 2, 1 | 2, 4])
    };
    if parts(b'/') {
        Some(5)
    } else if parts(b'.') {
        Some(6)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_apart() {
        let numbers = ["0", "12", "-3.5", "0.25"].map(|t| is_number(t.as_bytes()));
        let others = ["007", "+1", " 1", "1e5", "", "-", "1.", "1.2.3", "x"].map(|t| is_number(t.as_bytes()));
        assert!(numbers.iter().all(|x| *x) && !others.iter().any(|x| *x));
        assert!(is_mojibake("CafÃ©") && is_mojibake("itâ€™s") && is_mojibake("a\u{fffd}") && !is_mojibake("Café à São"));
        let dates = ["2024-01-31", "2024-01-31 10:00:00", "2024-01-31T10:00", "2024-01-31T10:00:00Z", "2024/01/31", "31/1/2024", "31.01.2024 10:00"];
        assert_eq!(dates.map(|d| format(d.as_bytes()).unwrap()), [0, 1, 2, 3, 4, 5, 6]);
        assert!(["12345678", "1.2.3.4.5", "2024-1-1", "abc"].iter().all(|d| format(d.as_bytes()).is_none()));
        assert!(looks_like_json(b" {\"a\":1} ") && is_json(b"{\"a\":[1]}") && !is_json(b"{\"a\":[1}") && looks_like_json(b"{\"a\":"));
    }
}
