//! The bytes of a b-tree page. Every read is checked: a damaged file ends in [`Bad`], never in a loop or a panic.
//!
//! ```text
//! page 1 begins with the 100 bytes of the file header
//! page   kind (5, 13 table; 2, 10 index; 5 and 2 interior) · freeblock u16 · cells u16 · content u16 · fragments u8 · [right child u32]
//!        then one u16 offset a cell
//! cell   table leaf: varint payload, varint rowid, payload     index leaf: varint payload, payload
//!        table interior: u32 child, varint rowid               index interior: u32 child, varint payload, payload
//!        a payload too long for its cell ends in the u32 number of the first overflow page: u32 next, then bytes
//! ```
use super::{Bad, PageReader, Result, Window};
use Bad::Corrupt;

pub const TABLE_INTERIOR: u8 = 0x05;
pub const TABLE_LEAF: u8 = 0x0d;
pub const INDEX_INTERIOR: u8 = 0x02;
pub const INDEX_LEAF: u8 = 0x0a;

/// SQLite's own limit of a cursor.
pub const DEPTH: usize = 20;
/// How many children are looked ahead to make a run.
const AHEAD: usize = 64;
const MAX_PAYLOAD: u64 = 0x7fff_ffff;

#[inline]
pub fn be16(p: &[u8], o: usize) -> Result<usize> {
    match p.get(o..o + 2) {
        Some(&[a, b]) => Ok(usize::from(u16::from_be_bytes([a, b]))),
        _ => Err(Corrupt("offset")),
    }
}

#[inline]
pub fn be32(p: &[u8], o: usize) -> Result<u32> {
    match p.get(o..o + 4) {
        Some(&[a, b, c, d]) => Ok(u32::from_be_bytes([a, b, c, d])),
        _ => Err(Corrupt("offset")),
    }
}

/// One to nine bytes, seven bits each, the ninth whole.
#[inline]
pub fn varint(p: &[u8], o: &mut usize) -> Result<u64> {
    match p.get(*o) {
        Some(&b) if b < 0x80 => {
            *o += 1;
            Ok(u64::from(b))
        }
        _ => long_varint(p, o),
    }
}

fn long_varint(p: &[u8], o: &mut usize) -> Result<u64> {
    let mut v = 0u64;
    for i in 0..9 {
        let b = *p.get(*o).ok_or(Corrupt("varint"))?;
        *o += 1;
        if i == 8 {
            return Ok(v << 8 | u64::from(b));
        }
        v = v << 7 | u64::from(b & 0x7f);
        if b < 0x80 {
            break;
        }
    }
    Ok(v)
}

/// The length of a payload.
#[inline]
pub fn length(p: &[u8], o: &mut usize) -> Result<usize> {
    match varint(p, o)? {
        n if n <= MAX_PAYLOAD => Ok(n as usize),
        _ => Err(Corrupt("payload size")),
    }
}

/// The longest payload that lies in its cell as a whole.
#[inline]
pub fn whole(page_size: usize, index: bool) -> usize {
    if index { (page_size - 12) * 64 / 255 - 23 } else { page_size - 35 }
}

/// Bytes of a payload of `len` that lie in the cell itself.
#[inline]
pub fn local(page_size: usize, len: usize, index: bool) -> usize {
    let most = whole(page_size, index);
    if len <= most {
        return len;
    }
    let least = (page_size - 12) * 32 / 255 - 23;
    let k = least + (len - least) % (page_size - 4);
    if k <= most { k } else { least }
}

/// Overflow pages of a payload of `len`.
pub fn spilled(page_size: usize, len: usize, index: bool) -> u64 {
    (len - local(page_size, len, index)).div_ceil(page_size - 4) as u64
}

/// Where the page's own header begins.
#[inline]
pub fn start(page: u32) -> usize {
    if page == 1 { 100 } else { 0 }
}

/// Kind and number of cells; the cells' offsets fit on the page.
#[inline]
pub fn head(p: &[u8], page: u32) -> Result<(u8, usize)> {
    let h = start(page);
    let kind = *p.get(h).ok_or(Corrupt("page"))?;
    let n = be16(p, h + 3)?;
    if h + cells(kind) + 2 * n > p.len() {
        return Err(Corrupt("cell count"));
    }
    Ok((kind, n))
}

/// Where the offsets of the cells begin, after the page's header.
#[inline]
pub fn cells(kind: u8) -> usize {
    if matches!(kind, TABLE_INTERIOR | INDEX_INTERIOR) { 12 } else { 8 }
}

/// Offset of cell `i`.
#[inline]
pub fn cell(p: &[u8], page: u32, kind: u8, i: usize) -> Result<usize> {
    be16(p, start(page) + cells(kind) + 2 * i)
}

/// The children of an interior page, in order.
pub fn children(p: &[u8], page: u32, kind: u8, n: usize) -> Result<Vec<u32>> {
    let mut all = Vec::with_capacity(n + 1);
    for i in 0..n {
        all.push(be32(p, cell(p, page, kind, i)?)?);
    }
    all.push(be32(p, start(page) + 8)?);
    Ok(all)
}

/// The children that follow, for reading ahead.
pub fn ahead(children: &[u32], from: usize) -> &[u32] {
    children.get(from..children.len().min(from + AHEAD)).unwrap_or_default()
}

/// Follows overflow chains. Each overflow page belongs to one row: a file in which chains share pages is damaged,
/// and must not cost the square of its size.
pub struct Overflow {
    window: Window,
    budget: u32,
}

impl Overflow {
    pub fn new(reader: &PageReader<'_>) -> Self {
        Overflow { window: Window::default(), budget: reader.pages }
    }

    /// The whole payload whose `len` bytes begin at `o` of page `p`.
    pub fn payload(&mut self, reader: &PageReader<'_>, p: &[u8], o: usize, len: usize, index: bool, out: &mut Vec<u8>) -> Result<()> {
        let held = local(reader.page_size, len, index);
        out.clear();
        out.extend_from_slice(p.get(o..o + held).ok_or(Corrupt("payload"))?);
        if held == len {
            return Ok(());
        }
        let room = reader.page_size - 4;
        if (len - held) / room > reader.pages as usize {
            return Err(Corrupt("payload size"));
        }
        let mut page = be32(p, o + held)?;
        let mut run = [0; AHEAD];
        while out.len() < len {
            self.budget = self.budget.checked_sub(1).ok_or(Corrupt("overflow cycle"))?;
            // Mostly consecutive, but never more than this row needs.
            let more = ((len - out.len()).div_ceil(room) - 1).min(AHEAD);
            let mut n = page;
            for slot in run.iter_mut().take(more) {
                n = n.saturating_add(1);
                *slot = n;
            }
            reader.fetch(page, &mut self.window, run.get(..more).unwrap_or_default())?;
            let p = self.window.page(reader.page_size);
            out.extend_from_slice(p.get(4..4 + room.min(len - out.len())).ok_or(Corrupt("overflow"))?);
            page = be32(p, 0)?;
        }
        if page == 0 { Ok(()) } else { Err(Corrupt("overflow chain")) }
    }
}
