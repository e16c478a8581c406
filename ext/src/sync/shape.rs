//! How two tables fit together: which columns travel, what names a row, and where rows are found again.
use super::options::{Choice, Policy};
use crate::{
    db::{
        changelog,
        ident::{list, qualified, quote, same},
        schema::{self, Generated, Index, Table, TableKind},
    },
    error::{At, Error, Kind, Result, did_you_mean},
    kit::Stmt,
};
use rusqlite::Connection;

const TIMESTAMPS: [&str; 3] = ["updated_at", "last_modified", "modified_at"];

/// The collations SQLite has by itself; a table with another one is found by SQL only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Collation {
    Binary,
    NoCase,
    RTrim,
    Other,
}

impl Collation {
    fn of(name: &str) -> Collation {
        match name.to_ascii_uppercase().as_str() {
            "BINARY" => Collation::Binary,
            "NOCASE" => Collation::NoCase,
            "RTRIM" => Collation::RTrim,
            _ => Collation::Other,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Collation::NoCase => "NOCASE",
            Collation::RTrim => "RTRIM",
            Collation::Binary | Collation::Other => "BINARY",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Shape {
    pub source: Table,
    pub target: Table,
    /// Columns that travel, as the target spells them, and as the source does.
    pub columns: Vec<String>,
    pub source_columns: Vec<String>,
    /// Writable columns of the target that keep what they hold.
    pub target_only: Vec<String>,
    pub source_only: Vec<String>,
    /// Positions in `columns` of what names a row; empty where the whole row does.
    pub key: Vec<usize>,
    pub collations: Vec<Collation>,
    /// Position of the timestamp.
    pub timestamp: Option<usize>,
    pub policy: Policy,
    /// Names of the rowid on both sides, where both have one: rows are found by it. Else by key.
    pub rowids: Option<(&'static str, &'static str)>,
    /// The rowid itself is the key.
    pub rowid_is_key: bool,
    /// Both tables find a row by key without a scan.
    pub key_is_indexed: bool,
    /// Nothing but the key is unique in the target: a new row cannot meet a value that a later change takes away.
    pub only_key_is_unique: bool,
    pub condition: Option<String>,
}

impl Shape {
    pub fn of(source: &Connection, source_schema: &str, target: &Connection, target_schema: &str, from: Table, to: Table, choice: &Choice) -> Result<Shape> {
        let o = &choice.given;
        let (columns, source_columns) = columns(&from, &to, o.columns.as_deref(), o.keys.as_deref())?;
        let left = |t: &Table, used: &[String]| t.writable().map(|c| c.name.clone()).filter(|c| !used.iter().any(|u| same(u, c))).collect::<Vec<_>>();
        let (source_only, target_only) = (left(&from, &source_columns), left(&to, &columns));
        if o.columns.is_none() && !source_only.is_empty() {
            return Err(Error::argument(format!("the target's table \"{}\" lacks columns of the source: {}", to.name, source_only.join(", ")))
                .hint(format!("Add them there, or carry the others only: {{\"columns\":{}}}", serde_json::to_string(&columns)?)));
        }
        let at = |name: &str| columns.iter().position(|c| same(c, name));
        let key = match &o.keys {
            Some(given) => given.iter().filter_map(|k| at(k)).collect(),
            None => key_of(&from, &to, &at),
        };
        let source_indexes = schema::indexes(source, source_schema, &from.name)?;
        let target_indexes = schema::indexes(target, target_schema, &to.name)?;
        let aliases = (from.rowid_alias(source)?.map(|c| c.name.clone()), to.rowid_alias(target)?.map(|c| c.name.clone()));
        let is_only_key = |alias: &Option<String>| matches!((alias, key.as_slice()), (Some(a), [k]) if columns.get(*k).is_some_and(|c| same(c, a)));
        let rowids = from.rowid_name().zip(to.rowid_name());
        let rowid_is_key = rowids.is_some() && is_only_key(&aliases.0) && is_only_key(&aliases.1);
        let key_names: Vec<&String> = key.iter().filter_map(|k| columns.get(*k)).collect();
        let indexed = |indexes: &[Index], alias: &Option<String>| is_only_key(alias) || indexes.iter().any(|i| covers(i, &key_names));
        let unique: Vec<&Index> = target_indexes.iter().filter(|i| i.unique).collect();
        let only_key_is_unique = match (&aliases.1, unique.as_slice()) {
            (None, []) => true,
            (None, [i]) => covers(i, &key_names),
            (alias, all) => all.is_empty() && is_only_key(alias),
        };
        let (source_indexed, target_indexed) = (indexed(&source_indexes, &aliases.0), indexed(&target_indexes, &aliases.1));
        let key_names: Vec<String> = key_names.into_iter().cloned().collect();
        if !source_indexed {
            refuse_duplicates(source, source_schema, &from, &key_names, "source")?;
        }
        if !target_indexed {
            refuse_duplicates(target, target_schema, &to, &key_names, "target")?;
        }
        let collations = key.iter().map(|k| columns.get(*k).map_or(Collation::Binary, |c| collation(&target_indexes, c, &key_names))).collect();
        let condition = o.r#where.clone().filter(|w| !w.trim().is_empty());
        if let Some(c) = &condition {
            // Alone, without parentheses: what closes one that it did not open would mean something else elsewhere.
            Stmt::prepare(source, &format!("SELECT {c}\nFROM {}", qualified(source_schema, &from.name)))?;
        }
        let timestamp = timestamp(o.timestamp_column.as_deref(), &from, &columns)?;
        let policy = match (choice.policy, choice.full, timestamp) {
            (Some(Policy::TimestampPriority), _, None) => {
                return Err(Error::argument(format!(
                    "conflict timestamp_priority needs a timestamp column, and \"{}\" has none of {}",
                    to.name,
                    TIMESTAMPS.join(", ")
                ))
                .hint("Name it with the option timestamp_column"));
            }
            (Some(p), ..) => p,
            (None, false, Some(_)) => Policy::TimestampPriority,
            (None, ..) => Policy::SourceWins,
        };
        Ok(Shape {
            source: from,
            target: to,
            columns,
            source_columns,
            target_only,
            source_only,
            key,
            collations,
            timestamp,
            policy,
            rowids,
            rowid_is_key,
            key_is_indexed: source_indexed && target_indexed,
            only_key_is_unique,
            condition,
        })
    }

    pub fn key_names(&self) -> Vec<&str> {
        self.key.iter().filter_map(|k| self.columns.get(*k)).map(String::as_str).collect()
    }

    pub fn source_key_names(&self) -> Vec<&str> {
        self.key.iter().filter_map(|k| self.source_columns.get(*k)).map(String::as_str).collect()
    }

    /// What a target's position in the source's log is kept by: where only some columns travel, others may still be owed.
    pub fn follower(&self, identity: &str) -> String {
        follower(identity, &self.source_columns, &self.source_only)
    }

    /// The same for the way back.
    pub fn follower_back(&self, identity: &str) -> String {
        follower(identity, &self.columns, &self.target_only)
    }

    pub fn is_multiset(&self) -> bool {
        self.key.is_empty()
    }

    /// All that an undo must bring back: the columns that travel, then the target's own.
    pub fn image_columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().chain(&self.target_only).map(String::as_str)
    }

    /// `SELECT … FROM …`, the rowid first where rows are found by it.
    pub fn select_source(&self, schema: &str) -> String {
        let rowid = self.rowids.map_or(String::new(), |(r, _)| format!("{r}, "));
        format!("SELECT {rowid}{} FROM {}", list(self.source_columns.iter().map(String::as_str)), qualified(schema, &self.source.name))
    }

    pub fn select_target(&self, schema: &str) -> String {
        let rowid = self.rowids.map_or(String::new(), |(_, r)| format!("{r}, "));
        format!("SELECT {rowid}{} FROM {}", list(self.columns.iter().map(String::as_str)), qualified(schema, &self.target.name))
    }

    /// ` WHERE (…)`, or nothing.
    pub fn filter(&self) -> String {
        self.condition.as_ref().map_or(String::new(), |c| format!(" WHERE ({c}\n)"))
    }

    /// `"a" = ?1 AND …` in key order, parameters counted from `first`; by the column's affinity and the key's collation.
    pub fn by_key<'k>(&self, names: impl IntoIterator<Item = &'k str>, first: usize) -> String {
        let collate = |c: &Collation| if *c == Collation::Other { String::new() } else { format!(" COLLATE {}", c.word()) };
        let terms = names.into_iter().zip(&self.collations).enumerate();
        terms.map(|(i, (k, c))| format!("{} = ?{}{}", quote(k), first + i, collate(c))).collect::<Vec<_>>().join(" AND ")
    }

    /// The condition that finds a target row by its spot.
    pub fn at_target(&self, first: usize) -> String {
        self.rowids.map_or_else(|| self.by_key(self.key_names(), first), |(_, r)| format!("{r} = ?{first}"))
    }

    /// `ORDER BY` in key order, alike on both sides.
    pub fn order_by_key<'k>(&self, names: impl IntoIterator<Item = &'k str>) -> String {
        let terms = names.into_iter().zip(&self.collations).map(|(k, c)| format!("{} COLLATE {}", quote(k), c.word())).collect::<Vec<_>>();
        format!(" ORDER BY {}", terms.join(", "))
    }

    /// Nothing is transformed on the way: bytes stored alike mean values alike.
    pub fn same_types(&self) -> bool {
        use crate::db::affinity::Affinity;
        self.columns.iter().zip(&self.source_columns).all(|(t, s)| match (self.target.column(t), self.source.column(s)) {
            (Some(t), Some(s)) => Affinity::of(&t.ty) == Affinity::of(&s.ty) && self.target.strict == self.source.strict,
            _ => false,
        })
    }
}

fn follower(identity: &str, carried: &[String], left: &[String]) -> String {
    if left.is_empty() {
        return identity.to_owned();
    }
    let mut columns: Vec<String> = carried.iter().map(|c| quote(&c.to_lowercase())).collect();
    columns.sort();
    format!("{identity}({})", columns.join(","))
}

/// The source's table, or why it cannot be synchronised.
pub fn source_table(db: &Connection, schema: &str, name: &str, place: &str) -> Result<Table> {
    let table = schema::table(db, schema, name).at(format!("source {place}"))?;
    check(db, table, "the source")
}

pub fn check(db: &Connection, table: Table, side: &str) -> Result<Table> {
    let refuse = |what: &str| Err(Error::unsupported(format!("\"{}\" in {side} {what}", table.name)));
    match table.kind {
        TableKind::View => refuse("is a view: synchronise the tables it reads"),
        TableKind::Virtual => {
            let content = content_table(&table.sql).filter(|c| schema::find_table(db, &table.schema, c).is_ok_and(|t| t.is_some()));
            match content {
                Some(c) => refuse(&format!("is a virtual table: synchronise its content table \"{c}\", and rebuild it in the target")),
                None => refuse("is a virtual table: its rows live in other tables or outside"),
            }
        }
        TableKind::Shadow => refuse("is the storage of a virtual table: synchronise that table's content, and rebuild it"),
        TableKind::Table if changelog::is_own(&table.name) || super::ledger::is_own(&table.name) => refuse("is one of dbint's own tables"),
        TableKind::Table if table.name.to_ascii_lowercase().starts_with("sqlite_") => refuse("is one of SQLite's own tables"),
        TableKind::Table => Ok(table),
    }
}

/// `content='docs'` of a full-text table.
fn content_table(sql: &str) -> Option<String> {
    let at = sql.to_ascii_lowercase().find("content")?;
    let rest = sql.get(at + 7..)?.trim_start().strip_prefix('=')?.trim_start();
    let name: String = rest.trim_start_matches(['\'', '"']).chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// Pairs of columns by name, in the target's order.
fn columns(from: &Table, to: &Table, chosen: Option<&[String]>, keys: Option<&[String]>) -> Result<(Vec<String>, Vec<String>)> {
    let known = |t: &Table, side: &str, name: &str| match t.column(name) {
        Some(c) if c.generated == Generated::No => Ok(()),
        Some(_) => Err(Error::argument(format!("column \"{name}\" of \"{}\" in the {side} is computed, not stored by hand", t.name))),
        None => {
            let near = did_you_mean(name, t.columns.iter().map(|c| c.name.as_str()));
            Err(Error::not_found(format!("no column \"{name}\" in \"{}\" of the {side}.{near}", t.name)))
        }
    };
    let mut wanted: Option<Vec<String>> = chosen.map(<[String]>::to_vec);
    for name in chosen.into_iter().flatten().chain(keys.into_iter().flatten()) {
        known(from, "source", name)?;
        known(to, "target", name)?;
    }
    if keys.is_some_and(<[String]>::is_empty) {
        return Err(Error::argument("option \"keys\" names no column"));
    }
    if let Some(wanted) = &mut wanted {
        let more: Vec<String> = match keys {
            Some(k) => k.to_vec(),
            None => from.primary_key().iter().chain(&to.primary_key()).map(|c| c.name.clone()).collect(),
        };
        wanted.extend(more);
    }
    let travels = |c: &str| wanted.as_ref().is_none_or(|w| w.iter().any(|n| same(n, c)));
    let pairs: Vec<(String, String)> = to
        .writable()
        .filter(|c| travels(&c.name))
        .filter_map(|t| from.column(&t.name).filter(|s| s.generated == Generated::No).map(|s| (t.name.clone(), s.name.clone())))
        .collect();
    if pairs.is_empty() {
        return Err(Error::argument(format!("the tables \"{}\" have no column in common", to.name)));
    }
    Ok(pairs.into_iter().unzip())
}

/// The primary key of the source, else of the target, where the other side has its columns.
fn key_of(from: &Table, to: &Table, at: &dyn Fn(&str) -> Option<usize>) -> Vec<usize> {
    let of = |t: &Table| t.primary_key().iter().map(|c| at(&c.name)).collect::<Option<Vec<usize>>>().filter(|k| !k.is_empty());
    of(from).or_else(|| of(to)).unwrap_or_default()
}

/// A unique index over exactly these columns.
fn covers(index: &Index, key: &[&String]) -> bool {
    index.unique
        && !index.partial
        && index.columns.len() == key.len()
        && !key.is_empty()
        && index.columns.iter().all(|c| c.as_ref().is_some_and(|c| key.iter().any(|k| same(k, c))))
}

fn refuse_duplicates(db: &Connection, schema: &str, table: &Table, key: &[String], side: &str) -> Result<()> {
    if key.is_empty() {
        return Ok(());
    }
    let names = list(key.iter().map(String::as_str));
    let given = key.iter().map(|k| format!("{} IS NOT NULL", quote(k))).collect::<Vec<_>>().join(" AND ");
    let sql = format!("SELECT EXISTS(SELECT 1 FROM {} WHERE {given} GROUP BY {names} HAVING count(*) > 1)", qualified(schema, &table.name));
    if db.query_row(&sql, [], |r| r.get::<_, bool>(0))? {
        return Err(Error::new(Kind::Argument, format!("the keys ({}) are not unique in \"{}\" of the {side}", key.join(", "), table.name))
            .hint("Choose columns that name one row each with the option keys"));
    }
    Ok(())
}

/// The collation by which the target tells keys apart.
fn collation(indexes: &[Index], column: &str, key: &[String]) -> Collation {
    let key: Vec<&String> = key.iter().collect();
    let found = indexes
        .iter()
        .filter(|i| covers(i, &key))
        .find_map(|i| i.columns.iter().zip(&i.collations).find(|(c, _)| c.as_ref().is_some_and(|c| same(c, column))).map(|(_, coll)| Collation::of(coll)));
    found.unwrap_or(Collation::Binary)
}

fn timestamp(given: Option<&str>, from: &Table, columns: &[String]) -> Result<Option<usize>> {
    let at = |name: &str| columns.iter().position(|c| same(c, name));
    match given {
        Some(name) => at(name).map(Some).ok_or_else(|| {
            let near = did_you_mean(name, columns.iter().map(String::as_str));
            Error::not_found(format!("no column \"{name}\" in \"{}\" for option timestamp_column.{near}", from.name))
        }),
        None => Ok(TIMESTAMPS.iter().find_map(|t| at(t))),
    }
}
