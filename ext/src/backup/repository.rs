//! The repository: a folder that alone suffices to restore. The hub's catalogue is only a copy of what it holds.
//!
//! ```text
//! repository.json        what this folder is: format, id, secret of the fast sums, kind of encryption; sealed
//! lock                   who is changing it, until when
//! packs/HASH.pack        pages, each once, whichever database or backup they belong to
//! manifests/ID.manifest  one for each backup: the list of its pages
//! proofs/ID.json         what the last restore test of a backup found; sealed
//! damaged/HASH.pack      packs with damaged bytes, set aside after their good pages went into others
//! tmp/                   files on their way; nothing in here counts
//! ```
//! A file gets its name only when its bytes are durable, packs before the manifest that needs them: whatever moment
//! the process dies at, every manifest that can be seen is complete.
use super::bytes::{Digest, damaged, seal, unseal};
use super::crypt::{Key, Secret};
use super::lock::Lock;
use super::manifest::{self, Head, Pages, Type};
use super::pack::{self, Pack};
use super::remote::Scratch;
use crate::db::{copy::sync_directory, time};
use crate::error::{At, Error, Kind, Result};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const FORMAT: u64 = 1;
const FILE: &str = "repository.json";
/// Leftovers in tmp/ of a process that died are removed after a day.
const STALE_S: u64 = 86_400;
/// How long a reader, or the second of two who make a repository, waits for the lock.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub struct Repository {
    pub dir: PathBuf,
    pub key: Key,
    /// Seed of the fast sums.
    pub seed: u64,
    /// Of a repository in a store: its files brought here, for as long as this is.
    mirror: Option<Scratch>,
}

/// A proof: what a restore test found.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Proof {
    /// Two proofs that were swapped show it.
    pub backup_id: String,
    pub tested_at: String,
    pub ok: bool,
    pub problems: Vec<String>,
    /// SHA-256 of the restored file, as `sha256sum` prints it.
    pub sha256: Option<String>,
    pub root: String,
    pub row_counts: serde_json::Map<String, serde_json::Value>,
    pub duration_s: f64,
}

impl Repository {
    /// The repository in `dir`; an error where there is none.
    pub fn open(dir: &Path, secret: Option<&Secret>) -> Result<Repository> {
        let path = dir.join(FILE);
        if !path.exists() {
            return Err(Error::not_found(format!("no backups in \"{}\"", dir.display()))
                .hint("backup_database() makes the first; the option \"path\" or the setting backup.path names another folder"));
        }
        let data = Key::None.read(&path, 1 << 16).at(path.display())?;
        let about = unseal(&data).at(path.display())?;
        let format = about.get("dbint_repository").and_then(|v| v.as_u64()).unwrap_or(0);
        if format > FORMAT {
            return Err(Error::new(Kind::Newer, format!("the repository \"{}\" has format {format}, and this library knows up to {FORMAT}", dir.display()))
                .hint("Load the newer dbint"));
        }
        let Some(seed) = about.get("seed").and_then(|v| v.as_u64()) else {
            return Err(Error::new(Kind::Corrupt, format!("\"{}\" is not complete", path.display())));
        };
        let key = Key::of(dir, about.get("encryption").unwrap_or(&serde_json::Value::Null), secret)?;
        Ok(Repository { dir: dir.to_owned(), key, seed, mirror: None })
    }

    /// What was brought here from a store.
    pub fn mirrored(files: Scratch, secret: Option<&Secret>) -> Result<Repository> {
        let mut repo = Repository::open(&files.0, secret)?;
        repo.mirror = Some(files);
        Ok(repo)
    }

    /// Whether what is written here would be lost.
    pub fn is_mirror(&self) -> bool {
        self.mirror.is_some()
    }

    /// As `open`, and makes it where the folder is new or empty, or where a process died while it made one.
    pub fn open_or_create(dir: &Path, secret: Option<&Secret>) -> Result<Repository> {
        if !dir.join(FILE).exists() {
            let _lock = Lock::within(dir, "make a repository", PATIENCE)?;
            Repository::create(dir, secret)?;
        }
        let repo = Repository::open(dir, secret)?;
        if secret.is_some() && !repo.key.is_encrypted() {
            return Err(Error::new(Kind::Denied, format!("there is a key, but the backups in \"{}\" are not encrypted", dir.display()))
                .hint("Name another folder for encrypted backups, or take the key away"));
        }
        Ok(repo)
    }

    fn create(dir: &Path, secret: Option<&Secret>) -> Result<()> {
        // Somebody else may have made it while we waited for the lock.
        if !dir.join(FILE).exists() {
            if !files(&dir.join("packs"), "pack")?.is_empty() || !files(&dir.join("manifests"), "manifest")?.is_empty() {
                return Err(Error::new(Kind::Corrupt, format!("\"{}\" has packs or manifests, but no {FILE}", dir.display()))
                    .hint("Put it back from a copy of the repository"));
            }
            for d in ["packs", "manifests", "proofs", "tmp"] {
                fs::create_dir_all(dir.join(d)).at(dir.display())?;
            }
            let id = uuid::Uuid::now_v7();
            let seed = uuid::Uuid::now_v7().as_u64_pair().1;
            let (_, encryption) = Key::create(dir, secret)?;
            let about = json!({"dbint_repository": FORMAT, "id": id.to_string(), "seed": seed, "created_at": time::now(), "encryption": encryption});
            Key::None.write(&dir.join("tmp").join(format!("{id}.json")), &dir.join(FILE), &seal(&about)).at(dir.display())?;
        }
        Ok(())
    }

    pub fn tmp(&self, name: &str) -> PathBuf {
        self.dir.join("tmp").join(format!("{}-{name}", time::new_id()))
    }

    pub fn packs(&self) -> PathBuf {
        self.dir.join("packs")
    }

    pub fn manifest_path(&self, id: &str) -> PathBuf {
        self.dir.join("manifests").join(format!("{id}.manifest"))
    }

    fn proof_path(&self, id: &str) -> PathBuf {
        self.dir.join("proofs").join(format!("{id}.json"))
    }

    /// Heads of all backups, oldest first (ids sort by time), and what could not be read.
    pub fn heads(&self) -> Result<(Vec<Head>, Vec<(String, Error)>)> {
        let (mut heads, mut bad) = (vec![], vec![]);
        for path in files(&self.dir.join("manifests"), "manifest")? {
            match manifest::head(&path, &self.key) {
                Ok(h) => heads.push(h),
                Err(e) => bad.push((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), e)),
            }
        }
        heads.sort_by(|a: &Head, b| a.id.cmp(&b.id));
        Ok((heads, bad))
    }

    /// The backup with this id (or an unambiguous beginning of one), else the newest with this name.
    pub fn find(&self, wanted: &str) -> Result<Head> {
        if wanted.len() == 36 && self.manifest_path(wanted).exists() && !wanted.contains(['/', '\\']) {
            return manifest::head(&self.manifest_path(wanted), &self.key);
        }
        let (heads, bad) = self.heads()?;
        if let Some((id, e)) = bad.into_iter().find(|(id, _)| id == wanted) {
            return Err(e.context(format!("backup {id}")));
        }
        if let Some(h) = heads.iter().rev().find(|h| h.name == wanted) {
            return Ok(h.clone());
        }
        let near: Vec<&Head> = heads.iter().filter(|h| wanted.len() >= 8 && h.id.starts_with(wanted)).collect();
        if let [only] = near.as_slice() {
            return Ok((*only).clone());
        }
        let names = heads.iter().map(|h| h.name.as_str());
        Err(Error::not_found(format!("no backup \"{wanted}\" in \"{}\".{}", self.dir.display(), crate::error::did_you_mean(wanted, names))))
    }

    /// A backup's head and all its pages, put together from its parents; every manifest on the way is checked.
    pub fn pages(&self, id: &str) -> Result<(Head, Pages)> {
        let mut chain = vec![];
        let mut next = Some(id.to_owned());
        while let Some(id) = next {
            if chain.len() > 10_000 || id.contains(['/', '\\']) {
                return Err(Error::new(Kind::Corrupt, format!("manifest {id}: its parents never end")));
            }
            let path = self.manifest_path(&id);
            if !path.exists() {
                return Err(Error::new(Kind::Corrupt, format!("the manifest of backup {id} is missing")));
            }
            let (head, changed) = manifest::read(&path, &self.key)?;
            next = head.parent.clone();
            chain.push((head, changed));
        }
        let (mut pages, mut last) = (Pages::default(), None);
        while let Some((head, changed)) = chain.pop() {
            manifest::apply(&mut pages, &head, &changed)?;
            last = Some(head);
        }
        let head = last.ok_or_else(|| Error::internal("no manifest"))?;
        if pages.root() == head.root { Ok((head, pages)) } else { Err(manifest::incomplete(&head)) }
    }

    /// The backup a new one of `database` builds on: the newest, or the newest full one.
    pub fn parent(&self, database: &str, ty: Type) -> Result<Option<Head>> {
        let (heads, _) = self.heads()?;
        let fits = |h: &&Head| h.database == database && h.damaged.is_none();
        Ok(match ty {
            Type::Full => None,
            Type::Incremental => heads.iter().rev().find(fits).cloned(),
            Type::Differential => heads.iter().rev().filter(|h| h.ty == Type::Full).find(fits).cloned(),
        })
    }

    /// Makes a manifest visible; all it needs must be durable by now.
    pub fn publish(&self, head: &Head, pages: &Pages, changed: &[u32]) -> Result<()> {
        sync_directory(&self.packs().join("x"))?;
        self.key.write_by(&self.tmp("manifest"), &self.manifest_path(&head.id), |out| manifest::encode(head, pages, changed, out))?;
        Ok(())
    }

    pub fn proof(&self, id: &str) -> Result<Option<Proof>> {
        let path = self.proof_path(id);
        if !path.exists() {
            return Ok(None);
        }
        let read = || match serde_json::from_value::<Proof>(unseal(&self.key.read(&path, 1 << 26)?)?)? {
            p if p.backup_id == id => Ok(p),
            _ => Err(damaged("it is another backup's")),
        };
        read().map(Some).map_err(|e: Error| Error::new(Kind::Corrupt, format!("the proof of backup {id}: {}", e.message)))
    }

    pub fn prove(&self, proof: &Proof) -> Result<()> {
        fs::create_dir_all(self.dir.join("proofs"))?;
        self.key.write(&self.tmp("proof"), &self.proof_path(&proof.backup_id), &seal(&serde_json::to_value(proof)?))?;
        Ok(())
    }

    /// Removes a backup from the list; its pages stay until nobody needs them.
    pub fn forget(&self, id: &str) -> Result<()> {
        let path = self.manifest_path(id);
        fs::remove_file(&path)?;
        sync_directory(&path)?;
        match fs::remove_file(self.proof_path(id)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// Where every page is. Packs that cannot be read are told, not fatal.
    pub fn index(&self) -> Result<Index> {
        let mut index = Index::default();
        for path in files(&self.packs(), "pack")? {
            match Pack::open(&path, &self.key) {
                Ok(p) => {
                    let at = index.packs.len() as u32;
                    index.places.extend(pack::digests(&p.frames).map(|(frame, slot, d)| Location {
                        half: half(d),
                        pack: at,
                        frame: frame as u32,
                        slot: slot as u32,
                    }));
                    index.packs.push(path);
                }
                Err(e) => index.damaged.push(e),
            }
        }
        index.sort();
        Ok(index)
    }

    /// Removes what a process that died has left behind. Only under the lock.
    pub fn tidy(&self) {
        let old = |p: &Path| fs::metadata(p).and_then(|m| m.modified()).is_ok_and(|t| t.elapsed().is_ok_and(|e| e.as_secs() > STALE_S));
        for path in fs::read_dir(self.dir.join("tmp")).into_iter().flatten().flatten().map(|e| e.path()) {
            // Packs and manifests are written only under the lock, which is ours.
            let ours = path.to_string_lossy().ends_with("-pack") || path.to_string_lossy().ends_with("-manifest");
            if ours || old(&path) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Files of a folder with this ending, by name.
pub fn files(dir: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let list = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        other => other.at(dir.display())?,
    };
    let mut all: Vec<PathBuf> = list.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    all.retain(|p| p.extension().is_some_and(|x| x == ending));
    all.sort();
    Ok(all)
}

/// Where a page is. Half of its digest finds it, and the page itself is checked against the whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    half: u128,
    pub pack: u32,
    pub frame: u32,
    pub slot: u32,
}

#[derive(Default)]
pub struct Index {
    pub packs: Vec<PathBuf>,
    /// By `half`.
    places: Vec<Location>,
    /// For each value of the first 16 bits, how many places have smaller ones: digests are spread evenly.
    starts: Vec<u32>,
    pub damaged: Vec<Error>,
}

pub fn half(d: &Digest) -> u128 {
    d.first_chunk::<16>().map_or(0, |h| u128::from_be_bytes(*h))
}

fn first_bits(half: u128) -> usize {
    (half >> 112) as usize
}

impl Index {
    fn sort(&mut self) {
        self.places.sort_unstable();
        let mut rest = self.places.iter().peekable();
        let mut seen = 0;
        self.starts = (0..=1 << 16)
            .map(|bits| {
                while rest.next_if(|l| first_bits(l.half) < bits).is_some() {
                    seen += 1;
                }
                seen
            })
            .collect();
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub fn has(&self, digest: &Digest) -> bool {
        !self.find(digest).is_empty()
    }

    /// Every place of this page; more than one where a damaged copy was replaced.
    pub fn find(&self, digest: &Digest) -> &[Location] {
        let h = half(digest);
        let start = |bits: usize| self.starts.get(bits).map_or(0, |n| *n as usize);
        let alike = self.places.get(start(first_bits(h))..start(first_bits(h) + 1)).unwrap_or_default();
        let rest = alike.get(alike.partition_point(|l| l.half < h)..).unwrap_or_default();
        rest.get(..rest.partition_point(|l| l.half == h)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_place_and_no_other() {
        let digest = |n: u32| super::super::bytes::sha256(&n.to_le_bytes());
        let mut index = Index::default();
        assert!(!index.has(&digest(0)));
        index.sort();
        assert!(!index.has(&digest(0)) && index.is_empty());
        let ends = [[0; 32], [255; 32]];
        for (at, d) in (0..5000).map(digest).chain(ends).enumerate() {
            // Every third one is there twice.
            for pack in 0..1 + u32::from(at % 3 == 0) {
                index.places.push(Location { half: half(&d), pack, frame: at as u32, slot: 0 });
            }
        }
        index.sort();
        for (at, d) in (0..5000).map(digest).chain(ends).enumerate() {
            let found: Vec<_> = index.find(&d).iter().map(|l| (l.frame as usize, l.pack)).collect();
            assert_eq!(found, (0..1 + u32::from(at % 3 == 0)).map(|pack| (at, pack)).collect::<Vec<_>>());
        }
        assert!((5000..9000).all(|n| !index.has(&digest(n))));
    }
}
