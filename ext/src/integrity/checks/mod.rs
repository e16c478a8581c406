//! The checks: THE list of what integrity_report looks for. Docs, `integrity_checks` and the tests follow from it.
mod data;
mod file;
mod indexes;
mod keys;
mod schema;
mod statistics;
mod structure;
mod types;
mod values;

use super::{
    finding::{Finding, Findings, Severity},
    profile::{Column, Tally},
    subject::{Item, Subject},
};
use crate::db::{
    ident::quote,
    schema::{self as db_schema, Generated},
};
use crate::error::{Kind, Result};

/// What a check needs to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reads {
    /// The file's surroundings only: possible even if the database does not open.
    File,
    /// The schema and a few pages.
    Schema,
    /// The rows.
    Rows,
}

impl Reads {
    pub const fn word(self) -> &'static str {
        match self {
            Reads::File => "file",
            Reads::Schema => "schema",
            Reads::Rows => "rows",
        }
    }
}

pub struct Check {
    /// A letter for the subject and a number: never given to another check.
    pub id: &'static str,
    pub name: &'static str,
    pub severity: Severity,
    pub reads: Reads,
    /// What it looks for.
    pub summary: &'static str,
    pub run: fn(&Subject<'_>, &mut Findings) -> Result<()>,
}

type Run = fn(&Subject<'_>, &mut Findings) -> Result<()>;
const fn check(id: &'static str, name: &'static str, severity: Severity, reads: Reads, summary: &'static str, run: Run) -> Check {
    Check { id, name, severity, reads, summary, run }
}

/// Every check, in the order of the report.
pub fn all() -> impl Iterator<Item = &'static Check> {
    [structure::CHECKS, file::CHECKS, keys::CHECKS, data::CHECKS, values::CHECKS, schema::CHECKS, types::CHECKS, indexes::CHECKS, statistics::CHECKS]
        .into_iter()
        .flatten()
}

/// A finding for each remembered row of a tally, and the count of the others.
fn each(out: &mut Findings, tally: &Tally, make: impl Fn() -> Finding) {
    for key in &tally.keys {
        out.add_with(|| make().key(key));
    }
    out.also(tally.count, tally.keys.len());
}

/// One finding that stands for all rows of a tally, the first of them as an example.
fn summed(out: &mut Findings, tally: &Tally, make: impl Fn() -> Finding) {
    if let Some(first) = tally.keys.first() {
        out.add(make().key(first));
    }
}

/// Every column of every table, with what was seen in it.
fn columns(s: &Subject<'_>, mut see: impl FnMut(&Item, &db_schema::Column, &Column)) -> Result<()> {
    for (item, profile) in s.profiles()? {
        for (column, seen) in item.table.columns.iter().zip(&profile.columns) {
            if column.generated != Generated::Hidden {
                see(item, column, seen);
            }
        }
    }
    Ok(())
}

/// A damaged table does not hide the others: its error is told when all have been seen.
fn each_table(s: &Subject<'_>, mut see: impl FnMut(&Item) -> Result<()>) -> Result<()> {
    let mut trouble = None;
    for item in &s.tables {
        match see(item) {
            Err(e) if e.kind == Kind::Interrupted => return Err(e),
            Err(e) => trouble = trouble.or(Some(e.context(&item.table.name))),
            Ok(()) => {}
        }
    }
    trouble.map_or(Ok(()), Err)
}

fn select_where(item: &Item, condition: &str) -> String {
    format!("SELECT * FROM {} WHERE {condition};", quote(&item.table.name))
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_and_names_are_unique() {
        let ids: std::collections::HashSet<_> = super::all().flat_map(|c| [c.id, c.name]).collect();
        assert_eq!(ids.len(), 2 * super::all().count());
    }
}
