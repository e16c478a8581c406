//! A sign of life for what takes longer than half a second.
use std::{
    io::{self, IsTerminal, Write},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(100);
const FRAMES: [char; 8] = ['⠁', '⠃', '⠇', '⡇', '⣇', '⣧', '⣷', '⣿'];

/// Shown on stderr with the time it has taken; gone when dropped.
pub struct Spinner {
    stop: mpsc::Sender<()>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Spinner {
    /// None where nobody would see it.
    pub fn new() -> Option<Self> {
        if !io::stderr().is_terminal() {
            return None;
        }
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let (began, mut wait, mut shown) = (Instant::now(), PATIENCE, 0);
            while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                wait = TICK;
                draw(FRAMES[shown % FRAMES.len()], began.elapsed());
                shown += 1;
            }
            if shown > 0 {
                eprint!("\r\x1b[2K");
            }
        });
        Some(Spinner { stop, thread: Some(thread) })
    }
}

/// Not to the end of the line: the `^C` that the terminal echoes would begin another one, which stays.
fn draw(frame: char, time: Duration) {
    let wide = terminal_size::terminal_size().is_none_or(|(w, _)| w.0 > 32);
    let seconds = time.as_secs();
    let clock = if seconds < 60 { format!("{:.1} s", time.as_secs_f64()) } else { format!("{}:{:02} min", seconds / 60, seconds % 60) };
    let hint = if wide { " · Ctrl-C cancels" } else { "" };
    let mut err = io::stderr().lock();
    // Who cannot see it does without.
    let _ = write!(err, "\r\x1b[2K{frame} {clock}{hint}").and_then(|()| err.flush());
}

impl Drop for Spinner {
    fn drop(&mut self) {
        // The thread may have ended already.
        let _ = self.stop.send(());
        if let Some(t) = self.thread.take() {
            let _ = t.join();
        }
    }
}
