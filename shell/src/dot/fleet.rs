//! dbint's services by short names. Each is one SQL call, which is shown, so that one learns what to write in a script.
use super::usage;
use crate::{
    error::Result,
    render::literal,
    run,
    session::{Flow, Session},
};
use rusqlite::types::ValueRef;
use std::io::Write;

/// `f(a, b)` with the arguments as literals; numbers stay numbers.
fn call(name: &str, args: &[&str]) -> String {
    let arg = |a: &&str| if a.parse::<f64>().is_ok() { (*a).to_owned() } else { literal(ValueRef::Text(a.as_bytes())) };
    format!("{name}({})", args.iter().map(arg).collect::<Vec<_>>().join(", "))
}

fn shown(session: &mut Session, sql: &str) -> Result<()> {
    if session.interactive {
        let (dim, off) = if session.format.color { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        writeln!(session.out, "{dim}{sql};{off}")?;
        session.out.flush()?;
    }
    Ok(())
}

/// Runs a call that answers with a JSON object, and shows its fields one below the other.
fn object(session: &mut Session, call: &str) -> Result<Flow> {
    shown(session, &format!("SELECT {call}"))?;
    run::sql(session, &format!("SELECT key AS field, value FROM json_each({call})"))?;
    Ok(Flow::Go)
}

pub fn fleet(session: &mut Session, filter: &str) -> Result<Flow> {
    let sql = format!("SELECT * FROM fleet_health {filter}");
    shown(session, sql.trim())?;
    run::sql(session, &sql)?;
    Ok(Flow::Go)
}

pub fn health(session: &mut Session, args: &[&str]) -> Result<Flow> {
    object(session, &call("db_health", args))
}

pub fn size(session: &mut Session, args: &[&str]) -> Result<Flow> {
    object(session, &call("size_check", args))
}

pub fn sync(session: &mut Session, text: &str) -> Result<Flow> {
    if text.is_empty() {
        return object(session, "sync_all()");
    }
    // The options are JSON, whose quotes are not ours to take.
    let (names, options) = text.split_at(text.find('{').unwrap_or(text.len()));
    let names = super::split(names.trim_end_matches([';', ' ']))?;
    let mut args: Vec<&str> = names.iter().map(String::as_str).collect();
    if args.len() != 2 {
        return Err(usage());
    }
    args.extend(Some(options.trim_end_matches([';', ' '])).filter(|o| !o.is_empty()));
    object(session, &call("sync_table", &args))
}

pub fn backup(session: &mut Session, args: &[&str]) -> Result<Flow> {
    match args {
        [] => object(session, "backup_database()"),
        [file] => copy(session, "main", file),
        [db, file] => copy(session, db, file),
        _ => Err(usage()),
    }
}

fn copy(session: &mut Session, schema: &str, file: &str) -> Result<Flow> {
    let sql = format!("VACUUM {} INTO {}", crate::render::name(schema), literal(ValueRef::Text(file.as_bytes())));
    shown(session, &sql)?;
    run::sql(session, &sql)?;
    Ok(Flow::Go)
}

pub fn restore(session: &mut Session, args: &[&str]) -> Result<Flow> {
    if args.len() != 2 {
        return Err(usage());
    }
    object(session, &call("restore_database", args))
}
