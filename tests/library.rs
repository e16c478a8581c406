//! What the built library is, and what loading it does to a process: nothing but new functions.
#![allow(unsafe_code)]
use dbint_tests::{library, quick};
use rusqlite::Connection;
use std::{collections::BTreeSet, fs, path::Path, process::Command};

fn tool(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}; run tests/setup"));
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn path() -> &'static str {
    library().to_str().expect("a readable path")
}

/// Texts that only SQLite's own source holds.
const OF_SQLITE: [&str; 6] = [
    "database disk image is malformed",
    "automatic extension loading failed: %s",
    "sqlite_autoindex_%s_%d",
    "too many attached databases - max %d",
    "recovered %d frames from WAL file %s",
    "sqlite3_step",
];

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

#[test]
fn no_second_sqlite_is_in_it() {
    let bytes = fs::read(library()).unwrap();
    let found: Vec<_> = OF_SQLITE.into_iter().filter(|t| contains(&bytes, t)).collect();
    assert!(found.is_empty(), "{found:?}");
    // This program has one linked in: the search would find it.
    let me = fs::read(std::env::current_exe().unwrap()).unwrap();
    let missed: Vec<_> = OF_SQLITE.into_iter().filter(|t| !contains(&me, t)).collect();
    assert!(missed.is_empty(), "the search is blind to {missed:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn it_exports_its_entry_point_alone() {
    let symbols = tool("nm", &["-D", "--defined-only", path()]);
    let names: Vec<&str> = symbols.lines().filter_map(|l| l.split_whitespace().next_back()).collect();
    assert_eq!(names, ["sqlite3_dbint_init"]);
    let wanted = tool("nm", &["-D", "--undefined-only", path()]);
    assert!(!wanted.contains("sqlite3_"), "it takes the host's SQLite from the api table, not from the linker:\n{wanted}");
}

#[cfg(target_os = "linux")]
#[test]
fn it_links_the_c_library_alone() {
    let dynamic = tool("readelf", &["-d", path()]);
    let needed: BTreeSet<&str> = dynamic.lines().filter(|l| l.contains("(NEEDED)")).filter_map(|l| l.split(['[', ']']).nth(1)).collect();
    let others: Vec<_> = needed.iter().filter(|n| !["libc.so.6", "libgcc_s.so.1"].contains(n) && !n.starts_with("ld-linux")).collect();
    assert!(needed.contains("libc.so.6") && others.is_empty(), "{needed:?}");
}

#[test]
fn it_is_small() {
    let size = fs::metadata(library()).unwrap().len();
    assert!(size <= 8_000_000, "{size} bytes");
}

fn load(db: &Connection) -> rusqlite::Result<()> {
    // SAFETY: the library under test.
    unsafe {
        db.load_extension_enable()?;
        db.load_extension(library(), None::<&str>)
    }
}

#[test]
fn loading_again_works_beside_an_open_cursor() {
    let db = Connection::open_in_memory().unwrap();
    load(&db).unwrap();
    load(&db).unwrap();
    let mut cursor = db.prepare("SELECT name FROM dbint_functions").unwrap();
    let mut rows = cursor.query([]).unwrap();
    assert!(rows.next().unwrap().is_some());
    let null: Option<String> = db.query_row("SELECT load_extension(?)", [path()], |r| r.get(0)).unwrap();
    assert_eq!(null, None);
    assert!(rows.next().unwrap().is_some());
    let version: String = db.query_row("SELECT dbint_version()", [], |r| r.get(0)).unwrap();
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
}

#[cfg(target_os = "linux")]
#[test]
fn it_stays_loaded() {
    let db = Connection::open_in_memory().unwrap();
    load(&db).unwrap();
    db.close().unwrap();
    assert!(fs::read_to_string("/proc/self/maps").unwrap().contains(path()), "unloaded: a thread or destructor would outlive its code");
}

#[test]
fn loading_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("user.db");
    let db = Connection::open(&file).unwrap();
    db.execute_batch("CREATE TABLE t(x); PRAGMA user_version=7; PRAGMA application_id=8").unwrap();
    let look = |db: &Connection| -> (Vec<u8>, Vec<String>, i64) {
        let mut names: Vec<String> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        (fs::read(&file).unwrap(), names, db.query_row("SELECT count(*) FROM temp.sqlite_schema", [], |r| r.get(0)).unwrap())
    };
    let before = look(&db);
    load(&db).unwrap();
    db.query_row("SELECT dbint_version()", [], |_| Ok(())).unwrap();
    assert!(look(&db) == before);
}

/// In the stock shell, under strace: silent, and no thread, process, socket or written file.
#[cfg(target_os = "linux")]
#[test]
fn loading_starts_nothing_and_prints_nothing() {
    if quick() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let calls = |commands: &[&str]| {
        let out = Command::new("strace")
            .args(["-f", "-e", "trace=clone,clone3,fork,vfork,execve,socket,openat,open,creat,write,unlink,rename", "-o"])
            .arg(&trace)
            .args(["sqlite3", "-batch", ":memory:"])
            .args(commands)
            .current_dir(dir.path())
            .output()
            .unwrap_or_else(|e| panic!("strace: {e}; run tests/setup"));
        assert!(out.status.success() && out.stdout.is_empty() && out.stderr.is_empty(), "{out:?}");
        fs::read_to_string(&trace).unwrap()
    };
    // The same shell without the library makes the same calls, except opening the library.
    let kinds = |text: &str| -> Vec<String> {
        let quiet = |l: &&str| !l.contains("O_RDONLY") && !l.contains("execve(") && !l.contains("+++");
        text.lines().filter(quiet).map(|l| l.split_once(' ').map_or(l, |(_, call)| call.trim()).to_owned()).collect()
    };
    let load = format!(".load {}", Path::new(path()).with_extension("").display());
    let with = calls(&[&load]);
    assert!(with.contains("libdbint"), "strace saw no load:\n{with}");
    assert_eq!(kinds(&with), kinds(&calls(&[".timer off"])));
}

/// What only looks creates no file, neither beside this connection's database nor beside another one.
#[test]
fn reads_create_no_file() {
    const READS: [&str; 8] = [
        "SELECT db_health(?1)",
        "SELECT db_health(?1, '{\"level\":\"deep\"}')",
        "SELECT count(*) FROM integrity_report(?1)",
        "SELECT size_check(?1)",
        "SELECT count(*) FROM size_report('.')",
        "SELECT count(*) FROM discover_databases('.')",
        "SELECT table_checksum('t', ?1)",
        "SELECT table_checksum('t', ?1, '{\"method\":\"pages\"}')",
    ];
    for mode in ["delete", "wal"] {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let db = Connection::open(dir.path().join(name)).unwrap();
            db.execute_batch(&format!("PRAGMA journal_mode={mode}; CREATE TABLE t(x PRIMARY KEY, y); INSERT INTO t VALUES(1, 2)")).unwrap();
        };
        make("main.db");
        make("other.db");
        let other = dir.path().join("other.db").to_string_lossy().into_owned();
        for given in [None, Some(other)] {
            for sql in READS {
                let db = Connection::open(dir.path().join("main.db")).unwrap();
                load(&db).unwrap();
                let sql = sql.replace("'.'", &format!("'{}'", dir.path().display()));
                let mut q = db.prepare(&sql).unwrap();
                if q.parameter_count() == 1 {
                    q.query_row([&given], |_| Ok(())).unwrap_or_else(|e| panic!("{sql}: {e}"));
                } else {
                    q.query_row([], |_| Ok(())).unwrap_or_else(|e| panic!("{sql}: {e}"));
                }
                drop(q);
                db.close().unwrap();
                let mut names: Vec<String> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
                names.sort();
                assert_eq!(names, ["main.db", "other.db"], "{mode}, {given:?}: {sql}");
            }
        }
    }
}
