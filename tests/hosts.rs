//! The library in the clients people have: each loads it, makes the same calls, and the rows it carried are compared
//! by something that is not dbint. tests/setup installs the clients.
use dbint_tests::{Driver, client, library, quick, root};
use libtest_mimic::{Arguments, Failed, Trial};
use rusqlite::{Connection, types::Value};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// What every client runs in a scratch folder, with main.db open, and what each statement must answer.
const CALLS: &[(&str, &str)] = &[
    ("SELECT dbint_version()", env!("CARGO_PKG_VERSION")),
    ("SELECT json_extract(db_health(), '$.status')", "HEALTHY"),
    ("SELECT group_concat(check_name) FROM integrity_report WHERE NOT passed AND severity = 'ERROR'", "invalid_utf8"),
    ("SELECT json_extract(sync_table('session_tracking', 'analytics.db', '{\"create\":true}'), '$.inserted')", "6"),
    ("SELECT json_extract(sync_table('session_tracking', 'analytics.db'), '$.inserted')", "0"),
    ("SELECT json_extract(size_check('analytics.db'), '$.near_limit')", "0"),
    ("SELECT group_concat(check_name) FROM integrity_report('analytics.db') WHERE NOT passed AND severity = 'ERROR'", "invalid_utf8"),
];

/// The same without a JSON function in the host.
const CALLS_WITHOUT_JSON: &[(&str, &str)] = &[
    ("SELECT dbint_version()", env!("CARGO_PKG_VERSION")),
    ("SELECT instr(db_health(), '\"status\":\"HEALTHY\"') > 0", "1"),
    ("SELECT group_concat(check_name) FROM integrity_report WHERE NOT passed AND severity = 'ERROR'", "invalid_utf8"),
    ("SELECT instr(sync_table('session_tracking', 'analytics.db', '{\"create\":true}'), '\"inserted\":6') > 0", "1"),
    ("SELECT instr(size_check('analytics.db'), '\"near_limit\":false') > 0", "1"),
    ("SELECT instr(dbint_doctor(), '{\"name\":\"json\",\"ok\":false') > 0", "1"),
];

/// Values that careless copies lose: -0.0, 15 digits, NUL, invalid UTF-8, large integers, empty against NULL.
const DATA: &str = "CREATE TABLE session_tracking(session_id TEXT PRIMARY KEY, user TEXT, started_at TEXT, payload BLOB, score REAL, n INTEGER);
INSERT INTO session_tracking VALUES
  ('a', 'Zoë 🦀', '2026-01-01 00:00:00', x'00ff', 0.1 + 0.2, 9223372036854775807),
  ('b', '', NULL, '', -0.0, NULL),
  ('c', NULL, '', x'', 1e300, -1),
  ('d', CAST(x'61006200' AS TEXT), 'x''y\"z', zeroblob(10000), 5e-324, 0),
  ('e', CAST(x'ff41' AS TEXT), '2026-01-01', 12, 3.0, 4),
  ('', 'empty key', '', 1.5, NULL, 'text in a number');";

fn rows(file: &Path) -> Vec<String> {
    let db = Connection::open(file).expect("opens");
    let mut columns = db.prepare("SELECT name FROM pragma_table_info('session_tracking')").expect("prepares");
    let columns: Vec<String> = columns.query_map([], |r| r.get(0)).expect("queries").flatten().collect();
    // A REAL by its bits: text would lose digits and the sign of zero.
    let value = |c: &String| format!("typeof({c}) || ':' || hex({c}) || iif(typeof({c}) = 'real', printf('%!.17g', {c}), '')");
    let sql = format!("SELECT {} FROM session_tracking", columns.iter().map(value).collect::<Vec<_>>().join(" || ',' || "));
    let mut q = db.prepare(&sql).expect("prepares");
    let mut all: Vec<String> = q.query_map([], |r| r.get(0)).expect("queries").map(|r| r.expect("a row")).collect();
    all.sort();
    all
}

/// A folder with main.db in it.
fn scratch() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    Connection::open(dir.path().join("main.db")).and_then(|db| db.execute_batch(DATA)).expect("the data");
    dir
}

fn compare_rows(dir: &Path) -> Result<(), Failed> {
    let (source, target) = (rows(&dir.join("main.db")), rows(&dir.join("analytics.db")));
    if source.len() != 6 || source != target {
        return Err(format!("the rows differ:\n{source:#?}\n{target:#?}").into());
    }
    Ok(())
}

fn compare_answers(calls: &[(&str, &str)], got: &[String]) -> Result<(), Failed> {
    let want: Vec<&str> = calls.iter().map(|c| c.1).collect();
    if got.iter().map(String::as_str).ne(want.iter().copied()) {
        return Err(format!("answers\n{got:#?}\nexpected\n{want:#?}").into());
    }
    Ok(())
}

fn run(dir: &Path, command: &mut Command) -> Result<Vec<String>, Failed> {
    let out = command.current_dir(dir).output()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        return Err(format!("{:?} ended with {}\n{text}{}", command.get_program(), out.status, String::from_utf8_lossy(&out.stderr)).into());
    }
    Ok(text.lines().map(String::from).collect())
}

/// A client that takes DATABASE LIBRARY STATEMENT… and prints the first value of each.
struct Script {
    name: &'static str,
    program: PathBuf,
    args: Vec<OsString>,
}

impl Script {
    fn new(name: &'static str, program: PathBuf, args: &[&str], script: &str) -> Self {
        let script = root().join("tests/hosts").join(script).into_os_string();
        let (before, after) = args.split_at(args.iter().position(|a| *a == "SCRIPT").unwrap_or(0));
        let args = before.iter().map(OsString::from).chain([script]).chain(after.iter().skip(1).map(OsString::from)).collect();
        Script { name, program, args }
    }

    fn run(&self) -> Result<(), Failed> {
        let dir = scratch();
        let mut command = Command::new(&self.program);
        command.args(&self.args).arg("main.db").arg(library()).args(CALLS.iter().map(|c| c.0)).env("NODE_PATH", client("npm/node_modules"));
        compare_answers(CALLS, &run(dir.path(), &mut command)?)?;
        compare_rows(dir.path())
    }
}

fn scripts() -> Vec<Script> {
    let python = |venv: &str| client(venv).join("bin/python");
    let node = || client("newest/bin/node");
    let npm = |program: &str| client("npm/node_modules/.bin").join(program);
    vec![
        Script::new("usr_bin_python3", "/usr/bin/python3".into(), &["SCRIPT", "sqlite3"], "dbapi.py"),
        Script::new("pysqlite3", python("newest"), &["SCRIPT", "pysqlite3"], "dbapi.py"),
        Script::new("apsw_oldest", python("apsw-oldest"), &["SCRIPT"], "apsw_client.py"),
        Script::new("apsw_newest", python("newest"), &["SCRIPT"], "apsw_client.py"),
        Script::new("better_sqlite3", node(), &["SCRIPT"], "better-sqlite3.cjs"),
        Script::new("node_sqlite", node(), &["SCRIPT"], "node-sqlite.mjs"),
        Script::new("deno", npm("deno"), &["run", "--allow-all", "--quiet", "SCRIPT"], "node-sqlite.mjs"),
        Script::new("bun", npm("bun"), &["run", "SCRIPT"], "bun.ts"),
    ]
}

/// The stock shell, with what `.load` is given.
fn shell(dir: &Path, load: &str, search: Option<&Path>) -> Result<(), Failed> {
    let mut command = Command::new("sqlite3");
    command.args(["-batch", "-bail", "main.db"]).arg(format!(".load {load}")).args(CALLS.iter().map(|c| c.0));
    if let Some(folder) = search {
        command.env("LD_LIBRARY_PATH", folder);
    }
    compare_answers(CALLS, &run(dir, &mut command)?)?;
    compare_rows(dir)
}

/// In the folder the library was built in: `.load ./libdbint`.
fn shell_from_its_folder() -> Result<(), Failed> {
    let dir = scratch();
    std::fs::copy(library(), dir.path().join("libdbint.so"))?;
    shell(dir.path(), "./libdbint", None)
}

/// Where the loader looks: plain `.load libdbint`.
fn shell_from_the_library_path() -> Result<(), Failed> {
    let dir = scratch();
    shell(dir.path(), "libdbint", library().parent())
}

fn sqlite_utils() -> Result<(), Failed> {
    let dir = scratch();
    let mut got = vec![];
    for (sql, _) in CALLS {
        let mut command = Command::new(client("newest/bin/sqlite-utils"));
        command.args(["query", "main.db", sql, "--raw"]).arg(format!("--load-extension={}", library().display()));
        got.extend(run(dir.path(), &mut command)?);
    }
    compare_answers(CALLS, &got)?;
    compare_rows(dir.path())
}

/// Datasette opens the file read-only: the reports work, and nothing can be written.
fn datasette() -> Result<(), Failed> {
    let dir = scratch();
    let sql = "SELECT+json_extract(db_health(),'$.status'),(SELECT+count(*)+FROM+integrity_report+WHERE+severity='ERROR'+AND+NOT+passed)";
    let mut command = Command::new(client("newest/bin/datasette"));
    command.args(["main.db", "--get", &format!("/main.json?sql={sql}&_shape=arrays")]).arg(format!("--load-extension={}", library().display()));
    let got = run(dir.path(), &mut command)?.join("");
    if !got.contains("[[\"HEALTHY\", 1]]") {
        return Err(got.into());
    }
    Ok(())
}

/// The oldest SQLite supported, as it comes: without JSON functions.
fn oldest() -> Result<(), Failed> {
    let dir = scratch();
    let mut driver = Driver::open_in(dir.path(), "sqlite-oldest", Path::new("main.db"), library())?;
    let mut got = vec![];
    for (sql, _) in CALLS_WITHOUT_JSON {
        let (_, rows) = driver.run(sql)?;
        got.push(match rows.first().and_then(|r| r.first()) {
            Some(Value::Integer(i)) => i.to_string(),
            Some(Value::Text(t)) => t.clone(),
            other => format!("{other:?}"),
        });
    }
    compare_answers(CALLS_WITHOUT_JSON, &got)?;
    compare_rows(dir.path())
}

/// Below the range: one readable error, and the host lives.
fn below() -> Result<(), Failed> {
    let dir = scratch();
    let mut driver = Driver::open_in(dir.path(), "sqlite-below", Path::new("main.db"), library())?;
    match driver.run("SELECT 1") {
        Err(e) if e.contains("needs SQLite 3.34.1 or newer, and this program brings 3.33.0") && e.contains("[DBINT_UNSUPPORTED]") => {}
        other => return Err(format!("{other:?}").into()),
    }
    match driver.end()? {
        // The driver's own exit code for "did not load".
        Some(1) => Ok(()),
        code => Err(format!("the host ended with {code:?}").into()),
    }
}

fn main() -> ExitCode {
    let mut trials = vec![];
    if quick() {
        println!("quick: no foreign client is run");
    } else {
        trials.extend(scripts().into_iter().map(|s| Trial::test(s.name, move || s.run())));
        trials.extend([
            Trial::test("sqlite3_from_its_folder", shell_from_its_folder),
            Trial::test("sqlite3_from_the_library_path", shell_from_the_library_path),
            Trial::test("sqlite_utils", sqlite_utils),
            Trial::test("datasette", datasette),
            Trial::test("oldest_supported", oldest),
            Trial::test("below_the_range", below),
        ]);
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
