//! Where in a statement the cursor stands.
use crate::lexer::{self, Kind};

#[derive(Debug, Default)]
pub struct Place {
    /// Where the word at the cursor starts; inside '…', where the text starts.
    pub start: usize,
    pub in_text: bool,
    /// The word before the one at the cursor.
    pub previous: String,
    /// `t` in `t.col`
    pub owner: Option<String>,
    /// The innermost open call, and which of its arguments the cursor is in.
    pub call: Option<(String, usize)>,
    /// Every name and keyword of the statement.
    pub words: Vec<String>,
}

/// The statement is the one around `pos`; the words after it count, too: `SELECT | FROM t`.
pub fn at(line: &str, pos: usize) -> Place {
    let mut place = Place { start: pos, ..Place::default() };
    let mut calls: Vec<(Option<String>, usize)> = vec![];
    let (mut last_word, mut last_kind, mut dotted) = (None::<String>, Kind::Space, false);
    let mut owner = None;
    for t in lexer::tokens(line) {
        let text = t.text(line);
        if t.start >= pos {
            match t.kind {
                Kind::Semicolon => break,
                Kind::Word | Kind::Quoted => place.words.push(bare(text)),
                _ => {}
            }
            continue;
        }
        let at_cursor = t.end >= pos;
        match t.kind {
            Kind::Space | Kind::Comment => continue,
            Kind::Text if at_cursor && !(t.closed && t.end == pos) => {
                place.start = t.start + 1;
                place.in_text = true;
            }
            Kind::Word if at_cursor => {
                place.start = t.start;
                place.words.push(bare(text));
            }
            Kind::Word | Kind::Quoted => {
                place.words.push(bare(text));
                place.previous = bare(text);
                last_word = Some(bare(text));
                dotted = false;
            }
            Kind::Semicolon => {
                place = Place { start: pos, ..Place::default() };
                calls.clear();
            }
            Kind::Other => match text {
                "(" => calls.push((last_word.take().filter(|_| last_kind == Kind::Word), 0)),
                ")" => drop(calls.pop()),
                "," => {
                    if let Some(c) = calls.last_mut() {
                        c.1 += 1;
                    }
                    place.previous = ",".to_owned();
                }
                "." => {
                    owner = last_word.clone();
                    dotted = true;
                }
                other => place.previous = other.to_owned(),
            },
            _ => place.previous = text.to_owned(),
        }
        if t.kind != Kind::Word || !at_cursor {
            last_kind = t.kind;
        }
    }
    place.owner = owner.filter(|_| dotted && (last_kind == Kind::Other));
    place.call = calls.into_iter().rev().find_map(|(name, n)| Some((name?, n)));
    place
}

fn bare(word: &str) -> String {
    word.trim_matches(['"', '`', '[', ']']).to_owned()
}

impl Place {
    /// The table an alias stands for: `FROM orders o`, `FROM orders AS o`.
    pub fn alias(&self, name: &str) -> Option<&str> {
        let mut before: [Option<&String>; 2] = [None, None];
        for w in &self.words {
            if w.eq_ignore_ascii_case(name) {
                let table = match before {
                    [Some(t), Some(word)] if word.eq_ignore_ascii_case("AS") => Some(t),
                    [_, table] => table,
                };
                if let Some(t) = table.filter(|t| !super::names::is_keyword(t)) {
                    return Some(t);
                }
            }
            before = [before[1], Some(w)];
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `|` is the cursor.
    fn place(text: &str) -> Place {
        let pos = text.find('|').unwrap();
        at(&text.replace('|', ""), pos)
    }

    #[test]
    fn calls_and_arguments() {
        let call = |s| place(s).call;
        assert_eq!(call("SELECT sync_table(|"), Some(("sync_table".into(), 0)));
        assert_eq!(call("SELECT sync_table('a, b', '|"), Some(("sync_table".into(), 1)));
        assert_eq!(call("SELECT f(g(1, 2), (3), |"), Some(("f".into(), 2)));
        assert_eq!(call("SELECT f(1) |"), None);
        assert_eq!(call("SELECT f(1; SELECT |"), None);
        assert!(place("SELECT f('a|").in_text && !place("SELECT f('a'|").in_text);
    }

    #[test]
    fn words_around_the_cursor() {
        assert_eq!(place("SELECT x FROM t|").previous, "FROM");
        assert_eq!(place("SELECT x FROM |").previous, "FROM");
        assert_eq!(place("SELECT o.| FROM orders o").owner.as_deref(), Some("o"));
        assert_eq!(place("SELECT o.na| FROM orders AS o").owner.as_deref(), Some("o"));
        assert_eq!(place("SELECT o.name, | FROM orders o").owner, None);
        assert_eq!(place("SELECT o.name | FROM orders o").owner, None);
        assert_eq!(place("SELECT o.| FROM orders AS o").alias("o"), Some("orders"));
        assert_eq!(place("SELECT o.| FROM orders o").alias("o"), Some("orders"));
        assert_eq!(place("SELECT orders.| FROM orders").alias("orders"), None);
    }
}
