//! The disk fails at the 1st, 2nd … nth access to the target, in every way a disk can: the sync says so or succeeds, and
//! the target is whole in any case.
//!
//! A file system layer of the test stands between SQLite and the disk. DBINT_FAULTS=all also lets every fault stay.
#![allow(unsafe_code)]
use dbint_tests::Way;
use rusqlite::{Connection, ffi, types::Value};
use std::{
    collections::BTreeMap,
    ffi::{CStr, c_char, c_int, c_void},
    fs, mem,
    path::Path,
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst},
    },
};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fault {
    Full,
    Read,
    Write,
    Sync,
    Lock,
    Delete,
}
const FAULTS: [Fault; 6] = [Fault::Full, Fault::Read, Fault::Write, Fault::Sync, Fault::Lock, Fault::Delete];

static KIND: AtomicUsize = AtomicUsize::new(usize::MAX);
/// Accesses until the fault; negative once it has been met.
static LEFT: AtomicI64 = AtomicI64::new(0);
/// Whether the fault stays.
static STAYS: AtomicBool = AtomicBool::new(false);
static MET: AtomicI64 = AtomicI64::new(0);

/// Whether this access fails.
fn fails(watched: bool, kinds: &[Fault]) -> bool {
    let kind = KIND.load(SeqCst);
    if !watched || !kinds.iter().any(|k| *k as usize == kind) {
        return false;
    }
    let left = LEFT.fetch_sub(1, SeqCst) - 1;
    let now = left == 0 || left < 0 && STAYS.load(SeqCst);
    MET.fetch_add(i64::from(now), SeqCst);
    now
}

/// What SQLite sees as the file; the real one follows it in memory.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    watched: bool,
}

const HEAD: usize = mem::size_of::<File>().next_multiple_of(16);

fn below() -> *mut ffi::sqlite3_vfs {
    static REAL: OnceLock<usize> = OnceLock::new();
    // SAFETY: asked for the first time before the layer registers itself; VFS objects last as long as the process.
    *REAL.get_or_init(|| unsafe { ffi::sqlite3_vfs_find(ptr::null()) } as usize) as *mut ffi::sqlite3_vfs
}

/// The real file behind ours, and its methods.
unsafe fn real(f: *mut ffi::sqlite3_file) -> (*mut ffi::sqlite3_file, &'static ffi::sqlite3_io_methods, bool) {
    // SAFETY: SQLite passes back what `open` filled: HEAD bytes of ours, then the real file with methods that are static.
    unsafe {
        let inner = f.cast::<u8>().add(HEAD).cast::<ffi::sqlite3_file>();
        (inner, &*(*inner).pMethods, (*f.cast::<File>()).watched)
    }
}

macro_rules! pass {
    ($name:ident, $method:ident, $kinds:expr, $code:expr $(, $arg:ident: $ty:ty)*) => {
        unsafe extern "C" fn $name(f: *mut ffi::sqlite3_file $(, $arg: $ty)*) -> c_int {
            // SAFETY: see `real`; the arguments are SQLite's own.
            let (inner, io, watched) = unsafe { real(f) };
            if fails(watched, $kinds) {
                return $code;
            }
            // SAFETY: the unix layer has every method.
            unsafe { (io.$method.unwrap())(inner $(, $arg)*) }
        }
    };
}
pass!(close, xClose, &[], 0);
pass!(read, xRead, &[Fault::Read], ffi::SQLITE_IOERR_READ, to: *mut c_void, n: c_int, at: i64);
pass!(write_io, xWrite, &[Fault::Write], ffi::SQLITE_IOERR_WRITE, from: *const c_void, n: c_int, at: i64);
pass!(truncate, xTruncate, &[Fault::Write], ffi::SQLITE_IOERR_TRUNCATE, size: i64);
pass!(sync, xSync, &[Fault::Sync], ffi::SQLITE_IOERR_FSYNC, flags: c_int);
pass!(file_size, xFileSize, &[], 0, size: *mut i64);
pass!(lock, xLock, &[Fault::Lock], ffi::SQLITE_BUSY, level: c_int);
pass!(unlock, xUnlock, &[], 0, level: c_int);
pass!(check_reserved, xCheckReservedLock, &[], 0, out: *mut c_int);
pass!(control, xFileControl, &[], 0, op: c_int, arg: *mut c_void);
pass!(sector, xSectorSize, &[], 0);
pass!(device, xDeviceCharacteristics, &[], 0);
pass!(shm_map, xShmMap, &[], 0, page: c_int, size: c_int, extend: c_int, out: *mut *mut c_void);
pass!(shm_lock_real, xShmLock, &[Fault::Lock], ffi::SQLITE_BUSY, at: c_int, n: c_int, flags: c_int);
pass!(shm_unmap, xShmUnmap, &[], 0, delete: c_int);
pass!(fetch, xFetch, &[], 0, at: i64, n: c_int, out: *mut *mut c_void);
pass!(unfetch, xUnfetch, &[], 0, at: i64, p: *mut c_void);

unsafe extern "C" fn write(f: *mut ffi::sqlite3_file, from: *const c_void, n: c_int, at: i64) -> c_int {
    // SAFETY: see `real`.
    let (_, _, watched) = unsafe { real(f) };
    if fails(watched, &[Fault::Full]) {
        return ffi::SQLITE_FULL;
    }
    // SAFETY: the arguments are SQLite's own.
    unsafe { write_io(f, from, n, at) }
}

unsafe extern "C" fn shm_lock(f: *mut ffi::sqlite3_file, at: c_int, n: c_int, flags: c_int) -> c_int {
    // SAFETY: the arguments are SQLite's own; to let go of a lock cannot fail.
    unsafe {
        if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
            let (inner, io, _) = real(f);
            return (io.xShmLock.unwrap())(inner, at, n, flags);
        }
        shm_lock_real(f, at, n, flags)
    }
}

unsafe extern "C" fn shm_barrier(f: *mut ffi::sqlite3_file) {
    // SAFETY: see `real`.
    unsafe {
        let (inner, io, _) = real(f);
        (io.xShmBarrier.unwrap())(inner);
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 3,
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
    xSectorSize: Some(sector),
    xDeviceCharacteristics: Some(device),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: Some(fetch),
    xUnfetch: Some(unfetch),
};

unsafe fn is_target(name: *const c_char) -> bool {
    // SAFETY: SQLite's names are C strings, or NULL for a temporary file.
    !name.is_null() && unsafe { CStr::from_ptr(name) }.to_bytes().windows(9).any(|w| w == b"target.db")
}

unsafe extern "C" fn open(_: *mut ffi::sqlite3_vfs, name: ffi::sqlite3_filename, f: *mut ffi::sqlite3_file, flags: c_int, out: *mut c_int) -> c_int {
    // SAFETY: SQLite gives szOsFile bytes, which is HEAD and what the real layer needs.
    unsafe {
        let ours = f.cast::<File>();
        (*ours).base.pMethods = ptr::null();
        (*ours).watched = is_target(name);
        let inner = f.cast::<u8>().add(HEAD).cast::<ffi::sqlite3_file>();
        (*inner).pMethods = ptr::null();
        let rc = ((*below()).xOpen.unwrap())(below(), name, inner, flags, out);
        if !(*inner).pMethods.is_null() {
            (*ours).base.pMethods = &METHODS;
        }
        rc
    }
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    // SAFETY: the arguments are SQLite's own.
    unsafe {
        if fails(is_target(name), &[Fault::Delete]) {
            return ffi::SQLITE_IOERR_DELETE;
        }
        ((*below()).xDelete.unwrap())(below(), name, sync)
    }
}

/// Waiting for a lock costs no time here.
unsafe extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, micros: c_int) -> c_int {
    micros
}

fn register() {
    static ONCE: OnceLock<()> = OnceLock::new();
    // SAFETY: a copy of the real layer with some functions replaced. The others take the real one's data from the copy.
    ONCE.get_or_init(|| unsafe {
        ffi::sqlite3_initialize();
        let mut layer = *below();
        layer.szOsFile += HEAD as c_int;
        layer.pNext = ptr::null_mut();
        layer.zName = c"faulty".as_ptr();
        layer.xOpen = Some(open);
        layer.xDelete = Some(delete);
        layer.xSleep = Some(sleep);
        assert_eq!(ffi::sqlite3_vfs_register(Box::into_raw(Box::new(layer)), 1), ffi::SQLITE_OK);
    });
}

fn content(file: &Path) -> Vec<Vec<Value>> {
    let db = Connection::open(file).unwrap();
    let intact: String = db.query_row("PRAGMA integrity_check", [], |r| r.get(0)).unwrap();
    assert_eq!(intact, "ok");
    let mut q = db.prepare("SELECT * FROM t ORDER BY id").unwrap();
    q.query_map([], |r| (0..3).map(|i| r.get(i)).collect()).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_failing_disk_leaves_a_whole_target() {
    register();
    let all = std::env::var("DBINT_FAULTS").is_ok_and(|v| v == "all");
    let mut told: BTreeMap<(Fault, &str), u32> = BTreeMap::new();
    for journal in ["delete", "wal"] {
        for scene in ["update", "refill", "change log"] {
            let dir = tempfile::tempdir().unwrap();
            let (source, target, before) = (dir.path().join("source.db"), dir.path().join("target.db"), dir.path().join("before.db"));
            let table = format!("PRAGMA journal_mode={journal}; PRAGMA page_size=512; VACUUM; CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b UNIQUE)");
            Connection::open(&target).unwrap().execute_batch(&table).unwrap();
            let db = Connection::open(&source).unwrap();
            db.execute_batch(&format!(
                "{table}; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60) INSERT INTO t SELECT i, hex(zeroblob(20)), i FROM n"
            ))
            .unwrap();
            let host = Connection::open_in_memory().unwrap();
            Way::Linked.register(&host).unwrap();
            let sync = |mode: &str| {
                let o = format!("{{\"source\":\"{}\",\"mode\":\"{mode}\",\"retries\":0}}", source.display());
                host.query_row("SELECT sync_table('t', ?, ?)", (target.to_str(), o), |r| r.get::<_, String>(0)).map_err(|e| e.to_string())
            };
            if scene == "change log" {
                host.query_row("SELECT track_changes('t', json_object('db', ?))", [source.to_str()], |_| Ok(())).unwrap();
            }
            let mode = if scene == "change log" { "incremental" } else { "full" };
            if scene != "refill" {
                sync(mode).unwrap();
            }
            db.execute_batch(
                "UPDATE t SET a = a || id WHERE id % 2; UPDATE t SET b = NULL WHERE id = 7; UPDATE t SET b = 7 WHERE id = 9; DELETE FROM t WHERE id % 9 = 4",
            )
            .unwrap();
            drop(Connection::open(&target).unwrap().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
            fs::copy(&target, &before).unwrap();
            let old = content(&target);
            sync(mode).unwrap();
            let new = content(&target);
            assert_ne!(old, new);
            for fault in FAULTS {
                for stays in [false, true] {
                    if stays && !all && scene != "update" {
                        continue;
                    }
                    for n in 1.. {
                        ["-journal", "-wal", "-shm"].iter().for_each(|x| drop(fs::remove_file(dir.path().join(format!("target.db{x}")))));
                        fs::copy(&before, &target).unwrap();
                        LEFT.store(n, SeqCst);
                        STAYS.store(stays, SeqCst);
                        MET.store(0, SeqCst);
                        KIND.store(fault as usize, SeqCst);
                        let done = sync(mode);
                        KIND.store(usize::MAX, SeqCst);
                        let here = format!("{journal}, {scene}, {fault:?} number {n}{}: {done:?}", if stays { " that stays" } else { "" });
                        let got = content(&target);
                        assert!(got == old || got == new, "{here}: neither old nor new");
                        let word = match &done {
                            Ok(_) => {
                                assert!(got == new, "{here}: success, but the target is old");
                                "succeeded"
                            }
                            Err(e) => {
                                assert!(["[DBINT_IO]", "[DBINT_FULL]", "[DBINT_BUSY]"].iter().any(|tag| e.ends_with(tag)), "{here}");
                                if got == old { "failed, target old" } else { "failed, target new" }
                            }
                        };
                        if MET.load(SeqCst) == 0 {
                            assert!(done.is_ok(), "{here}: failed without a fault");
                            break;
                        }
                        *told.entry((fault, word)).or_default() += 1;
                        sync(mode).unwrap_or_else(|e| panic!("{here}: the sync after it: {e}"));
                        assert_eq!(content(&target), new, "{here}: the sync after it");
                    }
                }
            }
        }
    }
    told.iter().for_each(|((fault, word), n)| println!("{n:>6} {fault:?} {word}"));
    for fault in FAULTS {
        assert!(told.keys().any(|(f, _)| *f == fault), "{fault:?} was never met");
    }
}
