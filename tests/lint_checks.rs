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

/// Looked at by the connection that ran the last statements.
const fn own(check: &'static str, bad: &'static str, good: &'static str) -> Case {
    Case { check, bad, good, harm: |_| {}, host: true }
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
    harmed("journal_leftovers", TABLE, |f| fs::write(beside(f, "-wal"), "left").unwrap()),
    Case {
        check: "wal_oversized",
        bad: "CREATE TABLE t(a)",
        good: "PRAGMA journal_mode=WAL; CREATE TABLE t(a)",
        harm: |f| {
            // Held open, so that the log stays.
            let db = Box::leak(Box::new(Connection::open(f).unwrap()));
            db.execute_batch("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0").unwrap();
            for _ in 0..300 {
                db.execute_batch("INSERT INTO t VALUES(1)").unwrap();
            }
        },
        host: false,
    },
    case(
        "page_size",
        "PRAGMA page_size=512; CREATE TABLE t(a); INSERT INTO t SELECT randomblob(2000) FROM generate_series_1000",
        "PRAGMA page_size=512; CREATE TABLE t(a); INSERT INTO t VALUES(1)",
    ),
    case(
        "freelist",
        "CREATE TABLE t(a); CREATE TABLE u AS SELECT randomblob(2000) AS b FROM generate_series_1000; DROP TABLE u",
        "CREATE TABLE u AS SELECT randomblob(2000) AS b FROM generate_series_1000; DELETE FROM u WHERE rowid < 100",
    ),
    case(
        "incremental_vacuum",
        "PRAGMA auto_vacuum=INCREMENTAL; CREATE TABLE u AS SELECT randomblob(2000) AS b FROM generate_series_1000; DROP TABLE u",
        "CREATE TABLE u AS SELECT randomblob(2000) AS b FROM generate_series_1000; DROP TABLE u",
    ),
    case("application_id", "CREATE TABLE t(a); PRAGMA application_id=0x47504b47", "CREATE TABLE t(a)"),
    harmed("written_by_newer", TABLE, |f| patch(f, 96, &3_999_000u32.to_be_bytes())),
    case("utf16", "PRAGMA encoding='UTF-16'; CREATE TABLE t(a)", "CREATE TABLE t(a)"),
    harmed("schema_format", TABLE, |f| patch(f, 44, &[0, 0, 0, 1])),
    harmed("hard_links", TABLE, |f| fs::hard_link(f, beside(f, ".second")).unwrap()),
    harmed("world_writable", TABLE, |f| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(f, fs::Permissions::from_mode(0o666)).unwrap()
    }),
    own("unsafe_connection", "CREATE TABLE t(a); @reopen PRAGMA synchronous=OFF", "CREATE TABLE t(a)"),
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
    own(
        "foreign_keys_off",
        "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(a REFERENCES p)",
        "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(a REFERENCES p); PRAGMA foreign_keys=ON",
    ),
    case(
        "foreign_key_unindexed",
        "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(x, a REFERENCES p); CREATE INDEX i ON c(x, a)",
        "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(x, a REFERENCES p); CREATE INDEX i ON c(a, x)",
    ),
    case(
        "foreign_key_types",
        "CREATE TABLE p(id TEXT PRIMARY KEY); CREATE TABLE c(a INTEGER REFERENCES p)",
        "CREATE TABLE p(id TEXT PRIMARY KEY); CREATE TABLE c(a VARCHAR(9) REFERENCES p)",
    ),
    case("table_without_key", "CREATE TABLE t(a); CREATE INDEX i ON t(a)", "CREATE TABLE t(a UNIQUE); CREATE TABLE u(b PRIMARY KEY)"),
    case(
        "null_in_primary_key",
        "CREATE TABLE t(a TEXT PRIMARY KEY); INSERT INTO t VALUES(NULL)",
        "CREATE TABLE t(a TEXT PRIMARY KEY, b); INSERT INTO t VALUES('x', NULL)",
    ),
    case("rowid_exhaustion", "CREATE TABLE t(a INTEGER PRIMARY KEY); INSERT INTO t VALUES(9223372036854775806)", TABLE),
    case(
        "autoincrement_sequence",
        "CREATE TABLE t(a INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO t VALUES(5); UPDATE sqlite_sequence SET seq = 2",
        "CREATE TABLE t(a INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO t VALUES(5); DELETE FROM t",
    ),
    case("int_primary_key", "CREATE TABLE t(a INT PRIMARY KEY)", "CREATE TABLE t(a INTEGER PRIMARY KEY); CREATE TABLE u(a INT PRIMARY KEY) WITHOUT ROWID"),
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
    // values
    case("nul_in_text", "CREATE TABLE t(a); INSERT INTO t VALUES(CAST(x'610062' AS TEXT))", "CREATE TABLE t(a); INSERT INTO t VALUES(x'610062')"),
    case(
        "text_in_number",
        "CREATE TABLE t(a INTEGER); INSERT INTO t VALUES('many')",
        "CREATE TABLE t(a INTEGER, d DATETIME); INSERT INTO t VALUES('12', '2024-01-01')",
    ),
    case(
        "number_in_text",
        "CREATE TABLE t(a TEXT); INSERT INTO t VALUES(1), (2), (3), (4), (10)",
        "CREATE TABLE t(a TEXT); INSERT INTO t VALUES('01'), (2), (3), (4), (10)",
    ),
    case(
        "date_formats",
        "CREATE TABLE t(at TEXT); INSERT INTO t VALUES('2024-01-31'), ('31/01/2024')",
        "CREATE TABLE t(at TEXT, created_at INTEGER, n INTEGER); INSERT INTO t VALUES('2024-01-31', 1700000000, 1700000000), ('2024-02-01', 1700000001, 12)",
    ),
    case(
        "invalid_json",
        "CREATE TABLE t(a JSON); INSERT INTO t VALUES('{\"a\":1}'), ('{\"a\":')",
        "CREATE TABLE t(a); INSERT INTO t VALUES('{\"a\":1}'), ('{not json')",
    ),
    case("mixed_types", "CREATE TABLE t(a); INSERT INTO t VALUES(1), ('one')", "CREATE TABLE t(a); INSERT INTO t VALUES(1), (1.5), (NULL)"),
    case("padded_text", "CREATE TABLE t(a); INSERT INTO t VALUES('x '), ('y'), ('z')", "CREATE TABLE t(a); INSERT INTO t VALUES('x y'), ('y'), ('z')"),
    case("empty_and_null", "CREATE TABLE t(a); INSERT INTO t VALUES(''), (NULL)", "CREATE TABLE t(a, b); INSERT INTO t VALUES('', NULL)"),
    case("infinite_number", "CREATE TABLE t(a REAL); INSERT INTO t VALUES(9e999)", "CREATE TABLE t(a REAL); INSERT INTO t VALUES(9e99)"),
    case(
        "longer_than_declared",
        "CREATE TABLE t(a VARCHAR(3)); INSERT INTO t VALUES('abcd')",
        "CREATE TABLE t(a VARCHAR(3), b TEXT); INSERT INTO t VALUES('äöü', 'abcd')",
    ),
    case("boolean_values", "CREATE TABLE t(a BOOLEAN); INSERT INTO t VALUES('true')", "CREATE TABLE t(a BOOLEAN); INSERT INTO t VALUES(1), (0), (NULL)"),
    case("mojibake", "CREATE TABLE t(a); INSERT INTO t VALUES('CafÃ©')", "CREATE TABLE t(a); INSERT INTO t VALUES('Café')"),
    case("large_values", "CREATE TABLE t(a); INSERT INTO t VALUES(zeroblob(1000000))", "CREATE TABLE t(a); INSERT INTO t VALUES(zeroblob(999999))"),
    // schema
    case("view_invalid", "CREATE TABLE t(a); CREATE VIEW v AS SELECT b FROM t", "CREATE TABLE t(a); CREATE VIEW v AS SELECT a FROM t"),
    case(
        "trigger_invalid",
        "CREATE TABLE t(a); CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO nowhere VALUES(new.a); END",
        "CREATE TABLE t(a, b AS (a + 1)); CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t WHERE a < new.b; END;
         CREATE VIEW v AS SELECT a FROM t; CREATE TRIGGER h INSTEAD OF UPDATE OF a ON v BEGIN SELECT 1; END",
    ),
    case(
        "missing_module",
        "CREATE TABLE t(a); PRAGMA writable_schema=ON; INSERT INTO sqlite_schema VALUES('table', 'x', 'x', 0, 'CREATE VIRTUAL TABLE x USING nowhere(a)')",
        "CREATE VIRTUAL TABLE x USING fts5(a)",
    ),
    case(
        "missing_collation",
        "CREATE TABLE t(a); CREATE INDEX i ON t(a); PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON t(a COLLATE german)' WHERE name = 'i'",
        "CREATE TABLE t(a); CREATE INDEX i ON t(a COLLATE nocase)",
    ),
    case(
        "orphaned_shadow",
        "CREATE TABLE f_data(a); CREATE TABLE f_idx(a); CREATE TABLE f_docsize(a); CREATE TABLE f_config(a)",
        "CREATE VIRTUAL TABLE f USING fts5(a); CREATE TABLE g_data(a)",
    ),
    case(
        "dangerous_function",
        "CREATE TABLE t(a); CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT load_extension(new.a); END",
        "CREATE TABLE t(a, load_extension); CREATE VIEW v AS SELECT 'load_extension(1)' FROM t",
    ),
    own("shadowed_name", "CREATE TABLE t(a); @reopen CREATE TEMP TABLE t(a)", "CREATE TABLE t(a); @reopen CREATE TEMP TABLE u(a)"),
    // types
    case("affinity_surprise", "CREATE TABLE t(a STRING)", "CREATE TABLE t(a VARCHAR(9), b DATETIME, c BOOLEAN, d DECIMAL(9, 2), e BIGINT, f DOUBLE)"),
    case("untyped_column", "CREATE TABLE t(a)", "CREATE TABLE t(a TEXT)"),
    case("double_quoted_text", "CREATE TABLE t(a DEFAULT \"none\")", "CREATE TABLE t(a DEFAULT 'none', b CHECK(\"b\" <> 'x'))"),
    case("keyword_name", "CREATE TABLE t(\"order\" TEXT)", "CREATE TABLE t(ordering TEXT, key TEXT)"),
    case("awkward_name", "CREATE TABLE \"my table\"(a)", "CREATE TABLE my_table(a)"),
    case("wide_table", WIDE, "CREATE TABLE t(a)"),
    case(
        "without_rowid_wide",
        "CREATE TABLE t(a TEXT PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO t VALUES('x', zeroblob(1000))",
        "CREATE TABLE t(a TEXT PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO t VALUES('x', zeroblob(10))",
    ),
    case("empty_table", "CREATE TABLE t(a)", "CREATE TABLE t(a); INSERT INTO t VALUES(NULL)"),
    // indexes
    case(
        "duplicate_index",
        "CREATE TABLE t(a UNIQUE); CREATE INDEX i ON t(a)",
        "CREATE TABLE t(a, b); CREATE INDEX i ON t(a); CREATE INDEX j ON t(a COLLATE NOCASE); CREATE INDEX k ON t(a) WHERE b; CREATE INDEX l ON t(a, b)",
    ),
    case(
        "redundant_index",
        "CREATE TABLE t(a, b); CREATE INDEX i ON t(a); CREATE INDEX j ON t(a, b)",
        "CREATE TABLE t(a, b); CREATE UNIQUE INDEX i ON t(a); CREATE INDEX j ON t(a, b); CREATE INDEX k ON t(b)",
    ),
    case(
        "index_on_rowid",
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE INDEX i ON t(a)",
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE INDEX i ON t(b, a)",
    ),
    case(
        "unselective_index",
        "CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t SELECT value % 2 FROM generate_series_1000; ANALYZE",
        "CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t SELECT value FROM generate_series_1000; ANALYZE",
    ),
    case(
        "many_indexes",
        "CREATE TABLE t(a, b, c, d, UNIQUE(a), UNIQUE(b), UNIQUE(c), UNIQUE(d), UNIQUE(a, b), UNIQUE(a, c), UNIQUE(a, d), UNIQUE(b, c), UNIQUE(b, d), UNIQUE(c, d), UNIQUE(d, a))",
        "CREATE TABLE t(a, b, c, d, UNIQUE(a), UNIQUE(b), UNIQUE(c), UNIQUE(d))",
    ),
    // statistics
    case(
        "statistics_missing",
        "CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t SELECT value FROM generate_series_1000",
        "CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t SELECT value FROM generate_series_1000; ANALYZE",
    ),
    case(
        "statistics_stale",
        "CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t VALUES(1); ANALYZE; INSERT INTO t SELECT value FROM generate_series_1000",
        "CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t SELECT value FROM generate_series_1000; ANALYZE; INSERT INTO t VALUES(1)",
    ),
    case(
        "statistics_orphaned",
        "CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t VALUES(1); ANALYZE; INSERT INTO sqlite_stat1 VALUES('gone', NULL, '9')",
        "CREATE TABLE t(a PRIMARY KEY) WITHOUT ROWID; INSERT INTO t VALUES(1); ANALYZE",
    ),
];

/// 101 columns.
const WIDE: &str = "CREATE TABLE t(c00,c01,c02,c03,c04,c05,c06,c07,c08,c09,c10,c11,c12,c13,c14,c15,c16,c17,c18,c19,c20,c21,c22,c23,c24,c25,c26,c27,c28,c29,c30,c31,c32,c33,c34,c35,c36,c37,c38,c39,c40,c41,c42,c43,c44,c45,c46,c47,c48,c49,c50,c51,c52,c53,c54,c55,c56,c57,c58,c59,c60,c61,c62,c63,c64,c65,c66,c67,c68,c69,c70,c71,c72,c73,c74,c75,c76,c77,c78,c79,c80,c81,c82,c83,c84,c85,c86,c87,c88,c89,c90,c91,c92,c93,c94,c95,c96,c97,c98,c99,d00)";

/// Needs a host whose SQLite has the bug: tests/sql/integrity/wal_reset.slt runs on old and new ones.
const ELSEWHERE: &[&str] = &["wal_reset_bug"];

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
        let mut made = make(&bad, case.bad);
        if !case.host {
            made = Connection::open_in_memory().unwrap();
            (case.harm)(&bad);
        }
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
    let missing: Vec<_> = declared.iter().filter(|d| !CASES.iter().map(|c| &c.check).chain(ELSEWHERE).any(|c| c == d)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

/// What repair_database does, and that the report finds nothing of it afterwards.
fn repaired(file: &Path, check: &str) -> serde_json::Value {
    let db = Connection::open_in_memory().unwrap();
    dbint::register(&db).unwrap();
    let receipt: String = db.query_row("SELECT repair_database(?1)", [file.to_str()], |r| r.get(0)).unwrap();
    let case = CASES.iter().find(|c| c.check == check).unwrap();
    assert_eq!(findings(file, case, Connection::open_in_memory().unwrap()), 0, "{check} after {receipt}");
    serde_json::from_str(&receipt).unwrap()
}

#[test]
fn repairs_lose_nothing_and_leave_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    for (i, check) in ["index_consistency", "statistics_stale", "statistics_missing", "statistics_orphaned"].into_iter().enumerate() {
        let file = dir.path().join(format!("r{i}.db"));
        let case = CASES.iter().find(|c| c.check == check).unwrap();
        drop(make(&file, case.bad));
        let rows =
            |f: &Path| Connection::open(f).unwrap().query_row("SELECT count(*) || ' ' || total(a) FROM t NOT INDEXED", [], |r| r.get::<_, String>(0)).unwrap();
        let before = rows(&file);
        let receipt = repaired(&file, check);
        assert_eq!(receipt["status"], "DONE", "{receipt}");
        assert_eq!(rows(&file), before);
        assert_eq!(rows(Path::new(receipt["backup"].as_str().unwrap())), before);
    }
}

#[test]
fn leftovers_go_only_when_they_hold_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (rollback, wal) = (dir.path().join("rollback.db"), dir.path().join("wal.db"));
    drop(make(&rollback, TABLE));
    fs::write(beside(&rollback, "-wal"), "left").unwrap();
    assert_eq!(repaired(&rollback, "journal_leftovers")["status"], "DONE");
    drop(make(&wal, &format!("PRAGMA journal_mode=WAL; {TABLE}")));
    fs::write(beside(&wal, "-journal"), [0; 600]).unwrap();
    assert_eq!(repaired(&wal, "journal_leftovers")["status"], "DONE");
    assert!(!beside(&wal, "-journal").exists() && !beside(&rollback, "-wal").exists());
    for f in [rollback, wal] {
        let n: i64 = Connection::open(f).unwrap().query_row("SELECT count(*) FROM t", [], |r| r.get(0)).unwrap();
        assert_eq!(n, 1000);
    }
}

#[test]
fn a_damaged_database_is_not_mended_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("damaged.db");
    drop(make(&file, TABLE));
    patch(&file, 3 * 4096, &[0xff; 4096]);
    let before = fs::read(&file).unwrap();
    let db = Connection::open_in_memory().unwrap();
    dbint::register(&db).unwrap();
    let e = db.query_row("SELECT repair_database(?1)", [file.to_str()], |r| r.get::<_, String>(0)).unwrap_err().to_string();
    assert!(e.contains("nothing of it was touched") && e.contains("recovery_plan"), "{e}");
    assert_eq!(fs::read(&file).unwrap(), before);
    let plan = "SELECT group_concat(action, ', ') FROM recovery_plan(?1)";
    let plan: String = db.query_row(plan, [file.to_str()], |r| r.get(0)).unwrap();
    assert!(plan.starts_with("keep the damaged file, salvage, check what was saved, look through lost_and_found") && plan.ends_with("check again"), "{plan}");
}

#[test]
fn dbints_own_tables_are_not_held_against_the_user() {
    let db = Connection::open_in_memory().unwrap();
    dbint::register(&db).unwrap();
    db.execute_batch("SELECT dbint_init(); CREATE TABLE orders(note)").unwrap();
    let mut q = db
        .prepare("SELECT check_name || ' ' || table_name FROM integrity_report WHERE NOT passed AND check_name IN ('empty_table', 'table_without_key')")
        .unwrap();
    let told: Vec<String> = q.query_map([], |r| r.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(told, ["table_without_key orders", "empty_table orders"]);
}
