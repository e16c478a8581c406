//! What the shell says when something fails: one line, with the nearest name where one was mistyped.
use rusqlite::Connection;
use std::{fmt, io};

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug)]
pub enum Error {
    Sql(rusqlite::Error),
    Io(io::Error),
    /// A wrong argument of a dot command or of the program.
    Usage(String),
    /// In a script, or in what is piped in.
    At(String, Box<Error>),
}

impl Error {
    /// Tells the line; a script that reads another tells only the inner one.
    pub fn at(self, script: &str, line: usize) -> Self {
        if self.is_closed_pipe() || self.is_interrupt() || matches!(self, Error::At(..)) {
            return self;
        }
        let place = if script.is_empty() { format!("line {line}") } else { format!("{script} line {line}") };
        Error::At(place, Box::new(self))
    }

    pub fn usage(text: impl Into<String>) -> Self {
        Error::Usage(text.into())
    }

    /// The reader of our output is gone: nobody is left to tell.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Error::Io(e) if e.kind() == io::ErrorKind::BrokenPipe)
    }

    pub fn is_interrupt(&self) -> bool {
        match self {
            Error::Sql(e) => e.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) || e.to_string().contains("[DBINT_INTERRUPTED]"),
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Sql(rusqlite::Error::SqlInputError { msg, .. }) => f.write_str(msg),
            Error::Sql(rusqlite::Error::SqliteFailure(_, Some(msg))) => f.write_str(msg),
            Error::Sql(e) => e.fmt(f),
            Error::Io(e) => e.fmt(f),
            Error::Usage(text) => f.write_str(text),
            Error::At(place, e) => write!(f, "{place}: {e}"),
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(e: rusqlite::Error) -> Self {
        Error::Sql(e)
    }
}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Self {
        Error::Io(e)
    }
}

/// The message in one line, and the nearest known name where one is unknown.
pub fn explain(db: &Connection, e: &Error) -> String {
    if let Error::At(place, e) = e {
        return format!("{place}: {}", explain(db, e));
    }
    let text = e.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    if e.is_interrupt() && !text.contains("DBINT_") {
        return "interrupted".to_owned();
    }
    if !matches!(e, Error::Sql(_)) || text.contains("[DBINT_") {
        return text;
    }
    let near = suggestion(db, &text).unwrap_or_default();
    let end = if near.is_empty() { "" } else { "." };
    format!("{text}{end}{near}")
}

/// The line of the statement that SQLite stumbled over, and a mark below the place.
pub fn pointer(e: &Error, width: usize) -> Option<String> {
    let Error::Sql(rusqlite::Error::SqlInputError { sql, offset, .. }) = e else { return None };
    let at = usize::try_from(*offset).ok().filter(|at| sql.is_char_boundary(*at))?;
    let start = sql[..at].rfind('\n').map_or(0, |n| n + 1);
    let line = &sql[start..sql[start..].find('\n').map_or(sql.len(), |n| start + n)];
    let printable = |s: &str| s.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<Vec<char>>();
    let (before, line) = (printable(&sql[start..at]).len(), printable(line));
    // A window around the place.
    let (space, half) = (width.saturating_sub(4), width.saturating_sub(4) / 2);
    let from = if line.len() <= space { 0 } else { before.saturating_sub(half) };
    let shown: String = line.iter().skip(from).take(space).collect();
    let below: String = line.iter().take(before).skip(from).map(|c| " ".repeat(unicode_width::UnicodeWidthChar::width(*c).unwrap_or(0))).collect();
    Some(format!("  {shown}\n  {below}^"))
}

fn suggestion(db: &Connection, text: &str) -> Option<String> {
    use crate::complete::names;
    if text.starts_with("near \".\"") {
        return Some(" Is a ; missing in front of it?".to_owned());
    }
    let after = |mark: &str| text.split_once(mark).map(|(_, t)| t.split(" in \"").next().unwrap_or(t).trim());
    let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
    let declared =
        |name: &str, kind: &str| !names::list(db, "SELECT 1 || '' FROM dbint_functions WHERE name = ? COLLATE NOCASE AND kind = ?", &[&name, &kind]).is_empty();
    if let Some(t) = after("no such table: ").filter(|t| declared(t, "function")) {
        return Some(format!(" It is a function: SELECT {t}(…)"));
    }
    if let Some(t) = after("no such function: ").filter(|t| declared(t, "table")) {
        return Some(format!(" It is a table: SELECT * FROM {t}(…)"));
    }
    let (given, known) = if let Some(t) = after("no such table: ").or_else(|| after("no such view: ")) {
        (last(t), names::tables(db))
    } else if let Some(t) = after("no such column: ").or_else(|| after("has no column named ")) {
        (last(t), names::all_columns(db))
    } else if let Some(t) = after("no such function: ") {
        (t.to_owned(), names::functions(db))
    } else if let Some(t) = after("near \"").and_then(|t| t.split_once('"')) {
        (t.0.to_owned(), names::KEYWORDS.iter().map(|k| (*k).to_owned()).collect())
    } else {
        return None;
    };
    Some(dbint::did_you_mean(&given, known.iter().map(String::as_str))).filter(|s| !s.is_empty() && !known.contains(&given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_below_the_place() {
        let db = Connection::open_in_memory().unwrap();
        let mark = |sql: &str, width| pointer(&Error::from(db.prepare(sql).unwrap_err()), width);
        assert_eq!(mark("SELECT 1,\n\té日, nonsense FROM t2", 80), None, "there is no such table, wherever it stands");
        assert_eq!(mark("SELECT 1,\n '日', nonsense", 80).as_deref(), Some("   '日', nonsense\n         ^"));
        let long = mark(&format!("SELECT {} nonsense", "1,".repeat(500)), 40).unwrap();
        assert!(long.lines().all(|l| l.chars().count() <= 40) && long.contains("nonsense"), "{long}");
    }
}
