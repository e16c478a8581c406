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
    let mut all = everywhere(session, "$SCHEMA || name", filter, like(args))?;
    // A person looks for their own tables; a pattern, or a script, gets all.
    let ours = if session.interactive && args.is_empty() { names::of_hub(&session.opened.borrow().db) } else { vec![] };
    let before = all.len();
    all.retain(|n| !ours.contains(n));
    columns(session, &all)?;
    if all.len() < before {
        writeln!(session.out, "… and {} of dbint; .tables % lists them, too", before - all.len())?;
    }
    Ok(Flow::Go)
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
    Ok(Flow::Go)
}

/// The plan as a tree.
pub fn explain(session: &mut Session, sql: &str) -> Result<Flow> {
    if sql.is_empty() {
        return Err(super::usage());
    }
    let opened = session.opened.clone();
    let opened = opened.borrow();
    let mut q = opened.db.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    let steps: Vec<(i64, i64, String)> = q.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(3)?)))?.collect::<rusqlite::Result<_>>()?;
    branch(session, &steps, 0, "")?;
    Ok(Flow::Go)
}

fn branch(session: &mut Session, steps: &[(i64, i64, String)], parent: i64, indent: &str) -> Result<()> {
    let children: Vec<_> = steps.iter().filter(|(_, p, _)| *p == parent).collect();
    for (i, (id, _, detail)) in children.iter().enumerate() {
        let last = i + 1 == children.len();
        writeln!(session.out, "{indent}{}{detail}", if last { "└─ " } else { "├─ " })?;
        branch(session, steps, *id, &format!("{indent}{}", if last { "   " } else { "│  " }))?;
    }
    Ok(())
}
