//! Programs without dbint write to tracked tables in every way SQL has; what the log says is enough to follow them.
//!
//! The writer is the system's own `sqlite3`. TRACK_ROUNDS and TRACK_SEED choose how many random scripts run, and which.
use dbint_tests::Way;
use rusqlite::Connection;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

/// Runs a script in the plain client; failing statements are part of the game.
fn write(file: &Path, script: &str) {
    let mut child = Command::new("sqlite3").arg("-batch").arg(file).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&out.stderr).into_owned();
    for line in errors.lines().filter(|l| l.contains("rror")) {
        assert!(
            line.contains("constraint") || line.contains("datatype mismatch") || line.contains("no such savepoint") || line.contains("transaction"),
            "{line}\n{script}"
        );
    }
}

struct Shape {
    schema: &'static str,
    /// `track_changes` options.
    options: &'static str,
    columns: &'static [&'static str],
    key: &'static [&'static str],
    /// Columns an UPSERT may name.
    upsert: &'static str,
    rowid: bool,
}

const SHAPES: &[Shape] = &[
    Shape {
        schema: "CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT UNIQUE, v, n INT); CREATE UNIQUE INDEX t_n ON t(n) WHERE n > 3; CREATE UNIQUE INDEX t_v ON t(lower(v) || '-' || ifnull(n, 0) DESC)",
        options: "{}",
        columns: &["id", "u", "v", "n"],
        key: &["id"],
        upsert: "u",
        rowid: true,
    },
    Shape {
        schema: "CREATE TABLE t(k TEXT PRIMARY KEY, u UNIQUE ON CONFLICT REPLACE, v COLLATE NOCASE, n REAL); CREATE UNIQUE INDEX t_vn ON t(v, n COLLATE BINARY)",
        options: "{}",
        columns: &["k", "u", "v", "n"],
        key: &["k"],
        upsert: "k",
        rowid: true,
    },
    Shape {
        schema: "CREATE TABLE t(v, b TEXT COLLATE NOCASE, a INT, u UNIQUE, PRIMARY KEY(a, b)) WITHOUT ROWID; CREATE UNIQUE INDEX t_v ON t(v) WHERE a > 2",
        options: "{}",
        columns: &["v", "b", "a", "u"],
        key: &["a", "b"],
        upsert: "u",
        rowid: false,
    },
    Shape {
        schema: "CREATE TABLE t(x UNIQUE ON CONFLICT REPLACE, y, z TEXT); CREATE UNIQUE INDEX t_yz ON t(y, z)",
        options: "{}",
        columns: &["x", "y", "z"],
        key: &["x", "y", "z"],
        upsert: "x",
        rowid: true,
    },
    Shape {
        schema: "CREATE TABLE t(a INT, b TEXT, v, u UNIQUE, PRIMARY KEY(a, b))",
        options: "{}",
        columns: &["a", "b", "v", "u"],
        key: &["a", "b"],
        upsert: "a, b",
        rowid: true,
    },
    Shape {
        schema: "CREATE TABLE t(id INTEGER PRIMARY KEY ON CONFLICT REPLACE, e TEXT, g AS (lower(e)) STORED UNIQUE, w AS (n + 1) VIRTUAL, n INT); CREATE UNIQUE INDEX t_w ON t(w)",
        options: r#"{"keys":["e"]}"#,
        columns: &["id", "e", "n"],
        key: &["e"],
        upsert: "id",
        rowid: true,
    },
    Shape {
        schema: "CREATE TABLE t(k INT PRIMARY KEY, m TEXT NOT NULL ON CONFLICT REPLACE DEFAULT 'a' UNIQUE, v INT)",
        options: "{}",
        columns: &["k", "m", "v"],
        key: &["k"],
        upsert: "k",
        rowid: true,
    },
    Shape {
        schema: "CREATE TABLE p(id INTEGER PRIMARY KEY, u UNIQUE); INSERT INTO p VALUES(1, 1), (2, 2), (3, 3), (4, 4);
                 CREATE TABLE t(k INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE, q REFERENCES p(u) ON DELETE SET NULL ON UPDATE SET DEFAULT, v UNIQUE);
                 CREATE TRIGGER mine AFTER UPDATE ON t WHEN NEW.v = 'b' BEGIN UPDATE t SET v = NULL WHERE k = NEW.k + 1; INSERT OR REPLACE INTO t VALUES(7, NULL, NULL, 'c'); END",
        options: "{}",
        columns: &["k", "p", "q", "v"],
        key: &["k"],
        upsert: "v",
        rowid: true,
    },
];

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
    fn value(&mut self) -> &'static str {
        self.pick(&["NULL", "1", "2", "3", "4", "5", "6", "7", "1.0", "2.5", "'a'", "'A'", "'b'", "'B'", "'c'", "''", "x'61'", "'3'", "-1"])
    }
}

const OR: [&str; 8] = ["", "", "", "OR REPLACE", "OR REPLACE", "OR IGNORE", "OR FAIL", "OR ROLLBACK"];

fn statement(r: &mut Random, s: &Shape, seen: &mut BTreeMap<&'static str, u32>) -> String {
    let row = |r: &mut Random| (0..s.columns.len()).map(|_| r.value()).collect::<Vec<_>>().join(", ");
    let columns = s.columns.join(", ");
    let condition = |r: &mut Random| match r.below(3) {
        0 => format!("{} = {}", r.pick(s.columns), r.value()),
        1 => format!("{} > {}", r.pick(s.columns), r.value()),
        _ => format!("{} IS {}", r.pick(s.columns), r.value()),
    };
    let (kind, sql) = match r.below(15) {
        0..=2 => ("insert", format!("INSERT {} INTO t({columns}) VALUES({}), ({})", r.pick(&OR), row(r), row(r))),
        3 => ("replace", format!("REPLACE INTO t({columns}) VALUES({})", row(r))),
        4 if s.rowid && s.columns[0] != "id" => {
            ("rowid given", format!("INSERT OR REPLACE INTO t(rowid, {columns}) VALUES({}, {})", r.pick(&["-1", "1", "2", "3"]), row(r)))
        }
        4 | 5 => {
            ("upsert", format!("INSERT INTO t({columns}) VALUES({}) ON CONFLICT({}) DO UPDATE SET {} = {}", row(r), s.upsert, r.pick(s.columns), r.value()))
        }
        6 => ("do nothing", format!("INSERT INTO t({columns}) VALUES({}) ON CONFLICT DO NOTHING", row(r))),
        7 | 8 => ("update", format!("UPDATE {} t SET {} = {} WHERE {}", r.pick(&OR), r.pick(s.columns), r.value(), condition(r))),
        9 => ("key change", format!("UPDATE {} t SET {k} = {k} + {} WHERE {}", r.pick(&OR), r.pick(&["1", "-1", "10"]), condition(r), k = r.pick(s.key))),
        10 if s.rowid => (
            "rowid change",
            format!("UPDATE OR REPLACE t SET {} = {} WHERE {}", r.pick(&["rowid", "oid", "_ROWID_"]), r.pick(&["-1", "1", "2", "rowid + 1"]), condition(r)),
        ),
        10 => ("update two", format!("UPDATE OR REPLACE t SET {} = {}, {} = {}", s.columns[0], r.value(), s.columns[1], r.value())),
        11 => ("delete", format!("DELETE FROM t WHERE {}", condition(r))),
        12 if r.below(4) == 0 => ("delete all", "DELETE FROM t".into()),
        12 => ("from itself", format!("INSERT OR REPLACE INTO t({columns}) SELECT {columns} FROM t WHERE {}", condition(r))),
        13 => match r.below(8) {
            0 => ("begin", "BEGIN".into()),
            1 => ("savepoint", "SAVEPOINT s".into()),
            2 | 3 => ("rollback to", "ROLLBACK TO s".into()),
            4 => ("release", "RELEASE s".into()),
            5 => ("commit", "COMMIT".into()),
            _ => ("rollback", "ROLLBACK".into()),
        },
        _ => match r.below(4) {
            0 => ("recursive on", "PRAGMA recursive_triggers=ON".into()),
            1 => ("recursive off", "PRAGMA recursive_triggers=OFF".into()),
            _ if s.schema.contains("REFERENCES") => match r.below(3) {
                0 => (
                    "cascade delete",
                    format!(
                        "DELETE FROM p WHERE id = {}; INSERT OR IGNORE INTO p VALUES({}, {})",
                        r.value(),
                        r.pick(&["1", "2", "3"]),
                        r.pick(&["1", "2", "3"])
                    ),
                ),
                1 => ("cascade update", format!("UPDATE OR IGNORE p SET id = {}, u = {} WHERE id = {}", r.pick(&["1", "2", "3", "4"]), r.value(), r.value())),
                _ => ("cascade replace", format!("REPLACE INTO p VALUES({}, {})", r.pick(&["1", "2", "3", "4"]), r.value())),
            },
            _ => ("swap", format!("UPDATE OR REPLACE t SET {k} = CASE {k} WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE {k} END", k = s.columns[1])),
        },
    };
    *seen.entry(kind).or_default() += 1;
    sql
}

/// Follows the log from `after`: takes each key away and puts in the rows that have it now. Gives the log's end.
fn follow(db: &Connection, s: &Shape, after: i64) -> i64 {
    let columns = s.columns.join(", ");
    let same = |side: &str| s.key.iter().enumerate().map(|(i, k)| format!("{side}.{k} IS l.k{}", i + 1)).collect::<Vec<_>>().join(" AND ");
    db.execute_batch(&format!(
        "BEGIN; DELETE FROM mirror.m WHERE EXISTS(SELECT 1 FROM main.dbint_changes_t AS l WHERE seq > {after} AND {});
         INSERT INTO mirror.m({columns}) SELECT {columns} FROM main.t WHERE EXISTS(SELECT 1 FROM main.dbint_changes_t AS l WHERE seq > {after} AND {}); COMMIT",
        same("m"),
        same("t")
    ))
    .unwrap();
    db.query_row("SELECT ifnull(max(seq), 0) FROM dbint_changes_t", [], |r| r.get(0)).unwrap()
}

fn content(db: &Connection, table: &str, s: &Shape) -> Vec<String> {
    let show = s.columns.iter().map(|c| format!("quote({c})")).collect::<Vec<_>>().join(" || ',' || ");
    let mut q = db.prepare(&format!("SELECT {show} FROM {table} ORDER BY 1")).unwrap();
    q.query_map([], |r| r.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_mirror_that_follows_the_log_stays_equal() {
    let number = |name: &str, or: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(or);
    let (rounds, seed) = (number("TRACK_ROUNDS", 64), number("TRACK_SEED", 1));
    let mut seen = BTreeMap::new();
    for round in 0..rounds {
        let s = &SHAPES[round as usize % SHAPES.len()];
        let mut r = Random((seed * 1_000_003 + round).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("source.db");
        let db = Connection::open(&file).unwrap();
        Way::Linked.register(&db).unwrap();
        db.execute_batch("PRAGMA synchronous=OFF").unwrap();
        if r.below(2) == 0 {
            db.execute_batch("PRAGMA journal_mode=WAL").unwrap();
        }
        db.execute_batch(s.schema).unwrap();
        db.query_row("SELECT track_changes('t', ?)", [s.options], |_| Ok(())).unwrap();
        // Keys are matched by the table's own collation, as any follower must.
        let collation = |c: &str| if s.schema.contains(&format!("{c} TEXT COLLATE NOCASE")) { " COLLATE NOCASE" } else { "" };
        let plain = s.columns.iter().map(|c| format!("{c}{}", collation(c))).collect::<Vec<_>>().join(", ");
        db.execute_batch(&format!("ATTACH ':memory:' AS mirror; CREATE TABLE mirror.m({plain})")).unwrap();
        let mut at = 0;
        for _ in 0..5 {
            let mut script = String::from("PRAGMA synchronous=OFF; PRAGMA foreign_keys=ON;\n");
            for _ in 0..15 {
                script += &statement(&mut r, s, &mut seen);
                script += ";\n";
            }
            script += if r.below(2) == 0 { "COMMIT;\n" } else { "" };
            write(&file, &script);
            at = follow(&db, s, at);
            assert_eq!(content(&db, "mirror.m", s), content(&db, "main.t", s), "round {round}, seed {seed}, {}\n{script}", s.schema);
            if r.below(3) == 0 {
                db.query_row("SELECT compact_changes('t')", [], |_| Ok(())).unwrap();
                let end: i64 = db.query_row("SELECT ifnull(max(seq), 0) FROM dbint_changes_t", [], |r| r.get(0)).unwrap();
                assert_eq!(end, at, "compaction keeps the end of the log");
            }
        }
        // What a target that never followed sees is enough for it, too.
        db.execute_batch("DELETE FROM mirror.m").unwrap();
        follow(&db, s, 0);
        assert_eq!(content(&db, "mirror.m", s), content(&db, "main.t", s), "from the start: round {round}, seed {seed}");
        let status: String = db.query_row("SELECT status FROM tracked_changes", [], |r| r.get(0)).unwrap();
        assert_eq!(status, "ok");
    }
    let kinds = ["insert", "replace", "rowid given", "upsert", "do nothing", "update", "key change", "rowid change", "delete", "delete all", "from itself"];
    for kind in kinds.into_iter().chain(["swap", "rollback to", "rollback", "recursive on", "cascade delete", "cascade update", "cascade replace"]) {
        assert!(rounds < 64 || seen.contains_key(kind), "never tried: {kind}");
    }
    println!("{rounds} scripts, seed {seed}: {seen:?}");
}

/// One statement each: exactly these keys.
#[test]
fn exactly_the_right_keys() {
    let base =
        "CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, v, n INT); CREATE UNIQUE INDEX t_p ON t(n) WHERE n > 5; CREATE UNIQUE INDEX t_e ON t(lower(v));
                INSERT INTO t VALUES(1, 'a', 'x', 6), (2, 'b', 'y', 7), (3, 'c', 'z', 1), (4, NULL, NULL, NULL)";
    let text = "CREATE TABLE t(k TEXT PRIMARY KEY, u UNIQUE); INSERT INTO t VALUES('a', 1), ('b', 2), (NULL, 3), (NULL, 4)";
    let cascade = "CREATE TABLE p(id INTEGER PRIMARY KEY); INSERT INTO p VALUES(1), (2); CREATE TABLE t(k INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE);
                   INSERT INTO t VALUES(10, 1), (20, 2), (30, 1)";
    let cases: &[(&str, &str, &str)] = &[
        (base, "INSERT INTO t VALUES(9, 'q', 'q', 9)", "9"),
        (base, "INSERT OR REPLACE INTO t VALUES(9, 'a', NULL, 7)", "1 2 9"),
        (base, "INSERT OR REPLACE INTO t VALUES(9, NULL, 'Z', 1)", "3 9"),
        (base, "INSERT OR REPLACE INTO t VALUES(2, 'b', 'y', 7)", "2"),
        (base, "UPDATE OR REPLACE t SET u = 'b' WHERE id = 1", "1 2"),
        (base, "UPDATE OR REPLACE t SET n = 7 WHERE id = 3", "2 3"),
        (base, "UPDATE OR REPLACE t SET v = 'X' WHERE id = 3", "1 3"),
        (base, "UPDATE OR REPLACE t SET id = 2 WHERE id = 1", "1 2"),
        (base, "UPDATE OR REPLACE t SET rowid = 3 WHERE id = 1", "1 3"),
        (base, "UPDATE t SET id = id + 100 WHERE id > 2", "3 4 103 104"),
        (base, "INSERT INTO t VALUES(9, 'a', NULL, NULL) ON CONFLICT(u) DO UPDATE SET v = 'w'", "1"),
        (base, "INSERT INTO t VALUES(1, NULL, NULL, NULL) ON CONFLICT(id) DO UPDATE SET id = 50", "1 50"),
        (base, "DELETE FROM t", "1 2 3 4"),
        (base, "BEGIN; UPDATE t SET v = NULL; SAVEPOINT s; DELETE FROM t; ROLLBACK TO s; ROLLBACK", ""),
        (base, "BEGIN; SAVEPOINT s; DELETE FROM t; ROLLBACK TO s; UPDATE t SET n = 0 WHERE id = 4; COMMIT", "4"),
        (base, "INSERT INTO t VALUES(9, 'a', NULL, NULL)", ""),
        (base, "PRAGMA recursive_triggers=ON; INSERT OR REPLACE INTO t VALUES(9, 'a', 'y', 9)", "1 2 9"),
        (base, "UPDATE t SET n = n WHERE 0", ""),
        (text, "UPDATE t SET u = u + 10 WHERE k IS NULL", "NULL"),
        (text, "INSERT OR REPLACE INTO t(rowid, k, u) VALUES(1, 'c', 9)", "'a' 'c'"),
        (text, "UPDATE OR REPLACE t SET oid = 1 WHERE k = 'b'", "'a' 'b'"),
        (text, "UPDATE t SET k = 'z' WHERE u = 2", "'b' 'z'"),
        (cascade, "PRAGMA foreign_keys=ON; DELETE FROM p WHERE id = 1", "10 30"),
        (cascade, "PRAGMA foreign_keys=ON; UPDATE p SET id = 7 WHERE id = 2", "20"),
        (cascade, "PRAGMA foreign_keys=ON; REPLACE INTO p VALUES(1)", "10 30"),
    ];
    for (schema, sql, keys) in cases {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t.db");
        let db = Connection::open(&file).unwrap();
        Way::Linked.register(&db).unwrap();
        db.execute_batch(schema).unwrap();
        db.query_row("SELECT track_changes('t')", [], |_| Ok(())).unwrap();
        write(&file, sql);
        let mut q = db.prepare("SELECT DISTINCT quote(k1) FROM dbint_changes_t ORDER BY k1").unwrap();
        let got: Vec<String> = q.query_map([], |r| r.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(got.join(" "), *keys, "{sql}");
    }
}

/// Keys keep their type and every bit: no JSON, no SQL text in between.
#[test]
fn keys_are_typed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.db");
    let db = Connection::open(&file).unwrap();
    Way::Linked.register(&db).unwrap();
    db.execute_batch("CREATE TABLE t(k PRIMARY KEY)").unwrap();
    db.query_row("SELECT track_changes('t')", [], |_| Ok(())).unwrap();
    write(
        &file,
        "INSERT INTO t VALUES(0.1 + 0.2), (-0.0), (9223372036854775807), (9007199254740993), (x'00ff'), ('a' || char(0) || 'b'), (CAST(x'fe' AS TEXT)), ('7'), (8), (1e999)",
    );
    let same: i64 = db
        .query_row(
            "SELECT count(*) FROM t JOIN dbint_changes_t AS l ON t.rowid = l.seq AND t.k IS l.k1 AND typeof(t.k) = typeof(l.k1) AND hex(t.k) = hex(l.k1)",
            [],
            |r| r.get(0),
        )
        .unwrap();
    assert_eq!(same, 10);
    let bits = |sql: &str| db.query_row(sql, [], |r| r.get::<_, f64>(0)).unwrap().to_bits();
    assert_eq!(bits("SELECT k1 FROM dbint_changes_t WHERE seq = 1"), (0.1f64 + 0.2).to_bits());
    let kinds: BTreeSet<String> =
        db.prepare("SELECT typeof(k1) FROM dbint_changes_t").unwrap().query_map([], |r| r.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(kinds.len(), 4);
}
