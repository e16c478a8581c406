//! Dot commands: what the shell itself does, by the names users of `sqlite3` have in their fingers.
mod dump;
mod files;
mod fleet;
mod help;
mod import;
mod list;
mod look;
mod service;
mod switches;
mod system;
mod watch;

pub use files::read_file;

use crate::{
    error::{Error, Result},
    lexer,
    session::{Flow, Session},
};
use std::io::Write;

pub use list::COMMANDS;
pub use service::Service;

pub struct Command {
    pub name: &'static str,
    pub args: &'static str,
    pub summary: &'static str,
    pub group: Group,
    /// One for each argument; the last stands for all that follow.
    pub completes: &'static [Completes],
    run: Run,
}

/// The parts of `.help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Look,
    Fleet,
    Files,
    Output,
    Session,
}

/// How a command takes what follows its name.
#[derive(Clone, Copy)]
enum Run {
    Words(fn(&mut Session, &[&str]) -> Result<Flow>),
    /// As it stands: it holds SQL, whose quotes are its own.
    Text(fn(&mut Session, &str) -> Result<Flow>),
}

/// What its arguments are.
#[derive(Clone, Copy)]
pub enum Completes {
    Files,
    Tables,
    Databases,
    Help,
    Words(&'static [&'static str]),
}

/// Other names that fingers know, and beginnings that would mean another command.
const ALIASES: &[(&str, &str)] = &[("indices", "indexes"), ("parameter", "param"), ("system", "shell"), ("save", "backup"), ("ex", "exit")];

/// By its name with or without the dot, or by the start of it.
pub fn find(name: &str) -> Option<&'static Command> {
    let name = name.trim_start_matches('.').to_ascii_lowercase();
    exact(&name).or_else(|| COMMANDS.iter().find(|c| !name.is_empty() && c.name.starts_with(&name)))
}

fn exact(name: &str) -> Option<&'static Command> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, meant)| meant);
    COMMANDS.iter().find(|c| c.name == name)
}

/// A command on the last line of `text`, and what stands before it. Only whole names count: `.5` and `.id` go on with the SQL.
pub fn last_line(text: &str) -> Option<(&str, &str)> {
    let (before, line) = text.trim_end().rsplit_once('\n')?;
    let name = line.trim().strip_prefix('.')?.split_whitespace().next()?.trim_end_matches(';');
    let is_command = exact(name).is_some() && lexer::tokens(before).all(|t| t.closed);
    is_command.then(|| (before, line.trim()))
}

/// Runs one line that starts with a dot.
pub fn run(session: &mut Session, line: &str) -> Result<Flow> {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let name = name.trim_end_matches(';');
    let Some(c) = find(name) else {
        let near = dbint::did_you_mean(name, COMMANDS.iter().map(|c| c.name)).replace(" \"", " \".");
        return Err(Error::usage(format!("no command \"{name}\".{near} .help lists them")));
    };
    // What lists things may be longer than the screen; the others send their output where they want.
    let lists = c.group == Group::Look;
    if lists {
        session.out.begin();
    }
    let done = match c.run {
        Run::Text(f) => f(session, rest.trim()),
        Run::Words(f) => {
            let words = split(rest.trim_end().trim_end_matches(';'))?;
            f(session, &words.iter().map(String::as_str).collect::<Vec<_>>())
        }
    };
    let left = session.out.is_paging();
    if lists {
        session.out.end()?
    } else {
        session.out.flush()?
    }
    if left && done.as_ref().is_err_and(Error::is_closed_pipe) {
        return Ok(Flow::Go);
    }
    done.map_err(|e| match e {
        Error::Usage(text) if text.is_empty() => Error::usage(format!("usage: .{} {}", c.name, c.args)),
        other => other,
    })
}

/// What a command says when its arguments do not fit: its usage line.
fn usage() -> Error {
    Error::usage("")
}

/// Where the options start, a JSON object whose quotes are its own: at a brace that no word holds.
pub fn options_at(line: &str) -> Option<usize> {
    let (mut open, mut before) = (None, ' ');
    for (i, c) in line.char_indices() {
        match (open, c) {
            (None, '{') if before.is_whitespace() || matches!(before, '\'' | '"') => return Some(i),
            (None, '\'' | '"') => open = Some(c),
            (Some(q), c) if c == q && !(q == '"' && before == '\\') => open = None,
            _ => {}
        }
        before = c;
    }
    None
}

/// Words as in a Unix shell: '…' as it stands, "…" with \n, \t, \" and \\.
fn split(line: &str) -> Result<Vec<String>> {
    let (mut words, mut word, mut open) = (vec![], None::<String>, None);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (open, c) {
            (None, '\'' | '"') => {
                open = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (Some(q), c) if c == q => open = None,
            (Some('"'), '\\') => word.get_or_insert_default().push(match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some(other) => other,
                None => '\\',
            }),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(q) = open {
        return Err(Error::usage(format!("a {q} is not closed")));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quotes() {
        assert_eq!(split(".read 'a b.sql' \"c\\td\" ''").unwrap(), [".read", "a b.sql", "c\td", ""]);
        assert!(split(".read 'a").is_err());
    }

    #[test]
    fn options_start_at_a_brace_outside_quotes() {
        for (line, at) in [("{\"a\":1}", Some(0)), ("t 'b {c}.db' {\"a\":1}", Some(13)), ("t a{b}.db", None), ("t \"a\\\" {\" x", None), ("", None)] {
            assert_eq!(options_at(line), at, "{line}");
        }
    }

    #[test]
    fn a_command_below_a_statement_is_told_from_sql() {
        for (text, found) in [
            ("SELECT 1\n.tables", Some(("SELECT 1", ".tables"))),
            ("SELECT 1;\n .mode csv ", Some(("SELECT 1;", ".mode csv"))),
            ("SELECT 1\n+\n.indices;", Some(("SELECT 1\n+", ".indices;"))),
            ("SELECT 1 +\n.5", None),
            ("SELECT main\n.orders", None),
            ("SELECT 'a\n.tables", None),
            ("SELECT 1 /*\n.tables", None),
            (".tables", None),
        ] {
            assert_eq!(last_line(text), found, "{text}");
        }
    }

    #[test]
    fn fingers_find_their_commands() {
        for (typed, meant) in [
            (".q", "quit"),
            (".tab", "tables"),
            (".sch", "schema"),
            (".h", "help"),
            (".indices", "indexes"),
            (".ex", "exit"),
            (".parameter", "param"),
            (".header", "headers"),
        ] {
            assert_eq!(find(typed).map(|c| c.name), Some(meant), "{typed}");
        }
        assert!(find(".nothing").is_none() && find(".").is_none());
    }
}
