//! How the bytes of a damaged file are cut into pages, where its header no longer says so.
use crate::db::pages::{PageReader, open_damaged};
use crate::error::{Error, Kind, Result};
use crate::kit::file::{self, Part};
use rusqlite::Connection;
use std::path::Path;

/// Pages looked at for each page size that is tried.
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
        let score = |size: usize| plausible(db, size, len);
        let told = told.filter(|size| *size as u64 <= len && score(*size) > 0.2);
        let sizes = [65536, 32768, 16384, 8192, 4096, 2048, 1024, 512].into_iter().filter(|s| *s as u64 <= len);
        let best = || sizes.map(|s| (score(s), s)).max_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let page_size = match told.or_else(|| best().filter(|b| b.0 > 0.0).map(|b| b.1)) {
            Some(size) => size,
            None => return Err(Error::new(Kind::NotADatabase, format!("\"{}\" has no page of a SQLite database (or it is encrypted)", path.display()))),
        };
        let encoding = u32::from_be_bytes([head[56], head[57], head[58], head[59]]);
        let pages = u32::try_from(len.div_ceil(page_size as u64)).unwrap_or(u32::MAX - 1);
        Ok(Shape { page_size, pages, encoding: if (1..=3).contains(&encoding) { encoding } else { 1 }, guessed: told.is_none() })
    }

    pub fn reader<'c>(&self, db: &'c Connection) -> PageReader<'c> {
        open_damaged(db, self.page_size, self.pages, self.encoding)
    }
}

/// Which part of the pages begins as a b-tree page does.
fn plausible(db: &Connection, size: usize, len: u64) -> f64 {
    let pages = len / size as u64;
    let step = (pages / LOOKS).max(1);
    let (mut looked, mut good) = (0, 0);
    let mut n = 0;
    while n < pages {
        let at = n * size as u64 + if n == 0 { 100 } else { 0 };
        let mut head = [0; 8];
        if file::read(db, Part::Database, at, &mut head).is_ok() {
            let [kind, _, _, c1, c2, s1, s2, fragments] = head;
            let (cells, start) = (usize::from(u16::from_be_bytes([c1, c2])), usize::from(u16::from_be_bytes([s1, s2])));
            let start = if start == 0 { 65536 } else { start };
            looked += 1;
            if matches!(kind, 2 | 5 | 10 | 13) && cells > 0 && start <= size && 8 + 2 * cells <= start && fragments <= 60 {
                good += 1;
            }
        }
        n += step;
    }
    if looked == 0 { 0.0 } else { f64::from(good) / f64::from(looked) }
}
