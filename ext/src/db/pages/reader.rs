//! Pages of one snapshot, read in runs of up to 64 KiB through SQLite's own file object.
use super::{
    Bad, Result, Snapshot, Why,
    snapshot::VFS,
    wal::{self, WalHeader},
};
use crate::kit::file::{self, Part, Transaction};
use rusqlite::Connection;
use std::{
    collections::HashMap,
    sync::atomic::{Ordering, fence},
};

/// The longest run: larger ones win nothing, and one page a time costs a system call each.
const RUN: usize = 64 << 10;
/// SQLite locks bytes of this page and never stores anything there.
const LOCK_BYTE: usize = 0x4000_0000;

/// What the file lacks, because it is in the WAL only.
struct Overlay {
    frames: HashMap<u32, u32>,
    salts: [u32; 2],
}

/// Pages of one snapshot; it cannot outlive the snapshot's lock.
pub struct PageReader<'s> {
    db: &'s Connection,
    pub page_size: usize,
    pub pages: u32,
    /// 1 UTF-8, 2 UTF-16le, 3 UTF-16be.
    pub encoding: u32,
    overlay: Option<Overlay>,
}

/// Pages of the snapshot, if these rules hold, else why not:
///
/// 1. The connection is in a read transaction, on SQLite's plain VFS; header, journal mode and page count are as SQL says.
/// 2. Rollback mode: while SHARED is held nobody gets EXCLUSIVE, and only EXCLUSIVE writes the file.
/// 3. WAL: nBackfill is read first, the header *afterwards*. Where they are equal every frame of the snapshot is in the file,
///    and nobody may backfill a later one while the read mark is held. The other order, or a count known from elsewhere,
///    proves nothing: a checkpoint that stops at an older reader leaves out pages that have newer frames.
/// 4. WAL with frames pending: the header from before the transaction equals the one after it, so it is the snapshot's own.
///    Pages with a frame come from the WAL, which cannot restart under the mark; all others are not touched in the file.
pub fn open(snapshot: &Snapshot) -> std::result::Result<PageReader<'_>, Why> {
    let db = snapshot.db();
    if db.is_autocommit() || file::transaction(db, "main") != Some(Transaction::Read) {
        return Err(Why::NoTransaction);
    }
    if file::vfs_name(db, "main").as_deref() != Some(VFS) {
        return Err(Why::Vfs);
    }
    let mode: String = db.query_row("PRAGMA journal_mode", [], |r| r.get(0)).map_err(|_| Why::Sql)?;
    let mut overlay = None;
    let mut wal_page_size = None;
    let version = match mode.as_str() {
        "wal" => {
            let copied = wal::backfilled(db).ok_or(Why::WalIndex)?;
            fence(Ordering::SeqCst);
            let header = WalHeader::read(db).ok_or(Why::WalIndex)?;
            // An empty WAL has no page size yet.
            wal_page_size = (header.frames() > 0).then(|| header.page_size());
            if copied != header.frames() {
                if snapshot.before != Some(header) {
                    return Err(Why::Moving);
                }
                overlay = Some(Overlay { frames: wal::frames(db, &header).ok_or(Why::WalIndex)?, salts: header.salts() });
            }
            2
        }
        "delete" | "truncate" | "persist" => 1,
        _ => return Err(Why::JournalMode),
    };
    let mut head = [0; 100];
    match (overlay.as_ref().and_then(|o| o.frames.get(&1)), wal_page_size) {
        (Some(frame), Some(size)) => file::read(db, Part::Wal, wal::offset(*frame, size), &mut head),
        _ => file::read(db, Part::Database, 0, &mut head),
    }
    .map_err(|_| Why::Header)?;
    let (page_size, encoding) = header(&head, version)?;
    if wal_page_size.is_some_and(|s| s != page_size) {
        return Err(Why::Header);
    }
    // Not from the file's size: a file may be longer than its database, or shorter while the WAL has the rest.
    let pages = db.query_row("PRAGMA page_count", [], |r| r.get(0)).map_err(|_| Why::Sql)?;
    Ok(PageReader { db, page_size, pages, encoding, overlay })
}

/// Pages of a damaged file, as they lie there: no rule holds, and who reads them doubts all of them.
/// The -wal is not looked at.
pub fn open_damaged(db: &Connection, page_size: usize, pages: u32, encoding: u32) -> PageReader<'_> {
    PageReader { db, page_size, pages, encoding, overlay: None }
}

/// Page size and text encoding of a file that is what it should be.
fn header(head: &[u8; 100], version: u8) -> std::result::Result<(usize, u32), Why> {
    let (magic, rest) = head.split_at(16);
    let [s1, s2, write, read, reserved, max, min, leaf, ..] = rest else { return Err(Why::Header) };
    let page_size = match u16::from_be_bytes([*s1, *s2]) {
        1 => 65536,
        n if n >= 512 && n.is_power_of_two() => usize::from(n),
        _ => return Err(Why::Header),
    };
    if magic != b"SQLite format 3\0" || [*max, *min, *leaf] != [64, 32, 32] {
        return Err(Why::Header);
    }
    if [*write, *read] != [version; 2] {
        return Err(Why::JournalMode);
    }
    if *reserved != 0 {
        return Err(Why::Reserved);
    }
    let encoding = head.get(56..60).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
    if encoding > 3 { Err(Why::Header) } else { Ok((page_size, encoding.max(1))) }
}

/// Holds the run of pages that was read last; one for each walk.
#[derive(Default)]
pub struct Window {
    run: Vec<u8>,
    first: u32,
    n: u32,
    /// A page of the WAL, beside the run, which stays.
    single: Vec<u8>,
    at: At,
}

#[derive(Default, Clone, Copy)]
enum At {
    #[default]
    Single,
    Run(usize),
}

impl Window {
    /// The page asked for last.
    #[inline]
    pub fn page(&self, size: usize) -> &[u8] {
        match self.at {
            At::Single => self.single.get(..size),
            At::Run(o) => self.run.get(o..o + size),
        }
        .unwrap_or_default()
    }
}

impl PageReader<'_> {
    /// Reads page `n` into the window; `next` are the pages that will be asked for next, in order.
    pub fn fetch(&self, n: u32, window: &mut Window, next: &[u32]) -> Result<()> {
        let lock = self.lock_page();
        if n == 0 || n > self.pages || n == lock {
            return Err(Bad::Corrupt("page number"));
        }
        if let Some(frame) = self.frame(n) {
            window.single.resize(self.page_size, 0);
            window.at = At::Single;
            return self.read(Part::Wal, wal::offset(frame, self.page_size), &mut window.single);
        }
        if n < window.first || n - window.first >= window.n {
            let last = self.run_end(n, next);
            // The lock-byte page is never read: that may fail, and its lock is not ours.
            let last = if n < lock && last >= lock { lock - 1 } else { last }.min(self.pages);
            let len = (last - n + 1) as usize * self.page_size;
            if window.run.len() < len {
                window.run.resize(len.max(RUN), 0);
            }
            (window.first, window.n) = (n, 0);
            let into = window.run.get_mut(..len).ok_or(Bad::Corrupt("run"))?;
            self.read(Part::Database, u64::from(n - 1) * self.page_size as u64, into)?;
            window.n = last - n + 1;
        }
        window.at = At::Run((n - window.first) as usize * self.page_size);
        Ok(())
    }

    /// Pages from `first` on, in order, straight into `into`, which is a whole number of pages long. The lock-byte page
    /// comes as zeros, for SQLite never writes it.
    pub fn copy(&self, first: u32, into: &mut [u8]) -> Result<()> {
        let lock = self.lock_page();
        let apart = |n: u32| n == lock || self.frame(n).is_some();
        let (mut n, mut rest) = (first, into);
        while !rest.is_empty() {
            let all = (rest.len() / self.page_size) as u32;
            if n == 0 || all == 0 || u64::from(n) + u64::from(all) - 1 > u64::from(self.pages) {
                return Err(Bad::Corrupt("page number"));
            }
            let plain = (0..all).take_while(|i| !apart(n + i)).count();
            let (now, later) = rest.split_at_mut(plain.max(1) * self.page_size);
            match self.frame(n) {
                _ if plain > 0 => self.read(Part::Database, u64::from(n - 1) * self.page_size as u64, now)?,
                Some(frame) => self.read(Part::Wal, wal::offset(frame, self.page_size), now)?,
                None => now.fill(0),
            }
            n += plain.max(1) as u32;
            rest = later;
        }
        Ok(())
    }

    /// As far as at least half of the bytes read are wanted. A page of the overlay may lie beyond the end of the file:
    /// a run neither aims at one nor ends on one.
    fn run_end(&self, n: u32, next: &[u32]) -> u32 {
        let max = (RUN / self.page_size).max(1) as u32;
        let (mut last, mut wanted) = (n, 1);
        for &w in next {
            if w <= last || w - n >= max || w - n + 1 > 2 * (wanted + 1) {
                break;
            }
            if self.frame(w).is_none() {
                wanted += 1;
                last = w;
            }
        }
        last
    }

    fn frame(&self, n: u32) -> Option<u32> {
        self.overlay.as_ref()?.frames.get(&n).copied()
    }

    fn lock_page(&self) -> u32 {
        (LOCK_BYTE / self.page_size + 1) as u32
    }

    fn read(&self, part: Part, at: u64, into: &mut [u8]) -> Result<()> {
        file::read(self.db, part, at, into).map_err(Bad::Io)
    }

    /// After the walk: the WAL that was read was not restarted meanwhile.
    pub fn still_valid(&self) -> bool {
        self.overlay.as_ref().is_none_or(|o| WalHeader::read(self.db).is_some_and(|h| h.salts() == o.salts))
    }

    /// Pages that come from the WAL.
    pub fn overlaid(&self) -> usize {
        self.overlay.as_ref().map_or(0, |o| o.frames.len())
    }
}
