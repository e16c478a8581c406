//! `dbint demo`: the toolkit fleet in a scratch folder, one line a step, and its views at the end.
use crate::{
    error::{self, Error, Result},
    lexer::{self, Kind, Splitter},
    open,
    render::Mode,
    run,
    session::Session,
};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rusqlite::Connection;
use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const SCRIPT: &str = include_str!("../../sql/fleets/toolkit.sql");

#[derive(Args)]
pub struct Demo {
    /// The folder, made where it is missing; databases that are in it stay as they are [default: a new scratch folder]
    dir: Option<PathBuf>,
}

/// A part of the script under a heading such as `-- 4. Check health`.
struct Step {
    title: String,
    statements: Vec<String>,
}

fn steps() -> Vec<Step> {
    let mut all: Vec<Step> = vec![];
    let mut splitter = Splitter::default();
    for line in SCRIPT.split_inclusive('\n') {
        let heading = line.strip_prefix("-- ").and_then(|l| l.split_once(". ")).filter(|(n, _)| n.parse::<u32>().is_ok());
        if let Some((_, title)) = heading {
            all.push(Step { title: title.trim().to_owned(), statements: vec![] });
        } else if let Some(step) = all.last_mut() {
            step.statements.extend(splitter.push(line));
        }
    }
    all
}

impl Demo {
    pub fn run(self) -> Result<u8> {
        let dir = match self.dir {
            Some(d) => d,
            None => std::env::temp_dir().join(format!("dbint-demo-{}", std::process::id())),
        };
        let there = |e: io::Error| Error::usage(format!("\"{}\": {e}", dir.display()));
        std::fs::create_dir_all(&dir).map_err(there)?;
        std::env::set_current_dir(&dir).map_err(there)?;
        let dir = std::env::current_dir()?;
        let mut out = io::stdout();
        writeln!(out, "The toolkit fleet in {}\n", dir.display())?;
        let found = Path::new("session_management.db").exists();
        let opened = open::open(Some(Path::new("production.db")), false)?;
        let mut all = steps();
        let views = all.pop();
        let count = all.len();
        for (i, step) in all.iter().enumerate() {
            let label = format!("[{}/{}] {}", i + 1, count + 1, step.title);
            if i == 0 && found {
                writeln!(out, "{label}: found, left as they are")?;
                continue;
            }
            let bar = spinner(&label);
            let began = Instant::now();
            let done = step.statements.iter().try_fold(0, |rows, sql| Ok(rows + count_rows(&opened.db, sql)?));
            bar.finish_and_clear();
            match done {
                Ok(rows) => writeln!(out, "{label}: {}, {:.2} s", plural(step.statements.len(), rows), began.elapsed().as_secs_f64())?,
                Err(e) => {
                    writeln!(out, "{label}: failed")?;
                    eprintln!("Error: {}", error::explain(&opened.db, &e));
                    return Ok(1);
                }
            }
        }
        drop(opened);
        if let Some(step) = views {
            writeln!(out, "[{}/{}] {}", count + 1, count + 1, step.title)?;
            show(&step)?;
        }
        writeln!(out, "\nLook around: cd {} && {} production.db", shown_path(&dir), program())?;
        Ok(0)
    }
}

/// The views as tables, each under its name.
fn show(step: &Step) -> Result<()> {
    let mut session = Session::new(Some(Path::new("production.db")), false, false)?;
    session.format.mode = Mode::Box;
    for sql in &step.statements {
        writeln!(session.out, "\n{}", source(sql))?;
        run::sql(&mut session, sql)?;
    }
    Ok(())
}

/// The word after FROM.
fn source(sql: &str) -> &str {
    let mut words = lexer::tokens(sql).filter(|t| t.kind == Kind::Word).map(|t| t.text(sql)).skip_while(|w| !w.eq_ignore_ascii_case("FROM"));
    words.nth(1).unwrap_or_default()
}

fn count_rows(db: &Connection, sql: &str) -> Result<usize> {
    let mut stmt = db.prepare(sql)?;
    let (mut rows, mut n) = (stmt.raw_query(), 0);
    while rows.next()?.is_some() {
        n += 1;
    }
    Ok(n)
}

fn plural(statements: usize, rows: usize) -> String {
    let s = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    if rows == 0 { s(statements, "statement") } else { format!("{}, {}", s(statements, "statement"), s(rows, "row")) }
}

fn spinner(label: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(label.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// As one may paste it: this very program, which need not be on the PATH.
fn program() -> String {
    let on_path = std::env::args_os().next().is_some_and(|a| Path::new(&a).components().count() == 1);
    let exe = std::env::current_exe().ok().filter(|_| !on_path);
    exe.map_or_else(|| "dbint".to_owned(), |p| shown_path(&p))
}

fn shown_path(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.chars().all(|c| c.is_alphanumeric() || "/._-+:\\".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_of_the_script_belongs_to_a_step() {
        let mut whole = Splitter::default();
        let all = whole.push(SCRIPT);
        assert!(whole.is_empty());
        let steps = steps();
        assert_eq!(steps.iter().map(|s| s.statements.len()).sum::<usize>(), all.len());
        assert!(steps.iter().all(|s| !s.statements.is_empty()));
        assert_eq!(source("SELECT a FROM unified_system_status;"), "unified_system_status");
    }
}
