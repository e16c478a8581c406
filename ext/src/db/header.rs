//! The 100 bytes at the start of a database file, read without opening a database.
//!
//! ```text
//!  0 magic "SQLite format 3\0"   16 page size      18/19 write/read version (1 rollback, 2 WAL)
//! 20 reserved bytes a page       21..24 64,32,32   24 change counter          28 pages
//! 32 first freelist page         36 free pages     40 schema cookie           44 schema format
//! 48 suggested cache size        52 largest root   56 encoding                60 user_version
//! 64 incremental vacuum          68 application_id 92 version valid for       96 SQLite version
//! ```
use crate::error::{Error, Kind, Result};
use crate::kit::{Peeked, peek};
use std::path::Path;

pub const LENGTH: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of the file in bytes.
    pub file_bytes: u64,
    pub page_size: u64,
    /// Read version 2: readers must look into the -wal.
    pub wal: bool,
    pub reserved: u8,
    pub change_counter: u32,
    /// As the header says; 0 in files written by SQLite before 3.7.
    pub pages: u32,
    pub free_pages: u32,
    pub schema_format: u32,
    pub cache_size: i32,
    pub auto_vacuum: bool,
    pub incremental_vacuum: bool,
    pub encoding: u32,
    pub user_version: u32,
    pub application_id: u32,
    pub version_valid_for: u32,
    /// Version of the SQLite that wrote last, `3040001`.
    pub sqlite_version: u32,
}

/// What the first bytes say about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kin {
    /// Zero bytes long: SQLite opens it as an empty database.
    Empty,
    Database(Header),
    /// Begins like a database, and contradicts itself.
    Damaged(String),
    /// Something else, or an encrypted database.
    Other,
}

/// Reads the header of `path` without opening the database.
pub fn read(path: &Path) -> Result<Kin> {
    Ok(look(path)?.0)
}

/// As `read`; also tells length and time of the file.
pub fn look(path: &Path) -> Result<(Kin, Peeked)> {
    let mut buf = [0; LENGTH];
    let peeked = peek(path, &mut buf)?;
    Ok((parse(buf.get(..peeked.read).unwrap_or_default(), peeked.length), peeked))
}

/// As `read`; anything but a sound header is an error.
pub fn need(path: &Path) -> Result<Header> {
    match read(path)? {
        Kin::Database(h) => Ok(h),
        Kin::Empty => Err(Error::new(Kind::NotADatabase, "the file has zero bytes")),
        Kin::Damaged(what) => Err(Error::new(Kind::Corrupt, what)),
        Kin::Other => Err(Error::new(Kind::NotADatabase, "not a SQLite database (or it is encrypted)")),
    }
}

pub fn parse(b: &[u8], file_bytes: u64) -> Kin {
    if file_bytes == 0 {
        return Kin::Empty;
    }
    if !b.starts_with(MAGIC) {
        return Kin::Other;
    }
    if b.len() < LENGTH {
        return Kin::Damaged(format!("the file ends within its header, after {} bytes", b.len()));
    }
    let byte = |at: usize| b.get(at).copied().unwrap_or(0);
    let u32_at = |at: usize| u32::from_be_bytes([byte(at), byte(at + 1), byte(at + 2), byte(at + 3)]);
    let page_size = match u16::from_be_bytes([byte(16), byte(17)]) {
        1 => 65536,
        n if n >= 512 && n.is_power_of_two() => u64::from(n),
        n => return Kin::Damaged(format!("the header's page size is {n}")),
    };
    let (write, read) = (byte(18), byte(19));
    if read == 0 || read > 2 {
        return Kin::Damaged(format!("the header's read version is {read}"));
    }
    if write == 0 || write > 2 {
        return Kin::Damaged(format!("the header's write version is {write}"));
    }
    if (byte(21), byte(22), byte(23)) != (64, 32, 32) {
        return Kin::Damaged("the header's payload fractions are wrong".into());
    }
    if page_size < 480 + u64::from(byte(20)) {
        return Kin::Damaged(format!("the header reserves {} bytes of a page of {page_size}", byte(20)));
    }
    if !(1..=4).contains(&u32_at(44)) && u32_at(40) != 0 {
        return Kin::Damaged(format!("the header's schema format is {}", u32_at(44)));
    }
    if u32_at(56) > 3 {
        return Kin::Damaged(format!("the header's text encoding is {}", u32_at(56)));
    }
    Kin::Database(Header {
        file_bytes,
        page_size,
        wal: read == 2,
        reserved: byte(20),
        change_counter: u32_at(24),
        pages: u32_at(28),
        free_pages: u32_at(36),
        schema_format: u32_at(44),
        cache_size: u32_at(48) as i32,
        auto_vacuum: u32_at(52) != 0,
        incremental_vacuum: u32_at(64) != 0,
        encoding: u32_at(56),
        user_version: u32_at(60),
        application_id: u32_at(68),
        version_valid_for: u32_at(92),
        sqlite_version: u32_at(96),
    })
}

impl Header {
    /// The page count is trusted by SQLite only if the writer that stored it was the last one.
    pub fn pages_valid(&self) -> bool {
        self.pages > 0 && self.change_counter == self.version_valid_for
    }

    pub fn file_pages(&self) -> u64 {
        self.file_bytes.checked_div(self.page_size).unwrap_or(0)
    }

    /// Share of free pages, 0 to 1.
    pub fn free_ratio(&self) -> f64 {
        let pages = self.file_pages().max(1);
        (f64::from(self.free_pages) / pages as f64).min(1.0)
    }

    /// What header and file length disagree about. With a -wal beside it the file may lag behind: then nothing is said.
    pub fn contradiction(&self, has_wal: bool) -> Option<String> {
        let pages = self.file_pages();
        if has_wal {
            None
        } else if !self.file_bytes.is_multiple_of(self.page_size) {
            Some(format!("the file's {} bytes are no multiple of its page size {}", self.file_bytes, self.page_size))
        } else if self.pages_valid() && u64::from(self.pages) != pages {
            Some(format!("the header says {} pages, the file has {pages}", self.pages))
        } else if self.pages_valid() && self.free_pages >= self.pages {
            Some(format!("the header says {} free pages of {}", self.free_pages, self.pages))
        } else {
            None
        }
    }

    pub fn encoding_name(&self) -> &'static str {
        match self.encoding {
            2 => "UTF-16le",
            3 => "UTF-16be",
            _ => "UTF-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_byte_is_answered() {
        let dir = std::env::temp_dir().join(format!("dbint-header-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("a.db");
        rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t(x); PRAGMA user_version=7").unwrap();
        let h = need(&path).unwrap();
        assert_eq!((h.wal, h.user_version, h.page_size, h.contradiction(false)), (true, 7, 4096, None));
        let bytes = std::fs::read(&path).unwrap();
        let mut noticed = 0;
        for at in 0..LENGTH {
            for bit in [1u8, 0x80, 0xff] {
                let mut b = bytes[..LENGTH].to_vec();
                b[at] ^= bit;
                noticed += match parse(&b, bytes.len() as u64) {
                    Kin::Database(h) => i32::from(h.contradiction(false).is_some()),
                    _ => 1,
                };
            }
        }
        assert!(noticed > 80, "{noticed}");
        assert_eq!(parse(&[], 0), Kin::Empty);
        assert_eq!(parse(b"hello", 5), Kin::Other);
        for cut in MAGIC.len()..LENGTH {
            assert!(matches!(parse(&bytes[..cut], cut as u64), Kin::Damaged(_)));
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
