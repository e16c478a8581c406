//! Two schemas compared, and the statements that make the first like the second.
//!
//! The steps stand in an order in which they can be run: what must go away first, then tables, then what stands on them.
use super::{
    object::{self, Object},
    rebuild::{self, Place, filler},
};
use crate::db::{
    foreign_keys,
    ident::{qualified, same},
    schema::{self, Generated, Table, TableKind},
};
use crate::error::Result;
use rusqlite::Connection;

/// One difference.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Differences with one number are closed together, by the SQL of the first.
    pub step: i64,
    /// table, column, index, view or trigger.
    pub object: &'static str,
    pub name: String,
    pub table: String,
    /// missing, extra, changed or renamed, as seen from the first database.
    pub change: &'static str,
    pub in_a: Option<String>,
    pub in_b: Option<String>,
    /// Closing it gives up data that only the first database has.
    pub loses_data: bool,
    pub sql: Option<String>,
}

/// One side of a comparison.
pub struct Side<'c> {
    pub db: &'c Connection,
    pub schema: &'c str,
    pub objects: Vec<Object>,
}

impl<'c> Side<'c> {
    pub fn of(db: &'c Connection, schema: &'c str) -> Result<Side<'c>> {
        Ok(Side { db, schema, objects: object::all(db, schema)? })
    }

    fn find(&self, kind: &str, name: &str) -> Option<&Object> {
        self.objects.iter().find(|o| o.is(kind, name))
    }

    pub fn kind<'s>(&'s self, kind: &'static str) -> impl Iterator<Item = &'s Object> {
        self.objects.iter().filter(move |o| o.kind == kind)
    }

    fn table(&self, name: &str) -> Result<Table> {
        schema::table(self.db, self.schema, name)
    }
}

/// The statements collected so far.
struct Plan<'s, 'c> {
    a: &'s Side<'c>,
    b: &'s Side<'c>,
    place: Place,
    found: Vec<Difference>,
    step: i64,
}

/// How a difference is closed.
enum Closing {
    With(String),
    /// Data that only `a` has is given up.
    Losing(Option<String>),
    /// By the first of its step.
    Along,
}

/// All differences; their SQL is to be run in `a`, in the order of the list.
pub fn between(a: &Side<'_>, b: &Side<'_>, foreign_keys: bool) -> Result<Vec<Difference>> {
    let prefix = if same(a.schema, "main") { String::new() } else { format!("{}.", crate::db::ident::quote(a.schema)) };
    let mut plan = Plan { a, b, place: Place { prefix, schema: a.schema.to_owned(), foreign_keys }, found: vec![], step: 0 };
    plan.drop_extra();
    plan.tables()?;
    for kind in ["index", "view", "trigger"] {
        plan.create(kind);
    }
    Ok(plan.found)
}

fn word(kind: &str) -> &'static str {
    match kind {
        "table" => "table",
        "index" => "index",
        "view" => "view",
        _ => "trigger",
    }
}

impl Plan<'_, '_> {
    fn add(
        &mut self,
        object: &'static str,
        (name, table): (&str, &str),
        change: &'static str,
        (in_a, in_b): (Option<String>, Option<String>),
        closing: Closing,
    ) {
        let (sql, loses_data) = match closing {
            Closing::With(sql) => (Some(sql), false),
            Closing::Losing(sql) => (sql, true),
            Closing::Along => (None, false),
        };
        self.found.push(Difference { step: self.step, object, name: name.to_owned(), table: table.to_owned(), change, in_a, in_b, loses_data, sql });
    }

    /// Triggers, views and indexes that only `a` has.
    fn drop_extra(&mut self) {
        for kind in ["trigger", "view", "index"] {
            for o in self.a.kind(word(kind)) {
                if self.b.find(kind, &o.name).is_some() {
                    continue;
                }
                self.step += 1;
                let sql = format!("DROP {} IF EXISTS {}{};", kind.to_uppercase(), self.place.prefix, crate::db::ident::quote(&o.name));
                self.add(word(kind), (&o.name, &o.table), "extra", (Some(o.sql.clone()), None), Closing::With(sql));
            }
        }
    }

    fn tables(&mut self) -> Result<()> {
        let (a, b) = (self.a, self.b);
        let only_b: Vec<&Object> = b.kind("table").filter(|o| a.find("table", &o.name).is_none()).collect();
        let mut renamed: Vec<(&Object, &Object)> = vec![];
        for o in a.kind("table").filter(|o| b.find("table", &o.name).is_none()) {
            let body = |o: &Object| object::canonical(schema::table_body(&o.sql));
            let twin = only_b.iter().find(|t| body(t) == body(o) && !renamed.iter().any(|(_, r)| r.name == t.name));
            if let Some(twin) = twin.filter(|_| a.table(&o.name).is_ok_and(|t| t.kind == TableKind::Table)) {
                renamed.push((o, twin));
                continue;
            }
            self.step += 1;
            // DROP TABLE deletes row by row, and cascades, while foreign keys are on.
            let on = if self.place.foreign_keys { "\nPRAGMA foreign_keys=ON;" } else { "" };
            let sql = format!("PRAGMA foreign_keys=OFF;\nDROP TABLE {};{on}", qualified(&self.place.schema, &o.name));
            self.add("table", (&o.name, &o.name), "extra", (Some(o.sql.clone()), None), Closing::Losing(Some(sql)));
        }
        for (from, to) in &renamed {
            self.step += 1;
            let sql = self.rebuild(&a.table(&from.name)?, &b.table(&to.name)?)?;
            self.add("table", (&to.name, &to.name), "renamed", (Some(from.name.clone()), Some(to.name.clone())), Closing::With(sql));
        }
        for o in b.kind("table") {
            match a.find("table", &o.name) {
                Some(was) if was.equals(o) => {}
                Some(was) => self.changed_table(was, o)?,
                None if renamed.iter().any(|(_, t)| t.name == o.name) => {}
                None => {
                    self.step += 1;
                    let sql = format!("{};", object::named(&o.sql, &self.place.prefix, &o.name));
                    self.add("table", (&o.name, &o.name), "missing", (None, Some(o.sql.clone())), Closing::With(sql));
                }
            }
        }
        Ok(())
    }

    fn changed_table(&mut self, was: &Object, is: &Object) -> Result<()> {
        self.step += 1;
        let first = self.found.len();
        let (a, b) = (self.a.table(&was.name)?, self.b.table(&is.name)?);
        if a.kind != TableKind::Table || b.kind != TableKind::Table {
            // The rows of a virtual table belong to its module.
            let sql = format!("DROP TABLE {};\n{};", qualified(&self.place.schema, &a.name), object::named(&b.sql, &self.place.prefix, &b.name));
            self.add("table", (&b.name, &b.name), "changed", (Some(a.sql.clone()), Some(b.sql.clone())), Closing::Losing(Some(sql)));
            return Ok(());
        }
        let pairs = rebuild::pair(&a, &b);
        for p in &pairs {
            let names = (p.to.name.as_str(), b.name.as_str());
            match p.from {
                None => {
                    let mut shown = declared(p.to);
                    if let Some(fill) = filler(p.to) {
                        shown += &format!(" (rows there are get {fill})");
                    }
                    self.add("column", names, "missing", (None, Some(shown)), Closing::Along);
                }
                Some(from) if !same(&from.name, &p.to.name) => {
                    self.add("column", names, "renamed", (Some(from.name.clone()), Some(p.to.name.clone())), Closing::Along);
                }
                Some(from) if declared(from) != declared(p.to) => {
                    self.add("column", names, "changed", (Some(declared(from)), Some(declared(p.to))), Closing::Along);
                }
                Some(_) => {}
            }
        }
        for column in rebuild::dropped(&a, &pairs) {
            let stored = column.generated == Generated::No;
            let closing = if stored { Closing::Losing(None) } else { Closing::Along };
            self.add("column", (&column.name, &b.name), "extra", (Some(declared(column)), None), closing);
        }
        if self.found.len() == first {
            // Order of columns, constraints, collations, WITHOUT ROWID, STRICT.
            self.add("table", (&b.name, &b.name), "changed", (Some(a.sql.clone()), Some(b.sql.clone())), Closing::Along);
        }
        let sql = match rebuild::add_columns(&self.place, &a, &b) {
            Some(sql) => sql,
            None => self.rebuild(&a, &b)?,
        };
        if let Some(d) = self.found.get_mut(first) {
            d.sql = Some(sql);
        }
        Ok(())
    }

    fn rebuild(&self, a: &Table, b: &Table) -> Result<String> {
        // Those that stay as they are would go away with the old table; changed and new ones come later.
        let stays = |o: &&Object| {
            matches!(o.kind.as_str(), "index" | "trigger") && same(&o.table, &b.name) && self.a.find(&o.kind, &o.name).is_some_and(|was| was.equals(o))
        };
        let after: Vec<&Object> = self.b.objects.iter().filter(stays).collect();
        let alias = b.rowid_alias(self.b.db)?.is_some();
        let mut referred = false;
        for o in self.a.kind("table") {
            referred |= foreign_keys::of(self.a.db, self.a.schema, &o.name)?.iter().any(|k| same(&k.parent, &a.name));
        }
        let taken = |name: &str| self.a.objects.iter().chain(&self.b.objects).any(|o| same(&o.name, name));
        Ok(rebuild::rebuild(&self.place, a, b, alias, &after, referred, &taken))
    }

    /// Indexes, views and triggers that are new or not the same.
    fn create(&mut self, kind: &'static str) {
        for o in self.b.kind(kind) {
            let was = self.a.find(kind, &o.name);
            // A view takes its triggers along.
            let lost = kind == "trigger" && self.b.find("view", &o.table).is_some_and(|v| self.a.find("view", &o.table).is_none_or(|w| !w.equals(v)));
            if was.is_some_and(|w| w.equals(o)) && !lost {
                continue;
            }
            let same_text = was.is_some_and(|w| w.equals(o));
            let (name, change) = (crate::db::ident::quote(&o.name), if was.is_some() { "changed" } else { "missing" });
            let drop = if was.is_some() { format!("DROP {} IF EXISTS {}{name};\n", kind.to_uppercase(), self.place.prefix) } else { String::new() };
            let sql = format!("{drop}{};", object::named(&o.sql, &self.place.prefix, &o.name));
            if same_text {
                // Not a difference of its own: it belongs to the step of its view.
                if let Some(d) = self.found.iter_mut().find(|d| d.object == "view" && same(&d.name, &o.table)) {
                    d.sql = Some(format!("{}\n{sql}", d.sql.as_deref().unwrap_or_default()));
                }
                continue;
            }
            self.step += 1;
            self.add(kind, (&o.name, &o.table), change, (was.map(|w| w.sql.clone()), Some(o.sql.clone())), Closing::With(sql));
        }
    }
}

/// A column in a line.
fn declared(c: &schema::Column) -> String {
    let mut s = c.ty.to_uppercase();
    let mut say = |text: &str| {
        if !s.is_empty() {
            s.push(' ');
        }
        s += text;
    };
    if c.pk > 0 {
        say("PRIMARY KEY");
    }
    if c.not_null {
        say("NOT NULL");
    }
    if let Some(default) = &c.default {
        say(&format!("DEFAULT {default}"));
    }
    match c.generated {
        Generated::Virtual => say("GENERATED VIRTUAL"),
        Generated::Stored => say("GENERATED STORED"),
        Generated::No | Generated::Hidden => {}
    }
    s
}
