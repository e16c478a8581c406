//! Both tables as raw pages: whether they can be read so, and what a record tells by itself.
use super::Compare;
use crate::{
    db::{
        ident::same,
        pages::{self, Bad, Record, Snapshot, Table, Why, comparable},
        schema::{Column, Generated},
    },
    error::Result,
    kit::Field,
    sync::{
        rows::Hasher,
        shape::{Collation, Shape},
        side::Reader,
    },
};
use std::time::Duration;

/// Hands both tables to `walk`, source and target, or says why pages cannot be read here. Its result counts only if the
/// rule for reading pages held to the end.
pub fn walk<T>(
    c: &mut Compare<'_>,
    walk: impl FnOnce(&mut Compare<'_>, &Stored<'_>, Table<'_>, Table<'_>) -> Result<pages::Result<T>>,
) -> Result<std::result::Result<T, Why>> {
    let s = c.shape;
    let left = match &c.source.reader {
        Reader::Own(snapshot) => snapshot,
        Reader::Host(_, why) => return Ok(Err(*why)),
    };
    if s.condition.is_some() || !s.target_only.is_empty() || !s.source_only.is_empty() {
        return Ok(Err(Why::Schema));
    }
    let path = match c.target_file {
        Ok(path) => path,
        Err(why) => return Ok(Err(why)),
    };
    let Ok(right) = Snapshot::begin_within(path, Duration::ZERO) else { return Ok(Err(Why::Busy)) };
    if !c.target_hold.covers(&right) {
        return Ok(Err(Why::Moving));
    }
    if let Err(why) = comparable(left, &s.source.name, &right, &s.target.name) {
        return Ok(Err(why));
    }
    let (from, to) = match (pages::open(left), pages::open(&right)) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(why), _) | (_, Err(why)) => return Ok(Err(why)),
    };
    let (Some(a), Some(b)) = (left.root(&s.source.name)?, right.root(&s.target.name)?) else { return Ok(Err(Why::Schema)) };
    let done = match (Table::new(&from, a), Table::new(&to, b)) {
        (Ok(a), Ok(b)) => walk(c, &Stored::of(s, from.encoding), a, b)?,
        (Err(e), _) | (_, Err(e)) => Err(e),
    };
    Ok(match done {
        Ok(_) if !from.still_valid() || !to.still_valid() => Err(Why::Moving),
        Ok(found) => Ok(found),
        Err(Bad::Short) => Err(Why::Default),
        Err(Bad::Io(_) | Bad::Corrupt(_)) => Err(Why::Damaged),
    })
}

/// Where the key's columns stand in a record.
pub struct Stored<'s> {
    shape: &'s Shape,
    /// Positions of the key's columns, in the key's order; None where the record alone does not tell.
    key: Option<Vec<usize>>,
    hasher: Hasher,
}

impl Stored<'_> {
    /// Both tables are made alike: what holds for the target's records holds for the source's.
    fn of(shape: &Shape, encoding: u32) -> Stored<'_> {
        let order: Vec<&Column> = shape.target.columns.iter().filter(|c| c.generated != Generated::Virtual).collect();
        // The other collations look at text as UTF-8.
        let by_bytes = encoding == 1 || shape.collations.iter().all(|c| *c == Collation::Binary);
        let key = if shape.is_multiset() || shape.rowid_is_key || !by_bytes {
            None
        } else {
            shape.key_names().iter().map(|k| order.iter().position(|c| same(&c.name, k))).collect()
        };
        Stored { shape, key, hasher: Hasher::new() }
    }

    /// The hash of a record's key; None where a part of it is NULL (also the rowid, which is not in the record) or missing.
    pub fn name(&self, record: &[u8]) -> pages::Result<Option<u64>> {
        let Some(at) = &self.key else { return Ok(None) };
        let last = at.iter().max().map_or(0, |n| n + 1);
        let mut values = Record::new(record)?;
        let mut row = Vec::with_capacity(last);
        while row.len() < last {
            match values.advance()? {
                Some(v) => row.push(v),
                None => return Ok(None),
            }
        }
        let key: Option<Vec<Field<'_>>> = at.iter().map(|i| row.get(*i).copied().filter(|f| !matches!(f, Field::Null))).collect();
        Ok(key.map(|k| self.hasher.key(&k, &self.shape.collations)))
    }

    /// The hash of a whole record: alike, where the bytes are.
    pub fn content(&self, record: &[u8]) -> u64 {
        self.hasher.bytes(record)
    }
}
