//! Does everything in the schema still compile, and is it declared as it behaves?
use super::{Check, Findings, Reads, Severity::*, Subject, check};
use crate::db::{
    ident::{quote, same},
    lex,
};
use crate::error::Result;
use crate::integrity::{finding::Finding, subject::Object};
use std::collections::HashMap;

pub const CHECKS: &[Check] = &[
    check("C01", "view_invalid", Error, Reads::Schema, "Every view compiles.", view_invalid),
    check("C02", "trigger_invalid", Error, Reads::Schema, "Every trigger compiles.", trigger_invalid),
    check("C03", "missing_module", Error, Reads::Schema, "The modules of all virtual tables are loaded.", missing_module),
    check("C04", "missing_collation", Error, Reads::Schema, "The collations of all indexes are known.", missing_collation),
    check("C05", "orphaned_shadow", Warning, Reads::Schema, "No storage of a virtual table is left without its table.", orphaned_shadow),
    check("C06", "dangerous_function", Warning, Reads::Schema, "Nothing in the schema calls a function that reaches outside.", dangerous_function),
    check("C07", "shadowed_name", Warning, Reads::Schema, "No temporary table or view hides one of the database.", shadowed_name),
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

/// Names the caller's connection knows: `pragma_module_list`, `pragma_collation_list`.
fn known(s: &Subject<'_>, list: &str) -> Result<Vec<String>> {
    let mut q = s.host.prepare(&format!("SELECT name FROM {list}"))?;
    Ok(q.query_map([], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?)
}

fn missing_module(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    let known = known(s, "pragma_module_list")?;
    for o in s.objects.iter().filter(|o| o.kind == "table") {
        let words = lex::tokens(&o.sql);
        if !words.get(1).is_some_and(|w| w.is("VIRTUAL")) {
            continue;
        }
        let module = words.iter().position(|w| w.is("USING")).and_then(|i| words.get(i + 1)?.name()).unwrap_or_default();
        if !known.iter().any(|k| same(k, &module)) {
            out.add(Finding::new(format!("no such module: {module}")).table(&o.name));
        }
    }
    Ok(())
}

fn missing_collation(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    let known = known(s, "pragma_collation_list")?;
    for t in &s.tables {
        for i in &t.indexes {
            for c in i.collations.iter().filter(|c| !known.iter().any(|k| same(k, c))) {
                out.add(Finding::new(format!("no such collation sequence: {c}")).table(&t.table.name).key(&i.name));
            }
        }
    }
    Ok(())
}

fn orphaned_shadow(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    // Sets of tables that only these modules make.
    const SETS: [&[&str]; 3] = [&["_data", "_idx", "_docsize", "_config"], &["_segments", "_segdir", "_content"], &["_node", "_rowid", "_parent"]];
    let is = |name: &str| s.objects.iter().any(|o| o.kind == "table" && same(&o.name, name));
    for o in s.objects.iter().filter(|o| o.kind == "table") {
        for set in SETS {
            let Some(stem) = set.first().and_then(|first| o.name.strip_suffix(first)).filter(|s| !s.is_empty()) else { continue };
            if !is(stem) && set.iter().all(|suffix| is(&format!("{stem}{suffix}"))) {
                let drops = set.iter().map(|suffix| format!("DROP TABLE {};", quote(&format!("{stem}{suffix}")))).collect::<Vec<_>>().join(" ");
                out.add(Finding::new(format!("storage of a virtual table \"{stem}\", which is gone")).table(&o.name).fix(drops));
            }
        }
    }
    Ok(())
}

fn dangerous_function(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    const REACHING: [&str; 8] = ["load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "fsdir", "eval", "zipfile"];
    for o in s.objects.iter().filter(|o| !o.sql.is_empty()) {
        let words = lex::tokens(&o.sql);
        let called = words.windows(2).find_map(|w| match w {
            [name, open] if open.is("(") => name.name().filter(|n| REACHING.iter().any(|r| same(r, n))),
            _ => None,
        });
        if let Some(name) = called {
            out.add(Finding::new(format!("{} {} calls {name}()", o.kind, o.name)).table(&o.table).key(&o.name));
        }
    }
    Ok(())
}

fn shadowed_name(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    if !s.is_host || same(s.schema(), "temp") {
        return Ok(());
    }
    let mut q = s.host.prepare("SELECT type, name FROM temp.sqlite_schema WHERE type IN ('table', 'view')")?;
    for row in q.query_map([], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?)))? {
        let (kind, name) = row?;
        if s.objects.iter().any(|o| matches!(o.kind.as_str(), "table" | "view") && same(&o.name, &name)) {
            let fix = format!("DROP {} temp.{};", kind.to_ascii_uppercase(), quote(&name));
            out.add(Finding::new(format!("the temporary {kind} of that name is read in its place")).table(&name).fix(fix));
        }
    }
    Ok(())
}
