//! The words of a SQL text, for the few facts SQLite keeps only as text: CHECK constraints, the terms of an index.
use super::ident::same;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A keyword or a bare name.
    Word,
    /// A name in "", [] or ``.
    Quoted,
    /// A text or blob literal.
    Text,
    Number,
    /// One character of punctuation.
    Mark,
}

#[derive(Clone, Copy, Debug)]
pub struct Token<'s> {
    pub kind: Kind,
    pub text: &'s str,
    /// Where it begins in the SQL.
    pub at: usize,
}

impl<'s> Token<'s> {
    pub fn is(&self, word: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Mark) && same(self.text, word)
    }

    pub fn end(&self) -> usize {
        self.at + self.text.len()
    }

    /// The name a word or quoted name stands for.
    pub fn name(&self) -> Option<String> {
        let inner = || self.text.get(1..self.text.len().saturating_sub(1)).unwrap_or_default();
        match self.kind {
            Kind::Word => Some(self.text.to_owned()),
            Kind::Quoted if self.text.starts_with('"') => Some(inner().replace("\"\"", "\"")),
            Kind::Quoted if self.text.starts_with('`') => Some(inner().replace("``", "`")),
            Kind::Quoted => Some(inner().to_owned()),
            _ => None,
        }
    }
}

/// Splits a SQL text; comments and space are left out. Never fails: what is not closed goes to the end.
pub fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut all = vec![];
    let mut at = 0;
    while let Some(rest) = sql.get(at..).filter(|r| !r.is_empty()) {
        let (kind, len) = one(rest);
        if let (Some(kind), Some(text)) = (kind, rest.get(..len)) {
            all.push(Token { kind, text, at });
        }
        at += len;
    }
    all
}

/// Kind and length of what `s` begins with; no kind for space and comments.
fn one(s: &str) -> (Option<Kind>, usize) {
    let until = |end: &str, from: usize| s.get(from..).and_then(|r| r.find(end)).map_or(s.len(), |i| from + i + end.len());
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
    let run = |f: &dyn Fn(char) -> bool| s.find(|c| !f(c)).unwrap_or(s.len());
    let Some(first) = s.chars().next() else { return (None, 0) };
    match first {
        _ if s.starts_with("--") => (None, until("\n", 2)),
        _ if s.starts_with("/*") => (None, until("*/", 2)),
        c if c.is_ascii_whitespace() => (None, run(&|c| c.is_ascii_whitespace())),
        '\'' => (Some(Kind::Text), quoted(s, '\'')),
        '"' | '`' => (Some(Kind::Quoted), quoted(s, first)),
        '[' => (Some(Kind::Quoted), until("]", 1)),
        'x' | 'X' if s.get(1..2) == Some("'") => (Some(Kind::Text), until("'", 2)),
        c if c.is_ascii_digit() => (Some(Kind::Number), run(&|c| c.is_ascii_alphanumeric() || c == '.')),
        c if word(c) => (Some(Kind::Word), run(&word)),
        c => (Some(Kind::Mark), c.len_utf8()),
    }
}

/// Length of a quoted text in which the quote is doubled.
fn quoted(s: &str, quote: char) -> usize {
    let mut chars = s.char_indices().skip(1).peekable();
    while let Some((i, c)) = chars.next() {
        if c == quote && chars.next_if(|(_, n)| *n == quote).is_none() {
            return i + 1;
        }
    }
    s.len()
}

/// The parts between commas of the first `(…)` at or after token `from`, and the number of the token after it.
fn list<'s>(sql: &'s str, all: &[Token<'s>], from: usize) -> (Vec<&'s str>, usize) {
    let Some(open) = all.iter().skip(from).position(|t| t.is("(")).map(|i| i + from) else { return (vec![], all.len()) };
    let mut parts = vec![];
    let mut depth = 0;
    let mut start = all.get(open).map_or(0, Token::end);
    for (i, t) in all.iter().enumerate().skip(open) {
        match t.text {
            "(" if t.kind == Kind::Mark => depth += 1,
            ")" if t.kind == Kind::Mark => depth -= 1,
            _ => {}
        }
        if depth == 0 || depth == 1 && t.is(",") {
            parts.push(sql.get(start..t.at).unwrap_or_default().trim());
            start = t.end();
        }
        if depth == 0 {
            return (parts, i + 1);
        }
    }
    (parts, all.len())
}

/// The expressions of all CHECK constraints of a CREATE TABLE text.
pub fn checks(sql: &str) -> Vec<&str> {
    let all = tokens(sql);
    let mut depth = 0;
    let mut found = vec![];
    for (i, t) in all.iter().enumerate() {
        match t.text {
            "(" if t.kind == Kind::Mark => depth += 1,
            ")" if t.kind == Kind::Mark => depth -= 1,
            _ if depth == 1 && t.is("CHECK") && all.get(i + 1).is_some_and(|n| n.is("(")) => {
                let (_, after) = list(sql, &all, i + 1);
                let (open, close) = (all.get(i + 1), all.get(after - 1));
                if let (Some(open), Some(close)) = (open, close) {
                    found.extend(sql.get(open.end()..close.at).map(str::trim));
                }
            }
            _ => {}
        }
    }
    found
}

/// The column and constraint definitions of a CREATE TABLE text; empty for CREATE TABLE … AS.
pub fn definitions(sql: &str) -> Vec<&str> {
    list(sql, &tokens(sql), 0).0
}

/// Terms and WHERE condition of a CREATE INDEX text; ASC and DESC are taken off.
pub fn index(sql: &str) -> (Vec<&str>, Option<&str>) {
    let all = tokens(sql);
    let Some(on) = all.iter().position(|t| t.is("ON")) else { return (vec![], None) };
    let (terms, after) = list(sql, &all, on + 1);
    let condition = all.get(after).filter(|t| t.is("WHERE")).and_then(|t| sql.get(t.end()..)).map(str::trim);
    (terms.into_iter().map(without_order).collect(), condition)
}

fn without_order(term: &str) -> &str {
    match tokens(term).last() {
        Some(t) if t.is("ASC") || t.is("DESC") => term.get(..t.at).unwrap_or(term).trim(),
        _ => term,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_checks_and_index_terms() {
        let sql = "CREATE TABLE \"a(b\"(x TEXT CHECK(x <> ')' AND (x) != ''), -- CHECK(no)\n y DEFAULT (1), CONSTRAINT c CHECK ( y > 0 ) /* CHECK(no) */)";
        assert_eq!(checks(sql), ["x <> ')' AND (x) != ''", "y > 0"]);
        let sql = "CREATE UNIQUE INDEX i ON t(a COLLATE NOCASE DESC, lower(b, ','), \"d e\" ASC) WHERE a > 'WHERE'";
        assert_eq!(index(sql), (vec!["a COLLATE NOCASE", "lower(b, ',')", "\"d e\""], Some("a > 'WHERE'")));
        assert_eq!(definitions("CREATE TABLE t(a, b INT, PRIMARY KEY(a, b))"), ["a", "b INT", "PRIMARY KEY(a, b)"]);
        assert_eq!(tokens("[a b]`c``d`'it''s'x'00'1.5e3é").iter().map(|t| t.text).collect::<Vec<_>>(), ["[a b]", "`c``d`", "'it''s'", "x'00'", "1.5e3", "é"]);
        assert_eq!(tokens("`c``d`")[0].name().as_deref(), Some("c`d"));
    }

    #[test]
    fn unclosed_text_ends_at_the_end() {
        for broken in ["'abc", "\"abc", "[abc", "/* abc", "-- abc", "(((", "CHECK(", "CREATE INDEX i ON t(a", "x'", "CHECK"] {
            tokens(broken);
            checks(broken);
            index(broken);
            definitions(broken);
        }
    }
}
