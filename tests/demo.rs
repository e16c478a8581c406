//! The demo fleet, made by the script a user runs; and rows as text.
use crate::{Way, root};
use fallible_iterator::FallibleIterator;
use rusqlite::{Connection, types::ValueRef};
use tempfile::TempDir;

/// The toolkit fleet in a scratch folder, after its script ran from top to bottom. Changes the working folder meanwhile.
pub fn demo_fleet() -> TempDir {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let script = std::fs::read_to_string(root().join("sql/fleets/toolkit.sql")).expect("the script");
    std::env::set_current_dir(dir.path()).expect("the folder is there");
    let ran = Connection::open("production.db").and_then(|db| {
        Way::Linked.register(&db)?;
        show_rows(&db, &script)
    });
    std::env::set_current_dir(root()).expect("the repository is there");
    if let Err(e) = ran {
        panic!("sql/fleets/toolkit.sql: {e}");
    }
    dir
}

/// Runs all statements of `sql`; their rows, one a line, values separated by `|` as in the stock shell.
pub fn show_rows(db: &Connection, sql: &str) -> rusqlite::Result<String> {
    let mut text = String::new();
    let mut batch = rusqlite::Batch::new(db, sql);
    while let Some(mut stmt) = batch.next()? {
        let n = stmt.column_count();
        let mut rows = stmt.raw_query();
        while let Some(r) = rows.next()? {
            let values = (0..n).map(|i| Ok(show(r.get_ref(i)?))).collect::<rusqlite::Result<Vec<_>>>()?;
            text += &values.join("|");
            text += "\n";
        }
    }
    Ok(text)
}

fn show(v: ValueRef<'_>) -> String {
    match v {
        ValueRef::Null => String::new(),
        ValueRef::Integer(i) => i.to_string(),
        ValueRef::Real(r) => format!("{r:?}"),
        ValueRef::Text(t) => String::from_utf8_lossy(t).into_owned(),
        ValueRef::Blob(b) => format!("({} bytes)", b.len()),
    }
}
