//! A panic in a callback would abort the host process: here it becomes an error.
use crate::error::{Error, Kind, Result};
use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
};

thread_local!(static GUARDED: Cell<u32> = const { Cell::new(0) });

/// Runs `body`; an error or a panic comes back as `name: … [DBINT_…]`.
pub fn guard<T>(name: &str, body: impl FnOnce() -> Result<T>) -> rusqlite::Result<T> {
    caught(body).unwrap_or_else(|what| Err(Error::new(Kind::Internal, format!("internal error: {what}")))).map_err(|e| {
        let text = if name.is_empty() { e.to_string() } else { format!("{name}: {e}") };
        rusqlite::Error::UserFunctionError(text.into())
    })
}

/// The same for a virtual table, whose error SQLite shows from another place.
pub fn guard_table<T>(name: &str, body: impl FnOnce() -> Result<T>) -> rusqlite::Result<T> {
    guard(name, body).map_err(|e| rusqlite::Error::ModuleError(e.to_string()))
}

/// `Err` holds the panic's message.
pub fn caught<T>(body: impl FnOnce() -> T) -> std::result::Result<T, String> {
    GUARDED.set(GUARDED.get() + 1);
    let out = catch_unwind(AssertUnwindSafe(body)).map_err(|p| {
        let text = p.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| p.downcast_ref::<String>().cloned());
        // A payload whose own Drop panics must not get through either.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(p)));
        text.unwrap_or_else(|| "panic".into())
    });
    GUARDED.set(GUARDED.get() - 1);
    out
}

#[cfg(test)]
thread_local!(pub static PANIC_AT: Cell<&'static str> = const { Cell::new("") });

/// Where a unit test forces a panic: each callback passes here, and in the product nothing happens.
#[inline(always)]
pub(super) fn trip(_callback: &str) {
    #[cfg(test)]
    if PANIC_AT.get() == _callback {
        panic!("forced in {_callback}");
    }
}

/// Keeps a caught panic from printing a trace into the host's terminal.
///
/// For those who own their copy of Rust's runtime: the loadable library (its copy is private to it, so the
/// hook is invisible to the host) and the shell. Never called by the library when it is linked into a program.
pub fn silence_caught_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if GUARDED.get() == 0 {
                usual(info);
            }
        }));
    });
}
