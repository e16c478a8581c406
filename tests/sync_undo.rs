//! `undo_sync` after each kind of sync: by plain SQL, the target is to the bit what it was; and a target that has moved on is left alone.
use dbint_tests::Way;
use rusqlite::{Connection, types::ValueRef};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

/// A kind of sync: both tables, what is in them, and the options.
struct Kind {
    name: &'static str,
    source: &'static str,
    target: &'static str,
    options: &'static str,
    tracked: bool,
}

const ROWS: &str =
    "INSERT INTO t(id, a, b) VALUES(1, 'one', 0.1), (2, NULL, -0.0), (3, x'00ff', 9e999), (4, 'four', 9223372036854775807), (6, 'a' || char(0) || 'b', 1.0);";
const OTHER: &str = "INSERT INTO t(id, a, b) VALUES(1, 'ONE', 0.1), (2, NULL, 0.0), (3, '00ff', -9e999), (4, 'four', 9223372036854775807), (5, 'mine', 1), (7, CAST(x'c328' AS TEXT), 1);";
const PLAIN: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b);";

const KINDS: &[Kind] = &[
    Kind { name: "incremental", source: PLAIN, target: PLAIN, options: "{}", tracked: false },
    Kind { name: "insert, update and delete", source: PLAIN, target: PLAIN, options: r#"{"delete":true}"#, tracked: false },
    Kind { name: "full", source: PLAIN, target: PLAIN, options: r#"{"mode":"full"}"#, tracked: false },
    Kind { name: "tracked", source: PLAIN, target: PLAIN, options: "{}", tracked: true },
    Kind {
        name: "WITHOUT ROWID",
        source: "CREATE TABLE t(id INT, a, b, PRIMARY KEY(id)) WITHOUT ROWID;",
        target: "CREATE TABLE t(id INT, a, b, PRIMARY KEY(id)) WITHOUT ROWID;",
        options: r#"{"mode":"full"}"#,
        tracked: false,
    },
    Kind { name: "no key", source: "CREATE TABLE t(id, a, b);", target: "CREATE TABLE t(id, a, b);", options: r#"{"mode":"full"}"#, tracked: false },
    Kind { name: "no key, tracked", source: "CREATE TABLE t(id, a, b);", target: "CREATE TABLE t(id, a, b);", options: "{}", tracked: true },
    Kind {
        name: "the target's own column, order and generated column",
        source: PLAIN,
        target: "CREATE TABLE t(b, own DEFAULT 7, g AS (typeof(a)) STORED, a, id INTEGER PRIMARY KEY);",
        options: r#"{"mode":"full"}"#,
        tracked: false,
    },
    Kind {
        name: "triggers and an index",
        source: PLAIN,
        target: "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); CREATE TABLE seen(n); CREATE INDEX t_a ON t(a); CREATE TRIGGER x AFTER UPDATE ON t BEGIN INSERT INTO seen VALUES(NEW.id); END;",
        options: r#"{"mode":"full"}"#,
        tracked: false,
    },
    Kind {
        name: "values that change places",
        source: "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, u UNIQUE AS (0 - id) STORED);",
        target: "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, u UNIQUE AS (0 - id) STORED);",
        options: r#"{"mode":"full"}"#,
        tracked: false,
    },
    Kind {
        name: "a NOCASE key",
        source: "CREATE TABLE t(id INT, a TEXT COLLATE NOCASE, b, PRIMARY KEY(a, id));",
        target: "CREATE TABLE t(id INT, a TEXT COLLATE NOCASE, b, PRIMARY KEY(a, id));",
        options: r#"{"mode":"full"}"#,
        tracked: false,
    },
    Kind {
        name: "some columns and a condition",
        source: PLAIN,
        target: PLAIN,
        options: r#"{"columns":["a"],"where":"id <> 1","delete":true}"#,
        tracked: false,
    },
];

struct Files {
    _dir: tempfile::TempDir,
    host: Connection,
    source: PathBuf,
    target: PathBuf,
}

fn files(source: &str, target: &str) -> Files {
    let fast = Path::new("/dev/shm");
    let dir = if fast.is_dir() { tempfile::tempdir_in(fast) } else { tempfile::tempdir() }.unwrap();
    let host = Connection::open(dir.path().join("hub.db")).unwrap();
    Way::Linked.register(&host).unwrap();
    host.query_row("SELECT dbint_init()", [], |_| Ok(())).unwrap();
    let make = |name: &str, sql: &str| {
        let file = dir.path().join(name);
        Connection::open(&file).unwrap().execute_batch(&format!("CREATE TABLE other(x); {sql}")).unwrap();
        file
    };
    let (source, target) = (make("source.db", source), make("target.db", target));
    Files { _dir: dir, host, source, target }
}

impl Files {
    fn ask(&self, sql: &str, values: &[&str]) -> Result<Json, String> {
        let answer = self.host.query_row(sql, rusqlite::params_from_iter(values), |r| r.get::<_, String>(0));
        answer.map(|a| serde_json::from_str(&a).unwrap()).map_err(|e| e.to_string())
    }

    fn sync(&self, options: &str) -> Json {
        let mut o: Json = serde_json::from_str(options).unwrap();
        o["source"] = json!(self.source.to_str());
        self.ask("SELECT sync_table('t', ?, ?)", &[self.target.to_str().unwrap(), &o.to_string()]).unwrap()
    }

    fn undo(&self, receipt: &Json) -> Result<Json, String> {
        self.ask("SELECT undo_sync(?)", &[receipt["sync_id"].as_str().unwrap()])
    }

    fn track(&self, file: &Path) {
        self.ask("SELECT json_array(track_changes('t', ?))", &[&json!({"db": file.to_str()}).to_string()]).unwrap();
    }
}

/// Every user's table with its statement and rows, by type and bytes.
fn content(file: &Path) -> Vec<String> {
    let db = Connection::open(file).unwrap();
    assert_eq!(db.query_row("PRAGMA integrity_check", [], |r| r.get::<_, String>(0)).unwrap(), "ok");
    let sql = "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'dbint\\_%' ESCAPE '\\' AND name <> 'sqlite_sequence' AND sql IS NOT NULL ORDER BY name";
    let mut q = db.prepare(sql).unwrap();
    let all: Vec<(String, String)> = q.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap();
    let mut lines = vec![];
    for (name, sql) in all {
        lines.push(sql.clone());
        if !sql.starts_with("CREATE TABLE") {
            continue;
        }
        let mut q = db.prepare(&format!("SELECT * FROM \"{name}\"")).unwrap();
        let width = q.column_count();
        let shown = |v: ValueRef<'_>| match v {
            ValueRef::Real(v) => format!("real {:x}", v.to_bits()),
            other => format!("{other:?}"),
        };
        let rows = q.query_map([], |r| Ok((0..width).map(|i| shown(r.get_ref(i).unwrap())).collect::<Vec<_>>().join(", "))).unwrap();
        let mut rows: Vec<String> = rows.collect::<Result<_, _>>().unwrap();
        rows.sort();
        lines.extend(rows);
    }
    lines
}

fn change(file: &Path, sql: &str) {
    Connection::open(file).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn each_kind_is_taken_back_to_the_bit() {
    for k in KINDS {
        let f = files(&format!("{}{ROWS}", k.source), &format!("{}{OTHER}", k.target));
        if k.tracked {
            f.track(&f.source);
            f.sync("{}");
            change(&f.source, "DELETE FROM t WHERE id = 4; UPDATE t SET b = b + 1 WHERE id = 1; INSERT INTO t(id, a, b) VALUES(9, 'nine', 9)");
        }
        let before = content(&f.target);
        let done = f.sync(k.options);
        assert_eq!(done["undo"], true, "{}: {done}", k.name);
        let after = content(&f.target);
        assert_ne!(before, after, "{}", k.name);
        f.undo(&done).unwrap_or_else(|e| panic!("{}: {e}", k.name));
        assert_eq!(content(&f.target), before, "{}", k.name);
        let twice = f.undo(&done).unwrap_err();
        assert!(twice.contains("undone already"), "{twice}");
        let again = f.sync(k.options);
        // Where a log told of deletions, the next sync compares all rows and deletes none unasked.
        if !k.tracked {
            assert_eq!(content(&f.target), after, "{}: {again}", k.name);
        }
        let row = if k.tracked { "a = 'nine'" } else { "a = 'one'" };
        change(&f.target, &format!("UPDATE t SET b = 'later' WHERE {}", if k.name.starts_with("some") { "a = x'00ff'" } else { row }));
        let moved = content(&f.target);
        let refused = f.undo(&again).unwrap_err();
        assert!(refused.contains("moved on") && refused.contains("[DBINT_CONFLICT]"), "{}: {refused}", k.name);
        assert_eq!(content(&f.target), moved, "{}: a refused undo changed something", k.name);
    }
}

#[test]
fn a_refill_and_a_created_table_go_again() {
    for (target, options) in [(PLAIN, "{}"), (PLAIN, r#"{"mode":"full","where":"id > 1"}"#), ("", "{}")] {
        let f = files(&format!("{PLAIN}{ROWS}"), target);
        let before = content(&f.target);
        let done = f.sync(options);
        assert_eq!((&done["method"], done["created_table"] == true), (&json!("refill"), target.is_empty()));
        f.undo(&done).unwrap();
        assert_eq!(content(&f.target), before);
        let done = f.sync(options);
        change(&f.target, "UPDATE t SET a = 'x' WHERE id = 2");
        let moved = content(&f.target);
        assert!(f.undo(&done).unwrap_err().contains("moved on"));
        assert_eq!(content(&f.target), moved);
    }
}

#[test]
fn both_ways_are_taken_back_one_by_one() {
    let f = files(&format!("{PLAIN}{ROWS}"), &format!("{PLAIN}{ROWS}"));
    f.track(&f.source);
    f.track(&f.target);
    let both = r#"{"direction":"both"}"#;
    f.sync(both);
    change(&f.source, "UPDATE t SET a = 'here' WHERE id < 3; DELETE FROM t WHERE id = 6");
    change(&f.target, "UPDATE t SET a = 'there' WHERE id IN (2, 4); INSERT INTO t VALUES(8, 'there', NULL)");
    let before = (content(&f.source), content(&f.target));
    let done = f.sync(both);
    assert_eq!(content(&f.source), content(&f.target));
    f.undo(&done["back"]).unwrap();
    f.undo(&done).unwrap();
    assert_eq!((content(&f.source), content(&f.target)), before);
}

#[test]
fn an_atomic_sync_over_several_is_taken_back() {
    let f = files(&format!("{PLAIN}{ROWS}"), &format!("{PLAIN}{OTHER}"));
    let second = f.target.with_file_name("second.db");
    change(&second, &format!("CREATE TABLE other(x); {PLAIN} {OTHER} DELETE FROM t WHERE id = 1"));
    for target in [&f.target, &second] {
        let sql = "INSERT INTO sync_mapping(source_db, tables, target_db, sync_type) VALUES(?, 't', ?, 'FULL')";
        f.host.execute(sql, [f.source.to_str(), target.to_str()]).unwrap();
    }
    let before = (content(&f.target), content(&second));
    let done = f.ask("SELECT sync_all('{\"atomic\":true,\"backup\":false}')", &[]).unwrap();
    assert_eq!((content(&f.target), content(&second)), (content(&f.source), content(&f.source)));
    for r in done["results"].as_array().unwrap() {
        f.undo(r).unwrap();
    }
    assert_eq!((content(&f.target), content(&second)), before);
}

#[test]
fn an_atomic_sync_of_two_sources_into_one_table_sees_what_it_wrote() {
    for target in [format!("{PLAIN}{OTHER}"), PLAIN.into()] {
        let f = files(&format!("{PLAIN}{ROWS}"), &target);
        let second = f.target.with_file_name("second.db");
        // Rows that the target has in this form before, rows only the first source has, and a table that nobody has written.
        change(&second, &format!("CREATE TABLE other(x); INSERT INTO other VALUES(1); {PLAIN} {OTHER} INSERT INTO t VALUES(6, 'second', 6)"));
        for (source, tables) in [(&f.source, "t"), (&second, "t,other")] {
            let sql = "INSERT INTO sync_mapping(source_db, tables, target_db, sync_type) VALUES(?, ?, ?, 'FULL')";
            f.host.execute(sql, [source.to_str(), Some(tables), f.target.to_str()]).unwrap();
        }
        change(&f.target, "INSERT INTO other VALUES(2)");
        let before = content(&f.target);
        let done = f.ask("SELECT sync_all('{\"atomic\":true,\"backup\":false}')", &[]).unwrap();
        assert_eq!(content(&f.target), content(&second), "{done}");
        let [_, again, other] = done["results"].as_array().unwrap().as_slice() else { panic!("{done}") };
        assert_eq!(again["method"], "rowid_merge", "{done}");
        assert!(again["passed_over"].to_string().contains("not committed"), "{done}");
        assert_eq!(other["method"], "pages", "{done}");
        for r in done["results"].as_array().unwrap().iter().rev() {
            f.undo(r).unwrap();
        }
        assert_eq!(content(&f.target), before);
    }
}
