//! How the shell behaves: output mode, headers, timer, parameters.
use super::usage;
use crate::{
    error::{Error, Result},
    render::{Mode, literal},
    session::{Flow, Session},
};
use clap::ValueEnum;
use rusqlite::types::{Value, ValueRef};
use std::{io::Write, time::Duration};

fn word(mode: Mode) -> String {
    mode.to_possible_value().map_or(String::new(), |v| v.get_name().to_owned())
}

fn say(session: &mut Session, text: impl std::fmt::Display) -> Result<Flow> {
    writeln!(session.out, "{text}")?;
    Ok(Flow::Go)
}

pub fn mode(session: &mut Session, args: &[&str]) -> Result<Flow> {
    let Some(given) = args.first() else {
        let mode = word(session.format.mode);
        return say(session, mode);
    };
    let given = if *given == "columns" { "column" } else { given };
    session.format.mode = Mode::from_str(given, true).map_err(|_| {
        let all: Vec<String> = Mode::value_variants().iter().map(|m| word(*m)).collect();
        Error::usage(format!("no mode \"{given}\".{} Modes: {}", dbint::did_you_mean(given, all.iter().map(String::as_str)), all.join(", ")))
    })?;
    if let Some(table) = args.get(1) {
        session.format.insert = (*table).to_owned();
    }
    Ok(Flow::Go)
}

fn switch(word: &str) -> Result<bool> {
    match word.to_ascii_lowercase().as_str() {
        "on" | "1" | "yes" | "true" => Ok(true),
        "off" | "0" | "no" | "false" => Ok(false),
        _ => Err(usage()),
    }
}

/// Sets a switch; without an argument turns it over and tells.
fn flip(session: &mut Session, args: &[&str], name: &str, at: fn(&mut Session) -> &mut bool) -> Result<Flow> {
    match args {
        [] => {
            let now = !*at(session);
            *at(session) = now;
            say(session, format!("{name} {}", if now { "on" } else { "off" }))
        }
        [word] => {
            *at(session) = switch(word)?;
            Ok(Flow::Go)
        }
        _ => Err(usage()),
    }
}

pub fn timer(session: &mut Session, args: &[&str]) -> Result<Flow> {
    flip(session, args, "timer", |s| &mut s.timer)
}

pub fn echo(session: &mut Session, args: &[&str]) -> Result<Flow> {
    flip(session, args, "echo", |s| &mut s.echo)
}

pub fn bail(session: &mut Session, args: &[&str]) -> Result<Flow> {
    flip(session, args, "bail", |s| &mut s.bail)
}

pub fn headers(session: &mut Session, args: &[&str]) -> Result<Flow> {
    session.format.headers = match args {
        ["auto"] => None,
        [word] => Some(switch(word)?),
        _ => return Err(usage()),
    };
    Ok(Flow::Go)
}

pub fn nullvalue(session: &mut Session, args: &[&str]) -> Result<Flow> {
    session.format.null = args.first().map(|s| (*s).to_owned());
    Ok(Flow::Go)
}

pub fn separator(session: &mut Session, args: &[&str]) -> Result<Flow> {
    session.format.separator = (*args.first().ok_or_else(usage)?).to_owned();
    Ok(Flow::Go)
}

pub fn width(session: &mut Session, args: &[&str]) -> Result<Flow> {
    session.format.width = match args.first() {
        None => None,
        Some(n) => match n.parse().map_err(|_| usage())? {
            0 => Some(usize::from(u16::MAX)),
            n => Some(n),
        },
    };
    Ok(Flow::Go)
}

pub fn print(session: &mut Session, args: &[&str]) -> Result<Flow> {
    say(session, args.join(" "))
}

pub fn changes(session: &mut Session, args: &[&str]) -> Result<Flow> {
    flip(session, args, "changes", |s| &mut s.changes)
}

pub fn timeout(session: &mut Session, args: &[&str]) -> Result<Flow> {
    let ms: u32 = args.first().and_then(|n| n.parse().ok()).filter(|n| *n <= i32::MAX.unsigned_abs()).ok_or_else(usage)?;
    session.timeout = Duration::from_millis(ms.into());
    session.opened.borrow().db.busy_timeout(session.timeout)?;
    Ok(Flow::Go)
}

pub fn show(session: &mut Session, _: &[&str]) -> Result<Flow> {
    let onoff = |b: bool| if b { "on" } else { "off" };
    let file = session.opened.borrow().path.as_ref().map_or("(in memory)".to_owned(), |p| p.display().to_string());
    let headers = session.format.headers.map_or("auto", onoff);
    let null = session.format.null.clone().unwrap_or_else(|| "(as usual for the mode)".to_owned());
    let lines = [
        ("database", file),
        ("mode", word(session.format.mode)),
        ("headers", headers.to_owned()),
        ("nullvalue", null),
        ("separator", session.format.separator.clone()),
        ("timer", onoff(session.timer).to_owned()),
        ("changes", onoff(session.changes).to_owned()),
        ("echo", onoff(session.echo).to_owned()),
        ("bail", onoff(session.bail).to_owned()),
        ("foreign keys", onoff(session.opened.borrow().db.pragma_query_value(None, "foreign_keys", |r| r.get(0)).unwrap_or(false)).to_owned()),
        ("timeout", format!("{} ms", session.timeout.as_millis())),
        ("pager", session.out.pager.clone().unwrap_or_else(|| "off".to_owned())),
    ];
    for (k, v) in lines {
        writeln!(session.out, "{k:>12}: {v}")?;
    }
    Ok(Flow::Go)
}

/// The value is an expression of SQL; what is none is text.
pub fn param(session: &mut Session, text: &str) -> Result<Flow> {
    let cut = |text: &str| text.split_once(char::is_whitespace).map_or((text.to_owned(), String::new()), |(a, b)| (a.to_owned(), b.trim().to_owned()));
    let (verb, rest) = cut(text.trim_end_matches([';', ' ']));
    let (name, given) = cut(&rest);
    match (verb.as_str(), name.as_str(), given.as_str()) {
        ("" | "list", "", "") => {
            let lines: Vec<String> = session.params.iter().map(|(k, v)| format!("{k} = {}", literal(ValueRef::from(v)))).collect();
            lines.iter().try_for_each(|l| writeln!(session.out, "{l}"))?;
        }
        ("set", name, given) if !given.is_empty() => {
            let name = if name.starts_with([':', '@', '$', '?']) { name.to_owned() } else { format!(":{name}") };
            // As in `sqlite3`, double quotes may stand around the whole of it.
            let given = given.strip_prefix('"').and_then(|g| g.strip_suffix('"')).unwrap_or(given);
            let value = session.opened.borrow().db.query_row(&format!("SELECT {given}"), [], |r| r.get(0));
            session.params.insert(name, value.unwrap_or_else(|_| Value::Text(given.to_owned())));
        }
        ("unset", name, "") if !name.is_empty() => {
            session.params.remove(name).or_else(|| session.params.remove(&format!(":{name}")));
        }
        ("clear", "", "") => session.params.clear(),
        _ => return Err(usage()),
    }
    Ok(Flow::Go)
}

pub fn pager(session: &mut Session, args: &[&str]) -> Result<Flow> {
    let now = match args {
        [] => session.out.pager.clone().unwrap_or_else(|| "off".to_owned()),
        ["off"] => {
            session.out.pager = None;
            return Ok(Flow::Go);
        }
        ["on"] => {
            session.out.pager = Some(crate::out::usual_pager());
            return Ok(Flow::Go);
        }
        command => {
            session.out.pager = Some(command.join(" "));
            return Ok(Flow::Go);
        }
    };
    say(session, now)
}
