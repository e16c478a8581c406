//! Is the file sound as SQLite sees it?
use super::{Check, Findings, Reads, Severity::*, Subject, check};
use crate::db::ident::{quote, same};
use crate::error::Result;
use crate::integrity::finding::Finding;

pub const CHECKS: &[Check] = &[
    check("S01", "readable", Critical, Reads::File, "The database opens and its schema can be read.", readable),
    check("S02", "integrity_check", Critical, Reads::Rows, "PRAGMA integrity_check finds nothing.", integrity_check),
    check("S03", "quick_check", Critical, Reads::Schema, "PRAGMA quick_check finds nothing.", quick_check),
    check("S04", "index_consistency", Error, Reads::Rows, "Every index has exactly the entries its table asks for.", index_consistency),
    check("S05", "schema_rows", Critical, Reads::Schema, "Every row of the schema parses.", schema_rows),
    check("S06", "table_unreadable", Critical, Reads::Rows, "Every table can be read to its last row.", table_unreadable),
];

const SALVAGE: &str = "SELECT salvage_database(NULL, 'salvaged.db');";

fn readable(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    if let Some(why) = &s.trouble {
        let f = Finding::new(why);
        out.add(if s.is_open() { f.fix(SALVAGE) } else { f });
    }
    Ok(())
}

fn integrity_check(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for line in s.verdict()?.iter().filter(|l| *l != "ok") {
        let f = Finding::new(line);
        out.add(match index_of(line) {
            Some(index) => f.key(index).fix(format!("REINDEX {};", quote(index))),
            None if is_about_values(line) => f,
            None => f.fix(SALVAGE),
        });
    }
    Ok(())
}

fn quick_check(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for line in s.lines("quick_check(1000)")?.iter().filter(|l| *l != "ok") {
        let f = Finding::new(line);
        out.add(if is_about_values(line) { f } else { f.fix(SALVAGE) });
    }
    Ok(())
}

/// `row 7 missing from index i`, `wrong # of entries in index i`, `non-unique entry in index i`, …
fn index_of(line: &str) -> Option<&str> {
    let (_, name) = line.rsplit_once(" index ")?;
    let head = ["row ", "wrong # of entries", "non-unique entry", "rowid not at end-of-record"];
    head.iter().any(|h| line.starts_with(h)).then_some(name)
}

/// Lines that tell of a value rather than of a page.
fn is_about_values(line: &str) -> bool {
    ["NULL value in ", "CHECK constraint failed in ", "NUMERIC value in ", "TEXT value in ", "non-unique entry in "].iter().any(|h| line.starts_with(h))
        || line.starts_with("non-") && line.contains(" value in ")
}

fn index_consistency(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for line in s.verdict()? {
        let Some(index) = index_of(line) else { continue };
        let table = s.tables.iter().find(|t| t.indexes.iter().any(|i| same(&i.name, index)));
        let f = Finding::new(line).key(index).fix(format!("REINDEX {};", quote(index)));
        out.add(match table {
            Some(t) => f.table(&t.table.name),
            None => f,
        });
    }
    Ok(())
}

fn schema_rows(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    let db = s.db()?;
    let mut columns = db.prepare("SELECT count(*) FROM pragma_table_xinfo(?1, ?2)")?;
    let mut indexed = db.prepare("SELECT EXISTS(SELECT 1 FROM pragma_index_list(?1, ?2) WHERE name = ?3 COLLATE NOCASE)")?;
    for o in &s.objects {
        let parses = match o.kind.as_str() {
            // A virtual table without its module has no columns here, and is a finding elsewhere.
            "table" if o.sql.get(..14).is_some_and(|h| same(h, "CREATE VIRTUAL")) => true,
            "table" => columns.query_row([&o.name, s.schema()], |r| r.get::<_, i64>(0))? > 0,
            "index" => indexed.query_row([&o.table, s.schema(), &o.name], |r| r.get(0))?,
            "view" | "trigger" => true,
            _ => false,
        };
        if !parses {
            out.add(Finding::new(format!("the schema row of {} \"{}\" does not parse: {}", o.kind, o.name, o.sql)).table(&o.table).key(&o.name).fix(SALVAGE));
        }
    }
    Ok(())
}

fn table_unreadable(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    for (item, profile) in s.profiles()? {
        if let Some(why) = &profile.error {
            out.add(Finding::new(format!("after {} rows: {why}", profile.rows)).table(&item.table.name).fix(SALVAGE));
        }
    }
    Ok(())
}
