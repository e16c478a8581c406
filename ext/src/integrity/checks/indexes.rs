//! Indexes that cost more than they give.
use super::{Check, Findings, Item, Reads, Severity::*, Subject, check};
use crate::db::{
    ident::{quote, same},
    schema::Index,
};
use crate::error::Result;
use crate::integrity::finding::Finding;

pub const CHECKS: &[Check] = &[
    check("I01", "duplicate_index", Warning, Reads::Schema, "No two indexes are the same.", duplicate_index),
    check("I02", "redundant_index", Info, Reads::Schema, "No index is the beginning of another.", redundant_index),
    check("I03", "index_on_rowid", Warning, Reads::Schema, "No index repeats the rowid.", index_on_rowid),
    check("I04", "unselective_index", Info, Reads::Schema, "No index has a handful of values for many rows.", unselective_index),
    check("I05", "many_indexes", Info, Reads::Schema, "No table has more than ten indexes.", many_indexes),
];

/// Plain columns in ascending order, all rows: what can stand in for another index.
fn is_plain(i: &Index) -> bool {
    !i.partial && i.columns.iter().all(Option::is_some) && !i.sql.as_deref().is_some_and(|s| crate::db::lex::tokens(s).iter().any(|t| t.is("DESC")))
}

/// `a` has the columns of `b`, or the first of them.
fn begins(a: &Index, b: &Index) -> bool {
    let pairs = |i: &Index| i.columns.iter().cloned().zip(i.collations.iter().cloned()).collect::<Vec<_>>();
    let (a, b) = (pairs(a), pairs(b));
    a.len() <= b.len() && a.iter().zip(&b).all(|(x, y)| x.0.as_deref().zip(y.0.as_deref()).is_some_and(|(x, y)| same(x, y)) && same(&x.1, &y.1))
}

fn drop_index(item: &Item, index: &Index, detail: String) -> Finding {
    Finding::new(detail).table(&item.table.name).key(&index.name).fix(format!("DROP INDEX {};", quote(&index.name)))
}

fn duplicate_index(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for t in &s.tables {
        for (n, i) in t.indexes.iter().enumerate().filter(|(_, i)| i.origin == "c" && is_plain(i)) {
            // Of two equal ones the later goes, and the one without UNIQUE rather than the one with.
            let twin = t.indexes.iter().enumerate().find(|(m, o)| {
                *m != n
                    && is_plain(o)
                    && o.columns.len() == i.columns.len()
                    && begins(i, o)
                    && (o.unique && !i.unique || o.unique == i.unique && (*m < n || o.origin != "c"))
            });
            if let Some((_, twin)) = twin {
                out.add(drop_index(t, i, format!("the same columns as {}", twin.name)));
            }
        }
    }
    Ok(())
}

fn redundant_index(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for t in &s.tables {
        for i in t.indexes.iter().filter(|i| i.origin == "c" && !i.unique && is_plain(i)) {
            if let Some(longer) = t.indexes.iter().find(|o| is_plain(o) && o.columns.len() > i.columns.len() && begins(i, o)) {
                out.add(drop_index(t, i, format!("{} begins with the same columns", longer.name)));
            }
        }
    }
    Ok(())
}

fn index_on_rowid(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for t in &s.tables {
        let Some(alias) = t.table.rowid_alias(s.db()?)? else { continue };
        for i in t.indexes.iter().filter(|i| i.origin == "c" && !i.partial) {
            if i.columns.first().and_then(|c| c.as_deref()).is_some_and(|c| same(c, &alias.name)) {
                out.add(drop_index(t, i, format!("it begins with {}, which is the rowid and always found at once", alias.name)));
            }
        }
    }
    Ok(())
}

fn unselective_index(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    const MANY: u64 = 1000;
    for st in super::statistics::read(s)? {
        let Some((item, index)) = s.tables.iter().find_map(|t| Some((t, t.indexes.iter().find(|i| Some(&i.name) == st.index.as_ref())?))) else { continue };
        if index.origin == "c" && index.columns.len() == 1 && st.rows >= MANY && st.per_key * 4 >= st.rows {
            out.add(drop_index(item, index, format!("{} of {} rows share a value on average: a scan is as fast", st.per_key, st.rows)));
        }
    }
    Ok(())
}

fn many_indexes(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for t in s.tables.iter().filter(|t| t.indexes.len() > 10) {
        out.add(Finding::new(format!("{} indexes: every write keeps them all", t.indexes.len())).table(&t.table.name));
    }
    Ok(())
}
