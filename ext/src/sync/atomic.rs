//! Several tables, one outcome: all of them in one transaction a target, and over several targets by a journal in the hub.
//!
//! SQLite does not promise one commit over several files in WAL mode. So the hub first notes which syncs belong together;
//! then each target commits; then the note goes. What a crash leaves in between is taken back by `recover`, by the undo
//! rows that each target stored with its rows.
//!
//! ```text
//! sync_groups   group_id · members: JSON [{target_file, sync_ids[]}] · noted_at
//! ```
use super::{
    ledger::Entry,
    options::Choice,
    receipt::Receipt,
    run::{self, Carried, Ends},
    side::{Destination, Source},
    undo,
};
use crate::{
    db::{ident::same, time},
    error::{Error, Result},
    hub::{Hub, Target, limits, target::Mode},
    kit::Interrupt,
};
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use std::path::PathBuf;

/// One table to be carried.
pub struct Job {
    pub table: String,
    pub ends: Ends,
    pub choice: Choice,
}

/// Carries all of `jobs`, or nothing.
pub fn run(host: &Connection, jobs: &[Job]) -> Result<Vec<Receipt>> {
    recover(host)?;
    if let Some(job) = jobs.iter().find(|j| !j.choice.undo) {
        return Err(Error::argument(format!("atomic needs the stored undo: leave {{\"undo\":false}} out for \"{}\"", job.table)));
    }
    let mut interrupt = Interrupt::of(host)?;
    let mut open: Vec<(PathBuf, Destination<'_>, Option<u64>, Vec<Carried>)> = vec![];
    for job in jobs {
        let path = file(host, &job.ends.target)?;
        let source = Source::open(host, &job.ends.source, &job.choice.given)?;
        if !open.iter().any(|(p, ..)| *p == path) {
            let limit = limits::enforced(host, &job.ends.target.name, job.choice.given.limit_mb)?;
            let mut target = Destination::open(host, &job.ends.target, job.choice.given.create == Some(true), job.choice.dry_run)?;
            target.begin(job.choice.dry_run)?;
            open.push((path.clone(), target, limit, vec![]));
        }
        let Some((_, target, _, done)) = open.iter_mut().find(|(p, ..)| *p == path) else { continue };
        done.push(run::carry(&job.table, &source, target, &job.ends, &job.choice, &mut interrupt, None)?);
    }
    let changed: Vec<(PathBuf, Vec<String>)> = open
        .iter()
        .map(|(p, _, _, done)| (p.clone(), done.iter().filter(|c| c.receipt.undo).map(|c| c.receipt.sync_id.clone()).collect::<Vec<_>>()))
        .filter(|(_, ids)| !ids.is_empty())
        .collect();
    let note = if changed.len() > 1 { Some(note(host, &changed)?) } else { None };
    let mut all = vec![];
    for (_, target, limit, done) in open {
        if done.iter().any(|c| c.changed) {
            let committed = run::commit(target, limit, done.iter().filter_map(|c| c.keys.as_ref()));
            if let Err(e) = committed {
                // Those before it are taken back now; the others roll back as they are dropped.
                if note.is_some() {
                    recover(host)?;
                }
                return Err(e);
            }
        }
        all.extend(done);
    }
    if let Some(group) = note {
        forget(host, &group)?;
    }
    let mut receipts = vec![];
    for (c, job) in all.into_iter().zip(in_order(jobs)) {
        let mut r = c.receipt;
        if !job.choice.dry_run {
            run::write_down(host, &mut r, &job.ends, &job.choice, &c.delta)?;
        }
        receipts.push(r);
    }
    Ok(receipts)
}

/// Jobs as they were carried: target by target, each where it was first named.
fn in_order(jobs: &[Job]) -> Vec<&Job> {
    let mut names: Vec<&str> = vec![];
    for j in jobs {
        if !names.iter().any(|n| same(n, &j.ends.target.name)) {
            names.push(&j.ends.target.name);
        }
    }
    names.iter().flat_map(|n| jobs.iter().filter(move |j| same(&j.ends.target.name, n))).collect()
}

fn file(host: &Connection, target: &Target) -> Result<PathBuf> {
    let file = target.file(host)?.ok_or_else(|| Error::unsupported(format!("atomic needs targets that are files, and {} is none", target.name)))?;
    Ok(file.canonicalize().unwrap_or(file))
}

fn note(host: &Connection, changed: &[(PathBuf, Vec<String>)]) -> Result<String> {
    let hub = Hub::need(host)?;
    let own = crate::hub::target::file_of(host, &hub.schema)?.and_then(|f| f.canonicalize().ok());
    if changed.iter().any(|(p, _)| Some(p) == own.as_ref()) {
        return Err(Error::unsupported("atomic over several targets needs dbint's own tables in a database that is none of them"));
    }
    let group = time::new_id();
    let members: Vec<Json> = changed.iter().map(|(p, ids)| json!({"target_file": p.to_string_lossy(), "sync_ids": ids})).collect();
    hub.execute(host, "INSERT INTO hub.sync_groups(group_id, members, noted_at) VALUES(?, ?, ?)", (&group, Json::Array(members).to_string(), time::now()))?;
    Ok(group)
}

fn forget(host: &Connection, group: &str) -> Result<()> {
    let hub = Hub::need(host)?;
    hub.execute(host, "DELETE FROM hub.sync_groups WHERE group_id = ?", [group])?;
    Ok(())
}

/// Ends what a crash left: a group that every target has is done, any other is taken back. Gives a row a group.
pub fn recover(host: &Connection) -> Result<Vec<Json>> {
    let Some(hub) = Hub::find(host)? else { return Ok(vec![]) };
    let mut q = host.prepare(&hub.sql("SELECT group_id, members FROM hub.sync_groups ORDER BY noted_at"))?;
    let groups: Vec<(String, String)> = q.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    drop(q);
    let mut ended = vec![];
    for (group, members) in groups {
        let members: Vec<Json> = serde_json::from_str(&members)?;
        let mut present = vec![];
        let mut all = true;
        for m in &members {
            let path = m.get("target_file").and_then(Json::as_str).unwrap_or_default();
            let target = Target::resolve(host, Some(path))?;
            let session = target.session(host, Mode::Read)?;
            for id in m.get("sync_ids").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str) {
                match Entry::read(&session.db, &session.schema, id)? {
                    Some(e) if e.undone_at.is_none() => present.push((id.to_owned(), path.to_owned())),
                    _ => all = false,
                }
            }
        }
        let outcome = if all { "finished" } else { "undone" };
        if !all {
            for (id, path) in present.iter().rev() {
                undo::undo(host, id, Some(path))?;
            }
        }
        forget(host, &group)?;
        ended.push(json!({"group_id": group, "outcome": outcome, "syncs": present.len()}));
    }
    Ok(ended)
}
