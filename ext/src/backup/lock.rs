//! One process at a time changes a repository: a lock file that names its owner and when it expires.
//!
//! The operating system's lock on that file makes taking it atomic and ends with the process; owner and expiry are for
//! people, and for a folder shared between machines whose system locks do not reach each other.
use crate::db::time;
use crate::error::{Error, Kind, Result};
use serde_json::json;
use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    time::{Duration, Instant},
};

const LASTS_S: i64 = 600;

pub struct Lock {
    file: File,
    doing: &'static str,
    renewed: Instant,
}

impl Lock {
    /// As `take`, and waits for others to finish.
    pub fn within(dir: &Path, doing: &'static str, patience: Duration) -> Result<Lock> {
        let started = Instant::now();
        loop {
            match Lock::take(dir, doing) {
                Err(e) if e.kind == Kind::Busy && started.elapsed() < patience => std::thread::sleep(Duration::from_millis(20)),
                other => return other,
            }
        }
    }

    /// Takes the lock, or says who has it.
    pub fn take(dir: &Path, doing: &'static str) -> Result<Lock> {
        let path = dir.join("lock");
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let busy = |who: &str| Err(Error::new(Kind::Busy, format!("the repository \"{}\" is in use{who}", dir.display())).hint("Try again when it is done"));
        let free = file.try_lock().is_ok();
        let mut text = String::new();
        (&mut file).take(4096).read_to_string(&mut text).unwrap_or_default();
        let owner: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let get = |k: &str| owner.get(k).and_then(|v| v.as_str()).unwrap_or_default();
        let who = if owner.is_object() { format!(" by {} ({}, until {})", get("owner"), get("doing"), get("expires_at")) } else { String::new() };
        // A lock we could take although it has not expired: its process on this machine is gone, unless it ran elsewhere.
        if !free || (owner.is_object() && get("machine") != machine() && get("expires_at") > time::now().as_str()) {
            return busy(&who);
        }
        let mut lock = Lock { file, doing, renewed: Instant::now() };
        lock.write()?;
        Ok(lock)
    }

    fn write(&mut self) -> Result<()> {
        let until = chrono::Utc::now() + chrono::Duration::seconds(LASTS_S);
        let text = json!({"owner": format!("process {} on {}", std::process::id(), machine()), "machine": machine(), "doing": self.doing, "since": time::now(), "expires_at": time::stored(until)});
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(text.to_string().as_bytes())?;
        self.renewed = Instant::now();
        Ok(())
    }

    /// To be called now and then in long work.
    pub fn renew(&mut self) -> Result<()> {
        if self.renewed.elapsed().as_secs() as i64 > LASTS_S / 4 { self.write() } else { Ok(()) }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

fn machine() -> String {
    sysinfo::System::host_name().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("dbint-{name}-{}", time::new_id()));
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn one_at_a_time() {
        let dir = folder("lock");
        let held = Lock::take(&dir, "backup").unwrap();
        let e = Lock::take(&dir, "prune").err().unwrap();
        assert!(e.kind == Kind::Busy && e.message.contains("(backup, until ") && e.message.contains(&std::process::id().to_string()), "{}", e.message);
        drop(held);
        drop(Lock::take(&dir, "prune").unwrap());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// The system's lock does not reach the other machine: what its owner wrote counts until it expires.
    #[test]
    fn another_machine_is_waited_for_until_it_expires() {
        let dir = folder("lock-far");
        let by = |minutes: i64| {
            let until = time::stored(chrono::Utc::now() + chrono::Duration::minutes(minutes));
            std::fs::write(dir.join("lock"), json!({"owner": "process 1 on far", "machine": "far", "doing": "prune", "expires_at": until}).to_string())
                .unwrap();
        };
        by(5);
        let e = Lock::take(&dir, "backup").err().unwrap();
        assert!(e.kind == Kind::Busy && e.message.contains("process 1 on far (prune, until "), "{}", e.message);
        by(-1);
        drop(Lock::take(&dir, "backup").unwrap());
        // A process of this machine that died left its name, and no lock.
        let text = json!({"owner": "process 1", "machine": machine(), "doing": "backup", "expires_at": "2999-01-01 00:00:00"}).to_string();
        std::fs::write(dir.join("lock"), text).unwrap();
        drop(Lock::take(&dir, "backup").unwrap());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
