//! The shell at a terminal, driven through a pty: what a person types, and what they see.
#![cfg(unix)]
use dbint_tests::shell;
use rexpect::{
    process::{Signal, WaitStatus},
    reader::Options,
    session::{PtySession, spawn_with_options},
};
use rusqlite::Connection;
use std::{fs, path::Path, process::Command};
use tempfile::TempDir;

/// A person at a terminal, in a folder and with a home of their own.
struct Person {
    at: PtySession,
    home: TempDir,
}

/// How the terminal is.
struct Terminal {
    columns: u16,
    color: bool,
    /// ~/.dbintrc
    rc: &'static str,
    /// Run before the shell starts.
    sql: &'static str,
}

const USUAL: Terminal = Terminal { columns: 100, color: false, rc: "", sql: "" };

impl Person {
    fn sits_down(terminal: &Terminal, args: &str) -> Person {
        let home = tempfile::tempdir().unwrap();
        if !terminal.rc.is_empty() {
            fs::write(home.path().join(".dbintrc"), terminal.rc).unwrap();
        }
        Connection::open(home.path().join("a.db")).unwrap().execute_batch(terminal.sql).unwrap();
        Person { at: sit(home.path(), terminal, args), home }
    }

    /// Leaves, and comes back to the same home.
    fn again(self, terminal: &Terminal, args: &str) -> Person {
        let Person { home, at } = self;
        drop(at);
        Person { at: sit(home.path(), terminal, args), home }
    }

    fn types(&mut self, text: &str) -> &mut Self {
        self.at.send(text).unwrap();
        self.at.flush().unwrap();
        self
    }

    fn enters(&mut self, line: &str) -> &mut Self {
        self.types(&format!("{line}\r"))
    }

    /// Reads on until this appears; gives back what was before it.
    fn sees(&mut self, text: &str) -> String {
        self.at.exp_string(text).unwrap_or_else(|e| panic!("no \"{text}\": {e}"))
    }

    /// Waits for a new prompt; the one that is there is drawn again and again while one types.
    fn prompt(&mut self) -> &mut Self {
        self.at.exp_regex("\n[^\n ]*dbint\\*?> ").unwrap_or_else(|e| panic!("no prompt: {e}"));
        self
    }

    /// The shell ends, with this exit code.
    fn leaves_with(&mut self, code: i32) {
        self.at.exp_eof().unwrap();
        assert!(matches!(self.at.process().wait(), Ok(WaitStatus::Exited(_, c)) if c == code), "{:?}", self.at.process().status());
    }
}

fn sit(home: &Path, terminal: &Terminal, args: &str) -> PtySession {
    let mut c = Command::new("sh");
    // Whoever runs the tests may ignore SIGHUP, as nohup does, and programs inherit that.
    c.arg("-c").arg(format!("stty rows 24 columns {}; exec env --default-signal=HUP {} {args}", terminal.columns, shell().display()));
    c.current_dir(home).env("HOME", home).env("TERM", "xterm-256color").env("PAGER", "cat").env_remove("DBINT_HISTORY").env_remove("DBINT_PAGER");
    if terminal.color {
        c.env_remove("NO_COLOR")
    } else {
        c.env("NO_COLOR", "1")
    };
    spawn_with_options(c, Options::new().timeout_ms(Some(20_000)).strip_ansi_escape_codes(!terminal.color)).unwrap()
}

const FOREVER: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n;";
const ORDERS: Terminal = Terminal { sql: "CREATE TABLE orders(order_id INTEGER PRIMARY KEY, customer TEXT)", ..USUAL };

#[test]
fn tab_completes_names_and_arguments() {
    let mut p = Person::sits_down(&ORDERS, "a.db");
    p.prompt().types("SELECT * FROM unified_s\t");
    p.sees("unified_system_status");
    p.types("\x03").prompt().types("SELECT cust\t");
    p.sees("customer");
    p.types("\x03").prompt().types("SELECT table_checksum('ord\t");
    p.sees("orders");
    p.types("\x03").prompt().types("SELECT table_checksum('orders', 'main', '\t\t");
    p.sees("algorithm");
    p.sees("'{\"");
    p.types("\x03").prompt().types(".tab\t");
    p.sees(".tables");
    p.types("\r");
    p.sees("orders");
    p.prompt().types(".read a.\t");
    p.sees("a.db");
}

#[test]
fn a_hint_shows_what_a_call_still_takes() {
    let mut p = Person::sits_down(&USUAL, "");
    p.prompt().types("SELECT dbint_set(");
    p.sees("key, value)");
}

#[test]
fn a_statement_may_take_several_lines_and_comes_back_as_one() {
    let mut p = Person::sits_down(&USUAL, "a.db");
    p.prompt().enters("SELECT 40 +").enters("2 AS sum;");
    p.sees("42");
    // In the same session, and in the next.
    p.prompt().types("\x1b[A\r");
    p.sees("42");
    p.prompt().types("\x04").leaves_with(0);
    let mut p = p.again(&USUAL, "a.db");
    p.prompt().types("\x1b[A\r");
    p.sees("42");
    // What begins with a space is not kept; Ctrl-R finds what is.
    p.prompt().enters(" SELECT 'sec' || 'ret';");
    p.sees("secret");
    p.prompt().types("\x12sum");
    p.sees("SELECT 40 +");
    p.types("\r");
    p.sees("42");
    p.prompt().types("\x04").leaves_with(0);
    let kept = fs::read_to_string(p.home.path().join(".dbint_history")).unwrap();
    assert!(kept.contains("40 +") && !kept.contains("sec"), "{kept}");
}

#[test]
fn an_open_quote_tells_and_can_be_left() {
    let mut p = Person::sits_down(&USUAL, "");
    p.prompt().enters("SELECT 'abc;");
    p.sees("' is still open");
    p.types("\x03").prompt().enters("SELECT 'go' || 'ne';");
    p.sees("gone");
    p.prompt().enters("SELECT 'a' || 'b'");
    p.sees("; runs it");
    p.enters(";");
    p.sees("ab");
}

#[test]
fn ctrl_c_cancels_the_statement_and_keeps_the_session() {
    let mut p = Person::sits_down(&USUAL, "a.db");
    p.prompt().enters("CREATE TABLE t(x);").prompt().enters("BEGIN; INSERT INTO t VALUES('kept');");
    p.sees("1 row changed");
    p.prompt().enters(FOREVER);
    // The sign of life of what takes long.
    p.sees("Ctrl-C cancels");
    p.types("\x03");
    p.sees("Error: interrupted");
    p.prompt().enters("SELECT x || ' and open' FROM t; COMMIT;");
    p.sees("kept and open");
    p.prompt().enters("BEGIN;");
    p.sees("dbint*> ");
    p.enters("ROLLBACK;");
    // At the prompt it discards the line.
    p.prompt().types("SELECT nonsense").types("\x03").prompt().enters("SELECT 'fre' || 'sh';");
    p.sees("fresh");
    p.prompt().types("\x04").leaves_with(0);
}

#[test]
fn ctrl_c_during_a_sync_leaves_the_target_as_it_was() {
    let many = "CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT);
        INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 400000) SELECT i, printf('%064d', i) FROM n;";
    let mut p = Person::sits_down(&Terminal { sql: many, ..USUAL }, "a.db");
    let target = p.home.path().join("b.db");
    let old = "CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT); INSERT INTO t VALUES(1, 'old'), (500000, 'only here');";
    Connection::open(&target).unwrap().execute_batch(old).unwrap();
    let content = || -> Vec<(i64, String)> {
        let db = Connection::open(&target).unwrap();
        assert_eq!(db.query_row("PRAGMA integrity_check", [], |r| r.get::<_, String>(0)).unwrap(), "ok");
        let mut q = db.prepare("SELECT id, body FROM t ORDER BY id").unwrap();
        q.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).unwrap().map(Result::unwrap).collect()
    };
    let before = content();
    let sync = "SELECT json_extract(sync_table('t', 'b.db'), '$.inserted') + 1;";
    p.prompt().enters(sync);
    p.sees("Ctrl-C cancels");
    p.types("\x03");
    p.sees("Error: ");
    p.sees("[DBINT_INTERRUPTED]");
    assert_eq!(content(), before);
    // The session goes on, and the sync can be done after all.
    p.prompt().enters(sync);
    p.sees("400000");
    assert_eq!(content().len(), 400_001);
}

#[test]
fn tables_of_ones_own_come_without_those_of_the_hub() {
    let mut p = Person::sits_down(&ORDERS, "a.db");
    p.prompt().enters("SELECT json_extract(dbint_init(), '$.version') > 0 AS made;");
    p.sees("made");
    p.prompt().enters(".tables");
    let shown = p.sees("of dbint; .tables % lists them, too");
    assert!(shown.contains("orders") && !shown.contains("sync_mapping"), "{shown}");
    p.prompt().enters(".tables %");
    p.sees("sync_mapping");
}

#[test]
fn errors_name_what_was_meant() {
    let mut p = Person::sits_down(&ORDERS, "a.db");
    for (typed, told) in [
        ("SELECT * FROM ordes;", "no such table: ordes. Did you mean \"orders\"?"),
        ("SELECT custmer FROM orders;", "no such column: custmer. Did you mean \"customer\"?"),
        ("SELECT db_heath();", "no such function: db_heath. Did you mean \"db_health\"?"),
        ("SELCT 1;", "Did you mean \"SELECT\"?"),
        ("SELECT * FROM db_health;", "It is a function: SELECT db_health("),
        (".tabels", "Did you mean \".tables\"?"),
        (".mode jsno", "Did you mean \"json\"?"),
        (".read nowhere.sql", "\"nowhere.sql\": No such file"),
    ] {
        p.prompt().enters(typed);
        p.sees(told);
    }
    p.prompt().enters("SELECT customer,\n  orderid FROM orders;");
    p.sees("^");
}

#[test]
fn a_dot_command_runs_below_an_open_statement_and_gives_it_back() {
    let mut p = Person::sits_down(&ORDERS, "a.db");
    p.prompt().enters("SELECT 20 + 22").enters(".tables");
    let shown = p.sees("has no semicolon and did not run");
    assert!(shown.contains("orders") && !shown.contains("42"), "{shown}");
    p.prompt().enters(";");
    p.sees("42");
    // A number and a column go on with the statement.
    p.prompt().enters("SELECT count(*) ||").enters(".5 || orders").enters(".customer FROM orders;");
    p.sees("NULL");
}

#[test]
fn services_take_options_with_completed_keys() {
    let mut p = Person::sits_down(&ORDERS, "a.db");
    p.prompt().enters("INSERT INTO orders VALUES(1, 'Ann');").prompt().types(".sync orders b.db {\"dry\t");
    p.sees("\"dry_run\": ");
    p.enters("true, \"create\": true}");
    p.sees("sync_table('orders', 'b.db', '{\"dry_run\": true, \"create\": true}')");
    p.prompt();
    assert!(!p.home.path().join("b.db").exists(), "a dry run makes no file");
    p.enters(".health {\"level\": \"header\"}");
    p.sees("response_time_ms");
    p.prompt().types(".sync {\"atom\t");
    p.sees("\"atomic\": ");
    p.types("\x03").prompt().enters(".help .sync");
    p.sees(".sync orders shop.db {\"dry_run\": true}");
    p.sees("sync_all");
}

#[test]
fn exit_codes() {
    for (typed, code) in [(".exit 3", 3), (".quit", 0), (".bail on\rSELECT nonsense;", 1)] {
        let mut p = Person::sits_down(&USUAL, "");
        p.prompt().enters(typed).leaves_with(code);
    }
    // Ctrl-C with a statement given on the command line ends the program.
    let mut p = Person::sits_down(&USUAL, &format!("a.db \"{FOREVER}\""));
    std::thread::sleep(std::time::Duration::from_millis(300));
    p.types("\x03").leaves_with(130);
}

#[test]
fn the_terminal_going_away_ends_it() {
    let mut p = Person::sits_down(&USUAL, "");
    p.prompt();
    p.at.process_mut().signal(Signal::SIGHUP).unwrap();
    assert!(!matches!(p.at.process().wait(), Ok(WaitStatus::StillAlive) | Err(_)));
}

#[test]
fn a_terminal_of_20_columns() {
    let mut p = Person::sits_down(&Terminal { columns: 20, ..ORDERS }, "a.db");
    p.prompt().enters("INSERT INTO orders VALUES(1, 'Ada Lovelace of London');");
    p.sees("1 row changed");
    p.prompt().enters("SELECT order_id AS id, * FROM orders;");
    // Too narrow for a table: a name and its value a line.
    p.sees("\n Ada Lovelace of");
    p.sees("\n London");
    p.enters(".help");
    p.sees("To start");
}

#[test]
fn pasted_text_of_a_megabyte_and_pasted_binary() {
    let mut p = Person::sits_down(&USUAL, "a.db");
    let long = format!("SELECT 'le' || 'ngth', length('{}');", "x".repeat(1_000_000));
    p.prompt().types(&format!("\x1b[200~{long}\x1b[201~\r"));
    p.sees("1000000");
    p.prompt().types("\x1b[200~\u{1}\u{2}\u{0}é\u{7f}\u{1b}[31m';\"\x1b[201~\r").types("\x03").types("\x03").prompt().enters("SELECT 'ali' || 've';");
    p.sees("alive");
}

#[test]
fn colours_unless_no_color() {
    let colored = |color: bool| {
        let mut p = Person::sits_down(&Terminal { color, ..USUAL }, "");
        p.prompt().enters("SELECT nullif(1, 1) AS x;");
        p.sees("NULL") + &p.sees("dbint> ")
    };
    assert!(colored(true).contains("\x1b[2m"));
    let plain = colored(false);
    assert!(!plain.contains("m"), "{plain:?}");
}

#[test]
fn the_rc_file_sets_the_session_up() {
    let rc = ".mode json\n.nullvalue -\n.param set :who 'Ada'\nSELECT FROM;\n";
    let mut p = Person::sits_down(&Terminal { rc, ..USUAL }, "a.db");
    // An error in it is told, with its line, and is no reason not to start.
    p.sees(".dbintrc line 4: near");
    p.prompt().enters("SELECT :who AS who;");
    p.sees("[{\"who\":\"Ada\"}]");
}

#[test]
fn long_output_goes_through_the_pager() {
    let mut p = Person::sits_down(&USUAL, "a.db");
    p.prompt().enters(".pager sed s/^/paged:/").prompt().enters("SELECT * FROM pragma_function_list;");
    p.sees("paged:");
    p.prompt().enters("SELECT 'sho' || 'rt';");
    assert!(!p.sees("short").contains("paged:"));
    // A reader who leaves early stops the statement, not the session.
    p.prompt().enters(".pager head -3").prompt().enters(FOREVER.replace("count(*)", "i").as_str());
    p.prompt().enters("SELECT 'st' || 'ill';");
    p.sees("still");
}
