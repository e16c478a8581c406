//! The shell without a terminal: arguments, pipes, scripts, exit codes.
use dbint_tests::shell;
use rusqlite::Connection;
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn scratch() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn run(dir: &Path, args: &[&str], input: &[u8]) -> Ran {
    let mut c = Command::new(shell());
    c.args(args).current_dir(dir).env("HOME", dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = c.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || {
        // A shell that stops at an error reads no further.
        let _ = stdin.write_all(&input);
    });
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    let text = |b: Vec<u8>| String::from_utf8_lossy(&b).into_owned();
    Ran { code: status.code(), out: text(stdout), err: text(stderr) }
}

#[test]
fn arguments_run_and_leave() {
    let dir = scratch();
    let ran =
        run(dir.path(), &["a.db", "CREATE TABLE t(x, y); INSERT INTO t VALUES(1, NULL), (2, 'two')", "SELECT * FROM t", ".mode json", "SELECT * FROM t;"], b"");
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "1|\n2|two\n[{\"x\":1,\"y\":null},\n{\"x\":2,\"y\":\"two\"}]\n", ""));
    let ran = run(dir.path(), &["-m", "csv", "a.db", "SELECT * FROM t"], b"");
    assert_eq!(ran.out, "x,y\n1,\n2,two\n");
    let ran = run(dir.path(), &["--readonly", "a.db", "DELETE FROM t"], b"");
    assert_eq!((ran.code, ran.err.contains("readonly")), (Some(1), true), "{}", ran.err);
}

#[test]
fn the_first_error_stops_a_script_and_tells_its_line() {
    let dir = scratch();
    let script = b"SELECT 1;\n\nSELECT\n  nonsense;\nSELECT 2;\n.exit 7\n";
    let ran = run(dir.path(), &[], script);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(1), "1\n", "Error: line 3: no such column: nonsense\n"));
    let ran = run(dir.path(), &["--no-bail"], script);
    assert_eq!((ran.code, ran.out.as_str()), (Some(7), "1\n2\n"));
    fs::write(dir.path().join("a.sql"), script).unwrap();
    let ran = run(dir.path(), &["a.db", ".read a.sql"], b"");
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), "Error: a.sql line 3: no such column: nonsense\n"));
    let ran = run(dir.path(), &[], b".bail off\nSELECT x;\nSELECT 3");
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), "3\n"));
}

#[test]
fn usage_errors_have_codes_and_leave_no_files() {
    let dir = scratch();
    fs::write(dir.path().join("text.db"), "certainly not a database, though long enough to have had a header of one hundred bytes if it were").unwrap();
    for (args, code, told) in [
        (&["--mode", "nosuch"][..], 2, "possible values"),
        (&["nowhere/a.db", "SELECT 1"], 1, "no folder \"nowhere\""),
        (&["text.db", "SELECT 1"], 1, "\"text.db\" is not a SQLite database"),
        (&["--readonly", "missing.db", "SELECT 1"], 1, "missing.db"),
        (&[".", "SELECT 1"], 1, "is a folder"),
        (&["dmeo"], 1, "Did you mean \"demo\"?"),
        (&["new.db", "SELECT * FROM t"], 1, "this database is new and empty"),
    ] {
        let ran = run(dir.path(), args, b"");
        assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.err);
        assert!(ran.err.contains(told), "{args:?}: {}", ran.err);
    }
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["text.db"]);
}

#[test]
fn odd_input() {
    let dir = scratch();
    let binary: Vec<u8> = (0..200_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let ran = run(dir.path(), &[], &binary);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.starts_with("Error: line 1: ") && ran.err.len() < 10_000, "{}", ran.err);
    let ran = run(dir.path(), &[], b"SELECT 'abc");
    assert_eq!((ran.code, ran.err.contains("unrecognized token")), (Some(1), true), "{}", ran.err);
    let megabyte = format!("SELECT length('{}');", "x".repeat(1_000_000));
    assert_eq!(run(dir.path(), &[], megabyte.as_bytes()).out, "1000000\n");
    let rows = format!("SELECT count(*) FROM (VALUES {}(0));", "(1),".repeat(250_000));
    assert_eq!(run(dir.path(), &[], rows.as_bytes()).out, "250001\n");
    assert_eq!(run(dir.path(), &[], b"\xef\xbb\xbfSELECT 1;\r\n#\r\n").err, "Error: line 2: unrecognized token: \"#\"\n");
    assert_eq!(run(dir.path(), &[], b"#!/usr/bin/env dbint\n;;\n-- nothing\n/* */").code, Some(0));
}

#[test]
fn much_output_a_closed_pipe_and_a_full_disk() {
    let dir = scratch();
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 600000) SELECT i, 'a dozen bytes' FROM n;";
    assert!(run(dir.path(), &[], many.as_bytes()).out.len() > 10_000_000);
    let line = format!("{} :memory: \"{many}\" | head -1; echo ${{PIPESTATUS[0]}}", shell().display());
    let out = Command::new("bash").arg("-c").arg(line).output().unwrap();
    assert_eq!((String::from_utf8_lossy(&out.stdout).as_ref(), String::from_utf8_lossy(&out.stderr).as_ref()), ("1|a dozen bytes\n0\n", ""));
    if Path::new("/dev/full").exists() {
        let line = format!("{} :memory: 'SELECT 1' >/dev/full", shell().display());
        let out = Command::new("bash").arg("-c").arg(line).output().unwrap();
        assert_eq!(out.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&out.stderr).contains("No space left"));
    }
}

#[test]
fn parameters_echo_and_changes() {
    let dir = scratch();
    let script = b".param set :a 2 + 3\n.param set b it's\n.param set $c \"'two words'\"\nSELECT :a, :b, $c, :unset IS NULL;\n.param\n.param clear\n.param\n\
                   .echo on\nSELECT 9;\n.echo off\n.changes on\nCREATE TABLE t(x);\nINSERT INTO t VALUES(1), (2);\nDELETE FROM t WHERE x > 5;\n";
    let ran = run(dir.path(), &[], script);
    assert_eq!(ran.out, "5|it's|two words|1\n$c = 'two words'\n:a = 5\n:b = 'it''s'\nSELECT 9;\n9\n.echo off\n", "{}", ran.err);
    assert_eq!(ran.err, "2 rows changed\n0 rows changed\n");
}

#[test]
fn opening_another_file_writes_nothing_to_it() {
    let dir = scratch();
    let path = dir.path().join("foreign.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "CREATE TABLE t(a, b, c); INSERT INTO t VALUES(1, 2, 3); CREATE VIEW v AS SELECT a, c FROM t; CREATE INDEX i ON t(c); PRAGMA user_version = 7",
        )
        .unwrap();
    let before = fs::read(&path).unwrap();
    let ran = run(dir.path(), &["foreign.db"], b"SELECT count(*) FROM unified_system_status; SELECT count(*) FROM active_alerts;\n.tables\n.schema\n");
    assert_eq!((ran.code, ran.out.starts_with("0\n0\n")), (Some(0), true), "{}{}", ran.out, ran.err);
    assert_eq!(fs::read(&path).unwrap(), before);
    // The views that come with the shell are in nobody's way.
    let changes = b"ALTER TABLE t RENAME COLUMN a TO aa; ALTER TABLE t DROP COLUMN b; ALTER TABLE t RENAME TO tt; ALTER TABLE tt ADD COLUMN d DEFAULT 4;\n\
                    SELECT * FROM tt; SELECT * FROM v; SELECT sql FROM sqlite_schema WHERE name = 'tt'; SELECT count(*) FROM sqlite_schema; PRAGMA user_version;";
    let ran = run(dir.path(), &["foreign.db"], changes);
    assert_eq!(ran.out, "1|3|4\n1|3\nCREATE TABLE \"tt\"(aa, c, d DEFAULT 4)\n3\n7\n", "{}", ran.err);
}

#[test]
fn a_dump_makes_the_same_database_in_the_stock_shell() {
    let dir = scratch();
    let sql = "CREATE TABLE \"odd name\"(id INTEGER PRIMARY KEY, v, g AS (id * 2)); CREATE TABLE w(k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID;
        INSERT INTO \"odd name\"(v) VALUES(NULL), (0.1 + 0.2), (-0.0), (x'00ff'), ('it''s'), ('a' || char(10) || 'b'), (9007199254740993), ('\u{1f980}');
        INSERT INTO w VALUES('k', zeroblob(3)); CREATE INDEX i ON w(v); CREATE VIEW o AS SELECT * FROM w;
        CREATE TRIGGER t AFTER INSERT ON w BEGIN SELECT ';'; END; CREATE VIRTUAL TABLE f USING fts5(body); INSERT INTO f VALUES('hello world');";
    Connection::open(dir.path().join("a.db")).unwrap().execute_batch(sql).unwrap();
    let dump = run(dir.path(), &["a.db", ".dump"], b"");
    assert_eq!(dump.code, Some(0), "{}", dump.err);
    fs::write(dir.path().join("a.sql"), &dump.out).unwrap();
    let made = Command::new("sqlite3").args(["b.db", ".read a.sql"]).current_dir(dir.path()).output().unwrap();
    assert!(made.status.success() && made.stderr.is_empty(), "{}", String::from_utf8_lossy(&made.stderr));
    let content = "SELECT id, typeof(v), quote(v), g FROM \"odd name\"; SELECT k, hex(v) FROM w; SELECT * FROM f('hello'); SELECT type, name, sql FROM sqlite_schema ORDER BY 2;";
    let both = ["a.db", "b.db"].map(|f| run(dir.path(), &[f, content], b"").out);
    assert_eq!(both[0], both[1]);
    assert!(both[0].contains("hello world"));
    assert_eq!(run(dir.path(), &["b.db", ".dump"], b"").out.lines().count(), dump.out.lines().count());
}

#[test]
fn what_is_exported_can_be_imported() {
    let dir = scratch();
    let make =
        "CREATE TABLE t(id INTEGER, name TEXT, score REAL); INSERT INTO t VALUES(1, 'a,\"b\"', 1.5), (2, NULL, 2.0), (3, 'line' || char(10) || 'two', -0.25);";
    for ending in ["csv", "tsv", "json"] {
        let script = format!(
            "{make}\n.export out.{ending} t\n.import out.{ending} back\nSELECT count(*) FROM (SELECT * FROM t EXCEPT SELECT * FROM back);\nSELECT count(*) FROM back;\n.schema back\n"
        );
        let ran = run(dir.path(), &[], script.as_bytes());
        assert!(ran.out.starts_with("3 rows into back\n0\n3\n"), "{ending}: {}{}", ran.out, ran.err);
    }
    fs::write(dir.path().join("codes.txt"), "a note\ncode,n\n007,1\n").unwrap();
    let ran = run(dir.path(), &[], b".import --csv --skip 1 codes.txt c\nSELECT code, n + 1 FROM c;\n");
    assert_eq!(ran.out, "1 rows into c\n007|2\n", "{}", ran.err);
    // All or nothing.
    let ran = run(
        dir.path(),
        &[],
        b"CREATE TABLE c(code UNIQUE, n);\n.bail off\n.shell printf 'x,1\\nx,2\\n' >dup.csv\n.import dup.csv c\nSELECT count(*) FROM c;\n",
    );
    assert_eq!((ran.out.as_str(), ran.err.contains("row 2")), ("0\n", true), "{}", ran.err);
}

#[test]
fn help_knows_everything() {
    let dir = scratch();
    let all = run(dir.path(), &[":memory:", ".help all"], b"").out;
    let db = Connection::open_in_memory().unwrap();
    dbint::register(&db).unwrap();
    let names: Vec<String> = db.prepare("SELECT name FROM dbint_functions").unwrap().query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect();
    let missing: Vec<_> = names.iter().filter(|n| !all.contains(n.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for word in ["", "sync", "backup_database", ".import", "health", "checksum"] {
        let ran = run(dir.path(), &[":memory:", &format!(".help {word}")], b"");
        assert_eq!((ran.code, ran.out.is_empty()), (Some(0), false), "{word}: {}", ran.err);
    }
    let ran = run(dir.path(), &[":memory:", ".help bakcup_database"], b"");
    assert!(ran.err.contains("Did you mean \"backup_database\"?"), "{}", ran.err);
}

#[test]
fn completions_and_the_man_page() {
    let dir = scratch();
    for (sh, marks) in [("bash", "complete -F"), ("zsh", "#compdef dbint"), ("fish", "complete -c dbint")] {
        let ran = run(dir.path(), &["completions", sh], b"");
        assert!(ran.code == Some(0) && ran.out.contains(marks) && ran.out.contains("demo"), "{sh}: {}", ran.err);
        fs::write(dir.path().join(sh), &ran.out).unwrap();
    }
    let ok = Command::new("bash").arg("-c").arg("source ./bash && complete -p dbint").current_dir(dir.path()).output().unwrap();
    assert!(ok.status.success(), "{}", String::from_utf8_lossy(&ok.stderr));
    let man = run(dir.path(), &["man"], b"").out;
    for part in [".TH dbint 1", ".SH ENVIRONMENT", ".SH FILES", ".SH \"EXIT STATUS\"", ".SH EXAMPLES", "dbintrc", "NO_COLOR"] {
        assert!(man.contains(part), "{part}");
    }
}
