//! Rules as triggers of built-in SQL, so that every program that writes the table keeps them.
//!
//! They fire AFTER the change and look at the row as it was stored; a row that breaks a rule takes the statement back.
use super::rule::{self, Breaks, Rule};
use crate::{
    db::{
        ident::{literal, qualified, quote, same},
        schema::{self, Table},
        transaction,
    },
    error::{Error, Result},
    hub::Session,
};
use rusqlite::Connection;
use serde_json::{Value as Json, json};

fn name(r: &Rule, event: &str) -> String {
    format!("dbint_rule_{}_{event}", r.id)
}

/// The triggers of ours on a table, whatever rule they were made for.
fn present(s: &Session<'_>, t: &Table) -> Result<Vec<String>> {
    let sql = format!("SELECT name FROM {}.sqlite_schema WHERE type = 'trigger' AND name GLOB 'dbint_rule_*' AND lower(tbl_name) = lower(?)", quote(&s.schema));
    let mut q = s.db.prepare(&sql)?;
    Ok(q.query_map([&t.name], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// Replaces the triggers of a table by those of its rules; `remove` leaves none.
pub fn table(host: &Connection, s: &Session<'_>, place: &str, table: &str, remove: bool, dry_run: bool) -> Result<Json> {
    let t = schema::table(&s.db, &s.schema, table)?;
    if t.kind != schema::TableKind::Table {
        return Err(Error::unsupported(format!("\"{}\" is no ordinary table: triggers of this kind are not possible on it", t.name)));
    }
    let (mut made, mut skipped, mut sql) = (vec![], vec![], vec![]);
    for r in if remove { vec![] } else { rule::all(host)? } {
        let here = crate::hub::Target::resolve(host, Some(&r.db)).and_then(|t| rule::place(host, &t)).is_ok_and(|p| p == place);
        if !here || !same(&r.table, &t.name) {
            continue;
        }
        match triggers(s, &t, &r) {
            Ok(all) => {
                made.push(json!({"rule_id": r.id, "rule": r.shown(), "triggers": all.iter().map(|(n, _)| n).collect::<Vec<_>>()}));
                sql.extend(all.into_iter().map(|(_, sql)| sql));
            }
            Err(e) => skipped.push(json!({"rule_id": r.id, "rule": r.shown(), "why": e.message})),
        }
    }
    let old = present(s, &t)?;
    if !dry_run {
        transaction::savepoint(&s.db, || {
            for n in &old {
                s.db.execute_batch(&format!("DROP TRIGGER {}", qualified(&s.schema, n)))?;
            }
            for one in &sql {
                s.db.execute_batch(one)?;
            }
            Ok(())
        })?;
    }
    Ok(json!({"db": s.name, "table": t.name, "enforced": made, "skipped": skipped, "removed": old, "statements": sql, "dry_run": dry_run}))
}

fn triggers(s: &Session<'_>, t: &Table, r: &Rule) -> Result<Vec<(String, String)>> {
    let own = quote(&t.name);
    let row = rule::key(t)?.iter().map(|k| format!("{own}.{0} IS NEW.{0}", quote(k))).collect::<Vec<_>>().join(" AND ");
    let broken = match r.breaks(&s.db, t, true)? {
        Breaks::When(condition) => format!("EXISTS(SELECT 1 FROM {own} WHERE {row} AND {condition})"),
        Breaks::Twice(columns) => {
            let given = columns.iter().map(|c| format!("NEW.{} IS NOT NULL", quote(c))).collect::<Vec<_>>().join(" AND ");
            let equal = columns.iter().map(|c| format!("{own}.{0} = NEW.{0}", quote(c))).collect::<Vec<_>>().join(" AND ");
            format!("{given} AND (SELECT count(*) FROM (SELECT 1 FROM {own} WHERE {equal} LIMIT 2)) > 1")
        }
        Breaks::NoMatch(..) => return Err(Error::unsupported("SQLite has no regular expressions built in; a glob rule can be enforced")),
    };
    let message = literal(&format!("rule {} broken: {}", r.id, r.shown()));
    let one = |event: &str| {
        let name = name(r, &event.to_lowercase());
        let sql = format!("CREATE TRIGGER {} AFTER {event} ON {own} WHEN {broken} BEGIN SELECT RAISE(ABORT, {message}); END", qualified(&s.schema, &name));
        (name, sql)
    };
    Ok(vec![one("INSERT"), one("UPDATE")])
}
