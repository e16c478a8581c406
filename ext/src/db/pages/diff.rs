//! Where two rowid tables differ, found by comparing pages and records as bytes: equal leaf pages are passed by.
use super::{Result, Snapshot, Table, Why};
use crate::db::schema::table_body;
use rusqlite::OptionalExtension;

/// A rowid whose record differs: a candidate, to be compared by SQL, for equal values may be stored in different bytes
/// (5.0 as a real or as an integer, a record from before ADD COLUMN). With it comes what the caller made of each record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<N> {
    Differs(i64, N, N),
    OnlyLeft(i64, N),
    OnlyRight(i64, N),
}

/// Walks both tables side by side; holds one run of pages of each, whatever their size.
pub struct Diff<'r> {
    left: Table<'r>,
    right: Table<'r>,
    /// Rows found equal, most of them by whole pages.
    pub equal: u64,
    #[cfg(test)]
    pub equal_pages: u64,
}

impl<'r> Diff<'r> {
    /// Only for tables that are [`comparable`].
    pub fn new(left: Table<'r>, right: Table<'r>) -> Diff<'r> {
        Diff {
            left,
            right,
            equal: 0,
            #[cfg(test)]
            equal_pages: 0,
        }
    }

    /// The next candidate in rowid order; None after the last. `name` sees its records.
    pub fn advance<N>(&mut self, name: impl Fn(&[u8]) -> Result<N>) -> Result<Option<Change<N>>> {
        let (a, b) = (&mut self.left, &mut self.right);
        loop {
            match (a.is_done(), b.is_done()) {
                (true, true) => return Ok(None),
                (false, true) => {
                    let change = Change::OnlyLeft(a.rowid(), name(a.record()?)?);
                    a.advance()?;
                    return Ok(Some(change));
                }
                (true, false) => {
                    let change = Change::OnlyRight(b.rowid(), name(b.record()?)?);
                    b.advance()?;
                    return Ok(Some(change));
                }
                (false, false) => {}
            }
            // Page numbers of overflow chains are bytes of the page, too: equal ones prove nothing about other files' chains.
            if a.at_leaf_start() && b.at_leaf_start() && a.page_size() == b.page_size() && a.leaf() == b.leaf() && !a.leaf_spills()? {
                self.equal += a.leaf_rows();
                #[cfg(test)]
                {
                    self.equal_pages += 1;
                }
                a.skip_leaf()?;
                b.skip_leaf()?;
                continue;
            }
            let rowid = a.rowid();
            if rowid < b.rowid() {
                let change = Change::OnlyLeft(rowid, name(a.record()?)?);
                a.advance()?;
                return Ok(Some(change));
            }
            if b.rowid() < rowid {
                let change = Change::OnlyRight(b.rowid(), name(b.record()?)?);
                b.advance()?;
                return Ok(Some(change));
            }
            let equal = a.len() == b.len() && a.record()? == b.record()?;
            let change = if equal { None } else { Some(Change::Differs(rowid, name(a.record()?)?, name(b.record()?)?)) };
            a.advance()?;
            b.advance()?;
            if change.is_some() {
                return Ok(change);
            }
            self.equal += 1;
        }
    }
}

/// Whether equal bytes mean equal values: the same statement made both tables (affinities, column order, defaults that
/// short records stand for), and both databases have one text encoding.
pub fn comparable(left: &Snapshot, left_table: &str, right: &Snapshot, right_table: &str) -> std::result::Result<(), Why> {
    let definition = |s: &Snapshot, table: &str| -> rusqlite::Result<Option<(String, String)>> {
        let encoding: String = s.db().query_row("PRAGMA encoding", [], |r| r.get(0))?;
        let sql: Option<String> =
            s.db().query_row("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ? COLLATE NOCASE", [table], |r| r.get(0)).optional()?;
        Ok(sql.map(|sql| (encoding, sql)))
    };
    let (a, b) = (definition(left, left_table).map_err(|_| Why::Sql)?, definition(right, right_table).map_err(|_| Why::Sql)?);
    match (a, b) {
        (Some((e1, s1)), Some((e2, s2))) if e1 == e2 && table_body(&s1) == table_body(&s2) => Ok(()),
        _ => Err(Why::Schema),
    }
}
