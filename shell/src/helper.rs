//! What the line editor asks while one types: is it complete, what could follow, how does it look?
use crate::{complete, lexer, open::Opened};
use rustyline::{
    Context, Helper, Hinter, Result,
    completion::Pair,
    highlight::Highlighter,
    hint::HistoryHinter,
    validate::{ValidationContext, ValidationResult, Validator},
};
use std::{borrow::Cow, cell::RefCell, rc::Rc};

#[derive(Helper, Hinter)]
pub struct Assistant {
    pub opened: Rc<RefCell<Opened>>,
    #[rustyline(Hinter)]
    hinter: HistoryHinter,
    color: bool,
}

impl Assistant {
    pub fn new(opened: Rc<RefCell<Opened>>, color: bool) -> Self {
        Assistant { opened, hinter: HistoryHinter::new(), color }
    }
}

impl rustyline::completion::Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        Ok(complete::complete(&self.opened.borrow().db, line, pos))
    }
}

impl Validator for Assistant {
    fn validate(&self, ctx: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        let text = ctx.input();
        let whole = text.trim().is_empty() || text.trim_start().starts_with('.') || lexer::complete(text);
        Ok(if whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Highlighter for Assistant {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.color { Cow::Owned(format!("\x1b[2m{hint}\x1b[0m")) } else { Cow::Borrowed(hint) }
    }
}
