//! Random values, and values as SQLite stores them: by type and bytes.
use rusqlite::{
    ToSql,
    types::{ToSqlOutput, ValueRef},
};

pub struct Random(u64);

impl Random {
    /// Neighbouring seeds give unlike sequences.
    pub fn new(seed: u64, n: u64) -> Random {
        let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n.wrapping_add(1).wrapping_mul(0xd1b5_4a32_d192_ed03);
        x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Random((x ^ (x >> 29)) | 1)
    }
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Val {
    Null,
    Int(i64),
    /// By its bits.
    Real(u64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}
use Val::{Blob, Int, Null, Real, Text};

impl std::fmt::Debug for Val {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Null => f.write_str("NULL"),
            Int(v) => write!(f, "{v}"),
            Real(v) => write!(f, "{:?}", f64::from_bits(*v)),
            Text(b) if b.len() > 24 => write!(f, "text of {}", b.len()),
            Blob(b) if b.len() > 24 => write!(f, "blob {} of {}", b[0], b.len()),
            Text(b) => write!(f, "'{}'", b.escape_ascii()),
            Blob(b) => write!(f, "x'{}'", b.escape_ascii()),
        }
    }
}

impl From<ValueRef<'_>> for Val {
    fn from(v: ValueRef<'_>) -> Val {
        match v {
            ValueRef::Null => Null,
            ValueRef::Integer(v) => Int(v),
            ValueRef::Real(v) => Real(v.to_bits()),
            ValueRef::Text(b) => Text(b.to_vec()),
            ValueRef::Blob(b) => Blob(b.to_vec()),
        }
    }
}

impl ToSql for Val {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Null => ValueRef::Null,
            Int(v) => ValueRef::Integer(*v),
            Real(v) => ValueRef::Real(f64::from_bits(*v)),
            Text(b) => ValueRef::Text(b),
            Blob(b) => ValueRef::Blob(b),
        }))
    }
}

pub fn text(s: &str) -> Val {
    Text(s.as_bytes().to_vec())
}
fn real(v: f64) -> Val {
    Real(v.to_bits())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pool {
    Any,
    Int,
    Text,
    Blob,
    /// Few values, so that rows meet in them.
    Few,
    Stamp,
}

impl Pool {
    /// `wild` also gives text that is not UTF-8.
    pub fn value(self, r: &mut Random, wild: bool) -> Val {
        match self {
            Pool::Int => match r.below(12) {
                0 => Int(r.pick(&[i64::MIN, i64::MAX, -1, 0, 9_007_199_254_740_993, i64::MAX - 1, -9_007_199_254_740_993])),
                _ => Int(r.below(16) as i64),
            },
            Pool::Few => match r.below(8) {
                0 => Null,
                _ => Int(r.below(12) as i64),
            },
            Pool::Text => match r.below(14) {
                0 => r.pick(&["", "a\0b", "a\0c", "a ", "A  ", "é", "É", "📦", "1", "1.0", "a\tb", "\u{feff}x"]).into(),
                1 if wild => Text(r.pick::<&[u8]>(&[b"\xfe", b"a\xff\0\xff", b"\xed\xa0\x80", b"\xc3"]).to_vec()),
                2 => text(&"long ".repeat(r.below(400))),
                _ => r.pick(&["a", "A", "b", "B", "c", "C", "d", "e", "f", "g"]).into(),
            },
            Pool::Blob => match r.below(6) {
                0 => Blob(vec![]),
                1 => Blob(vec![r.below(3) as u8; r.below(3000)]),
                _ => Blob(vec![0, r.below(8) as u8]),
            },
            Pool::Stamp => {
                let all = stamps();
                all[r.below(all.len())].0.clone()
            }
            Pool::Any => match r.below(12) {
                0 | 1 => Null,
                2 | 3 => Pool::Int.value(r, wild),
                4 | 5 => real(r.pick(&[
                    0.0,
                    -0.0,
                    1.0,
                    0.1 + 0.2,
                    0.3,
                    f64::INFINITY,
                    f64::NEG_INFINITY,
                    5e-324,
                    f64::MAX,
                    9_007_199_254_740_992.0,
                    9.3e18,
                    -9_223_372_036_854_775_808.0,
                    f64::NAN,
                    2.5,
                ])),
                6 => Blob(b"1".to_vec()),
                7 => Pool::Blob.value(r, wild),
                _ => Pool::Text.value(r, wild),
            },
        }
    }
}

impl From<&str> for Val {
    fn from(s: &str) -> Val {
        text(s)
    }
}

const NOON: i64 = 1_772_366_400;
/// Years after the test runs.
const LATE: i64 = 4_102_444_800;

/// Values of a timestamp column with the moment they mean, in microseconds; the same moment in several forms.
pub fn stamps() -> Vec<(Val, Option<i64>)> {
    let mut all: Vec<(Val, Option<i64>)> = vec![(Null, None), (text("soon"), None), (Blob(vec![1]), None)];
    for (day, s) in [("2026-03-01", NOON), ("2026-03-02", NOON + 86_400), ("2100-01-01", LATE + 43_200)] {
        let at = Some(s * 1_000_000);
        for form in ["T12:00:00Z", " 12:00:00", " 14:00:00+02:00", " 12:00"] {
            all.push((text(&format!("{day}{form}")), at));
        }
        all.extend([(Int(s), at), (Int(s * 1000), at), (real(s as f64), at)]);
        all.push((text(&format!("{day} 12:00:00.5")), Some(s * 1_000_000 + 500_000)));
    }
    all
}

/// The moment a stored value means; a column may have changed its type on the way.
pub fn moment(v: &Val) -> Option<i64> {
    let number = |v: &Val| match v {
        Int(i) => Some(*i as f64),
        Real(b) => Some(f64::from_bits(*b)),
        Text(t) => std::str::from_utf8(t).ok().and_then(|t| t.parse::<f64>().ok()),
        _ => None,
    };
    let all = stamps();
    if let Some((_, at)) = all.iter().find(|(s, _)| s == v) {
        return *at;
    }
    let n = number(v)?;
    all.iter().find(|(s, _)| number(s) == Some(n)).unwrap_or_else(|| panic!("no known moment: {v:?}")).1
}
