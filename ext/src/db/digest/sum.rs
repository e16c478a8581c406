//! A digest of rows that does not depend on their order: each row is hashed, and the hashes are added up.
//!
//! Sums can be split among threads, and kept up to date row by row. `fast` (xxh3) notices every accident; `sha256` is for
//! content that travels. Neither is made to withstand somebody who constructs *many* rows to reach a given sum.
use crate::kit::Field;
use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::xxh3_64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    Fast,
    Sha256,
}

/// One odd constant a type keeps 1, 1.0 and '1' apart.
const NULL: u64 = 0x9e37_79b9_7f4a_7c15;
const INT: u64 = 0xbf58_476d_1ce4_e5b9;
const REAL: u64 = 0x94d0_49bb_1331_11eb;
const TEXT: u64 = 0xd6e8_feb8_6659_fd93;
const BLOB: u64 = 0xa076_1d64_78bd_642f;

#[derive(Clone)]
pub struct Sum {
    algorithm: Algorithm,
    rows: u64,
    /// The sum so far, least significant word first.
    lanes: [u64; 4],
    /// The row being read: its hash so far, or its bytes.
    hash: u64,
    bytes: Vec<u8>,
}

impl Sum {
    pub fn new(algorithm: Algorithm) -> Sum {
        Sum { algorithm, rows: 0, lanes: [0; 4], hash: 0, bytes: vec![] }
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The next value of the row that is being read.
    #[inline]
    pub fn field(&mut self, value: Field<'_>) {
        match self.algorithm {
            Algorithm::Fast => {
                let (kind, v) = match value {
                    Field::Null => (NULL, 0),
                    Field::Int(v) => (INT, v as u64),
                    Field::Real(v) => (REAL, v.to_bits()),
                    Field::Text(b) => (TEXT, xxh3_64(b)),
                    Field::Blob(b) => (BLOB, xxh3_64(b)),
                };
                self.hash = mixed((self.hash ^ kind).rotate_left(29) ^ v);
            }
            Algorithm::Sha256 => {
                let (kind, v, tail): (u8, u64, &[u8]) = match value {
                    Field::Null => (0, 0, &[]),
                    Field::Int(v) => (1, v as u64, &[]),
                    Field::Real(v) => (2, v.to_bits(), &[]),
                    Field::Text(b) => (3, b.len() as u64, b),
                    Field::Blob(b) => (4, b.len() as u64, b),
                };
                self.bytes.push(kind);
                self.bytes.extend_from_slice(&v.to_le_bytes());
                self.bytes.extend_from_slice(tail);
            }
        }
    }

    /// Ends the row and adds it.
    #[inline]
    pub fn add(&mut self) {
        let row = self.row();
        self.rows = self.rows.wrapping_add(1);
        self.plus(row);
    }

    /// Ends the row and takes it away from the sum: it was added before, and is no more.
    pub fn remove(&mut self) {
        let row = self.row();
        self.rows = self.rows.wrapping_sub(1);
        match self.algorithm {
            Algorithm::Fast => {
                for (lane, v) in self.lanes.iter_mut().zip(row) {
                    *lane = lane.wrapping_sub(v);
                }
            }
            Algorithm::Sha256 => {
                // x − y is x + !y + 1.
                self.plus(row.map(|v| !v));
                self.plus([1, 0, 0, 0]);
            }
        }
    }

    pub fn merge(&mut self, other: &Sum) {
        self.rows = self.rows.wrapping_add(other.rows);
        self.plus(other.lanes);
    }

    /// 32 hexadecimal digits, or 64.
    pub fn hex(&self) -> String {
        let [a, b, c, d] = self.lanes;
        match self.algorithm {
            Algorithm::Fast => format!("{:016x}{:016x}", mixed(a ^ self.rows), mixed(b.wrapping_add(self.rows))),
            Algorithm::Sha256 => {
                let mut sha = Sha256::new();
                for word in [self.rows, a, b, c, d] {
                    sha.update(word.to_le_bytes());
                }
                sha.finalize().iter().map(|b| format!("{b:02x}")).collect()
            }
        }
    }

    fn row(&mut self) -> [u64; 4] {
        match self.algorithm {
            Algorithm::Fast => {
                let h = self.hash;
                self.hash = 0;
                [h, mixed(h ^ NULL), 0, 0]
            }
            Algorithm::Sha256 => {
                let digest = Sha256::digest(&self.bytes);
                self.bytes.clear();
                let mut words = [0; 4];
                for (word, eight) in words.iter_mut().zip(digest.as_chunks::<8>().0) {
                    *word = u64::from_le_bytes(*eight);
                }
                words
            }
        }
    }

    #[inline]
    fn plus(&mut self, row: [u64; 4]) {
        match self.algorithm {
            Algorithm::Fast => {
                for (lane, v) in self.lanes.iter_mut().zip(row) {
                    *lane = lane.wrapping_add(v);
                }
            }
            Algorithm::Sha256 => {
                let mut carry = false;
                for (lane, v) in self.lanes.iter_mut().zip(row) {
                    let (sum, c1) = lane.overflowing_add(v);
                    let (sum, c2) = sum.overflowing_add(u64::from(carry));
                    (*lane, carry) = (sum, c1 | c2);
                }
            }
        }
    }
}

/// A permutation of 64 bits in which every input bit reaches every output bit.
#[inline]
fn mixed(mut v: u64) -> u64 {
    v = (v ^ (v >> 32)).wrapping_mul(0xe9846af9b1a615d);
    v = (v ^ (v >> 32)).wrapping_mul(0xe9846af9b1a615d);
    v ^ (v >> 28)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [[Field<'static>; 2]; 7] = [
        [Field::Int(1), Field::Null],
        [Field::Real(1.0), Field::Null],
        [Field::Text(b"1"), Field::Null],
        [Field::Blob(b"1"), Field::Null],
        [Field::Null, Field::Int(1)],
        [Field::Real(0.0), Field::Text(b"")],
        [Field::Real(-0.0), Field::Blob(b"")],
    ];

    fn sum(algorithm: Algorithm, rows: &[usize]) -> Sum {
        let mut s = Sum::new(algorithm);
        for r in rows {
            ROWS[*r].iter().for_each(|f| s.field(*f));
            s.add();
        }
        s
    }

    #[test]
    fn order_does_not_count_and_everything_else_does() {
        for algorithm in [Algorithm::Fast, Algorithm::Sha256] {
            let hex = |rows: &[usize]| sum(algorithm, rows).hex();
            assert_eq!(hex(&[0, 1, 2, 3]), hex(&[3, 1, 0, 2]));
            let mut all: Vec<_> = (0..ROWS.len()).map(|i| hex(&[i])).collect();
            all.extend([hex(&[]), hex(&[0, 0]), hex(&[0, 1])]);
            all.sort();
            let n = all.len();
            all.dedup();
            assert_eq!(all.len(), n, "two contents with one digest");
            let mut whole = sum(algorithm, &[0, 1]);
            whole.merge(&sum(algorithm, &[2, 3, 4]));
            assert_eq!(whole.hex(), hex(&[0, 1, 2, 3, 4]));
            for r in [1, 4] {
                ROWS[r].iter().for_each(|f| whole.field(*f));
                whole.remove();
            }
            assert_eq!((whole.hex(), whole.rows()), (hex(&[0, 2, 3]), 3));
        }
    }
}
