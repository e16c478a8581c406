//! What a schema consists of, as far as two schemas are compared: everything the user made, nothing of SQLite's or ours.
use crate::db::{
    ident::{quote, same},
    lex::{self, Kind},
    schema::{self, TableKind},
};
use crate::error::Result;
use crate::hub::{Hub, install};
use rusqlite::Connection;

/// One row of `sqlite_schema`.
#[derive(Clone, Debug)]
pub struct Object {
    /// table, index, view or trigger.
    pub kind: String,
    pub name: String,
    /// The table an index or a trigger belongs to.
    pub table: String,
    pub sql: String,
}

impl Object {
    pub fn is(&self, kind: &str, name: &str) -> bool {
        self.kind == kind && same(&self.name, name)
    }

    /// Same statement, whatever its spaces, comments, quotes and case.
    pub fn equals(&self, other: &Object) -> bool {
        same(&self.table, &other.table) && canonical(&self.sql) == canonical(&other.sql)
    }
}

/// All objects of a schema, in the order they were made.
pub fn all(db: &Connection, schema: &str) -> Result<Vec<Object>> {
    let mut q = db.prepare(&format!(
        "SELECT type, name, tbl_name, sql FROM {}.sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid",
        quote(schema)
    ))?;
    let rows = q.query_map([], |r| Ok(Object { kind: r.get(0)?, name: r.get(1)?, table: r.get(2)?, sql: r.get(3)? }))?;
    let ours = ours(db, schema)?;
    let mut found = vec![];
    for object in rows.collect::<rusqlite::Result<Vec<_>>>()? {
        let own = |name: &str| name.starts_with("dbint_") || ours.iter().any(|o| same(o, name));
        if own(&object.name) || own(&object.table) {
            continue;
        }
        // The storage of a virtual table comes and goes with it.
        let shadow = |name: &str| Ok::<_, crate::Error>(schema::find_table(db, schema, name)?.is_some_and(|t| t.kind == TableKind::Shadow));
        if matches!(object.kind.as_str(), "table" | "index") && shadow(&object.table)? {
            continue;
        }
        found.push(object);
    }
    Ok(found)
}

/// The names of dbint's own tables and views, where this schema has them.
fn ours(db: &Connection, schema: &str) -> Result<Vec<String>> {
    let here = Hub::find(db)?.is_some_and(|h| same(&h.schema, schema));
    if here { Ok(install::uninstall(db, true)?.0) } else { Ok(vec![]) }
}

/// The words of a statement in one spelling.
pub fn canonical(sql: &str) -> Vec<(bool, String)> {
    lex::tokens(sql)
        .iter()
        .map(|t| match t.kind {
            Kind::Word | Kind::Quoted => (false, t.name().unwrap_or_default().to_lowercase()),
            Kind::Number | Kind::Mark => (false, t.text.to_lowercase()),
            Kind::Text => (true, t.text.to_owned()),
        })
        .collect()
}

/// A stored CREATE statement with its object's name as given: `CREATE INDEX i ON t(a)` → `CREATE INDEX "other"."i" ON t(a)`.
pub fn named(sql: &str, prefix: &str, name: &str) -> String {
    let tokens = lex::tokens(sql);
    let kind = tokens.iter().position(|t| ["TABLE", "INDEX", "VIEW", "TRIGGER"].iter().any(|k| t.is(k)));
    match kind.and_then(|i| tokens.get(i + 1)) {
        Some(t) => format!("{}{prefix}{}{}", sql.get(..t.at).unwrap_or_default(), quote(name), sql.get(t.end()..).unwrap_or_default()),
        None => sql.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_is_no_difference() {
        let same = |a, b| canonical(a) == canonical(b);
        assert!(same("CREATE TABLE t(a INT, \"b\" TEXT)", "create table [t] ( A int,\n b text) -- so"));
        assert!(!same("CREATE TABLE t(a DEFAULT 'x')", "CREATE TABLE t(a DEFAULT 'X')"));
        assert!(!same("CREATE TABLE t(a DEFAULT 'x')", "CREATE TABLE t(a DEFAULT x)"));
        assert_eq!(named("CREATE UNIQUE INDEX i ON t(a)", "\"o\".", "i"), "CREATE UNIQUE INDEX \"o\".\"i\" ON t(a)");
        assert_eq!(named("CREATE TABLE \"a b\"(x)", "", "c"), "CREATE TABLE \"c\"(x)");
    }
}
