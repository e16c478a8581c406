//! Policies as rows: when each database is backed up, how long its backups stay, and how old the last proof is.
use super::lock::Lock;
use super::manifest::{Head, Type};
use super::prune::{self, Keep};
use super::repository::Repository;
use super::{catalogue, job, place};
use crate::error::{Error, Result};
use crate::hub::{Hub, settings, target};
use crate::kit::{Call, Interrupt, Rows, rows};
use crate::options;
use chrono::{DateTime, NaiveDateTime, Utc};
use rusqlite::{Connection, types::Value};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet, HashSet};

options! {
    pub struct PruneOptions {
        /// The folder of the backups; default: the setting backup.path.
        path: String,
        /// A file with the key of encrypted backups; default: the environment's BACKUP_ENCRYPTION_KEY.
        key_file: String,
        /// Keep backups of the last days; default: the policy, else the setting backup.retention_days.
        days: f64,
        /// Keep at least so many of each database; default: the policy, else 0.
        count: u32,
        /// Keep at least so many full backups of each database and what builds on them; default: the policy, else 1.
        generations: u32,
        /// Only tell what would go.
        dry_run: bool,
    }
}
options! {
    pub struct RunOptions {
        /// The folder of the backups; default: the setting backup.path.
        path: String,
        /// A file with the key of encrypted backups; default: the environment's BACKUP_ENCRYPTION_KEY.
        key_file: String,
        /// Prune afterwards; default true.
        prune: bool,
    }
}

struct Policy {
    /// Seconds between two backups of each type, in the order of `TYPES`.
    every: [Option<i64>; 3],
    days: Option<f64>,
    count: Option<i64>,
    generations: Option<i64>,
    enabled: bool,
    options: Option<String>,
}

/// A full backup serves where another is due, too: it is asked first.
const TYPES: [Type; 3] = [Type::Full, Type::Differential, Type::Incremental];

fn policies(host: &Connection) -> Result<BTreeMap<String, Policy>> {
    let Some(hub) = Hub::find(host)? else { return Ok(BTreeMap::new()) };
    let sql = "SELECT db_name, full_s, differential_s, incremental_s, retention_days, keep_count, keep_generations, enabled, options FROM hub.backup_policies";
    let mut q = host.prepare(&hub.sql(sql))?;
    let found = q.query_map([], |r| {
        let policy = Policy {
            every: [r.get(1)?, r.get(2)?, r.get(3)?],
            days: r.get(4)?,
            count: r.get(5)?,
            generations: r.get(6)?,
            enabled: r.get(7)?,
            options: r.get(8)?,
        };
        Ok((r.get(0)?, policy))
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// A row for `*` stands for every database without one of its own.
fn of<'p>(policies: &'p BTreeMap<String, Policy>, database: &str) -> Option<&'p Policy> {
    policies.get(database).or_else(|| policies.get("*"))
}

fn names(host: &Connection, policies: &BTreeMap<String, Policy>) -> Result<BTreeSet<String>> {
    let registered = if policies.contains_key("*") { target::registry(host)? } else { vec![] };
    Ok(policies.keys().filter(|n| *n != "*").cloned().chain(registered.into_iter().map(|(n, _)| n)).collect())
}

fn parse(time: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S%.f").ok().map(|t| t.and_utc())
}

fn heads(host: &Connection, path: Option<&str>, key_file: Option<&str>) -> Result<(Option<Repository>, Vec<Head>)> {
    match place::open_heads(host, path, key_file) {
        Ok(repo) => {
            let heads = repo.heads()?.0;
            Ok((Some(repo), heads))
        }
        Err(e) if e.kind == crate::Kind::NotFound => Ok((None, vec![])),
        Err(e) => Err(e),
    }
}

/// What is due: the strongest type whose time has come, and since when.
fn due_type(policy: &Policy, database: &str, heads: &[Head], now: DateTime<Utc>) -> Option<(Type, Option<DateTime<Utc>>)> {
    for (ty, every) in TYPES.iter().zip(policy.every) {
        let Some(every) = every.filter(|e| *e > 0) else { continue };
        // A backup of a stronger type is as good as one of this type.
        let serves = |h: &&Head| h.database == database && TYPES.iter().position(|t| *t == h.ty) <= TYPES.iter().position(|t| t == ty);
        let Some(last) = heads.iter().rev().find(serves).and_then(|h| parse(&h.created_at)) else { return Some((*ty, None)) };
        let since = last + chrono::Duration::seconds(every);
        if since <= now {
            return Some((*ty, Some(since)));
        }
    }
    None
}

fn due(host: &Connection, path: Option<&str>, key_file: Option<&str>) -> Result<Vec<(String, Type, Option<DateTime<Utc>>, Option<String>)>> {
    let policies = policies(host)?;
    let (_, heads) = heads(host, path, key_file)?;
    let now = Utc::now();
    let mut all = vec![];
    for name in names(host, &policies)? {
        if let Some(policy) = of(&policies, &name).filter(|p| p.enabled)
            && let Some((ty, since)) = due_type(policy, &name, &heads, now)
        {
            all.push((name, ty, since, policy.options.clone()));
        }
    }
    Ok(all)
}

/// Rows of `backups_due`.
pub fn due_rows(call: &Call<'_>) -> Result<Rows> {
    let row = |(name, ty, since, _): (String, Type, Option<DateTime<Utc>>, _)| {
        let since = since.map_or(Value::Null, |t| Value::Text(crate::db::time::stored(t)));
        vec![Value::Text(name), Value::Text(ty.word().to_owned()), since]
    };
    rows(due(call.db, call.opt_text("path"), None)?.into_iter().map(row).collect())
}

/// Makes the backups that are due; one that fails does not keep the others from theirs.
pub fn run(host: &Connection, o: &RunOptions) -> Result<Json> {
    let mut results = vec![];
    let mut failed = 0;
    let mut interrupt = Interrupt::of(host)?;
    for (name, ty, _, options) in due(host, o.path.as_deref(), o.key_file.as_deref())? {
        interrupt.check()?;
        let made = policy_options(options.as_deref()).and_then(|mut options: job::BackupOptions| {
            options.r#type = Some(ty.word().to_owned());
            options.path = o.path.clone();
            options.key_file = o.key_file.clone();
            job::backup(host, Some(&name), &options)
        });
        remember(host, &name, made.as_ref().err())?;
        results.push(match made {
            Ok(receipt) => receipt,
            Err(e) => {
                failed += 1;
                json!({"db_name": name, "type": ty.word(), "status": "FAILED", "error": e.to_string()})
            }
        });
    }
    let prune = o.prune.unwrap_or(true) && !results.is_empty();
    let pruned = if prune { Some(prune_all(host, &PruneOptions { path: o.path.clone(), key_file: o.key_file.clone(), ..Default::default() })?) } else { None };
    Ok(json!({"run": results.len(), "failed": failed, "results": results, "pruned": pruned}))
}

/// Options of a policy; a row of a file somebody sent must not say where backups go.
fn policy_options(text: Option<&str>) -> Result<job::BackupOptions> {
    let o: job::BackupOptions = crate::kit::parse(text)?;
    match (&o.path, &o.key_file) {
        (None, None) => Ok(o),
        _ => Err(Error::argument("a policy's options cannot name a file or folder").hint("Set backup.path by dbint_set() or the environment")),
    }
}

fn remember(host: &Connection, name: &str, error: Option<&Error>) -> Result<()> {
    let Some(hub) = Hub::find(host)? else { return Ok(()) };
    let error = error.map(ToString::to_string);
    let now = crate::db::time::now();
    hub.execute(host, "UPDATE hub.backup_policies SET last_run = ?2, last_error = ?3 WHERE db_name = ?1", (name, now, error))?;
    Ok(())
}

/// Removes expired backups and the pages nobody needs any more.
pub fn prune_all(host: &Connection, o: &PruneOptions) -> Result<Json> {
    let policies = policies(host)?;
    let days = settings::number(host, "backup.retention_days")?;
    if o.days.is_some_and(|d| !(0.0..=100_000.0).contains(&d)) {
        return Err(Error::argument("option \"days\" is from 0 to 100000"));
    }
    let keep = |database: &str| {
        let p = of(&policies, database);
        let number = |own: Option<u32>, row: Option<i64>, default: usize| own.map(|n| n as usize).or(row.map(|n| n.max(0) as usize)).unwrap_or(default);
        Keep {
            days: o.days.or(p.and_then(|p| p.days)).unwrap_or(days),
            count: number(o.count, p.and_then(|p| p.count), 0),
            generations: number(o.generations, p.and_then(|p| p.generations), 1),
        }
    };
    place::folder(host, o.path.as_deref())?;
    let repo = place::open(host, o.path.as_deref(), o.key_file.as_deref())?;
    let mut lock = Lock::take(&repo.dir, "prune")?;
    let mut interrupt = Interrupt::of(host)?;
    let mut tick = || lock.renew().and_then(|()| interrupt.check());
    let dry = o.dry_run.unwrap_or(false);
    if !dry {
        repo.tidy();
    }
    let (heads, bad) = repo.heads()?;
    if let Some((id, e)) = bad.into_iter().next() {
        return Err(e.context(format!("nothing was pruned, for backup {id} cannot be read and may need any of the others")));
    }
    // Lists read heads only; what is about to decide over backups must be what was written.
    for h in &heads {
        super::manifest::read(&repo.manifest_path(&h.id), &repo.key).map_err(|e| e.context("nothing was pruned"))?;
        tick()?;
    }
    let proven: HashSet<String> = heads.iter().filter(|h| matches!(repo.proof(&h.id), Ok(Some(p)) if p.ok)).map(|h| h.id.clone()).collect();
    let gone = prune::expired(&heads, &proven, keep, Utc::now());
    let removed: Vec<Json> =
        gone.iter().map(|h| json!({"backup_id": h.id, "name": h.name, "db_name": h.database, "type": h.ty.word(), "created_at": h.created_at})).collect();
    if !dry {
        // The catalogue first: dying in between, it knows less than there is, and never calls a pruned backup lost.
        gone.iter().try_for_each(|h| catalogue::remove(host, &h.id))?;
        prune::forget(&repo, &gone)?;
    }
    let swept = prune::sweep(&repo, &gone, 1, dry, &mut tick)?;
    Ok(json!({
        "dry_run": dry, "removed": removed, "kept": heads.len() - gone.len(), "packs_removed": swept.packs_removed,
        "packs_rewritten": swept.packs_rewritten, "bytes_freed": swept.bytes_freed,
    }))
}

/// Rows of `backup_status`: how old the last proof is, for each database that is registered, has a policy or a backup.
pub fn status(call: &Call<'_>) -> Result<Rows> {
    let host = call.db;
    let policies = policies(host)?;
    let (repo, heads) = heads(host, call.opt_text("path"), None)?;
    let mut names = names(host, &policies)?;
    names.extend(target::registry(host)?.into_iter().map(|(n, _)| n));
    names.extend(heads.iter().map(|h| h.database.clone()));
    let now = Utc::now();
    let age = |t: &str| parse(t).map_or(Value::Null, |t| Value::Real((now - t).num_milliseconds() as f64 / 1000.0));
    let mut all = vec![];
    for name in names {
        let of_it: Vec<&Head> = heads.iter().filter(|h| h.database == name).collect();
        let last = of_it.last();
        let proof = |h: &&&Head| repo.as_ref().and_then(|r| r.proof(&h.id).ok().flatten()).is_some_and(|p| p.ok);
        let proven = of_it.iter().rev().find(proof);
        let due = of(&policies, &name).filter(|p| p.enabled).and_then(|p| due_type(p, &name, &heads, now)).map(|(ty, _)| ty.word().to_owned());
        let state = match (last, proven) {
            (None, _) => "NEVER",
            (Some(_), None) => "UNPROVEN",
            (Some(l), Some(p)) if l.id == p.id => "PROVEN",
            _ => "STALE",
        };
        let text = |h: Option<&&Head>, f: fn(&Head) -> String| h.map_or(Value::Null, |h| Value::Text(f(h)));
        all.push(vec![
            Value::Text(name.clone()),
            Value::Text(state.to_owned()),
            Value::Integer(of_it.len() as i64),
            text(last, |h| h.created_at.clone()),
            last.map_or(Value::Null, |h| age(&h.created_at)),
            text(proven, |h| h.created_at.clone()),
            proven.map_or(Value::Null, |h| age(&h.created_at)),
            due.map_or(Value::Null, Value::Text),
            Value::Integer(of_it.iter().map(|h| h.stored_bytes as i64).sum()),
        ]);
    }
    rows(all)
}
