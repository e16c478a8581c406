//! A walk over a damaged database: takes every record that can still be read, says which of them are in doubt, and notes
//! what cannot be read at all.
use super::{
    Bad::{self, Corrupt},
    PageReader, Record, Window,
    btree::{self, INDEX_INTERIOR, INDEX_LEAF, Overflow, TABLE_INTERIOR, TABLE_LEAF},
};
use std::collections::BTreeMap;

/// Interior and leaf pages noted one by one; of more, only the number is kept.
const NOTED: usize = 1000;

/// Cells of one page that may lie over others before the page is given up.
const MOST_OVERLAPS: usize = 50;

/// What a tolerant walk saw.
pub struct Salvage {
    /// One bit a page: reached by any walk so far.
    seen: Vec<u64>,
    pub records: u64,
    /// Pages that could not be read, as a whole or in part.
    pub bad: Vec<(u32, Bad)>,
    pub bad_total: u64,
    /// Overflow pages that may still be read: chains that share pages must not cost the square of the file.
    spill: u64,
}

/// A record that could be read.
pub struct Found<'a> {
    pub page: u32,
    /// None in an index b-tree.
    pub rowid: Option<i64>,
    pub record: &'a [u8],
    /// Why it may never have been a row of this table.
    pub doubt: Option<&'static str>,
}

pub type Take<'t> = dyn FnMut(&Found<'_>) -> crate::Result<()> + 't;

/// A page that belongs to nobody who is known.
#[derive(Clone, Copy, Debug)]
pub struct Stray {
    pub page: u32,
    pub index: bool,
    /// It is on the freelist.
    pub free: bool,
}

/// A page to visit, and between which rowids its rows lie: above the first, up to the second.
struct Todo {
    page: u32,
    above: Option<i64>,
    upto: Option<i64>,
}

impl Salvage {
    pub fn new(reader: &PageReader<'_>) -> Salvage {
        Salvage { seen: vec![0; reader.pages as usize / 64 + 1], records: 0, bad: vec![], bad_total: 0, spill: 4 * u64::from(reader.pages) + 1000 }
    }

    /// Whether the page was not seen before; it is now.
    fn visit(&mut self, page: u32) -> bool {
        let Some(word) = self.seen.get_mut(page as usize / 64) else { return false };
        let bit = 1 << (page % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    fn note(&mut self, page: u32, bad: Bad) {
        self.bad_total += 1;
        if self.bad.len() < NOTED {
            self.bad.push((page, bad));
        }
    }

    /// Forgets what was noted after the first `total`.
    pub fn forget(&mut self, total: u64) {
        self.bad.truncate(usize::try_from(total).unwrap_or(NOTED));
        self.bad_total = total;
    }

    /// Passes the freelist. Its pages may hold rows that were deleted, and older copies of others: they are told apart.
    pub fn freelist(&mut self, reader: &PageReader<'_>) -> Vec<Stray> {
        let mut free = vec![];
        self.pass(reader, &mut free);
        let mut window = Window::default();
        free.into_iter().filter_map(|page| Stray::at(reader, page, true, &mut window)).collect()
    }

    fn pass(&mut self, reader: &PageReader<'_>, free: &mut Vec<u32>) {
        let mut window = Window::default();
        let Ok(mut trunk) = reader.fetch(1, &mut window, &[]).and_then(|()| btree::be32(window.page(reader.page_size), 32)) else { return };
        while trunk != 0 && trunk <= reader.pages && reader.fetch(trunk, &mut window, &[]).is_ok() {
            let p = window.page(reader.page_size);
            let (Ok(next), Ok(n)) = (btree::be32(p, 0), btree::be32(p, 4)) else { return };
            // A page of another kind in its place holds rows that are not free.
            if next > reader.pages || n as usize > reader.page_size / 4 - 2 || !self.visit(trunk) {
                return;
            }
            for i in 0..n as usize {
                if let Ok(leaf) = btree::be32(p, 8 + 4 * i)
                    && self.visit(leaf)
                {
                    free.push(leaf);
                }
            }
            trunk = next;
        }
    }

    /// Pages with records that no walk has reached, since the way down to them is damaged: leaves of tables, and any page
    /// of an index, as which a table WITHOUT ROWID is stored, too.
    pub fn unreached(&self, reader: &PageReader<'_>) -> Vec<Stray> {
        let mut window = Window::default();
        let reached = |page: u32| self.seen.get(page as usize / 64).is_some_and(|w| w & (1 << (page % 64)) != 0);
        (2..=reader.pages).filter(|p| !reached(*p)).filter_map(|p| Stray::at(reader, p, false, &mut window)).collect()
    }
}

impl Stray {
    /// None where the page holds no records.
    fn at(reader: &PageReader<'_>, page: u32, free: bool, window: &mut Window) -> Option<Stray> {
        let next = [page + 1, page + 2, page + 3];
        reader.fetch(page, window, if free { &[] } else { &next }).ok()?;
        match roughly(window.page(reader.page_size), page).ok()? {
            (_, 0) => None,
            (TABLE_LEAF, _) => Some(Stray { page, index: false, free }),
            (INDEX_LEAF | INDEX_INTERIOR, _) => Some(Stray { page, index: true, free }),
            _ => None,
        }
    }
}

/// As `head`, with no more cells than the page has room for.
fn roughly(p: &[u8], page: u32) -> super::Result<(u8, usize)> {
    let h = btree::start(page);
    let kind = *p.get(h).ok_or(Corrupt("page"))?;
    let room = p.len().saturating_sub(h + btree::cells(kind)) / 2;
    Ok((kind, btree::be16(p, h + 3)?.min(room)))
}

/// Gives each readable record below `root`; order is not promised.
pub fn salvage(reader: &PageReader<'_>, root: u32, state: &mut Salvage, take: &mut Take<'_>) -> crate::Result<()> {
    let (mut todo, mut window) = (vec![Todo { page: root, above: None, upto: None }], Window::default());
    // A page is of the kind its root is of, or it belongs to somebody else.
    let mut of_index = None;
    while let Some(at) = todo.pop() {
        let page = at.page;
        if !state.visit(page) {
            state.note(page, Corrupt("reached twice, or no such page"));
            continue;
        }
        let (kind, n) = match reader.fetch(page, &mut window, &[]).and_then(|()| roughly(window.page(reader.page_size), page)) {
            Ok(head) => head,
            Err(bad) => {
                state.note(page, bad);
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
                state.note(page, Corrupt("page type"));
                continue;
            }
        };
        if *of_index.get_or_insert(index) != index {
            state.note(page, Corrupt("page of another kind"));
            continue;
        }
        if interior {
            children(p, page, kind, n, &at, state, &mut todo);
            if !index {
                continue;
            }
        }
        leaf(reader, p, (page, kind, n), &at, state, take)?;
    }
    Ok(())
}

/// Gives each readable record of this page, and of no page below it.
pub fn salvage_page(reader: &PageReader<'_>, page: u32, state: &mut Salvage, take: &mut Take<'_>) -> crate::Result<()> {
    let mut window = Window::default();
    state.visit(page);
    match reader.fetch(page, &mut window, &[]).and_then(|()| roughly(window.page(reader.page_size), page)) {
        Ok((kind, n)) => leaf(reader, window.page(reader.page_size), (page, kind, n), &Todo { page, above: None, upto: None }, state, take),
        Err(bad) => {
            state.note(page, bad);
            Ok(())
        }
    }
}

/// One bad child must not cost its sisters.
fn children(p: &[u8], page: u32, kind: u8, n: usize, at: &Todo, state: &mut Salvage, todo: &mut Vec<Todo>) {
    let first = todo.len();
    let mut above = at.above;
    for i in 0..n {
        let get = || {
            let mut o = btree::cell(p, page, kind, i)?;
            let child = btree::be32(p, o)?;
            o += 4;
            let key = if kind == TABLE_INTERIOR { Some(btree::varint(p, &mut o)? as i64) } else { None };
            Ok::<_, Bad>((child, key))
        };
        match get() {
            Ok((child, key)) => {
                todo.push(Todo { page: child, above, upto: key });
                above = key;
            }
            Err(bad) => {
                state.note(page, bad);
                above = None;
            }
        }
    }
    match btree::be32(p, btree::start(page) + 8) {
        Ok(child) => todo.push(Todo { page: child, above, upto: at.upto }),
        Err(bad) => state.note(page, bad),
    }
    // Last in, first out.
    if let Some(added) = todo.get_mut(first..) {
        added.reverse();
    }
}

/// The records of one page.
fn leaf(reader: &PageReader<'_>, p: &[u8], (page, kind, n): (u32, u8, usize), at: &Todo, state: &mut Salvage, take: &mut Take<'_>) -> crate::Result<()> {
    let (interior, index) = (matches!(kind, TABLE_INTERIOR | INDEX_INTERIOR), matches!(kind, INDEX_LEAF | INDEX_INTERIOR));
    let mut buffer = vec![];
    let mut extents: BTreeMap<usize, usize> = BTreeMap::new();
    let mut overlaps = 0;
    let mut last = at.above;
    // The cells begin where their offsets end. A number of cells that reaches into them is wrong, and which of the offsets
    // are left over from deleted rows cannot be told.
    let offsets = |i: usize| btree::start(page) + btree::cells(kind) + 2 * i;
    let (mut count, mut lowest) = (0, p.len());
    while count < n && offsets(count + 1) <= lowest {
        count += 1;
        if let Ok(from) = btree::cell(p, page, kind, count - 1)
            && from >= offsets(count)
        {
            lowest = lowest.min(from);
        }
    }
    let doubtful = (count < n || btree::be16(p, btree::start(page) + 3).is_ok_and(|told| told > n)).then_some("its page tells a wrong number of rows");
    if let Some(why) = doubtful {
        state.note(page, Corrupt(why));
    }
    for i in 0..count {
        let mut spent = 0;
        // Each record has a chain of its own: one that runs wild costs one record, not the rest.
        let mut get = || -> super::Result<(Option<i64>, usize, usize)> {
            let from = btree::cell(p, page, kind, i)?;
            if from < offsets(count) {
                return Err(Corrupt("cell offset"));
            }
            let mut o = from + if interior { 4 } else { 0 };
            let len = btree::length(p, &mut o)?;
            let rowid = if index { None } else { Some(btree::varint(p, &mut o)? as i64) };
            let held = btree::local(reader.page_size, len, index);
            spent = btree::spilled(reader.page_size, len, index);
            if spent > state.spill {
                return Err(Corrupt("overflow chains share pages"));
            }
            Overflow::new(reader).payload(reader, p, o, len, index, &mut buffer)?;
            whole(&buffer)?;
            Ok((rowid, from, o + held + if held < len { 4 } else { 0 }))
        };
        let got = get();
        state.spill = state.spill.saturating_sub(spent);
        match got {
            Ok((rowid, from, to)) => {
                let mut doubt = doubtful;
                if let Some(rowid) = rowid {
                    if last.is_some_and(|l| rowid <= l) || at.upto.is_some_and(|u| rowid > u) {
                        doubt = Some("its rowid is out of order");
                    } else {
                        last = Some(rowid);
                    }
                }
                if extents.range(..to).next_back().is_some_and(|(_, end)| *end > from) {
                    doubt = Some("it overlaps another row");
                    overlaps += 1;
                    // A page made to be read a thousand times over is no page of rows.
                    if overlaps > MOST_OVERLAPS {
                        state.note(page, Corrupt("cells overlap"));
                        return Ok(());
                    }
                }
                extents.insert(from, to);
                state.records += 1;
                take(&Found { page, rowid, record: &buffer, doubt })?;
            }
            Err(bad) => state.note(page, bad),
        }
    }
    Ok(())
}

/// A record that is one: each value is there, and nothing is left over.
fn whole(record: &[u8]) -> super::Result<()> {
    let mut values = Record::new(record)?;
    while values.advance()?.is_some() {}
    if values.is_used_up() { Ok(()) } else { Err(Corrupt("record length")) }
}
