//! Taking a backup: pages come in order from a source, workers find out which are new and compress them, one writer
//! puts them into packs.
use super::bytes::sha256;
use super::manifest::{Entry, Head, Pages, Type};
use super::pack::{self, FRAME_PAGES, Frame, PACK_BYTES};
use super::repository::{Index, Repository, half};
use super::source::{Source, Tick};
use crate::error::{Error, Kind, Result};
use std::{
    collections::HashSet,
    fs,
    sync::{
        Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Bytes read at once and handed to a worker.
const CHUNK: usize = 256 << 10;

/// What the reading found.
pub struct Taken {
    /// All pages of the new backup.
    pub pages: Pages,
    /// Those that differ from the parent's (all, without one), sorted.
    pub changed: Vec<u32>,
    /// Pages the repository did not have.
    pub new_pages: usize,
    pub stored_bytes: u64,
}

struct Chunk {
    first: u32,
    data: Vec<u8>,
}

/// What the workers share.
struct Work<'a> {
    page_size: usize,
    seed: u64,
    /// Pages the parent has.
    parent: u32,
    index: &'a Index,
    found: Mutex<Found>,
    level: i32,
}

/// What the workers found so far. A large database has many pages: each is here once.
struct Found {
    /// The parent's pages, where nobody has read another content yet.
    pages: Pages,
    changed: Vec<u32>,
    /// Pages some worker has taken on in this run.
    taken: HashSet<u128>,
}

/// Reads all pages of `source` and stores the new ones. `parent` is empty for a full backup.
pub fn pages(repo: &Repository, source: &mut dyn Source, mut parent: Pages, index: &Index, level: i32, tick: Tick<'_>) -> Result<Taken> {
    let page_size = source.page_size() as usize;
    let before = parent.digests.len().min(source.pages() as usize) as u32;
    parent.resize(source.pages());
    let found = Mutex::new(Found { pages: parent, changed: vec![], taken: HashSet::new() });
    let work = Work { page_size, seed: repo.seed, parent: before, index, found, level };
    let workers = std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 4);
    let (chunk_in, chunk_out) = sync_channel::<Chunk>(2 * workers);
    let (frame_in, frame_out) = sync_channel::<Frame>(2 * workers);
    let (spare_in, spare_out) = sync_channel::<Vec<u8>>(8 * workers);
    let chunk_out = Mutex::new(chunk_out);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..workers)
            .map(|_| {
                let (frames, spare) = (frame_in.clone(), spare_in.clone());
                let (work, chunks) = (&work, &chunk_out);
                scope.spawn(move || worker(work, chunks, frames, spare))
            })
            .collect();
        drop((frame_in, spare_in));
        let writer = scope.spawn(|| write(repo, frame_out));
        let read = read(source, page_size, chunk_in, spare_out, tick);
        let mut failed = None;
        for w in running {
            if let Err(e) = w.join().unwrap_or_else(|_| Err(Error::internal("a worker stopped"))) {
                failed = Some(e);
            }
        }
        let written = writer.join().unwrap_or_else(|_| Err(Error::internal("the writer stopped")));
        // The writer's error is the cause where others only saw its channel close.
        let (stored_bytes, new_pages) = written?;
        if let Some(e) = failed {
            return Err(e);
        }
        read?;
        Ok((stored_bytes, new_pages))
    })
    .and_then(|(stored_bytes, new_pages)| {
        let Found { pages, mut changed, .. } = work.found.into_inner().map_err(stopped)?;
        changed.sort_unstable();
        Ok(Taken { pages, changed, new_pages, stored_bytes })
    })
}

fn stopped<T>(_: T) -> Error {
    Error::internal("a part of the backup stopped")
}

fn read(source: &mut dyn Source, page_size: usize, chunks: SyncSender<Chunk>, spare: Receiver<Vec<u8>>, tick: Tick<'_>) -> Result<()> {
    let (all, per) = (source.pages(), (CHUNK / page_size).max(1) as u32);
    let mut first = 1;
    while first <= all {
        let n = per.min(all - first + 1);
        let mut data = spare.try_recv().unwrap_or_default();
        data.resize(n as usize * page_size, 0);
        source.next(&mut data)?;
        chunks.send(Chunk { first, data }).map_err(stopped)?;
        first += n;
        tick()?;
    }
    Ok(())
}

fn worker(work: &Work<'_>, chunks: &Mutex<Receiver<Chunk>>, frames: SyncSender<Frame>, spare: SyncSender<Vec<u8>>) -> Result<()> {
    let mut zstd = if work.level > 0 { Some(zstd::bulk::Compressor::new(work.level)?) } else { None };
    let (mut raw, mut digests) = (vec![], vec![]);
    let mut before: Vec<Option<Entry>> = vec![];
    let mut read: Vec<(u32, Entry, usize)> = vec![];
    loop {
        let next = chunks.lock().map_err(stopped)?.recv();
        let Ok(chunk) = next else { break };
        before.clear();
        {
            let found = work.found.lock().map_err(stopped)?;
            let last = chunk.first + (chunk.data.len() / work.page_size) as u32;
            before.extend((chunk.first..last).map(|n| if n <= work.parent { found.pages.get(n) } else { None }));
        }
        read.clear();
        for (i, (page, old)) in chunk.data.chunks_exact(work.page_size).zip(&before).enumerate() {
            let quick = xxh3_128_with_seed(page, work.seed);
            // A page that did not change and was lost since is stored again.
            if !old.is_some_and(|(digest, before)| before == quick && work.index.has(&digest)) {
                read.push((chunk.first + i as u32, (sha256(page), quick), i));
            }
        }
        {
            let mut found = work.found.lock().map_err(stopped)?;
            for (n, entry, i) in &read {
                if before.get(*i).copied().flatten() != Some(*entry) {
                    found.changed.push(*n);
                    found.pages.set(*n, *entry);
                }
            }
            // What is left is new.
            read.retain(|(_, (digest, _), _)| !work.index.has(digest) && found.taken.insert(half(digest)));
        }
        for (_, (digest, _), i) in &read {
            raw.extend_from_slice(chunk.data.chunks_exact(work.page_size).nth(*i).unwrap_or_default());
            digests.push(*digest);
            if digests.len() == FRAME_PAGES {
                let frame = Frame::new(work.page_size as u32, std::mem::take(&mut raw), std::mem::take(&mut digests), zstd.as_mut())?;
                frames.send(frame).map_err(stopped)?;
                raw.reserve(FRAME_PAGES * work.page_size);
            }
        }
        let _ = spare.try_send(chunk.data);
    }
    if !digests.is_empty() {
        frames.send(Frame::new(work.page_size as u32, raw, digests, zstd.as_mut())?).map_err(stopped)?;
    }
    Ok(())
}

/// Fills packs; one that is full is made durable beside the next being filled.
fn write(repo: &Repository, frames: Receiver<Frame>) -> Result<(u64, usize)> {
    let dir = repo.packs();
    let mut pages = 0;
    std::thread::scope(|scope| {
        let (full_in, full_out) = sync_channel::<pack::Writer>(1);
        let closer = scope.spawn(|| {
            let mut made = vec![];
            let ended = full_out.into_iter().try_for_each(|p| p.finish(&dir).map(|done| made.push(done)));
            (made, ended)
        });
        let mut pack: Option<pack::Writer> = None;
        let filled = frames.into_iter().try_for_each(|frame| {
            pages += frame.digests.len();
            let p = match &mut pack {
                Some(p) => p,
                None => pack.insert(pack::Writer::new(repo.tmp("pack"), &repo.key)?),
            };
            p.add(frame)?;
            match pack.take_if(|p| p.bytes > PACK_BYTES) {
                Some(full) => full_in.send(full).map_err(stopped),
                None => Ok(()),
            }
        });
        if let Some(last) = pack.filter(|_| filled.is_ok()) {
            let _ = full_in.send(last);
        }
        drop(full_in);
        let (made, ended) = closer.join().unwrap_or_else(|_| (vec![], Err(Error::internal("the writer stopped"))));
        match ended.and(filled) {
            // Nobody knows these packs yet: on a full disk, they only keep others from writing.
            Err(e) if e.kind == Kind::Full => {
                made.iter().try_for_each(|(_, path)| fs::remove_file(path))?;
                repo.tidy();
                Err(e.hint("What this backup had written was removed again"))
            }
            Err(e) => Err(e),
            Ok(()) => Ok((made.iter().map(|(bytes, _)| bytes).sum(), pages)),
        }
    })
}

/// Whether a backup of `ty` can build on `parent`.
pub fn builds_on(parent: &Head, ty: Type, page_size: u32, source: Option<&str>) -> bool {
    ty != Type::Full && parent.page_size == page_size && parent.source.as_deref() == source
}
