//! A verified online copy of a database: the backup API under its own locks, then proof, then the name.
use crate::db::open::{self, Mode};
use crate::error::{At, Error, Kind, Result};
use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Pages copied between two looks at the clock and at Ctrl-C.
const STEP: i32 = 1000;

/// Copies schema `schema` of `from` into the new file `to`; the name appears only when the copy is complete,
/// synced to disk and passes quick_check. `tick` is called between steps and may stop the copy.
pub fn verified(from: &Connection, schema: &str, to: &Path, tick: impl FnMut() -> Result<()>) -> Result<()> {
    make(from, schema, to, tick, true)
}

/// The same without the proof: for a database that is known to be damaged and is kept as it is, before it is repaired.
pub fn as_it_is(from: &Connection, schema: &str, to: &Path, tick: impl FnMut() -> Result<()>) -> Result<()> {
    make(from, schema, to, tick, false)
}

fn make(from: &Connection, schema: &str, to: &Path, mut tick: impl FnMut() -> Result<()>, prove: bool) -> Result<()> {
    if to.exists() {
        return Err(Error::argument(format!("\"{}\" exists already; a copy never overwrites", to.display())));
    }
    let part = with_suffix(to, ".part");
    let _ = fs::remove_file(&part);
    let made = (|| {
        let mut out = Connection::open(&part)?;
        {
            let copy = Backup::new_with_names(from, schema, &mut out, "main")?;
            let mut waits = 0;
            loop {
                match copy.step(STEP)? {
                    StepResult::Done => break,
                    StepResult::More => waits = 0,
                    // Somebody writes in rollback mode just now.
                    _ if waits < 200 => {
                        waits += 1;
                        std::thread::sleep(Duration::from_millis(25));
                    }
                    _ => return Err(Error::new(Kind::Busy, "the source stayed locked during the copy")),
                }
                tick()?;
            }
        }
        // A copy of a WAL database says "WAL" in its header; as a file at rest it needs no -wal and -shm beside it.
        out.query_row("PRAGMA journal_mode=DELETE", [], |_| Ok(()))?;
        let verdict: String = if prove { out.query_row("PRAGMA quick_check(1)", [], |r| r.get(0))? } else { "ok".into() };
        if verdict != "ok" {
            return Err(Error::new(Kind::Corrupt, format!("the source is damaged: {verdict}")));
        }
        out.close().map_err(|(_, e)| Error::from(e))?;
        fs::File::open(&part)?.sync_all()?;
        fs::rename(&part, to)?;
        sync_directory(to)
    })();
    if made.is_err() {
        let _ = fs::remove_file(&part);
        let _ = fs::remove_file(with_suffix(&part, "-journal"));
    }
    made.at(format!("copying to \"{}\"", to.display()))
}

/// Makes a rename last: the directory's own entry must reach the disk, too.
pub fn sync_directory(of: &Path) -> Result<()> {
    let dir = of.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(dir)?.sync_all()?;
    Ok(())
}

/// `a.db` + `.part` → `a.db.part`
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Opens `file` for reading and copies it.
pub fn file(from: &Path, to: &Path, tick: impl FnMut() -> Result<()>) -> Result<()> {
    verified(&open::open(from, Mode::Read)?, "main", to, tick)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_a_live_database_and_never_overwrites() {
        let dir = std::env::temp_dir().join(format!("dbint-copy-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (a, b) = (dir.join("a.db"), dir.join("b.db"));
        let db = Connection::open(&a).unwrap();
        db.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1),(2)").unwrap();
        file(&a, &b, || Ok(())).unwrap();
        assert_eq!(Connection::open(&b).unwrap().query_row("SELECT sum(x) FROM t", [], |r| r.get::<_, i64>(0)).unwrap(), 3);
        assert!(file(&a, &b, || Ok(())).is_err());
        assert!(!with_suffix(&b, ".part").exists());
        fs::remove_dir_all(&dir).unwrap();
    }
}
