//! One pass over the rows of a table, in which every check on values sees what it needs: the rows are read once.
use super::subject::{Item, Subject};
use crate::db::{ident::quote, schema::Generated};
use crate::error::{Kind, Result};
use crate::kit::{Field, Interrupt, Stmt};

/// How many rows of each kind are remembered by key.
const EXAMPLES: usize = 20;

/// A count, and the keys of the first few rows.
#[derive(Default)]
pub struct Tally {
    pub count: u64,
    pub keys: Vec<String>,
}

impl Tally {
    fn add(&mut self, key: impl FnOnce() -> String) {
        self.count += 1;
        if self.keys.len() < EXAMPLES {
            self.keys.push(key());
        }
    }
}

#[derive(Default)]
pub struct Profile {
    pub rows: u64,
    /// Why the pass ended early.
    pub error: Option<String>,
    /// One for each column of the table.
    pub columns: Vec<Column>,
}

/// What was seen in one column.
#[derive(Default)]
pub struct Column {
    pub nulls: Tally,
    pub integers: u64,
    pub reals: u64,
    pub texts: Tally,
    pub blobs: u64,
    pub bad_utf8: Tally,
}

/// Reads a table to its end, or to the first error: what came before is kept.
pub fn of(subject: &Subject<'_>, item: &Item) -> Result<Profile> {
    let t = &item.table;
    let mut p = Profile { columns: t.columns.iter().map(|_| Column::default()).collect(), ..Profile::default() };
    match read(subject, item, &mut p) {
        Err(e) if e.kind == Kind::Interrupted => return Err(e),
        Err(e) => p.error = Some(e.message),
        Ok(()) => {}
    }
    Ok(p)
}

fn read(subject: &Subject<'_>, item: &Item, p: &mut Profile) -> Result<()> {
    let t = &item.table;
    let mut interrupt = Interrupt::of(subject.host)?;
    let visible = t.columns.iter().map(|c| if c.generated == Generated::Hidden { "NULL".to_owned() } else { quote(&c.name) });
    let names: Vec<String> = visible.chain(key_columns(item)).collect();
    // The table itself, not an index that may differ from it.
    let mut rows = Stmt::prepare(subject.db()?, &format!("SELECT {} FROM {} NOT INDEXED", names.join(", "), subject.qualified(&t.name)))?;
    let n = t.columns.len();
    while rows.step()? {
        interrupt.tick()?;
        p.rows += 1;
        let key = || shown_key(&rows, n);
        for (i, c) in p.columns.iter_mut().enumerate() {
            c.see(rows.field(i), &key);
        }
    }
    Ok(())
}

impl Column {
    fn see(&mut self, v: Field<'_>, key: &impl Fn() -> String) {
        match v {
            Field::Null => self.nulls.add(key),
            Field::Int(_) => self.integers += 1,
            Field::Real(_) => self.reals += 1,
            Field::Blob(_) => self.blobs += 1,
            Field::Text(t) => {
                self.texts.add(key);
                if std::str::from_utf8(t).is_err() {
                    self.bad_utf8.add(key);
                }
            }
        }
    }
}

/// The expressions by which a row of this table is told from others.
pub fn key_columns(item: &Item) -> Vec<String> {
    match item.table.rowid_name() {
        Some(rowid) => vec![rowid.to_owned()],
        None => item.table.primary_key().iter().map(|c| quote(&c.name)).collect(),
    }
}

/// The key of the current row: the columns of `row` from `from` on.
pub fn shown_key(row: &Stmt<'_>, from: usize) -> String {
    (from..row.columns()).map(|i| shown(row.field(i))).collect::<Vec<_>>().join(", ")
}

pub fn shown(v: Field<'_>) -> String {
    const MOST: usize = 80;
    match v {
        Field::Null => "NULL".to_owned(),
        Field::Int(v) => v.to_string(),
        Field::Real(v) => v.to_string(),
        Field::Text(b) => String::from_utf8_lossy(b.get(..MOST).unwrap_or(b)).into_owned(),
        Field::Blob(b) => {
            let hex: String = b.iter().take(MOST / 2).map(|x| format!("{x:02X}")).collect();
            format!("x'{hex}'")
        }
    }
}
