//! A small lexer of SQLite's SQL, for what the shell needs: where a statement ends, colours, completion.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Space,
    Comment,
    /// A bare word: keyword, name or function.
    Word,
    /// `"a"`, `[a]` or `` `a` ``.
    Quoted,
    /// `'text'`; also the body of a blob.
    Text,
    Number,
    /// `?1`, `:a`, `@a`, `$a`
    Param,
    Semicolon,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
    /// False where a quote or comment is still open at the end of the text.
    pub closed: bool,
}

impl Token {
    pub fn text<'s>(&self, sql: &'s str) -> &'s str {
        &sql[self.start..self.end]
    }
}

fn word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'$' || b >= 0x80
}

/// The tokens of `sql` from byte `at` on, which must be the start of a token.
pub fn tokens_from(sql: &str, mut at: usize) -> impl Iterator<Item = Token> + '_ {
    std::iter::from_fn(move || {
        let t = next(sql.as_bytes(), at)?;
        at = t.end;
        Some(t)
    })
}

pub fn tokens(sql: &str) -> impl Iterator<Item = Token> + '_ {
    tokens_from(sql, 0)
}

fn next(s: &[u8], start: usize) -> Option<Token> {
    let rest = &s[start..];
    let first = *rest.first()?;
    let second = rest.get(1).copied().unwrap_or(0);
    let run = |from: usize, f: &dyn Fn(u8) -> bool| rest[from..].iter().position(|b| !f(*b)).map_or(rest.len(), |n| from + n);
    let (kind, len, closed) = match first {
        b if b.is_ascii_whitespace() => (Kind::Space, run(1, &|b| b.is_ascii_whitespace()), true),
        b'-' if second == b'-' => (Kind::Comment, run(2, &|b| b != b'\n'), true),
        b'/' if second == b'*' => match rest[2..].windows(2).position(|w| w == b"*/") {
            Some(n) => (Kind::Comment, n + 4, true),
            None => (Kind::Comment, rest.len(), false),
        },
        b'\'' | b'"' | b'`' => {
            let kind = if first == b'\'' { Kind::Text } else { Kind::Quoted };
            let (len, closed) = quoted(rest, first);
            (kind, len, closed)
        }
        b'[' => match rest.iter().position(|b| *b == b']') {
            Some(n) => (Kind::Quoted, n + 1, true),
            None => (Kind::Quoted, rest.len(), false),
        },
        b';' => (Kind::Semicolon, 1, true),
        b'0'..=b'9' => (Kind::Number, run(1, &|b| word(b) || b == b'.'), true),
        b'.' if second.is_ascii_digit() => (Kind::Number, run(1, &word), true),
        b'?' | b':' | b'@' | b'$' | b'#' => (Kind::Param, run(1, &word), true),
        b if word(b) => (Kind::Word, run(1, &word), true),
        _ => (Kind::Other, 1, true),
    };
    Some(Token { kind, start, end: start + len, closed })
}

/// A doubled quote stands for itself.
fn quoted(s: &[u8], quote: u8) -> (usize, bool) {
    let mut at = 1;
    while at < s.len() {
        if s[at] == quote {
            if s.get(at + 1) != Some(&quote) {
                return (at + 1, true);
            }
            at += 1;
        }
        at += 1;
    }
    (s.len(), false)
}

/// SQLite's own rule for the end of a statement (`sqlite3_complete`): a semicolon, except inside a trigger, whose end is
/// `; END ;`. Fed in pieces, it reads each byte once.
#[derive(Default)]
pub struct Splitter {
    buffer: String,
    scanned: usize,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Nothing but space so far.
    #[default]
    Start,
    Normal,
    Explain,
    Create,
    Trigger,
    /// In a trigger, after a semicolon.
    Semi,
    /// In a trigger, after `; END`.
    End,
}

impl Splitter {
    /// Adds text and takes out every statement that is complete now.
    pub fn push(&mut self, text: &str) -> Vec<String> {
        self.buffer.push_str(text);
        let (mut done, mut cut) = (vec![], 0);
        for t in tokens_from(&self.buffer, self.scanned) {
            if !t.closed {
                break;
            }
            self.scanned = t.end;
            let was = self.state;
            self.state = step(was, t.kind, t.text(&self.buffer));
            if self.state == State::Start && t.kind == Kind::Semicolon {
                if was != State::Start {
                    done.push(self.buffer[cut..t.end].trim_start().to_owned());
                }
                cut = t.end;
            }
        }
        self.buffer.drain(..cut);
        self.scanned -= cut;
        done
    }

    /// Nothing is waiting for its semicolon.
    pub fn is_empty(&self) -> bool {
        self.state == State::Start && self.scanned == self.buffer.len()
    }

    /// What is left without a semicolon.
    pub fn rest(self) -> Option<String> {
        (!self.is_empty()).then_some(self.buffer)
    }
}

fn step(state: State, kind: Kind, text: &str) -> State {
    let is = |w: &str| kind == Kind::Word && text.eq_ignore_ascii_case(w);
    match (state, kind) {
        (_, Kind::Space | Kind::Comment) => state,
        (State::Trigger | State::Semi, Kind::Semicolon) => State::Semi,
        (_, Kind::Semicolon) => State::Start,
        (State::Semi, _) if is("END") => State::End,
        (State::Trigger | State::Semi | State::End, _) => State::Trigger,
        (State::Start, _) if is("EXPLAIN") => State::Explain,
        (State::Explain, _) if is("QUERY") || is("PLAN") => State::Explain,
        (State::Start | State::Explain, _) if is("CREATE") => State::Create,
        (State::Create, _) if is("TEMP") || is("TEMPORARY") => State::Create,
        (State::Create, _) if is("TRIGGER") => State::Trigger,
        _ => State::Normal,
    }
}

/// Whether `sql` can be run as it stands: every statement in it has its semicolon.
pub fn complete(sql: &str) -> bool {
    let mut s = Splitter::default();
    s.push(sql);
    s.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_where_sqlite_says() {
        for (sql, whole) in [
            ("SELECT 1;", true),
            ("SELECT 1", false),
            ("SELECT ';", false),
            ("SELECT ';';", true),
            ("SELECT \"a;", false),
            ("SELECT 1; -- ;", true),
            ("SELECT 1 -- ;", false),
            ("SELECT 1 /* ; ", false),
            ("/* only a comment */", true),
            ("CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1;", false),
            ("CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END", false),
            ("CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END;", true),
            ("explain query plan create trigger t after insert on a begin select 1;", false),
            ("CREATE TABLE trigger_log(x);", true),
            ("SELECT 'it''s';", true),
            ("SELECT [a;b];", true),
            (";;", true),
        ] {
            assert_eq!(complete(sql), whole, "{sql}");
        }
    }

    #[test]
    fn pieces_give_the_same_as_the_whole() {
        let sql = "SELECT 'a;\n;b';\nCREATE TRIGGER t AFTER INSERT ON a BEGIN\n SELECT 1;\nEND;\n-- end;\nSELECT 2";
        let mut whole = Splitter::default();
        let all = whole.push(sql);
        let (mut piecewise, mut parts) = (Splitter::default(), vec![]);
        for line in sql.split_inclusive('\n') {
            parts.extend(piecewise.push(line));
        }
        assert_eq!(all.len(), 2);
        assert_eq!(all, parts);
        assert_eq!(whole.rest().map(|r| r.trim_start().to_owned()), piecewise.rest().map(|r| r.trim_start().to_owned()));
    }

    #[test]
    fn every_byte_belongs_to_one_token() {
        for sql in ["SELECT x'00', 1.5e3, .5, ?1, :a FROM \"t\" WHERE é = 'ü' -- c", "\u{0}\u{1b}[31m", "'", "/*", "€;"] {
            let mut at = 0;
            for t in tokens(sql) {
                assert_eq!(t.start, at);
                assert!(t.end > at && sql.is_char_boundary(t.end), "{sql}");
                at = t.end;
            }
            assert_eq!(at, sql.len());
        }
    }
}
