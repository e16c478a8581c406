//! A file system layer that gathers what SQLite writes to a rollback journal: three small writes a page become one for many pages.
//!
//! Only journals are gathered. Every other file is opened by the layer below and is that layer's own object from then on, so
//! locks, shared memory and what is asked of the file object stay as they are.
//!
//! Why bytes may wait here: SQLite syncs the journal before it writes the first of these pages to the database, and
//! [`gathered`] sees to it that it does. Until then a journal that a crash cuts short has nothing to give back. Whoever reads,
//! measures, cuts or syncs the journal writes the bytes first; where that fails, they stay, and the call fails.
//!
//! What was written the system is told to bring to the disk at once, so that SQLite's own sync has little to wait for.
#![allow(unsafe_code)]
use super::{caught, file};
use rusqlite::{Connection, ffi};
use std::{
    ffi::{CStr, c_char, c_int, c_void},
    mem, ptr, slice,
    sync::OnceLock,
};

/// What waits at most.
const MOST: usize = 1 << 16;

/// Bytes of a journal that the system is told to write at once.
const PIECE: i64 = 4 << 20;

const NAME: &CStr = c"dbint-journal";

/// What SQLite sees of a journal; the file of the layer below follows it in memory.
#[repr(C)]
struct Journal {
    base: ffi::sqlite3_file,
    waiting: *mut Waiting,
}

/// Bytes that belong at one place of the file.
struct Waiting {
    bytes: Vec<u8>,
    at: i64,
    /// The first piece does not wait: others tell by a journal that has bytes that somebody writes.
    begun: bool,
    /// SQLite keeps it unchanged until the file is closed.
    name: *const c_char,
    /// The system was told of the bytes before.
    told: i64,
}

impl Waiting {
    /// The journal holds bytes up to `end`. An error leaves the work to SQLite's sync, which meets it, too.
    fn wrote(&mut self, end: i64) {
        if end - self.told < PIECE || self.name.is_null() {
            return;
        }
        #[cfg(target_os = "linux")]
        // SAFETY: the name is a C string; the descriptor is open, and the call touches no memory of ours.
        unsafe {
            use std::{ffi::OsStr, fs::File, os::fd::AsRawFd, os::unix::ffi::OsStrExt};
            // Closing a descriptor of our own drops no lock, for nobody locks a journal.
            if let Ok(file) = File::open(OsStr::from_bytes(CStr::from_ptr(self.name).to_bytes())) {
                libc::sync_file_range(file.as_raw_fd(), self.told, end - self.told, libc::SYNC_FILE_RANGE_WRITE);
            }
        }
        self.told = end;
    }
}

const HEAD: usize = mem::size_of::<Journal>().next_multiple_of(16);

/// The name of the layer, for opening a connection that writes much. None where it cannot stand above the default layer.
pub fn layer() -> Option<&'static CStr> {
    static ABOVE: OnceLock<Option<usize>> = OnceLock::new();
    // SAFETY: VFS objects last as long as the process; a slot the host left out panics in the binding, before any call.
    let now = caught(|| unsafe { ffi::sqlite3_vfs_find(ptr::null()) }).ok()?;
    let below = (*ABOVE.get_or_init(|| register(now)))?;
    // The program has made another layer its default since: that one is to be asked.
    (below == now as usize).then_some(NAME)
}

/// The address of the layer below.
fn register(below: *mut ffi::sqlite3_vfs) -> Option<usize> {
    if below.is_null() {
        return None;
    }
    // SAFETY: `below` is a VFS of SQLite's list. The copy is never freed.
    caught(|| unsafe {
        let real = &*below;
        real.xOpen?;
        let mut above = *real;
        macro_rules! keep {
            ($($method:ident: $ours:ident),*) => { $(if real.$method.is_some() { above.$method = Some($ours); })* };
        }
        keep!(xOpen: open, xDelete: delete, xAccess: access, xFullPathname: full_pathname, xRandomness: randomness, xSleep: sleep);
        keep!(xDlOpen: dl_open, xDlError: dl_error, xDlSym: dl_sym, xDlClose: dl_close, xCurrentTime: current_time, xGetLastError: last_error);
        above.iVersion = above.iVersion.min(2);
        if above.iVersion == 2 {
            keep!(xCurrentTimeInt64: current_time_64);
        }
        above.szOsFile += HEAD as c_int;
        above.pNext = ptr::null_mut();
        above.zName = NAME.as_ptr();
        above.pAppData = below.cast();
        let above = Box::into_raw(Box::new(above));
        (ffi::sqlite3_vfs_register(above, 0) == ffi::SQLITE_OK).then_some(below as usize)
    })
    .ok()
    .flatten()
}

/// Whether the journal of this connection may wait: it must be synced before the database is written.
pub fn gathered(db: &Connection) -> bool {
    // A layer that keeps writes in their order by itself is not asked to sync.
    let ordered = file::characteristics(db).is_none_or(|c| c & ffi::SQLITE_IOCAP_SEQUENTIAL != 0);
    !ordered && db.query_row("PRAGMA main.synchronous", [], |r| r.get::<_, i64>(0)).is_ok_and(|s| s > 0)
}

/// Hands a call through to the layer below, with that layer's own object.
macro_rules! below {
    ($name:ident, $method:ident $(, $arg:ident: $ty:ty)* => $out:ty, $none:expr) => {
        unsafe extern "C" fn $name(vfs: *mut ffi::sqlite3_vfs $(, $arg: $ty)*) -> $out {
            // SAFETY: `register` put the layer below there; the arguments are SQLite's own.
            unsafe {
                let real = (*vfs).pAppData.cast::<ffi::sqlite3_vfs>();
                match (*real).$method {
                    Some(f) => f(real $(, $arg)*),
                    None => $none,
                }
            }
        }
    };
}
type Symbol = Option<unsafe extern "C" fn(*mut ffi::sqlite3_vfs, *mut c_void, *const c_char)>;
below!(open_below, xOpen, name: *const c_char, f: *mut ffi::sqlite3_file, flags: c_int, out: *mut c_int => c_int, ffi::SQLITE_CANTOPEN);
below!(delete, xDelete, name: *const c_char, sync: c_int => c_int, ffi::SQLITE_IOERR_DELETE);
below!(access, xAccess, name: *const c_char, flags: c_int, out: *mut c_int => c_int, ffi::SQLITE_IOERR_ACCESS);
below!(full_pathname, xFullPathname, name: *const c_char, n: c_int, out: *mut c_char => c_int, ffi::SQLITE_CANTOPEN);
below!(dl_open, xDlOpen, name: *const c_char => *mut c_void, ptr::null_mut());
below!(dl_error, xDlError, n: c_int, out: *mut c_char => (), ());
below!(dl_sym, xDlSym, library: *mut c_void, name: *const c_char => Symbol, None);
below!(dl_close, xDlClose, library: *mut c_void => (), ());
below!(randomness, xRandomness, n: c_int, out: *mut c_char => c_int, 0);
below!(sleep, xSleep, micros: c_int => c_int, 0);
below!(current_time, xCurrentTime, out: *mut f64 => c_int, ffi::SQLITE_ERROR);
below!(last_error, xGetLastError, n: c_int, out: *mut c_char => c_int, 0);
below!(current_time_64, xCurrentTimeInt64, out: *mut i64 => c_int, ffi::SQLITE_ERROR);

unsafe extern "C" fn open(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, f: *mut ffi::sqlite3_file, flags: c_int, out: *mut c_int) -> c_int {
    // SAFETY: SQLite gives szOsFile bytes: HEAD, and what the layer below needs.
    unsafe {
        if flags & ffi::SQLITE_OPEN_MAIN_JOURNAL == 0 {
            return open_below(vfs, name, f, flags, out);
        }
        let ours = f.cast::<Journal>();
        (*ours).base.pMethods = ptr::null();
        let inner = inner(f);
        (*inner).pMethods = ptr::null();
        let rc = open_below(vfs, name, inner, flags, out);
        // A layer may ask to be closed even where it failed.
        if !(*inner).pMethods.is_null() {
            (*ours).waiting = Box::into_raw(Box::new(Waiting { bytes: Vec::with_capacity(MOST), at: 0, begun: false, name, told: 0 }));
            (*ours).base.pMethods = &METHODS;
        }
        rc
    }
}

unsafe fn inner(f: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: see `open`.
    unsafe { f.cast::<u8>().add(HEAD).cast() }
}

/// Calls a method of the file below.
macro_rules! pass {
    ($f:ident, $method:ident, $none:expr $(, $arg:expr)*) => {{
        // SAFETY: `open` filled both; methods are static.
        unsafe {
            let inner = inner($f);
            match (*(*inner).pMethods).$method {
                Some(m) => m(inner $(, $arg)*),
                None => $none,
            }
        }
    }};
}

/// Writes what waits. Where that fails it waits on.
unsafe fn flush(f: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: `open` made it, `close` has not yet freed it; SQLite uses a file from one thread at a time.
    let waiting = unsafe { &mut *(*f.cast::<Journal>()).waiting };
    if waiting.bytes.is_empty() {
        return ffi::SQLITE_OK;
    }
    let rc = pass!(f, xWrite, ffi::SQLITE_IOERR_WRITE, waiting.bytes.as_ptr().cast(), waiting.bytes.len() as c_int, waiting.at);
    if rc == ffi::SQLITE_OK {
        waiting.wrote(waiting.at + waiting.bytes.len() as i64);
        waiting.bytes.clear();
    }
    rc
}

unsafe extern "C" fn write(f: *mut ffi::sqlite3_file, from: *const c_void, n: c_int, at: i64) -> c_int {
    let len = n.max(0) as usize;
    // SAFETY: as in `flush`.
    let waiting = unsafe { (*f.cast::<Journal>()).waiting };
    let (begun, at_end, held) = {
        // SAFETY: as in `flush`; the borrow ends here.
        let w = unsafe { &*waiting };
        (w.begun, w.at + w.bytes.len() as i64 == at, w.bytes.len())
    };
    if !at_end || held + len > MOST {
        // SAFETY: as in `flush`.
        let rc = unsafe { flush(f) };
        if rc != ffi::SQLITE_OK {
            return rc;
        }
    }
    if len > MOST || !begun {
        // SAFETY: as in `flush`.
        unsafe { (*waiting).begun = true };
        return pass!(f, xWrite, ffi::SQLITE_IOERR_WRITE, from, n, at);
    }
    // SAFETY: as in `flush`, which ended its own borrow; SQLite gives `n` bytes at `from`.
    let (waiting, bytes) = unsafe { (&mut *waiting, slice::from_raw_parts(from.cast(), len)) };
    if waiting.bytes.is_empty() {
        waiting.at = at;
    }
    // Within the capacity: nothing is allocated.
    waiting.bytes.extend_from_slice(bytes);
    ffi::SQLITE_OK
}

/// A method that needs the file as SQLite believes it to be.
macro_rules! after_flush {
    ($name:ident, $method:ident, $none:expr $(, $arg:ident: $ty:ty)*) => {
        unsafe extern "C" fn $name(f: *mut ffi::sqlite3_file $(, $arg: $ty)*) -> c_int {
            // SAFETY: as in `flush`.
            let rc = unsafe { flush(f) };
            if rc != ffi::SQLITE_OK {
                return rc;
            }
            pass!(f, $method, $none $(, $arg)*)
        }
    };
}
after_flush!(read, xRead, ffi::SQLITE_IOERR_READ, to: *mut c_void, n: c_int, at: i64);
after_flush!(truncate, xTruncate, ffi::SQLITE_IOERR_TRUNCATE, size: i64);
after_flush!(sync, xSync, ffi::SQLITE_IOERR_FSYNC, flags: c_int);
after_flush!(file_size, xFileSize, ffi::SQLITE_IOERR_FSTAT, size: *mut i64);
after_flush!(control, xFileControl, ffi::SQLITE_NOTFOUND, op: c_int, arg: *mut c_void);

/// Nothing of what waits is needed any more: a journal is closed when its transaction is over.
unsafe extern "C" fn close(f: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: as in `flush`; this is the last call with this file.
    let written = unsafe { flush(f) };
    let closed = pass!(f, xClose, ffi::SQLITE_OK);
    // SAFETY: `open` made it by Box.
    unsafe {
        let ours = f.cast::<Journal>();
        drop(Box::from_raw((*ours).waiting));
        (*ours).waiting = ptr::null_mut();
    }
    if written == ffi::SQLITE_OK { closed } else { written }
}

unsafe extern "C" fn lock(f: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    pass!(f, xLock, ffi::SQLITE_OK, level)
}

unsafe extern "C" fn unlock(f: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    pass!(f, xUnlock, ffi::SQLITE_OK, level)
}

unsafe extern "C" fn check_reserved(f: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    pass!(f, xCheckReservedLock, ffi::SQLITE_OK, out)
}

unsafe extern "C" fn sector_size(f: *mut ffi::sqlite3_file) -> c_int {
    pass!(f, xSectorSize, 0)
}

unsafe extern "C" fn device(f: *mut ffi::sqlite3_file) -> c_int {
    pass!(f, xDeviceCharacteristics, 0)
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved),
    xFileControl: Some(control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::OpenFlags;
    use std::fs;

    #[test]
    fn gathers_and_gives_back() {
        let dir = std::env::temp_dir().join(format!("dbint-journal-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (path, journal) = (dir.join("a.db"), dir.join("a.db-journal"));
        let open = || Connection::open_with_flags_and_vfs(&path, OpenFlags::default(), layer().unwrap()).unwrap();
        let db = open();
        assert_eq!(file::vfs_name(&db, "main"), Connection::open(&path).map(|d| file::vfs_name(&d, "main")).unwrap());
        assert!(gathered(&db));
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)";
        db.execute_batch(&format!("CREATE TABLE t(id INTEGER PRIMARY KEY, x); {fill} INSERT INTO t SELECT i, randomblob(900) FROM n")).unwrap();
        let sum = |db: &Connection| db.query_row("SELECT count(*) || hex(x) FROM t WHERE id = 7", [], |r| r.get::<_, String>(0)).unwrap();
        let before = sum(&db);
        let size = || fs::metadata(&journal).map_or(0, |m| m.len());
        // Three pages: they wait, but the file has its header.
        db.execute_batch("BEGIN; UPDATE t SET x = 'new' WHERE id IN (7, 700, 2100)").unwrap();
        assert!(size() > 0 && size() < 3 * 4096, "{}", size());
        db.execute_batch("ROLLBACK").unwrap();
        assert_eq!(sum(&db), before);
        // Many more than the cache holds: some reach the database before the end, and come back.
        db.execute_batch("PRAGMA cache_size=20; BEGIN; UPDATE t SET x = zeroblob(900)").unwrap();
        assert!(size() > 1_000_000);
        // As a crash would find it.
        let crashed = dir.join("b.db");
        fs::copy(&path, &crashed).unwrap();
        fs::copy(&journal, dir.join("b.db-journal")).unwrap();
        let other = Connection::open(&crashed).unwrap();
        assert_eq!(sum(&other), before);
        assert_eq!(other.query_row("PRAGMA integrity_check", [], |r| r.get::<_, String>(0)).unwrap(), "ok");
        db.execute_batch("SAVEPOINT s; DELETE FROM t WHERE id > 10; ROLLBACK TO s; ROLLBACK").unwrap();
        assert_eq!(sum(&db), before);
        for mode in ["delete", "truncate", "persist", "memory", "wal"] {
            db.query_row(&format!("PRAGMA journal_mode={mode}"), [], |_| Ok(())).unwrap();
            db.execute_batch("UPDATE t SET x = id WHERE id % 3 = 1; BEGIN; DELETE FROM t; ROLLBACK").unwrap();
            assert_eq!(db.query_row("SELECT count(*) FROM t WHERE x = id", [], |r| r.get::<_, i64>(0)).unwrap(), 1000, "{mode}");
        }
        db.execute_batch("PRAGMA synchronous=OFF").unwrap();
        assert!(!gathered(&db));
        drop(db);
        assert_eq!(open().query_row("PRAGMA integrity_check", [], |r| r.get::<_, String>(0)).unwrap(), "ok");
        fs::remove_dir_all(&dir).unwrap();
    }
}
