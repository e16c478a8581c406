//! SQLite's record format: a header of serial types, then the values.
//!
//! ```text
//! 0 NULL · 1-4 integers of 1-4 bytes · 5 of 6 · 6 of 8 · 7 real · 8 the integer 0 · 9 the integer 1
//! even n ≥ 12 blob of (n-12)/2 bytes · odd n ≥ 13 text of (n-13)/2 bytes, in the database's encoding
//! ```
use super::{Bad::Corrupt, Result, btree::varint};
use crate::kit::Field;

/// The values of one record, in stored order. Columns added later may be missing at its end.
pub struct Record<'a> {
    header: &'a [u8],
    at: usize,
    body: &'a [u8],
}

impl<'a> Record<'a> {
    #[inline]
    pub fn new(record: &'a [u8]) -> Result<Record<'a>> {
        let mut at = 0;
        let end = varint(record, &mut at)?;
        let end = usize::try_from(end).ok().filter(|e| *e >= at && *e <= record.len()).ok_or(Corrupt("record header"))?;
        let (header, body) = record.split_at(end);
        Ok(Record { header, at, body })
    }

    /// The next value; None after the last.
    #[inline]
    pub fn advance(&mut self) -> Result<Option<Field<'a>>> {
        if self.at >= self.header.len() {
            return Ok(None);
        }
        let serial = varint(self.header, &mut self.at)?;
        Ok(Some(match serial {
            0 => Field::Null,
            8 => Field::Int(0),
            9 => Field::Int(1),
            1 => Field::Int(i64::from(i8::from_be_bytes(self.array()?))),
            2 => Field::Int(i64::from(i16::from_be_bytes(self.array()?))),
            3 => {
                let [a, b, c] = self.array()?;
                Field::Int(i64::from(i32::from_be_bytes([a, b, c, 0]) >> 8))
            }
            4 => Field::Int(i64::from(i32::from_be_bytes(self.array()?))),
            5 => {
                let [a, b, c, d, e, f] = self.array()?;
                Field::Int(i64::from_be_bytes([a, b, c, d, e, f, 0, 0]) >> 16)
            }
            6 => Field::Int(i64::from_be_bytes(self.array()?)),
            // SQLite reads a NaN, which it never writes, as NULL.
            7 => Some(f64::from_be_bytes(self.array()?)).filter(|v| !v.is_nan()).map_or(Field::Null, Field::Real),
            10 | 11 => return Err(Corrupt("serial type")),
            n if n % 2 == 0 => Field::Blob(self.bytes((n - 12) / 2)?),
            n => Field::Text(self.bytes((n - 13) / 2)?),
        }))
    }

    /// Whether no byte is left over; asked after the last value.
    pub fn is_used_up(&self) -> bool {
        self.body.is_empty()
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (value, rest) = self.body.split_first_chunk::<N>().ok_or(Corrupt("record"))?;
        self.body = rest;
        Ok(*value)
    }

    #[inline]
    fn bytes(&mut self, n: u64) -> Result<&'a [u8]> {
        let n = usize::try_from(n).map_err(|_| Corrupt("record"))?;
        let (value, rest) = self.body.split_at_checked(n).ok_or(Corrupt("record"))?;
        self.body = rest;
        Ok(value)
    }
}

/// All values of a record.
pub fn fields(record: &[u8]) -> Result<Vec<Field<'_>>> {
    let mut values = Record::new(record)?;
    let mut all = vec![];
    while let Some(v) = values.advance()? {
        all.push(v);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_serial_type() {
        let record = [11, 0, 8, 9, 1, 2, 3, 5, 7, 15, 14, 0xff, 0x80, 0, 0xff, 0, 0, 0x7f, 0xff, 0, 0, 0, 0, 0x40, 0x14, 0, 0, 0, 0, 0, 0, b'x', 0xfe];
        let values = fields(&record).unwrap();
        let want = [
            Field::Null,
            Field::Int(0),
            Field::Int(1),
            Field::Int(-1),
            Field::Int(-32768),
            Field::Int(-65536),
            Field::Int(0x7fff_0000_0000),
            Field::Real(5.0),
            Field::Text(b"x"),
            Field::Blob(b"\xfe"),
        ];
        assert_eq!(values, want);
        assert!(fields(&record[..20]).is_err());
        assert!(fields(&[2, 10]).is_err() && fields(&[9]).is_err() && fields(&[]).is_err());
        assert_eq!(fields(&[1]).unwrap(), []);
    }
}
