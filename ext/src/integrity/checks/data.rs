//! Do the rows keep what the schema promises?
use super::{Check, Findings, Reads, Severity::*, Subject, check, columns, each, each_table, select_where};
use crate::db::{ident::quote, lex, schema::Index};
use crate::error::Result;
use crate::integrity::{
    finding::Finding,
    profile::{key_columns, shown_key},
};
use crate::kit::{Interrupt, Stmt};

pub const CHECKS: &[Check] = &[
    check("D01", "not_null_violation", Error, Reads::Rows, "No NULL stands where NOT NULL is declared.", not_null_violation),
    check("D02", "unique_violation", Error, Reads::Rows, "No two rows share what must be unique.", unique_violation),
    check("D03", "check_violation", Error, Reads::Rows, "Every row keeps the CHECK constraints of its table.", check_violation),
    check("D04", "invalid_utf8", Error, Reads::Rows, "Every text is valid in the database's encoding.", invalid_utf8),
];

fn not_null_violation(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    columns(s, |item, c, seen| {
        if c.not_null {
            each(out, &seen.nulls, || {
                Finding::new(format!("{} is NULL, and declared NOT NULL", c.name))
                    .table(&item.table.name)
                    // SQLite takes `c IS NULL` as never true here; typeof sees the value.
                    .fix(select_where(item, &format!("typeof({}) = 'null'", quote(&c.name))))
            });
        }
    })
}

/// The terms of an index as SQL, with their collations, and its condition.
fn terms(index: &Index) -> (Vec<String>, Option<String>) {
    match &index.sql {
        Some(sql) => {
            let (terms, condition) = lex::index(sql);
            (terms.iter().map(|t| format!("+({t})")).collect(), condition.map(str::to_owned))
        }
        None => {
            let named = index.columns.iter().zip(&index.collations);
            (named.filter_map(|(c, coll)| Some(format!("+{} COLLATE {}", quote(c.as_deref()?), quote(coll)))).collect(), None)
        }
    }
}

fn unique_violation(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    let mut interrupt = Interrupt::of(s.host)?;
    each_table(s, |item| {
        for index in item.indexes.iter().filter(|i| i.unique) {
            let (terms, condition) = terms(index);
            if terms.is_empty() {
                continue;
            }
            // `+` keeps SQLite from trusting the very index that is in question; NULLs are all different.
            let mut given: Vec<String> = terms.iter().map(|t| format!("({t}) IS NOT NULL")).collect();
            given.extend(condition.map(|c| format!("({c})")));
            let sql = format!(
                "SELECT count(*), {} FROM {} NOT INDEXED WHERE {} GROUP BY {} HAVING count(*) > 1",
                terms.join(", "),
                s.qualified(&item.table.name),
                given.join(" AND "),
                terms.join(", ")
            );
            let mut rows = Stmt::prepare(s.db()?, &sql)?;
            while rows.step()? {
                interrupt.tick()?;
                out.add_with(|| {
                    Finding::new(format!(
                        "{} rows have the same {}",
                        rows.int(0),
                        index.columns.iter().map(|c| c.as_deref().unwrap_or("expression")).collect::<Vec<_>>().join(", ")
                    ))
                    .table(&item.table.name)
                    .key(shown_key(&rows, 1))
                    .fix(format!("{sql};"))
                });
            }
        }
        Ok(())
    })
}

fn check_violation(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    let mut interrupt = Interrupt::of(s.host)?;
    each_table(s, |item| {
        for rule in lex::checks(&item.table.sql) {
            let condition = format!("NOT ({rule})");
            let sql = format!("SELECT {} FROM {} NOT INDEXED WHERE {condition}", key_columns(item).join(", "), s.qualified(&item.table.name));
            let mut rows = Stmt::prepare(s.db()?, &sql)?;
            while rows.step()? {
                interrupt.tick()?;
                out.add_with(|| {
                    Finding::new(format!("CHECK({rule}) fails")).table(&item.table.name).key(shown_key(&rows, 0)).fix(select_where(item, &condition))
                });
            }
        }
        Ok(())
    })
}

fn invalid_utf8(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    columns(s, |item, c, seen| {
        each(out, &seen.bad_utf8, || {
            Finding::new(format!("{} holds text that is not valid UTF-8", c.name)).table(&item.table.name).fix(format!(
                "UPDATE {0} SET {1} = CAST({1} AS BLOB) WHERE rowid = …;",
                quote(&item.table.name),
                quote(&c.name)
            ))
        });
    })
}
