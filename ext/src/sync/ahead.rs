//! Reads rows on a thread of its own, some hundred before they are asked for: while one is written, the next are read.
use super::{delta::Spot, rows::bind_spot};
use crate::{
    db::pages::Snapshot,
    error::Result,
    kit::{Field, Stmt, Values, caught, two_threads_help},
};
use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
};

/// Rows that are announced, and read, at once.
pub const BATCH: usize = 256;

/// Bytes of a batch after which the rest is left to whoever asks: two batches are held at a time.
const MOST: usize = 1 << 20;

pub struct Ahead {
    announce: Option<Sender<Vec<Spot>>>,
    read: Receiver<Batch>,
    thread: Option<JoinHandle<()>>,
    /// Batches announced and not yet taken.
    coming: usize,
    batch: Batch,
    /// Place in the batch of the row that is asked for next.
    next: usize,
    /// Place of the row last sought, where it was read.
    at: Option<usize>,
}

/// Rows in the order announced; the last ones may be missing.
#[derive(Default)]
struct Batch {
    spots: Vec<Spot>,
    width: usize,
    values: Values,
}

impl Ahead {
    /// `sql` gives `width` columns of the row at a spot. None where no second thread is to be had, or no second connection
    /// that sees the same.
    pub fn begin(source: &Snapshot, sql: String, width: usize) -> Option<Ahead> {
        if !two_threads_help() {
            return None;
        }
        let source = source.again()?;
        let (announce, announced) = channel();
        let (send, read) = channel();
        // An error ends the thread; whoever asks meets it, too.
        let work = move || drop(caught(|| read_all(&source, &sql, width, &announced, &send)));
        let thread = thread::Builder::new().name("dbint source".into()).spawn(work).ok()?;
        Some(Ahead { announce: Some(announce), read, thread: Some(thread), coming: 0, batch: Batch::default(), next: 0, at: None })
    }

    /// Rows that will be sought, in this order, after those announced before.
    pub fn announce(&mut self, spots: Vec<Spot>) {
        let sent = self.announce.as_ref().is_some_and(|a| !spots.is_empty() && a.send(spots).is_ok());
        self.coming += usize::from(sent);
    }

    /// Stands on the row, where it was the next one announced and could be read.
    pub fn seek(&mut self, spot: &Spot) -> bool {
        if self.next == self.batch.spots.len() && self.coming > 0 {
            self.coming -= 1;
            self.batch = self.read.recv().unwrap_or_default();
            self.next = 0;
        }
        let announced = self.batch.spots.get(self.next) == Some(spot);
        self.at = Some(self.next).filter(|n| announced && (n + 1) * self.batch.width <= self.batch.values.count());
        self.next += usize::from(announced);
        self.at.is_some()
    }

    /// Column `i` of the row last sought; None where that one is not here.
    pub fn field(&self, i: usize) -> Option<Field<'_>> {
        self.batch.values.get(self.at? * self.batch.width + i)
    }
}

impl Drop for Ahead {
    /// The library may be unloaded after the call: no thread outlives it.
    fn drop(&mut self) {
        self.announce = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read_all(source: &Snapshot, sql: &str, width: usize, announced: &Receiver<Vec<Spot>>, send: &Sender<Batch>) -> Result<()> {
    let mut row = Stmt::prepare(source.db(), sql)?;
    for spots in announced {
        let mut batch = Batch { spots, width, ..Batch::default() };
        let Batch { spots, values, .. } = &mut batch;
        for spot in spots.iter() {
            bind_spot(&mut row, spot)?;
            if values.bytes() > MOST || !row.step()? {
                break;
            }
            (0..width).for_each(|i| values.push(row.field(i)));
            row.reset();
        }
        row.reset();
        if send.send(batch).is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;
    use std::ops::Range;

    #[test]
    fn gives_what_was_announced() {
        let dir = std::env::temp_dir().join(format!("dbint-ahead-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("a.db");
        let db = Connection::open(&file).unwrap();
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)";
        db.execute_batch(&format!("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); {fill} INSERT INTO t SELECT i, CASE i % 3 WHEN 0 THEN i / 2.0 WHEN 1 THEN 'x' || i END, zeroblob(i) FROM n")).unwrap();
        let source = Snapshot::begin(&file).unwrap();
        let begin = || Ahead::begin(&source, "SELECT a, b FROM t WHERE id = ?1".into(), 2).unwrap();
        let spots = |r: Range<i64>| r.map(Spot::Rowid).collect::<Vec<_>>();
        let check = |a: &mut Ahead, i: i64| {
            assert!(a.seek(&Spot::Rowid(i)), "{i}");
            let (text, blob) = (format!("x{i}"), vec![0; i as usize]);
            let want = match i % 3 {
                0 => Field::Real(i as f64 / 2.0),
                1 => Field::Text(text.as_bytes()),
                _ => Field::Null,
            };
            assert_eq!((a.field(0), a.field(1)), (Some(want), Some(Field::Blob(&blob))));
        };
        let mut a = begin();
        a.announce(spots(1..300));
        a.announce(vec![]);
        a.announce(spots(300..310));
        (1..310).for_each(|i| check(&mut a, i));
        // Nothing more is coming: it does not wait.
        assert!(!a.seek(&Spot::Rowid(1)));
        assert!(a.field(0).is_none());
        // Another row comes in between, one is not there, and one batch is too large: the rest is still told right.
        a.announce(spots(10..12));
        check(&mut a, 10);
        assert!(!a.seek(&Spot::Rowid(700)));
        check(&mut a, 11);
        a.announce(spots(1999..2002));
        a.announce(spots(1..2001));
        a.announce(spots(5..6));
        check(&mut a, 1999);
        check(&mut a, 2000);
        assert!(!a.seek(&Spot::Rowid(2001)));
        let here = (1..2001).filter(|i| a.seek(&Spot::Rowid(*i))).count();
        assert!((1000..2000).contains(&here), "{here}");
        check(&mut a, 5);
        // Dropped with much still to read.
        let mut a = begin();
        (0..50).for_each(|_| a.announce(spots(1..300)));
        drop(a);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
