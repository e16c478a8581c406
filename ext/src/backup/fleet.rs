//! One instant for the whole fleet: all databases locked for the moment in which their readers open, then released.
//!
//! What that guarantees: no transaction that any writer committed before the instant is missing from any of the backups, and
//! none committed after it is in one; an invariant that writers keep across databases while holding all of them holds
//! in the backups. Databases in WAL mode are held for that moment only; one in rollback mode cannot be written until
//! its pages are read.
use super::lock::Lock;
use super::repository::Repository;
use super::source::{Source, Tick, in_place};
use super::{catalogue, job, place, remote, restore, show};
use crate::db::{
    open::{self, Mode},
    pages::Snapshot,
    time,
};
use crate::error::{At, Error, Kind, Result};
use crate::hub::target;
use crate::kit::Interrupt;
use crate::options;
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

options! {
    pub struct FleetRestoreOptions {
        /// The folder of the backups; default: the setting backup.path.
        path: String,
        /// A file with the key of encrypted backups; default: the environment's BACKUP_ENCRYPTION_KEY.
        key_file: String,
        /// Replace files that are there; they are kept aside. Default false.
        overwrite: bool,
    }
}

/// Tries to lock all before it is an error.
const TRIES: u32 = 5;
const WAIT: Duration = Duration::from_millis(1000);

struct Member {
    name: String,
    path: PathBuf,
}

pub fn backup(host: &Connection, o: &job::BackupOptions) -> Result<Json> {
    let started = Instant::now();
    let mut wish = job::Wish::read(o)?;
    let fleet = time::new_id();
    wish.fleet = Some(fleet.clone());
    let mut members: Vec<Member> = vec![];
    let mut left_out = vec![];
    for (name, path) in target::registry(host)? {
        if path.contains("://") {
            left_out.push(json!({"db_name": name, "status": "LEFT_OUT", "error": "a server"}));
        } else {
            members.push(Member { name, path: path.into() });
        }
    }
    if members.is_empty() {
        return Err(Error::not_found("no database is registered").hint("register_database(path) adds one"));
    }
    // Always in the same order, so that two who lock all do not wait for each other.
    members.sort_by(|a, b| a.path.cmp(&b.path));
    let repo = place::open_or_create(host, o.path.as_deref(), o.key_file.as_deref())?;
    let mut lock = Lock::take(&repo.dir, "fleet backup")?;
    repo.tidy();
    let mut interrupt = Interrupt::of(host)?;
    let mut tick = || lock.renew().and_then(|()| interrupt.check());
    let (snapshots, held) = one_instant(&members)?;
    wish.instant = Some(time::now());
    let mut taken = vec![];
    for (member, snapshot) in members.iter().zip(snapshots) {
        let file = member.path.canonicalize().unwrap_or_else(|_| member.path.clone()).display().to_string();
        let mut take = |source: &mut dyn Source, tick: Tick<'_>| job::one(&repo, source, &member.name, Some(file.clone()), &wish, tick);
        taken.push(in_place(&snapshot, &repo, &mut tick, &mut take).at(&member.name));
    }
    let mut failed = 0;
    let mut results = vec![];
    for (member, made) in members.iter().zip(taken) {
        let proven = made.and_then(|mut done| {
            if let job::Verdict::SetAside = job::prove(&repo, &mut done, &wish, &mut tick).at(&member.name)? {
                return Err(job::set_aside().context(&member.name));
            }
            catalogue::add(host, &repo, &done.head, done.proof.as_ref())?;
            Ok(done)
        });
        results.push(match proven {
            Ok(done) => job::receipt(&repo, &done),
            Err(e) if e.kind == Kind::Interrupted => return Err(e),
            Err(e) => {
                failed += 1;
                json!({"db_name": member.name, "status": "FAILED", "error": e.to_string()})
            }
        });
    }
    results.extend(left_out);
    let copied = remote::after_backup(host, &repo, &mut tick)?;
    Ok(json!({
        "fleet_id": fleet, "instant": wish.instant, "databases": members.len(), "failed": failed, "held_ms": job::round(held.as_secs_f64() * 1000.0),
        "results": results, "remote": copied, "duration_s": job::round(started.elapsed().as_secs_f64()),
    }))
}

/// Locks all for writing, opens a reader on each, releases: the readers see one instant.
fn one_instant(members: &[Member]) -> Result<(Vec<Snapshot>, Duration)> {
    let mut writers = vec![];
    let mut readers = vec![];
    for m in members {
        writers.push(open::open_within(&m.path, Mode::Write, WAIT).at(&m.name)?);
        readers.push(open::open_within(&m.path, Mode::Write, WAIT).at(&m.name)?);
    }
    let mut tries = 0;
    let started = loop {
        let began = Instant::now();
        let locked = members.iter().zip(&writers).try_for_each(|(m, w)| w.execute_batch("BEGIN IMMEDIATE").at(&m.name));
        match locked {
            Ok(()) => break began,
            Err(e) => {
                writers.iter().filter(|w| !w.is_autocommit()).try_for_each(|w| w.execute_batch("ROLLBACK"))?;
                tries += 1;
                if e.kind != Kind::Busy || tries == TRIES {
                    return Err(e);
                }
                std::thread::sleep(Duration::from_millis(50 << tries));
            }
        }
    };
    let snapshots = readers.into_iter().zip(members).map(|(r, m)| Snapshot::of(r).at(&m.name)).collect::<Result<Vec<_>>>();
    writers.iter().try_for_each(|w| w.execute_batch("ROLLBACK"))?;
    Ok((snapshots?, started.elapsed()))
}

/// Restores every database of one fleet backup into a folder.
pub fn restore(host: &Connection, wanted: &str, dir: &Path, o: &FleetRestoreOptions) -> Result<Json> {
    let started = Instant::now();
    let repo = place::open(host, o.path.as_deref(), o.key_file.as_deref())?;
    let (heads, _) = repo.heads()?;
    let until = show::time(wanted);
    let newest = heads.iter().rev().filter(|h| h.fleet.is_some()).find(|h| match &until {
        Some(time) => h.created_at <= *time,
        None => h.fleet.as_deref() == Some(wanted),
    });
    let Some(fleet) = newest.and_then(|h| h.fleet.as_deref()) else {
        return Err(Error::not_found(format!("no fleet backup \"{wanted}\" in \"{}\"", repo.dir.display())).hint("backup_fleet() makes one"));
    };
    let members: Vec<_> = heads.iter().filter(|h| h.fleet.as_deref() == Some(fleet)).collect();
    std::fs::create_dir_all(dir).at(dir.display())?;
    let overwrite = o.overwrite.unwrap_or(false);
    let place = |database: &str| dir.join(format!("{}.db", database.replace(['/', '\\', ':'], "_")));
    for h in &members {
        let to = place(&h.database);
        if to.exists() && !overwrite {
            return Err(Error::argument(format!("\"{}\" exists already", to.display()))
                .hint("Nothing was restored. The option {\"overwrite\":true} replaces files and keeps the old ones aside"));
        }
        show::not_ours(host, &to)?;
    }
    let mut interrupt = Interrupt::of(host)?;
    let mut results = vec![];
    for h in &members {
        let to = place(&h.database);
        let kept = restore_one(&repo, &h.id, &to, overwrite, &mut || interrupt.tick()).at(&h.database)?;
        results.push(json!({"db_name": h.database, "backup_id": h.id, "restored_path": to, "size_bytes": h.size(), "root": h.root, "kept": kept}));
    }
    let instant = members.first().map(|h| h.created_at.clone());
    Ok(
        json!({"fleet_id": fleet, "instant": instant, "databases": members.len(), "results": results, "duration_s": job::round(started.elapsed().as_secs_f64())}),
    )
}

fn restore_one(repo: &Repository, id: &str, to: &Path, overwrite: bool, tick: Tick<'_>) -> Result<Option<PathBuf>> {
    let (head, pages) = repo.pages(id)?;
    Ok(restore::to_file(repo, &head, &pages, to, overwrite, tick)?.kept)
}
