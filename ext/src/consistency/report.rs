//! Do two databases hold the same? One check for each thing that may differ, and two scores over all of them.
use super::diff::{self, Side};
use crate::db::{
    digest::{self, Algorithm, Method},
    foreign_keys,
    ident::{qualified, quote, same},
    schema::{self, Table, TableKind},
};
use crate::error::{Error, Kind, Result};
use crate::hub::{Hub, Severity, Target, target::Mode};
use crate::kit::Interrupt;
use rusqlite::Connection;

/// How much a failed check takes off the weighted score.
pub const fn weight(severity: Severity) -> f64 {
    match severity {
        Severity::Info => 0.5,
        Severity::Warning => 1.0,
        Severity::Error => 2.0,
        Severity::Critical => 3.0,
    }
}

pub struct Check {
    pub name: &'static str,
    pub severity: Severity,
    pub table: Option<String>,
    pub passed: bool,
    pub in_a: Option<String>,
    pub in_b: Option<String>,
    pub detail: String,
}

/// What is compared.
pub struct Pair {
    pub a: Target,
    pub b: Target,
    /// Only these tables; None is all.
    pub tables: Option<Vec<String>>,
    pub circular: bool,
}

pub struct Report {
    pub name_a: String,
    pub name_b: String,
    pub checks: Vec<Check>,
}

impl Report {
    pub fn failed(&self) -> usize {
        self.checks.iter().filter(|c| !c.passed).count()
    }

    /// passed / total, in percent, one decimal.
    pub fn consistency_score(&self) -> f64 {
        let total = self.checks.len();
        if total == 0 { 100.0 } else { ((total - self.failed()) as f64 * 1000.0 / total as f64).round() / 10.0 }
    }

    /// 100 less the weights of the failed checks.
    pub fn weighted_score(&self) -> f64 {
        (100.0 - self.checks.iter().filter(|c| !c.passed).map(|c| weight(c.severity)).sum::<f64>()).clamp(0.0, 100.0)
    }
}

/// Columns that say when a row was last touched, the most telling first.
const TIMES: [&str; 8] = ["updated_at", "last_modified", "modified_at", "last_update", "timestamp", "created_at", "measurement_time", "changed_at"];

/// Source and target of a row of sync_mapping.
pub fn of_mapping(host: &Connection, id: i64) -> Result<Pair> {
    let none = || Error::not_found(format!("no mapping {id} in sync_mapping"));
    let hub = Hub::find(host)?.ok_or_else(none)?;
    let row = host.query_row(&hub.sql("SELECT source_db, target_db, tables FROM hub.sync_mapping WHERE id = ?"), [id], |r| {
        Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?, r.get::<_, String>(2)?))
    });
    let (source, target, tables) = row.map_err(|e| if e == rusqlite::Error::QueryReturnedNoRows { none() } else { e.into() })?;
    let tables = if tables.trim() == "*" { None } else { Some(tables.split(',').map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).collect()) };
    Ok(Pair { a: Target::resolve(host, Some(&source))?, b: Target::resolve(host, Some(&target))?, tables, circular: false })
}

pub fn of(host: &Connection, pair: &Pair) -> Result<Report> {
    let (sa, sb) = (pair.a.session(host, Mode::Read)?, pair.b.session(host, Mode::Read)?);
    let (a, b) = (Side::of(&sa.db, &sa.schema)?, Side::of(&sb.db, &sb.schema)?);
    let mut run = Run { host, checks: vec![], a, b };
    let wanted = |name: &str| pair.tables.as_ref().is_none_or(|t| t.iter().any(|t| same(t, name)));
    if let Some(missing) = pair.tables.iter().flatten().find(|t| !run.a.kind("table").chain(run.b.kind("table")).any(|o| same(&o.name, t))) {
        return Err(Error::not_found(format!("neither database has a table \"{missing}\"")));
    }
    run.schema(&wanted)?;
    let shared: Vec<String> = run.a.kind("table").map(|o| o.name.clone()).filter(|n| wanted(n) && run.b.kind("table").any(|o| same(&o.name, n))).collect();
    for name in &shared {
        run.table(name)?;
    }
    run.orphans(&wanted)?;
    if pair.circular {
        run.circles()?;
    }
    Ok(Report { name_a: pair.a.name.clone(), name_b: pair.b.name.clone(), checks: run.checks })
}

struct Run<'c> {
    host: &'c Connection,
    checks: Vec<Check>,
    a: Side<'c>,
    b: Side<'c>,
}

impl<'c> Run<'c> {
    fn add(&mut self, name: &'static str, severity: Severity, table: Option<&str>, passed: bool, sides: (Option<String>, Option<String>), detail: String) {
        let (in_a, in_b) = sides;
        self.checks.push(Check { name, severity, table: table.map(str::to_owned), passed, in_a, in_b, detail });
    }

    /// One check for the tables, one for each table both have, one for each kind of what stands on them.
    fn schema(&mut self, wanted: &dyn Fn(&str) -> bool) -> Result<()> {
        let all = diff::between(&self.a, &self.b, false)?;
        let found: Vec<_> = all.iter().filter(|d| wanted(&d.table) || (d.object == "table" && d.in_a.as_deref().is_some_and(wanted))).collect();
        let named = |of: &dyn Fn(&&&diff::Difference) -> bool| {
            let list: Vec<String> = found.iter().filter(of).map(|d| format!("{} {}", d.name, d.change)).collect();
            (list.is_empty(), if list.is_empty() { "ok".to_owned() } else { list.join(", ") })
        };
        let (passed, detail) = named(&|d| d.object == "table" && d.change != "changed");
        let count = |s: &Side<'_>| Some(s.kind("table").filter(|o| wanted(&o.name)).count().to_string());
        let sides = (count(&self.a), count(&self.b));
        self.add("schema_tables", Severity::Error, None, passed, sides, detail);
        let shared: Vec<String> =
            self.a.kind("table").map(|o| o.name.clone()).filter(|n| wanted(n) && self.b.kind("table").any(|o| same(&o.name, n))).collect();
        for table in &shared {
            let (passed, detail) = named(&|d| same(&d.table, table) && (d.object == "column" || (d.object == "table" && d.change == "changed")));
            self.add("schema_columns", Severity::Error, Some(table), passed, (None, None), detail);
        }
        for (check, kind) in [("schema_indexes", "index"), ("schema_views", "view"), ("schema_triggers", "trigger")] {
            let (passed, detail) = named(&|d| d.object == kind);
            let count = |s: &Side<'_>| Some(s.kind(kind).filter(|o| wanted(&o.table)).count().to_string());
            let sides = (count(&self.a), count(&self.b));
            self.add(check, Severity::Warning, None, passed, sides, detail);
        }
        Ok(())
    }

    /// Row counts, content and the newest time of a table both have.
    fn table(&mut self, name: &str) -> Result<()> {
        let (ta, tb) = (schema::table(self.a.db, self.a.schema, name)?, schema::table(self.b.db, self.b.schema, name)?);
        let count =
            |s: &Side<'_>, t: &Table| shown(s.db.query_row(&format!("SELECT count(*) FROM {}", qualified(s.schema, &t.name)), [], |r| r.get::<_, i64>(0)));
        let (na, nb) = (count(&self.a, &ta)?, count(&self.b, &tb)?);
        let detail = if na == nb { "ok".to_owned() } else { format!("{na} rows and {nb}") };
        self.add("row_count", Severity::Error, Some(name), na == nb && !na.starts_with('?'), (Some(na), Some(nb)), detail);
        let columns = |t: &Table| t.columns.iter().map(|c| c.name.to_lowercase()).collect::<Vec<_>>();
        if columns(&ta) == columns(&tb) && ta.kind == TableKind::Table && tb.kind == TableKind::Table {
            let mut interrupt = Interrupt::of(self.host)?;
            let mut sum = |s: &Side<'_>, t: &Table| shown(digest::table(s.db, s.schema, &t.name, Algorithm::Fast, Method::Auto, &mut interrupt).map(|d| d.hex));
            let (da, db) = (sum(&self.a, &ta)?, sum(&self.b, &tb)?);
            let detail = if da == db { "ok" } else { "the rows are not the same" };
            self.add("content_checksum", Severity::Critical, Some(name), da == db && !da.starts_with('?'), (Some(da), Some(db)), detail.to_owned());
        }
        let Some(column) = TIMES.iter().find(|c| ta.column(c).is_some() && tb.column(c).is_some()) else { return Ok(()) };
        let newest = |s: &Side<'_>, t: &Table| {
            let sql = format!("SELECT coalesce(CAST(max({}) AS TEXT), 'none') FROM {}", quote(column), qualified(s.schema, &t.name));
            shown(s.db.query_row(&sql, [], |r| r.get::<_, String>(0)))
        };
        let (la, lb) = (newest(&self.a, &ta)?, newest(&self.b, &tb)?);
        let detail = if la == lb { "ok".to_owned() } else { format!("the newest {column} is not the same") };
        self.add("timestamps", Severity::Warning, Some(name), la == lb && !la.starts_with('?'), (Some(la), Some(lb)), detail);
        Ok(())
    }

    /// Rows without a parent, on either side.
    fn orphans(&mut self, wanted: &dyn Fn(&str) -> bool) -> Result<()> {
        let mut names: Vec<String> = vec![];
        for o in self.a.kind("table").chain(self.b.kind("table")).filter(|o| wanted(&o.name)) {
            if !names.iter().any(|n| same(n, &o.name)) {
                names.push(o.name.clone());
            }
        }
        for name in names {
            let (a, b) = (orphans_in(&self.a, &name)?, orphans_in(&self.b, &name)?);
            if a.is_none() && b.is_none() {
                continue;
            }
            let bad = a.unwrap_or(0) + b.unwrap_or(0);
            let detail = if bad == 0 { "ok".to_owned() } else { format!("{bad} rows refer to rows that are not there") };
            self.add("orphans", Severity::Error, Some(&name), bad == 0, (a.map(|n| n.to_string()), b.map(|n| n.to_string())), detail);
        }
        Ok(())
    }

    /// Tables that refer to each other in a circle, which no order of loading satisfies.
    fn circles(&mut self) -> Result<()> {
        let (a, b) = (circle_in(&self.a)?, circle_in(&self.b)?);
        let detail = a.as_ref().or(b.as_ref()).map_or("ok".to_owned(), |c| format!("a circle of references: {c}"));
        self.add("circular_references", Severity::Info, None, a.is_none() && b.is_none(), (a, b), detail);
        Ok(())
    }
}

/// A damaged table is a failed check, not the end of the report; an interruption is.
fn shown<T: ToString, E: Into<Error>>(value: std::result::Result<T, E>) -> Result<String> {
    match value.map_err(Into::into) {
        Ok(v) => Ok(v.to_string()),
        Err(e) if e.kind == Kind::Interrupted => Err(e),
        Err(e) => Ok(format!("? {}", e.message)),
    }
}

fn orphans_in(side: &Side<'_>, name: &str) -> Result<Option<i64>> {
    let Some(child) = schema::find_table(side.db, side.schema, name)? else { return Ok(None) };
    let keys = foreign_keys::of(side.db, side.schema, name)?;
    if keys.is_empty() {
        return Ok(None);
    }
    let mut n = 0;
    for key in keys {
        let Some(parent) = schema::find_table(side.db, side.schema, &key.parent)? else { continue };
        if key.broken(side.db, Some(&parent))?.is_none() {
            n += side.db.query_row(&format!("SELECT count(*) FROM ({})", key.orphans(&child, &parent, "1")), [], |r| r.get::<_, i64>(0))?;
        }
    }
    Ok(Some(n))
}

/// One circle, as `a → b → a`; a table that refers to itself (a tree) is none.
fn circle_in(side: &Side<'_>) -> Result<Option<String>> {
    let mut edges: Vec<(String, String)> = vec![];
    for o in side.kind("table") {
        edges.extend(foreign_keys::of(side.db, side.schema, &o.name)?.into_iter().map(|k| (o.name.to_lowercase(), k.parent.to_lowercase())));
    }
    edges.retain(|(a, b)| a != b);
    // What nobody refers to, and what refers to nobody, is on no circle.
    loop {
        let before = edges.len();
        let all = edges.clone();
        edges.retain(|(from, to)| all.iter().any(|(_, t)| t == from) && all.iter().any(|(f, _)| f == to));
        if edges.len() == before {
            break;
        }
    }
    let Some((first, _)) = edges.first() else { return Ok(None) };
    let mut path = vec![first.clone()];
    while let Some((_, next)) = path.last().and_then(|last| edges.iter().find(|(f, _)| f == last)) {
        if let Some(at) = path.iter().position(|p| p == next) {
            path.push(next.clone());
            return Ok(Some(path.split_off(at).join(" → ")));
        }
        path.push(next.clone());
    }
    Ok(None)
}
