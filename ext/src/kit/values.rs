//! Values kept for a while, in one piece of memory.
use super::Field;
use std::ops::Range;

#[derive(Default)]
pub struct Values {
    cells: Vec<Cell>,
    bytes: Vec<u8>,
}

enum Cell {
    Null,
    Int(i64),
    Real(f64),
    Text(Range<usize>),
    Blob(Range<usize>),
}

impl Values {
    pub fn push(&mut self, value: Field<'_>) {
        let mut keep = |b: &[u8]| {
            let from = self.bytes.len();
            self.bytes.extend_from_slice(b);
            from..self.bytes.len()
        };
        self.cells.push(match value {
            Field::Null => Cell::Null,
            Field::Int(v) => Cell::Int(v),
            Field::Real(v) => Cell::Real(v),
            Field::Text(b) => Cell::Text(keep(b)),
            Field::Blob(b) => Cell::Blob(keep(b)),
        });
    }

    /// The value pushed after `i` others.
    pub fn get(&self, i: usize) -> Option<Field<'_>> {
        let bytes = |r: &Range<usize>| self.bytes.get(r.clone()).unwrap_or_default();
        Some(match self.cells.get(i)? {
            Cell::Null => Field::Null,
            Cell::Int(v) => Field::Int(*v),
            Cell::Real(v) => Field::Real(*v),
            Cell::Text(r) => Field::Text(bytes(r)),
            Cell::Blob(r) => Field::Blob(bytes(r)),
        })
    }

    pub fn count(&self) -> usize {
        self.cells.len()
    }

    /// Bytes of all texts and blobs.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets all of them, and keeps the memory.
    pub fn clear(&mut self) {
        self.cells.clear();
        self.bytes.clear();
    }
}
