//! A panic in dbint is an error for the host, which lives: linked in, and in real clients through a library that panics.
use dbint_tests::{client, quick, root};
use rusqlite::Connection;
use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

#[path = "hosts/panics/room.rs"]
mod room;

/// A statement that panics, and what its error says.
const STATEMENTS: [(&str, &str); 6] = [
    ("SELECT panic_now('text')", "panic_now: internal error: forced [DBINT_INTERNAL]"),
    ("SELECT panic_now('string')", "panic_now: internal error: forced by panic_now [DBINT_INTERNAL]"),
    ("SELECT panic_now('payload')", "panic_now: internal error: panic [DBINT_INTERNAL]"),
    ("SELECT sum(n) FROM panic_rows('call')", "panic_rows: internal error: forced in the call [DBINT_INTERNAL]"),
    ("SELECT sum(n) FROM panic_rows('next')", "panic_rows: internal error: forced in the second row [DBINT_INTERNAL]"),
    ("SELECT sum(n) FROM panic_rows('drop')", "panic_rows: internal error: forced in Drop [DBINT_INTERNAL]"),
];

/// Leaves the cursor before its end: no callback is left that could tell of the panic, but the host lives.
const LEFT_EARLY: &str = "SELECT n FROM panic_rows('drop') LIMIT 1";

#[test]
fn linked_in() {
    let db = Connection::open_in_memory().unwrap();
    dbint::kit::register(&db, &room::ROOM).unwrap();
    for (sql, error) in STATEMENTS {
        let got = db.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap_err().to_string();
        assert!(got.contains(error), "{sql}: {got}");
        let fine: i64 = db.query_row("SELECT sum(n) FROM panic_rows('never')", [], |r| r.get(0)).unwrap();
        assert_eq!(fine, 6, "after {sql}");
    }
    assert_eq!(db.query_row(LEFT_EARLY, [], |r| r.get::<_, i64>(0)).unwrap(), 1);
}

fn library() -> PathBuf {
    let args = ["build", "--quiet", "--release", "-p", "dbint", "--example", "panics", "--no-default-features", "--features", "loadable"];
    // Unoptimised: optimising the whole extension once more would take longer than all that is tested here.
    let plain = ["--config", "profile.release.package.dbint.opt-level=0", "--target-dir", "target/ext"];
    let built = Command::new(env!("CARGO")).args(args).args(plain).current_dir(root()).status();
    assert!(built.is_ok_and(|s| s.success()), "the library that panics does not build");
    root().join("target/ext/release/examples/libpanics.so")
}

/// In the stock shell, which goes on after an error: every error arrives, the last statement answers, nothing else is printed.
#[test]
fn in_real_clients() {
    let library = library();
    if quick() {
        return;
    }
    let mut child = Command::new("sqlite3").arg(":memory:").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut ask = child.stdin.take().unwrap();
    writeln!(ask, ".load {}", library.display()).unwrap();
    for (sql, _) in STATEMENTS {
        writeln!(ask, "{sql};").unwrap();
    }
    writeln!(ask, "{LEFT_EARLY};\nSELECT sum(n) FROM panic_rows('never');").unwrap();
    drop(ask);
    let out = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&out.stderr).into_owned();
    for (sql, error) in STATEMENTS {
        assert!(errors.contains(error), "{sql}:\n{errors}");
    }
    assert!(!errors.contains("panicked at"), "a caught panic prints no trace:\n{errors}");
    assert_eq!(String::from_utf8_lossy(&out.stdout), "1\n6\n");

    let script = "const D = require('better-sqlite3'); const db = new D(':memory:'); db.loadExtension(process.argv[1]);
        for (const sql of process.argv.slice(2)) try { console.log(db.prepare(sql).pluck().get()) } catch (e) { console.log(e.message) }";
    let out = Command::new(client("newest/bin/node"))
        .env("NODE_PATH", client("npm/node_modules"))
        .args(["-e", script])
        .arg(&library)
        .args(STATEMENTS.iter().map(|s| s.0))
        .args([LEFT_EARLY, "SELECT sum(n) FROM panic_rows('never')"])
        .output()
        .unwrap();
    let expected: String = STATEMENTS.iter().map(|s| format!("{}\n", s.1)).chain(["1\n6\n".to_owned()]).collect();
    assert_eq!((String::from_utf8_lossy(&out.stdout), out.status.success()), (expected.as_str().into(), true), "{}", String::from_utf8_lossy(&out.stderr));
}
