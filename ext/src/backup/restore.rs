//! Putting a backup back together: every page is checked against its SHA-256 on the way.
use super::bytes::{Digest, damaged, hex};
use super::manifest::{Head, Pages};
use super::pack::{self, Pack};
use super::place;
use super::repository::{Index, Proof, Repository};
use super::source::Tick;
use crate::db::{
    copy::{sync_directory, with_suffix},
    ident::quote,
    open, schema, time,
};
use crate::error::{At, Error, Kind, Result};
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Instant,
};

static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// Which page of the file is filled by what lies in pack, frame, slot; in the order of the packs.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    pack: u32,
    frame: u32,
    slot: u32,
    page: u32,
}

fn plan(index: &Index, pages: &Pages) -> Result<Vec<Step>> {
    let mut plan = Vec::with_capacity(pages.digests.len());
    for (digest, page) in pages.digests.iter().zip(1u32..) {
        let at = index.find(digest).last().ok_or_else(|| missing(page, digest, index))?;
        plan.push(Step { pack: at.pack, frame: at.frame, slot: at.slot, page });
    }
    plan.sort_unstable();
    Ok(plan)
}

fn missing(page: u32, digest: &Digest, index: &Index) -> Error {
    let e = damaged(format!("page {page} ({}…) is in no readable pack", hex(digest.get(..6).unwrap_or_default())));
    match index.damaged.first() {
        Some(cause) => e.hint(&cause.message),
        None => e,
    }
}

/// Calls `each(page number, content)` for all pages of a backup, in the order of the packs, each page checked.
pub fn each_page(repo: &Repository, index: &Index, pages: &Pages, page_size: u32, each: &mut dyn FnMut(u32, &[u8]) -> Result<()>) -> Result<()> {
    let mut open: Option<(u32, Pack)> = None;
    let mut frame: Option<((u32, u32), Vec<u8>)> = None;
    for at in plan(index, pages)? {
        let page = at.page;
        if frame.as_ref().is_none_or(|(f, _)| *f != (at.pack, at.frame)) {
            if open.as_ref().is_none_or(|(n, _)| *n != at.pack) {
                let path = index.packs.get(at.pack as usize).ok_or_else(|| Error::internal("no such pack"))?;
                open = Some((at.pack, Pack::open(path, &repo.key)?));
            }
            let (_, pack) = open.as_mut().ok_or_else(|| Error::internal("no pack"))?;
            let (place, raw) = pack.pages(at.frame as usize).at(pack_name(index, at.pack))?;
            if place.page_size != page_size {
                return Err(damaged("pages of another size").context(pack_name(index, at.pack)));
            }
            frame = Some(((at.pack, at.frame), raw));
        }
        let content = frame.as_ref().and_then(|(_, raw)| raw.chunks_exact(page_size as usize).nth(at.slot as usize));
        match (content, pages.digests.get(page as usize - 1)) {
            (Some(content), Some(digest)) if pack::is(content, digest) => each(page, content)?,
            _ => return Err(damaged(format!("page {page} is not what the manifest says")).context(pack_name(index, at.pack))),
        }
    }
    Ok(())
}

pub fn pack_name(index: &Index, pack: u32) -> String {
    let name = index.packs.get(pack as usize).and_then(|p| p.file_name()).unwrap_or_default();
    format!("pack {}", name.to_string_lossy())
}

/// Writes a backup's database to the new file `to` and makes it durable.
fn write(repo: &Repository, index: &Index, head: &Head, pages: &Pages, to: &Path, tick: Tick<'_>) -> Result<()> {
    place::has_room(to, head.size())?;
    let made: Result<()> = (|| {
        let mut out = File::create_new(to)?;
        out.set_len(head.size())?;
        let mut next = 0;
        each_page(repo, index, pages, head.page_size, &mut |page, content| {
            // The file is zeros as far as it was not written: free pages cost no room.
            if ZEROS.get(..content.len()) == Some(content) {
                return tick();
            }
            let at = u64::from(page - 1) * u64::from(head.page_size);
            if at != next {
                out.seek(SeekFrom::Start(at))?;
            }
            next = at + content.len() as u64;
            out.write_all(content)?;
            tick()
        })?;
        Ok(out.sync_all()?)
    })();
    if made.is_err() {
        let _ = fs::remove_file(to);
    }
    made
}

/// As `write`, with an index made now. A pack may go while it is read, if somebody prunes: its pages are then in another.
pub fn fetch(repo: &Repository, head: &Head, pages: &Pages, to: &Path, tick: Tick<'_>) -> Result<()> {
    match write(repo, &repo.index()?, head, pages, to, tick) {
        Err(e) if matches!(e.kind, Kind::Corrupt | Kind::NotFound | Kind::Io) => write(repo, &repo.index()?, head, pages, to, tick),
        other => other,
    }
}

/// Restores to a temporary file, reads it back, and lets SQLite check it: the proof that this backup can be restored.
pub fn test(repo: &Repository, id: &str, tick: Tick<'_>) -> Result<Proof> {
    let started = Instant::now();
    let path = repo.tmp("restore");
    let mut proof = Proof {
        backup_id: id.to_owned(),
        tested_at: time::now(),
        ok: false,
        problems: vec![],
        sha256: None,
        root: String::new(),
        row_counts: Default::default(),
        duration_s: 0.0,
    };
    let tested: Result<()> = (|| {
        let (head, pages) = repo.pages(id)?;
        fetch(repo, &head, &pages, &path, tick)?;
        let (root, sha) = fingerprint(&path, head.page_size, tick)?;
        if root != head.root {
            proof.problems.push("the restored file has another content than the source had".to_owned());
        }
        if head.sha256.as_ref().is_some_and(|s| *s != sha) {
            proof.problems.push("the restored file has another SHA-256 than the source had".to_owned());
        }
        (proof.root, proof.sha256) = (root, Some(sha));
        let db = open::open_immutable(&path)?;
        let mut q = db.prepare("PRAGMA integrity_check(10)")?;
        let said: Vec<String> = q.query_map([], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?;
        let sound = said.iter().all(|s| s == "ok");
        if !sound && head.damaged.is_none() {
            proof.problems.extend(said.into_iter().map(|s| format!("integrity_check: {s}")));
        }
        proof.row_counts = row_counts(&db)?;
        Ok(())
    })();
    let _ = fs::remove_file(&path);
    match tested {
        Err(e) if matches!(e.kind, Kind::Corrupt | Kind::NotADatabase | Kind::Newer) => proof.problems.push(e.message),
        other => other?,
    }
    proof.ok = proof.problems.is_empty();
    proof.duration_s = started.elapsed().as_secs_f64();
    Ok(proof)
}

/// The root of a file's pages, and its SHA-256.
pub fn fingerprint(path: &Path, page_size: u32, tick: Tick<'_>) -> Result<(String, String)> {
    let mut file = File::open(path)?;
    let (mut root, mut whole) = (Sha256::new(), Sha256::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        let mut n = 0;
        while let Some(rest) = buffer.get_mut(n..).filter(|r| !r.is_empty()) {
            match file.read(rest)? {
                0 => break,
                k => n += k,
            }
        }
        let data = buffer.get(..n).unwrap_or_default();
        if n == 0 {
            break;
        }
        whole.update(data);
        data.chunks(page_size as usize).for_each(|page| root.update(super::bytes::sha256(page)));
        tick()?;
    }
    Ok((hex(&root.finalize()), hex(&whole.finalize())))
}

/// Rows of every ordinary table.
fn row_counts(db: &Connection) -> Result<serde_json::Map<String, serde_json::Value>> {
    let mut counts = serde_json::Map::new();
    for name in schema::tables(db, "main")? {
        // A virtual table may need a module nobody loaded; its shadow tables are counted.
        if let Ok(n) = db.query_row(&format!("SELECT count(*) FROM {}", quote(&name)), [], |r| r.get::<_, i64>(0)) {
            counts.insert(name, n.into());
        }
    }
    Ok(counts)
}

/// What became of a file that was there before.
pub struct Restored {
    pub kept: Option<PathBuf>,
}

/// Restores to `to`. A file there is kept aside under another name if `overwrite` says so; at every moment `to` is
/// the old file or the new one.
pub fn to_file(repo: &Repository, head: &Head, pages: &Pages, to: &Path, overwrite: bool, tick: Tick<'_>) -> Result<Restored> {
    let there = fs::symlink_metadata(to).is_ok();
    if there && !overwrite {
        return Err(
            Error::argument(format!("\"{}\" exists already", to.display())).hint("The option {\"overwrite\":true} replaces it and keeps the old file aside")
        );
    }
    if there && !fs::metadata(to).is_ok_and(|m| m.is_file()) {
        return Err(Error::argument(format!("\"{}\" is not a regular file", to.display())));
    }
    let to = &if there { to.canonicalize()? } else { to.to_owned() };
    let part = with_suffix(to, &format!(".{}.part", time::new_id()));
    fetch(repo, head, pages, &part, tick).at(to.display())?;
    let swapped: Result<Restored> = (|| {
        let kept = if there { Some(put_aside(to)?) } else { None };
        leave_no_journal(to)?;
        fs::rename(&part, to)?;
        sync_directory(to)?;
        Ok(Restored { kept })
    })();
    if swapped.is_err() {
        let _ = fs::remove_file(&part);
    }
    swapped.at(to.display())
}

/// Gives the old file a second name. Its WAL goes into it before: beside the new file it would be taken for the new one's.
/// Else its bytes stay as they are: whoever is stopped here leaves the old file, in its journal mode.
fn put_aside(to: &Path) -> Result<PathBuf> {
    let aside = with_suffix(to, &format!(".before-{}", chrono::Utc::now().format("%Y%m%dT%H%M%S%3fZ")));
    match open::open_alone(to) {
        Ok(_alone) => {
            fs::hard_link(to, &aside)?;
            sync_directory(to)?;
        }
        Err(e) if e.kind == Kind::Busy => return Err(in_use(to, e)),
        // Damaged, or no database at all: kept with all that belongs to it.
        Err(_) => {
            fs::hard_link(to, &aside)?;
            for side in ["-wal", "-shm", "-journal"] {
                match fs::rename(with_suffix(to, side), with_suffix(&aside, side)) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
                    _ => {}
                }
            }
        }
    }
    Ok(aside)
}

fn in_use(to: &Path, e: Error) -> Error {
    Error::new(Kind::Busy, format!("\"{}\" is in use ({})", to.display(), e.message)).hint("Close the programs that have it open; nothing was changed")
}

/// A -wal or -journal without its database would be applied to the new file.
fn leave_no_journal(to: &Path) -> Result<()> {
    for side in ["-wal", "-journal"] {
        let path = with_suffix(to, side);
        if fs::metadata(&path).is_ok_and(|m| m.len() > 0) {
            return Err(Error::new(Kind::Conflict, format!("\"{}\" lies there and would be applied to the restored database", path.display()))
                .hint("Move it away first"));
        }
    }
    Ok(())
}
