//! Random edits of one side, by plain SQL.
use crate::{
    model::{Row, read},
    shape::{SOURCE_EXTRA, Shape, TARGET_EXTRA, quote},
    values::{Pool, Random, Val},
};
use rusqlite::{Connection, ErrorCode, params_from_iter};

/// One side, as its own user sees it.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    pub db: &'a Connection,
    /// The schema.
    pub at: &'a str,
    pub target: bool,
}

impl Side<'_> {
    pub fn own(self, shape: &Shape) -> &'static [&'static str] {
        match self.target {
            true if shape.target_extra => &[TARGET_EXTRA],
            false if shape.source_extra => &[SOURCE_EXTRA],
            _ => &[],
        }
    }

    pub fn rows(self, shape: &Shape, condition: Option<&str>) -> Vec<Row> {
        read(self.db, self.at, shape, self.own(shape), condition)
    }

    fn table(self, shape: &Shape) -> String {
        format!("{}.{}", self.at, quote(shape.table))
    }

    /// False where a constraint refused it.
    fn run(self, sql: &str, values: &[Val]) -> bool {
        match self.db.execute(sql, params_from_iter(values)) {
            Ok(_) => true,
            Err(rusqlite::Error::SqliteFailure(e, _))
                // AUTOINCREMENT has no number left after the largest one.
                if matches!(e.code, ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::DiskFull) => false,
            Err(e) => panic!("{sql}: {e}"),
        }
    }
}

/// A condition that one row meets, with its values.
type Spot = (String, Vec<Val>);

fn spot(r: &mut Random, side: Side<'_>, shape: &Shape) -> Option<Spot> {
    let t = side.table(shape);
    let n: i64 = side.db.query_row(&format!("SELECT count(*) FROM {t}"), [], |r| r.get(0)).unwrap();
    if n == 0 {
        return None;
    }
    let at = r.below(n as usize);
    if if side.target { shape.target_without_rowid } else { shape.source_without_rowid } {
        let names: Vec<String> = shape.key_columns.iter().map(|k| quote(shape.columns[*k].name)).collect();
        let sql = format!("SELECT {} FROM {t} LIMIT 1 OFFSET {at}", names.join(", "));
        let values = side.db.query_row(&sql, [], |r| (0..names.len()).map(|i| r.get_ref(i).map(Val::from)).collect()).unwrap();
        return Some((names.iter().map(|n| format!("{n} IS ?")).collect::<Vec<_>>().join(" AND "), values));
    }
    let rowid: i64 = side.db.query_row(&format!("SELECT rowid FROM {t} LIMIT 1 OFFSET {at}"), [], |r| r.get(0)).unwrap();
    Some(("rowid = ?".into(), vec![Val::Int(rowid)]))
}

fn random_row(r: &mut Random, shape: &Shape, wild: bool) -> Vec<Val> {
    shape.columns.iter().map(|c| if r.once_in(12) { Val::Null } else { c.pool.value(r, wild) }).collect()
}

fn insert(side: Side<'_>, shape: &Shape, word: &str, values: &[Val]) -> bool {
    let marks = vec!["?"; values.len()].join(", ");
    side.run(&format!("INSERT {word} INTO {}({}) VALUES({marks})", side.table(shape), shape.names().join(", ")), values)
}

fn set(r: &mut Random, side: Side<'_>, shape: &Shape, column: usize, wild: bool) -> bool {
    let Some((place, at)) = spot(r, side, shape) else { return false };
    let c = &shape.columns[column];
    let word = if r.once_in(6) { "OR REPLACE" } else { "" };
    let values: Vec<Val> = [c.pool.value(r, wild)].into_iter().chain(at).collect();
    side.run(&format!("UPDATE {word} {} SET {} = ? WHERE {place}", side.table(shape), quote(c.name)), &values)
}

/// Rows pass their unique values round.
fn rotate(r: &mut Random, side: Side<'_>, shape: &Shape, n: usize) -> bool {
    let Some(u) = shape.unique else { return false };
    let (t, name) = (side.table(shape), quote(shape.columns[u].name));
    let mut rows: Vec<(Spot, Val)> = vec![];
    for _ in 0..12 {
        let Some((place, at)) = spot(r, side, shape) else { return false };
        let v = side.db.query_row(&format!("SELECT {name} FROM {t} WHERE {place}"), params_from_iter(&at), |r| r.get_ref(0).map(Val::from)).unwrap();
        if v != Val::Null && rows.iter().all(|(_, other)| *other != v) && rows.len() < n {
            rows.push(((place, at), v));
        }
    }
    if rows.len() < n {
        return false;
    }
    for ((place, at), _) in &rows {
        side.run(&format!("UPDATE {t} SET {name} = NULL WHERE {place}"), at);
    }
    for (i, ((place, at), _)) in rows.iter().enumerate() {
        let next = rows[(i + 1) % n].1.clone();
        side.run(&format!("UPDATE {t} SET {name} = ? WHERE {place}"), &[next].into_iter().chain(at.iter().cloned()).collect::<Vec<_>>());
    }
    true
}

/// One edit; gives what it was, or nothing where it changed nothing.
pub fn edit(r: &mut Random, side: Side<'_>, other: Side<'_>, shape: &Shape, wild: bool) -> Option<&'static str> {
    let t = side.table(shape);
    let key = |r: &mut Random| r.below(shape.key_columns.len().max(1));
    let any = |r: &mut Random| r.below(shape.columns.len());
    let (what, done) = match r.below(32) {
        0..=8 => ("insert", insert(side, shape, "", &random_row(r, shape, wild))),
        9..=11 => ("replace", insert(side, shape, "OR REPLACE", &random_row(r, shape, wild))),
        12..=17 => {
            let column = any(r);
            ("update", set(r, side, shape, column, wild))
        }
        18 | 19 if !shape.key_columns.is_empty() => {
            let column = key(r);
            ("key", set(r, side, shape, column, wild))
        }
        20..=23 => ("delete", spot(r, side, shape).is_some_and(|(place, at)| side.run(&format!("DELETE FROM {t} WHERE {place}"), &at))),
        24 => ("swap", rotate(r, side, shape, 2)),
        25 => ("cycle", rotate(r, side, shape, 3)),
        26 if r.once_in(4) => ("delete all", side.run(&format!("DELETE FROM {t}"), &[])),
        27 => {
            // An update that changes nothing: a log has it all the same.
            let (column, place) = (quote(shape.columns[any(r)].name), spot(r, side, shape));
            ("same", place.is_some_and(|(place, at)| side.run(&format!("UPDATE {t} SET {column} = {column} WHERE {place}"), &at)))
        }
        28 if r.once_in(2) && side.at == "main" && side.db.is_autocommit() => ("vacuum", side.db.execute_batch("VACUUM").is_ok()),
        29 => {
            // A row of the other side, as it is there.
            let rows = other.rows(shape, None);
            ("copy", !rows.is_empty() && insert(side, shape, "OR REPLACE", &rows[r.below(rows.len())].values))
        }
        _ => match shape.timestamp {
            Some(i) => ("touch", set(r, side, shape, i, wild)),
            None => ("insert", insert(side, shape, "", &random_row(r, shape, wild))),
        },
    };
    done.then_some(what)
}

/// Makes `side` hold exactly the other side's rows, at rowids of its own.
pub fn copy_all(side: Side<'_>, other: Side<'_>, shape: &Shape) {
    side.run(&format!("DELETE FROM {}", side.table(shape)), &[]);
    for row in other.rows(shape, None) {
        insert(side, shape, "OR REPLACE", &row.values);
    }
}

/// A row that has a value few other rows can have: keys spread out.
pub fn fill(r: &mut Random, side: Side<'_>, shape: &Shape, rows: usize, wild: bool) {
    for n in 0..rows {
        let mut values = random_row(r, shape, wild);
        if let [k, ..] = shape.key_columns[..]
            && shape.columns[k].pool == Pool::Int
        {
            values[k] = Val::Int(n as i64 * 3);
        }
        insert(side, shape, "OR IGNORE", &values);
    }
}
