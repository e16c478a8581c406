//! Two tables whose rowids do not line up: the target's rows by the hash of their key, the source's looked up among them.
//!
//! Memory is bounded: a larger table is gone through several times, each time for a share of the hashes.
use super::{
    Compare, partner,
    raw::{self, Stored},
};
use crate::{
    db::{
        ident::qualified,
        pages::{self, Table},
    },
    error::Result,
    kit::{Field, Stmt},
    sync::{
        delta::Adder,
        rows::{self, Hasher},
    },
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
    // Two rows with one content may have different rowids, where those are a column.
    let whole_records = c.shape.target.rowid_alias(c.target)?.is_none();
    if whole_records && let Some(equal) = by_pages(c, shares)? {
        return Ok(equal);
    }
    c.delta.clear()?;
    let hasher = Hasher::new();
    let mut equal = 0;
    for share in 0..shares {
        equal += by_cursors(c, hasher, Share::new(share, shares))?;
    }
    // With a condition, a row may have its partner outside of it; of rows without a key, all that are alike have met.
    if c.shape.condition.is_some() && !c.shape.is_multiset() {
        equal += partner::find(c)?;
    }
    Ok(equal)
}

/// None where pages cannot be read, or do not tell every row's key.
fn by_pages(c: &mut Compare<'_>, shares: u64) -> Result<Option<u64>> {
    let mut equal = 0;
    for n in 0..shares {
        let found = raw::walk(c, |c, stored, a, b| share_by_pages(c, stored, (a, b), Share::new(n, shares)));
        match found? {
            Ok(Some(n)) => equal += n,
            Ok(None) | Err(_) => return Ok(None),
        }
    }
    Ok(Some(equal))
}

fn share_by_pages(c: &mut Compare<'_>, stored: &Stored<'_>, (mut a, mut b): (Table<'_>, Table<'_>), mut share: Share) -> Result<pages::Result<Option<u64>>> {
    let mut add = c.delta.adder()?;
    let hashes = |t: &mut Table<'_>| -> pages::Result<Option<(u64, u64)>> {
        let record = t.record()?;
        Ok(stored.name(record)?.map(|key| (key, stored.content(record))))
    };
    let mut read = |share: &mut Share| -> Result<pages::Result<bool>> {
        for (t, is_target) in [(&mut b, true), (&mut a, false)] {
            while !t.is_done() {
                (c.tick)()?;
                match hashes(t) {
                    Ok(Some((key, row))) if is_target => share.keep(t.rowid(), key, row),
                    Ok(Some((key, row))) => share.meet(&mut add, t.rowid(), key, row)?,
                    Ok(None) => return Ok(Ok(false)),
                    Err(e) => return Ok(Err(e)),
                }
                if let Err(e) = t.advance() {
                    return Ok(Err(e));
                }
            }
            if is_target {
                share.sort();
            }
        }
        Ok(Ok(true))
    };
    Ok(match read(&mut share)? {
        Ok(true) => Ok(Some(share.rest(&mut add)?)),
        Ok(false) => Ok(None),
        Err(e) => Err(e),
    })
}

fn by_cursors(c: &mut Compare<'_>, hasher: Hasher, mut share: Share) -> Result<u64> {
    let s = c.shape;
    let width = s.columns.len();
    let mut add = c.delta.adder()?;
    // A row without a key is its own key. The two kinds never meet: the salt of the second is the complement.
    let hashes = |q: &Stmt<'_>| {
        let row = hasher.row((1..=width).map(|i| q.field(i)));
        let key = rows::key(s, |i| q.field(i + 1)).map_or(!row, |k| hasher.key(&k, &s.collations));
        (key, row)
    };
    let mut b = Stmt::prepare(c.target, &format!("{}{}", s.select_target(c.target_schema), s.filter()))?;
    while b.step()? {
        (c.tick)()?;
        let (key, row) = hashes(&b);
        share.keep(b.int(0), key, row);
    }
    drop(b);
    share.sort();
    let mut a = Stmt::prepare(c.source.db(), &format!("{}{}", s.select_source(&c.source.schema), s.filter()))?;
    while a.step()? {
        (c.tick)()?;
        let (key, row) = hashes(&a);
        share.meet(&mut add, a.int(0), key, row)?;
    }
    share.rest(&mut add)
}

/// The target's rows whose hashes are this share's.
struct Share {
    n: u64,
    of: u64,
    all: Vec<Entry>,
    /// Where the hashes with each leading bits begin: a look-up is one jump and a short walk.
    starts: Vec<u32>,
    bits: u32,
    used: Vec<bool>,
    equal: u64,
}

impl Share {
    fn new(n: u64, of: u64) -> Share {
        Share { n, of, all: vec![], starts: vec![], bits: 0, used: vec![], equal: 0 }
    }

    fn keep(&mut self, rowid: i64, key: u64, row: u64) {
        if key % self.of == self.n {
            self.all.push(Entry { key, row, rowid });
        }
    }

    fn slot(&self, key: u64) -> usize {
        if self.bits == 0 { 0 } else { (key >> (64 - self.bits)) as usize }
    }

    /// Once all of the target's rows are kept.
    fn sort(&mut self) {
        self.all.sort_unstable_by_key(|e| e.key);
        self.bits = usize::BITS - self.all.len().leading_zeros();
        let mut starts = vec![0_u32; (1 << self.bits) + 1];
        for e in &self.all {
            if let Some(n) = starts.get_mut(self.slot(e.key) + 1) {
                *n += 1;
            }
        }
        let mut sum = 0;
        for n in &mut starts {
            sum += *n;
            *n = sum;
        }
        self.starts = starts;
        self.used = vec![false; self.all.len()];
    }

    /// A row of the source looks for its partner.
    fn meet(&mut self, add: &mut Adder<'_>, rowid: i64, key: u64, row: u64) -> Result<()> {
        if key % self.of != self.n {
            return Ok(());
        }
        let from = self.starts.get(self.slot(key)).map_or(0, |n| *n as usize);
        let used = &self.used;
        let partner = self.all.iter().enumerate().skip(from).take_while(|(_, e)| e.key <= key).find(|(i, e)| e.key == key && used.get(*i) == Some(&false));
        let Some((i, e)) = partner else { return add.new_row(Field::Int(rowid)) };
        if e.row == row {
            self.equal += 1;
        } else {
            add.pair(Field::Int(rowid), Field::Int(e.rowid))?;
        }
        if let Some(u) = self.used.get_mut(i) {
            *u = true;
        }
        Ok(())
    }

    /// What nobody asked for, only the target has; gives the number of equal rows.
    fn rest(&self, add: &mut Adder<'_>) -> Result<u64> {
        for (e, _) in self.all.iter().zip(&self.used).filter(|(_, used)| !**used) {
            add.gone(Field::Int(e.rowid))?;
        }
        Ok(self.equal)
    }
}
