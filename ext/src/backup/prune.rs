//! Which backups go, and which pages nobody needs any more.
use super::bytes::Digest;
use super::manifest::{Head, Type};
use super::pack::{self, FRAME_PAGES, Frame, PACK_BYTES, Pack};
use super::repository::Repository;
use super::source::Tick;
use crate::db::{copy::sync_directory, time};
use crate::error::{Error, Kind, Result};
use std::{
    collections::{HashMap, HashSet},
    fs,
    path::PathBuf,
};

/// How long backups of one database are kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    pub days: f64,
    /// The newest backups stay whatever their age.
    pub count: usize,
    /// The newest full backups stay, with all that build on them.
    pub generations: usize,
}

/// The backups that may go: expired, and neither the last proven one of their database nor a parent of one that stays.
pub fn expired<'h>(heads: &'h [Head], proven: &HashSet<String>, keep: impl Fn(&str) -> Keep, now: chrono::DateTime<chrono::Utc>) -> Vec<&'h Head> {
    let by_id: HashMap<&str, &Head> = heads.iter().map(|h| (h.id.as_str(), h)).collect();
    let mut stay: HashSet<&str> = HashSet::new();
    let mut seen: HashMap<&str, (usize, usize, bool)> = HashMap::new();
    for h in heads.iter().rev() {
        let k = keep(&h.database);
        let (count, generations, last_proven) = seen.entry(&h.database).or_default();
        let limit = time::stored(now - chrono::Duration::milliseconds((k.days.clamp(0.0, 100_000.0) * 86_400_000.0) as i64));
        let first_proven = !*last_proven && proven.contains(&h.id);
        // Before any full backup was met, all builds on the newest generation.
        if h.created_at > limit || *count < k.count || *generations < k.generations || first_proven {
            stay.insert(&h.id);
        }
        *count += 1;
        *generations += usize::from(h.ty == Type::Full);
        *last_proven |= first_proven;
    }
    for id in stay.clone() {
        let mut next = by_id.get(id).and_then(|h| h.parent.as_deref());
        while let Some(p) = next {
            if !stay.insert(p) {
                break;
            }
            next = by_id.get(p).and_then(|h| h.parent.as_deref());
        }
    }
    heads.iter().filter(|h| !stay.contains(h.id.as_str())).collect()
}

/// Removes backups, children before their parents, so that no chain is ever broken.
pub fn forget(repo: &Repository, gone: &[&Head]) -> Result<()> {
    // Ids sort by time: a child is newer than its parent.
    let mut order: Vec<&&Head> = gone.iter().collect();
    order.sort_by(|a, b| b.id.cmp(&a.id));
    order.into_iter().try_for_each(|h| repo.forget(&h.id))
}

/// What became of the packs.
#[derive(Default, Debug)]
pub struct Swept {
    pub packs_removed: usize,
    pub packs_rewritten: usize,
    pub bytes_freed: u64,
}

/// A pack is rewritten when less than this share of its pages is still needed.
const WORTH: f64 = 0.7;

/// Removes packs nobody needs and rewrites those that are mostly unneeded; with `dry`, only counts.
///
/// `gone` are backups treated as removed already. Every other manifest must be readable, for who knows what an unreadable
/// one needs.
pub fn sweep(repo: &Repository, gone: &[&Head], level: i32, dry: bool, tick: Tick<'_>) -> Result<Swept> {
    let (heads, bad) = repo.heads()?;
    if let Some((id, e)) = bad.into_iter().next() {
        return Err(unknown(&id, e));
    }
    let mut needed: HashSet<Digest> = HashSet::new();
    for h in heads.iter().filter(|h| !gone.iter().any(|g| g.id == h.id)) {
        let (_, changed) = super::manifest::read(&repo.manifest_path(&h.id), &repo.key).map_err(|e| unknown(&h.id, e))?;
        needed.extend(changed.iter().map(|(_, (digest, _))| digest));
        tick()?;
    }
    let mut swept = Swept::default();
    let mut rewrite: Vec<PathBuf> = vec![];
    for path in super::repository::files(&repo.packs(), "pack")? {
        tick()?;
        let bytes = fs::metadata(&path)?.len();
        // A damaged pack stays: some of it may be wanted by somebody who tries to save data.
        let Ok(pack) = Pack::open(&path, &repo.key) else { continue };
        let (all, used) = pack::digests(&pack.frames).fold((0u64, 0u64), |(n, u), (_, _, d)| (n + 1, u + u64::from(needed.contains(d))));
        if used == 0 {
            swept.packs_removed += 1;
            swept.bytes_freed += bytes;
            if !dry {
                fs::remove_file(&path)?;
            }
        } else if (used as f64) < WORTH * all as f64 {
            swept.packs_rewritten += 1;
            swept.bytes_freed += bytes - bytes * used / all.max(1);
            rewrite.push(path);
        }
    }
    if !dry && !rewrite.is_empty() {
        copy_needed(repo, &rewrite, &mut needed, level, tick)?;
        // The new packs have their names; only now the old ones may go.
        sync_directory(&repo.packs().join("x"))?;
        rewrite.iter().try_for_each(fs::remove_file)?;
    }
    sync_directory(&repo.packs().join("x"))?;
    Ok(swept)
}

fn unknown(id: &str, e: Error) -> Error {
    e.context(format!("nothing was reclaimed, for backup {id} cannot be read and its needs are unknown"))
}

/// Copies the needed pages of `from` into new packs; each page once.
fn copy_needed(repo: &Repository, from: &[PathBuf], needed: &mut HashSet<Digest>, level: i32, tick: Tick<'_>) -> Result<()> {
    let zstd = if level > 0 { Some(zstd::bulk::Compressor::new(level)?) } else { None };
    let mut out = Repack { repo, zstd, pack: None, page_size: 0, raw: vec![], digests: vec![] };
    for path in from {
        let mut pack = Pack::open(path, &repo.key)?;
        for at in 0..pack.frames.len() {
            tick()?;
            if !pack.frames.get(at).is_some_and(|p| p.digests.iter().any(|d| needed.contains(d))) {
                continue;
            }
            let (place, pages) = pack.pages(at)?;
            for (page, digest) in pages.chunks_exact(place.page_size as usize).zip(&place.digests) {
                if needed.remove(digest) {
                    out.add(place.page_size, page, digest)?;
                }
            }
        }
    }
    out.finish()
}

/// Pages on their way into new packs.
struct Repack<'r> {
    repo: &'r Repository,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    pack: Option<pack::Writer>,
    page_size: u32,
    raw: Vec<u8>,
    digests: Vec<Digest>,
}

impl Repack<'_> {
    fn add(&mut self, page_size: u32, page: &[u8], digest: &Digest) -> Result<()> {
        if !pack::is(page, digest) {
            return Err(super::bytes::damaged("a page is not what its SHA-256 says: nothing was rewritten"));
        }
        if page_size != self.page_size || self.digests.len() == FRAME_PAGES {
            self.frame()?;
            self.page_size = page_size;
        }
        self.raw.extend_from_slice(page);
        self.digests.push(*digest);
        Ok(())
    }

    fn frame(&mut self) -> Result<()> {
        if self.digests.is_empty() {
            return Ok(());
        }
        let frame = Frame::new(self.page_size, std::mem::take(&mut self.raw), std::mem::take(&mut self.digests), self.zstd.as_mut())?;
        let pack = match &mut self.pack {
            Some(p) => p,
            None => self.pack.insert(pack::Writer::new(self.repo.tmp("pack"), &self.repo.key)?),
        };
        pack.add(frame)?;
        if pack.bytes > PACK_BYTES { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<()> {
        self.pack.take().map_or(Ok(()), |p| p.finish(&self.repo.packs()).map(|_| ()))
    }

    fn finish(mut self) -> Result<()> {
        self.frame()?;
        self.close()
    }
}

/// Sets aside each pack with damaged bytes, after its good pages went into new ones: the pages it lost are then known to be
/// missing, and the next backup of a database that still has them stores them again. Returns how many there were.
pub fn set_aside(repo: &Repository, tick: Tick<'_>) -> Result<usize> {
    let mut bad = vec![];
    let mut out = Repack { repo, zstd: Some(zstd::bulk::Compressor::new(1)?), pack: None, page_size: 0, raw: vec![], digests: vec![] };
    for path in super::repository::files(&repo.packs(), "pack")? {
        let mut pack = match Pack::open(&path, &repo.key) {
            Ok(pack) => pack,
            Err(e) if e.kind == Kind::Corrupt => {
                bad.push(path);
                continue;
            }
            Err(e) => return Err(e),
        };
        let mut good = vec![];
        for at in 0..pack.frames.len() {
            tick()?;
            match super::verify::whole_frame(&mut pack, at) {
                Ok(()) => good.push(at),
                Err(e) if e.kind == Kind::Corrupt => {}
                Err(e) => return Err(e),
            }
        }
        if good.len() < pack.frames.len() {
            for at in good {
                let (place, pages) = pack.pages(at)?;
                for (page, digest) in pages.chunks_exact(place.page_size as usize).zip(&place.digests) {
                    out.add(place.page_size, page, digest)?;
                }
            }
            bad.push(path);
        }
    }
    out.finish()?;
    if !bad.is_empty() {
        sync_directory(&repo.packs().join("x"))?;
        let aside = repo.dir.join("damaged");
        fs::create_dir_all(&aside)?;
        for path in &bad {
            fs::rename(path, aside.join(path.file_name().unwrap_or_default()))?;
        }
        sync_directory(&repo.packs().join("x"))?;
    }
    Ok(bad.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Duration, Utc};

    fn head(n: i64, ty: Type, parent: Option<i64>, days_old: i64) -> Head {
        let created_at = time::stored(Utc::now() - Duration::days(days_old));
        serde_json::from_value(serde_json::json!({
            "id": format!("{n:04}"), "name": "", "database": "d", "source": null, "type": ty.word(), "parent": parent.map(|p| format!("{p:04}")),
            "created_at": created_at, "page_size": 512, "pages": 1, "entries": 1, "root": "", "sha256": null, "schema_digest": "",
            "stored_bytes": 0, "fleet": null, "damaged": null, "dbint": "", "sqlite": "",
        }))
        .unwrap()
    }

    fn gone(heads: &[Head], proven: &[&str], keep: Keep) -> Vec<String> {
        let proven = proven.iter().map(|s| s.to_string()).collect();
        expired(heads, &proven, |_| keep, Utc::now()).iter().map(|h| h.id.clone()).collect()
    }

    #[test]
    fn chains_and_the_last_proven_one_stay() {
        use Type::*;
        let heads = [
            head(1, Full, None, 90),
            head(2, Incremental, Some(1), 80),
            head(3, Full, None, 60),
            head(4, Incremental, Some(3), 50),
            head(5, Incremental, Some(4), 20),
            head(6, Full, None, 10),
        ];
        let days = Keep { days: 30.0, count: 0, generations: 0 };
        // 5 is young and needs 4 and 3.
        assert_eq!(gone(&heads, &[], days), ["0001", "0002"]);
        // The last proven one is old: it stays, with its parent.
        assert_eq!(gone(&heads, &["0002"], days), [""; 0]);
        let nothing = Keep { days: 0.0, count: 0, generations: 0 };
        assert_eq!(gone(&heads, &["0004", "0001"], nothing), ["0001", "0002", "0005", "0006"]);
        assert_eq!(gone(&heads, &[], Keep { generations: 1, ..nothing }), ["0001", "0002", "0003", "0004", "0005"]);
        assert_eq!(gone(&heads, &[], Keep { generations: 2, ..nothing }), ["0001", "0002"]);
        assert_eq!(gone(&heads, &[], Keep { count: 2, ..nothing }), ["0001", "0002"]);
    }
}
