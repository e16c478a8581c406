//! Two tables whose rowids do not line up: the target's rows by the hash of their key, the source's looked up among them.
//!
//! Memory is bounded: a larger table is gone through several times, each time for a share of the hashes.
use super::{Compare, partner};
use crate::{
    db::ident::qualified,
    error::Result,
    kit::{Field, Stmt},
    sync::rows::{self, Hasher},
};

/// Target rows kept at a time: 24 bytes each.
const SHARE: u64 = 1_000_000;

struct Entry {
    key: u64,
    row: u64,
    rowid: i64,
}

/// Fills the delta; gives the number of equal rows.
pub fn join(c: &mut Compare<'_>) -> Result<u64> {
    let count = format!("SELECT count(*) FROM {}", qualified(c.target_schema, &c.shape.target.name));
    let rows: i64 = c.target.query_row(&count, [], |r| r.get(0))?;
    let shares = rows as u64 / SHARE + 1;
    let hasher = Hasher::new();
    let mut equal = 0;
    for share in 0..shares {
        equal += join_share(c, hasher, share, shares)?;
    }
    // With a condition, a row may have its partner outside of it; of rows without a key, all that are alike have met.
    if c.shape.condition.is_some() && !c.shape.is_multiset() {
        equal += partner::find(c)?;
    }
    Ok(equal)
}

fn join_share(c: &mut Compare<'_>, hasher: Hasher, share: u64, shares: u64) -> Result<u64> {
    let s = c.shape;
    let width = s.columns.len();
    let mut add = c.delta.adder()?;
    // A row without a key is its own key. The two kinds never meet: the salt of the second is the complement.
    let hashes = |q: &Stmt<'_>| {
        let row = hasher.row((1..=width).map(|i| q.field(i)));
        let key = rows::key(s, |i| q.field(i + 1)).map_or(!row, |k| hasher.key(&k, &s.collations));
        (key, row)
    };
    let mut all: Vec<Entry> = vec![];
    let mut b = Stmt::prepare(c.target, &format!("{}{}", s.select_target(c.target_schema), s.filter()))?;
    while b.step()? {
        (c.tick)()?;
        let (key, row) = hashes(&b);
        if key % shares == share {
            all.push(Entry { key, row, rowid: b.int(0) });
        }
    }
    drop(b);
    all.sort_unstable_by_key(|e| e.key);
    // Where the hashes with each leading bits begin: a look-up is one jump and a short walk.
    let bits = usize::BITS - all.len().leading_zeros();
    let slot = |key: u64| if bits == 0 { 0 } else { (key >> (64 - bits)) as usize };
    let mut starts = vec![0_u32; (1 << bits) + 1];
    for e in &all {
        if let Some(n) = starts.get_mut(slot(e.key) + 1) {
            *n += 1;
        }
    }
    let mut sum = 0;
    for n in &mut starts {
        sum += *n;
        *n = sum;
    }
    let mut used = vec![false; all.len()];
    let mut equal = 0;
    let mut a = Stmt::prepare(c.source.db(), &format!("{}{}", s.select_source(&c.source.schema), s.filter()))?;
    while a.step()? {
        (c.tick)()?;
        let (key, row) = hashes(&a);
        if key % shares != share {
            continue;
        }
        let from = starts.get(slot(key)).map_or(0, |n| *n as usize);
        let partner = all.iter().enumerate().skip(from).take_while(|(_, e)| e.key <= key).find(|(i, e)| e.key == key && used.get(*i) == Some(&false));
        match partner {
            Some((i, e)) => {
                if let Some(u) = used.get_mut(i) {
                    *u = true;
                }
                if e.row == row {
                    equal += 1;
                } else {
                    add.pair(Field::Int(a.int(0)), Field::Int(e.rowid))?;
                }
            }
            None => add.new_row(Field::Int(a.int(0)))?,
        }
    }
    for (e, _) in all.iter().zip(&used).filter(|(_, used)| !**used) {
        add.gone(Field::Int(e.rowid))?;
    }
    Ok(equal)
}
