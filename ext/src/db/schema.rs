//! What a database holds, asked from SQLite itself: tables, their columns, keys and indexes.
use super::ident::{quote, same};
use crate::error::{Error, Result, did_you_mean};
use rusqlite::{Connection, OptionalExtension};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableKind {
    Table,
    View,
    Virtual,
    /// Storage of a virtual table (`docs_fts_data`).
    Shadow,
}

/// How a column gets its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Generated {
    No,
    Virtual,
    Stored,
    /// A hidden column of a virtual table.
    Hidden,
}

#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    /// As declared; empty where no type was given.
    pub ty: String,
    pub not_null: bool,
    pub default: Option<String>,
    /// Position in the primary key from 1; 0 where it is no part of it.
    pub pk: usize,
    pub generated: Generated,
}

#[derive(Clone, Debug)]
pub struct Table {
    pub schema: String,
    /// As stored in the schema, whatever the case it was asked with.
    pub name: String,
    pub kind: TableKind,
    pub columns: Vec<Column>,
    pub without_rowid: bool,
    pub strict: bool,
    pub sql: String,
}

#[derive(Clone, Debug)]
pub struct Index {
    pub name: String,
    pub unique: bool,
    /// `c` CREATE INDEX, `u` UNIQUE constraint, `pk` PRIMARY KEY.
    pub origin: String,
    pub partial: bool,
    /// Key columns in order; `None` is an expression.
    pub columns: Vec<Option<String>>,
    /// Collation of each key column.
    pub collations: Vec<String>,
    /// `None` for the index of a constraint.
    pub sql: Option<String>,
}

impl Table {
    /// Columns that can be written.
    pub fn writable(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|c| c.generated == Generated::No)
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| same(&c.name, name))
    }

    /// Primary key columns in key order.
    pub fn primary_key(&self) -> Vec<&Column> {
        let mut key: Vec<&Column> = self.columns.iter().filter(|c| c.pk > 0).collect();
        key.sort_by_key(|c| c.pk);
        key
    }

    /// The column that is another name of the rowid (`id INTEGER PRIMARY KEY`).
    pub fn rowid_alias<'t>(&'t self, db: &Connection) -> Result<Option<&'t Column>> {
        let key = self.primary_key();
        let [only] = key.as_slice() else { return Ok(None) };
        if self.without_rowid || !same(&only.ty, "INTEGER") {
            return Ok(None);
        }
        // `INTEGER PRIMARY KEY DESC` (by a quirk kept for compatibility) is no alias: it has an index of its own.
        Ok(if indexes(db, &self.schema, &self.name)?.iter().any(|i| i.origin == "pk") { None } else { Some(only) })
    }

    /// A name by which the rowid can be reached although columns may hide some of them.
    pub fn rowid_name(&self) -> Option<&'static str> {
        if self.without_rowid {
            return None;
        }
        ["rowid", "_rowid_", "oid"].into_iter().find(|n| self.column(n).is_none())
    }
}

/// User tables (no views, no `sqlite_…`), by name.
pub fn tables(db: &Connection, schema: &str) -> Result<Vec<String>> {
    names(db, schema, "type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
}

/// User tables that hold rows themselves: no virtual ones.
pub fn stored_tables(db: &Connection, schema: &str) -> Result<Vec<String>> {
    names(db, schema, "type = 'table' AND rootpage > 0 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
}

fn names(db: &Connection, schema: &str, condition: &str) -> Result<Vec<String>> {
    let mut q = db.prepare(&format!("SELECT name FROM {}.sqlite_schema WHERE {condition} ORDER BY name", quote(schema)))?;
    Ok(q.query_map([], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// One table, or an error that suggests a near name.
pub fn table(db: &Connection, schema: &str, name: &str) -> Result<Table> {
    find_table(db, schema, name)?.ok_or_else(|| {
        let known = names(db, schema, "type IN ('table', 'view')").unwrap_or_default();
        Error::not_found(format!("no table \"{name}\".{}", did_you_mean(name, known.iter().map(String::as_str))))
    })
}

pub fn find_table(db: &Connection, schema: &str, name: &str) -> Result<Option<Table>> {
    let found: Option<(String, String, Option<String>)> = db
        .query_row(
            &format!("SELECT name, type, sql FROM {}.sqlite_schema WHERE type IN ('table', 'view') AND lower(name) = lower(?)", quote(schema)),
            [name],
            |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)),
        )
        .optional()?;
    let Some((name, ty, sql)) = found else { return Ok(None) };
    let sql = sql.unwrap_or_default();
    let mut kind = match ty.as_str() {
        "view" => TableKind::View,
        _ if is_virtual(&sql) => TableKind::Virtual,
        _ => TableKind::Table,
    };
    let mut strict = false;
    // PRAGMA table_list is of 3.37, as STRICT is.
    if let Ok(row) = pragma(db, schema, "table_list", &name)?.query_row([], |r| Ok((r.get::<_, String>(2)?, r.get::<_, bool>(5)?))) {
        strict = row.1;
        if row.0 == "shadow" {
            kind = TableKind::Shadow;
        }
    } else if kind == TableKind::Table && shadows_a_virtual_table(db, schema, &name)? {
        kind = TableKind::Shadow;
    }
    let columns = columns(db, schema, &name)?;
    let without_rowid = kind == TableKind::Table && is_without_rowid(db, schema, &name)?;
    Ok(Some(Table { schema: schema.to_owned(), name, kind, columns, without_rowid, strict, sql }))
}

fn is_virtual(sql: &str) -> bool {
    let mut words = sql.split_ascii_whitespace();
    words.next().is_some_and(|w| same(w, "CREATE")) && words.next().is_some_and(|w| same(w, "VIRTUAL"))
}

/// For hosts before 3.37: a name that begins as a virtual table's name and an underscore.
fn shadows_a_virtual_table(db: &Connection, schema: &str, name: &str) -> Result<bool> {
    let sql = format!(
        "SELECT EXISTS(SELECT 1 FROM {}.sqlite_schema WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL%' AND substr(?1, 1, length(name) + 1) = name || '_')",
        quote(schema)
    );
    Ok(db.query_row(&sql, [name], |r| r.get(0))?)
}

/// A PRAGMA as a statement of its own: as a table-valued function in a query it costs several times as much to prepare.
pub(super) fn pragma<'c>(db: &'c Connection, schema: &str, pragma: &str, name: &str) -> Result<rusqlite::Statement<'c>> {
    Ok(db.prepare(&format!("PRAGMA {}.{pragma}({})", quote(schema), quote(name)))?)
}

/// The columns of a table or view, in order.
pub fn columns(db: &Connection, schema: &str, name: &str) -> Result<Vec<Column>> {
    let mut q = pragma(db, schema, "table_xinfo", name)?;
    let rows = q.query_map([], |r| {
        Ok(Column {
            name: r.get(1)?,
            ty: r.get::<_, Option<String>>(2)?.unwrap_or_default(),
            not_null: r.get(3)?,
            default: r.get(4)?,
            pk: r.get::<_, i64>(5)? as usize,
            generated: match r.get::<_, i64>(6)? {
                0 => Generated::No,
                2 => Generated::Virtual,
                3 => Generated::Stored,
                _ => Generated::Hidden,
            },
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The primary key of a WITHOUT ROWID table is listed as an index, but has no row of its own in the schema.
fn is_without_rowid(db: &Connection, schema: &str, name: &str) -> Result<bool> {
    let mut q = pragma(db, schema, "index_list", name)?;
    let listed: Vec<(String, String)> = q.query_map([], |r| Ok((r.get(1)?, r.get(3)?)))?.collect::<rusqlite::Result<_>>()?;
    let Some((key, _)) = listed.into_iter().find(|(_, origin)| origin == "pk") else { return Ok(false) };
    let stored = format!("SELECT EXISTS(SELECT 1 FROM {}.sqlite_schema WHERE type = 'index' AND name = ?)", quote(schema));
    Ok(!db.query_row(&stored, [key], |r| r.get::<_, bool>(0))?)
}

/// All indexes of a table, those of constraints included, in the order they were made.
pub fn indexes(db: &Connection, schema: &str, table: &str) -> Result<Vec<Index>> {
    let mut q = pragma(db, schema, "index_list", table)?;
    let heads = q.query_map([], |r| {
        Ok(Index { name: r.get(1)?, unique: r.get(2)?, origin: r.get(3)?, partial: r.get(4)?, columns: vec![], collations: vec![], sql: None })
    })?;
    let mut found = heads.collect::<rusqlite::Result<Vec<_>>>()?;
    if found.is_empty() {
        return Ok(found);
    }
    found.reverse();
    let mut q = db.prepare(&format!("SELECT name, sql FROM {}.sqlite_schema WHERE type = 'index' AND tbl_name = ? COLLATE NOCASE", quote(schema)))?;
    let statements: Vec<(String, Option<String>)> = q.query_map([table], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    for index in &mut found {
        index.sql = statements.iter().find(|(name, _)| *name == index.name).and_then(|(_, sql)| sql.clone());
        let mut rows = pragma(db, schema, "index_xinfo", &index.name)?;
        let mut rows = rows.query([])?;
        while let Some(r) = rows.next()? {
            if r.get::<_, bool>(5)? {
                index.columns.push(r.get(2)?);
                index.collations.push(r.get::<_, Option<String>>(4)?.unwrap_or_else(|| "BINARY".into()));
            }
        }
    }
    Ok(found)
}

/// What follows the table's name in its CREATE TABLE: two tables of different names may still be made alike.
pub fn table_body(sql: &str) -> &str {
    let sql = sql.trim();
    if !sql.get(..6).is_some_and(|s| same(s, "CREATE")) {
        return sql;
    }
    // SQLite stores `CREATE TABLE name(…` with the name as it was written; a quoted name may hold a parenthesis.
    let mut quote = None;
    for (i, c) in sql.char_indices() {
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '[') => quote = Some(']'),
            (None, '(') => return sql.get(i..).unwrap_or(sql),
            _ => {}
        }
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_keys_and_rowids() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(
            "CREATE TABLE a(id INTEGER PRIMARY KEY, n TEXT, g AS (n || 'x') VIRTUAL);
             CREATE TABLE b(rowid TEXT, k TEXT, PRIMARY KEY(k, rowid)) WITHOUT ROWID;
             CREATE TABLE c(id INTEGER PRIMARY KEY DESC, x);
             CREATE VIEW v AS SELECT 1;
             CREATE VIRTUAL TABLE f USING fts5(t);
             CREATE INDEX a_n ON a(n COLLATE NOCASE, lower(n)) WHERE n > ''",
        )
        .unwrap();
        let get = |n| table(&db, "main", n).unwrap();
        let a = get("A");
        assert_eq!((a.name.as_str(), a.kind, a.without_rowid), ("a", TableKind::Table, false));
        assert_eq!(a.rowid_alias(&db).unwrap().unwrap().name, "id");
        assert_eq!(a.writable().count(), 2);
        let b = get("b");
        assert!(b.without_rowid && b.rowid_name().is_none());
        assert_eq!(b.primary_key().iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["k", "rowid"]);
        assert!(get("c").rowid_alias(&db).unwrap().is_none());
        assert_eq!((get("v").kind, get("f").kind, get("f_data").kind), (TableKind::View, TableKind::Virtual, TableKind::Shadow));
        let i = &indexes(&db, "main", "a").unwrap()[0];
        assert_eq!((i.columns.clone(), i.partial, i.collations[0].as_str()), (vec![Some("n".into()), None], true, "NOCASE"));
        assert_eq!(table(&db, "main", "bb").unwrap_err().to_string(), "no table \"bb\". Did you mean \"b\"? [DBINT_NOT_FOUND]");
    }
}
