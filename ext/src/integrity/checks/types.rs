//! Declarations that do not do what they say.
use super::{Check, Findings, Reads, Severity::*, Subject, check};
use crate::db::{affinity::Affinity, lex, schema::Generated};
use crate::error::Result;
use crate::integrity::finding::Finding;

pub const CHECKS: &[Check] = &[
    check("T01", "affinity_surprise", Warning, Reads::Schema, "No declared type means something else to SQLite.", affinity_surprise),
    check("T02", "untyped_column", Info, Reads::Schema, "Columns have a declared type.", untyped_column),
    check("T03", "double_quoted_text", Warning, Reads::Schema, "No text is written in double quotes, which are for names.", double_quoted_text),
    check("T04", "keyword_name", Info, Reads::Schema, "No table or column is named by a keyword.", keyword_name),
    check("T05", "awkward_name", Info, Reads::Schema, "Names need no quotes.", awkward_name),
    check("T06", "wide_table", Info, Reads::Schema, "No table has more than 100 columns.", wide_table),
    check("T07", "without_rowid_wide", Warning, Reads::Rows, "WITHOUT ROWID tables have short rows.", without_rowid_wide),
    check("T08", "empty_table", Info, Reads::Schema, "No table is empty.", empty_table),
];

/// Types whose meaning everybody expects, though SQLite only knows them as NUMERIC.
const WELL_KNOWN: [&str; 10] = ["NUMERIC", "DECIMAL", "DEC", "NUMBER", "BOOL", "DATE", "TIME", "MONEY", "CURRENCY", "YEAR"];
const MEANT_AS_TEXT: [&str; 12] = ["STRING", "STR", "JSON", "UUID", "GUID", "XML", "ENUM", "NAME", "URL", "INET", "EMAIL", "MEMO"];

fn affinity_surprise(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for t in &s.tables {
        for c in &t.table.columns {
            let ty = c.ty.to_ascii_uppercase();
            let has = |words: &[&str]| words.iter().any(|w| ty.contains(w));
            let what = match Affinity::of(&ty) {
                Affinity::Numeric if has(&MEANT_AS_TEXT) => "it has NUMERIC affinity: '007' becomes 7, '1e3' becomes 1000. Declare it TEXT",
                Affinity::Numeric if !has(&WELL_KNOWN) => "a type SQLite does not know: it has NUMERIC affinity",
                Affinity::Integer if has(&["FLOA", "DOUB", "REAL", "POINT", "PRINT", "INTERVAL"]) => "it has INTEGER affinity, by the letters INT in it",
                Affinity::Integer if has(&["CHAR", "TEXT"]) => "it has INTEGER affinity, by the letters INT in it: digits lose leading zeros",
                _ => continue,
            };
            out.add(Finding::new(format!("{} {}: {what}", c.name, c.ty)).table(&t.table.name));
        }
    }
    Ok(())
}

fn untyped_column(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for t in &s.tables {
        let untyped: Vec<&str> = t.table.columns.iter().filter(|c| c.ty.is_empty() && c.generated == Generated::No).map(|c| c.name.as_str()).collect();
        if !untyped.is_empty() {
            out.add(Finding::new(format!("no type is declared for {}", untyped.join(", "))).table(&t.table.name));
        }
    }
    Ok(())
}

fn double_quoted_text(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for t in &s.tables {
        let texts = t.table.columns.iter().filter_map(|c| c.default.as_deref().filter(|d| d.starts_with('"')));
        let rules = lex::checks(&t.table.sql).into_iter().chain(t.indexes.iter().filter_map(|i| lex::index(i.sql.as_deref()?).1));
        let in_rules = rules.flat_map(lex::tokens).filter(|k| k.text.starts_with('"') && k.name().is_some_and(|n| t.table.column(&n).is_none()));
        for text in texts.chain(in_rules.map(|k| k.text)) {
            let detail = format!("{text} is taken as a text only because no column has that name; SQLite may be built to refuse it");
            out.add(Finding::new(detail).table(&t.table.name));
        }
    }
    Ok(())
}

fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty()
}

/// Every table, and every column with its table.
fn names<'s>(s: &'s Subject<'_>) -> impl Iterator<Item = (&'s str, &'s str)> {
    s.tables.iter().flat_map(|t| std::iter::once(&t.table.name).chain(t.table.columns.iter().map(|c| &c.name)).map(|n| (t.table.name.as_str(), n.as_str())))
}

fn keyword_name(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for (table, name) in names(s) {
        // SQLite itself knows its keywords best.
        if is_plain(name) && s.host.prepare(&format!("SELECT 1 AS {name}")).is_err() {
            out.add(Finding::new(format!("{name} is a keyword: every statement must quote it")).table(table));
        }
    }
    Ok(())
}

fn awkward_name(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for (table, name) in names(s).filter(|(_, n)| !is_plain(n)) {
        out.add(Finding::new(format!("the name \"{name}\" must be quoted in every statement")).table(table));
    }
    Ok(())
}

fn wide_table(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for t in s.tables.iter().filter(|t| t.table.columns.len() > 100) {
        out.add(Finding::new(format!("{} columns: reading the last ones means walking over all before", t.table.columns.len())).table(&t.table.name));
    }
    Ok(())
}

fn without_rowid_wide(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    let page = s.pragma("page_size")?.max(512) as u64;
    for (item, profile) in s.profiles()?.filter(|(t, p)| t.table.without_rowid && p.rows > 0) {
        let row = profile.bytes / profile.rows;
        // https://sqlite.org/withoutrowid.html: rows should be smaller than 1/20 of a page.
        if row > page / 20 {
            out.add(Finding::new(format!("rows have {row} bytes on average, and WITHOUT ROWID pays up to {} only", page / 20)).table(&item.table.name));
        }
    }
    Ok(())
}

fn empty_table(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    super::each_table(s, |item| {
        if !item.ours && s.db()?.query_row(&format!("SELECT NOT EXISTS(SELECT 1 FROM {})", s.qualified(&item.table.name)), [], |r| r.get(0))? {
            out.add(Finding::new("no rows").table(&item.table.name));
        }
        Ok(())
    })
}
