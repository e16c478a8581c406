//! Where output goes: the terminal or a pipe, or a file the user named.
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

pub struct Out {
    to: To,
    /// Whether a person waits at a terminal.
    person: bool,
    /// Only the next statement's output goes to the file.
    pub once: bool,
    spinner: Option<Spinner>,
}

enum To {
    Stdout(BufWriter<io::Stdout>),
    File(BufWriter<File>),
}

impl Out {
    pub fn new(person: bool) -> Self {
        Out { to: To::Stdout(BufWriter::new(io::stdout())), person, once: false, spinner: None }
    }

    pub fn is_terminal(&self) -> bool {
        matches!(self.to, To::Stdout(_)) && io::stdout().is_terminal()
    }

    pub fn to_file(&mut self, path: &Path, once: bool) -> io::Result<()> {
        self.to = To::File(BufWriter::new(File::create(path)?));
        self.once = once;
        Ok(())
    }

    pub fn to_stdout(&mut self) -> io::Result<()> {
        self.flush()?;
        self.to = To::Stdout(BufWriter::new(io::stdout()));
        self.once = false;
        Ok(())
    }

    /// A spinner comes up if nothing is written for a while.
    pub fn expect(&mut self) {
        if self.person && io::stderr().is_terminal() {
            self.spinner = Some(Spinner::start());
        }
    }

    pub fn quiet(&mut self) {
        self.spinner = None;
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.quiet();
        match &mut self.to {
            To::Stdout(w) => w.write(bytes),
            To::File(w) => w.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::Stdout(w) => w.flush(),
            To::File(w) => w.flush(),
        }
    }
}

/// Shown on stderr from half a second on, with the time; gone when dropped.
struct Spinner {
    stop: mpsc::Sender<()>,
    thread: Option<thread::JoinHandle<()>>,
}

const PATIENCE: Duration = Duration::from_millis(500);

impl Spinner {
    fn start() -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            if stopped.recv_timeout(PATIENCE) != Err(mpsc::RecvTimeoutError::Timeout) {
                return;
            }
            let bar = ProgressBar::new_spinner().with_elapsed(PATIENCE);
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} · Ctrl-C cancels") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            // Until the sender is dropped or says so.
            let _ = stopped.recv();
            bar.finish_and_clear();
        });
        Spinner { stop, thread: Some(thread) }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        // The thread may be gone already.
        let _ = self.stop.send(());
        if let Some(t) = self.thread.take() {
            let _ = t.join();
        }
    }
}
