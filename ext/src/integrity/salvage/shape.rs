//! How the bytes of a damaged file are cut into pages, where its header no longer says so.
use crate::db::pages::{PageReader, open_damaged};
use crate::error::{Error, Kind, Result};
use crate::kit::file::{self, Part};
use rusqlite::Connection;
use std::path::Path;

/// The largest page.
const BLOCK: u64 = 65536;

/// Blocks looked at, evenly over the file.
const LOOKS: u64 = 200;

pub struct Shape {
    pub page_size: usize,
    pub pages: u32,
    pub encoding: u32,
    /// The header did not tell the page size.
    pub guessed: bool,
}

impl Shape {
    pub fn of(db: &Connection, path: &Path) -> Result<Shape> {
        let len = std::fs::metadata(path)?.len();
        let mut head = [0; 100];
        if len < 512 || file::read(db, Part::Database, 0, &mut head).is_err() {
            return Err(Error::new(Kind::NotADatabase, format!("\"{}\" has {len} bytes: there is no page to read", path.display())));
        }
        let told = match u16::from_be_bytes([head[16], head[17]]) {
            1 => Some(65536),
            n if n >= 512 && n.is_power_of_two() => Some(usize::from(n)),
            _ => None,
        };
        // A header that tells nonsense is seen by what it makes of the pages.
        let pages = Pages::count(db, len);
        let page_size = match told.filter(|size| *size as u64 <= len && pages.fit(*size)).or_else(|| pages.size()) {
            Some(size) => size,
            None => return Err(Error::new(Kind::NotADatabase, format!("\"{}\" has no page of a SQLite database (or it is encrypted)", path.display()))),
        };
        let encoding = u32::from_be_bytes([head[56], head[57], head[58], head[59]]);
        let pages = u32::try_from(len.div_ceil(page_size as u64)).unwrap_or(u32::MAX - 1);
        Ok(Shape { page_size, pages, encoding: if (1..=3).contains(&encoding) { encoding } else { 1 }, guessed: told != Some(page_size) })
    }

    pub fn reader<'c>(&self, db: &'c Connection) -> PageReader<'c> {
        open_damaged(db, self.page_size, self.pages, self.encoding)
    }
}

/// How many places of a file, of those that are multiples of 512, 1024, … 65536, begin as a b-tree page does. Pages of
/// one size begin at its multiples: a larger size misses every second of them, a smaller one finds no more.
struct Pages([u32; 8]);

const SIZES: [usize; 8] = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];

impl Pages {
    fn count(db: &Connection, len: u64) -> Pages {
        let blocks = len.div_ceil(BLOCK);
        let step = blocks.div_ceil(LOOKS).max(1) as usize;
        let (mut found, mut block) = ([0; 8], vec![0; BLOCK as usize]);
        for n in (0..blocks).step_by(step) {
            let at = n * BLOCK;
            let Some(bytes) = block.get_mut(..BLOCK.min(len - at) as usize) else { continue };
            if file::read(db, Part::Database, at, bytes).is_err() {
                continue;
            }
            for (i, place) in bytes.chunks(512).enumerate() {
                let begin = if at == 0 && i == 0 { 100 } else { 0 };
                if place.get(begin..).is_some_and(|p| begins_a_page(p, begin)) {
                    for (count, size) in found.iter_mut().zip(SIZES) {
                        *count += u32::from((i * 512).is_multiple_of(size));
                    }
                }
            }
        }
        Pages(found)
    }

    /// Whether nearly all of the pages begin at multiples of this size.
    fn fit(&self, size: usize) -> bool {
        let all = self.0.first().copied().unwrap_or(0);
        SIZES.iter().zip(self.0).any(|(s, n)| *s == size && n > 0 && n * 5 >= all * 4)
    }

    fn size(&self) -> Option<usize> {
        SIZES.into_iter().rev().find(|s| self.fit(*s))
    }
}

/// Kind, number of cells, begin of the cells, fragments; and the first cell lies behind the begin of all.
fn begins_a_page(p: &[u8], begin: usize) -> bool {
    let [kind, _, _, c1, c2, s1, s2, fragments, rest @ ..] = p else { return false };
    let (cells, start) = (usize::from(u16::from_be_bytes([*c1, *c2])), usize::from(u16::from_be_bytes([*s1, *s2])));
    let start = if start == 0 { 65536 } else { start };
    let head = if matches!(kind, 2 | 5) { 4 } else { 0 };
    let first = match rest.get(head..) {
        Some([a, b, ..]) => usize::from(u16::from_be_bytes([*a, *b])),
        _ => return false,
    };
    matches!(kind, 2 | 5 | 10 | 13) && cells > 0 && begin + 8 + head + 2 * cells <= start && first >= start && *fragments <= 60
}
