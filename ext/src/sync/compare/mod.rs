//! Finds where two tables differ, by the fastest method that is right for them.
//!
//! | method | reads | when |
//! |---|---|---|
//! | change_log | what changed since the last sync | the source is tracked, and the target has a position in its log |
//! | pages | both tables as raw pages, equal pages passed by | both are files, made by the same statement |
//! | rowid_merge | both tables by rowid | both have rowids, and they line up |
//! | hash_join | both tables, the target's rows by hash of their key | rowids do not line up, or keys without an index |
//! | key_merge | both tables by key | WITHOUT ROWID |
//! | lookup | each row of one side by key in the other | keys in an order that only SQLite knows |
//!
//! All leave the same delta. `pages` gives candidates only: each is read again by SQL before it counts.
mod cursors;
mod hash;
mod keys;
mod log;
mod partner;
mod raw;
mod rowid;
mod touched;

pub use log::{Followed, There, Tracked, find};

use super::{
    delta::Delta,
    options::Method,
    shape::{Collation, Shape},
    side::{Hold, Source},
};
use crate::{
    db::pages::Why,
    error::{Error, Result},
};
use rusqlite::Connection;
use std::path::Path;

/// Both tables, and where the differences go.
pub struct Compare<'a> {
    pub shape: &'a Shape,
    pub source: &'a Source<'a>,
    pub target: &'a Connection,
    pub target_schema: &'a str,
    /// The target's file, where an own connection may read its pages beside `target`.
    pub target_file: std::result::Result<&'a Path, Why>,
    pub target_hold: &'a Hold,
    /// As change logs name the target.
    pub target_identity: &'a str,
    /// Of a sync in both directions.
    pub there: Option<&'a There>,
    pub delta: &'a Delta,
    pub tick: &'a mut dyn FnMut() -> Result<()>,
}

/// How the differences were found.
pub struct Found {
    pub method: Method,
    /// Rows that are equal on both sides; a change log does not count them.
    pub unchanged: Option<u64>,
    /// Why each faster method was left out.
    pub passed_over: Vec<String>,
}

/// A walk by rowid that found too little in common: rowids do not line up.
pub(super) struct Misaligned;

impl Compare<'_> {
    /// `why_not` the log alone; where it is enough, nothing else is read.
    pub fn run(mut self, method: Method, tracked: Option<&Tracked>, why_not: Option<&str>) -> Result<Found> {
        let mut why_not = why_not.map(str::to_owned);
        if self.there.is_some_and(|t| !t.answers_by_key(self.shape)) {
            why_not.get_or_insert_with(|| "nothing is known by key of what the target changed".into());
        }
        if let (Some(t), None) = (tracked, &why_not)
            && matches!(method, Method::Auto | Method::ChangeLog)
        {
            if log::run(&mut self, t)? {
                return Ok(Found { method: Method::ChangeLog, unchanged: None, passed_over: vec![] });
            }
            self.delta.clear()?;
            why_not = Some("a changed row has NULL in its key".into());
        }
        if method == Method::ChangeLog {
            return Err(Error::unsupported(format!("method change_log cannot be used: {}", why_not.unwrap_or_default())));
        }
        let found = self.scan(method, why_not.map(|w| format!("change_log: {w}")).into_iter().collect())?;
        touched::mark(&mut self, tracked)?;
        Ok(found)
    }

    /// Looks at all rows of both sides.
    fn scan(&mut self, method: Method, mut passed_over: Vec<String>) -> Result<Found> {
        let forced = |m: Method| method == m;
        let done = |method, unchanged, passed_over| Ok(Found { method, unchanged: Some(unchanged), passed_over });
        if self.shape.rowids.is_none() {
            if matches!(method, Method::Pages | Method::RowidMerge | Method::HashJoin) {
                return Err(Error::unsupported(format!("method {} needs rowids, and a side is WITHOUT ROWID", method.word())));
            }
            passed_over.push("pages, rowid_merge, hash_join: a side is WITHOUT ROWID".into());
            let merge = keys::mergeable(self)?;
            if forced(Method::KeyMerge) && !merge {
                return Err(Error::unsupported("method key_merge needs UTF-8 on both sides, and SQLite's own collations"));
            }
            if merge && !forced(Method::Lookup) {
                return done(Method::KeyMerge, keys::merge(self)?, passed_over);
            }
            passed_over.push("key_merge: the order of keys is SQLite's own".into());
            return done(Method::Lookup, keys::lookup(self)?, passed_over);
        }
        if matches!(method, Method::KeyMerge | Method::Lookup) {
            if self.shape.is_multiset() || !self.shape.rowid_is_key {
                return Err(Error::unsupported(format!("method {} is for tables WITHOUT ROWID; here is rowid_merge or hash_join", method.word())));
            }
            return done(Method::Lookup, keys::lookup(self)?, passed_over);
        }
        let by_rowid = self.shape.is_multiset() || self.shape.key_is_indexed && !self.shape.collations.contains(&Collation::Other);
        if !by_rowid && matches!(method, Method::Pages | Method::RowidMerge) {
            return Err(Error::unsupported(format!("method {} needs an index on the keys on both sides", method.word())));
        }
        if by_rowid && matches!(method, Method::Auto | Method::Pages) {
            match rowid::pages(self, method == Method::Auto)? {
                Ok(Ok(equal)) => return done(Method::Pages, rowid::settle(self, equal)?, passed_over),
                Ok(Err(Misaligned)) => {
                    passed_over.push("pages, rowid_merge: rowids do not line up".into());
                    self.delta.clear()?;
                    return done(Method::HashJoin, hash::join(self)?, passed_over);
                }
                Err(why) if forced(Method::Pages) => return Err(Error::unsupported(format!("method pages cannot be used: {why}"))),
                Err(why) => passed_over.push(format!("pages: {why}")),
            }
            self.delta.clear()?;
        }
        if by_rowid && matches!(method, Method::Auto | Method::RowidMerge) {
            match cursors::merge(self, method == Method::Auto)? {
                Ok(equal) => return done(Method::RowidMerge, rowid::settle(self, equal)?, passed_over),
                Err(Misaligned) => passed_over.push("rowid_merge: rowids do not line up".into()),
            }
            self.delta.clear()?;
        }
        if !by_rowid {
            passed_over.push("pages, rowid_merge: no index on the keys".into());
        }
        done(Method::HashJoin, hash::join(self)?, passed_over)
    }
}
