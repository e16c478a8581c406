//! What could stand at the cursor.
mod context;
pub mod names;

pub use context::{Place, at};

use crate::dot;
use dbint::kit::{Arg, Type};
use rusqlite::Connection;
use rustyline::completion::{FilenameCompleter, Pair};
use std::collections::HashSet;

/// The start of the word at the cursor, and what may stand in its place.
pub fn complete(db: &Connection, line: &str, pos: usize) -> (usize, Vec<Pair>) {
    let before = &line[..pos];
    if before.trim_start().starts_with('.') { dot_command(db, before) } else { sql(db, line, pos) }
}

/// The arguments of a function or table of dbint.
pub fn arguments(name: &str) -> Option<&'static [Arg]> {
    let functions = dbint::ROOMS.iter().flat_map(|r| r.functions).map(|f| (f.name, f.args));
    let tables = dbint::ROOMS.iter().flat_map(|r| r.tables).map(|t| (t.name, t.args));
    functions.chain(tables).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, args)| args)
}

fn fitting(prefix: &str, candidates: impl IntoIterator<Item = String>) -> Vec<String> {
    let fits = |c: &String| c.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let mut seen = HashSet::new();
    candidates.into_iter().filter(fits).filter(|c| seen.insert(c.clone())).collect()
}

fn pairs(prefix: &str, candidates: impl IntoIterator<Item = String>) -> Vec<Pair> {
    fitting(prefix, candidates).into_iter().map(|c| Pair { display: c.trim_end().to_owned(), replacement: c }).collect()
}

/// Files below what has been typed; `break_at` is where the path starts.
fn files(before: &str, start: usize) -> Vec<Pair> {
    let path = &before[start..];
    let (at, found) = FilenameCompleter::new().complete_path_unsorted(path, path.len()).unwrap_or_default();
    let found = found.into_iter().filter(|p| !p.display.ends_with("-wal") && !p.display.ends_with("-shm"));
    let mut all: Vec<Pair> = found.map(|p| Pair { display: p.display, replacement: format!("{}{}", &path[..at], p.replacement) }).collect();
    all.sort_by(|a, b| a.display.cmp(&b.display));
    all
}

fn dot_command(db: &Connection, before: &str) -> (usize, Vec<Pair>) {
    let start = before.rfind(char::is_whitespace).map_or(before.len() - before.trim_start().len(), |i| i + 1);
    let word = &before[start..];
    let Some((command, args)) = before.trim_start().split_once(char::is_whitespace) else {
        return (start, pairs(word, dot::COMMANDS.iter().map(|c| format!(".{} ", c.name))));
    };
    if let (Some(service), Some(at)) = (dot::find(command).and_then(|c| dot::Service::of(c.name)), dot::options_at(args)) {
        let last = arguments(service.function(&args[..at])).and_then(<[Arg]>::last);
        return last.map_or((start, vec![]), |arg| option_keys(before, before.len() - args.len() + at, arg));
    }
    let kinds = dot::find(command).map_or(&[][..], |c| c.completes);
    let nth = args.split_whitespace().count() - usize::from(!word.is_empty());
    // Where another argument follows, so does a space.
    let gap = if nth + 1 < kinds.len() { " " } else { "" };
    let spaced = |names: Vec<String>| names.into_iter().map(|n| n + gap).collect::<Vec<_>>();
    let found = match kinds.get(nth).or(kinds.last()) {
        Some(dot::Completes::Files) => files(before, start),
        Some(dot::Completes::Tables) => pairs(word, spaced(names::own_tables(db))),
        Some(dot::Completes::Databases) => databases(db, before, start),
        Some(dot::Completes::Words(words)) => pairs(word, words.iter().map(|w| (*w).to_owned())),
        Some(dot::Completes::Help) => {
            let ours = names::list(db, "SELECT name FROM dbint_functions UNION SELECT room FROM dbint_functions", &[]);
            pairs(word, dot::COMMANDS.iter().map(|c| format!(".{}", c.name)).chain(ours))
        }
        None => vec![],
    };
    (start, found)
}

fn databases(db: &Connection, before: &str, start: usize) -> Vec<Pair> {
    let mut all = pairs(&before[start..], names::registered(db).into_iter().chain(names::schemas(db)));
    all.extend(files(before, start));
    all
}

fn sql(db: &Connection, line: &str, pos: usize) -> (usize, Vec<Pair>) {
    let before = &line[..pos];
    let place = at(line, pos);
    let start = place.start;
    let word = &before[start..];
    if place.in_text {
        return in_text(db, before, &place);
    }
    if let Some(owner) = &place.owner {
        let mut found = names::columns(db, place.alias(owner).unwrap_or(owner));
        found.extend(names::tables_of(db, owner));
        return (start, pairs(word, found));
    }
    let after = |words: &[&str]| words.iter().any(|w| place.previous.eq_ignore_ascii_case(w));
    if after(&["FROM", "JOIN", "INTO", "UPDATE", "TABLE", "REFERENCES", "VIEW"]) {
        return (start, pairs(word, names::tables(db)));
    }
    if after(&["PRAGMA"]) {
        return (start, pairs(word, names::list(db, "SELECT name FROM pragma_pragma_list ORDER BY name", &[])));
    }
    if after(&["DETACH"]) {
        return (start, pairs(word, names::schemas(db)));
    }
    let used: Vec<String> = place.words.iter().filter(|w| !names::is_keyword(w)).flat_map(|w| names::columns(db, w)).collect();
    // Nobody has said yet which table: SELECT comes before FROM.
    let used = if used.is_empty() && !word.is_empty() { names::all_columns(db) } else { used };
    let lower = word.chars().next_back().is_some_and(char::is_lowercase);
    let keywords = names::KEYWORDS.iter().map(|k| if lower { k.to_ascii_lowercase() } else { (*k).to_owned() });
    let functions = names::functions(db).into_iter().map(|f| f + "(");
    (start, pairs(word, used.into_iter().chain(functions).chain(keywords).chain(names::tables(db))))
}

/// Inside '…': what the argument of our function means.
fn in_text(db: &Connection, before: &str, place: &Place) -> (usize, Vec<Pair>) {
    let start = place.start;
    let Some((args, n)) = place.call.as_ref().and_then(|(name, n)| Some((arguments(name)?, *n))) else { return (start, files(before, start)) };
    let word = &before[start..];
    // An object in place of an optional argument is the options.
    let arg = if word.starts_with('{') { args.last() } else { args.get(n) };
    let Some(arg) = arg else { return (start, vec![]) };
    if arg.ty == Type::Options {
        return option_keys(before, start, arg);
    }
    let found = match arg.name {
        "table" | "tables" => pairs(word, names::own_tables(db)),
        "key" => pairs(word, names::list(db, "SELECT key FROM dbint_settings", &[])),
        "schema" => pairs(word, names::schemas(db)),
        "dir" | "path" | "file" | "path_or_url" => files(before, start),
        "sql" => vec![],
        _ => databases(db, before, start),
    };
    (start, found)
}

/// Keys of an options object, at the places where a key may stand.
fn option_keys(before: &str, start: usize, arg: &Arg) -> (usize, Vec<Pair>) {
    let text = &before[start..];
    let from = text.rfind(['{', ',']).map_or(0, |i| i + 1);
    let part = &text[from..];
    let at = start + from + (part.len() - part.trim_start().len());
    let typed = before[at..].trim_start_matches('"');
    if typed.contains('"') || typed.contains(':') {
        return (at, vec![]);
    }
    let open = if text.is_empty() { "{" } else { "" };
    let keys = fitting(typed, arg.keys.iter().map(|k| k.name.to_owned()));
    (at, keys.into_iter().map(|k| Pair { display: k.clone(), replacement: format!("{open}\"{k}\": ") }).collect())
}
