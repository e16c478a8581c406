//! What stands around the target's table: its triggers, its foreign keys.
use crate::{
    db::{
        foreign_keys,
        ident::{quote, same},
        lex,
        schema::{self, Table, TableKind},
    },
    error::{Error, Kind, Result},
};
use rusqlite::Connection;

/// Names of the target's triggers that do not fire. One that keeps a virtual table in step (full text, say) must not be
/// left out unasked: the sync is refused until the caller chooses.
pub fn triggers(db: &Connection, schema: &str, table: &Table, choice: Option<bool>) -> Result<Vec<String>> {
    let sql = format!("SELECT name, sql FROM {}.sqlite_schema WHERE type = 'trigger' AND lower(tbl_name) = lower(?) ORDER BY name", quote(schema));
    let mut q = db.prepare(&sql)?;
    let all: Vec<(String, String)> =
        q.query_map([&table.name], |r| Ok((r.get(0)?, r.get::<_, Option<String>>(1)?.unwrap_or_default())))?.collect::<rusqlite::Result<_>>()?;
    drop(q);
    let users: Vec<(String, String)> = all.into_iter().filter(|(n, _)| !n.starts_with("dbint_track_")).collect();
    if choice == Some(true) {
        return Ok(vec![]);
    }
    if choice.is_none() && !users.is_empty() {
        let virtuals: Vec<String> = schema::tables(db, schema)?
            .into_iter()
            .filter(|t| schema::find_table(db, schema, t).is_ok_and(|t| t.is_some_and(|t| t.kind == TableKind::Virtual)))
            .collect();
        for (name, sql) in &users {
            let words: Vec<String> = lex::tokens(sql).iter().filter_map(lex::Token::name).collect();
            if let Some(v) = virtuals.iter().find(|v| words.iter().any(|w| same(w, v))) {
                let what = format!("the trigger \"{name}\" keeps the virtual table \"{v}\" in step with \"{}\", and a sync does not fire triggers", table.name);
                return Err(
                    Error::unsupported(what).hint("Choose {\"triggers\":true} to fire them, or {\"triggers\":false} and rebuild the virtual table afterwards")
                );
            }
        }
    }
    Ok(users.into_iter().map(|(n, _)| n).collect())
}

/// Tables whose foreign keys a change of `table` can break: its own, and those that refer to it.
pub struct Keys {
    tables: Vec<String>,
    before: i64,
}

impl Keys {
    pub fn before(db: &Connection, schema: &str, table: &str) -> Result<Keys> {
        let mut tables = vec![];
        for t in schema::stored_tables(db, schema)? {
            let keys = foreign_keys::of(db, schema, &t)?;
            if !keys.is_empty() && (same(&t, table) || keys.iter().any(|k| same(&k.parent, table))) {
                tables.push(t);
            }
        }
        let before = count(db, schema, &tables)?;
        Ok(Keys { tables, before })
    }

    /// Refuses what would leave more rows without a parent than there were.
    pub fn check(&self, db: &Connection, schema: &str) -> Result<()> {
        if count(db, schema, &self.tables)? <= self.before {
            return Ok(());
        }
        let mut examples = vec![];
        for t in &self.tables {
            let mut q = db.prepare("SELECT \"table\", rowid, parent FROM pragma_foreign_key_check(?1, ?2) LIMIT 3")?;
            let rows = q.query_map([t.as_str(), schema], |r| {
                let rowid = r.get::<_, Option<i64>>(1)?.map_or(String::new(), |i| format!(" rowid {i}"));
                Ok(format!("{}{rowid} has no parent in {}", r.get::<_, String>(0)?, r.get::<_, String>(2)?))
            })?;
            examples.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
        }
        examples.truncate(5);
        Err(Error::new(Kind::Constraint, format!("foreign keys of the target would be broken: {}; nothing was changed", examples.join("; ")))
            .hint("Synchronise the parents first, or pass the option {\"foreign_keys\":false}"))
    }
}

/// A declaration that SQLite itself cannot check (a parent that is not unique) counts as no violation: it cannot be enforced.
fn count(db: &Connection, schema: &str, tables: &[String]) -> Result<i64> {
    let mut all = 0;
    for t in tables {
        let found = db.query_row("SELECT count(*) FROM pragma_foreign_key_check(?1, ?2)", [t.as_str(), schema], |r| r.get::<_, i64>(0));
        all += match found.map_err(Error::from) {
            Err(e) if e.message.contains("foreign key mismatch") => 0,
            other => other?,
        };
    }
    Ok(all)
}
