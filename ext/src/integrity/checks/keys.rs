//! Primary and foreign keys.
use super::{Check, Findings, Reads, Severity::*, Subject, check};
use crate::db::ident::quote;
use crate::error::Result;
use crate::integrity::{
    finding::Finding,
    profile::{key_columns, shown_key},
};
use crate::kit::{Interrupt, Stmt};

pub const CHECKS: &[Check] = &[
    check("K01", "foreign_key_orphans", Error, Reads::Rows, "Every row that points to a parent has one.", foreign_key_orphans),
    check("K02", "foreign_key_broken", Error, Reads::Schema, "Every foreign key points to a key that exists.", foreign_key_broken),
];

fn foreign_key_orphans(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    let mut interrupt = Interrupt::of(s.host)?;
    for child in &s.tables {
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
    }
    Ok(())
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
