//! SQLite's own file object of a connection: bytes of the database, of its WAL and of the wal-index, under SQLite's own locks.
//!
//! A descriptor of ours would drop the process's POSIX locks when it is closed; this one is SQLite's. Pointers are asked for
//! at each call and never kept, so that nothing a caller does to the connection can leave one dangling.
#![allow(unsafe_code)]
use super::caught;
use rusqlite::{Connection, ffi};
use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};

/// Bytes of one region of the wal-index.
pub const REGION: usize = 32768;

/// Which file of the database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Database,
    Wal,
}

/// What a schema's transaction is at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transaction {
    None,
    Read,
    Write,
}

/// None where the host's SQLite does not say.
pub fn transaction(db: &Connection, schema: &str) -> Option<Transaction> {
    let name = CString::new(schema).ok()?;
    // SAFETY: the handle is open while `db` is borrowed. A slot the host left out panics in the binding, before any call.
    match caught(|| unsafe { ffi::sqlite3_txn_state(db.handle(), name.as_ptr()) }).ok()? {
        ffi::SQLITE_TXN_NONE => Some(Transaction::None),
        ffi::SQLITE_TXN_READ => Some(Transaction::Read),
        ffi::SQLITE_TXN_WRITE => Some(Transaction::Write),
        _ => None,
    }
}

/// The VFS below `schema`; names of stacked ones are joined by `/`.
pub fn vfs_name(db: &Connection, schema: &str) -> Option<String> {
    let p = control(db, schema, ffi::SQLITE_FCNTL_VFSNAME, ptr::null_mut::<c_char>())?;
    if p.is_null() {
        return None;
    }
    // SAFETY: SQLite gives a C string made by its own malloc, and leaves it to us.
    unsafe {
        let name = CStr::from_ptr(p).to_string_lossy().into_owned();
        ffi::sqlite3_free(p.cast());
        Some(name)
    }
}

/// Whether the file was renamed or removed under the open connection. None where the VFS cannot tell.
pub fn has_moved(db: &Connection, schema: &str) -> Option<bool> {
    control(db, schema, ffi::SQLITE_FCNTL_HAS_MOVED, 0 as c_int).map(|v| v != 0)
}

/// Whether `schema` was opened by a URI with this parameter (`nolock`, `immutable`) switched on.
pub fn uri_flag(db: &Connection, schema: &str, parameter: &str) -> Option<bool> {
    let (schema, parameter) = (CString::new(schema).ok()?, CString::new(parameter).ok()?);
    // SAFETY: the file name SQLite gives is of the kind uri_boolean asks for; NULL for a temporary database is tested.
    caught(|| unsafe {
        let file = ffi::sqlite3_db_filename(db.handle(), schema.as_ptr());
        !file.is_null() && ffi::sqlite3_uri_boolean(file, parameter.as_ptr(), 0) != 0
    })
    .ok()
}

/// What the layer below says of the disk that holds `main`: SQLITE_IOCAP_… bits.
pub fn characteristics(db: &Connection) -> Option<c_int> {
    let file = file_of(db, Part::Database)?;
    // SAFETY: `file_of` gives an open file, whose methods are static.
    unsafe { Some(((*(*file).pMethods).xDeviceCharacteristics?)(file)) }
}

/// Fills `into` from offset `at` of the file; the error is SQLite's code.
///
/// The caller's transaction must keep others from writing there; the bytes are whatever the file holds.
pub fn read(db: &Connection, part: Part, at: u64, into: &mut [u8]) -> Result<(), i32> {
    const MISUSE: i32 = ffi::SQLITE_MISUSE;
    let file = file_of(db, part).ok_or(MISUSE)?;
    let (n, at) = (c_int::try_from(into.len()).map_err(|_| MISUSE)?, i64::try_from(at).map_err(|_| MISUSE)?);
    // SAFETY: `file_of` gives an open file; `into` holds `n` bytes; nothing runs on the connection in between.
    let rc = unsafe {
        let read = (*(*file).pMethods).xRead.ok_or(MISUSE)?;
        read(file, into.as_mut_ptr().cast(), n, at)
    };
    if rc == ffi::SQLITE_OK { Ok(()) } else { Err(rc) }
}

/// Copies words of the wal-index, from word `from` of region `region`, each loaded by itself with acquire ordering.
///
/// None where there is no wal-index: another journal mode, no shared memory, read-only sharing.
pub fn wal_index(db: &Connection, region: u32, from: usize, into: &mut [u32]) -> Option<()> {
    if from.checked_add(into.len())? > REGION / 4 {
        return None;
    }
    let file = file_of(db, Part::Database)?;
    let mut p: *mut c_void = ptr::null_mut();
    // SAFETY: `file_of` gives an open file; xShmMap exists from version 2 on, and `extend` = 0 makes no new region.
    // The mapping lasts at least until the connection is used again; other processes write it, hence the atomics.
    unsafe {
        let io = &*(*file).pMethods;
        if io.iVersion < 2 || (io.xShmMap?)(file, c_int::try_from(region).ok()?, REGION as c_int, 0, &mut p) != ffi::SQLITE_OK || p.is_null() {
            return None;
        }
        let words = p.cast::<AtomicU32>().add(from);
        for (i, v) in into.iter_mut().enumerate() {
            *v = (*words.add(i)).load(Ordering::Acquire);
        }
    }
    Some(())
}

/// An open file object of `main`, valid until the connection is used again.
fn file_of(db: &Connection, part: Part) -> Option<*mut ffi::sqlite3_file> {
    let op = match part {
        Part::Database => ffi::SQLITE_FCNTL_FILE_POINTER,
        Part::Wal => ffi::SQLITE_FCNTL_JOURNAL_POINTER,
    };
    let file = control(db, "main", op, ptr::null_mut::<ffi::sqlite3_file>())?;
    // SAFETY: a pointer from SQLite is NULL or a file object, whose methods are NULL while it is closed.
    (!file.is_null() && !unsafe { (*file).pMethods }.is_null()).then_some(file)
}

fn control<T>(db: &Connection, schema: &str, op: c_int, mut v: T) -> Option<T> {
    let name = CString::new(schema).ok()?;
    // SAFETY: every caller passes the type that its operation writes.
    let rc = caught(|| unsafe { ffi::sqlite3_file_control(db.handle(), name.as_ptr(), op, (&raw mut v).cast()) }).ok()?;
    (rc == ffi::SQLITE_OK).then_some(v)
}
