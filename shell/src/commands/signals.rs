//! Ctrl-C and SIGTERM for commands that run for a while: the running statement is cancelled, and the command ends by itself.
use crate::error::Result;
use rusqlite::InterruptHandle;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    process::exit,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

/// Which signal came, if any.
#[derive(Clone)]
pub struct Stop(Arc<AtomicI32>);

impl Stop {
    /// From here on signals are noted, and what `handle` runs is cancelled; a third one ends the program at once.
    pub fn on_signal(handle: Option<InterruptHandle>) -> Result<Stop> {
        let stop = Stop(Arc::new(AtomicI32::new(0)));
        let seen = stop.clone();
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        std::thread::spawn(move || {
            for (n, signal) in signals.forever().enumerate() {
                seen.0.store(signal, Ordering::SeqCst);
                if let Some(h) = &handle {
                    h.interrupt();
                }
                if n >= 2 {
                    exit(128 + signal);
                }
            }
        });
        Ok(stop)
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst) != 0
    }

    /// As a shell reports a program ended by that signal: 130 for Ctrl-C, 143 for SIGTERM.
    pub fn code(&self) -> u8 {
        u8::try_from(128 + self.0.load(Ordering::SeqCst)).unwrap_or(1)
    }
}
