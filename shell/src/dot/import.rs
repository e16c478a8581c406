//! `.import`: rows from CSV, TSV, JSON and JSON lines into a table.
use super::usage;
use crate::{
    complete::names,
    error::{Error, Result},
    render::name,
    session::{Flow, Session},
};
use rusqlite::{Connection, params_from_iter, types::Value};
use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::Path,
};

struct Sheet {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

pub fn import(session: &mut Session, args: &[&str]) -> Result<Flow> {
    let (mut csv, mut skip, mut plain) = (false, 0, vec![]);
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match *word {
            "--csv" => csv = true,
            "--skip" => skip = words.next().and_then(|n| n.parse().ok()).ok_or_else(usage)?,
            word => plain.push(word),
        }
    }
    let [file, table] = plain[..] else { return Err(usage()) };
    let known = names::columns(&session.opened.borrow().db, table);
    let sheet = read(file, csv, skip, &known)?;
    let opened = session.opened.clone();
    let db = &opened.borrow().db;
    let _running = crate::run::Running::start();
    db.execute_batch("SAVEPOINT dbint_import")?;
    let done = store(db, table, &known, &sheet);
    db.execute_batch(if done.is_ok() { "RELEASE dbint_import" } else { "ROLLBACK TO dbint_import; RELEASE dbint_import" })?;
    done?;
    writeln!(session.out, "{} rows into {table}", sheet.rows.len())?;
    Ok(Flow::Go)
}

fn store(db: &Connection, table: &str, known: &[String], sheet: &Sheet) -> Result<()> {
    if known.is_empty() {
        let columns: Vec<String> = sheet.columns.iter().enumerate().map(|(i, c)| format!("{} {}", name(c), affinity(&sheet.rows, i))).collect();
        db.execute_batch(&format!("CREATE TABLE {}({})", name(table), columns.join(", ")))?;
    }
    let columns: Vec<String> = sheet.columns.iter().map(|c| name(c)).collect();
    let marks = vec!["?"; columns.len()].join(",");
    let mut insert = db.prepare(&format!("INSERT INTO {}({}) VALUES({marks})", name(table), columns.join(",")))?;
    for (i, row) in sheet.rows.iter().enumerate() {
        insert.execute(params_from_iter(row)).map_err(|e| Error::usage(format!("row {}: {e}; nothing was imported", i + 1)))?;
    }
    Ok(())
}

/// The type all values of a column have; text that is a number in every row is one.
fn affinity(rows: &[Vec<Value>], column: usize) -> &'static str {
    let mut widest = "";
    for v in rows.iter().filter_map(|r| r.get(column)) {
        let this = match v {
            Value::Null => continue,
            Value::Integer(_) => "INTEGER",
            Value::Real(_) => "REAL",
            Value::Text(t) if t.parse::<i64>().is_ok_and(|i| i.to_string() == *t) => "INTEGER",
            Value::Text(t) if t.parse::<f64>().is_ok() && t.starts_with(|c: char| c.is_ascii_digit() || c == '-') && !leading_zero(t) => "REAL",
            _ => return "TEXT",
        };
        if widest != "REAL" {
            widest = this;
        }
    }
    if widest.is_empty() { "TEXT" } else { widest }
}

/// `007` is a code, not a number.
fn leading_zero(t: &str) -> bool {
    let digits = t.trim_start_matches('-').as_bytes();
    digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit()
}

fn read(file: &str, csv: bool, skip: usize, known: &[String]) -> Result<Sheet> {
    let bad = |e: &dyn std::fmt::Display| Error::usage(format!("\"{file}\": {e}"));
    let open = || File::open(file).map(BufReader::new).map_err(|e| bad(&e));
    let ending = Path::new(file).extension().and_then(|e| e.to_str()).filter(|_| !csv).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "json" => {
            let all: serde_json::Value = serde_json::from_reader(open()?).map_err(|e| bad(&e))?;
            let serde_json::Value::Array(all) = all else { return Err(bad(&"expected an array of objects")) };
            objects(all).map_err(|e| bad(&e))
        }
        "jsonl" | "ndjson" => {
            let lines = serde_json::Deserializer::from_reader(open()?).into_iter().collect::<std::result::Result<Vec<_>, _>>();
            objects(lines.map_err(|e| bad(&e))?).map_err(|e| bad(&e))
        }
        _ => {
            let delimiter = if ending == "tsv" || ending == "tab" { b'\t' } else { b',' };
            let mut input = open()?;
            for _ in 0..skip {
                input.skip_until(b'\n').map_err(|e| bad(&e))?;
            }
            let mut reader = csv::ReaderBuilder::new().has_headers(false).delimiter(delimiter).from_reader(input);
            let mut rows: Vec<Vec<String>> = vec![];
            for r in reader.byte_records() {
                rows.push(r.map_err(|e| bad(&e))?.iter().map(|f| String::from_utf8_lossy(f).into_owned()).collect());
            }
            fields(rows, known).ok_or_else(|| bad(&"no rows"))
        }
    }
}

/// The first line names the columns, unless the table is there and has other names. An empty field is NULL.
fn fields(mut rows: Vec<Vec<String>>, known: &[String]) -> Option<Sheet> {
    let first = rows.first()?.iter().map(|f| f.trim_start_matches('\u{feff}').to_owned()).collect::<Vec<_>>();
    let named = known.is_empty() || first.iter().all(|f| known.iter().any(|k| k.eq_ignore_ascii_case(f)));
    let columns = if named {
        rows.remove(0);
        first
    } else {
        known.iter().take(first.len()).cloned().collect()
    };
    let value = |f: String| if f.is_empty() { Value::Null } else { Value::Text(f) };
    Some(Sheet { columns, rows: rows.into_iter().map(|r| r.into_iter().map(value).collect()).collect() })
}

fn objects(all: Vec<serde_json::Value>) -> std::result::Result<Sheet, String> {
    use serde_json::Value as J;
    let mut columns: Vec<String> = vec![];
    for (i, o) in all.iter().enumerate() {
        let J::Object(o) = o else { return Err(format!("item {} is no object", i + 1)) };
        columns.extend(o.keys().filter(|k| !columns.contains(k)).cloned().collect::<Vec<_>>());
    }
    let value = |v: Option<&J>| match v {
        None | Some(J::Null) => Value::Null,
        Some(J::Bool(b)) => Value::Integer((*b).into()),
        Some(J::Number(n)) => n.as_i64().map_or_else(|| n.as_f64().map_or(Value::Null, Value::Real), Value::Integer),
        Some(J::String(s)) => Value::Text(s.clone()),
        Some(nested) => Value::Text(nested.to_string()),
    };
    let rows = all.iter().map(|o| columns.iter().map(|c| value(o.get(c))).collect()).collect();
    Ok(Sheet { columns, rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_get_the_type_of_their_values() {
        let column = |values: &[&str]| {
            affinity(&values.iter().map(|v| vec![if v.is_empty() { Value::Null } else { Value::Text((*v).to_owned()) }]).collect::<Vec<_>>(), 0)
        };
        assert_eq!(column(&["1", "2", ""]), "INTEGER");
        assert_eq!(column(&["1", "2.5"]), "REAL");
        assert_eq!(column(&["007", "1"]), "TEXT");
        assert_eq!(column(&["1", "x"]), "TEXT");
        assert_eq!(column(&["", ""]), "TEXT");
    }

    #[test]
    fn headers_are_recognised() {
        let rows = || vec![vec!["id".to_owned(), "name".to_owned()], vec!["1".to_owned(), String::new()]];
        let sheet = fields(rows(), &["name".into(), "ID".into()]).unwrap();
        assert_eq!((sheet.columns, sheet.rows), (vec!["id".to_owned(), "name".to_owned()], vec![vec![Value::Text("1".into()), Value::Null]]));
        assert_eq!(fields(rows(), &["a".into(), "b".into()]).unwrap().rows.len(), 2);
    }
}
