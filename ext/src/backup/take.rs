//! Taking a backup: pages come in order from a source, workers find out which are new and compress them, one writer
//! puts them into packs.
use super::bytes::{Digest, sha256};
use super::manifest::{Entry, Head, Pages, Type};
use super::pack::{self, FRAME_PAGES, Frame, PACK_BYTES};
use super::repository::{Index, Repository};
use super::source::{Source, Tick};
use crate::error::{Error, Result};
use std::{
    collections::HashSet,
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
    /// Pages that differ from the parent (all, without one), sorted.
    pub changed: Vec<(u32, Entry)>,
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
    parent: &'a [u128],
    index: &'a Index,
    /// Pages some worker has taken on in this run.
    taken: Mutex<HashSet<Digest>>,
    level: i32,
}

/// Reads all pages of `source` and stores the new ones. `parent` is empty for a full backup.
pub fn pages(repo: &Repository, source: &mut dyn Source, parent: &Pages, index: &Index, level: i32, tick: Tick<'_>) -> Result<Taken> {
    let page_size = source.page_size() as usize;
    let work = Work { page_size, seed: repo.seed, parent: &parent.quick, index, taken: Mutex::default(), level };
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
        let mut changed = vec![];
        let mut failed = None;
        for w in running {
            match w.join().unwrap_or_else(|_| Err(Error::internal("a worker stopped"))) {
                Ok(list) => changed.extend(list),
                Err(e) => failed = Some(e),
            }
        }
        let written = writer.join().unwrap_or_else(|_| Err(Error::internal("the writer stopped")));
        // The writer's error is the cause where others only saw its channel close.
        let (stored_bytes, new_pages) = written?;
        if let Some(e) = failed {
            return Err(e);
        }
        read?;
        changed.sort_unstable_by_key(|(page, _)| *page);
        Ok(Taken { changed, new_pages, stored_bytes })
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

fn worker(work: &Work<'_>, chunks: &Mutex<Receiver<Chunk>>, frames: SyncSender<Frame>, spare: SyncSender<Vec<u8>>) -> Result<Vec<(u32, Entry)>> {
    let mut zstd = if work.level > 0 { Some(zstd::bulk::Compressor::new(work.level)?) } else { None };
    let mut changed = vec![];
    let (mut raw, mut digests) = (vec![], vec![]);
    loop {
        let next = chunks.lock().map_err(stopped)?.recv();
        let Ok(chunk) = next else { break };
        for (page, number) in chunk.data.chunks_exact(work.page_size).zip(chunk.first..) {
            let quick = xxh3_128_with_seed(page, work.seed);
            if work.parent.get(number as usize - 1) == Some(&quick) {
                continue;
            }
            let digest = sha256(page);
            changed.push((number, (digest, quick)));
            if work.index.has(&digest) || !work.taken.lock().map_err(stopped)?.insert(digest) {
                continue;
            }
            raw.extend_from_slice(page);
            digests.push(digest);
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
    Ok(changed)
}

/// Fills packs; one that is full is made durable beside the next being filled.
fn write(repo: &Repository, frames: Receiver<Frame>) -> Result<(u64, usize)> {
    let dir = repo.packs();
    let mut pages = 0;
    std::thread::scope(|scope| {
        let (full_in, full_out) = sync_channel::<pack::Writer>(1);
        let closer = scope.spawn(|| full_out.into_iter().map(|p| p.finish(&dir)).sum::<Result<u64>>());
        let mut pack: Option<pack::Writer> = None;
        for frame in frames {
            pages += frame.digests.len();
            let p = match &mut pack {
                Some(p) => p,
                None => pack.insert(pack::Writer::new(repo.tmp("pack"), &repo.key)?),
            };
            p.add(frame)?;
            if p.bytes > PACK_BYTES
                && let Some(full) = pack.take()
                && full_in.send(full).is_err()
            {
                break;
            }
        }
        if let Some(last) = pack {
            let _ = full_in.send(last);
        }
        drop(full_in);
        let bytes = closer.join().unwrap_or_else(|_| Err(Error::internal("the writer stopped")))?;
        Ok((bytes, pages))
    })
}

/// The pages of the new backup, the parent's included.
pub fn whole(parent: &Pages, changed: &[(u32, Entry)], count: u32) -> Pages {
    let mut all = parent.clone();
    all.digests.resize(count as usize, [0; 32]);
    all.quick.resize(count as usize, 0);
    for (page, (digest, quick)) in changed {
        let i = *page as usize - 1;
        if let (Some(d), Some(q)) = (all.digests.get_mut(i), all.quick.get_mut(i)) {
            (*d, *q) = (*digest, *quick);
        }
    }
    all
}

/// Whether a backup of `ty` can build on `parent`.
pub fn builds_on(parent: &Head, ty: Type, page_size: u32, source: Option<&str>) -> bool {
    ty != Type::Full && parent.page_size == page_size && parent.source.as_deref() == source
}
