//! Manifests: what one backup is made of.
//!
//! ```text
//! "dbint manifest 1\n"
//! the head, one line of JSON, "\n"
//! entries: of a full backup one for each page from 1, SHA-256 · xxh3-128
//!          of a later one only for what differs from its parent: page number u32 · SHA-256 · xxh3-128
//! SHA-256 of all before                                              32 bytes
//! ```
//! The SHA-256 names the page's content. The xxh3-128, seeded with the repository's secret, only says fast whether a
//! page changed since the parent; it stands for nothing else.
use super::bytes::{Cursor, Digest, damaged, hex, sha256};
use super::crypt::Key;
use crate::error::{At, Error, Kind, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    io::{Read, Write},
    path::Path,
};

const MAGIC: &str = "dbint manifest 1\n";
const FAMILY: &str = "dbint manifest ";
/// A head has a few hundred bytes; a list of names in it could make it longer.
const MAX_HEAD: u64 = 1 << 20;
/// 2^32 pages of 52 bytes: more than SQLite's largest file.
const MAX_BYTES: u64 = 52 << 32;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    Full,
    Incremental,
    Differential,
}

impl Type {
    pub const fn word(self) -> &'static str {
        match self {
            Type::Full => "full",
            Type::Incremental => "incremental",
            Type::Differential => "differential",
        }
    }

    pub fn read(word: &str) -> Result<Type> {
        Ok(match crate::kit::one_of("type", word, &["full", "incremental", "differential"])? {
            "full" => Type::Full,
            "incremental" => Type::Incremental,
            _ => Type::Differential,
        })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Head {
    pub id: String,
    pub name: String,
    pub database: String,
    /// The file it was taken from.
    pub source: Option<String>,
    #[serde(rename = "type")]
    pub ty: Type,
    /// The backup whose pages this one takes over.
    pub parent: Option<String>,
    pub created_at: String,
    pub page_size: u32,
    pub pages: u32,
    pub entries: u32,
    /// SHA-256 over the SHA-256 of every page in order.
    pub root: String,
    /// SHA-256 of the database file, where it was computed on the way.
    pub sha256: Option<String>,
    pub schema_digest: String,
    /// Bytes this backup added to the repository.
    pub stored_bytes: u64,
    /// Backups of one instant share it.
    pub fleet: Option<String>,
    /// A damaged source, taken on request: what its check said.
    pub damaged: Option<String>,
    pub dbint: String,
    pub sqlite: String,
}

impl Head {
    pub fn size(&self) -> u64 {
        u64::from(self.page_size) * u64::from(self.pages)
    }
}

/// One page: the SHA-256 of its content and the fast sum.
pub type Entry = (Digest, u128);

/// The pages of a backup, its parents' included.
#[derive(Clone, Default)]
pub struct Pages {
    pub digests: Vec<Digest>,
    pub quick: Vec<u128>,
}

impl Pages {
    /// Page `n`, from 1.
    pub fn get(&self, n: u32) -> Option<Entry> {
        let i = (n as usize).checked_sub(1)?;
        Some((*self.digests.get(i)?, *self.quick.get(i)?))
    }

    pub fn set(&mut self, n: u32, (digest, quick): Entry) {
        let i = (n as usize).wrapping_sub(1);
        if let (Some(d), Some(q)) = (self.digests.get_mut(i), self.quick.get_mut(i)) {
            (*d, *q) = (digest, quick);
        }
    }

    pub fn resize(&mut self, count: u32) {
        self.digests.resize(count as usize, [0; 32]);
        self.quick.resize(count as usize, 0);
    }

    pub fn root(&self) -> String {
        hex(&sha256(self.digests.as_flattened()))
    }
}

/// Writes the entries of the pages `changed`, which are sorted, from 1.
pub fn encode(head: &Head, pages: &Pages, changed: &[u32], out: &mut dyn Write) -> Result<()> {
    let mut sha = Sha256::new();
    let mut put = |bytes: &[u8]| {
        sha.update(bytes);
        out.write_all(bytes)
    };
    put(format!("{MAGIC}{}\n", serde_json::to_string(head)?).as_bytes())?;
    for page in changed {
        let Some((digest, quick)) = pages.get(*page) else { return Err(Error::internal("no such page")) };
        if head.ty != Type::Full {
            put(&page.to_le_bytes())?;
        }
        put(&digest)?;
        put(&quick.to_le_bytes())?;
    }
    let seal = sha.finalize();
    Ok(out.write_all(&seal)?)
}

/// What a manifest says of its pages, as it was read: the pages of a large database are many.
pub struct Changes {
    data: Vec<u8>,
    /// Where the entries begin.
    at: usize,
    full: bool,
}

impl Changes {
    /// Page number, digest and fast sum of each entry.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Entry)> {
        let entries = self.data.len().checked_sub(32).and_then(|end| self.data.get(self.at..end)).unwrap_or_default();
        entries.chunks_exact(entry_size(self.full)).zip(1u32..).filter_map(|(entry, n)| {
            let mut c = Cursor(entry);
            let page = if self.full { n } else { c.u32().ok()? };
            Some((page, (c.array().ok()?, u128::from_le_bytes(c.array().ok()?))))
        })
    }
}

fn entry_size(full: bool) -> usize {
    if full { 48 } else { 52 }
}

/// Only the head, for lists: its seal is not checked.
pub fn head(path: &Path, key: &Key) -> Result<Head> {
    let mut start = vec![];
    let id = stem(path);
    key.open(path).and_then(|f| Ok(f.take(MAX_HEAD).read_to_end(&mut start)?)).at(format!("manifest {id}"))?;
    split(&start).and_then(|(head, _)| named(head, &id)).at(format!("manifest {id}"))
}

/// A whole manifest, its seal checked.
pub fn read(path: &Path, key: &Key) -> Result<(Head, Changes)> {
    let id = stem(path);
    let data = key.read(path, MAX_BYTES).at(format!("manifest {id}"))?;
    decode(data, &id).at(format!("manifest {id}"))
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn named(head: Head, id: &str) -> Result<Head> {
    if head.id == id { Ok(head) } else { Err(damaged("it stands under another backup's name")) }
}

fn split(data: &[u8]) -> Result<(Head, &[u8])> {
    let Some(rest) = data.strip_prefix(MAGIC.as_bytes()) else {
        return Err(match data.strip_prefix(FAMILY.as_bytes()) {
            Some([v, ..]) if (b'2'..=b'9').contains(v) => Error::new(Kind::Newer, "a newer dbint wrote it").hint("Load the newer dbint"),
            _ => damaged("its first bytes are wrong"),
        });
    };
    let end = rest.iter().position(|b| *b == b'\n').ok_or_else(|| damaged("its head is cut off"))?;
    let (line, rest) = rest.split_at(end);
    let head: Head = serde_json::from_slice(line).map_err(|_| damaged("its head is no JSON of ours"))?;
    Ok((head, rest.get(1..).unwrap_or_default()))
}

fn decode(data: Vec<u8>, id: &str) -> Result<(Head, Changes)> {
    let (body, seal) = data.split_last_chunk::<32>().ok_or_else(|| damaged("it is cut off"))?;
    let (head, entries) = split(body)?;
    if sha256(body) != *seal {
        return Err(damaged("its seal does not match"));
    }
    let head = named(head, id)?;
    let full = head.ty == Type::Full;
    if !(512..=65536).contains(&head.page_size)
        || !head.page_size.is_power_of_two()
        || entries.len() as u64 != u64::from(head.entries) * entry_size(full) as u64
        || head.entries > head.pages
        || full != head.parent.is_none()
        || (full && head.entries != head.pages)
    {
        return Err(damaged("its numbers make no sense"));
    }
    let at = body.len() - entries.len();
    let changes = Changes { data, at, full };
    if changes.iter().any(|(page, _)| page == 0 || page > head.pages) {
        return Err(damaged("a page number is out of range"));
    }
    Ok((head, changes))
}

/// Lays `changed` over the pages of the parent. The root tells whether it is the right parent: the last of a chain vouches for all.
pub fn apply(pages: &mut Pages, head: &Head, changed: &Changes) -> Result<()> {
    let before = pages.digests.len();
    pages.resize(head.pages);
    let mut fresh = 0;
    for (page, entry) in changed.iter() {
        fresh += usize::from(page as usize > before);
        pages.set(page, entry);
    }
    if fresh < (head.pages as usize).saturating_sub(before) { Err(incomplete(head)) } else { Ok(()) }
}

pub fn incomplete(head: &Head) -> Error {
    damaged("its list of pages is not complete").context(format!("manifest {}", head.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_shows() {
        let list: Vec<(u32, Entry)> = (1..=3).map(|i| (i, ([i as u8; 32], u128::from(i)))).collect();
        let mut pages = Pages { digests: list.iter().map(|e| e.1.0).collect(), quick: list.iter().map(|e| e.1.1).collect() };
        let head = Head {
            id: "i".into(),
            name: "n".into(),
            database: "d".into(),
            source: None,
            ty: Type::Full,
            parent: None,
            created_at: String::new(),
            page_size: 512,
            pages: 3,
            entries: 3,
            root: pages.root(),
            sha256: None,
            schema_digest: String::new(),
            stored_bytes: 0,
            fleet: None,
            damaged: None,
            dbint: String::new(),
            sqlite: String::new(),
        };
        let mut data = vec![];
        encode(&head, &pages, &[1, 2, 3], &mut data).unwrap();
        let (h, back) = decode(data.clone(), "i").unwrap();
        assert_eq!(back.iter().collect::<Vec<_>>(), list);
        pages = Pages::default();
        apply(&mut pages, &h, &back).unwrap();
        for i in 0..data.len() {
            let mut bad = data.clone();
            bad[i] ^= 1 << (i % 8);
            assert!(decode(bad, "i").is_err(), "byte {i}");
            assert!(decode(data[..i].to_vec(), "i").is_err(), "cut at {i}");
        }
        assert!(decode(data.clone(), "j").is_err());
        let newer = [b"dbint manifest 2\n", &data[17..]].concat();
        assert_eq!(decode(newer, "i").err().unwrap().kind, Kind::Newer);
    }
}
