//! One value as text, for each kind of reader: a person, a program, SQLite.
use rusqlite::types::ValueRef;
use std::fmt::Write;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns a text takes on a terminal.
pub fn width(s: &str) -> usize {
    s.width()
}

pub fn char_width(c: char) -> usize {
    c.width().unwrap_or(0)
}

fn real(r: f64) -> String {
    match r {
        r if r == f64::INFINITY => "Inf".to_owned(),
        r if r == f64::NEG_INFINITY => "-Inf".to_owned(),
        // `{:?}` keeps the ".0" and gives the shortest digits that read back as the same number.
        r => format!("{r:?}"),
    }
}

fn hex(b: &[u8]) -> String {
    let mut s = String::with_capacity(2 * b.len() + 3);
    s.push_str("x'");
    for byte in b {
        let _ = write!(s, "{byte:02x}");
    }
    s.push('\'');
    s
}

/// For programs: as it is.
pub fn plain(v: ValueRef<'_>, null: &str) -> String {
    match v {
        ValueRef::Null => null.to_owned(),
        ValueRef::Integer(i) => i.to_string(),
        ValueRef::Real(r) => real(r),
        ValueRef::Text(t) => String::from_utf8_lossy(t).into_owned(),
        ValueRef::Blob(b) => hex(b),
    }
}

/// A blob longer than this is cut where a person reads it.
const BLOB: usize = 24;

/// For a person at a terminal: control characters are shown, not sent, so that data cannot steer the terminal.
pub fn shown(v: ValueRef<'_>, null: &str) -> String {
    match v {
        ValueRef::Text(t) => {
            let text = String::from_utf8_lossy(t);
            if text.chars().all(|c| !c.is_control() || c == '\n') {
                return text.into_owned();
            }
            let mut s = String::with_capacity(text.len());
            for c in text.chars() {
                match c {
                    '\n' => s.push(c),
                    '\t' => s.push_str("    "),
                    '\r' => {}
                    c if c.is_control() && c.is_ascii() => s.extend(['^', (c as u8 ^ 0x40) as char]),
                    c if c.is_control() => s.push('\u{fffd}'),
                    c => s.push(c),
                }
            }
            s
        }
        ValueRef::Blob(b) if b.len() > BLOB => format!("{}… {} bytes", hex(&b[..BLOB]).trim_end_matches('\''), b.len()),
        other => plain(other, null),
    }
}

/// RFC 4180; an empty text is quoted, so that it differs from NULL.
pub fn csv(s: &str, text: bool) -> String {
    let quote = s.contains([',', '"', '\n', '\r']) || (text && s.is_empty()) || s.starts_with(' ') || s.ends_with(' ');
    if quote { format!("\"{}\"", s.replace('"', "\"\"")) } else { s.to_owned() }
}

/// As CSV with tabs, but quoted only where it would be misread: most readers of tabs know no quotes.
pub fn tsv(s: &str) -> String {
    if s.contains(['\t', '\n', '\r']) || s.starts_with('"') { format!("\"{}\"", s.replace('"', "\"\"")) } else { s.to_owned() }
}

pub fn json_text(s: &str) -> String {
    serde_json::Value::from(s).to_string()
}

pub fn json(v: ValueRef<'_>) -> String {
    match v {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Real(r) if r.is_infinite() => if r > 0.0 { "1e999" } else { "-1e999" }.to_owned(),
        ValueRef::Text(t) => json_text(&String::from_utf8_lossy(t)),
        ValueRef::Blob(b) => json_text(&hex(b)),
        number => plain(number, ""),
    }
}

/// A SQL literal that reads back as the same value, bit by bit.
pub fn literal(v: ValueRef<'_>) -> String {
    match v {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Real(r) if r.is_infinite() => if r > 0.0 { "1e999" } else { "-1e999" }.to_owned(),
        ValueRef::Text(t) => match std::str::from_utf8(t) {
            Ok(s) if !s.contains('\0') => format!("'{}'", s.replace('\'', "''")),
            // A literal ends at NUL and must be UTF-8: by way of the bytes.
            _ => format!("CAST({} AS TEXT)", hex(t)),
        },
        other => plain(other, ""),
    }
}

/// A name as SQL reads it, quoted where it has to be.
pub fn name(s: &str) -> String {
    let mut chars = s.chars();
    let bare = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_') && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    if bare && !crate::complete::names::is_keyword(s) { s.to_owned() } else { format!("\"{}\"", s.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_for_each_reader() {
        let t = |s: &'static str| ValueRef::Text(s.as_bytes());
        assert_eq!(shown(t("a\u{1b}[31m\tb\u{0}"), ""), "a^[[31m    b^@");
        assert_eq!(shown(ValueRef::Blob(&[0xab; 100]), ""), format!("x'{}… 100 bytes", "ab".repeat(BLOB)));
        assert_eq!(plain(ValueRef::Real(-0.0), ""), "-0.0");
        assert_eq!(plain(ValueRef::Real(0.1 + 0.2), ""), "0.30000000000000004");
        assert_eq!((csv("a\"b", true).as_str(), csv("", true).as_str(), csv("", false).as_str()), ("\"a\"\"b\"", "\"\"", ""));
        assert_eq!(json(ValueRef::Text(b"a\"\xff")), "\"a\\\"\u{fffd}\"");
        assert_eq!(literal(t("it's")), "'it''s'");
        assert_eq!(literal(t("a\0b")), "CAST(x'610062' AS TEXT)");
        assert_eq!((name("a b").as_str(), name("order").as_str(), name("orders").as_str()), ("\"a b\"", "\"order\"", "orders"));
    }
}
