//! What one run of the shell keeps: the open database, how to print, and the switches of the dot commands.
use crate::{
    error::{self, Error, Result},
    open::{self, Opened},
    out::Out,
    render::{Format, Mode},
};
use rusqlite::types::Value;
use std::{cell::RefCell, collections::BTreeMap, io::IsTerminal, path::Path, rc::Rc, time::Duration};

/// What rusqlite sets on every connection.
const TIMEOUT: Duration = Duration::from_secs(5);

pub struct Session {
    /// Shared with completion, which looks up names between two statements.
    pub opened: Rc<RefCell<Opened>>,
    pub format: Format,
    pub out: Out,
    pub interactive: bool,
    pub timer: bool,
    /// Tell how many rows a statement changed.
    pub changes: bool,
    pub echo: bool,
    pub bail: bool,
    pub readonly: bool,
    /// How long a statement waits for a locked database.
    pub timeout: Duration,
    pub params: BTreeMap<String, Value>,
    /// Depth of `.read` inside `.read`.
    pub reading: usize,
}

/// What happens after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Go,
    /// Go on, though something failed.
    Failed,
    Leave(u8),
}

impl Session {
    pub fn new(path: Option<&Path>, readonly: bool, interactive: bool) -> Result<Session> {
        let opened = open::open(path, readonly)?;
        let terminal = std::io::stdout().is_terminal();
        let mut format = Format::new(if terminal { Mode::Box } else { Mode::List });
        format.color = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        let session = Session {
            opened: Rc::new(RefCell::new(opened)),
            format,
            out: Out::new(interactive && terminal),
            interactive,
            timer: false,
            changes: interactive,
            echo: false,
            bail: !interactive,
            readonly,
            timeout: TIMEOUT,
            params: BTreeMap::new(),
            reading: 0,
        };
        session.watch_interrupts();
        Ok(session)
    }

    /// Takes the place of the database that was open.
    pub fn open(&mut self, path: Option<&Path>) -> Result<()> {
        let opened = open::open(path, self.readonly)?;
        opened.db.busy_timeout(self.timeout)?;
        *self.opened.borrow_mut() = opened;
        self.watch_interrupts();
        Ok(())
    }

    fn watch_interrupts(&self) {
        crate::run::interrupts(self.opened.borrow().db.get_interrupt_handle());
    }

    /// The format for this very output: a terminal may have been resized.
    pub fn fitted(&self) -> Format {
        let mut f = self.format.clone();
        if self.out.is_terminal() {
            f.width = f.width.or_else(|| terminal_size::terminal_size().map(|(w, _)| usize::from(w.0)).filter(|w| *w > 0));
        } else {
            f.color = false;
        }
        f
    }

    /// Tells what went wrong, in one line on stderr.
    pub fn complain(&mut self, e: &Error) {
        self.out.quiet();
        let opened = self.opened.borrow();
        let text = error::explain(&opened.db, e);
        let new = if opened.is_fresh() && text.contains("no such table: ") { " (this database is new and empty)" } else { "" };
        let color = self.format.color && std::io::stderr().is_terminal();
        if color {
            eprintln!("\x1b[31mError:\x1b[0m {text}{new}")
        } else {
            eprintln!("Error: {text}{new}")
        }
        if self.interactive && std::io::stderr().is_terminal() {
            let width = terminal_size::terminal_size().map_or(80, |(w, _)| usize::from(w.0));
            error::pointer(e, width).iter().for_each(|p| eprintln!("{p}"));
        }
    }
}
