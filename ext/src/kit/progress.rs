//! One long statement on a connection of ours, which the host's Ctrl-C would not reach.
#![allow(unsafe_code)]
use super::caught;
use crate::error::{Error, Result};
use rusqlite::{Connection, ffi};
use std::ffi::{c_int, c_void};

/// Steps of SQLite's machine between two looks: a few thousand rows.
const STEPS: c_int = 10_000;

struct Watch<'t> {
    tick: &'t mut dyn FnMut() -> Result<()>,
    stopped: Option<Error>,
}

/// Runs `body`, and `tick` from time to time while a statement of `db` runs; an error of `tick` ends the statement.
/// A host whose SQLite lacks progress callbacks runs `body` all the same.
pub fn watched<T>(db: &Connection, tick: &mut dyn FnMut() -> Result<()>, body: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut watch = Watch { tick, stopped: None };
    let data = (&raw mut watch).cast::<c_void>();
    // SAFETY: the handle is open; `watch` outlives the callback, which is taken away below. A slot the host left out
    // panics in the binding, before any call.
    let _ = caught(|| unsafe { ffi::sqlite3_progress_handler(db.handle(), STEPS, Some(look), data) });
    let out = caught(body);
    // SAFETY: as above.
    let _ = caught(|| unsafe { ffi::sqlite3_progress_handler(db.handle(), 0, None, std::ptr::null_mut()) });
    let out = out.unwrap_or_else(|what| Err(Error::internal(what)));
    match (out, watch.stopped) {
        (Err(_), Some(stopped)) => Err(stopped),
        (out, _) => out,
    }
}

unsafe extern "C" fn look(data: *mut c_void) -> c_int {
    // SAFETY: `watched` keeps it alive, and nobody else touches it while a statement runs.
    let watch = unsafe { &mut *data.cast::<Watch<'_>>() };
    match caught(|| (watch.tick)()) {
        Ok(Ok(())) => 0,
        Ok(Err(e)) => {
            watch.stopped = Some(e);
            1
        }
        Err(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_long_statement_is_stopped() {
        let db = Connection::open_in_memory().unwrap();
        let mut looks = 0;
        let mut tick = || {
            looks += 1;
            if looks < 3 { Ok(()) } else { Err(Error::new(Kind::Interrupted, "stop")) }
        };
        let long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        let e = watched(&db, &mut tick, || Ok(db.query_row(long, [], |r| r.get::<_, i64>(0))?)).unwrap_err();
        assert_eq!((e.kind, looks), (Kind::Interrupted, 3));
        assert_eq!(watched(&db, &mut || Ok(()), || Ok(db.query_row("SELECT 7", [], |r| r.get::<_, i64>(0))?)).unwrap(), 7);
    }
}
