//! Pages and bytes of each b-tree of a database, counted from the pages themselves (what dbstat tells where a host has it).
use super::{
    Bad::Corrupt,
    PageReader, Result, Window,
    btree::{self, DEPTH, INDEX_INTERIOR, INDEX_LEAF, TABLE_INTERIOR, TABLE_LEAF, ahead, head},
};
use rusqlite::Connection;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    #[default]
    Table,
    /// An index, or a WITHOUT ROWID table.
    Index,
}

/// What one b-tree takes.
#[derive(Clone, Debug, Default)]
pub struct Space {
    pub name: String,
    /// The table an index belongs to; a table's own name.
    pub table: String,
    pub kind: Kind,
    pub interior: u64,
    pub leaf: u64,
    pub overflow: u64,
    /// Rows of a table, entries of an index.
    pub entries: u64,
    /// Bytes of the records.
    pub payload: u64,
    /// Bytes on these pages that hold nothing.
    pub unused: u64,
}

impl Space {
    pub fn pages(&self) -> u64 {
        self.interior + self.leaf + self.overflow
    }
}

/// Every b-tree of the snapshot, the schema table first. `tick` may stop the count.
pub fn spaces(reader: &PageReader<'_>, db: &Connection, mut tick: impl FnMut() -> crate::Result<()>) -> crate::Result<Vec<Space>> {
    let mut q = db.prepare("SELECT 'sqlite_schema', 'sqlite_schema', 1 UNION ALL SELECT name, tbl_name, rootpage FROM sqlite_schema WHERE rootpage > 0")?;
    let roots = q.query_map([], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?, r.get::<_, u32>(2)?)))?;
    let mut budget = reader.pages;
    let mut all = vec![];
    for root in roots {
        let (name, table, root) = root?;
        tick()?;
        let mut space = Space { name, table, ..Space::default() };
        count(reader, &[root], 0, &mut budget, &mut space)?;
        all.push(space);
    }
    Ok(all)
}

fn count(reader: &PageReader<'_>, pages: &[u32], depth: usize, budget: &mut u32, space: &mut Space) -> Result<()> {
    if depth > DEPTH {
        return Err(Corrupt("depth"));
    }
    let size = reader.page_size;
    let mut window = Window::default();
    for (i, &page) in pages.iter().enumerate() {
        *budget = budget.checked_sub(1).ok_or(Corrupt("cycle"))?;
        reader.fetch(page, &mut window, ahead(pages, i + 1))?;
        let p = window.page(size);
        let (kind, n) = head(p, page)?;
        let interior = matches!(kind, TABLE_INTERIOR | INDEX_INTERIOR);
        let index = match kind {
            TABLE_INTERIOR | TABLE_LEAF => false,
            INDEX_INTERIOR | INDEX_LEAF => true,
            _ => return Err(Corrupt("page type")),
        };
        space.kind = if index { Kind::Index } else { Kind::Table };
        let mut used = btree::start(page) + btree::cells(kind) + 2 * n;
        for i in 0..n {
            let begin = btree::cell(p, page, kind, i)?;
            let mut o = begin + if interior { 4 } else { 0 };
            if kind == TABLE_INTERIOR {
                btree::varint(p, &mut o)?;
            } else {
                let len = btree::length(p, &mut o)?;
                if !index {
                    btree::varint(p, &mut o)?;
                }
                let (held, spilled) = (btree::local(size, len, index), btree::spilled(size, len, index));
                o += held + if spilled > 0 { 4 } else { 0 };
                space.entries += 1;
                space.payload += len as u64;
                space.overflow += spilled;
                space.unused += spilled * (size as u64 - 4) - (len - held) as u64;
            }
            // A freed cell must have room for a freeblock: none is shorter than four bytes.
            used += (o - begin).max(4);
        }
        space.unused += size.checked_sub(used).ok_or(Corrupt("cells"))? as u64;
        if interior {
            space.interior += 1;
            count(reader, &btree::children(p, page, kind, n)?, depth + 1, budget, space)?;
        } else {
            space.leaf += 1;
        }
    }
    Ok(())
}
