//! The triggers that write a change log: built-in SQL only, so that every program that can write the table keeps its log.
//!
//! What SQLite itself reports to AFTER triggers is logged by three of them. What it does not report, with recursive
//! triggers off, is a row that REPLACE pushes out through another unique index (or through the rowid): such a row is looked
//! up BEFORE the insert or update, by the index that would collide. A look-up may log a row that then stays (OR IGNORE,
//! DO NOTHING): the log says "look at this key", never "this changed".
use crate::{
    db::{
        ident::{qualified, quote, same},
        lex,
        schema::{self, Generated, Index, Table},
    },
    error::Result,
};
use rusqlite::Connection;

/// A deletion keeps its time, for the question which side is newer; so does what may turn out to be one: a key that was
/// left, a row that was in the way. Where a row with that key is there after all, the time says nothing.
const NOW: &str = "strftime('%Y-%m-%d %H:%M:%f', 'now')";
/// Names by which an UPDATE can reach the rowid; SQLite compares them with `UPDATE OF` as they are written.
const ROWID: [&str; 3] = ["rowid", "_rowid_", "oid"];

pub struct Trigger {
    pub name: String,
    pub sql: String,
}

/// A way in which two rows cannot both be: a unique index, or the rowid.
struct Unique {
    /// Rows of the table that collide with NEW.
    collides: String,
    /// Columns whose change can make a collision; None where that cannot be told by name.
    columns: Option<Vec<String>>,
    /// Tells that NEW cannot collide, by a look at the row alone.
    unless: Option<String>,
}

/// Before an INSERT that leaves the rowid to SQLite, NEW's rowid reads as -1: it tells nothing about the key then.
fn unset(row: &str, alias: Option<&str>) -> String {
    alias.filter(|_| row == "NEW.").map_or(String::new(), |c| format!(" OR NEW.{} = -1", quote(c)))
}

pub fn name_prefix(table: &str) -> String {
    format!("dbint_track_{table}_")
}

/// All triggers of `table`, logging `key` columns into `log`.
pub fn all(db: &Connection, table: &Table, key: &[String], log: &str) -> Result<Vec<Trigger>> {
    let on = quote(&table.name);
    let ks = (1..=key.len()).map(|i| format!("k{i}")).collect::<Vec<_>>().join(", ");
    let of = |row: &str| key.iter().map(|c| format!("{row}.{}", quote(c))).collect::<Vec<_>>().join(", ");
    let alone = table.rowid_alias(db)?.is_some_and(|a| key.iter().all(|k| same(k, &a.name)));
    let differ = |a: &str, b: &str, c: &String| {
        let (a, b) = (format!("{a}{}", quote(c)), format!("{b}{}", quote(c)));
        if alone {
            return format!("{a} IS NOT {b}");
        }
        // Where nothing but its content names a row, 'a' and 'A', 1 and 1.0, 0.0 and -0.0 are two rows; the last pair SQL cannot tell apart.
        format!("{a} IS NOT {b} COLLATE BINARY OR typeof({a}) <> typeof({b}) OR typeof({a}) = 'real' AND {a} = 0")
    };
    let differs = |a: &str, b: &str| key.iter().map(|c| differ(a, b, c)).collect::<Vec<_>>().join(" OR ");
    let log = quote(log);
    let alias = table.rowid_alias(db)?.map(|c| c.name.as_str()).filter(|a| key.iter().any(|k| same(k, a)));
    let mut made = vec![];
    let mut make = |what: String, event: String, body: String| {
        let name = format!("{}{what}", name_prefix(&table.name));
        let sql = format!("CREATE TRIGGER {} {event} BEGIN {body}; END", qualified(&table.schema, &name));
        made.push(Trigger { name, sql });
    };
    make("insert".into(), format!("AFTER INSERT ON {on}"), format!("INSERT INTO {log}({ks}) VALUES({})", of("NEW")));
    make("update".into(), format!("AFTER UPDATE ON {on}"), format!("INSERT INTO {log}({ks}) VALUES({})", of("NEW")));
    make("key".into(), format!("AFTER UPDATE OF {} ON {on} WHEN {}", touched(table, key), differs("OLD.", "NEW.")), {
        format!("INSERT INTO {log}({ks}, deleted_at) VALUES({}, {NOW})", of("OLD"))
    });
    make("delete".into(), format!("AFTER DELETE ON {on}"), format!("INSERT INTO {log}({ks}, deleted_at) VALUES({}, {NOW})", of("OLD")));
    for (i, u) in uniques(db, table, key)?.iter().enumerate() {
        let find = |row: &str| {
            let other = differs(&format!("{on}."), row) + &unset(row, alias);
            format!("INSERT INTO {log}({ks}, deleted_at) SELECT {}, {NOW} FROM {on} WHERE {} AND ({other})", of(&on), u.collides)
        };
        let unless = u.unless.as_ref().map_or(String::new(), |c| format!(" WHEN {c}"));
        make(format!("replace_{i}"), format!("BEFORE INSERT ON {on}{unless}"), find("NEW."));
        let of = u.columns.as_ref().map_or(String::new(), |c| format!(" OF {}", touched(table, c)));
        make(format!("displace_{i}"), format!("BEFORE UPDATE{of} ON {on}"), find("OLD."));
    }
    Ok(made)
}

/// `columns` for UPDATE OF; the rowid can be set by other names than its column's.
fn touched(table: &Table, columns: &[String]) -> String {
    let mut all: Vec<&str> = columns.iter().map(String::as_str).collect();
    if !table.without_rowid {
        all.extend(ROWID.iter().filter(|n| !columns.iter().any(|c| same(c, n))));
    }
    all.into_iter().map(quote).collect::<Vec<_>>().join(", ")
}

/// Every way in which REPLACE can push out a row whose key is not NEW's.
fn uniques(db: &Connection, table: &Table, key: &[String]) -> Result<Vec<Unique>> {
    let mut all = vec![];
    let pk: Vec<&str> = table.primary_key().iter().map(|c| c.name.as_str()).collect();
    let by_key = pk.len() == key.len() && pk.iter().all(|c| key.iter().any(|k| same(k, c)));
    for index in schema::indexes(db, &table.schema, &table.name)? {
        // The primary key's own index pushes out the row that has NEW's key: it is logged already.
        if index.unique && !(index.origin == "pk" && by_key) {
            all.push(of_index(table, &index));
        }
    }
    let alias = table.rowid_alias(db)?;
    if let Some(rowid) = alias.map_or(table.rowid_name(), |c| Some(c.name.as_str()))
        && !(alias.is_some() && by_key)
    {
        let rowid = quote(rowid);
        let on = quote(&table.name);
        all.push(Unique {
            collides: format!("{on}.{rowid} = NEW.{rowid}"),
            columns: Some(alias.iter().map(|c| c.name.clone()).collect()),
            // Before an INSERT without a rowid it reads as -1; a row of that number is possible.
            unless: Some(format!("NEW.{rowid} <> -1 OR EXISTS(SELECT 1 FROM {on} WHERE {rowid} = -1)")),
        });
    }
    Ok(all)
}

fn of_index(table: &Table, index: &Index) -> Unique {
    let on = quote(&table.name);
    let (terms, condition) = index.sql.as_deref().map(lex::index).unwrap_or_default();
    let mut collides = vec![];
    let mut columns: Vec<String> = index.columns.iter().flatten().cloned().collect();
    for (i, column) in index.columns.iter().enumerate() {
        let collation = index.collations.get(i).map_or("BINARY", String::as_str);
        match column {
            Some(c) => collides.push(format!("{on}.{} = {} COLLATE {}", quote(c), new_value(table, c), quote(collation))),
            None => {
                // The expression on NEW's values, which go by the table's own names there.
                let term = terms.get(i).copied().unwrap_or("NULL");
                let values = table.columns.iter().map(|c| format!("{} AS {}", new_value(table, &c.name), quote(&c.name))).collect::<Vec<_>>().join(", ");
                collides.push(format!("({term}) = (SELECT {term} FROM (SELECT {values}) AS {on})"));
                columns.extend(named(table, term));
            }
        }
    }
    // On the table's side only: a row that NEW cannot push out is logged at worst.
    collides.extend(condition.map(|c| format!("({c})")));
    // A change of a column in the condition can bring a row into the index.
    columns.extend(condition.into_iter().flat_map(|c| named(table, c)));
    let plain = |c: &String| table.column(c).is_some_and(|c| c.generated == Generated::No);
    let columns = columns.iter().all(plain).then_some(columns);
    Unique { collides: collides.join(" AND "), columns, unless: None }
}

/// The columns whose names occur in an expression: at least those it reads.
fn named(table: &Table, expression: &str) -> Vec<String> {
    lex::tokens(expression).iter().filter_map(lex::Token::name).filter_map(|n| table.column(&n)).map(|c| c.name.clone()).collect()
}

/// What the column of the new row will hold: REPLACE puts the default in place of a NULL that is not allowed.
fn new_value(table: &Table, column: &str) -> String {
    let new = format!("NEW.{}", quote(column));
    match table.column(column) {
        Some(c) if c.not_null && c.generated == Generated::No => match &c.default {
            Some(default) => format!("ifnull({new}, ({default}))"),
            None => new,
        },
        _ => new,
    }
}
