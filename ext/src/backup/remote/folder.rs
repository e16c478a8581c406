//! A repository's copy in another folder, which may be a disk or a share.
use super::{Object, Store};
use crate::backup::source::Tick;
use crate::db::{copy::sync_directory, time};
use crate::error::Result;
use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

pub struct Folder(PathBuf);

impl Folder {
    pub fn new(dir: PathBuf) -> Folder {
        Folder(dir)
    }

    /// Puts a file there that nobody else needs where it is.
    pub fn take_over(&self, name: &str, file: &Path, ours: bool) -> Result<()> {
        if !ours {
            return self.put(name, file, &mut || Ok(()));
        }
        let to = self.0.join(name);
        fs::create_dir_all(to.parent().unwrap_or(&self.0))?;
        Ok(fs::rename(file, to)?)
    }
}

impl Store for Folder {
    fn shown(&self) -> String {
        self.0.display().to_string()
    }

    fn list(&self, _: Tick<'_>) -> Result<Vec<Object>> {
        let mut all = vec![];
        for folder in ["", "packs", "manifests", "proofs"] {
            let list = match fs::read_dir(self.0.join(folder)) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                other => other?,
            };
            for entry in list {
                let entry = entry?;
                let about = entry.metadata()?;
                if about.is_file() {
                    let file = entry.file_name().to_string_lossy().into_owned();
                    let name = if folder.is_empty() { file } else { format!("{folder}/{file}") };
                    all.push(Object { name, bytes: about.len(), modified: about.modified().ok() });
                }
            }
        }
        Ok(all)
    }

    fn fetch(&self, object: &Object, _: &Path, _: Tick<'_>) -> Result<PathBuf> {
        Ok(self.0.join(&object.name))
    }

    fn put(&self, name: &str, from: &Path, tick: Tick<'_>) -> Result<()> {
        let to = self.0.join(name);
        fs::create_dir_all(to.parent().unwrap_or(&self.0))?;
        fs::create_dir_all(self.0.join("tmp"))?;
        let part = self.0.join("tmp").join(format!("{}-copy", time::new_id()));
        let made: Result<()> = (|| {
            let (mut input, mut out) = (fs::File::open(from)?, fs::File::create_new(&part)?);
            let mut buffer = vec![0; 1 << 20];
            loop {
                let n = input.read(&mut buffer)?;
                if n == 0 {
                    break;
                }
                out.write_all(buffer.get(..n).unwrap_or_default())?;
                tick()?;
            }
            out.sync_all()?;
            fs::rename(&part, &to)?;
            sync_directory(&to)
        })();
        if made.is_err() {
            let _ = fs::remove_file(&part);
        }
        made
    }
}
