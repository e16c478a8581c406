//! Random pairs of tables: everything a table can be that decides how it is synchronised.
use crate::values::{Pool, Random};
use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Collation {
    Binary,
    NoCase,
    RTrim,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    Rowid,
    Autoincrement,
    /// `INTEGER PRIMARY KEY DESC` is no alias of the rowid.
    Descending,
    Text,
    NoCase,
    RTrim,
    Blob,
    Any,
    Composite,
    /// Unique by an index, named by the option.
    Indexed,
    /// Named by the option, without an index.
    Plain,
    None,
}

impl Key {
    const ALL: [Key; 12] = [
        Key::Rowid,
        Key::Autoincrement,
        Key::Descending,
        Key::Text,
        Key::NoCase,
        Key::RTrim,
        Key::Blob,
        Key::Any,
        Key::Composite,
        Key::Indexed,
        Key::Plain,
        Key::None,
    ];
}

#[derive(Clone, Debug)]
pub struct Column {
    pub name: &'static str,
    /// Type and constraints, the same on both sides.
    decl: String,
    pub pool: Pool,
}

#[derive(Debug)]
pub struct Shape {
    pub table: &'static str,
    pub key: Key,
    /// What both sides have and can be written, in the source's order.
    pub columns: Vec<Column>,
    /// Positions in `columns`; empty where the whole row is its name.
    pub key_columns: Vec<usize>,
    pub collations: Vec<Collation>,
    pub timestamp: Option<usize>,
    /// Position of a column with a UNIQUE constraint.
    pub unique: Option<usize>,
    /// Columns only one side has.
    pub target_extra: bool,
    pub source_extra: bool,
    pub source_without_rowid: bool,
    pub target_without_rowid: bool,
    pub strict: bool,
    generated: Option<&'static str>,
    reordered: bool,
    pub parent: bool,
    pub child: bool,
    pub trigger: bool,
    index: bool,
    pub source_utf16: bool,
    pub target_utf16: bool,
}

pub const TARGET_EXTRA: &str = "mine";
pub const SOURCE_EXTRA: &str = "theirs";

pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Shape {
    pub fn random(r: &mut Random) -> Shape {
        let key = r.pick(&Key::ALL);
        let strict = r.once_in(6);
        let loose = |ty: &'static str| if strict && ty.is_empty() { "ANY" } else { ty };
        let column = |name, decl: &str, pool| Column { name, decl: decl.to_owned(), pool };
        let (mut columns, mut collations) = (vec![], vec![]);
        let one = |c: Column, collation: Collation| (vec![c], vec![collation]);
        let (keys, found) = match key {
            Key::Rowid | Key::Autoincrement | Key::Descending => one(column("k", "INTEGER", Pool::Int), Collation::Binary),
            Key::Text => one(column("k", "TEXT", Pool::Text), Collation::Binary),
            Key::NoCase => one(column("k", "TEXT COLLATE NOCASE", Pool::Text), Collation::NoCase),
            Key::RTrim => one(column("k", "TEXT COLLATE RTRIM", Pool::Text), Collation::RTrim),
            Key::Blob => one(column("k", "BLOB", Pool::Blob), Collation::Binary),
            Key::Any => one(column("k", loose(""), Pool::Any), Collation::Binary),
            Key::Composite => (
                vec![column("k", if strict { "INTEGER" } else { "INT" }, Pool::Few), column("k two", "TEXT COLLATE NOCASE", Pool::Text)],
                vec![Collation::Binary, Collation::NoCase],
            ),
            Key::Indexed => (vec![column("k", loose(""), Pool::Any), column("k two", "TEXT", Pool::Text)], vec![Collation::Binary; 2]),
            Key::Plain => one(column("k", loose(""), Pool::Any), Collation::Binary),
            Key::None => (vec![], vec![]),
        };
        collations.extend(found);
        let width = keys.len();
        columns.extend(keys);
        let unique = r.once_in(3).then(|| {
            let late = if r.once_in(3) { " UNIQUE ON CONFLICT REPLACE" } else { " UNIQUE" };
            columns.push(column("u", &format!("INTEGER{late}"), Pool::Few));
            columns.len() - 1
        });
        let types: &[(&str, Pool)] = if strict {
            &[("ANY", Pool::Any), ("TEXT", Pool::Text), ("INTEGER", Pool::Int), ("BLOB", Pool::Blob), ("REAL", Pool::Any)]
        } else {
            &[
                ("", Pool::Any),
                ("", Pool::Any),
                ("TEXT", Pool::Any),
                ("INTEGER", Pool::Any),
                ("REAL", Pool::Any),
                ("NUMERIC", Pool::Any),
                ("BLOB", Pool::Any),
                ("VARCHAR(9) DEFAULT 'x''y'", Pool::Text),
                ("INT NOT NULL DEFAULT 7", Pool::Int),
                ("INT CHECK(\"v\" IS NOT 3)", Pool::Int),
                ("TEXT COLLATE NOCASE", Pool::Text),
            ]
        };
        for name in ["v", "sel\"ect", "é . 📦"].into_iter().take(1 + r.below(3)) {
            let (ty, pool) = r.pick(types);
            columns.push(column(name, if name == "v" { ty } else { ty.split(" CHECK").next().unwrap_or_default() }, pool));
        }
        let timestamp = r.once_in(2).then(|| {
            let ty = if strict { "ANY" } else { r.pick(&["TEXT", "INTEGER", "REAL", "", "DATETIME"]) };
            columns.push(column(r.pick(&["updated_at", "Last_Modified", "modified_at", "changed"]), ty, Pool::Stamp));
            columns.len() - 1
        });
        let parent = r.once_in(6) && !strict;
        if parent {
            columns.push(column("p", "INT REFERENCES p(id)", Pool::Few));
        }
        let can = !matches!(key, Key::Autoincrement | Key::Indexed | Key::Plain | Key::None);
        let without = can && r.once_in(3);
        let mixed = can && r.once_in(12);
        let both_utf16 = r.once_in(12);
        Shape {
            table: r.pick(&["t", "t", "t", "we\"ird 📦.'x", "select"]),
            key,
            key_columns: (0..width).collect(),
            collations,
            timestamp,
            unique,
            target_extra: r.once_in(6),
            source_extra: r.once_in(8),
            source_without_rowid: without,
            target_without_rowid: without != mixed,
            strict,
            generated: r.once_in(6).then(|| r.pick(&["VIRTUAL", "STORED"])),
            reordered: r.once_in(5),
            parent,
            child: key == Key::Rowid && r.once_in(4),
            trigger: r.once_in(5),
            index: r.once_in(6),
            source_utf16: both_utf16 || r.once_in(16),
            target_utf16: both_utf16 || r.once_in(16),
            columns,
        }
    }

    pub fn names(&self) -> Vec<String> {
        self.columns.iter().map(|c| quote(c.name)).collect()
    }

    pub fn key_option(&self) -> bool {
        matches!(self.key, Key::Indexed | Key::Plain)
    }

    /// Statements that make one side; `at` is a schema with its dot, or nothing.
    pub fn create(&self, target: bool, at: &str) -> String {
        let t = quote(self.table);
        let without_rowid = if target { self.target_without_rowid } else { self.source_without_rowid };
        let single = matches!(self.key_columns[..], [_]) && !self.key_option();
        let mut parts: Vec<String> = vec![];
        for (i, c) in self.columns.iter().enumerate() {
            let key = match self.key {
                Key::Autoincrement => " PRIMARY KEY AUTOINCREMENT",
                Key::Descending if !without_rowid => " PRIMARY KEY DESC",
                _ => " PRIMARY KEY",
            };
            parts.push(format!("{} {}{}", quote(c.name), c.decl, if single && i == 0 { key } else { "" }));
        }
        if target && self.reordered {
            parts.rotate_left(1);
        }
        if let Some(kind) = self.generated {
            parts.insert(parts.len() / 2, format!("g {} AS (typeof(\"v\") || 'x') {kind}", if self.strict { "TEXT" } else { "" }));
        }
        if target && self.target_extra {
            parts.insert(0, format!("{TARGET_EXTRA} {} DEFAULT 5", if self.strict { "ANY" } else { "" }));
        }
        if !target && self.source_extra {
            parts.push(format!("{SOURCE_EXTRA} {} DEFAULT 6", if self.strict { "ANY" } else { "" }));
        }
        if self.key == Key::Composite {
            parts.push("PRIMARY KEY(\"k two\", k)".into());
        }
        let options: Vec<&str> = [("WITHOUT ROWID", without_rowid), ("STRICT", self.strict)].into_iter().filter(|(_, on)| *on).map(|(w, _)| w).collect();
        let mut sql = format!("CREATE TABLE {at}{t}({}) {};", parts.join(", "), options.join(", "));
        if self.key == Key::Indexed {
            sql += &format!("CREATE UNIQUE INDEX {at}t_key ON {t}(k, \"k two\");");
        }
        if self.index {
            sql += &format!("CREATE INDEX {at}t_v ON {t}(v, typeof(v)) {};", if target { "WHERE v IS NOT NULL" } else { "" });
        }
        if target && self.child {
            sql += &format!("CREATE TABLE {at}c(t REFERENCES {t}(k)); INSERT INTO {at}c VALUES(1), (2), (NULL);");
        }
        if self.parent {
            sql += &format!("CREATE TABLE {at}p(id INTEGER PRIMARY KEY); INSERT INTO {at}p VALUES(1), (2), (3), (4), (5), (6);");
        }
        sql
    }

    /// The target's table comes from the source's.
    pub fn no_target(&mut self) {
        (self.target_extra, self.reordered) = (false, false);
        self.target_without_rowid = self.source_without_rowid;
    }

    /// A trigger on the target that writes down that it fired.
    pub fn create_trigger(&self) -> String {
        if !self.trigger {
            return String::new();
        }
        let t = quote(self.table);
        ["INSERT", "UPDATE", "DELETE"].iter().fold("CREATE TABLE fired(what);".to_owned(), |sql, on| {
            sql + &format!("CREATE TRIGGER \"on {on}\" AFTER {on} ON {t} BEGIN INSERT INTO fired VALUES('{on}'); END;")
        })
    }

    pub fn count(&self, seen: &mut BTreeMap<String, u64>) {
        let mut add = |what: String| *seen.entry(what).or_default() += 1;
        add(format!("key {:?}", self.key));
        let named = [
            ("WITHOUT ROWID", self.source_without_rowid && self.target_without_rowid),
            ("rowid into WITHOUT ROWID", !self.source_without_rowid && self.target_without_rowid),
            ("WITHOUT ROWID into rowid", self.source_without_rowid && !self.target_without_rowid),
            ("STRICT", self.strict),
            ("unique column", self.unique.is_some()),
            ("timestamp", self.timestamp.is_some()),
            ("generated VIRTUAL", self.generated == Some("VIRTUAL")),
            ("generated STORED", self.generated == Some("STORED")),
            ("other column order", self.reordered),
            ("extra target column", self.target_extra),
            ("extra source column", self.source_extra),
            ("foreign key", self.parent),
            ("referred to", self.child),
            ("triggers on target", self.trigger),
            ("index differs", self.index),
            ("UTF-16 both", self.source_utf16 && self.target_utf16),
            ("UTF-16 into UTF-8", self.source_utf16 && !self.target_utf16),
            ("UTF-8 into UTF-16", !self.source_utf16 && self.target_utf16),
            ("odd table name", self.table.len() > 6),
        ];
        named.iter().filter(|(_, on)| *on).for_each(|(w, _)| add(format!("shape {w}")));
    }
}
