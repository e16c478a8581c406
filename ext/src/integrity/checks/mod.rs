//! The checks: THE list of what integrity_report looks for. Docs, `integrity_checks` and the tests follow from it.
mod data;
mod file;
mod keys;
mod schema;
mod structure;

use super::{
    finding::{Findings, Severity},
    subject::Subject,
};
use crate::error::Result;

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
    [structure::CHECKS, file::CHECKS, keys::CHECKS, data::CHECKS, schema::CHECKS].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_and_names_are_unique() {
        let ids: std::collections::HashSet<_> = super::all().flat_map(|c| [c.id, c.name]).collect();
        assert_eq!(ids.len(), 2 * super::all().count());
    }
}
