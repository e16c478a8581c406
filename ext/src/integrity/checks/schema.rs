//! Does everything in the schema still compile, and is it declared as it behaves?
use super::{Check, Findings, Reads, Severity::*, Subject, check};
use crate::db::{ident::quote, lex};
use crate::error::Result;
use crate::integrity::{finding::Finding, subject::Object};
use std::collections::HashMap;

pub const CHECKS: &[Check] = &[
    check("C01", "view_invalid", Error, Reads::Schema, "Every view compiles.", view_invalid),
    check("C02", "trigger_invalid", Error, Reads::Schema, "Every trigger compiles.", trigger_invalid),
];

/// Views that name each other double at each step: what would compile for hours is not tried.
const LARGEST: u64 = 2_000;

/// Into how many parts each view unfolds.
fn sizes(objects: &[Object]) -> HashMap<String, u64> {
    let views: Vec<(String, Vec<String>)> = objects
        .iter()
        .filter(|o| o.kind == "view")
        .map(|o| (o.name.to_lowercase(), lex::tokens(&o.sql).iter().filter_map(|t| t.name().map(|n| n.to_lowercase())).collect()))
        .collect();
    let mut size: HashMap<String, u64> = views.iter().map(|(n, _)| (n.clone(), 1)).collect();
    // As many rounds as the deepest nesting that matters: beyond, the size is over the bound anyway.
    for _ in 0..16 {
        for (name, words) in &views {
            let sum = words.iter().filter(|w| *w != name).filter_map(|w| size.get(w)).fold(1u64, |a, b| a.saturating_add(*b));
            size.insert(name.clone(), sum.min(LARGEST + 1));
        }
    }
    size
}

fn view_invalid(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    let sizes = sizes(&s.objects);
    for v in s.objects.iter().filter(|o| o.kind == "view") {
        let finding = |why: &str| Finding::new(why).table(&v.name).key(&v.name).fix(format!("DROP VIEW {};", quote(&v.name)));
        if sizes.get(&v.name.to_lowercase()).is_some_and(|n| *n > LARGEST) {
            out.add(finding(&format!("it unfolds into more than {LARGEST} views, and was not compiled")));
        } else if let Err(e) = s.db()?.prepare(&format!("SELECT * FROM {}", s.qualified(&v.name))) {
            out.add(finding(&crate::Error::from(e).message));
        }
    }
    Ok(())
}

fn trigger_invalid(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    let sizes = sizes(&s.objects);
    for t in s.objects.iter().filter(|o| o.kind == "trigger") {
        let words = lex::tokens(&t.sql);
        if words.iter().filter_map(|w| w.name()).any(|w| sizes.get(&w.to_lowercase()).is_some_and(|n| *n > LARGEST)) {
            continue;
        }
        // A statement of the trigger's kind compiles the trigger with it; nothing is run.
        let on = s.qualified(&t.table);
        let event = words.iter().find(|w| ["INSERT", "UPDATE", "DELETE"].iter().any(|e| w.is(e)));
        let columns = columns(s, &t.table)?;
        let list = columns.iter().map(|c| quote(c)).collect::<Vec<_>>().join(", ");
        let sql = match event.map(|e| e.text.to_ascii_uppercase()).as_deref() {
            Some("INSERT") => format!("INSERT INTO {on}({list}) SELECT {list} FROM {on}"),
            Some("DELETE") => format!("DELETE FROM {on}"),
            Some("UPDATE") => match updated(&words).or_else(|| columns.first().cloned()) {
                Some(column) => format!("UPDATE {on} SET {0} = {0}", quote(&column)),
                None => continue,
            },
            _ => continue,
        };
        if let Err(e) = s.db()?.prepare(&sql) {
            let e = crate::Error::from(e);
            out.add(Finding::new(e.message).table(&t.table).key(&t.name).fix(format!("DROP TRIGGER {};", quote(&t.name))));
        }
    }
    Ok(())
}

/// The column named by UPDATE OF.
fn updated(words: &[lex::Token<'_>]) -> Option<String> {
    let at = words.iter().position(|w| w.is("UPDATE"))?;
    if words.get(at + 1)?.is("OF") { words.get(at + 2)?.name() } else { None }
}

/// The columns of a table or view that can be written.
fn columns(s: &Subject<'_>, table: &str) -> Result<Vec<String>> {
    let mut q = s.db()?.prepare("SELECT name FROM pragma_table_xinfo(?1, ?2) WHERE hidden = 0 ORDER BY cid")?;
    Ok(q.query_map([table, s.schema()], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?)
}
