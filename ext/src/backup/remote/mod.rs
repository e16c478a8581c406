//! Copies of a repository elsewhere: another folder, S3, Azure Blob Storage, Google Cloud Storage.
//!
//! A repository's files never change once they have their names (proofs do), so a copy is: what is not there yet, packs
//! before the manifests that need them. A copy that was cut off is continued by the next one. What is read back is
//! checked like any repository: nothing in a store is trusted, not even the names it lists.
mod bucket;
mod folder;

use super::lock::Lock;
use super::place;
use super::repository::{PATIENCE, Repository};
use super::source::Tick;
use crate::error::{At, Error, Kind, Result};
use crate::hub::settings;
use crate::kit::Interrupt;
use crate::options;
use folder::Folder;
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{Instant, SystemTime},
};

options! {
    pub struct CopyOptions {
        /// Where they are: a folder or a URL; default: the setting backup.path.
        path: String,
        /// Region of the bucket they go to; default: the setting backup.region.
        region: String,
        /// Region of the bucket they come from; default: the setting backup.region.
        from_region: String,
        /// Only tell what would be copied.
        dry_run: bool,
    }
}

/// A file of a repository, as a store lists it.
pub struct Object {
    /// `packs/….pack`
    pub name: String,
    pub bytes: u64,
    pub modified: Option<SystemTime>,
}

/// A place that holds a repository's files.
pub trait Store {
    /// For messages; never with a secret.
    fn shown(&self) -> String;
    fn list(&self, tick: Tick<'_>) -> Result<Vec<Object>>;
    /// The file on this machine: itself, or brought into `dir`.
    fn fetch(&self, object: &Object, dir: &Path, tick: Tick<'_>) -> Result<PathBuf>;
    /// Stores a file under `name`: whole, or not at all.
    fn put(&self, name: &str, from: &Path, tick: Tick<'_>) -> Result<()>;
}

/// The order in which files are copied: whatever moment it ends at, each manifest in the copy finds its packs.
const ORDER: [&str; 5] = ["repository.json", "identity.age", "packs/", "manifests/", "proofs/"];

/// Where in the order a name belongs; None for what is no file of a repository, whoever put it there.
pub fn rank(name: &str) -> Option<usize> {
    let rank = ORDER.iter().position(|o| if o.ends_with('/') { name.starts_with(o) } else { name == *o })?;
    let Some((folder, file)) = name.split_once('/') else { return Some(rank) };
    let (stem, ending) = file.rsplit_once('.')?;
    let fits = matches!((folder, ending), ("packs", "pack") | ("manifests", "manifest") | ("proofs", "json"));
    (fits && !stem.is_empty() && stem.chars().all(|c| c.is_ascii_hexdigit() || c == '-')).then_some(rank)
}

pub fn is_url(place: &str) -> bool {
    place.contains("://")
}

fn store(db: &Connection, place: &str, region: Option<&str>) -> Result<Box<dyn Store>> {
    let Some((scheme, rest)) = place.split_once("://") else {
        return Ok(Box::new(Folder::new(place::folder(db, Some(place))?)));
    };
    let kind = match scheme {
        "file" => return Ok(Box::new(Folder::new(place::folder(db, Some(rest))?))),
        "s3" | "s3a" => "s3",
        "az" | "azure" | "abfs" | "abfss" => "azure",
        "gs" | "gcs" => "gcs",
        other => return Err(Error::argument(format!("no store is called by \"{other}://\"")).hint("s3://bucket, az://container, gs://bucket, or a folder")),
    };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(Error::argument(format!("\"{place}\" names no bucket")));
    }
    let region = region.map_or_else(|| settings::get(db, "backup.region").map(|f| f.value), |r| Ok(r.to_owned()))?;
    bucket::open(kind, bucket, prefix.trim_matches('/'), &region)
}

/// The store that the settings name, as a folder or URL.
fn configured(db: &Connection) -> Result<String> {
    let missing = |key: &str| Error::argument(format!("the setting {key} is not set")).hint("Name the store in the call, as s3://bucket/folder");
    let kind = settings::text(db, "backup.storage_type")?.ok_or_else(|| missing("backup.storage_type"))?;
    let bucket = settings::text(db, "backup.bucket")?.ok_or_else(|| missing("backup.bucket"))?;
    Ok(match crate::kit::one_of("backup.storage_type", &kind, &["s3", "gcs", "azure", "local"])? {
        "s3" => format!("s3://{bucket}"),
        "gcs" => format!("gs://{bucket}"),
        "azure" => format!("az://{bucket}"),
        _ => bucket,
    })
}

/// Copies what is not there yet from one place to another.
pub fn copy(db: &Connection, to: Option<&str>, o: &CopyOptions) -> Result<Json> {
    let to = to.map_or_else(|| configured(db), |t| Ok(t.to_owned()))?;
    let from = match &o.path {
        Some(p) => p.clone(),
        None => place::folder(db, None)?.display().to_string(),
    };
    let (source, target) = (store(db, &from, o.from_region.as_deref())?, store(db, &to, o.region.as_deref())?);
    let mut interrupt = Interrupt::of(db)?;
    // Nobody may prune a folder that is being copied.
    let mut locks = vec![];
    for side in [&from, &to] {
        let dir = if is_url(side) { continue } else { place::folder(db, Some(side))? };
        if dir.join("repository.json").exists() {
            match Lock::within(&dir, "copy", PATIENCE) {
                Ok(lock) => locks.push(lock),
                Err(e) if matches!(e.kind, Kind::ReadOnly | Kind::Denied | Kind::Io) => {}
                Err(e) => return Err(e),
            }
        }
    }
    transfer(&*source, &*target, o.dry_run.unwrap_or(false), &mut || {
        locks.iter_mut().try_for_each(Lock::renew)?;
        interrupt.check()
    })
}

/// After a backup: the copy that the settings ask for. What fails is told; the backup itself stands.
pub fn after_backup(db: &Connection, repo: &Repository, tick: Tick<'_>) -> Result<Option<Json>> {
    if !settings::switch(db, "backup.remote")? {
        return Ok(None);
    }
    let copied = configured(db).and_then(|to| {
        let target = store(db, &to, None)?;
        transfer(&Folder::new(repo.dir.clone()), &*target, false, tick)
    });
    match copied {
        Err(e) if e.kind == Kind::Interrupted => Err(e),
        Err(e) => Ok(Some(json!({"error": e.to_string()}))),
        Ok(told) => Ok(Some(told)),
    }
}

fn listed(store: &dyn Store, tick: Tick<'_>) -> Result<Vec<(usize, Object)>> {
    let mut all: Vec<(usize, Object)> = store.list(tick).at(store.shown())?.into_iter().filter_map(|o| Some((rank(&o.name)?, o))).collect();
    // Names of manifests sort by time: parents come first.
    all.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
    Ok(all)
}

fn transfer(source: &dyn Store, target: &dyn Store, dry: bool, tick: Tick<'_>) -> Result<Json> {
    let started = Instant::now();
    let all = listed(source, tick)?;
    if all.first().is_none_or(|(_, o)| o.name != "repository.json") {
        return Err(Error::not_found(format!("no backups in {}", source.shown())));
    }
    let there: HashMap<String, Object> = listed(target, tick)?.into_iter().map(|(_, o)| (o.name.clone(), o)).collect();
    let scratch = Scratch::new()?;
    same_repository(source, target, &all, &there, &scratch, tick)?;
    let (mut copied, mut bytes, mut backups) = (0, 0, 0);
    for (_, object) in &all {
        if let Some(theirs) = there.get(&object.name)
            && object.bytes == theirs.bytes
            && (!may_be_newer(object, theirs) || same_bytes((source, object), (target, theirs), &scratch, tick)?)
        {
            continue;
        }
        if !dry {
            let file = source.fetch(object, &scratch.0, tick).at(source.shown())?;
            target.put(&object.name, &file, tick).at(target.shown())?;
            if file.starts_with(&scratch.0) {
                std::fs::remove_file(&file)?;
            }
        }
        (copied, bytes) = (copied + 1, bytes + object.bytes);
        backups += usize::from(object.name.starts_with("manifests/"));
        tick()?;
    }
    Ok(json!({
        "from": source.shown(), "to": target.shown(), "dry_run": dry, "backups": backups, "files": copied, "bytes": bytes, "there_already": all.len() - copied,
        "duration_s": super::job::round(started.elapsed().as_secs_f64()),
    }))
}

/// Two repositories in one folder would be none.
fn same_repository(
    source: &dyn Store,
    target: &dyn Store,
    all: &[(usize, Object)],
    there: &HashMap<String, Object>,
    scratch: &Scratch,
    tick: Tick<'_>,
) -> Result<()> {
    let (Some((_, ours)), false) = (all.first(), there.is_empty()) else { return Ok(()) };
    let other = || Error::new(Kind::Conflict, format!("{} holds another repository", target.shown())).hint("Nothing was copied. Name another folder in it");
    let theirs = there.get("repository.json").ok_or_else(other)?;
    if same_bytes((source, ours), (target, theirs), scratch, tick)? { Ok(()) } else { Err(other()) }
}

/// Only proofs are ever replaced. Stores keep times by the second, so a file of the same second may be newer, too.
fn may_be_newer(ours: &Object, theirs: &Object) -> bool {
    let second = |o: &Object| o.modified.and_then(|m| m.duration_since(SystemTime::UNIX_EPOCH).ok()).map(|d| d.as_secs());
    ours.name.starts_with("proofs/") && second(ours).zip(second(theirs)).is_some_and(|(ours, theirs)| ours >= theirs)
}

/// Compares two small files.
fn same_bytes(ours: (&dyn Store, &Object), theirs: (&dyn Store, &Object), scratch: &Scratch, tick: Tick<'_>) -> Result<bool> {
    let mut read = |(store, object): (&dyn Store, &Object), side: &str| -> Result<Vec<u8>> {
        let dir = scratch.0.join(side);
        std::fs::create_dir_all(&dir)?;
        Ok(std::fs::read(store.fetch(object, &dir, tick).at(store.shown())?)?)
    };
    Ok(read(ours, "ours")? == read(theirs, "theirs")?)
}

/// Brings the files of a repository in a store to this machine, to read them here; `packs` says whether those, too.
pub fn mirror(db: &Connection, url: &str, packs: bool) -> Result<Scratch> {
    let source = store(db, url, None)?;
    let mut interrupt = Interrupt::of(db)?;
    let tick: Tick<'_> = &mut || interrupt.check();
    let scratch = Scratch::new()?;
    let all = listed(&*source, tick)?;
    if all.is_empty() {
        return Err(Error::not_found(format!("no backups in {}", source.shown())));
    }
    let here = Folder::new(scratch.0.join("mirror"));
    let part = scratch.0.join("part");
    std::fs::create_dir_all(&part)?;
    for (_, object) in all.iter().filter(|(_, o)| packs || !o.name.starts_with("packs/")) {
        let file = source.fetch(object, &part, tick).at(source.shown())?;
        here.take_over(&object.name, &file, file.starts_with(&part))?;
    }
    Ok(Scratch(scratch.keep().join("mirror")))
}

/// A folder of ours that goes away again.
pub struct Scratch(pub PathBuf);

impl Scratch {
    fn new() -> Result<Scratch> {
        let dir = std::env::temp_dir().join(format!("dbint-{}", crate::db::time::new_id()));
        let mut make = std::fs::DirBuilder::new();
        // Others on this machine have no business with what is in backups.
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut make, 0o700);
        make.create(&dir).at(dir.display())?;
        Ok(Scratch(dir))
    }

    fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            let all = if self.0.ends_with("mirror") { self.0.parent().unwrap_or(&self.0) } else { &self.0 };
            let _ = std::fs::remove_dir_all(all);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_names_of_a_repository_count() {
        let rank = super::rank;
        assert_eq!(rank("repository.json"), Some(0));
        assert_eq!(rank("packs/00ff.pack"), Some(2));
        assert_eq!(rank("manifests/0193-aa.manifest"), Some(3));
        for name in [
            "lock",
            "tmp/x",
            "packs/../../etc.pack",
            "packs/a/b.pack",
            "packs/.pack",
            "packs/x.pack",
            "manifests/aa.pack",
            "repository.json/x",
            "/packs/aa.pack",
            "packs\\aa.pack",
        ] {
            assert_eq!(rank(name), None, "{name}");
        }
    }

    /// A store that keeps times by the whole second says of a copy made just now that it is older than what was copied.
    #[test]
    fn a_copy_of_the_same_second_is_copied_again_only_where_its_bytes_differ() {
        use super::{Folder, Scratch, transfer};
        use std::{fs, time::Duration, time::SystemTime};
        let (a, b) = (Scratch::new().unwrap(), Scratch::new().unwrap());
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let put = |dir: &Scratch, name: &str, text: &str, time: SystemTime| {
            let path = dir.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        };
        for (dir, time) in [(&a, at + Duration::from_millis(700)), (&b, at)] {
            put(dir, "repository.json", "r", time);
            put(dir, "proofs/aa.json", "proof", time);
        }
        let files = || transfer(&Folder::new(a.0.clone()), &Folder::new(b.0.clone()), false, &mut || Ok(())).unwrap()["files"].as_u64();
        assert_eq!(files(), Some(0));
        put(&a, "proofs/aa.json", "other", at + Duration::from_millis(900));
        assert_eq!(files(), Some(1));
        assert_eq!(fs::read_to_string(b.0.join("proofs/aa.json")).unwrap(), "other");
        // The copy has a later time now: it is what it should be.
        assert_eq!(files(), Some(0));
    }
}
