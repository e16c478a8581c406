//! The C entry point SQLite calls on `.load`.
#![allow(unsafe_code)]
use rusqlite::{Connection, ffi};
use std::ffi::{CString, c_char, c_int};

/// Oldest host the bindings accept (3.34.1); rusqlite aborts the process below it, so we refuse first.
const MIN_HOST: c_int = ffi::SQLITE_VERSION_NUMBER;

/// # Safety
/// Called by SQLite's extension loader with the arguments it documents.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sqlite3_dbint_init(db: *mut ffi::sqlite3, err: *mut *mut c_char, api: *mut ffi::sqlite3_api_routines) -> c_int {
    // SAFETY: SQLite passes a valid api table, of which only slots of 3.0 and 3.8 are read here.
    unsafe {
        let Some(routines) = api.as_ref() else { return ffi::SQLITE_ERROR };
        let host = routines.libversion_number.map_or(0, |f| f());
        if host < MIN_HOST {
            if let (Some(mprintf), false, Ok(text)) = (
                routines.mprintf,
                err.is_null(),
                CString::new(format!(
                    "dbint needs SQLite {} or newer, and this program brings {}. Use a newer client, or the dbint shell, which brings its own [DBINT_UNSUPPORTED]",
                    dotted(MIN_HOST),
                    dotted(host)
                )),
            ) {
                *err = mprintf(c"%s".as_ptr(), text.as_ptr());
            }
            return ffi::SQLITE_ERROR;
        }
        crate::kit::silence_caught_panics();
        // `true`: stay loaded, so that no thread or destructor outlives our code.
        Connection::extension_init2(db, err, api, |c| {
            // A second load on one connection would fail while a statement runs ("unable to delete/modify user-function").
            if crate::kit::is_registered(&c) {
                return Ok(true);
            }
            crate::kit::guard("dbint", || Ok(crate::register(&c)?)).map(|()| true)
        })
    }
}

fn dotted(version: c_int) -> String {
    format!("{}.{}.{}", version / 1_000_000, version / 1000 % 1000, version % 1000)
}
