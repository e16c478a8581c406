//! Pack files: many pages in one file, each known by the SHA-256 of its content.
//!
//! ```text
//! 0      "dbint pack 1\n\0\0\0"                                    16 bytes
//! 16     frames, one after another, up to 64 pages each
//! index  number of frames u32, then for each frame:
//!          offset u64 · stored bytes u32 · codec u8 (0 as it is, 1 zstd) · page size u32 · pages u32
//!          xxh3-128 of the stored bytes · SHA-256 of each page
//! end−48 offset of the index u64 · its length u64 · SHA-256 of the index and of these two numbers
//! ```
//! Integers are little-endian. Frames and index leave no gap, so every byte is covered by a sum. The file's name is
//! the first half of the last SHA-256: two packs that were swapped show it.
use super::bytes::{Cursor, Digest, damaged, hex, sha256};
use super::crypt::{Key, Sink};
use crate::error::{At, Error, Kind, Result};
use sha2::{Digest as _, Sha256};
use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};
use xxhash_rust::xxh3::xxh3_128;

pub const MAGIC: &[u8; 16] = b"dbint pack 1\n\0\0\0";
const KIND: &[u8] = b"dbint pack ";
const TRAILER: u64 = 48;
/// Pages of a frame: the unit of compression and of reading.
pub const FRAME_PAGES: usize = 64;
/// A pack is closed when it has grown beyond this.
pub const PACK_BYTES: u64 = 64 << 20;
const MAX_STORED: u32 = 8 << 20;

/// Pages compressed together.
pub struct Frame {
    pub codec: u8,
    pub page_size: u32,
    pub stored: Vec<u8>,
    pub sum: u128,
    pub digests: Vec<Digest>,
}

impl Frame {
    /// `raw` holds one page for each digest. Pages that do not shrink stay as they are.
    pub fn new(page_size: u32, raw: Vec<u8>, digests: Vec<Digest>, zstd: Option<&mut zstd::bulk::Compressor<'static>>) -> Result<Frame> {
        let (codec, stored) = match zstd {
            Some(z) => match z.compress(&raw)? {
                small if small.len() < raw.len() => (1, small),
                _ => (0, raw),
            },
            None => (0, raw),
        };
        let sum = xxh3_128(&stored);
        Ok(Frame { codec, page_size, stored, sum, digests })
    }
}

/// Where a frame is, as the index says.
#[derive(Clone)]
pub struct Place {
    pub offset: u64,
    pub stored: u32,
    pub codec: u8,
    pub page_size: u32,
    pub sum: u128,
    pub digests: Vec<Digest>,
}

/// A pack being written, under a temporary name.
pub struct Writer {
    out: Sink,
    part: PathBuf,
    pub bytes: u64,
    frames: Vec<Place>,
}

impl Writer {
    pub fn new(part: PathBuf, key: &Key) -> Result<Writer> {
        let mut out = Sink::create(&part, key)?;
        out.write_all(MAGIC)?;
        Ok(Writer { out, part, bytes: MAGIC.len() as u64, frames: vec![] })
    }

    pub fn add(&mut self, f: Frame) -> Result<()> {
        self.out.write_all(&f.stored)?;
        let stored = f.stored.len() as u32;
        self.frames.push(Place { offset: self.bytes, stored, codec: f.codec, page_size: f.page_size, sum: f.sum, digests: f.digests });
        self.bytes += u64::from(stored);
        Ok(())
    }

    /// Writes index and trailer, makes the bytes durable and gives the file its name in `dir`. Returns its length and path.
    pub fn finish(mut self, dir: &Path) -> Result<(u64, PathBuf)> {
        let mut index = (self.frames.len() as u32).to_le_bytes().to_vec();
        for f in &self.frames {
            index.extend(f.offset.to_le_bytes());
            index.extend(f.stored.to_le_bytes());
            index.push(f.codec);
            index.extend(f.page_size.to_le_bytes());
            index.extend((f.digests.len() as u32).to_le_bytes());
            index.extend(f.sum.to_le_bytes());
            f.digests.iter().for_each(|d| index.extend(d));
        }
        let numbers = numbers(self.bytes, index.len() as u64);
        let seal = sealed(&index, &numbers);
        self.out.write_all(&index)?;
        self.out.write_all(&numbers)?;
        self.out.write_all(&seal)?;
        let bytes = self.out.finish()?;
        let path = dir.join(name(&seal));
        fs::rename(&self.part, &path)?;
        Ok((bytes, path))
    }
}

fn numbers(offset: u64, length: u64) -> [u8; 16] {
    let mut n = [0; 16];
    let (a, b) = n.split_at_mut(8);
    a.copy_from_slice(&offset.to_le_bytes());
    b.copy_from_slice(&length.to_le_bytes());
    n
}

fn sealed(index: &[u8], numbers: &[u8]) -> Digest {
    Sha256::new().chain_update(index).chain_update(numbers).finalize().into()
}

fn name(seal: &Digest) -> String {
    format!("{}.pack", hex(seal.first_chunk::<16>().map_or(&[], |half| half.as_slice())))
}

/// A pack open for reading.
pub struct Pack {
    file: Box<dyn super::crypt::Source>,
    pub frames: Vec<Place>,
}

impl Pack {
    /// Reads and checks all but the frames.
    pub fn open(path: &Path, key: &Key) -> Result<Pack> {
        let shown = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut file = key.open(path)?;
        let frames = index(&mut *file, &shown).at(format!("pack {shown}"))?;
        Ok(Pack { file, frames })
    }

    /// The stored bytes of frame `at`, its sum checked.
    pub fn stored(&mut self, at: usize) -> Result<(&Place, Vec<u8>)> {
        let place = self.frames.get(at).ok_or_else(|| damaged("no such frame"))?;
        self.file.seek(SeekFrom::Start(place.offset))?;
        let mut stored = vec![0; place.stored as usize];
        self.file.read_exact(&mut stored).map_err(|e| damaged(format!("a frame cannot be read: {e}")))?;
        if xxh3_128(&stored) != place.sum {
            return Err(damaged("the bytes of a frame have changed"));
        }
        Ok((place, stored))
    }

    /// The pages of frame `at`, one after another; their digests are not checked yet.
    pub fn pages(&mut self, at: usize) -> Result<(Place, Vec<u8>)> {
        let (place, stored) = self.stored(at)?;
        let raw = place.page_size as usize * place.digests.len();
        let pages = match place.codec {
            0 => stored,
            _ => zstd::bulk::decompress(&stored, raw).map_err(|_| damaged("a frame does not decompress"))?,
        };
        if pages.len() != raw {
            return Err(damaged("a frame has another length than it says"));
        }
        Ok((place.clone(), pages))
    }
}

fn index(file: &mut dyn super::crypt::Source, shown: &str) -> Result<Vec<Place>> {
    let cut = || damaged("it is cut off");
    let length = file.seek(SeekFrom::End(0)).map_err(|_| cut())?;
    let end = length.checked_sub(TRAILER).ok_or_else(cut)?;
    let mut magic = [0; 16];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut magic).map_err(|_| cut())?;
    if &magic != MAGIC {
        return Err(match magic.strip_prefix(KIND) {
            Some([v, ..]) if *v > b'1' => Error::new(Kind::Newer, "a newer dbint wrote it"),
            _ => damaged("its first bytes are wrong"),
        });
    }
    file.seek(SeekFrom::Start(end))?;
    let mut trailer = [0; TRAILER as usize];
    file.read_exact(&mut trailer).map_err(|_| cut())?;
    let mut t = Cursor(&trailer);
    let (offset, size, seal) = (t.u64()?, t.u64()?, t.array::<32>()?);
    if offset.checked_add(size) != Some(end) {
        return Err(damaged("its trailer does not fit its length"));
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut index = vec![0; usize::try_from(size).map_err(|_| cut())?];
    file.read_exact(&mut index).map_err(|_| cut())?;
    if sealed(&index, &numbers(offset, size)) != seal {
        return Err(damaged("its index has changed"));
    }
    if name(&seal) != shown {
        return Err(damaged("it stands under another pack's name"));
    }
    parse(&index, offset)
}

fn parse(index: &[u8], end: u64) -> Result<Vec<Place>> {
    let mut c = Cursor(index);
    let n = c.u32()?;
    let mut frames = vec![];
    let mut next = MAGIC.len() as u64;
    for _ in 0..n {
        let (offset, stored, codec, page_size, pages) = (c.u64()?, c.u32()?, c.u8()?, c.u32()?, c.u32()?);
        let sum = u128::from_le_bytes(c.array()?);
        if offset != next || stored > MAX_STORED || codec > 1 || !(512..=65536).contains(&page_size) || pages as usize > FRAME_PAGES {
            return Err(damaged("its index makes no sense"));
        }
        next += u64::from(stored);
        let digests = (0..pages).map(|_| c.array()).collect::<Result<_>>()?;
        frames.push(Place { offset, stored, codec, page_size, sum, digests });
    }
    c.end()?;
    if next == end { Ok(frames) } else { Err(damaged("its frames leave a gap")) }
}

/// The digest of every page in `frames`, in order.
pub fn digests(frames: &[Place]) -> impl Iterator<Item = (usize, usize, &Digest)> {
    frames.iter().enumerate().flat_map(|(f, p)| p.digests.iter().enumerate().map(move |(s, d)| (f, s, d)))
}

/// Whether `page` is what its digest says.
pub fn is(page: &[u8], digest: &Digest) -> bool {
    sha256(page) == *digest
}
