//! A walk over a damaged database: takes every record that can still be read, and notes what cannot.
use super::{
    Bad::{self, Corrupt},
    PageReader, Window,
    btree::{self, INDEX_INTERIOR, INDEX_LEAF, Overflow, TABLE_INTERIOR, TABLE_LEAF, head},
    record,
};

/// What a tolerant walk saw.
pub struct Salvage {
    /// One bit a page: reached by any walk so far.
    seen: Vec<u64>,
    pub records: u64,
    /// Pages that could not be read, as a whole or in part.
    pub bad: Vec<(u32, Bad)>,
}

impl Salvage {
    pub fn new(reader: &PageReader<'_>) -> Salvage {
        Salvage { seen: vec![0; reader.pages as usize / 64 + 1], records: 0, bad: vec![] }
    }

    /// Whether the page was not seen before; it is now.
    fn visit(&mut self, page: u32) -> bool {
        let Some(word) = self.seen.get_mut(page as usize / 64) else { return false };
        let bit = 1 << (page % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Leaf pages of tables that no walk has reached: rows whose way down is damaged, and rows deleted long ago.
    pub fn unreached(&self, reader: &PageReader<'_>) -> Vec<u32> {
        let mut window = Window::default();
        let is_leaf = |page: u32, window: &mut Window| {
            reader.fetch(page, window, &[page + 1, page + 2, page + 3]).is_ok()
                && head(window.page(reader.page_size), page).is_ok_and(|(kind, n)| kind == TABLE_LEAF && n > 0)
        };
        let reached = |page: u32| self.seen.get(page as usize / 64).is_some_and(|w| w & (1 << (page % 64)) != 0);
        (2..=reader.pages).filter(|p| !reached(*p) && is_leaf(*p, &mut window)).collect()
    }
}

/// Gives each readable record below `root` with its rowid (none in an index b-tree); order is not promised.
pub fn salvage(reader: &PageReader<'_>, root: u32, state: &mut Salvage, take: &mut dyn FnMut(Option<i64>, &[u8]) -> crate::Result<()>) -> crate::Result<()> {
    let (mut todo, mut window) = (vec![root], Window::default());
    let mut buffer = vec![];
    while let Some(page) = todo.pop() {
        if !state.visit(page) {
            state.bad.push((page, Corrupt("reached twice, or no such page")));
            continue;
        }
        let read = reader.fetch(page, &mut window, &[]).and_then(|()| head(window.page(reader.page_size), page));
        let (kind, n) = match read {
            Ok(head) => head,
            Err(bad) => {
                state.bad.push((page, bad));
                continue;
            }
        };
        let p = window.page(reader.page_size);
        let (interior, index) = match kind {
            TABLE_LEAF => (false, false),
            TABLE_INTERIOR => (true, false),
            INDEX_LEAF => (false, true),
            INDEX_INTERIOR => (true, true),
            _ => {
                state.bad.push((page, Corrupt("page type")));
                continue;
            }
        };
        if interior {
            // One bad child must not cost its sisters. Last in, first out: from the last to the first.
            todo.extend(btree::be32(p, btree::start(page) + 8));
            for i in (0..n).rev() {
                match btree::cell(p, page, kind, i).and_then(|o| btree::be32(p, o)) {
                    Ok(child) => todo.push(child),
                    Err(bad) => state.bad.push((page, bad)),
                }
            }
            if !index {
                continue;
            }
        }
        for i in 0..n {
            // Each record has a budget of its own: a chain that runs wild costs one record, not the rest.
            let mut overflow = Overflow::new(reader);
            let mut get = || -> super::Result<Option<i64>> {
                let mut o = btree::cell(p, page, kind, i)? + if interior { 4 } else { 0 };
                let len = btree::length(p, &mut o)?;
                let rowid = if index { None } else { Some(btree::varint(p, &mut o)? as i64) };
                overflow.payload(reader, p, o, len, index, &mut buffer)?;
                record::fields(&buffer)?;
                Ok(rowid)
            };
            match get() {
                Ok(rowid) => {
                    state.records += 1;
                    take(rowid, &buffer)?;
                }
                Err(bad) => state.bad.push((page, bad)),
            }
        }
    }
    Ok(())
}
