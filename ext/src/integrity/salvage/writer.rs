//! The new database that a salvage fills: a row goes into its table where nothing speaks against it, else into `lost_and_found`
//! with the reason, so that no table holds a row that may never have been in it.
use crate::db::{
    affinity::Affinity,
    ident::{list, qualified, quote, same},
    lex,
    pages::{Found, fields},
    schema::{self, Generated, Table},
};
use crate::error::{Error, Kind, Result};
use crate::kit::{Field, Stmt};
use rusqlite::Connection;
use std::collections::HashMap;

/// SQLite's limit is 2000.
const MOST_COLUMNS: usize = 1900;

/// One table that is being filled.
pub struct Filler<'c> {
    db: &'c Connection,
    table: Table,
    /// In stored order; None where a value cannot be written (a stored generated column).
    stored: Vec<Option<usize>>,
    /// The column that is the rowid, else a name of the rowid; None in a table without one.
    rowid: Option<String>,
    alias: Option<usize>,
    /// By the number of values in the record: older records have fewer.
    inserts: HashMap<usize, Stmt<'c>>,
    questions: HashMap<usize, Stmt<'c>>,
    pub rows: u64,
    pub doubtful: u64,
}

/// A stored CREATE statement of this kind and no other, as far as its first words tell.
pub fn is_create(sql: &str, kind: &str) -> bool {
    let tokens = lex::tokens(sql);
    let mut words = tokens.iter();
    let first = words.next().is_some_and(|t| t.is("CREATE"));
    let second = words.next().is_some_and(|t| t.is(kind) || (kind == "INDEX" && t.is("UNIQUE")));
    // SQLite stores no CREATE TABLE … AS: after the name comes the list of columns.
    first && second && (kind != "TABLE" || tokens.get(3).is_some_and(|t| t.is("(")))
}

impl<'c> Filler<'c> {
    /// Makes the table.
    pub fn new(db: &'c Connection, name: &str, sql: &str) -> Result<Filler<'c>> {
        if !is_create(sql, "TABLE") {
            return Err(Error::new(Kind::Corrupt, "its schema row holds no CREATE TABLE"));
        }
        db.prepare(sql)?.execute([])?;
        let table = schema::table(db, "main", name)?;
        let stored = if table.without_rowid { key_order(db, &table)? } else { row_order(&table) };
        let alias = table.rowid_alias(db)?.and_then(|a| table.columns.iter().position(|c| same(&c.name, &a.name)));
        let rowid = match alias.and_then(|i| table.columns.get(i)) {
            Some(c) => Some(c.name.clone()),
            None => table.rowid_name().map(str::to_owned),
        };
        Ok(Filler { db, table, stored, rowid, alias, inserts: HashMap::new(), questions: HashMap::new(), rows: 0, doubtful: 0 })
    }

    /// Writes the row, or says what speaks against it.
    pub fn take(&mut self, found: &Found<'_>, encoding: u32) -> Result<Option<String>> {
        let values = fields(found.record)?;
        if let Some(doubt) = found.doubt.map(str::to_owned).or_else(|| self.doubt(found, &values, encoding)) {
            self.doubtful += 1;
            return Ok(Some(doubt));
        }
        if let std::collections::hash_map::Entry::Vacant(slot) = self.inserts.entry(values.len()) {
            let mut into: Vec<&str> = self.rowid.as_deref().into_iter().collect();
            for (_, column) in written(&self.stored, self.alias, values.len()) {
                into.extend(self.table.columns.get(column).map(|c| c.name.as_str()));
            }
            let marks = vec!["?"; into.len()].join(", ");
            let sql = format!("INSERT INTO {}({}) VALUES({marks})", qualified("main", &self.table.name), list(into));
            slot.insert(Stmt::prepare(self.db, &sql)?);
        }
        let Some(insert) = self.inserts.get_mut(&values.len()) else { return Err(Error::internal("no statement")) };
        bind_row(insert, self.rowid.is_some().then_some(found.rowid), &values, written(&self.stored, self.alias, values.len()), encoding)?;
        match insert.run() {
            Ok(()) => {
                self.rows += 1;
                Ok(None)
            }
            Err(e) if matches!(e.kind, Kind::Constraint | Kind::Sqlite) => {
                self.doubtful += 1;
                Ok(Some(e.message))
            }
            Err(e) => Err(e),
        }
    }

    pub fn name(&self) -> &str {
        &self.table.name
    }

    /// Whether the record may be a row of this table.
    pub fn fits(&self, found: &Found<'_>, encoding: u32) -> bool {
        fields(found.record).is_ok_and(|values| self.doubt(found, &values, encoding).is_none())
    }

    /// Whether the table has this very row already.
    pub fn holds(&mut self, found: &Found<'_>, encoding: u32) -> Result<bool> {
        let values = fields(found.record)?;
        if let std::collections::hash_map::Entry::Vacant(slot) = self.questions.entry(values.len()) {
            let columns = written(&self.stored, self.alias, values.len()).filter_map(|(_, c)| self.table.columns.get(c));
            let named = self.rowid.as_deref().into_iter().chain(columns.map(|c| c.name.as_str()));
            let same: Vec<String> = named.map(|name| format!("{} IS ?", quote(name))).collect();
            slot.insert(Stmt::prepare(self.db, &format!("SELECT 1 FROM {} WHERE {}", qualified("main", &self.table.name), same.join(" AND ")))?);
        }
        let Some(question) = self.questions.get_mut(&values.len()) else { return Err(Error::internal("no statement")) };
        bind_row(question, self.rowid.is_some().then_some(found.rowid), &values, written(&self.stored, self.alias, values.len()), encoding)?;
        let there = question.step()?;
        question.reset();
        Ok(there)
    }

    /// What SQLite would never have stored in this table.
    fn doubt(&self, found: &Found<'_>, values: &[Field<'_>], encoding: u32) -> Option<String> {
        if self.table.without_rowid == found.rowid.is_some() {
            return Some("a row of another kind of table".into());
        }
        if values.len() > self.stored.len() {
            return Some(format!("{} values for {} columns", values.len(), self.stored.len()));
        }
        for (i, stored) in self.stored.iter().enumerate() {
            let Some(column) = stored.and_then(|c| self.table.columns.get(c)) else { continue };
            let named = |what: &str| Some(format!("{what} in column {}", column.name));
            let Some(value) = values.get(i) else {
                // Added later: such a column has a default, or may be NULL.
                if column.not_null && column.default.is_none() || column.pk > 0 {
                    return Some(format!("no value for column {}", column.name));
                }
                continue;
            };
            if stored.is_some() && *stored == self.alias {
                if !matches!(value, Field::Null) {
                    return named("a value beside the rowid");
                }
                continue;
            }
            match value {
                Field::Null if column.not_null => return named("NULL"),
                Field::Int(_) | Field::Real(_) if Affinity::of(&column.ty) == Affinity::Text => return named("a number"),
                Field::Text(bytes) if encoding == 1 => match std::str::from_utf8(bytes) {
                    Err(_) => return named("text that is not UTF-8"),
                    // What a wiped overflow page leaves.
                    Ok(text) if text.ends_with('\0') => return named("text that ends in zeros"),
                    Ok(_) => {}
                },
                Field::Text(bytes) if utf16(bytes, encoding).is_none() => return named("text that is not UTF-16"),
                _ => {}
            }
        }
        None
    }
}

/// Places in the record, and columns, of the values that are written.
fn written(stored: &[Option<usize>], alias: Option<usize>, n: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
    stored.iter().take(n).enumerate().filter_map(move |(i, c)| c.filter(|c| Some(*c) != alias).map(|c| (i, c)))
}

fn row_order(table: &Table) -> Vec<Option<usize>> {
    let kept = table.columns.iter().enumerate().filter(|(_, c)| matches!(c.generated, Generated::No | Generated::Stored));
    kept.map(|(i, c)| (c.generated == Generated::No).then_some(i)).collect()
}

/// A table WITHOUT ROWID is its primary key's index: the key first, then the rest.
fn key_order(db: &Connection, table: &Table) -> Result<Vec<Option<usize>>> {
    let sql = "SELECT x.cid FROM pragma_index_list(?1) AS i, pragma_index_xinfo(i.name) AS x WHERE i.origin = 'pk' ORDER BY x.seqno";
    let mut q = db.prepare(sql)?;
    let order = q.query_map([&table.name], |r| r.get::<_, i64>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let place = |cid: i64| usize::try_from(cid).ok().filter(|i| table.columns.get(*i).is_some_and(|c| c.generated == Generated::No));
    Ok(order.into_iter().map(place).collect())
}

/// The rowid, where the statement asks for it, then the values at these places.
fn bind_row(into: &mut Stmt<'_>, rowid: Option<Option<i64>>, values: &[Field<'_>], places: impl Iterator<Item = (usize, usize)>, encoding: u32) -> Result<()> {
    let mut at = 0;
    if let Some(rowid) = rowid {
        at += 1;
        into.bind(at, rowid.map_or(Field::Null, Field::Int))?;
    }
    for (i, _) in places {
        at += 1;
        bind(into, at, values.get(i).copied().unwrap_or(Field::Null), encoding)?;
    }
    Ok(())
}

pub fn bind(into: &mut Stmt<'_>, at: usize, value: Field<'_>, encoding: u32) -> Result<()> {
    match value {
        Field::Text(bytes) if encoding != 1 => into.bind(at, Field::Text(utf16(bytes, encoding).unwrap_or_default().as_bytes())),
        other => into.bind(at, other),
    }
}

/// A text of the schema; None where its bytes are none.
pub fn text(bytes: &[u8], encoding: u32) -> Option<String> {
    if encoding == 1 { std::str::from_utf8(bytes).ok().map(str::to_owned) } else { utf16(bytes, encoding) }
}

fn utf16(bytes: &[u8], encoding: u32) -> Option<String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let unit = |p: &[u8; 2]| if encoding == 2 { u16::from_le_bytes(*p) } else { u16::from_be_bytes(*p) };
    let text: std::result::Result<String, _> = char::decode_utf16(pairs.iter().map(unit)).collect();
    if rest.is_empty() { text.ok() } else { None }
}

/// Rows in doubt, and rows of no table: `lost_and_found(table_name, page, row_id, reason, c0, c1, …)`.
pub struct Lost<'c> {
    db: &'c Connection,
    pub name: String,
    columns: Option<usize>,
    inserts: HashMap<usize, Stmt<'c>>,
    pub rows: u64,
}

impl<'c> Lost<'c> {
    /// The name is free among `taken`.
    pub fn new(db: &'c Connection, taken: &dyn Fn(&str) -> bool) -> Lost<'c> {
        let mut name = "lost_and_found".to_owned();
        let mut n = 0;
        while taken(&name) {
            n += 1;
            name = format!("lost_and_found_{n}");
        }
        Lost { db, name, columns: None, inserts: HashMap::new(), rows: 0 }
    }

    pub fn take(&mut self, table: Option<&str>, found: &Found<'_>, reason: &str, encoding: u32) -> Result<()> {
        let mut values = fields(found.record)?;
        values.truncate(MOST_COLUMNS);
        self.widen(values.len())?;
        if let std::collections::hash_map::Entry::Vacant(slot) = self.inserts.entry(values.len()) {
            let columns: String = (0..values.len()).map(|i| format!(", c{i}")).collect();
            let marks = ", ?".repeat(values.len());
            let sql = format!("INSERT INTO {}(table_name, page, row_id, reason{columns}) VALUES(?, ?, ?, ?{marks})", quote(&self.name));
            slot.insert(Stmt::prepare(self.db, &sql)?);
        }
        let Some(insert) = self.inserts.get_mut(&values.len()) else { return Err(Error::internal("no statement")) };
        insert.bind(1, table.map_or(Field::Null, |t| Field::Text(t.as_bytes())))?;
        insert.bind(2, Field::Int(found.page.into()))?;
        insert.bind(3, found.rowid.map_or(Field::Null, Field::Int))?;
        insert.bind(4, Field::Text(reason.as_bytes()))?;
        for (i, value) in values.iter().enumerate() {
            bind(insert, i + 5, *value, encoding)?;
        }
        insert.run()?;
        self.rows += 1;
        Ok(())
    }

    fn widen(&mut self, n: usize) -> Result<()> {
        let has = match self.columns {
            Some(has) => has,
            None => {
                self.db.execute_batch(&format!("CREATE TABLE {}(table_name TEXT, page INTEGER, row_id INTEGER, reason TEXT)", quote(&self.name)))?;
                0
            }
        };
        for i in has..n {
            self.db.execute_batch(&format!("ALTER TABLE {} ADD COLUMN c{i}", quote(&self.name)))?;
        }
        self.columns = Some(has.max(n));
        Ok(())
    }
}
