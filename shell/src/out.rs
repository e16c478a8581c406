//! Where output goes: the terminal, a pager for what is longer than the terminal, a pipe, or a file the user named.
use crate::spinner::Spinner;
use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

pub struct Out {
    to: To,
    /// Whether a person waits at a terminal.
    person: bool,
    /// Only the next statement's output goes to the file.
    pub once: bool,
    /// The command long output goes through.
    pub pager: Option<String>,
    spinner: Option<Spinner>,
}

enum To {
    Stdout(BufWriter<io::Stdout>),
    File(BufWriter<File>),
    /// Kept back until it is longer than the screen.
    Page(Vec<u8>),
    Pager(BufWriter<std::process::ChildStdin>, Child),
}

fn stdout() -> To {
    To::Stdout(BufWriter::new(io::stdout()))
}

/// DBINT_PAGER, PAGER or less.
pub fn usual_pager() -> String {
    let named = |v| std::env::var(v).ok().filter(|p| !p.trim().is_empty());
    named("DBINT_PAGER").or_else(|| named("PAGER")).unwrap_or_else(|| "less".to_owned())
}

impl Out {
    pub fn new(person: bool) -> Self {
        Out { to: stdout(), person, once: false, pager: person.then(usual_pager), spinner: None }
    }

    pub fn is_terminal(&self) -> bool {
        !matches!(self.to, To::File(_)) && io::stdout().is_terminal()
    }

    pub fn send_to_file(&mut self, path: &Path, once: bool) -> io::Result<()> {
        self.to = To::File(BufWriter::new(File::create(path)?));
        self.once = once;
        Ok(())
    }

    pub fn send_to_stdout(&mut self) -> io::Result<()> {
        self.flush()?;
        self.to = stdout();
        self.once = false;
        Ok(())
    }

    /// Output of one statement starts: a spinner comes up if there is none for a while, a pager if there is much.
    pub fn begin(&mut self) {
        if self.person && matches!(self.to, To::Stdout(_)) {
            self.spinner = Spinner::new();
            if self.pager.is_some() {
                self.to = To::Page(vec![]);
            }
        }
    }

    /// Output of one statement ends; with a pager, once the reader leaves it.
    pub fn end(&mut self) -> io::Result<()> {
        self.quiet();
        match std::mem::replace(&mut self.to, stdout()) {
            To::Page(kept) => self.write_all(&kept)?,
            To::Pager(mut pipe, mut child) => {
                let flushed = pipe.flush();
                drop(pipe);
                child.wait()?;
                flushed.or_else(closed)?;
            }
            To::File(f) if !self.once => self.to = To::File(f),
            To::File(mut f) => {
                f.flush()?;
                self.once = false;
            }
            other => self.to = other,
        }
        self.flush()
    }

    pub fn quiet(&mut self) {
        self.spinner = None;
    }

    /// Whether a closed pipe means that the reader left the pager, not that our output is gone.
    pub fn is_paging(&self) -> bool {
        matches!(self.to, To::Pager(..))
    }

    /// Starts the pager with what was kept back, or does without where it cannot start.
    fn page(&mut self) -> io::Result<()> {
        let To::Page(kept) = std::mem::replace(&mut self.to, stdout()) else { return Ok(()) };
        let command = self.pager.clone().unwrap_or_default();
        let mut words = command.split_whitespace();
        let mut start = Command::new(words.next().unwrap_or_default());
        start.args(words).stdin(Stdio::piped());
        if std::env::var_os("LESS").is_none() {
            // Leave if it fits, keep colours, leave the screen as it is; the lines of a table are cut, others are wrapped.
            let table = String::from_utf8_lossy(&kept).trim_start_matches(['\x1b', '[', '2', 'm']).starts_with(['╭', '+', '|']);
            start.env("LESS", if table { "-FRSX" } else { "-FRX" });
        }
        match start.spawn() {
            Ok(mut child) => {
                if let Some(pipe) = child.stdin.take() {
                    self.to = To::Pager(BufWriter::new(pipe), child);
                }
            }
            Err(_) => self.pager = None,
        }
        self.write_all(&kept)
    }
}

/// Leaving a pager early is no failure.
fn closed(e: io::Error) -> io::Result<()> {
    if e.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(e) }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.quiet();
        match &mut self.to {
            To::Stdout(w) => w.write(bytes),
            To::File(w) => w.write(bytes),
            To::Pager(w, _) => w.write(bytes),
            To::Page(kept) => {
                kept.extend_from_slice(bytes);
                let lines = kept.iter().filter(|b| **b == b'\n').count();
                let height = terminal_size::terminal_size().map_or(24, |(_, h)| usize::from(h.0));
                if lines >= height {
                    self.page()?;
                }
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::Stdout(w) => w.flush(),
            To::File(w) => w.flush(),
            To::Pager(w, _) => w.flush(),
            To::Page(_) => Ok(()),
        }
    }
}
