//! What users ask of a repository: lists, verification, restore tests, restores.
use super::lock::Lock;
use super::manifest::Head;
use super::repository::{PATIENCE, Repository};
use super::source::Tick;
use super::{catalogue, job, place, remote, restore, verify};
use crate::db::{limit, size};
use crate::error::{Error, Kind, Result};
use crate::hub::{Target, limits};
use crate::kit::{Call, Interrupt, Rows, rows};
use crate::options;
use rusqlite::{Connection, types::Value};
use serde_json::{Value as Json, json};
use std::{path::Path, time::Instant};

options! {
    pub struct PathOption {
        /// The folder of the backups; default: the setting backup.path.
        path: String,
        /// A file with the key of encrypted backups; default: the environment's BACKUP_ENCRYPTION_KEY.
        key_file: String,
    }
}
options! {
    pub struct RestoreOptions {
        /// The folder of the backups; default: the setting backup.path.
        path: String,
        /// A file with the key of encrypted backups; default: the environment's BACKUP_ENCRYPTION_KEY.
        key_file: String,
        /// Replace a file that is there; it is kept aside under another name. Default false.
        overwrite: bool,
        /// With a time: whose backup; default: the one database in the folder.
        db: String,
    }
}

/// Rows of `backups`.
pub fn backups(call: &Call<'_>) -> Result<Rows> {
    let given = call.opt_text("path");
    let url = given.filter(|p| remote::is_url(p));
    let dir = if url.is_none() { Some(place::folder(call.db, given)?) } else { None };
    let known = dir.as_ref().map_or_else(|| Ok(vec![]), |d| catalogue::list(call.db, &d.display().to_string()))?;
    let mut all = vec![];
    let text = |s: &str| Value::Text(s.to_owned());
    let opt = |s: Option<String>| s.map_or(Value::Null, Value::Text);
    let mut seen = std::collections::HashSet::new();
    if dir.is_some_and(|d| d.join("repository.json").exists()) || known.is_empty() && given.is_some() {
        let repo = place::open_heads(call.db, given, None)?;
        let place =
            |id: &str| url.map_or_else(|| repo.manifest_path(id).display().to_string(), |u| format!("{}/manifests/{id}.manifest", u.trim_end_matches('/')));
        let (heads, bad) = repo.heads()?;
        for h in heads {
            let (status, proven, sha, detail) = match repo.proof(&h.id) {
                Ok(Some(p)) if p.ok => ("SUCCESS", Some(p.tested_at), p.sha256, h.damaged.clone()),
                Ok(Some(p)) => ("FAILED", None, None, p.problems.first().cloned()),
                Ok(None) => ("SUCCESS", None, h.sha256.clone(), h.damaged.clone()),
                Err(e) => ("DAMAGED", None, None, Some(e.message)),
            };
            seen.insert(h.id.clone());
            let path = place(&h.id);
            all.push(vec![
                text(&h.id),
                text(&h.name),
                text(&h.database),
                text(h.ty.word()),
                text(status),
                text(&h.created_at),
                opt(proven),
                Value::Integer(h.size() as i64),
                Value::Integer(h.stored_bytes as i64),
                opt(sha),
                opt(h.parent.clone()),
                Value::Text(path),
                opt(detail),
            ]);
        }
        for (id, e) in bad {
            let k = known.iter().find(|k| k.id == id);
            let of = |f: fn(&catalogue::Row) -> String| k.map_or(Value::Null, |k| Value::Text(f(k)));
            let path = place(&id);
            all.push(vec![
                text(&id),
                of(|k| k.name.clone()),
                of(|k| k.database.clone()),
                of(|k| k.ty.clone()),
                text("DAMAGED"),
                of(|k| k.created_at.clone()),
                Value::Null,
                Value::Null,
                Value::Null,
                Value::Null,
                Value::Null,
                Value::Text(path),
                Value::Text(e.message),
            ]);
            seen.insert(id);
        }
    }
    for k in known.into_iter().filter(|k| !seen.contains(&k.id)) {
        all.push(vec![
            Value::Text(k.id),
            Value::Text(k.name),
            Value::Text(k.database),
            Value::Text(k.ty),
            text("MISSING"),
            Value::Text(k.created_at),
            opt(k.proven_at),
            Value::Integer(k.size),
            Value::Integer(k.stored),
            opt(k.sha256),
            opt(k.parent),
            Value::Text(k.repository),
            text("the catalogue knows it, the folder has it no more"),
        ]);
    }
    rows(all)
}

/// One backup, or all of them and every pack.
pub fn verify(host: &Connection, wanted: Option<&str>, o: &PathOption) -> Result<Json> {
    let started = Instant::now();
    let repo = place::open(host, o.path.as_deref(), o.key_file.as_deref())?;
    let known = catalogue::list(host, &repo.dir.display().to_string())?;
    let mut interrupt = Interrupt::of(host)?;
    let (mut n, mut problems) = examine(&repo, &known, wanted, &mut || interrupt.tick())?;
    if !problems.is_empty() {
        // Somebody may have pruned meanwhile: only what is found while nobody can is a finding.
        match Lock::within(&repo.dir, "verify", PATIENCE) {
            Ok(mut lock) => (n, problems) = examine(&repo, &known, wanted, &mut || lock.renew().and_then(|()| interrupt.tick()))?,
            // Nobody prunes a folder that cannot be written.
            Err(e) if matches!(e.kind, Kind::ReadOnly | Kind::Denied | Kind::Io) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(json!({"ok": problems.is_empty(), "backups": n, "problems": problems, "duration_s": job::round(started.elapsed().as_secs_f64())}))
}

/// How many backups were looked at, and what is wrong.
fn examine(repo: &Repository, known: &[catalogue::Row], wanted: Option<&str>, tick: Tick<'_>) -> Result<(usize, Vec<Json>)> {
    let index = repo.index()?;
    let mut problems = vec![];
    let mut ids = vec![];
    match wanted {
        Some(w) => match repo.find(w) {
            Ok(h) => ids.push(h.id),
            // A manifest that cannot be read, or one that only the catalogue remembers.
            Err(e) => match known.iter().find(|k| k.id == w || k.name == w) {
                Some(k) => ids.push(k.id.clone()),
                None if repo.manifest_path(w).exists() => ids.push(w.to_owned()),
                None => return Err(e),
            },
        },
        None => {
            let (heads, bad) = repo.heads()?;
            ids.extend(heads.into_iter().map(|h| h.id).chain(bad.into_iter().map(|(id, _)| id)).chain(known.iter().map(|k| k.id.clone())));
            ids.sort();
            ids.dedup();
            problems.extend(verify::packs(repo, &index, tick)?.into_iter().map(|p| json!({"backup_id": null, "problem": p})));
        }
    }
    for id in &ids {
        let proven = known.iter().any(|k| k.id == *id && k.proven_at.is_some());
        problems.extend(verify::backup(repo, &index, id, proven, tick)?.into_iter().map(|p| json!({"backup_id": id, "problem": p})));
    }
    Ok((ids.len(), problems))
}

pub fn test(host: &Connection, wanted: &str, o: &PathOption) -> Result<Json> {
    let repo = place::open(host, o.path.as_deref(), o.key_file.as_deref())?;
    let head = repo.find(wanted)?;
    let mut lock = if repo.is_mirror() { None } else { Some(Lock::take(&repo.dir, "restore test")?) };
    let mut interrupt = Interrupt::of(host)?;
    let proof = restore::test(&repo, &head.id, &mut || lock.iter_mut().try_for_each(Lock::renew).and_then(|()| interrupt.tick()))?;
    if !repo.is_mirror() {
        repo.prove(&proof)?;
        catalogue::add(host, &repo, &head, Some(&proof))?;
    }
    let mut out = serde_json::to_value(&proof)?;
    if let Some(o) = out.as_object_mut() {
        o.insert("duration_s".into(), json!(job::round(proof.duration_s)));
        o.insert("backup_id".into(), json!(head.id));
    }
    Ok(out)
}

pub fn restore(host: &Connection, wanted: &str, to: &str, o: &RestoreOptions) -> Result<Json> {
    let started = Instant::now();
    let repo = place::open(host, o.path.as_deref(), o.key_file.as_deref())?;
    let (head, pages) = repo.pages(&at(&repo, wanted, o.db.as_deref())?.id)?;
    let to = Path::new(to);
    not_ours(host, to)?;
    fits(host, to, head.size())?;
    let mut interrupt = Interrupt::of(host)?;
    let done = restore::to_file(&repo, &head, &pages, to, o.overwrite.unwrap_or(false), &mut || interrupt.tick())?;
    let proof = repo.proof(&head.id).ok().flatten();
    Ok(json!({
        "backup_id": head.id, "name": head.name, "db_name": head.database, "created_at": head.created_at, "restored_path": to, "size_bytes": head.size(),
        "sha256": proof.and_then(|p| p.sha256), "root": head.root, "kept": done.kept, "damaged": head.damaged, "duration_s": job::round(started.elapsed().as_secs_f64()),
    }))
}

/// Whether a database of that size may come to stand there.
fn fits(host: &Connection, to: &Path, bytes: u64) -> Result<()> {
    let target = Target::resolve_new(host, &to.display().to_string())?;
    match limits::enforced(host, &target.name, None)? {
        Some(limit) if !limit::fits(bytes, limit) => {
            let text = format!("\"{}\" would have {} and its limit is {}; nothing was changed", to.display(), size::shown(bytes), size::shown(limit));
            Err(Error::new(Kind::SizeLimit, text).hint("Raise the limit first"))
        }
        _ => Ok(()),
    }
}

/// A backup by id, name or time.
pub fn at(repo: &Repository, wanted: &str, database: Option<&str>) -> Result<Head> {
    let Some(time) = time(wanted) else { return repo.find(wanted) };
    let (heads, _) = repo.heads()?;
    let mut databases: Vec<&str> = heads.iter().map(|h| h.database.as_str()).collect();
    databases.sort_unstable();
    databases.dedup();
    let database = match (database, databases.as_slice()) {
        (Some(d), all) if all.contains(&d) => d,
        (Some(d), all) => return Err(Error::not_found(format!("no backup of \"{d}\".{}", crate::error::did_you_mean(d, all.iter().copied())))),
        (None, [only]) => only,
        (None, all) => return Err(Error::argument(format!("a time needs the option \"db\": there are backups of {}", all.join(", ")))),
    };
    let before = |h: &&Head| h.database == database && h.created_at <= time;
    let found = heads.iter().rev().find(before).cloned();
    found.ok_or_else(|| Error::not_found(format!("no backup of \"{database}\" at or before {time} UTC")))
}

/// A time as stored, if `text` is one: with or without `T`, seconds, `Z` or an offset; the end of the unit that was given.
pub fn time(text: &str) -> Option<String> {
    use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
    let t = text.trim();
    if let Ok(with_zone) = DateTime::parse_from_rfc3339(&t.replacen(' ', "T", 1)) {
        return Some(crate::db::time::stored(with_zone.with_timezone(&Utc)));
    }
    let t = t.replacen('T', " ", 1);
    let stored = |t: NaiveDateTime| Some(crate::db::time::stored(t.and_utc()));
    if let Ok(exact) = NaiveDateTime::parse_from_str(&t, "%Y-%m-%d %H:%M:%S%.f") {
        return stored(if t.contains('.') { exact } else { exact + chrono::Duration::milliseconds(999) });
    }
    if let Ok(minute) = NaiveDateTime::parse_from_str(&format!("{t}:59.999"), "%Y-%m-%d %H:%M:%S%.f") {
        return stored(minute);
    }
    NaiveDate::parse_from_str(&t, "%Y-%m-%d").ok().and_then(|d| d.and_hms_milli_opt(23, 59, 59, 999)).and_then(stored)
}

/// A file this connection has open cannot be replaced under it.
pub fn not_ours(host: &Connection, to: &Path) -> Result<()> {
    let Ok(full) = to.canonicalize() else { return Ok(()) };
    let mut q = host.prepare("SELECT name FROM pragma_database_list WHERE file = ?1")?;
    let mut rows = q.query([full.to_string_lossy()])?;
    match rows.next()? {
        Some(r) => Err(Error::new(Kind::Busy, format!("\"{}\" is open here as {}", to.display(), r.get::<_, String>(0)?))
            .hint("Restore to another file, or from another connection")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_read_as_people_write_them() {
        let t = |s| super::time(s).unwrap_or_default();
        assert_eq!(t("2026-11-20"), "2026-11-20 23:59:59.999");
        assert_eq!(t("2026-11-20 10:15"), "2026-11-20 10:15:59.999");
        assert_eq!(t("2026-11-20T10:15:01"), "2026-11-20 10:15:01.999");
        assert_eq!(t("2026-11-20 10:15:01.250"), "2026-11-20 10:15:01.250");
        assert_eq!(t("2026-11-20T10:15:01+02:00"), "2026-11-20 08:15:01.000");
        assert_eq!(super::time("shop-20261120"), None);
    }
}
