//! A cursor over a rowid table in rowid order, leaf page by leaf page.
use super::{
    Bad::Corrupt,
    PageReader, Result, Window,
    btree::{self, DEPTH, Overflow, TABLE_INTERIOR, TABLE_LEAF, ahead, head},
};

/// Stands on a row until [`Table::is_done`].
pub struct Table<'r> {
    reader: &'r PageReader<'r>,
    window: Window,
    overflow: Overflow,
    /// The children of each interior page above, and which is next.
    path: Vec<(Vec<u32>, usize)>,
    /// Tree pages that may still be read: more means a cycle.
    budget: u32,
    page: u32,
    cells: usize,
    cell: usize,
    rowid: i64,
    last: Option<i64>,
    at: usize,
    len: usize,
    done: bool,
    spill: Vec<u8>,
    spill_is_of: Option<i64>,
}

impl<'r> Table<'r> {
    pub fn new(reader: &'r PageReader<'r>, root: u32) -> Result<Table<'r>> {
        Table::of(reader, vec![root])
    }

    /// Over subtrees of one table that follow each other, as [`split`] gives them.
    pub fn of(reader: &'r PageReader<'r>, subtrees: Vec<u32>) -> Result<Table<'r>> {
        let mut t = Table {
            reader,
            window: Window::default(),
            overflow: Overflow::new(reader),
            path: vec![(subtrees, 0)],
            budget: reader.pages,
            page: 0,
            cells: 0,
            cell: 0,
            rowid: 0,
            last: None,
            at: 0,
            len: 0,
            done: false,
            spill: vec![],
            spill_is_of: None,
        };
        t.next_leaf()?;
        Ok(t)
    }

    pub fn is_done(&self) -> bool {
        self.done
    }

    pub fn rowid(&self) -> i64 {
        self.rowid
    }

    /// Bytes of the current record.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The current leaf, without the file header on page 1.
    pub(super) fn leaf(&self) -> &[u8] {
        self.window.page(self.reader.page_size).get(btree::start(self.page)..).unwrap_or_default()
    }

    /// Rows on the current leaf.
    pub(super) fn leaf_rows(&self) -> u64 {
        self.cells as u64
    }

    pub(super) fn page_size(&self) -> usize {
        self.reader.page_size
    }

    pub(super) fn at_leaf_start(&self) -> bool {
        self.cell == 0
    }

    /// Moves to the next row.
    #[inline]
    pub fn advance(&mut self) -> Result<()> {
        self.cell += 1;
        if self.cell < self.cells { self.read_cell() } else { self.next_leaf() }
    }

    /// Moves to the first row of the next leaf that has one.
    fn next_leaf(&mut self) -> Result<()> {
        loop {
            let Some((children, next)) = self.path.last_mut() else {
                self.done = true;
                return Ok(());
            };
            let Some(&page) = children.get(*next) else {
                self.path.pop();
                continue;
            };
            *next += 1;
            self.budget = self.budget.checked_sub(1).ok_or(Corrupt("cycle"))?;
            self.reader.fetch(page, &mut self.window, ahead(children, *next))?;
            let p = self.window.page(self.reader.page_size);
            let (kind, n) = head(p, page)?;
            match kind {
                TABLE_INTERIOR if self.path.len() > DEPTH => return Err(Corrupt("depth")),
                TABLE_INTERIOR => self.path.push((btree::children(p, page, kind, n)?, 0)),
                TABLE_LEAF => {
                    (self.page, self.cells, self.cell) = (page, n, 0);
                    if n > 0 {
                        return self.read_cell();
                    }
                }
                _ => return Err(Corrupt("page type")),
            }
        }
    }

    #[inline]
    fn read_cell(&mut self) -> Result<()> {
        let size = self.reader.page_size;
        let p = self.window.page(size);
        let mut o = btree::cell(p, self.page, TABLE_LEAF, self.cell)?;
        let len = btree::length(p, &mut o)?;
        let rowid = btree::varint(p, &mut o)? as i64;
        if self.last.is_some_and(|last| rowid <= last) {
            return Err(Corrupt("rowid order"));
        }
        if o + btree::local(size, len, false) > p.len() {
            return Err(Corrupt("payload"));
        }
        (self.at, self.len, self.rowid, self.last) = (o, len, rowid, Some(rowid));
        Ok(())
    }

    /// The current record.
    #[inline]
    pub fn record(&mut self) -> Result<&[u8]> {
        let size = self.reader.page_size;
        let p = self.window.page(size);
        if self.len <= btree::whole(size, false) {
            return p.get(self.at..self.at + self.len).ok_or(Corrupt("payload"));
        }
        if self.spill_is_of != Some(self.rowid) {
            self.spill_is_of = None;
            self.overflow.payload(self.reader, p, self.at, self.len, false, &mut self.spill)?;
            self.spill_is_of = Some(self.rowid);
        }
        Ok(&self.spill)
    }

    /// Whether a row of the current leaf continues on overflow pages.
    pub(super) fn leaf_spills(&self) -> Result<bool> {
        let size = self.reader.page_size;
        let p = self.window.page(size);
        for i in 0..self.cells {
            if btree::length(p, &mut btree::cell(p, self.page, TABLE_LEAF, i)?)? > btree::whole(size, false) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Passes the current leaf by; its last rowid serves the order check.
    pub(super) fn skip_leaf(&mut self) -> Result<()> {
        self.cell = self.cells.saturating_sub(1);
        self.last = None;
        self.read_cell()?;
        self.next_leaf()
    }
}

/// The subtrees of a table in at most `parts` runs of about equal size, in order: for threads with a snapshot each.
pub fn split(reader: &PageReader<'_>, root: u32, parts: usize) -> Result<Vec<Vec<u32>>> {
    let (mut level, mut window) = (vec![root], Window::default());
    for _ in 0..DEPTH {
        if level.len() >= parts * 8 {
            break;
        }
        let mut below = vec![];
        for (i, &page) in level.iter().enumerate() {
            reader.fetch(page, &mut window, ahead(&level, i + 1))?;
            let p = window.page(reader.page_size);
            match head(p, page)? {
                (TABLE_INTERIOR, n) => below.extend(btree::children(p, page, TABLE_INTERIOR, n)?),
                (TABLE_LEAF, _) => return Ok(chunks(&level, parts)),
                _ => return Err(Corrupt("page type")),
            }
            if below.len() > reader.pages as usize {
                return Err(Corrupt("cycle"));
            }
        }
        level = below;
    }
    Ok(chunks(&level, parts))
}

fn chunks(level: &[u32], parts: usize) -> Vec<Vec<u32>> {
    level.chunks(level.len().div_ceil(parts.max(1)).max(1)).map(<[u32]>::to_vec).collect()
}
