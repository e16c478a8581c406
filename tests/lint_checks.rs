//! Every check of integrity_report has a database that triggers it, and one, near to it, that does not.
use rusqlite::Connection;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

struct Case {
    check: &'static str,
    bad: &'static str,
    good: &'static str,
    /// Done to the file of the bad one afterwards.
    harm: fn(&Path),
    /// Looked at through the connection that made it.
    host: bool,
}

const fn case(check: &'static str, bad: &'static str, good: &'static str) -> Case {
    Case { check, bad, good, harm: |_| {}, host: false }
}

const fn harmed(check: &'static str, both: &'static str, harm: fn(&Path)) -> Case {
    Case { check, bad: both, good: both, harm, host: false }
}

const TABLE: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t SELECT value, 'text ' || value FROM generate_series_1000;";

const CASES: &[Case] = &[
    // structure
    harmed("readable", TABLE, |f| patch(f, 16, &[7, 7])),
    harmed("integrity_check", TABLE, |f| patch(f, 3 * 4096 + 8, &[0xff; 40])),
    harmed("quick_check", TABLE, |f| patch(f, 3 * 4096 + 8, &[0xff; 40])),
    case(
        "index_consistency",
        "CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t VALUES(1); PRAGMA writable_schema=ON;
         CREATE TABLE keep AS SELECT rowid AS r, * FROM sqlite_schema WHERE name = 'i'; DELETE FROM sqlite_schema WHERE name = 'i'; @reopen
         INSERT INTO t VALUES(2); PRAGMA writable_schema=ON; INSERT INTO sqlite_schema SELECT type, name, tbl_name, rootpage, sql FROM keep",
        "CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t VALUES(1)",
    ),
    case(
        "schema_rows",
        "CREATE TABLE t(a); CREATE TABLE u(b); PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE u(' WHERE name = 'u'",
        "CREATE TABLE t(a); CREATE TABLE u(b)",
    ),
    harmed("table_unreadable", TABLE, |f| patch(f, 3 * 4096, &[0xff; 4096])),
    // file
    harmed("zero_byte_file", TABLE, |f| fs::write(f, "").unwrap()),
    harmed("file_size", TABLE, |f| grow(f, 5000)),
    harmed("hot_journal", TABLE, |f| fs::write(beside(f, "-journal"), [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7, 0, 0, 0, 1]).unwrap()),
    // keys
    case(
        "foreign_key_orphans",
        "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p); INSERT INTO c VALUES(7)",
        "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p); INSERT INTO p VALUES(7); INSERT INTO c VALUES(7), (NULL)",
    ),
    case(
        "foreign_key_broken",
        "CREATE TABLE p(id INTEGER PRIMARY KEY, x); CREATE TABLE c(a REFERENCES p(x))",
        "CREATE TABLE p(id INTEGER PRIMARY KEY, x UNIQUE); CREATE TABLE c(a REFERENCES p(x))",
    ),
    // data
    case(
        "not_null_violation",
        "CREATE TABLE t(a); INSERT INTO t VALUES(1), (NULL); PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE t(a NOT NULL)'",
        "CREATE TABLE t(a NOT NULL); INSERT INTO t VALUES(1)",
    ),
    case(
        "unique_violation",
        "CREATE TABLE t(a, b); CREATE INDEX i ON t(a); INSERT INTO t VALUES('x', 1), ('x', 2), (NULL, 3), (NULL, 4); PRAGMA writable_schema=ON;
         UPDATE sqlite_schema SET sql = 'CREATE UNIQUE INDEX i ON t(a)' WHERE name = 'i'",
        "CREATE TABLE t(a, b); CREATE UNIQUE INDEX i ON t(a); CREATE UNIQUE INDEX j ON t(b) WHERE a = 'x';
         INSERT INTO t VALUES('x', 1), ('X', 1), (NULL, 3), (NULL, 4)",
    ),
    case(
        "check_violation",
        "CREATE TABLE t(a CHECK(a > 0)); PRAGMA ignore_check_constraints=ON; INSERT INTO t VALUES(-1)",
        "CREATE TABLE t(a CHECK(a > 0)); INSERT INTO t VALUES(1), (NULL)",
    ),
    case("invalid_utf8", "CREATE TABLE t(a); INSERT INTO t VALUES(CAST(x'61ff62' AS TEXT))", "CREATE TABLE t(a); INSERT INTO t VALUES('aéb'), (x'61ff62')"),
    // schema
    case("view_invalid", "CREATE TABLE t(a); CREATE VIEW v AS SELECT b FROM t", "CREATE TABLE t(a); CREATE VIEW v AS SELECT a FROM t"),
    case(
        "trigger_invalid",
        "CREATE TABLE t(a); CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO nowhere VALUES(new.a); END",
        "CREATE TABLE t(a, b AS (a + 1)); CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t WHERE a < new.b; END;
         CREATE VIEW v AS SELECT a FROM t; CREATE TRIGGER h INSTEAD OF UPDATE OF a ON v BEGIN SELECT 1; END",
    ),
];

fn beside(f: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", f.display()))
}

fn patch(f: &Path, at: usize, bytes: &[u8]) {
    let mut all = fs::read(f).unwrap();
    all[at..at + bytes.len()].copy_from_slice(bytes);
    fs::write(f, all).unwrap();
}

fn grow(f: &Path, by: usize) {
    let mut all = fs::read(f).unwrap();
    all.resize(all.len() + by, 0);
    fs::write(f, all).unwrap();
}

/// `@reopen` makes a change of the schema table take effect; the series stands for a table of a thousand numbers.
fn make(file: &Path, sql: &str) -> Connection {
    let mut db = Connection::open(file).unwrap();
    for part in sql.split("@reopen") {
        db = Connection::open(file).unwrap();
        let part =
            part.replace("generate_series_1000", "(WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT 1000) SELECT value FROM n)");
        db.execute_batch(&format!("PRAGMA foreign_keys=OFF; {part}")).unwrap_or_else(|e| panic!("{e}: {part}"));
    }
    db
}

fn findings(file: &Path, case: &Case, made: Connection) -> i64 {
    let db = if case.host {
        made
    } else {
        drop(made);
        Connection::open_in_memory().unwrap()
    };
    dbint::register(&db).unwrap();
    let given = if case.host { None } else { file.to_str() };
    let sql = "SELECT count(*) FILTER (WHERE passed = 0) FROM integrity_report(?1, ?2)";
    db.query_row(sql, [given, Some(&format!("{{\"checks\":\"{}\"}}", case.check))], |r| r.get(0)).unwrap()
}

#[test]
fn every_check_is_triggered_and_spares_what_is_sound() {
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = BTreeMap::new();
    for (i, case) in CASES.iter().enumerate() {
        let (bad, good) = (dir.path().join(format!("bad{i}.db")), dir.path().join(format!("good{i}.db")));
        let made = make(&bad, case.bad);
        if !case.host {
            made.close().unwrap();
            (case.harm)(&bad);
        }
        let made = if case.host { make(&bad, "") } else { Connection::open_in_memory().unwrap() };
        if findings(&bad, case, made) == 0 {
            wrong.insert(case.check, "was not triggered");
        }
        let made = make(&good, case.good);
        if findings(&good, case, made) != 0 {
            wrong.insert(case.check, "spoke up for nothing");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_check_has_a_case() {
    let db = Connection::open_in_memory().unwrap();
    dbint::register(&db).unwrap();
    let declared: Vec<String> =
        db.prepare("SELECT check_name FROM integrity_checks").unwrap().query_map([], |r| r.get(0)).unwrap().map(|r| r.unwrap()).collect();
    let missing: Vec<_> = declared.iter().filter(|d| !CASES.iter().any(|c| c.check == **d)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}
