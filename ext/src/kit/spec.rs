//! What is declared about each SQL function and table: the source of registration,
//! `dbint_functions`, the reference in the README, shell completion and the tests.
use super::Call;
use rusqlite::types::Value;

/// A room: one subject, and the SQL names that belong to it.
pub struct Room {
    pub name: &'static str,
    pub summary: &'static str,
    pub functions: &'static [Function],
    pub tables: &'static [Table],
}

/// A scalar SQL function.
pub struct Function {
    pub name: &'static str,
    pub args: &'static [Arg],
    /// What comes back: `text`, `integer`, `json`, …; for JSON its fields.
    pub returns: &'static str,
    pub access: Access,
    pub summary: &'static str,
    /// Runs on the demo fleet, in its folder; its output is compared by a test.
    pub example: &'static str,
    pub run: fn(&Call<'_>) -> crate::Result<Value>,
}

/// A table-valued function; its arguments are hidden columns.
pub struct Table {
    pub name: &'static str,
    pub args: &'static [Arg],
    pub columns: &'static [Column],
    pub access: Access,
    pub summary: &'static str,
    /// Runs on the demo fleet, in its folder; its output is compared by a test.
    pub example: &'static str,
    pub rows: fn(&Call<'_>) -> crate::Result<Rows>,
}

/// Rows in the order of [`Table::columns`].
pub type Rows = Box<dyn Iterator<Item = crate::Result<Vec<Value>>>>;

/// Rows that were all made before the first is shown.
pub fn rows(all: Vec<Vec<Value>>) -> crate::Result<Rows> {
    Ok(Box::new(all.into_iter().map(Ok)))
}

/// What an argument may hold. NULL for an optional argument means "omitted".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    Text,
    Integer,
    Number,
    Any,
    /// A JSON object with the keys of [`Arg::keys`].
    Options,
}

pub struct Arg {
    pub name: &'static str,
    pub ty: Type,
    pub optional: bool,
    pub summary: &'static str,
    pub keys: &'static [Key],
}

/// One key of an options object.
pub struct Key {
    pub name: &'static str,
    pub summary: &'static str,
}

pub struct Column {
    pub name: &'static str,
    pub ty: &'static str,
}

const fn arg(name: &'static str, ty: Type, optional: bool, summary: &'static str) -> Arg {
    Arg { name, ty, optional, summary, keys: &[] }
}
/// A required text argument.
pub const fn req(name: &'static str, summary: &'static str) -> Arg {
    arg(name, Type::Text, false, summary)
}
/// An optional text argument.
pub const fn opt(name: &'static str, summary: &'static str) -> Arg {
    arg(name, Type::Text, true, summary)
}
/// An argument of another type than text.
pub const fn typed(name: &'static str, ty: Type, optional: bool, summary: &'static str) -> Arg {
    arg(name, ty, optional, summary)
}
/// The database argument, by the same words everywhere.
pub const fn database() -> Arg {
    opt("db", "schema, registered name, URL or file; default: this database")
}
/// The options object, always the last argument: `options(SyncOptions::KEYS)`.
pub const fn options(keys: &'static [Key]) -> Arg {
    Arg { name: "options", ty: Type::Options, optional: true, summary: "JSON object", keys }
}
pub const fn col(name: &'static str, ty: &'static str) -> Column {
    Column { name, ty }
}

/// What a call may touch. Decides the SQLite flags, so that nobody picks flags by hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Depends on its arguments only.
    Pure,
    /// Reads this connection's databases; may be used in a user's view.
    Reads,
    /// Changes this connection's databases.
    Writes,
    /// Opens other files or talks to a network.
    Outside,
}

impl Access {
    pub const fn word(self) -> &'static str {
        match self {
            Access::Pure => "pure",
            Access::Reads => "reads",
            Access::Writes => "writes",
            Access::Outside => "outside",
        }
    }
}

/// `sync_table(table, target [, options])`; a table without arguments is just its name.
pub fn signature(name: &str, args: &[Arg]) -> String {
    let mut text = format!("{name}(");
    for (i, a) in args.iter().enumerate() {
        text += match (i, a.optional) {
            (0, false) => "",
            (0, true) => "[",
            (_, false) => ", ",
            (_, true) => " [, ",
        };
        text += a.name;
        if a.optional {
            text += "]";
        }
    }
    text + ")"
}
