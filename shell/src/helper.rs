//! What the line editor asks while one types: is it complete, what could follow, how does it look?
use crate::{
    complete::{self, names},
    dot,
    lexer::{self, Kind},
    open::Opened,
};
use rustyline::{
    Context, Helper, Result,
    completion::{Completer, Pair},
    highlight::{CmdKind, Highlighter},
    hint::{self, Hinter, HistoryHinter},
    validate::{ValidationContext, ValidationResult, Validator},
};
use std::{borrow::Cow, cell::RefCell, rc::Rc};

#[derive(Helper)]
pub struct Assistant {
    opened: Rc<RefCell<Opened>>,
    history: HistoryHinter,
    color: bool,
}

/// Longer than anyone types: pasted text is neither coloured nor searched at each key.
const LONG: usize = 20_000;

impl Assistant {
    pub fn new(opened: Rc<RefCell<Opened>>, color: bool) -> Self {
        Assistant { opened, history: HistoryHinter::new(), color }
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        Ok(complete::complete(&self.opened.borrow().db, line, pos))
    }
}

impl Validator for Assistant {
    fn validate(&self, ctx: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        let text = ctx.input();
        let dot = text.trim_start().starts_with('.') || dot::last_line(text).is_some();
        let whole = text.trim().is_empty() || dot || lexer::complete(text);
        Ok(if whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

/// What stands dim behind the cursor.
pub struct Hint {
    text: String,
    /// The arrow key takes over what history knows, not a signature.
    taken: bool,
}

impl hint::Hint for Hint {
    fn display(&self) -> &str {
        &self.text
    }

    fn completion(&self) -> Option<&str> {
        self.taken.then_some(self.text.as_str())
    }
}

impl Hinter for Assistant {
    type Hint = Hint;

    fn hint(&self, line: &str, pos: usize, ctx: &Context<'_>) -> Option<Hint> {
        if line.len() > LONG || pos < line.len() || line.trim().is_empty() {
            return None;
        }
        if line.ends_with('\n') {
            return waiting(line).map(|text| Hint { text, taken: false });
        }
        let signature = arguments_left(line, pos).or_else(|| command_takes(line)).map(|text| Hint { text, taken: false });
        // A hint of several lines would push the prompt about.
        let known = || self.history.hint(line, pos, ctx).filter(|h| !h.contains('\n')).map(|text| Hint { text, taken: true });
        signature.or_else(known)
    }
}

/// On a new line: why the statement did not run.
fn waiting(line: &str) -> Option<String> {
    let last = lexer::tokens(line).last()?;
    let text = last.text(line);
    Some(match last.kind {
        Kind::Comment if !last.closed => "/* is still open; Ctrl-C discards".to_owned(),
        _ if !last.closed => format!("{} is still open; Ctrl-C discards", text.get(..1)?),
        _ => "; runs it, Ctrl-C discards".to_owned(),
    })
}

/// `target [, options])` behind `sync_table('t', `
fn arguments_left(line: &str, pos: usize) -> Option<String> {
    if !line.trim_end().ends_with(['(', ',']) {
        return None;
    }
    let place = complete::at(line, pos);
    let (name, n) = place.call.filter(|_| !place.in_text)?;
    let left = complete::arguments(&name)?.get(n..)?;
    let text = dbint::kit::signature("", left);
    let gap = if line.ends_with(',') { " " } else { "" };
    Some(gap.to_owned() + text.trim_start_matches('('))
}

/// What a dot command takes, behind its name and a space.
fn command_takes(line: &str) -> Option<String> {
    let name = line.trim_start().strip_prefix('.')?.strip_suffix(' ')?;
    dot::COMMANDS.iter().find(|c| c.name == name && !c.args.is_empty()).map(|c| c.args.to_owned())
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if !self.color || line.len() > LONG || line.trim_start().starts_with('.') {
            return Cow::Borrowed(line);
        }
        Cow::Owned(painted(line))
    }

    fn highlight_char(&self, line: &str, _: usize, _: CmdKind) -> bool {
        self.color && line.len() <= LONG
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        if self.color { Cow::Owned(format!("\x1b[1;36m{prompt}\x1b[0m")) } else { Cow::Borrowed(prompt) }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.color { Cow::Owned(format!("\x1b[2m{hint}\x1b[0m")) } else { Cow::Borrowed(hint) }
    }
}

pub fn painted(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() * 2);
    for t in lexer::tokens(sql) {
        let text = t.text(sql);
        let style = match t.kind {
            Kind::Word if sql[t.end..].trim_start().starts_with('(') && complete::arguments(text).is_some() => "1;36",
            Kind::Word if names::is_keyword(text) => "1;34",
            Kind::Text if !t.closed => "33",
            Kind::Text => "32",
            Kind::Number => "35",
            Kind::Comment => "2",
            Kind::Param => "33",
            _ => {
                out.push_str(text);
                continue;
            }
        };
        out.extend(["\x1b[", style, "m", text, "\x1b[0m"]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_change_no_letter() {
        let sql = "SELECT 'a', 1.5, dbint_set('x', :v) -- end";
        let plain = painted(sql).split('\x1b').map(|p| p.split_once('m').filter(|(a, _)| a.starts_with('[')).map_or(p, |(_, b)| b)).collect::<String>();
        assert_eq!(plain, sql);
    }

    #[test]
    fn a_new_line_tells_what_is_waited_for() {
        assert_eq!(waiting("SELECT 'a;\n").as_deref(), Some("' is still open; Ctrl-C discards"));
        assert_eq!(waiting("SELECT [a\n").as_deref(), Some("[ is still open; Ctrl-C discards"));
        assert_eq!(waiting("SELECT 1\n").as_deref(), Some("; runs it, Ctrl-C discards"));
    }

    #[test]
    fn a_call_shows_the_arguments_that_are_left() {
        let hint = |s: &str| arguments_left(s, s.len());
        assert_eq!(hint("SELECT dbint_set(").as_deref(), Some("key, value)"));
        assert_eq!(hint("SELECT dbint_set('a',").as_deref(), Some(" value)"));
        assert_eq!(hint("SELECT dbint_set('a'"), None);
        assert_eq!(hint("SELECT abs("), None);
    }
}
