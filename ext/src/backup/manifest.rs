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
use std::{io::Read, path::Path};

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
    pub fn root(&self) -> String {
        let mut sha = Sha256::new();
        self.digests.iter().for_each(|d| sha.update(d));
        hex(&sha.finalize())
    }
}

/// `changed` is sorted by page number, from 1.
pub fn encode(head: &Head, changed: &[(u32, Entry)]) -> Result<Vec<u8>> {
    let mut out = format!("{MAGIC}{}\n", serde_json::to_string(head)?).into_bytes();
    for (page, (digest, quick)) in changed {
        if head.ty != Type::Full {
            out.extend(page.to_le_bytes());
        }
        out.extend(digest);
        out.extend(quick.to_le_bytes());
    }
    out.extend(sha256(&out));
    Ok(out)
}

/// Only the head, for lists: its seal is not checked.
pub fn head(path: &Path, key: &Key) -> Result<Head> {
    let mut start = vec![];
    let id = stem(path);
    key.open(path).and_then(|f| Ok(f.take(MAX_HEAD).read_to_end(&mut start)?)).at(format!("manifest {id}"))?;
    split(&start).and_then(|(head, _)| named(head, &id)).at(format!("manifest {id}"))
}

/// A whole manifest, its seal checked.
pub fn read(path: &Path, key: &Key) -> Result<(Head, Vec<(u32, Entry)>)> {
    let id = stem(path);
    let data = key.read(path, MAX_BYTES).at(format!("manifest {id}"))?;
    decode(&data, &id).at(format!("manifest {id}"))
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

fn decode(data: &[u8], id: &str) -> Result<(Head, Vec<(u32, Entry)>)> {
    let (body, seal) = data.split_last_chunk::<32>().ok_or_else(|| damaged("it is cut off"))?;
    let (head, entries) = split(body)?;
    if sha256(body) != *seal {
        return Err(damaged("its seal does not match"));
    }
    let head = named(head, id)?;
    let size = if head.ty == Type::Full { 48 } else { 52 };
    if !(512..=65536).contains(&head.page_size)
        || !head.page_size.is_power_of_two()
        || entries.len() as u64 != u64::from(head.entries) * size
        || head.entries > head.pages
        || (head.ty == Type::Full) != head.parent.is_none()
        || (head.ty == Type::Full && head.entries != head.pages)
    {
        return Err(damaged("its numbers make no sense"));
    }
    let mut c = Cursor(entries);
    let mut changed = Vec::with_capacity(head.entries as usize);
    for i in 0..head.entries {
        let page = if head.ty == Type::Full { i + 1 } else { c.u32()? };
        if page == 0 || page > head.pages {
            return Err(damaged("a page number is out of range"));
        }
        changed.push((page, (c.array()?, u128::from_le_bytes(c.array()?))));
    }
    Ok((head, changed))
}

/// Lays `changed` over the pages of the parent.
pub fn apply(pages: &mut Pages, head: &Head, changed: Vec<(u32, Entry)>) -> Result<()> {
    let n = head.pages as usize;
    let before = pages.digests.len();
    pages.digests.resize(n, [0; 32]);
    pages.quick.resize(n, 0);
    let mut fresh = 0;
    for (page, (digest, quick)) in changed {
        let i = page as usize - 1;
        fresh += usize::from(i >= before);
        if let (Some(d), Some(q)) = (pages.digests.get_mut(i), pages.quick.get_mut(i)) {
            (*d, *q) = (digest, quick);
        }
    }
    if fresh < n.saturating_sub(before) || pages.root() != head.root {
        return Err(damaged("its list of pages is not complete").context(format!("manifest {}", head.id)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_shows() {
        let list: Vec<(u32, Entry)> = (1..=3).map(|i| (i, ([i as u8; 32], u128::from(i)))).collect();
        let mut pages = Pages { digests: list.iter().map(|e| e.1.0).collect(), quick: vec![] };
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
        let data = encode(&head, &list).unwrap();
        let (h, back) = decode(&data, "i").unwrap();
        assert_eq!(back, list);
        pages = Pages::default();
        apply(&mut pages, &h, back).unwrap();
        for i in 0..data.len() {
            let mut bad = data.clone();
            bad[i] ^= 1 << (i % 8);
            assert!(decode(&bad, "i").is_err(), "byte {i}");
            assert!(decode(&data[..i], "i").is_err(), "cut at {i}");
        }
        assert!(decode(&data, "j").is_err());
        let newer = [b"dbint manifest 2\n", &data[17..]].concat();
        assert_eq!(decode(&newer, "i").unwrap_err().kind, Kind::Newer);
    }
}
