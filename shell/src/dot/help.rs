//! `.help`: the dot commands, and everything dbint adds to SQL, from its own catalogue.
use super::{COMMANDS, Command, Group, Service};
use crate::{
    error::{Error, Result},
    session::{Flow, Session},
};
use std::io::Write;

struct Entry {
    name: String,
    kind: String,
    room: String,
    signature: String,
    returns: String,
    summary: String,
    options: String,
    example: String,
}

pub fn help(session: &mut Session, args: &[&str]) -> Result<Flow> {
    let all = catalogue(session)?;
    let Some(topic) = args.first().map(|t| t.trim_end_matches(['(', ')', ';'])) else { return overview(session, &all) };
    if topic == "all" {
        return everything(session, &all);
    }
    if let Some(c) = (topic.starts_with('.') || all.iter().all(|e| e.name != topic && e.room != topic)).then(|| super::find(topic)).flatten() {
        command(session, c, &all)?;
    } else if let Some(e) = all.iter().find(|e| e.name.eq_ignore_ascii_case(topic)) {
        entry(session, e)?;
    } else {
        let word = topic.to_lowercase();
        let mut found: Vec<&Entry> = all.iter().filter(|e| e.room == word).collect();
        if found.is_empty() {
            found = all.iter().filter(|e| e.name.contains(&word) || e.summary.to_lowercase().contains(&word)).collect();
        }
        if found.is_empty() {
            let names = all.iter().map(|e| e.name.as_str()).chain(COMMANDS.iter().map(|c| c.name));
            return Err(Error::usage(format!("no help on \"{topic}\".{}", dbint::did_you_mean(topic, names))));
        }
        let lines = found.iter().map(|e| (e.signature.clone(), e.summary.clone())).collect();
        two_columns(session, lines)?;
    }
    Ok(Flow::Go)
}

/// One screen: the names of the commands, what the rooms are for, and what to try first.
fn overview(session: &mut Session, all: &[Entry]) -> Result<Flow> {
    writeln!(session.out, "Statements end with a semicolon. Tab completes, Ctrl-R searches history, Ctrl-C cancels, Ctrl-D leaves.\n")?;
    let names = |g: Group| COMMANDS.iter().filter(|c| c.group == g).map(|c| format!(".{}", c.name)).collect::<Vec<_>>().join(" ");
    let groups = GROUPS.iter().map(|(g, title)| ((*title).to_owned(), names(*g)));
    two_columns(session, groups.collect())?;
    writeln!(session.out, "\nIn SQL dbint adds {} functions and tables:\n", all.len())?;
    two_columns(session, dbint::ROOMS.iter().map(|r| (r.name.to_owned(), r.summary.to_owned())).collect())?;
    writeln!(session.out, "\nMore: .help all, .help NAME of a command, room, function or table, or any word. To start:\n")?;
    let first = [
        ("look around", "SELECT * FROM discover_databases('.');"),
        ("open one", ".open FILE"),
        ("register all", "SELECT register_database('.');"),
        ("check them", ".fleet"),
        ("bring a table over", ".sync TABLE OTHER.db"),
    ];
    two_columns(session, first.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())?;
    Ok(Flow::Go)
}

const GROUPS: &[(Group, &str)] =
    &[(Group::Look, "look"), (Group::Fleet, "fleet"), (Group::Files, "files"), (Group::Output, "output"), (Group::Session, "session")];

/// Every command, and every name dbint adds, with one line of help.
fn everything(session: &mut Session, all: &[Entry]) -> Result<Flow> {
    for (group, title) in GROUPS {
        writeln!(session.out, "{title}")?;
        let of = COMMANDS.iter().filter(|c| c.group == *group);
        two_columns(session, of.map(|c| (format!("  .{} {}", c.name, c.args).trim_end().to_owned(), c.summary.to_owned())).collect())?;
    }
    for room in dbint::ROOMS {
        let of: Vec<_> = all.iter().filter(|e| e.room == room.name).map(|e| (format!("  {}", e.signature), e.summary.clone())).collect();
        if !of.is_empty() {
            writeln!(session.out, "{}: {}", room.name, room.summary)?;
            two_columns(session, of)?;
        }
    }
    Ok(Flow::Go)
}

fn command(session: &mut Session, c: &Command, all: &[Entry]) -> Result<()> {
    writeln!(session.out, ".{} {}\n  {}", c.name, c.args, c.summary)?;
    let Some(service) = Service::of(c.name) else { return Ok(()) };
    writeln!(session.out, "  Examples:")?;
    two_columns(session, service.examples.iter().map(|(typed, does)| (format!("    {typed}"), (*does).to_owned())).collect())?;
    let (alone, named) = (service.function(""), service.function("a name"));
    options(session, all.iter().find(|e| e.name == named))?;
    if alone != named {
        writeln!(session.out, "  Alone it takes the options of {alone}; .help {alone} tells them.")?;
    }
    Ok(())
}

fn options(session: &mut Session, of: Option<&Entry>) -> Result<()> {
    let Some(e) = of.filter(|e| !e.options.is_empty()) else { return Ok(()) };
    writeln!(session.out, "  Options, as JSON:")?;
    let lines = e.options.lines().filter_map(|l| l.split_once(": ")).map(|(k, s)| (format!("    {k}"), s.to_owned())).collect();
    two_columns(session, lines)
}

fn entry(session: &mut Session, e: &Entry) -> Result<()> {
    writeln!(session.out, "{}", e.signature)?;
    let space = session.fitted().width.unwrap_or(100).min(120);
    for line in crate::render::wrap(&e.summary, space.saturating_sub(2).max(10)) {
        writeln!(session.out, "  {line}")?;
    }
    let label = if e.kind == "table" { "Columns" } else { "Returns" };
    two_columns(session, vec![(format!("  {label}"), e.returns.clone())])?;
    options(session, Some(e))?;
    two_columns(session, vec![("  Example".to_owned(), e.example.clone())])
}

/// Names on the left, words on the right, wrapped where the terminal ends.
fn two_columns(session: &mut Session, lines: Vec<(String, String)>) -> Result<()> {
    let space = session.fitted().width.unwrap_or(100).min(120);
    let left = lines.iter().map(|(l, _)| l.chars().count()).filter(|n| *n <= space / 3).max().unwrap_or(0) + 2;
    for (name, words) in lines {
        let right = space.saturating_sub(left).max(space / 2).max(10);
        let mut first = true;
        if name.chars().count() + 2 > left {
            writeln!(session.out, "{name}")?;
            first = false;
        }
        for line in crate::render::wrap(&words, right) {
            writeln!(session.out, "{:left$}{line}", if first { name.as_str() } else { "" })?;
            first = false;
        }
    }
    Ok(())
}

fn catalogue(session: &Session) -> Result<Vec<Entry>> {
    let opened = session.opened.borrow();
    let mut q = opened.db.prepare("SELECT name, kind, room, signature, returns, summary, options, example FROM dbint_functions")?;
    let read = |r: &rusqlite::Row<'_>| {
        Ok(Entry {
            name: r.get(0)?,
            kind: r.get(1)?,
            room: r.get(2)?,
            signature: r.get(3)?,
            returns: r.get(4)?,
            summary: r.get(5)?,
            options: r.get(6)?,
            example: r.get(7)?,
        })
    };
    Ok(q.query_map([], read)?.collect::<rusqlite::Result<_>>()?)
}
