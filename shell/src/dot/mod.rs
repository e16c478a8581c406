//! Dot commands: what the shell itself does, by the names users of `sqlite3` have in their fingers.
mod dump;
mod files;
mod fleet;
mod help;
mod import;
mod look;
mod switches;
mod watch;

pub use files::read_file;

use crate::{
    error::{Error, Result},
    session::{Flow, Session},
};
use std::io::Write;

pub struct Command {
    pub name: &'static str,
    pub args: &'static str,
    pub summary: &'static str,
    /// One for each argument; the last stands for all that follow.
    pub completes: &'static [Completes],
    run: Run,
}

/// How a command takes what follows its name.
#[derive(Clone, Copy)]
enum Run {
    Words(fn(&mut Session, &[&str]) -> Result<Flow>),
    /// As it stands: it holds SQL, whose quotes are its own.
    Text(fn(&mut Session, &str) -> Result<Flow>),
}

/// What its arguments are.
#[derive(Clone, Copy)]
pub enum Completes {
    Files,
    Tables,
    Databases,
    Help,
    Words(&'static [&'static str]),
}

const fn command(
    name: &'static str,
    args: &'static str,
    summary: &'static str,
    completes: &'static [Completes],
    run: fn(&mut Session, &[&str]) -> Result<Flow>,
) -> Command {
    Command { name, args, summary, completes, run: Run::Words(run) }
}

const fn sql_command(
    name: &'static str,
    args: &'static str,
    summary: &'static str,
    completes: &'static [Completes],
    run: fn(&mut Session, &str) -> Result<Flow>,
) -> Command {
    Command { name, args, summary, completes, run: Run::Text(run) }
}

const FILES: &[Completes] = &[Completes::Files];
const DATABASES: &[Completes] = &[Completes::Databases];
const TABLES: &[Completes] = &[Completes::Tables];
const HELP: &[Completes] = &[Completes::Help];
const SWITCH: &[Completes] = &[Completes::Words(&["on", "off"])];
const MODES: &[Completes] = &[Completes::Words(&["box", "table", "column", "markdown", "json", "csv", "tabs", "line", "list", "quote", "insert"])];

/// In the order of `.help`; an abbreviation means the first that fits.
pub const COMMANDS: &[Command] = &[
    command("help", "[NAME]", "This list; or help on a command, a function, a table or a room", HELP, help::help),
    command("open", "[FILE]", "Close this database and open FILE, or one in memory", FILES, files::open),
    command("tables", "[PATTERN]", "Names of tables and views", TABLES, look::tables),
    command("schema", "[PATTERN]", "CREATE statements", TABLES, look::schema),
    command("indexes", "[TABLE]", "Names of indexes", TABLES, look::indexes),
    command("databases", "", "Attached databases and their files", &[], look::databases),
    command("mode", "[MODE [TABLE]]", "Output as box, table, column, markdown, json, csv, tabs, line, list, quote, insert", MODES, switches::mode),
    command("headers", "[on|off|auto]", "Column names above the rows", &[Completes::Words(&["on", "off", "auto"])], switches::headers),
    command("nullvalue", "[TEXT]", "What stands for NULL", &[], switches::nullvalue),
    command("separator", "TEXT", "What stands between two values in list mode", &[], switches::separator),
    command("width", "[N]", "Fit tables into N columns; 0 for as wide as they are; without N as the terminal is", &[], switches::width),
    command("timer", "[on|off]", "Time of each statement", SWITCH, switches::timer),
    command("echo", "[on|off]", "Show each statement before it runs", SWITCH, switches::echo),
    command("bail", "[on|off]", "Stop at the first error", SWITCH, switches::bail),
    command(
        "param",
        "[set NAME VALUE | unset NAME | clear | list]",
        "Values for :name, @name, $name and ?1",
        &[Completes::Words(&["set", "unset", "clear", "list"])],
        switches::param,
    ),
    command("read", "FILE", "Run the statements in FILE", FILES, files::read),
    command("load", "FILE [ENTRY]", "Load an extension library", FILES, files::load),
    command("output", "[FILE]", "Send output to FILE; without FILE back to the screen", FILES, files::output),
    command("once", "FILE", "Send the next statement's output to FILE", FILES, files::once),
    command(
        "import",
        "FILE TABLE",
        "Put the rows of a CSV, TSV, JSON or JSON-lines file into TABLE, made where it is missing",
        &[Completes::Files, Completes::Tables],
        import::import,
    ),
    sql_command(
        "export",
        "FILE [TABLE | SELECT …]",
        "Write rows to FILE as its name says: .csv .tsv .json .md .sql .txt",
        &[Completes::Files, Completes::Tables],
        files::export,
    ),
    command("dump", "[PATTERN]", "The database, or some tables, as SQL", TABLES, dump::dump),
    sql_command("explain", "SQL", "How SQLite would run a statement", TABLES, look::explain),
    sql_command("watch", "[SECONDS] SQL", "Run a statement again and again, until Ctrl-C", TABLES, watch::watch),
    sql_command("fleet", "[WHERE …]", "Health of every registered database", &[], fleet::fleet),
    command("health", "[DB]", "Health of a database", DATABASES, fleet::health),
    command("size", "[DB [LIMIT_MB]]", "Size of a database against its limit", DATABASES, fleet::size),
    sql_command(
        "sync",
        "[TABLE TARGET [OPTIONS]]",
        "Bring a table over to TARGET; alone it runs every mapping",
        &[Completes::Tables, Completes::Databases],
        fleet::sync,
    ),
    command("backup", "[[DB] FILE]", "Back up into the catalogue; or copy a database to FILE", DATABASES, fleet::backup),
    command("restore", "BACKUP FILE", "Restore a backup of the catalogue into FILE", FILES, fleet::restore),
    command("pager", "[on|off|COMMAND]", "Long output goes through a pager", SWITCH, switches::pager),
    command("cd", "DIR", "Change the working directory", FILES, files::cd),
    command("print", "TEXT…", "Print TEXT", &[], switches::print),
    command("show", "", "Current settings", &[], switches::show),
    command("quit", "", "Leave; so does Ctrl-D", &[], |_, _| Ok(Flow::Leave(0))),
    command("exit", "[CODE]", "Leave with an exit code", &[], switches::exit),
];

/// By its name with or without the dot, or by the start of it.
pub fn find(name: &str) -> Option<&'static Command> {
    let name = name.trim_start_matches('.').to_ascii_lowercase();
    let name = if name == "indices" { "indexes".to_owned() } else { name };
    let exact = COMMANDS.iter().find(|c| c.name == name);
    exact.or_else(|| COMMANDS.iter().find(|c| !name.is_empty() && c.name.starts_with(&name)))
}

/// Runs one line that starts with a dot.
pub fn run(session: &mut Session, line: &str) -> Result<Flow> {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let name = name.trim_end_matches(';');
    let Some(c) = find(name) else {
        let near = dbint::did_you_mean(name, COMMANDS.iter().map(|c| c.name)).replace(" \"", " \".");
        return Err(Error::usage(format!("no command \"{name}\".{near} .help lists them")));
    };
    let done = match c.run {
        Run::Text(f) => f(session, rest.trim()),
        Run::Words(f) => {
            let words = split(rest.trim_end().trim_end_matches(';'))?;
            f(session, &words.iter().map(String::as_str).collect::<Vec<_>>())
        }
    };
    session.out.flush()?;
    done.map_err(|e| match e {
        Error::Usage(text) if text.is_empty() => Error::usage(format!("usage: .{} {}", c.name, c.args)),
        other => other,
    })
}

/// What a command says when its arguments do not fit: its usage line.
fn usage() -> Error {
    Error::usage("")
}

/// Words as in a Unix shell: '…' as it stands, "…" with \n, \t, \" and \\.
fn split(line: &str) -> Result<Vec<String>> {
    let (mut words, mut word, mut open) = (vec![], None::<String>, None);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (open, c) {
            (None, '\'' | '"') => {
                open = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (Some(q), c) if c == q => open = None,
            (Some('"'), '\\') => word.get_or_insert_default().push(match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some(other) => other,
                None => '\\',
            }),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(q) = open {
        return Err(Error::usage(format!("a {q} is not closed")));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quotes() {
        assert_eq!(split(".read 'a b.sql' \"c\\td\" ''").unwrap(), [".read", "a b.sql", "c\td", ""]);
        assert!(split(".read 'a").is_err());
    }

    #[test]
    fn fingers_find_their_commands() {
        for (typed, meant) in [(".q", "quit"), (".tab", "tables"), (".sch", "schema"), (".h", "help"), (".indices", "indexes"), (".exi", "exit")] {
            assert_eq!(find(typed).map(|c| c.name), Some(meant), "{typed}");
        }
        assert!(find(".nothing").is_none() && find(".").is_none());
    }
}
