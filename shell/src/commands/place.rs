//! Which folder is meant, and which database in it has dbint's tables.
use crate::{
    error::{Error, Result},
    open::{self, Opened},
};
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};

/// The folder: as given, else by the environment, else here.
pub fn workspace(given: Option<&Path>) -> Result<PathBuf> {
    let environment = ["DBINT_WORKSPACE", "GH_COPILOT_WORKSPACE"].into_iter().filter_map(std::env::var_os).find(|v| !v.is_empty());
    let dir = given.map_or_else(|| environment.map_or_else(|| PathBuf::from("."), PathBuf::from), Path::to_owned);
    let full = dir.canonicalize().map_err(|e| Error::usage(format!("\"{}\": {e}", dir.display())))?;
    if full.is_dir() { Ok(full) } else { Err(Error::usage(format!("\"{}\" is not a folder", dir.display()))) }
}

/// The hub: as given, else the database in the folder that has dbint's tables.
pub fn find(given: Option<&Path>, dir: &Path) -> Option<PathBuf> {
    if let Some(path) = given {
        return Some(path.to_owned());
    }
    let first = dir.join(NAME);
    if has_hub(&first) {
        return Some(first);
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.is_file()).collect();
    files.sort();
    files.into_iter().find(|p| has_hub(p))
}

/// What a new hub is called.
const NAME: &str = "dbint.db";

/// Opens the hub; makes one where there is none and `create` says so.
pub fn open(given: Option<&Path>, dir: &Path, create: bool) -> Result<(PathBuf, Opened)> {
    let path = match find(given, dir) {
        Some(path) => path,
        None if create => dir.join(NAME),
        None => {
            return Err(Error::usage(format!(
                "no database in \"{}\" has dbint's tables. Start with: dbint integrate {0}, or name one: --hub FILE",
                dir.display()
            )));
        }
    };
    if given.is_some() && !create && !path.exists() {
        return Err(Error::usage(format!("no file \"{}\"", path.display())));
    }
    let opened = open::open(Some(&path), false)?;
    opened.db.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok((path, opened))
}

fn has_hub(path: &Path) -> bool {
    let suffixed = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        std::fs::metadata(name).is_ok_and(|m| m.len() > 0)
    };
    let Some(text) = path.to_str() else { return false };
    // At rest it is read as it is, and no file is made beside it.
    let quiet = if suffixed("-wal") { "" } else { "&immutable=1" };
    let escaped: String = text.chars().map(|c| if matches!(c, '?' | '#' | '%') { format!("%{:02X}", c as u32) } else { c.to_string() }).collect();
    let uri = format!("file:{escaped}?mode=ro{quiet}");
    let look = || -> rusqlite::Result<bool> {
        let db = Connection::open_with_flags(uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        db.query_row("SELECT EXISTS(SELECT 1 FROM sqlite_schema WHERE name = 'dbint_hub')", [], |r| r.get(0))
    };
    path.is_file() && look().unwrap_or(false)
}
