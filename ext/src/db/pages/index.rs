//! A cursor over an index b-tree in key order: an index, or a WITHOUT ROWID table. Interior cells hold entries, too.
use super::{
    Bad::Corrupt,
    PageReader, Result, Window,
    btree::{self, DEPTH, INDEX_INTERIOR, INDEX_LEAF, Overflow, ahead, head},
};
use std::ops::Range;

/// An interior page on the way down. Step 2k goes into child k, step 2k + 1 gives entry k.
struct Level {
    number: u32,
    bytes: Vec<u8>,
    entries: usize,
    children: Vec<u32>,
    step: usize,
}

pub struct Index<'r> {
    reader: &'r PageReader<'r>,
    window: Window,
    overflow: Overflow,
    path: Vec<Level>,
    budget: u32,
    /// The current leaf, its entries, and which is next.
    leaf: u32,
    entries: usize,
    entry: usize,
    root: Option<u32>,
    at: At,
    buffer: Vec<u8>,
}

/// Where the current record is.
enum At {
    Leaf(Range<usize>),
    Interior(Range<usize>),
    Buffer,
}

impl<'r> Index<'r> {
    pub fn new(reader: &'r PageReader<'r>, root: u32) -> Index<'r> {
        Index {
            reader,
            window: Window::default(),
            overflow: Overflow::new(reader),
            path: vec![],
            budget: reader.pages,
            leaf: 0,
            entries: 0,
            entry: 0,
            root: Some(root),
            at: At::Buffer,
            buffer: vec![],
        }
    }

    /// Moves to the next entry; false after the last.
    pub fn advance(&mut self) -> Result<bool> {
        if let Some(root) = self.root.take() {
            self.descend(root, &[])?;
        }
        loop {
            if self.entry < self.entries {
                let p = self.window.page(self.reader.page_size);
                let o = btree::cell(p, self.leaf, INDEX_LEAF, self.entry)?;
                self.entry += 1;
                self.at = place(self.reader, &mut self.overflow, p, o, &mut self.buffer)?.map_or(At::Buffer, At::Leaf);
                return Ok(true);
            }
            let Some(level) = self.path.last_mut() else { return Ok(false) };
            let (k, is_entry) = (level.step / 2, level.step % 2 == 1);
            level.step += 1;
            if is_entry {
                if k < level.entries {
                    let o = btree::cell(&level.bytes, level.number, INDEX_INTERIOR, k)? + 4;
                    self.at = place(self.reader, &mut self.overflow, &level.bytes, o, &mut self.buffer)?.map_or(At::Buffer, At::Interior);
                    return Ok(true);
                }
                self.path.pop();
            } else if let Some(&child) = level.children.get(k) {
                let next = ahead(&level.children, k + 1).to_vec();
                self.descend(child, &next)?;
            }
        }
    }

    /// The current entry's record.
    pub fn record(&self) -> &[u8] {
        match &self.at {
            At::Leaf(range) => self.window.page(self.reader.page_size).get(range.clone()),
            At::Interior(range) => self.path.last().and_then(|l| l.bytes.get(range.clone())),
            At::Buffer => Some(self.buffer.as_slice()),
        }
        .unwrap_or_default()
    }

    fn descend(&mut self, page: u32, next: &[u32]) -> Result<()> {
        self.budget = self.budget.checked_sub(1).ok_or(Corrupt("cycle"))?;
        self.reader.fetch(page, &mut self.window, next)?;
        let p = self.window.page(self.reader.page_size);
        let (kind, n) = head(p, page)?;
        match kind {
            INDEX_LEAF => (self.leaf, self.entries, self.entry) = (page, n, 0),
            INDEX_INTERIOR if self.path.len() > DEPTH => return Err(Corrupt("depth")),
            INDEX_INTERIOR => {
                let children = btree::children(p, page, kind, n)?;
                self.path.push(Level { number: page, bytes: p.to_vec(), entries: n, children, step: 0 });
            }
            _ => return Err(Corrupt("page type")),
        }
        Ok(())
    }
}

/// Where the record of the cell at `o` lies on its page; None where it had to be put together in `buffer`.
fn place(reader: &PageReader<'_>, overflow: &mut Overflow, p: &[u8], mut o: usize, buffer: &mut Vec<u8>) -> Result<Option<Range<usize>>> {
    let len = btree::length(p, &mut o)?;
    if len > btree::whole(reader.page_size, true) {
        overflow.payload(reader, p, o, len, true, buffer)?;
        return Ok(None);
    }
    if o + len > p.len() { Err(Corrupt("payload")) } else { Ok(Some(o..o + len)) }
}
