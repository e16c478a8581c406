//! Running what was typed, piped or read: statements and dot commands, timed, and stopped by Ctrl-C.
use crate::{
    dot,
    error::{Error, Result},
    lexer::{self, Kind, Splitter},
    render::Printer,
    session::{Flow, Session},
};
use rusqlite::{Connection, InterruptHandle, Statement, types::ValueRef};
use std::{
    io::{BufRead, Write},
    process::exit,
    sync::{
        Mutex, Once,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

/// How many nested things run that Ctrl-C cancels.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
/// Ctrl-C was pressed that often since the outermost of them started.
static PRESSED: AtomicUsize = AtomicUsize::new(0);
static HANDLE: Mutex<Option<InterruptHandle>> = Mutex::new(None);

/// The exit code of a program ended by Ctrl-C.
pub const INTERRUPTED: u8 = 130;
/// What does not stop when asked is ended when asked again and again.
const PATIENCE: usize = 3;

/// From now on Ctrl-C cancels the running statement of this connection; with none running it ends the program.
pub fn interrupts(handle: InterruptHandle) {
    static ONCE: Once = Once::new();
    if let Ok(mut h) = HANDLE.lock() {
        *h = Some(handle);
    }
    ONCE.call_once(|| {
        // Without a handler Ctrl-C ends the shell, as it would any program.
        let _ = ctrlc::set_handler(|| {
            let pressed = PRESSED.fetch_add(1, Ordering::SeqCst) + 1;
            if RUNNING.load(Ordering::SeqCst) == 0 || pressed > PATIENCE {
                exit(INTERRUPTED.into());
            }
            if let Ok(h) = HANDLE.lock() {
                h.iter().for_each(InterruptHandle::interrupt);
            }
        });
    });
}

/// Whether Ctrl-C was pressed while this runs.
pub fn interrupted() -> bool {
    PRESSED.load(Ordering::SeqCst) > 0
}

/// While one lives, Ctrl-C cancels and does not end the program.
pub struct Running;

impl Running {
    pub fn start() -> Self {
        if RUNNING.fetch_add(1, Ordering::SeqCst) == 0 {
            PRESSED.store(0, Ordering::SeqCst);
        }
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Runs text that is complete: dot commands by line, the rest as SQL.
pub fn text(session: &mut Session, text: &str) -> Result<Flow> {
    script(session, None, &mut text.as_bytes())
}

/// Reads to the end. With `.bail on` the first error stops; otherwise errors are told, and the flow says so.
/// Where `name` tells what is read, errors tell the line they are in.
pub fn script(session: &mut Session, name: Option<&str>, input: &mut dyn BufRead) -> Result<Flow> {
    let mut splitter = Splitter::default();
    let mut failed = false;
    let mut bytes = vec![];
    let (mut number, mut first) = (0usize, 1);
    let at = |line: usize| move |e: Error| if let Some(n) = name { e.at(n, line) } else { e };
    loop {
        bytes.clear();
        if input.read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        number += 1;
        let line = String::from_utf8_lossy(&bytes);
        let line = if number == 1 { line.trim_start_matches('\u{feff}') } else { &line };
        if splitter.is_empty() {
            first = number;
        }
        let done = if splitter.is_empty() && line.trim_start().starts_with('.') {
            let done = echo(session, line.trim_end()).and_then(|()| dot::run(session, line.trim()));
            done.map_err(at(number)).or_else(|e| settle(session, e, &mut failed))?
        } else {
            let shebang = number == 1 && line.starts_with("#!");
            for statement in splitter.push(if shebang { "" } else { line }) {
                sql(session, &statement).map_err(at(first)).or_else(|e| settle(session, e, &mut failed).map(|_| ()))?;
                first = number;
            }
            Flow::Go
        };
        if let Flow::Leave(code) = done {
            return Ok(Flow::Leave(code));
        }
    }
    if let Some(rest) = splitter.rest() {
        sql(session, &rest).map_err(at(first)).or_else(|e| settle(session, e, &mut failed).map(|_| ()))?;
    }
    Ok(if failed { Flow::Failed } else { Flow::Go })
}

/// An error that need not stop is told and remembered.
fn settle(session: &mut Session, e: Error, failed: &mut bool) -> Result<Flow> {
    if session.bail || e.is_closed_pipe() || e.is_interrupt() {
        return Err(e);
    }
    session.complain(&e);
    *failed = true;
    Ok(Flow::Go)
}

fn echo(session: &mut Session, text: &str) -> Result<()> {
    if session.echo {
        writeln!(session.out, "{text}")?;
    }
    Ok(())
}

/// Runs one statement and prints its rows.
pub fn sql(session: &mut Session, sql: &str) -> Result<()> {
    if lexer::tokens(sql).all(|t| matches!(t.kind, Kind::Space | Kind::Comment | Kind::Semicolon)) {
        return Ok(());
    }
    echo(session, sql)?;
    with(session, sql, statement)
}

/// Prepares a statement and hands it over; around it are what every statement gets: Ctrl-C, a spinner, a pager, its time.
pub fn with(session: &mut Session, sql: &str, run: impl FnOnce(&mut Session, &Connection, &str, Statement<'_>) -> Result<()>) -> Result<()> {
    let opened = session.opened.clone();
    let opened = opened.borrow();
    let _running = Running::start();
    let began = Instant::now();
    session.out.begin();
    let done = opened.db.prepare(sql).map_err(Error::from).and_then(|stmt| run(session, &opened.db, sql, stmt));
    let left = session.out.is_paging();
    session.out.end()?;
    match done {
        // The reader has seen enough.
        Err(e) if left && e.is_closed_pipe() => {}
        done => done?,
    }
    if session.timer {
        eprintln!("Time: {:.3} s", began.elapsed().as_secs_f64());
    }
    Ok(())
}

fn statement(session: &mut Session, db: &Connection, sql: &str, mut stmt: Statement<'_>) -> Result<()> {
    for i in 1..=stmt.parameter_count() {
        let name = stmt.parameter_name(i).map_or_else(|| format!("?{i}"), str::to_owned);
        if let Some(v) = session.params.get(&name) {
            stmt.raw_bind_parameter(i, v)?;
        }
    }
    let verb = lexer::tokens(sql).find(|t| t.kind == Kind::Word).map_or("", |t| t.text(sql));
    let writes = ["INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"].iter().any(|v| v.eq_ignore_ascii_case(verb));
    let columns: Vec<String> = stmt.column_names().iter().map(|c| (*c).to_owned()).collect();
    let n = columns.len();
    let before = db.total_changes();
    let mut rows = stmt.raw_query();
    if n == 0 {
        while rows.next()?.is_some() {}
        drop(rows);
        if session.changes && writes {
            changed(session, db, before);
        }
        return Ok(());
    }
    let format = session.fitted();
    // The first row is asked for before anything is written: a statement that fails leaves no header behind.
    let mut row = rows.next()?;
    let mut printer = Printer::new(&mut session.out, &format, columns);
    let mut failed = None;
    let mut values: Vec<ValueRef<'_>>;
    while let Some(r) = row {
        values = (0..n).map(|i| r.get_ref(i)).collect::<rusqlite::Result<_>>()?;
        printer.row(&values)?;
        row = match rows.next() {
            Ok(r) => r,
            Err(e) => {
                failed = Some(Error::from(e));
                None
            }
        };
    }
    printer.finish()?;
    failed.map_or(Ok(()), Err)
}

/// Of the statements that change rows: how many. Others say nothing.
fn changed(session: &mut Session, db: &Connection, before: u64) {
    // What triggers and cascades changed is counted by the total only.
    let total = db.total_changes().saturating_sub(before);
    let direct = db.changes().min(total);
    let more = if total > direct { format!(" ({total} with triggers and references)") } else { String::new() };
    session.out.quiet();
    eprintln!("{direct} row{} changed{more}", if direct == 1 { "" } else { "s" });
}
