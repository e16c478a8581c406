//! What a sync must leave behind, worked out row by row without dbint.
use crate::{
    shape::{Collation, Shape, quote},
    values::{Val, moment},
};
use rusqlite::{Connection, params_from_iter};
use std::collections::{BTreeMap, HashMap};

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Of the columns both sides have.
    pub values: Vec<Val>,
    /// Of the columns only this side has.
    pub own: Vec<Val>,
    /// Meets the sync's condition.
    pub inside: bool,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let own = if self.own.is_empty() { String::new() } else { format!(" + {:?}", self.own) };
        write!(f, "\n    {:?}{own}{}", self.values, if self.inside { "" } else { " (outside)" })
    }
}

/// All rows of a table, by plain SQL.
pub fn read(db: &Connection, at: &str, shape: &Shape, own: &[&str], condition: Option<&str>) -> Vec<Row> {
    let columns = shape.names().into_iter().chain(own.iter().map(|c| quote(c))).collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT {columns}, ifnull(({}\n), 0) <> 0 FROM {at}.{}", condition.unwrap_or("1"), quote(shape.table));
    let mut q = db.prepare(&sql).unwrap();
    let width = shape.columns.len();
    let mut all: Vec<Row> = q
        .query_map([], |r| {
            let v = |i: usize| Val::from(r.get_ref(i).unwrap());
            Ok(Row { values: (0..width).map(v).collect(), own: (width..width + own.len()).map(v).collect(), inside: r.get(width + own.len())? })
        })
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    all.sort();
    all
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Name(Vec<Val>);

/// What names a row, so that names SQLite takes for the same are equal; None with NULL in it, or without a key.
pub fn name(shape: &Shape, values: &[Val]) -> Option<Name> {
    if shape.key_columns.is_empty() || shape.key_columns.iter().any(|k| values[*k] == Val::Null) {
        return None;
    }
    Some(Name(shape.key_columns.iter().zip(&shape.collations).map(|(k, c)| folded(&values[*k], *c)).collect()))
}

fn folded(v: &Val, collation: Collation) -> Val {
    match v {
        Val::Real(b) => {
            let v = f64::from_bits(*b);
            let whole = v.trunc() == v && (-9.2e18..9.2e18).contains(&v) || v == -9_223_372_036_854_775_808.0;
            if whole { Val::Int(v as i64) } else { Val::Real(*b) }
        }
        Val::Text(b) => Val::Text(match collation {
            Collation::Binary => b.clone(),
            // SQLite looks no further than the first NUL, and after that at the lengths only.
            Collation::NoCase => b
                .iter()
                .scan(false, |end, c| {
                    Some({
                        *end |= *c == 0;
                        if *end { 0 } else { c.to_ascii_lowercase() }
                    })
                })
                .collect(),
            Collation::RTrim => b[..b.iter().rposition(|c| *c != b' ').map_or(0, |i| i + 1)].to_vec(),
        }),
        other => other.clone(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    Timestamp,
    Source,
    Target,
    Error,
}

/// The options that decide about rows.
#[derive(Clone, Debug)]
pub struct Choice {
    pub full: bool,
    pub policy: Policy,
    pub delete: Option<bool>,
    /// Positions of the columns that travel.
    pub carried: Vec<usize>,
    /// Position of the timestamp, where it travels.
    pub timestamp: Option<usize>,
}

/// What the source's log has that the target has not: the last entry of each key.
#[derive(Clone, Default, Debug)]
pub struct Touched {
    /// By name; whether it was a deletion.
    pub names: BTreeMap<Name, bool>,
    /// Keys with NULL in them, and whole rows where there is no key: as they are.
    pub loose: HashMap<Vec<Val>, bool>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Figures {
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    pub conflicts: u64,
    pub skipped: u64,
    pub left: u64,
    pub unchanged: u64,
}

/// A row of the expected target; a new one has no values in the columns that do not travel.
pub struct Want {
    pub row: Row,
    pub new: bool,
}

pub struct Expected {
    pub rows: Vec<Want>,
    pub figures: Figures,
    /// The policy forbids it.
    pub refused: bool,
    /// Which kinds of conflict there were.
    pub kinds: Vec<&'static str>,
}

/// `now` is when the deletions in `touched` were made.
pub fn expect(shape: &Shape, source: &[Row], target: &[Row], choice: &Choice, touched: Option<&Touched>, by_log: bool, now: i64) -> Expected {
    let carried = |r: &Row| choice.carried.iter().map(|i| r.values[*i].clone()).collect::<Vec<_>>();
    let at = |r: &Row| choice.timestamp.and_then(|i| moment(&r.values[i]));
    let mut e = Expected { rows: vec![], figures: Figures::default(), refused: false, kinds: vec![] };
    let mut kept: Vec<Option<Row>> = target.iter().cloned().map(Some).collect();
    let mut met = vec![false; target.len()];
    let names: HashMap<Name, usize> = target.iter().enumerate().filter_map(|(i, t)| Some((name(shape, &t.values)?, i))).collect();
    let mut loose: HashMap<Vec<Val>, Vec<usize>> = HashMap::new();
    for (i, t) in target.iter().enumerate().filter(|(_, t)| t.inside && name(shape, &t.values).is_none()) {
        loose.entry(carried(t)).or_default().push(i);
    }
    let f = &mut e.figures;
    for s in source.iter().filter(|s| s.inside) {
        let key = name(shape, &s.values);
        if by_log && key.as_ref().is_none_or(|k| touched.is_none_or(|t| !t.names.contains_key(k))) {
            continue;
        }
        let partner = match &key {
            Some(k) => names.get(k).copied(),
            None => loose.get_mut(&carried(s)).and_then(Vec::pop),
        };
        let Some(i) = partner else {
            f.inserted += 1;
            e.rows.push(Want { row: s.clone(), new: true });
            continue;
        };
        met[i] = true;
        let t = &target[i];
        if carried(s) == carried(t) {
            f.unchanged += 1;
            continue;
        }
        let order = choice.timestamp.map(|_| at(s).cmp(&at(t)));
        use std::cmp::Ordering::{Equal, Greater, Less};
        let wins = match (choice.policy, order) {
            (Policy::Target, _) => Some("target wins"),
            (Policy::Timestamp, Some(Less)) => Some("target newer"),
            (Policy::Error, Some(Greater)) => None,
            (Policy::Error, _) => {
                e.refused = true;
                e.kinds.push("refused");
                None
            }
            (Policy::Timestamp, Some(Equal)) => {
                f.conflicts += 1;
                e.kinds.push("same time");
                None
            }
            _ => None,
        };
        if let Some(why) = wins {
            f.conflicts += 1;
            f.skipped += 1;
            e.kinds.push(why);
            continue;
        }
        f.updated += 1;
        if let Some(kept) = &mut kept[i] {
            choice.carried.iter().for_each(|c| kept.values[*c] = s.values[*c].clone());
        }
    }
    for (i, t) in target.iter().enumerate().filter(|(i, t)| t.inside && !met[*i]) {
        let key = name(shape, &t.values);
        let known = touched.and_then(|touched| match &key {
            Some(k) => touched.names.get(k).copied(),
            None => touched.loose.get(&loose_key(shape, &t.values)).copied(),
        });
        if by_log && known.is_none() {
            continue;
        }
        let goes = choice.delete.unwrap_or(choice.full || known.is_some());
        if !goes {
            f.left += 1;
            continue;
        }
        let newer = known == Some(true) && choice.timestamp.is_some() && at(t) > Some(now);
        let stays = match choice.policy {
            _ if choice.full => None,
            Policy::Target => Some("target keeps deleted"),
            Policy::Timestamp if newer => Some("deleted, but changed later"),
            Policy::Error if newer => {
                e.refused = true;
                e.kinds.push("refused deletion");
                None
            }
            _ => None,
        };
        if let Some(why) = stays {
            f.conflicts += 1;
            f.skipped += 1;
            e.kinds.push(why);
            continue;
        }
        f.deleted += 1;
        kept[i] = None;
    }
    e.rows.extend(kept.into_iter().flatten().map(|row| Want { row, new: false }));
    e
}

/// What the log holds of a row that no key names.
pub fn loose_key(shape: &Shape, values: &[Val]) -> Vec<Val> {
    if shape.key_columns.is_empty() { values.to_vec() } else { shape.key_columns.iter().map(|k| values[*k].clone()).collect() }
}

/// The expected rows as the target's table stores them; None where its constraints forbid them.
pub fn stored(shape: &Shape, want: &[Want], choice: &Choice, own: &[&str], parents: &[Val], children: &[Val]) -> Option<(Vec<Row>, i64)> {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(if shape.target_utf16 { "PRAGMA encoding='UTF-16le'; PRAGMA foreign_keys=OFF" } else { "PRAGMA foreign_keys=OFF" }).unwrap();
    db.execute_batch(&shape.create(true, "")).unwrap();
    for (table, values) in [("p", parents), ("c", children)] {
        if if table == "p" { shape.parent } else { shape.child } {
            db.execute(&format!("DELETE FROM {table}"), []).unwrap();
            values.iter().for_each(|v| assert!(db.execute(&format!("INSERT INTO {table} VALUES(?)"), [v]).is_ok()));
        }
    }
    let names = shape.names();
    for w in want {
        let (mut columns, mut values): (Vec<&str>, Vec<&Val>) = (vec![], vec![]);
        for (i, v) in w.row.values.iter().enumerate().filter(|(i, _)| !w.new || choice.carried.contains(i)) {
            columns.push(&names[i]);
            values.push(v);
        }
        for (c, v) in own.iter().zip(&w.row.own).filter(|_| !w.new) {
            columns.push(c);
            values.push(v);
        }
        let marks = vec!["?"; values.len()].join(", ");
        let sql = format!("INSERT OR ABORT INTO {}({}) VALUES({marks})", quote(shape.table), columns.join(", "));
        match db.execute(&sql, params_from_iter(values)) {
            Ok(_) => {}
            Err(rusqlite::Error::SqliteFailure(e, _)) if e.code == rusqlite::ErrorCode::ConstraintViolation => return None,
            Err(e) => panic!("{sql}: {e}"),
        }
    }
    let orphans = orphans(&db);
    Some((read(&db, "main", shape, own, None), orphans))
}

/// Rows without a parent.
pub fn orphans(db: &Connection) -> i64 {
    db.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |r| r.get(0)).unwrap()
}
