//! What could stand at the cursor.
pub mod names;

use crate::{dot, lexer};
use lexer::Kind;
use rusqlite::Connection;
use rustyline::completion::{FilenameCompleter, Pair};

/// The start of the word at the cursor, and what may stand in its place.
pub fn complete(db: &Connection, line: &str, pos: usize) -> (usize, Vec<Pair>) {
    let before = &line[..pos];
    if before.trim_start().starts_with('.') { dot_command(db, before) } else { sql(db, before) }
}

fn pairs(prefix: &str, candidates: impl IntoIterator<Item = String>) -> Vec<Pair> {
    let fits = |c: &String| c.len() >= prefix.len() && c.is_char_boundary(prefix.len()) && c[..prefix.len()].eq_ignore_ascii_case(prefix);
    let mut seen = std::collections::HashSet::new();
    candidates.into_iter().filter(fits).filter(|c| seen.insert(c.clone())).map(|c| Pair { display: c.clone(), replacement: c }).collect()
}

fn dot_command(db: &Connection, before: &str) -> (usize, Vec<Pair>) {
    let start = before.rfind(char::is_whitespace).map_or(before.len() - before.trim_start().len(), |i| i + 1);
    let word = &before[start..];
    let Some((command, _)) = before.trim_start().split_once(char::is_whitespace) else {
        return (start, pairs(word, dot::COMMANDS.iter().map(|c| format!(".{} ", c.name))));
    };
    let found = match dot::find(command).map(|c| c.completes) {
        Some(dot::Completes::Files) => FilenameCompleter::new().complete_path(before, before.len()).unwrap_or((start, vec![])),
        Some(dot::Completes::Tables) => (start, pairs(word, names::own_tables(db))),
        Some(dot::Completes::Databases) => (start, pairs(word, names::registered(db).into_iter().chain(names::schemas(db)))),
        Some(dot::Completes::Words(words)) => (start, pairs(word, words.iter().map(|w| (*w).to_owned()))),
        Some(dot::Completes::Help) => {
            let ours = names::list(db, "SELECT name FROM dbint_functions UNION SELECT room FROM dbint_functions", &[]);
            (start, pairs(word, dot::COMMANDS.iter().map(|c| format!(".{}", c.name)).chain(ours)))
        }
        Some(dot::Completes::Nothing) | None => (start, vec![]),
    };
    found
}

fn sql(db: &Connection, before: &str) -> (usize, Vec<Pair>) {
    let tokens: Vec<_> = lexer::tokens(before).filter(|t| t.kind != Kind::Comment).collect();
    let last = tokens.last().filter(|t| t.kind == Kind::Word);
    let start = last.map_or(before.len(), |t| t.start);
    let word = &before[start..];
    let earlier: Vec<_> = tokens.iter().filter(|t| t.end <= start && t.kind != Kind::Space).collect();
    let previous = earlier.last().map_or(String::new(), |t| t.text(before).to_ascii_uppercase());
    if ["FROM", "JOIN", "INTO", "UPDATE", "TABLE"].contains(&previous.as_str()) {
        return (start, pairs(word, names::tables(db)));
    }
    let used = earlier.iter().filter(|t| matches!(t.kind, Kind::Word | Kind::Quoted)).flat_map(|t| names::columns(db, t.text(before).trim_matches('"')));
    let lower = word.chars().next_back().is_some_and(char::is_lowercase);
    let keywords = names::KEYWORDS.iter().map(|k| if lower { k.to_ascii_lowercase() } else { (*k).to_owned() });
    let functions = names::functions(db).into_iter().map(|f| f + "(");
    (start, pairs(word, used.chain(functions).chain(keywords).chain(names::tables(db))))
}
