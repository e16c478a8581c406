//! The world around the shell: commands of the system, versions, the way out.
use super::usage;
use crate::{
    error::{Error, Result},
    run::Running,
    session::{Flow, Session},
};
use std::{io::Write, process::Command};

pub fn shell(session: &mut Session, text: &str) -> Result<Flow> {
    if text.is_empty() {
        return Err(usage());
    }
    session.out.flush()?;
    // Ctrl-C ends the command, which shares our terminal, and not us.
    let _running = Running::start();
    let (program, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    let status = Command::new(program).arg(flag).arg(text).status().map_err(|e| Error::usage(format!("\"{program}\": {e}")))?;
    if status.success() { Ok(Flow::Go) } else { Err(Error::usage(format!("the command ended with {status}"))) }
}

pub fn version(session: &mut Session, _: &[&str]) -> Result<Flow> {
    let source: String = session.opened.borrow().db.query_row("SELECT sqlite_source_id()", [], |r| r.get(0))?;
    writeln!(session.out, "dbint {}\nSQLite {} {source}", env!("CARGO_PKG_VERSION"), rusqlite::version())?;
    Ok(Flow::Go)
}

pub fn exit(_: &mut Session, args: &[&str]) -> Result<Flow> {
    args.first().map_or(Ok(0), |c| c.parse().map_err(|_| usage())).map(Flow::Leave)
}
