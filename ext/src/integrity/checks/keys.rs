//! Primary and foreign keys.
use super::{Check, Findings, Reads, Severity::*, Subject, check};
use crate::db::{
    affinity::Affinity,
    ident::{literal, quote, same},
};
use crate::error::Result;
use crate::integrity::{
    finding::Finding,
    profile::{key_columns, shown_key},
};
use crate::kit::{Interrupt, Stmt};

pub const CHECKS: &[Check] = &[
    check("K01", "foreign_key_orphans", Error, Reads::Rows, "Every row that points to a parent has one.", foreign_key_orphans),
    check("K02", "foreign_key_broken", Error, Reads::Schema, "Every foreign key points to a key that exists.", foreign_key_broken),
    check("K03", "foreign_keys_off", Warning, Reads::Schema, "This connection enforces the foreign keys that are declared.", foreign_keys_off),
    check("K04", "foreign_key_unindexed", Warning, Reads::Schema, "Every foreign key has an index on the child's side.", foreign_key_unindexed),
    check("K05", "foreign_key_types", Warning, Reads::Schema, "Child and parent columns have the same affinity.", foreign_key_types),
    check("K06", "table_without_key", Warning, Reads::Schema, "Every table has a primary key or a unique index.", table_without_key),
    check("K07", "null_in_primary_key", Error, Reads::Rows, "No primary key holds NULL, which SQLite lets in.", null_in_primary_key),
    check("K08", "rowid_exhaustion", Warning, Reads::Schema, "Rowids are far from the largest possible one.", rowid_exhaustion),
    check("K09", "autoincrement_sequence", Warning, Reads::Schema, "AUTOINCREMENT counters are in step with their tables.", autoincrement_sequence),
    check("K10", "int_primary_key", Info, Reads::Schema, "A whole-number key is declared INTEGER PRIMARY KEY, and so is the rowid.", int_primary_key),
];

fn foreign_key_orphans(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    let mut interrupt = Interrupt::of(s.host)?;
    super::each_table(s, |child| {
        for key in &child.foreign_keys {
            let Some(parent) = s.item(&key.parent) else { continue };
            // A key that SQLite cannot enforce is a finding of its own.
            if key.broken(s.db()?, Some(&parent.table))?.is_some() {
                continue;
            }
            let row = key_columns(child);
            let shown = row.iter().map(|c| format!("c.{c}")).chain(key.columns.iter().map(|c| format!("c.{}", quote(c))));
            let sql = key.orphans(&child.table, &parent.table, &shown.collect::<Vec<_>>().join(", "));
            let mut rows = Stmt::prepare(s.db()?, &sql)?;
            let keys = row.len();
            while rows.step()? {
                interrupt.tick()?;
                out.add_with(|| {
                    let row = (0..keys).map(|i| crate::integrity::profile::shown(rows.field(i))).collect::<Vec<_>>().join(", ");
                    Finding::new(format!("{}: no parent for ({})", key.shown(&child.table.name), shown_key(&rows, keys)))
                        .table(&child.table.name)
                        .key(row)
                        .fix(format!("{};", key.orphans(&child.table, &parent.table, "*")))
                });
            }
        }
        Ok(())
    })
}

fn foreign_key_broken(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for child in &s.tables {
        for key in &child.foreign_keys {
            let parent = s.item(&key.parent);
            if let Some(why) = key.broken(s.db()?, parent.map(|p| &p.table))? {
                let targets = parent.map(|p| key.targets(&p.table)).unwrap_or_default();
                let f = Finding::new(format!("{}: {why}", key.shown(&child.table.name))).table(&child.table.name);
                let list = targets.iter().map(|t| quote(t)).collect::<Vec<_>>().join(", ");
                let can = parent.is_some_and(|p| !targets.is_empty() && targets.iter().all(|t| p.table.column(t).is_some()));
                out.add(if can {
                    f.fix(format!("CREATE UNIQUE INDEX {} ON {}({list});", quote(&format!("uq_{}_{}", key.parent, targets.join("_"))), quote(&key.parent)))
                } else {
                    f
                });
            }
        }
    }
    Ok(())
}

fn foreign_keys_off(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    let keys: usize = s.tables.iter().map(|t| t.foreign_keys.len()).sum();
    if s.is_host && keys > 0 && s.pragma("foreign_keys")? == 0 {
        out.add(Finding::new(format!("{keys} foreign keys are declared, and this connection enforces none")).fix("PRAGMA foreign_keys = ON;"));
    }
    Ok(())
}

fn foreign_key_unindexed(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for child in &s.tables {
        for key in &child.foreign_keys {
            let leads = |columns: &[Option<String>]| {
                let head: Vec<&str> = columns.iter().take(key.columns.len()).filter_map(|c| c.as_deref()).collect();
                head.len() == key.columns.len() && key.columns.iter().all(|k| head.iter().any(|h| same(h, k)))
            };
            let primary: Vec<Option<String>> = child.table.primary_key().iter().map(|c| Some(c.name.clone())).collect();
            if !leads(&primary) && !child.indexes.iter().any(|i| !i.partial && leads(&i.columns)) {
                let name = format!("idx_{}_{}", child.table.name, key.columns.join("_"));
                let list = crate::db::ident::list(key.columns.iter().map(String::as_str));
                out.add(
                    Finding::new(format!("{}: a delete in {} reads all of {}", key.shown(&child.table.name), key.parent, child.table.name))
                        .table(&child.table.name)
                        .fix(format!("CREATE INDEX {} ON {}({list});", quote(&name), quote(&child.table.name))),
                );
            }
        }
    }
    Ok(())
}

fn foreign_key_types(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for child in &s.tables {
        for key in &child.foreign_keys {
            let Some(parent) = s.item(&key.parent) else { continue };
            for (from, to) in key.columns.iter().zip(key.targets(&parent.table)) {
                let (Some(c), Some(p)) = (child.table.column(from), parent.table.column(&to)) else { continue };
                let (a, b) = (Affinity::of(&c.ty), Affinity::of(&p.ty));
                if a != b {
                    let detail = format!("{}: {from} is {}, {to} is {}", key.shown(&child.table.name), a.word(), b.word());
                    out.add(Finding::new(detail).table(&child.table.name));
                }
            }
        }
    }
    Ok(())
}

fn table_without_key(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for t in s.tables.iter().filter(|t| !t.ours) {
        if t.table.primary_key().is_empty() && !t.indexes.iter().any(|i| i.unique && !i.partial) {
            out.add(Finding::new("no primary key and no unique index: rows can be told apart by rowid only, which VACUUM may change").table(&t.table.name));
        }
    }
    Ok(())
}

fn null_in_primary_key(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for (item, profile) in s.profiles()? {
        for (c, seen) in item.table.columns.iter().zip(&profile.columns).filter(|(c, _)| c.pk > 0 && !c.not_null) {
            super::each(out, &seen.nulls, || {
                Finding::new(format!("{} is NULL in a primary key", c.name)).table(&item.table.name).fix(format!(
                    "SELECT rowid, * FROM {} WHERE {} IS NULL;",
                    quote(&item.table.name),
                    quote(&c.name)
                ))
            });
        }
    }
    Ok(())
}

/// The largest rowid of a table: one seek.
fn largest_rowid(s: &Subject<'_>, item: &super::Item) -> Result<Option<i64>> {
    let Some(rowid) = item.table.rowid_name() else { return Ok(None) };
    Ok(s.db()?.query_row(&format!("SELECT max({rowid}) FROM {}", s.qualified(&item.table.name)), [], |r| r.get(0))?)
}

fn rowid_exhaustion(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    super::each_table(s, |item| {
        if let Some(max) = largest_rowid(s, item)?.filter(|m| *m > i64::MAX / 10 * 9) {
            let left = i64::MAX - max;
            let detail = format!("the largest rowid is {max}, {left} are left above it; from then on SQLite picks at random, or fails under AUTOINCREMENT");
            out.add(Finding::new(detail).table(&item.table.name).key(max));
        }
        Ok(())
    })
}

fn autoincrement_sequence(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    if !s.objects.iter().any(|o| o.name == "sqlite_sequence") {
        return Ok(());
    }
    let mut rows = Stmt::prepare(s.db()?, &format!("SELECT name, seq FROM {}", s.qualified("sqlite_sequence")))?;
    while rows.step()? {
        let name = crate::integrity::profile::shown(rows.field(0));
        let seq = rows.int(1);
        match s.item(&name) {
            None => out.add(
                Finding::new(format!("a counter for \"{name}\", which is no table"))
                    .table(&name)
                    .fix(format!("DELETE FROM sqlite_sequence WHERE name = {};", literal(&name))),
            ),
            Some(item) => {
                if let Some(max) = largest_rowid(s, item)?.filter(|m| *m > seq) {
                    out.add(
                        Finding::new(format!("the counter stands at {seq}, the largest key is {max}"))
                            .table(&item.table.name)
                            .fix(format!("UPDATE sqlite_sequence SET seq = {max} WHERE name = {};", literal(&name))),
                    );
                }
            }
        }
    }
    Ok(())
}

fn int_primary_key(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for t in s.tables.iter().filter(|t| !t.table.without_rowid) {
        if let [only] = t.table.primary_key().as_slice()
            && Affinity::of(&only.ty) == Affinity::Integer
            && t.indexes.iter().any(|i| i.origin == "pk")
        {
            let detail = format!("{} {} PRIMARY KEY is not the rowid: it keeps a second b-tree, and lets NULL in", only.name, only.ty);
            out.add(Finding::new(detail).table(&t.table.name));
        }
    }
    Ok(())
}
