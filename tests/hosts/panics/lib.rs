//! A loadable library of what panics, on dbint's kit. Only tests build it.
#![allow(unsafe_code)]
mod room;

use rusqlite::{Connection, ffi};
use std::ffi::{c_char, c_int};

/// # Safety
/// Called by SQLite's extension loader with the arguments it documents.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sqlite3_panics_init(db: *mut ffi::sqlite3, err: *mut *mut c_char, api: *mut ffi::sqlite3_api_routines) -> c_int {
    dbint::kit::silence_caught_panics();
    // SAFETY: as SQLite passed them.
    unsafe { Connection::extension_init2(db, err, api, |c| dbint::kit::register(&c, &room::ROOM).map(|()| true)) }
}
