//! Rows of both sides by their spot, and whether two rows or two keys are the same.
use super::{
    ahead::{Ahead, BATCH},
    delta::Spot,
    shape::{Collation, Shape},
};
use crate::{
    db::{
        ident::{list, qualified},
        pages::Snapshot,
        record,
    },
    error::Result,
    kit::{Field, Stmt},
};
use rusqlite::Connection;
use std::cmp::Ordering;

/// Finds rows of one side. Columns of the statement are those of the shape, in its order.
pub struct Finder<'c> {
    by_spot: Stmt<'c>,
    /// Gives the spot of the row with a key; None where a whole row is its own name.
    by_key: Option<Stmt<'c>>,
    width: usize,
    sql: String,
    ahead: Option<Ahead>,
    /// What another thread may read ahead, as soon as that is worth one.
    snapshot: Option<&'c Snapshot>,
}

impl<'c> Finder<'c> {
    pub fn source(db: &'c Connection, schema: &str, shape: &Shape) -> Result<Finder<'c>> {
        let columns = list(shape.source_columns.iter().map(String::as_str));
        Finder::of(db, &qualified(schema, &shape.source.name), shape.rowids.map(|r| r.0), &columns, &shape.source_key_names(), shape, shape.columns.len())
    }

    /// Also gives the target's own columns, after the shape's.
    pub fn target(db: &'c Connection, schema: &str, shape: &Shape) -> Result<Finder<'c>> {
        let width = shape.columns.len() + shape.target_only.len();
        Finder::of(db, &qualified(schema, &shape.target.name), shape.rowids.map(|r| r.1), &list(shape.image_columns()), &shape.key_names(), shape, width)
    }

    fn of(db: &'c Connection, table: &str, rowid: Option<&str>, columns: &str, key: &[&str], shape: &Shape, width: usize) -> Result<Finder<'c>> {
        let by_key = shape.by_key(key.iter().copied(), 1);
        let place = rowid.map_or_else(|| by_key.clone(), |r| format!("{r} = ?1"));
        let spot = rowid.map_or_else(|| list(key.iter().copied()), str::to_owned);
        let sql = format!("SELECT {columns} FROM {table} WHERE {place}");
        Ok(Finder {
            by_spot: Stmt::prepare(db, &sql)?,
            by_key: if key.is_empty() { None } else { Some(Stmt::prepare(db, &format!("SELECT {spot} FROM {table} WHERE {by_key}"))?) },
            width,
            sql,
            ahead: None,
            snapshot: None,
        })
    }

    /// Rows that are announced may be read ahead from `snapshot`, which this one reads.
    pub fn read_ahead(&mut self, snapshot: &'c Snapshot) {
        self.snapshot = Some(snapshot);
    }

    /// The rows sought next, in this order.
    pub fn announce(&mut self, spots: Vec<Spot>) {
        if spots.len() == BATCH
            && let Some(snapshot) = self.snapshot.take()
        {
            self.ahead = Ahead::begin(snapshot, self.sql.clone(), self.width);
        }
        if let Some(ahead) = &mut self.ahead {
            ahead.announce(spots);
        }
    }

    /// Stands on the row; false where it is not there.
    pub fn seek(&mut self, spot: &Spot) -> Result<bool> {
        self.by_spot.reset();
        if self.ahead.as_mut().is_some_and(|a| a.seek(spot)) {
            return Ok(true);
        }
        bind_spot(&mut self.by_spot, spot)?;
        self.by_spot.step()
    }

    /// The row last sought.
    #[inline]
    pub fn field(&self, i: usize) -> Field<'_> {
        self.ahead.as_ref().and_then(|a| a.field(i)).unwrap_or_else(|| self.by_spot.field(i))
    }

    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        (0..self.width).map(|i| self.field(i))
    }

    pub fn image(&self) -> Vec<u8> {
        record::encode(self.fields())
    }

    pub fn release(&mut self) {
        self.by_spot.reset();
    }

    /// Where the row with this key is.
    pub fn spot_of(&mut self, key: &[Field<'_>], by_rowid: bool) -> Result<Option<Spot>> {
        let Some(q) = &mut self.by_key else { return Ok(None) };
        q.reset();
        for (i, v) in key.iter().enumerate() {
            q.bind(i + 1, *v)?;
        }
        if !q.step()? {
            return Ok(None);
        }
        let spot = if by_rowid { Spot::Rowid(q.int(0)) } else { Spot::Key(record::encode((0..key.len()).map(|i| q.field(i)))) };
        q.reset();
        Ok(Some(spot))
    }
}

/// Binds what finds the row, from the first parameter on.
pub fn bind_spot(q: &mut Stmt<'_>, spot: &Spot) -> Result<()> {
    (1..).zip(spot.parts()?).try_for_each(|(i, v)| q.bind(i, v))
}

/// The key of a row, borrowed; None where a part of it is NULL, or where there is no key: the whole row is its name then.
pub fn key<'r>(shape: &Shape, field: impl Fn(usize) -> Field<'r>) -> Option<Vec<Field<'r>>> {
    if shape.key.is_empty() {
        return None;
    }
    shape.key.iter().map(|k| Some(field(*k)).filter(|f| !matches!(f, Field::Null))).collect()
}

pub fn same_key(shape: &Shape, a: &[Field<'_>], b: &[Field<'_>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).zip(&shape.collations).all(|((a, b), c)| compare(*a, *b, *c) == Ordering::Equal)
}

/// SQLite's order of values: NULL, numbers, text, blobs.
pub fn compare(a: Field<'_>, b: Field<'_>, collation: Collation) -> Ordering {
    use Field::{Blob, Int, Null, Real, Text};
    let class = |f: &Field<'_>| match f {
        Null => 0,
        Int(_) | Real(_) => 1,
        Text(_) => 2,
        Blob(_) => 3,
    };
    match (a, b) {
        (Int(a), Int(b)) => a.cmp(&b),
        (Real(a), Real(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        (Int(a), Real(b)) => int_real(a, b),
        (Real(a), Int(b)) => int_real(b, a).reverse(),
        (Text(a), Text(b)) => text(a, b, collation),
        (Blob(a), Blob(b)) => a.cmp(b),
        _ => class(&a).cmp(&class(&b)),
    }
}

/// Exact: not every integer is a double.
fn int_real(a: i64, b: f64) -> Ordering {
    if b >= 9_223_372_036_854_775_808.0 {
        return Ordering::Less;
    }
    if b < -9_223_372_036_854_775_808.0 {
        return Ordering::Greater;
    }
    let whole = b.trunc();
    a.cmp(&(whole as i64)).then_with(|| 0.0_f64.partial_cmp(&(b - whole)).unwrap_or(Ordering::Equal))
}

fn text(a: &[u8], b: &[u8], collation: Collation) -> Ordering {
    match collation {
        Collation::NoCase => no_case(a).cmp(no_case(b)).then(a.len().cmp(&b.len())),
        Collation::RTrim => a.trim_ascii_end_spaces().cmp(b.trim_ascii_end_spaces()),
        Collation::Binary | Collation::Other => a.cmp(b),
    }
}

/// What NOCASE compares before the lengths: it looks no further than the first NUL.
fn no_case(b: &[u8]) -> impl Iterator<Item = u8> {
    b.iter().take_while(|c| **c != 0).map(u8::to_ascii_lowercase)
}

trait Trim {
    fn trim_ascii_end_spaces(&self) -> &[u8];
}
impl Trim for [u8] {
    /// RTRIM looks away from blanks only, not from tabs.
    fn trim_ascii_end_spaces(&self) -> &[u8] {
        let mut rest = self;
        while let [head @ .., b' '] = rest {
            rest = head;
        }
        rest
    }
}

/// Hashes of rows and keys, salted anew for each sync: nobody can prepare rows that collide.
#[derive(Clone, Copy)]
pub struct Hasher {
    salt: u64,
}

impl Hasher {
    pub fn new() -> Hasher {
        use std::hash::{BuildHasher, RandomState};
        Hasher { salt: RandomState::new().hash_one(0_u8) }
    }

    /// Lasts: for hashes that are stored.
    pub const fn fixed() -> Hasher {
        Hasher { salt: 0 }
    }

    /// By type and bits.
    pub fn row<'f>(self, fields: impl IntoIterator<Item = Field<'f>>) -> u64 {
        fields.into_iter().fold(self.salt, |h, f| {
            let (kind, v) = match f {
                Field::Null => (1, 0),
                Field::Int(v) => (2, v as u64),
                Field::Real(v) => (3, v.to_bits()),
                Field::Text(b) => (4, self.bytes(b)),
                Field::Blob(b) => (5, self.bytes(b)),
            };
            mix(h, kind, v)
        })
    }

    /// Keys that SQLite takes for the same have the same hash.
    pub fn key(self, fields: &[Field<'_>], collations: &[Collation]) -> u64 {
        fields.iter().zip(collations).fold(self.salt.rotate_left(17), |h, (f, c)| {
            let (kind, v) = match (f, c) {
                (Field::Null, _) => (1, 0),
                (Field::Int(v), _) => (2, *v as u64),
                (Field::Real(v), _) if v.fract() == 0.0 && int_real(*v as i64, *v) == Ordering::Equal => (2, (*v as i64) as u64),
                (Field::Real(v), _) => (3, v.to_bits()),
                (Field::Text(b), Collation::NoCase) => {
                    let seen: Vec<u8> = no_case(b).collect();
                    (4, mix(self.bytes(&seen), 4, b.len() as u64))
                }
                (Field::Text(b), Collation::RTrim) => (4, self.bytes(b.trim_ascii_end_spaces())),
                (Field::Text(b), _) => (4, self.bytes(b)),
                (Field::Blob(b), _) => (5, self.bytes(b)),
            };
            mix(h, kind, v)
        })
    }

    pub fn bytes(self, b: &[u8]) -> u64 {
        xxhash_rust::xxh3::xxh3_64_with_seed(b, self.salt)
    }
}

/// A step that every input bit spreads through.
fn mix(h: u64, kind: u64, v: u64) -> u64 {
    let mut x = (h ^ kind.wrapping_mul(0x9e37_79b9_7f4a_7c15)).rotate_left(29) ^ v;
    x = (x ^ (x >> 32)).wrapping_mul(0x0e98_46af_9b1a_615d);
    x = (x ^ (x >> 32)).wrapping_mul(0x0e98_46af_9b1a_615d);
    x ^ (x >> 28)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Field::{Blob, Int, Null, Real, Text};

    #[test]
    fn orders_as_sqlite_does() {
        let db = Connection::open_in_memory().unwrap();
        let all = [
            Null,
            Int(i64::MIN),
            Int(-1),
            Real(-0.5),
            Int(0),
            Real(-0.0),
            Int(1),
            Real(1.0),
            Real(1.5),
            Int(9_007_199_254_740_993),
            Real(9_007_199_254_740_992.0),
            Int(i64::MAX),
            Real(9.3e18),
            Real(-1e19),
            Text(b""),
            Text(b"A"),
            Text(b"a "),
            Text(b"a"),
            Text(b"b\0"),
            Text(b"b\0x"),
            Text(b"B\0Y"),
            Text(b"b\0xy"),
            Text(b"bx"),
            Blob(b""),
            Blob(b"a"),
        ];
        for (word, collation) in [("BINARY", Collation::Binary), ("NOCASE", Collation::NoCase), ("RTRIM", Collation::RTrim)] {
            let mut q =
                Stmt::prepare(&db, &format!("SELECT CASE WHEN ?1 IS ?2 COLLATE {word} THEN 0 WHEN ?1 IS NULL OR ?1 < ?2 COLLATE {word} THEN -1 ELSE 1 END"))
                    .unwrap();
            for a in all {
                for b in all {
                    q.reset();
                    q.bind(1, a).unwrap();
                    q.bind(2, b).unwrap();
                    assert!(q.step().unwrap());
                    let want = q.int(0).cmp(&0);
                    assert_eq!(compare(a, b, collation), want, "{a:?} {b:?} {word}");
                    let h = Hasher::new();
                    if want == Ordering::Equal {
                        assert_eq!(h.key(&[a], &[collation]), h.key(&[b], &[collation]), "{a:?} {b:?}");
                    }
                    assert_eq!(h.row([a]) == h.row([b]), a == b);
                }
            }
        }
    }
}
