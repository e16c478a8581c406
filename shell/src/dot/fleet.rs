//! dbint's services by short names. Each is one SQL call, which is shown, so that one learns what to write in a script.
use super::usage;
use crate::{
    complete::names,
    error::{Error, Result},
    render::{Format, Mode, Printer, compact, json_cell, literal},
    run,
    session::{Flow, Session},
};
use rusqlite::types::{Value, ValueRef};
use serde_json::{Map, Value as Json};
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

/// Runs a call that answers with a JSON object: its fields one below the other, then each list of objects as a table, with
/// the columns named in `lists` or all there are.
fn object(session: &mut Session, call: &str, lists: &[&str]) -> Result<Flow> {
    let sql = format!("SELECT {call}");
    shown(session, &sql)?;
    if matches!(session.format.mode, Mode::Box | Mode::Table | Mode::Column | Mode::Markdown | Mode::Line) {
        run::with(session, &sql, |session, _, _, mut stmt| {
            let text: String = stmt.query_row([], |r| r.get(0))?;
            match serde_json::from_str(&text) {
                Ok(Json::Object(fields)) => fields_of(session, &fields, lists),
                _ => Ok(writeln!(session.out, "{text}")?),
            }
        })?;
    } else {
        run::sql(session, &sql)?;
    }
    Ok(Flow::Go)
}

fn fields_of(session: &mut Session, fields: &Map<String, Json>, wanted: &[&str]) -> Result<()> {
    let mut format = session.fitted();
    let is_list = |v: &Json| v.as_array().is_some_and(|a| !a.is_empty() && a.iter().all(Json::is_object));
    // Of what is empty there is nothing to see.
    let is_empty = |v: &Json| v.as_array().is_some_and(Vec::is_empty) || v.as_object().is_some_and(Map::is_empty);
    let (lists, plain): (Vec<_>, Vec<_>) = fields.iter().filter(|(_, v)| !is_empty(v)).partition(|(_, v)| is_list(v));
    // Among words, numbers stand at the left, too.
    let word = |v: &Json| if v.is_null() { Value::Null } else { Value::Text(v.as_str().map_or_else(|| compact(v), str::to_owned)) };
    let rows = plain.into_iter().map(|(k, v)| vec![Value::Text(k.clone()), word(v)]);
    format.headers = format.headers.or(Some(false));
    print(session, &format, &["field".to_owned(), "value".to_owned()], rows)?;
    format.headers = session.format.headers;
    for (name, list) in lists {
        let objects: Vec<&Map<String, Json>> = list.as_array().into_iter().flatten().filter_map(Json::as_object).collect();
        let mut columns: Vec<String> = vec![];
        for key in objects.iter().flat_map(|o| o.keys()) {
            if !columns.contains(key) && (wanted.is_empty() || wanted.contains(&key.as_str())) {
                columns.push(key.clone());
            }
        }
        writeln!(session.out, "\n{name}")?;
        let rows = objects.iter().map(|o| columns.iter().map(|c| o.get(c).map_or(Value::Null, json_cell)).collect());
        print(session, &format, &columns, rows)?;
    }
    Ok(())
}

fn print(session: &mut Session, format: &Format, columns: &[String], rows: impl Iterator<Item = Vec<Value>>) -> Result<()> {
    let mut printer = Printer::new(&mut session.out, format, columns.to_vec());
    for row in rows {
        printer.row(&row.iter().map(ValueRef::from).collect::<Vec<_>>())?;
    }
    printer.finish()?;
    Ok(())
}

/// The columns that tell the state of a member at a glance; the others are in the table of that name.
const MEMBER: &str = "db_name, health_status, score, size, response_time_ms, failed_checks, coalesce(error, detail) AS detail";

pub fn fleet(session: &mut Session, filter: &str) -> Result<Flow> {
    if session.interactive && names::registered(&session.opened.borrow().db).is_empty() {
        writeln!(session.out, "No database is registered here yet. This registers every one below this folder:\n\n  SELECT register_database('.');")?;
        return Ok(Flow::Go);
    }
    let sql = format!("SELECT {MEMBER} FROM fleet_health {}", filter.trim_end_matches(';'));
    shown(session, sql.trim())?;
    run::sql(session, &sql)?;
    Ok(Flow::Go)
}

/// The words of a command, and the options behind them.
fn words_and_options(text: &str) -> Result<(Vec<String>, Option<&str>)> {
    let text = text.trim_end_matches([';', ' ']);
    let (words, options) = text.split_at(super::options_at(text).unwrap_or(text.len()));
    Ok((super::split(words)?, Some(options).filter(|o| !o.is_empty())))
}

/// Calls `name` with the words and the options as they stand.
fn service(session: &mut Session, name: &str, words: &[String], options: Option<&str>, lists: &[&str]) -> Result<Flow> {
    let args: Vec<&str> = words.iter().map(String::as_str).chain(options).collect();
    object(session, &call(name, &args), lists)
}

pub fn health(session: &mut Session, text: &str) -> Result<Flow> {
    let (words, options) = words_and_options(text)?;
    if words.len() > 1 {
        return Err(usage());
    }
    service(session, "db_health", &words, options, &["name", "passed", "severity", "deduction", "detail", "remedy"])
}

pub fn size(session: &mut Session, args: &[&str]) -> Result<Flow> {
    object(session, &call("size_check", args), &[])
}

pub fn sync(session: &mut Session, text: &str) -> Result<Flow> {
    let (words, options) = words_and_options(text)?;
    match &words[..] {
        [] => service(session, "sync_all", &[], options, &[]),
        [_, _] => service(session, "sync_table", &words, options, &[]),
        [names @ .., source] if names.len() == 2 => {
            let given = options.map_or(Ok(Map::new()), serde_json::from_str);
            let mut all: Map<String, Json> = given.map_err(|e| Error::usage(format!("the options are no JSON object: {e}")))?;
            all.insert("source".to_owned(), source.as_str().into());
            service(session, "sync_table", names, Some(&Json::Object(all).to_string()), &[])
        }
        _ => Err(usage()),
    }
}

pub fn backup(session: &mut Session, text: &str) -> Result<Flow> {
    let (words, options) = words_and_options(text)?;
    match (&words[..], options) {
        ([], _) | ([_], Some(_)) => service(session, "backup_database", &words, options, &[]),
        ([file], None) => copy(session, "main", file),
        ([db, file], None) => copy(session, db, file),
        _ => Err(usage()),
    }
}

fn copy(session: &mut Session, schema: &str, file: &str) -> Result<Flow> {
    let sql = format!("VACUUM {} INTO {}", crate::render::name(schema), literal(ValueRef::Text(file.as_bytes())));
    shown(session, &sql)?;
    run::sql(session, &sql)?;
    Ok(Flow::Go)
}

pub fn restore(session: &mut Session, text: &str) -> Result<Flow> {
    let (words, options) = words_and_options(text)?;
    if words.len() != 2 {
        return Err(usage());
    }
    service(session, "restore_database", &words, options, &[])
}
