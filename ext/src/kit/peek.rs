//! The first bytes of a file through SQLite's own VFS: a descriptor of ours, when closed, would drop the POSIX locks
//! that other connections of this process hold on the same file. SQLite's close keeps them.
//!
//! Such locks belong to the table of descriptors through which they were taken. A thread that has left the process's table
//! drops none of them, and may open files by itself: that is three times as fast, and waits for no other thread.
#![allow(unsafe_code)]
use crate::error::{Error, Kind, Result};
use rusqlite::ffi;
use std::{
    cell::Cell,
    ffi::{CStr, c_char, c_int},
    fs,
    path::Path,
    ptr,
    time::SystemTime,
};

thread_local! {
    /// This thread has a table of descriptors for itself.
    static APART: Cell<bool> = const { Cell::new(false) };
}

/// Gives the calling thread descriptors of its own, where the system can. For threads of ours that end soon and never call
/// SQLite, which shares descriptors among threads.
pub fn leave_descriptors() {
    #[cfg(target_os = "linux")]
    // SAFETY: nobody else uses what this thread opens from here on, and it uses nothing that others open.
    APART.set(unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FILES) }.is_ok());
}

/// Whether this thread has left the descriptors that SQLite knows.
pub fn left_descriptors() -> bool {
    APART.get()
}

/// What a first look at a file tells.
#[derive(Debug, PartialEq, Eq)]
pub struct Peeked {
    /// Bytes that were read.
    pub read: usize,
    /// Length of the file.
    pub length: u64,
    pub modified: Option<SystemTime>,
}

/// Reads up to `buf.len()` bytes from the start of `path`.
pub fn peek(path: &Path, buf: &mut [u8]) -> Result<Peeked> {
    // SQLite itself could not open it.
    if path.to_str().is_none_or(|t| t.contains('\0')) {
        return Err(Error::unsupported("the file's name is not UTF-8"));
    }
    #[cfg(unix)]
    if APART.get() {
        return plainly(path, buf);
    }
    let here = fs::symlink_metadata(path).ok();
    if here.as_ref().is_some_and(fs::Metadata::is_symlink) {
        // SQLite's VFS follows no link.
        return through_vfs(&fs::canonicalize(path).map_err(|_| refused(ffi::SQLITE_CANTOPEN))?, buf);
    }
    through_vfs(path, buf)
}

/// By a descriptor of our own.
#[cfg(unix)]
fn plainly(path: &Path, buf: &mut [u8]) -> Result<Peeked> {
    use std::{io::Read, os::unix::fs::OpenOptionsExt};
    // Opening a pipe would wait for its writer for ever.
    let mut file =
        fs::OpenOptions::new().read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32).open(path).map_err(|_| refused(ffi::SQLITE_CANTOPEN))?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(not_regular());
    }
    let mut read = 0;
    while let Some(rest) = buf.get_mut(read..).filter(|b| !b.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Err(refused(ffi::SQLITE_IOERR_READ)),
        }
    }
    Ok(Peeked { read, length: meta.len(), modified: meta.modified().ok() })
}

fn not_regular() -> Error {
    Error::new(Kind::Io, "not a regular file")
}

fn through_vfs(path: &Path, buf: &mut [u8]) -> Result<Peeked> {
    let text = path.to_str().unwrap_or_default();
    // Opening a pipe would wait for its writer for ever.
    let meta = fs::metadata(path).ok();
    if meta.as_ref().is_some_and(|m| !m.is_file()) {
        return Err(not_regular());
    }
    let modified = meta.and_then(|m| m.modified().ok());
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
        out.map(|(read, length)| Peeked { read, length, modified })
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
        // Of a file without length one byte is tried: there are some that are not empty, and nobody can read.
        let n = buf.len().min(usize::try_from(length.max(1)).unwrap_or(usize::MAX));
        let rc = read(file, buf.as_mut_ptr().cast(), n as c_int, 0);
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

/// Whether a second thread of ours would share the work, beside a first one that is busy.
pub fn two_threads_help() -> bool {
    threads_allowed() && std::thread::available_parallelism().is_ok_and(|n| n.get() > 1)
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
        std::fs::write(dir.join("short"), "ab").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("a.db", dir.join("link")).unwrap();
        let look = || {
            let mut buf = [0; 100];
            let mut told = |name: &str| peek(&dir.join(name), &mut buf).map(|p| (p.read, p.length, p.modified.is_some()));
            assert_eq!(told("short").unwrap(), (2, 2, true));
            assert!(told("none").is_err() && told(".").is_err());
            #[cfg(unix)]
            assert_eq!(told("link").unwrap(), (100, 8192, true));
            assert_eq!(told("a.db").unwrap(), (100, 8192, true));
            assert!(buf.starts_with(b"SQLite format 3\0"));
        };
        look();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                leave_descriptors();
                assert_eq!(APART.get(), cfg!(target_os = "linux"));
                look();
            });
        });
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
