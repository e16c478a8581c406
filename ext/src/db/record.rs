//! A row as one blob, in SQLite's own record format: every type and every bit comes back.
use super::pages;
use crate::{error::Result, kit::Field};

/// The values in order; integers in eight bytes, since these rows are few and short-lived.
pub fn encode<'a>(fields: impl IntoIterator<Item = Field<'a>>) -> Vec<u8> {
    let (mut header, mut body) = (vec![], vec![]);
    for field in fields {
        match field {
            Field::Null => header.push(0),
            Field::Int(0) => header.push(8),
            Field::Int(1) => header.push(9),
            Field::Int(v) => {
                header.push(6);
                body.extend_from_slice(&v.to_be_bytes());
            }
            Field::Real(v) => {
                header.push(7);
                body.extend_from_slice(&v.to_be_bytes());
            }
            Field::Text(b) => {
                varint(&mut header, b.len() as u64 * 2 + 13);
                body.extend_from_slice(b);
            }
            Field::Blob(b) => {
                varint(&mut header, b.len() as u64 * 2 + 12);
                body.extend_from_slice(b);
            }
        }
    }
    // The header's size counts its own varint, whose length depends on it.
    let mut size = vec![];
    let mut n = header.len() as u64 + 1;
    loop {
        size.clear();
        varint(&mut size, n);
        let whole = (header.len() + size.len()) as u64;
        if whole == n {
            break;
        }
        n = whole;
    }
    [size, header, body].concat()
}

/// The values of a row that [`encode`] wrote.
pub fn decode(row: &[u8]) -> Result<Vec<Field<'_>>> {
    Ok(pages::fields(row)?)
}

/// Big-endian groups of seven bits; lengths stay far below the ninth byte, which would carry eight.
fn varint(out: &mut Vec<u8>, v: u64) {
    let groups = (64 - v.leading_zeros()).div_ceil(7).max(1);
    for i in (0..groups).rev() {
        let more = if i > 0 { 0x80 } else { 0 };
        out.push((v >> (7 * i)) as u8 & 0x7f | more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_unchanged() {
        let long = vec![b'x'; 70_000];
        let mut row = vec![Field::Null, Field::Int(0), Field::Int(1), Field::Int(i64::MIN), Field::Int(-1), Field::Real(-0.0), Field::Real(f64::INFINITY)];
        row.extend([Field::Text(b"a\0\xff"), Field::Text(b""), Field::Blob(b""), Field::Blob(&long), Field::Text(&long)]);
        for n in [0, 1, row.len()] {
            assert_eq!(decode(&encode(row[..n].iter().copied())).unwrap(), row[..n]);
        }
        // Many columns: the header's own size takes two bytes.
        let wide = vec![Field::Int(1); 500];
        assert_eq!(decode(&encode(wide.iter().copied())).unwrap(), wide);
        assert!(decode(&[200]).is_err());
    }
}
