//! The first bytes of a file through SQLite's own VFS: a descriptor of ours, when closed, would drop the POSIX locks
//! that other connections of this process hold on the same file. SQLite's close keeps them.
#![allow(unsafe_code)]
use crate::error::{Error, Kind, Result};
use rusqlite::ffi;
use std::{
    ffi::{CStr, c_char, c_int},
    path::Path,
    ptr,
};

/// Reads up to `buf.len()` bytes from the start of `path`; returns how many there are, and the file's length.
pub fn peek(path: &Path, buf: &mut [u8]) -> Result<(usize, u64)> {
    let Some(text) = path.to_str().filter(|t| !t.contains('\0')) else {
        return Err(Error::unsupported("the file's name is not UTF-8"));
    };
    // Opening a pipe would wait for its writer for ever.
    if std::fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        return Err(Error::new(Kind::Io, "not a regular file"));
    }
    // SQLite looks for URI parameters behind the name and for the start of the name before it: zeros end both.
    let mut name = vec![0u8; 4];
    name.extend_from_slice(text.as_bytes());
    name.extend_from_slice(&[0; 8]);
    // SAFETY: `name` is the layout SQLite's own file names have; the file object is a zeroed, aligned buffer of the
    // size the VFS asks for, closed before it goes; reads stay inside `buf`.
    unsafe {
        let vfs = ffi::sqlite3_vfs_find(ptr::null());
        let Some(v) = vfs.as_ref() else { return Err(Error::internal("this SQLite has no VFS")) };
        let Some(open) = v.xOpen else { return Err(Error::internal("this VFS cannot open files")) };
        let mut space = vec![0u64; (v.szOsFile.max(8) as usize).div_ceil(8)];
        let file: *mut ffi::sqlite3_file = space.as_mut_ptr().cast();
        let flags = ffi::SQLITE_OPEN_READONLY | ffi::SQLITE_OPEN_MAIN_DB;
        let rc = open(vfs, name.as_ptr().add(4).cast(), file, flags, ptr::null_mut());
        let out = if rc == ffi::SQLITE_OK { head(file, buf) } else { Err(refused(rc)) };
        if let Some(close) = (*file).pMethods.as_ref().and_then(|m| m.xClose) {
            close(file);
        }
        out
    }
}

/// SAFETY: `file` is an open file object.
unsafe fn head(file: *mut ffi::sqlite3_file, buf: &mut [u8]) -> Result<(usize, u64)> {
    // SAFETY: an open file has methods; SQLite fills what a short read leaves with zeros.
    unsafe {
        let Some(m) = (*file).pMethods.as_ref() else { return Err(Error::internal("an open file without methods")) };
        let (Some(size), Some(read)) = (m.xFileSize, m.xRead) else { return Err(Error::internal("an open file without methods")) };
        let mut length: i64 = 0;
        let rc = size(file, &mut length);
        if rc != ffi::SQLITE_OK {
            return Err(refused(rc));
        }
        let length = length.max(0) as u64;
        let n = buf.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        let rc = if n == 0 { ffi::SQLITE_OK } else { read(file, buf.as_mut_ptr().cast(), n as c_int, 0) };
        match rc {
            ffi::SQLITE_OK => Ok((n, length)),
            // It became shorter between the two calls.
            ffi::SQLITE_IOERR_SHORT_READ => Ok((0, 0)),
            rc => Err(refused(rc)),
        }
    }
}

fn refused(rc: c_int) -> Error {
    // SAFETY: errstr gives a static C string for any code.
    let text = unsafe {
        let p: *const c_char = ffi::sqlite3_errstr(rc);
        if p.is_null() { "error".into() } else { CStr::from_ptr(p).to_string_lossy() }
    };
    let kind = if rc & 0xff == ffi::SQLITE_CANTOPEN { Kind::ReadOnly } else { Kind::Io };
    Error::new(kind, format!("cannot be read: {text}"))
}

/// Whether connections of our own may work in threads of our own beside the host's.
pub fn threads_allowed() -> bool {
    // SAFETY: no arguments; the value was fixed when SQLite was compiled.
    if unsafe { ffi::sqlite3_threadsafe() } == 0 {
        return false;
    }
    // A program may have chosen single-thread mode at run time: mutexes are then one and the same constant.
    // SAFETY: a mutex is made and freed; freeing the constant of single-thread mode does nothing.
    unsafe {
        let (a, b) = (ffi::sqlite3_mutex_alloc(ffi::SQLITE_MUTEX_FAST), ffi::sqlite3_mutex_alloc(ffi::SQLITE_MUTEX_FAST));
        let real = !a.is_null() && a != b;
        ffi::sqlite3_mutex_free(a);
        ffi::sqlite3_mutex_free(b);
        real
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_head_and_keeps_the_locks_of_this_process() {
        let dir = std::env::temp_dir().join(format!("dbint-peek-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("a.db");
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch("CREATE TABLE t(x); BEGIN IMMEDIATE; INSERT INTO t VALUES(1)").unwrap();
        let mut buf = [0; 100];
        assert_eq!(peek(&path, &mut buf).unwrap(), (100, 8192));
        assert!(buf.starts_with(b"SQLite format 3\0"));
        assert!(peek(&dir.join("none"), &mut buf).is_err());
        std::fs::write(dir.join("short"), "ab").unwrap();
        assert_eq!(peek(&dir.join("short"), &mut buf).unwrap(), (2, 2));
        // Another process must still meet our lock.
        let locked = std::process::Command::new("python3")
            .args(["-c", "import sqlite3,sys\nc=sqlite3.connect(sys.argv[1],timeout=0)\ntry: c.execute('BEGIN IMMEDIATE')\nexcept Exception: sys.exit(7)"])
            .arg(&path)
            .status();
        assert_eq!(locked.unwrap().code(), Some(7));
        assert!(threads_allowed());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
