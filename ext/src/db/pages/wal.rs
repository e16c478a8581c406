//! The wal-index and the frames of a WAL that the database file lacks.
//!
//! ```text
//! region 0, words of 32 bits:   0..12   header            4 mxFrame · 8,9 salts · 10,11 checksum of 0..10
//!                               12..24  its second copy
//!                               24      nBackfill         25..30 read marks        30..34 locks, nBackfillAttempted
//!                               34..    page number of frame 1, 2, … (4062)        then a hash table
//! region 1, 2, …                0..     page numbers of the next 4096 frames       then a hash table
//! ```
use crate::kit::file::wal_index;
use rusqlite::Connection;
use std::{
    collections::HashMap,
    sync::atomic::{Ordering, fence},
};

const VERSION: u32 = 3_007_000;
const BACKFILL: usize = 24;
const FIRST: (usize, u32) = (34, 4062);
const LATER: (usize, u32) = (0, 4096);

/// A consistent copy of the wal-index header, in native byte order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalHeader([u32; 12]);

impl WalHeader {
    /// Both copies must agree and carry SQLite's checksum: proof that this is the layout known here.
    pub fn read(db: &Connection) -> Option<WalHeader> {
        for _ in 0..100 {
            let (mut a, mut b) = ([0; 12], [0; 12]);
            wal_index(db, 0, 0, &mut a)?;
            fence(Ordering::SeqCst);
            wal_index(db, 0, 12, &mut b)?;
            if a == b {
                return WalHeader(a).checked();
            }
            std::thread::yield_now();
        }
        None
    }

    fn checked(self) -> Option<WalHeader> {
        let [version, _, _, bits, _, _, _, _, _, _, sum1, sum2] = self.0;
        let (mut s1, mut s2) = (0u32, 0u32);
        for pair in self.0.get(..10)?.chunks_exact(2) {
            let [x, y] = pair else { return None };
            s1 = s1.wrapping_add(*x).wrapping_add(s2);
            s2 = s2.wrapping_add(*y).wrapping_add(s1);
        }
        let [is_init, _, _, _] = bits.to_ne_bytes();
        (version == VERSION && is_init == 1 && [s1, s2] == [sum1, sum2]).then_some(self)
    }

    /// Frames of the last commit.
    pub fn frames(&self) -> u32 {
        let [_, _, _, _, frames, ..] = self.0;
        frames
    }

    pub fn salts(&self) -> [u32; 2] {
        let [_, _, _, _, _, _, _, _, a, b, _, _] = self.0;
        [a, b]
    }

    pub fn page_size(&self) -> usize {
        let [_, _, _, bits, ..] = self.0;
        let [_, _, a, b] = bits.to_ne_bytes();
        let v = usize::from(u16::from_ne_bytes([a, b]));
        (v & 0xfe00) + ((v & 1) << 16)
    }
}

/// How many frames were copied into the database file.
pub fn backfilled(db: &Connection) -> Option<u32> {
    let mut word = [0];
    wal_index(db, 0, BACKFILL, &mut word)?;
    let [n] = word;
    Some(n)
}

/// The last frame of each page.
pub fn frames(db: &Connection, header: &WalHeader) -> Option<HashMap<u32, u32>> {
    let mut last = HashMap::new();
    let mut words = [0; LATER.1 as usize];
    let (mut frame, mut region) = (1, 0);
    while frame <= header.frames() {
        let (from, held) = if region == 0 { FIRST } else { LATER };
        let n = held.min(header.frames() - frame + 1);
        let words = words.get_mut(..n as usize)?;
        wal_index(db, region, from, words)?;
        for page in words {
            last.insert(*page, frame);
            frame += 1;
        }
        region += 1;
    }
    Some(last)
}

/// Where frame `frame` has its page.
pub fn offset(frame: u32, page_size: usize) -> u64 {
    32 + u64::from(frame - 1) * (page_size as u64 + 24) + 24
}
