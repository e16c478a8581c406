//! Where backups go, and what they are encrypted with.
use super::crypt::Secret;
use super::remote;
use super::repository::Repository;
use crate::db::size;
use crate::error::{At, Error, Kind, Result};
use crate::hub::settings;
use rusqlite::Connection;
use std::path::{Component, Path, PathBuf};

/// The folder: the option, else the setting, else `backups` here or, with a workspace, a folder beside the workspace.
pub fn folder(db: &Connection, option: Option<&str>) -> Result<PathBuf> {
    if let Some(url) = option.filter(|o| remote::is_url(o)) {
        return Err(Error::unsupported(format!("\"{url}\" is no folder"))
            .hint("Backups are made, tested and pruned in a folder; copy_backups() brings them to a store"));
    }
    let workspace = settings::text(db, "workspace")?.map(|w| absolute(Path::new(&w))).transpose()?;
    let setting = settings::get(db, "backup.path")?;
    let given = match (option, &workspace) {
        (Some(path), _) => PathBuf::from(path),
        (None, Some(w)) if setting.source == "default" => {
            let mut name = w.file_name().unwrap_or_default().to_owned();
            name.push("-backups");
            w.with_file_name(name)
        }
        (None, _) => PathBuf::from(&setting.value),
    };
    let dir = absolute(&given)?;
    match workspace {
        Some(w) if dir.starts_with(&w) => {
            Err(Error::new(Kind::Denied, format!("the backup folder \"{}\" is inside the workspace \"{}\"", dir.display(), w.display()))
                .hint("Backups inside what they protect are lost with it: name a folder outside by the option \"path\" or the setting backup.path"))
        }
        _ => Ok(dir),
    }
}

/// Absolute and without links, also where its last parts do not exist yet.
fn absolute(path: &Path) -> Result<PathBuf> {
    let full = std::path::absolute(path).at(path.display())?;
    let mut rest = vec![];
    let mut there = full.as_path();
    loop {
        if let Ok(real) = there.canonicalize() {
            return Ok(rest.iter().rev().fold(real, |p, part| p.join(part)));
        }
        match there.components().next_back() {
            Some(Component::Normal(name)) => rest.push(name.to_owned()),
            _ => return Err(Error::argument(format!("\"{}\" is no path of a folder", path.display()))),
        }
        there = there.parent().unwrap_or(Path::new("/"));
    }
}

/// To read from; of a store, all files are brought here.
pub fn open(db: &Connection, option: Option<&str>, key_file: Option<&str>) -> Result<Repository> {
    read(db, option, key_file, true)
}

/// To list from; of a store, no pack is brought here.
pub fn open_heads(db: &Connection, option: Option<&str>, key_file: Option<&str>) -> Result<Repository> {
    read(db, option, key_file, false)
}

fn read(db: &Connection, option: Option<&str>, key_file: Option<&str>, packs: bool) -> Result<Repository> {
    let key = key(db, key_file)?;
    match option.filter(|o| remote::is_url(o)) {
        Some(url) => Repository::mirrored(remote::mirror(db, url, packs)?, key.as_ref()),
        None => Repository::open(&folder(db, option)?, key.as_ref()),
    }
}

pub fn open_or_create(db: &Connection, option: Option<&str>, key_file: Option<&str>) -> Result<Repository> {
    let dir = folder(db, option)?;
    std::fs::create_dir_all(&dir).at(dir.display())?;
    Repository::open_or_create(&dir, key(db, key_file)?.as_ref())
}

/// The key, from the file or the environment; it is never shown.
fn key(db: &Connection, file: Option<&str>) -> Result<Option<Secret>> {
    let text = match file {
        Some(path) => Some(std::fs::read_to_string(path).at(format!("key file \"{path}\""))?),
        None => settings::text(db, "backup.encryption_key")?,
    };
    Ok(text.map(|t| Secret::new(t.trim())))
}

/// An error before anything is written, where it cannot fit; where nobody tells how much is free, none.
pub fn has_room(file: &Path, bytes: u64) -> Result<()> {
    match free(file.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."))) {
        Some(free) if free < bytes => Err(Error::new(
            Kind::Full,
            format!("\"{}\" needs {} and the disk has {} free; nothing was written", file.display(), size::shown(bytes), size::shown(free)),
        )),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn free(dir: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(dir).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

#[cfg(not(unix))]
fn free(_: &Path) -> Option<u64> {
    None
}
