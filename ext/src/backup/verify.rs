//! Verifying: every byte a backup needs is read and checked; nothing is restored.
use super::bytes::{damaged, hex};
use super::manifest::Pages;
use super::pack::{self, Pack};
use super::repository::{Index, Location, Repository};
use super::restore::pack_name;
use super::source::Tick;
use crate::error::{Error, Kind, Result};
use std::collections::HashSet;

/// What is wrong with one backup; empty is good. `proven`: the catalogue remembers a restore test that passed.
pub fn backup(repo: &Repository, index: &Index, id: &str, proven: bool, tick: Tick<'_>) -> Result<Vec<String>> {
    let mut problems = vec![];
    match repo.proof(id) {
        Err(e) => problems.push(said(e)?),
        Ok(Some(p)) if !p.ok => problems.push(format!("its restore test failed: {}", p.problems.first().map_or("", String::as_str))),
        Ok(None) if proven => problems.push("the proof of its restore test is missing".to_owned()),
        Ok(_) => {}
    }
    match repo.pages(id) {
        Ok((head, pages)) => reached(repo, index, &pages, head.page_size, &mut problems, tick)?,
        Err(e) => problems.push(said(e)?),
    }
    Ok(problems)
}

/// The message of what is a finding; other errors (interrupted, I/O) stop the verification.
fn said(e: Error) -> Result<String> {
    match e.kind {
        Kind::Corrupt | Kind::NotFound | Kind::Newer | Kind::Internal | Kind::Io => Ok(e.message),
        _ => Err(e),
    }
}

/// Checks each copy of each page until one is good: stored bytes, decompression, SHA-256.
fn reached(repo: &Repository, index: &Index, pages: &Pages, page_size: u32, problems: &mut Vec<String>, tick: Tick<'_>) -> Result<()> {
    let mut wanted: Vec<Location> = vec![];
    let mut lost = 0;
    let mut first = None;
    for (digest, page) in pages.digests.iter().zip(1u32..) {
        let found = index.find(digest);
        if found.is_empty() {
            lost += 1;
            first.get_or_insert((page, digest));
        }
        wanted.extend(found);
    }
    if let Some((page, digest)) = first {
        problems.push(format!("{lost} of its pages are in no readable pack, first page {page} ({}…)", hex(digest.get(..6).unwrap_or_default())));
        problems.extend(index.damaged.iter().map(|e| e.message.clone()));
    }
    wanted.sort_unstable_by_key(|l| (l.pack, l.frame));
    wanted.dedup_by_key(|l| (l.pack, l.frame));
    let mut open: Option<(u32, Pack)> = None;
    let mut bad: HashSet<(u32, u32)> = HashSet::new();
    for at in wanted {
        tick()?;
        if open.as_ref().is_none_or(|(n, _)| *n != at.pack) {
            let path = index.packs.get(at.pack as usize).ok_or_else(|| Error::internal("no such pack"))?;
            match Pack::open(path, &repo.key) {
                Ok(p) => open = Some((at.pack, p)),
                Err(e) => {
                    problems.push(said(e)?);
                    bad.insert((at.pack, at.frame));
                    open = None;
                    continue;
                }
            }
        }
        let Some((_, pack)) = open.as_mut() else { continue };
        if let Err(e) = frame(pack, at.frame as usize, page_size) {
            problems.push(format!("{}, frame {}: {}", pack_name(index, at.pack), at.frame, said(e)?));
            bad.insert((at.pack, at.frame));
        }
    }
    Ok(())
}

/// A frame, whatever the size of its pages.
pub fn whole_frame(pack: &mut Pack, at: usize) -> Result<()> {
    let size = pack.frames.get(at).map_or(0, |f| f.page_size);
    frame(pack, at, size)
}

fn frame(pack: &mut Pack, at: usize, page_size: u32) -> Result<()> {
    let (place, raw) = pack.pages(at)?;
    if place.page_size != page_size {
        return Err(damaged("its pages have another size"));
    }
    for (page, digest) in raw.chunks_exact(page_size as usize).zip(&place.digests) {
        if !pack::is(page, digest) {
            return Err(damaged("a page is not what its SHA-256 says"));
        }
    }
    Ok(())
}

/// Every pack whole, whoever needs it.
pub fn packs(repo: &Repository, index: &Index, tick: Tick<'_>) -> Result<Vec<String>> {
    let mut problems: Vec<String> = index.damaged.iter().map(|e| e.message.clone()).collect();
    for (path, at) in index.packs.iter().zip(0u32..) {
        let checked = Pack::open(path, &repo.key).and_then(|mut p| {
            for i in 0..p.frames.len() {
                tick()?;
                whole_frame(&mut p, i)?;
            }
            Ok(())
        });
        if let Err(e) = checked {
            problems.push(format!("{}: {}", pack_name(index, at), said(e)?));
        }
    }
    Ok(problems)
}
