//! Phase 3: every schema is read; tables that have one name and different columns are told.
use super::{
    Phase,
    state::{Outcome, State, Verdict, quoted},
};
use crate::db::{
    open,
    parallel::{self, Watch},
};
use crate::error::Result;
use crate::health::Severity;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

/// What one schema holds.
#[derive(Default)]
struct Seen {
    tables: i64,
    virtuals: i64,
    indexes: i64,
    views: i64,
    triggers: i64,
    /// Name and columns of each table.
    columns: Vec<(String, String)>,
    /// Views that do not compile, and why.
    broken: Vec<(String, String)>,
}

#[derive(Default)]
pub struct Schemas {
    all: Seen,
    read: i64,
    /// Table name → its column lists → in how many databases, and one of them.
    shapes: BTreeMap<String, BTreeMap<String, (usize, String)>>,
    unread: usize,
}

const PATIENCE: Duration = Duration::from_secs(30);

impl Phase for Schemas {
    fn steps(&mut self, run: &mut State) -> Result<Vec<String>> {
        Ok(run.chunks("schemas"))
    }

    fn step(&mut self, run: &mut State, at: usize) -> Result<()> {
        let items: Vec<(String, PathBuf)> =
            run.items.get(run.range(at)).unwrap_or_default().iter().filter(|i| i.is_readable()).map(|i| (i.name.clone(), i.path.clone())).collect();
        let seen = parallel::each(&run.db, &items, |(_, path), watch: &Watch| read(path, watch))?;
        for ((name, path), seen) in items.iter().zip(seen) {
            let Ok(seen) = seen.and_then(|s| s) else {
                self.unread += 1;
                continue;
            };
            self.read += 1;
            self.all.tables += seen.tables;
            self.all.virtuals += seen.virtuals;
            self.all.indexes += seen.indexes;
            self.all.views += seen.views;
            self.all.triggers += seen.triggers;
            for (table, columns) in seen.columns {
                let shape = self.shapes.entry(table).or_default().entry(columns).or_insert_with(|| (0, name.clone()));
                shape.0 += 1;
            }
            for (view, why) in seen.broken {
                let statement = format!("SELECT * FROM integrity_report({}) WHERE NOT passed", quoted(path));
                run.advise(Severity::Warning, name, format!("view {view} does not work: {why}"), statement);
                self.all.broken.push((view, why));
            }
        }
        Ok(())
    }

    fn close(&mut self, run: &mut State) -> Result<Outcome> {
        let shared = self.shapes.values().filter(|s| s.values().map(|(n, _)| n).sum::<usize>() > 1).count();
        let mut differ = BTreeSet::new();
        for (table, shapes) in self.shapes.iter().filter(|(_, s)| s.len() > 1) {
            differ.insert(table.clone());
            let mut where_: Vec<&str> = shapes.values().map(|(_, name)| name.as_str()).collect();
            where_.truncate(2);
            if let [a, b] = where_.as_slice() {
                let finding = format!("table {table} has {} different shapes, as in {a} and {b}", shapes.len());
                let statement = format!("SELECT * FROM schema_diff({}, {})", super::state::literal(a), super::state::literal(b));
                run.advise(Severity::Info, a, finding, statement);
            }
        }
        let a = &self.all;
        let said = if differ.is_empty() { String::new() } else { format!(", {} of them in different shapes", differ.len()) };
        Ok(Outcome::new(
            !a.broken.is_empty(),
            format!(
                "{} schemas: {} tables, {} virtual, {} indexes, {} views ({} broken), {} triggers; {shared} table names in several databases{said}",
                self.read,
                a.tables,
                a.virtuals,
                a.indexes,
                a.views,
                a.broken.len(),
                a.triggers
            ),
        ))
    }

    /// The discovery counted tables in its own way.
    fn second(&mut self, run: &mut State) -> Result<Verdict> {
        let counted = run.figures.tables;
        Ok(Verdict::of(self.unread == 0 && counted == self.all.tables, format!("the discovery counted {counted} tables")))
    }
}

fn read(path: &Path, watch: &Watch) -> Result<Seen> {
    let db = open::open_to_look(path, open::BUSY_TIMEOUT)?;
    let _watched = watch.over(&db, PATIENCE);
    let mut seen = Seen::default();
    let mut views = vec![];
    let mut q = db.prepare("SELECT type, name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name")?;
    let rows: Vec<(String, String, String)> = q.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?.collect::<rusqlite::Result<_>>()?;
    let mut columns =
        db.prepare("SELECT group_concat(lower(name) || ' ' || upper(type), ', ') FROM (SELECT name, type FROM pragma_table_info(?) ORDER BY lower(name))")?;
    for (kind, name, sql) in rows {
        match kind.as_str() {
            "table" if sql.get(..14).is_some_and(|s| s.eq_ignore_ascii_case("CREATE VIRTUAL")) => seen.virtuals += 1,
            "table" => {
                seen.tables += 1;
                if let Some(list) = columns.query_row([&name], |r| r.get::<_, Option<String>>(0))? {
                    seen.columns.push((name, list));
                }
            }
            "index" => seen.indexes += 1,
            "view" => {
                seen.views += 1;
                views.push(name);
            }
            _ => seen.triggers += 1,
        }
    }
    for view in views {
        // Compiled, not run: a view may be expensive.
        if let Err(e) = db.prepare(&format!("SELECT * FROM {}", crate::db::ident::quote(&view))) {
            let why = crate::Error::from(e).message;
            // A function of the program that owns the database is not known here.
            if !why.contains("no such function") && !why.contains("no such module") {
                seen.broken.push((view, why));
            }
        }
    }
    Ok(seen)
}
