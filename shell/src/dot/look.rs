//! Looking at what is in the database: tables, indexes, schema, files.
use crate::{
    complete::names,
    error::Result,
    render::{Mode, name},
    session::{Flow, Session},
};
use std::io::Write;

/// A pattern as `sqlite3` takes it: of LIKE.
fn like<'a>(args: &[&'a str]) -> &'a str {
    args.first().copied().unwrap_or("%")
}

/// The schema tables of all attached databases as one, hidden from nobody.
fn everywhere(session: &Session, columns: &str, filter: &str, pattern: &str) -> Result<Vec<String>> {
    let opened = session.opened.borrow();
    let mut all = vec![];
    for schema in names::schemas(&opened.db) {
        let label = if schema == "main" { "''".to_owned() } else { format!("'{}.'", schema.replace('\'', "''")) };
        let sql = format!("SELECT {} FROM {}.sqlite_schema WHERE {filter}", columns.replace("$SCHEMA", &label), name(&schema));
        let mut q = opened.db.prepare(&sql)?;
        let rows = q.query_map([pattern], |r| r.get(0))?;
        all.extend(rows.collect::<rusqlite::Result<Vec<String>>>()?);
    }
    Ok(all)
}

pub fn tables(session: &mut Session, args: &[&str]) -> Result<Flow> {
    let filter = "type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name LIKE ?1 ORDER BY name";
    let all = everywhere(session, "$SCHEMA || name", filter, like(args))?;
    columns(session, &all)
}

pub fn indexes(session: &mut Session, args: &[&str]) -> Result<Flow> {
    let all = everywhere(session, "$SCHEMA || name", "type = 'index' AND tbl_name LIKE ?1 ORDER BY name", like(args))?;
    columns(session, &all)
}

pub fn schema(session: &mut Session, args: &[&str]) -> Result<Flow> {
    let filter = "sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND (tbl_name LIKE ?1 OR name LIKE ?1) ORDER BY rowid";
    for sql in everywhere(session, "sql || ';'", filter, like(args))? {
        writeln!(session.out, "{sql}")?;
    }
    session.out.flush()?;
    Ok(Flow::Go)
}

pub fn databases(session: &mut Session, _: &[&str]) -> Result<Flow> {
    let mode = session.format.mode;
    if mode == Mode::List {
        session.format.mode = Mode::Tabs;
    }
    let done = crate::run::sql(session, "SELECT name, coalesce(nullif(file, ''), '(in memory)') AS file FROM pragma_database_list");
    session.format.mode = mode;
    done.map(|()| Flow::Go)
}

/// Names in as many columns as fit, read downwards.
fn columns(session: &mut Session, names: &[String]) -> Result<Flow> {
    let space = session.fitted().width.unwrap_or(80);
    let wide = names.iter().map(|n| n.chars().count()).max().unwrap_or(0) + 2;
    let across = (space / wide.max(1)).max(1);
    let down = names.len().div_ceil(across).max(1);
    for line in 0..down.min(names.len()) {
        let cells: Vec<String> = names.iter().skip(line).step_by(down).map(|n| format!("{n:wide$}")).collect();
        writeln!(session.out, "{}", cells.concat().trim_end())?;
    }
    session.out.flush()?;
    Ok(Flow::Go)
}
