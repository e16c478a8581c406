//! One pass over the rows of a table, in which every check on values sees what it needs: the rows are read once.
use super::{
    subject::{Item, Subject},
    values::{self, Dates},
};
use crate::db::{ident::quote, schema::Generated};
use crate::error::{Kind, Result};
use crate::kit::{Field, Interrupt, Stmt};

/// How many rows of each kind are remembered by key.
const EXAMPLES: usize = 20;
/// From here on a value is large.
pub const LARGE: usize = 1_000_000;

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

    fn add_if(&mut self, seen: bool, key: impl FnOnce() -> String) {
        if seen {
            self.add(key);
        }
    }
}

#[derive(Default)]
pub struct Profile {
    pub rows: u64,
    /// Bytes of all values, as text and blobs count them; numbers as 8.
    pub bytes: u64,
    /// Why the pass ended early.
    pub error: Option<String>,
    /// One for each column of the table.
    pub columns: Vec<Column>,
}

/// What was seen in one column.
#[derive(Default)]
pub struct Column {
    /// The length in VARCHAR(n).
    pub declared_length: Option<usize>,
    pub is_boolean: bool,
    pub nulls: Tally,
    pub integers: u64,
    pub reals: u64,
    pub texts: Tally,
    pub blobs: Tally,
    pub empty: u64,
    pub bad_utf8: Tally,
    pub mojibake: Tally,
    pub nul: Tally,
    pub numeric_text: u64,
    pub padded: Tally,
    pub too_long: Tally,
    pub not_boolean: Tally,
    pub infinite: Tally,
    pub large: Tally,
    pub json: u64,
    pub broken_json: Tally,
    pub dates: Dates,
}

/// Reads a table to its end, or to the first error: what came before is kept.
pub fn of(subject: &Subject<'_>, item: &Item) -> Result<Profile> {
    let mut p = Profile { columns: item.table.columns.iter().map(|c| Column::of_type(&c.ty)).collect(), ..Profile::default() };
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
            p.bytes += c.see(rows.field(i), &key);
        }
    }
    Ok(())
}

impl Column {
    fn of_type(ty: &str) -> Column {
        let upper = ty.to_ascii_uppercase();
        let declared_length = (upper.contains("CHAR")).then(|| upper.split(['(', ')']).nth(1).and_then(|n| n.trim().parse().ok())).flatten();
        Column { declared_length, is_boolean: upper.starts_with("BOOL"), ..Column::default() }
    }

    /// All values that are not NULL.
    pub fn given(&self) -> u64 {
        self.integers + self.reals + self.texts.count + self.blobs.count
    }

    fn see(&mut self, v: Field<'_>, key: &impl Fn() -> String) -> u64 {
        if self.is_boolean {
            self.not_boolean.add_if(!matches!(v, Field::Null | Field::Int(0 | 1)), key);
        }
        match v {
            Field::Null => {
                self.nulls.add(key);
                0
            }
            Field::Int(v) => {
                self.integers += 1;
                self.dates.see_integer(v);
                8
            }
            Field::Real(v) => {
                self.reals += 1;
                self.infinite.add_if(v.is_infinite(), key);
                8
            }
            Field::Blob(b) => {
                self.blobs.add(key);
                self.large.add_if(b.len() >= LARGE, key);
                b.len() as u64
            }
            Field::Text(t) => {
                self.see_text(t, key);
                t.len() as u64
            }
        }
    }

    fn see_text(&mut self, t: &[u8], key: &impl Fn() -> String) {
        self.texts.add(key);
        self.large.add_if(t.len() >= LARGE, key);
        self.nul.add_if(t.contains(&0), key);
        self.empty += u64::from(t.is_empty());
        let space = |b: Option<&u8>| b.is_some_and(u8::is_ascii_whitespace);
        self.padded.add_if(space(t.first()) || space(t.last()), key);
        self.numeric_text += u64::from(values::is_number(t));
        match std::str::from_utf8(t) {
            Err(_) => self.bad_utf8.add(key),
            Ok(text) => {
                self.mojibake.add_if(values::is_mojibake(text), key);
                self.too_long.add_if(self.declared_length.is_some_and(|n| t.len() > n && text.chars().count() > n), key);
            }
        }
        if values::looks_like_json(t) {
            self.json += 1;
            self.broken_json.add_if(!values::is_json(t), key);
        }
        self.dates.see_text(t);
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
