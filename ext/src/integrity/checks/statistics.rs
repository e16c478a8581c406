//! What the planner knows of the data.
use super::{Check, Findings, Reads, Severity::*, Subject, check};
use crate::db::ident::{literal, quote, same};
use crate::error::Result;
use crate::integrity::finding::Finding;
use crate::kit::{Field, Stmt};

pub const CHECKS: &[Check] = &[
    check("P01", "statistics_missing", Info, Reads::Rows, "Tables with indexes and many rows were analyzed.", statistics_missing),
    check("P02", "statistics_stale", Warning, Reads::Rows, "sqlite_stat1 is near to the true number of rows.", statistics_stale),
    check("P03", "statistics_orphaned", Info, Reads::Schema, "sqlite_stat1 speaks of tables and indexes that exist.", statistics_orphaned),
];

/// A row of sqlite_stat1.
pub struct Stat {
    pub table: String,
    pub index: Option<String>,
    pub rows: u64,
    /// Rows with the same value in the first column, on average; 0 where it is not told.
    pub per_key: u64,
}

/// All rows of sqlite_stat1 that parse; none where there is no such table.
pub fn read(s: &Subject<'_>) -> Result<Vec<Stat>> {
    let mut all = vec![];
    if !s.objects.iter().any(|o| o.name == "sqlite_stat1") {
        return Ok(all);
    }
    let mut q = Stmt::prepare(s.db()?, &format!("SELECT tbl, idx, stat FROM {}", s.qualified("sqlite_stat1")))?;
    while q.step()? {
        let text = |i| match q.field(i) {
            Field::Text(b) => Some(String::from_utf8_lossy(b).into_owned()),
            _ => None,
        };
        let numbers: Vec<u64> = text(2).unwrap_or_default().split(' ').map_while(|n| n.parse().ok()).collect();
        if let (Some(table), Some(rows)) = (text(0), numbers.first()) {
            all.push(Stat { table, index: text(1), rows: *rows, per_key: numbers.get(1).copied().unwrap_or(0) });
        }
    }
    Ok(all)
}

/// Below this a wrong guess of the planner costs nothing.
const MANY: u64 = 1000;

fn statistics_missing(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    let stats = read(s)?;
    for (item, profile) in s.profiles()?.filter(|(t, p)| p.rows >= MANY && !t.indexes.is_empty() && !t.ours) {
        if !stats.iter().any(|st| same(&st.table, &item.table.name)) {
            let detail = format!(
                "{} rows, {}, and the planner must guess",
                profile.rows,
                if item.indexes.len() == 1 { "an index".into() } else { format!("{} indexes", item.indexes.len()) }
            );
            out.add(Finding::new(detail).table(&item.table.name).fix(format!("ANALYZE {};", quote(&item.table.name))));
        }
    }
    Ok(())
}

fn statistics_stale(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    let stats = read(s)?;
    for (item, profile) in s.profiles()?.filter(|(_, p)| p.error.is_none()) {
        // Partial indexes count fewer rows: the largest figure is the table's.
        let Some(known) = stats.iter().filter(|st| same(&st.table, &item.table.name)).map(|st| st.rows).max() else { continue };
        if known.max(profile.rows) >= MANY && (known > profile.rows * 2 || profile.rows > known * 2) {
            let detail = format!("sqlite_stat1 says {known} rows, there are {}", profile.rows);
            out.add(Finding::new(detail).table(&item.table.name).fix(format!("ANALYZE {};", quote(&item.table.name))));
        }
    }
    Ok(())
}

fn statistics_orphaned(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for st in read(s)? {
        let is = |kind: &str, name: &str| s.objects.iter().any(|o| o.kind == kind && same(&o.name, name));
        // The primary key of a WITHOUT ROWID table stands under the table's own name.
        let gone = match &st.index {
            _ if !is("table", &st.table) => format!("statistics of \"{}\", which is no table", st.table),
            Some(i) if !is("index", i) && !same(i, &st.table) => format!("statistics of \"{i}\", which is no index"),
            _ => continue,
        };
        out.add(Finding::new(gone).table(&st.table).fix(format!("DELETE FROM sqlite_stat1 WHERE tbl = {};", literal(&st.table))));
    }
    Ok(())
}
