//! Values that the schema allows, and that are a mistake all the same.
use super::{Check, Findings, Reads, Severity::*, Subject, check, columns, each, select_where, summed};
use crate::db::{affinity::Affinity, ident::quote};
use crate::error::Result;
use crate::integrity::{finding::Finding, profile::LARGE};

pub const CHECKS: &[Check] = &[
    check("V01", "nul_in_text", Warning, Reads::Rows, "No text is cut short by a NUL character.", nul_in_text),
    check("V02", "text_in_number", Warning, Reads::Rows, "Columns declared as numbers hold numbers.", text_in_number),
    check("V03", "number_in_text", Warning, Reads::Rows, "Numbers are not stored as text.", number_in_text),
    check("V04", "date_formats", Warning, Reads::Rows, "The dates of a column have one format.", date_formats),
    check("V05", "invalid_json", Warning, Reads::Rows, "What looks like JSON is JSON.", invalid_json),
    check("V06", "mixed_types", Warning, Reads::Rows, "The values of a column have one type.", mixed_types),
    check("V07", "padded_text", Info, Reads::Rows, "Text neither begins nor ends with space.", padded_text),
    check("V08", "empty_and_null", Info, Reads::Rows, "A column says \"nothing\" in one way: NULL or ''.", empty_and_null),
    check("V09", "infinite_number", Warning, Reads::Rows, "No number is infinite.", infinite_number),
    check("V10", "longer_than_declared", Info, Reads::Rows, "Text fits into its VARCHAR(n), which SQLite does not enforce.", longer_than_declared),
    check("V11", "boolean_values", Warning, Reads::Rows, "BOOLEAN columns hold 0, 1 or NULL.", boolean_values),
    check("V12", "mojibake", Warning, Reads::Rows, "No text was decoded twice, or lost characters.", mojibake),
    check("V13", "large_values", Info, Reads::Rows, "No value has a megabyte and more.", large_values),
];

fn nul_in_text(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    columns(s, |item, c, seen| {
        each(out, &seen.nul, || {
            Finding::new(format!("{} holds a NUL character: length() and most programs stop there", c.name))
                .table(&item.table.name)
                .fix(select_where(item, &format!("instr({}, char(0))", quote(&c.name))))
        })
    })
}

fn text_in_number(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    columns(s, |item, c, seen| {
        let ty = c.ty.to_ascii_uppercase();
        let number = match Affinity::of(&ty) {
            Affinity::Integer | Affinity::Real => true,
            Affinity::Numeric => ["NUMERIC", "DECIMAL", "MONEY", "NUMBER"].iter().any(|w| ty.contains(w)),
            _ => false,
        };
        if number {
            for (tally, what) in [(&seen.texts, "text"), (&seen.blobs, "blob")] {
                each(out, tally, || {
                    Finding::new(format!("{} is declared {}, and holds {what}", c.name, c.ty))
                        .table(&item.table.name)
                        .fix(select_where(item, &format!("typeof({}) = '{what}'", quote(&c.name))))
                });
            }
        }
    })
}

fn number_in_text(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    const FEW: u64 = 5;
    columns(s, |item, c, seen| {
        if seen.numeric_text >= FEW && seen.numeric_text == seen.texts.count && matches!(Affinity::of(&c.ty), Affinity::Text | Affinity::Blob) {
            let detail = format!("all {} texts of {} are numbers: '10' sorts before '9'", seen.numeric_text, c.name);
            let check = format!("SELECT {0}, CAST({0} AS NUMERIC) FROM {1};", quote(&c.name), quote(&item.table.name));
            out.add(Finding::new(detail).table(&item.table.name).fix(check));
        }
    })
}

fn date_formats(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    columns(s, |item, c, seen| {
        let name = c.name.to_ascii_lowercase();
        let dated = name.ends_with("_at") || ["date", "time", "created", "updated", "modified"].iter().any(|w| name.contains(w));
        let formats = seen.dates.seen(dated);
        let dates: u64 = formats.iter().map(|(_, n)| n).sum();
        // A column of dates, not a text in which one stands now and then.
        if formats.len() > 1 && dates * 10 >= seen.given() * 9 {
            let list = formats.iter().map(|(f, n)| format!("{f} ({n})")).collect::<Vec<_>>().join(", ");
            let fix = format!("SELECT {0}, datetime({0}) FROM {1} WHERE datetime({0}) IS NOT {0};", quote(&c.name), quote(&item.table.name));
            out.add(Finding::new(format!("{}: {list}", c.name)).table(&item.table.name).fix(fix));
        }
    })
}

fn invalid_json(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    columns(s, |item, c, seen| {
        let named = c.ty.to_ascii_uppercase().contains("JSON") || c.name.to_ascii_lowercase().contains("json");
        if named || (seen.json - seen.broken_json.count) * 2 > seen.texts.count {
            each(out, &seen.broken_json, || {
                Finding::new(format!("{} is not valid JSON", c.name))
                    .table(&item.table.name)
                    .fix(select_where(item, &format!("NOT json_valid({})", quote(&c.name))))
            });
        }
    })
}

fn mixed_types(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    columns(s, |item, c, seen| {
        let kinds = [("number", seen.integers + seen.reals), ("text", seen.texts.count), ("blob", seen.blobs.count)];
        let present: Vec<_> = kinds.iter().filter(|(_, n)| *n > 0).collect();
        // In a column of numbers text is a finding of its own.
        if present.len() > 1 && matches!(Affinity::of(&c.ty), Affinity::Text | Affinity::Blob) {
            let list = present.iter().map(|(k, n)| format!("{n} {k}")).collect::<Vec<_>>().join(", ");
            let fix = format!("SELECT typeof({0}), count(*) FROM {1} GROUP BY 1;", quote(&c.name), quote(&item.table.name));
            out.add(Finding::new(format!("{} holds {list}", c.name)).table(&item.table.name).fix(fix));
        }
    })
}

fn padded_text(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    columns(s, |item, c, seen| {
        // Whole documents end with a line break by right.
        if seen.dates.seen(false).is_empty() && seen.padded.count * 2 < seen.texts.count.max(2) {
            summed(out, &seen.padded, || {
                Finding::new(format!("{} values of {} begin or end with space", seen.padded.count, c.name)).table(&item.table.name).fix(format!(
                    "UPDATE {0} SET {1} = trim({1}) WHERE {1} <> trim({1});",
                    quote(&item.table.name),
                    quote(&c.name)
                ))
            });
        }
    })
}

fn empty_and_null(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    columns(s, |item, c, seen| {
        if seen.empty > 0 && seen.nulls.count > 0 {
            out.add(Finding::new(format!("{} has {} empty texts and {} NULLs", c.name, seen.empty, seen.nulls.count)).table(&item.table.name).fix(format!(
                "UPDATE {0} SET {1} = NULL WHERE {1} = '';",
                quote(&item.table.name),
                quote(&c.name)
            )));
        }
    })
}

fn infinite_number(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    columns(s, |item, c, seen| {
        each(out, &seen.infinite, || {
            Finding::new(format!("{} is infinite: sums and averages are lost", c.name))
                .table(&item.table.name)
                .fix(select_where(item, &format!("abs({}) = 9e999", quote(&c.name))))
        })
    })
}

fn longer_than_declared(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    columns(s, |item, c, seen| {
        summed(out, &seen.too_long, || {
            Finding::new(format!("{} values of {} are longer than {}", seen.too_long.count, c.name, c.ty))
                .table(&item.table.name)
                .fix(select_where(item, &format!("length({}) > {}", quote(&c.name), seen.declared_length.unwrap_or(0))))
        })
    })
}

fn boolean_values(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    columns(s, |item, c, seen| {
        each(out, &seen.not_boolean, || {
            Finding::new(format!("{} is declared {}, and holds neither 0 nor 1", c.name, c.ty))
                .table(&item.table.name)
                .fix(select_where(item, &format!("{} NOT IN (0, 1)", quote(&c.name))))
        })
    })
}

fn mojibake(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    columns(s, |item, c, seen| {
        each(out, &seen.mojibake, || Finding::new(format!("{} was decoded twice, or lost characters (\u{fffd})", c.name)).table(&item.table.name))
    })
}

fn large_values(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    columns(s, |item, c, seen| {
        summed(out, &seen.large, || {
            Finding::new(format!("{} values of {} have {LARGE} bytes and more", seen.large.count, c.name))
                .table(&item.table.name)
                .fix(select_where(item, &format!("length({}) >= {LARGE}", quote(&c.name))))
        })
    })
}
