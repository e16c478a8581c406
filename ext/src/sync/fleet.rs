//! The syncs that `sync_mapping` lists: all of them, or those that are due.
use super::{
    atomic, ledger,
    options::{Choice, SyncOptions},
    receipt::Receipt,
    run::{self, Ends},
    side::Source,
};
use crate::{
    db::{changelog, foreign_keys, ident::same, schema, time},
    error::{Error, Kind, Result},
    hub::{Hub, Target, install},
    kit::Interrupt,
    options,
};
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use std::{collections::HashMap, path::PathBuf, time::Instant};

options! {
    pub struct AllOptions {
        /// Only the mapping with this id.
        mapping: i64,
        /// Copy each target first, verified; the copy is removed when all of its syncs succeeded. Default on.
        backup: bool,
        /// Stop at the first table that fails; default goes on with the others.
        stop_on_error: bool,
        /// Only tell what would be done.
        dry_run: bool,
        /// All tables of all mappings, or nothing. Default off.
        atomic: bool,
        /// Further options of sync_table, above those of the mapping.
        options: Json,
    }
}

pub struct Mapping {
    pub id: i64,
    pub source: String,
    pub tables: String,
    pub target: String,
    pub sync_type: String,
    pub frequency_s: i64,
    pub options: Option<String>,
    pub last_run: Option<String>,
}

pub fn mappings(host: &Connection, only: Option<i64>) -> Result<Vec<Mapping>> {
    let Some(hub) = Hub::find(host)? else { return Ok(vec![]) };
    let sql = "SELECT id, source_db, tables, target_db, sync_type, frequency_s, options, last_run FROM hub.sync_mapping \
               WHERE enabled AND (?1 IS NULL OR id = ?1) ORDER BY id";
    let mut q = host.prepare(&hub.sql(sql))?;
    let all = q.query_map([only], |r| {
        Ok(Mapping {
            id: r.get(0)?,
            source: r.get(1)?,
            tables: r.get(2)?,
            target: r.get(3)?,
            sync_type: r.get(4)?,
            frequency_s: r.get(5)?,
            options: r.get(6)?,
            last_run: r.get(7)?,
        })
    })?;
    let all = all.collect::<rusqlite::Result<Vec<_>>>()?;
    match only {
        Some(id) if all.is_empty() => Err(Error::not_found(format!("no enabled row {id} in sync_mapping"))),
        _ => Ok(all),
    }
}

impl Mapping {
    /// Seconds until it is due; negative where it is late. Never run means due.
    pub fn due_in(&self, now: &str) -> f64 {
        let since = self.last_run.as_deref().and_then(|last| time::seconds_between(last, now));
        // A clock that was set back does not put a sync off for ever.
        since.filter(|s| *s >= 0.0).map_or(0.0, |s| self.frequency_s as f64 - s)
    }

    fn choice(&self, host: &Connection, all: &AllOptions) -> Result<Choice> {
        let mut merged = match self.options.as_deref().map(serde_json::from_str::<Json>) {
            Some(Ok(Json::Object(o))) => o,
            Some(_) => return Err(Error::argument(format!("options of sync_mapping {} are no JSON object", self.id))),
            None => serde_json::Map::new(),
        };
        merged.insert("mode".into(), json!(self.sync_type.to_ascii_lowercase()));
        merged.insert("source".into(), json!(self.source));
        // One copy a target is made here, not one a table.
        merged.insert("backup".into(), json!(false));
        if let Some(Json::Object(more)) = &all.options {
            merged.extend(more.clone());
        }
        if all.dry_run == Some(true) {
            merged.insert("dry_run".into(), json!(true));
        }
        Choice::parse(host, Some(&Json::Object(merged).to_string()))
    }

    /// The tables by name, parents before children.
    fn tables(&self, host: &Connection, o: &SyncOptions) -> Result<Vec<String>> {
        let source = Source::open(host, &Target::resolve(host, Some(&self.source))?, o)?;
        let (db, schema) = (source.db(), source.schema.as_str());
        let listed: Vec<String> = match self.tables.trim() {
            "*" => {
                let hub = Hub::find(db)?;
                let ours: Vec<String> = hub.map_or_else(Vec::new, |h| install::tables().iter().map(|t| h.name(t)).chain(["dbint_hub".into()]).collect());
                let own = |t: &String| changelog::is_own(t) || ledger::is_own(t) || ours.iter().any(|o| same(o, t));
                let stored = |t: &String| schema::find_table(db, schema, t).is_ok_and(|t| t.is_some_and(|t| t.kind == schema::TableKind::Table));
                schema::stored_tables(db, schema)?.into_iter().filter(|t| !own(t) && stored(t)).collect()
            }
            names => names.split(',').map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect(),
        };
        parents_first(db, schema, listed)
    }
}

/// A row can be put in once the row it refers to is there. Tables that refer to each other in a circle stay in their order.
fn parents_first(db: &Connection, schema: &str, tables: Vec<String>) -> Result<Vec<String>> {
    let mut parents: HashMap<String, Vec<String>> = HashMap::new();
    for t in &tables {
        parents.insert(t.clone(), foreign_keys::of(db, schema, t)?.into_iter().map(|k| k.parent).filter(|p| !same(p, t)).collect());
    }
    let (mut done, mut rest): (Vec<String>, Vec<String>) = (vec![], tables);
    while !rest.is_empty() {
        let waits = |t: &String| parents.get(t).is_some_and(|ps| ps.iter().any(|p| rest.iter().any(|r| same(r, p))));
        let at = rest.iter().position(|t| !waits(t)).unwrap_or(0);
        done.push(rest.remove(at));
    }
    Ok(done)
}

/// Runs `list`; one result a table. What a table's failure is about stands in its result.
pub fn all(host: &Connection, list: &[Mapping], o: &AllOptions) -> Result<Json> {
    if o.atomic == Some(true) {
        return together(host, list, o);
    }
    atomic::recover(host)?;
    let begun = Instant::now();
    let mut results: Vec<Json> = vec![];
    let mut copies: Vec<(String, PathBuf, bool)> = vec![];
    let mut interrupt = Interrupt::of(host)?;
    let (mut succeeded, mut failed, mut rows) = (0, 0, 0);
    'all: for m in list {
        let outcome = (|| -> Result<(Choice, Vec<String>)> {
            let choice = m.choice(host, o)?;
            let tables = m.tables(host, &choice.given)?;
            Ok((choice, tables))
        })();
        let (choice, tables) = match outcome {
            Ok(found) => found,
            Err(e) if e.kind == Kind::Interrupted => return Err(e),
            Err(e) => {
                failed += 1;
                results.push(json!({"mapping": m.id, "source": m.source, "target": m.target, "table": null, "status": "FAILED", "error": e.to_string()}));
                if o.stop_on_error == Some(true) {
                    break 'all;
                }
                continue;
            }
        };
        if o.backup != Some(false) && !choice.dry_run && !copies.iter().any(|(t, ..)| *t == m.target) {
            back_up(host, m, &mut copies, &mut interrupt)?;
        }
        let mut good = true;
        for table in &tables {
            let done = Ends::resolve(host, &m.target, &choice.given).and_then(|ends| run::sync(host, table, &ends, &choice));
            match done {
                Ok(r) => {
                    succeeded += 1;
                    rows += r.tally.changed();
                    let mut row = r.json();
                    if let Some(row) = row.as_object_mut() {
                        row.insert("mapping".into(), json!(m.id));
                        row.insert("status".into(), json!("SUCCESS"));
                    }
                    results.push(row);
                }
                Err(e) if e.kind == Kind::Interrupted => return Err(e),
                Err(e) => {
                    (good, failed) = (false, failed + 1);
                    results.push(json!({"mapping": m.id, "source": m.source, "target": m.target, "table": table, "status": "FAILED", "error": e.to_string()}));
                    copies.iter_mut().filter(|(t, ..)| *t == m.target).for_each(|c| c.2 = false);
                    if o.stop_on_error == Some(true) {
                        break 'all;
                    }
                }
            }
        }
        if good && !choice.dry_run {
            ran(host, m.id)?;
        }
    }
    let mut kept = vec![];
    for (_, path, good) in copies {
        if good { std::fs::remove_file(&path)? } else { kept.push(path.display().to_string()) }
    }
    Ok(
        json!({"syncs": succeeded + failed, "succeeded": succeeded, "failed": failed, "rows": rows, "duration_s": begun.elapsed().as_secs_f64(), "backups_kept": kept, "results": results}),
    )
}

fn together(host: &Connection, list: &[Mapping], o: &AllOptions) -> Result<Json> {
    let begun = Instant::now();
    let mut interrupt = Interrupt::of(host)?;
    let (mut jobs, mut copies) = (vec![], vec![]);
    for m in list {
        let choice = m.choice(host, o)?;
        if o.backup != Some(false) && !choice.dry_run && !copies.iter().any(|(t, ..): &(String, PathBuf, bool)| *t == m.target) {
            back_up(host, m, &mut copies, &mut interrupt)?;
        }
        for table in m.tables(host, &choice.given)? {
            jobs.push(atomic::Job { table, ends: Ends::resolve(host, &m.target, &choice.given)?, choice: Choice { alone: false, ..choice.clone() } });
        }
    }
    let receipts = atomic::run(host, &jobs);
    // All or nothing: a failure changed nothing, and needs no copy.
    for (_, path, _) in copies {
        std::fs::remove_file(&path)?;
    }
    let receipts = receipts?;
    if o.dry_run != Some(true) {
        list.iter().try_for_each(|m| ran(host, m.id))?;
    }
    let rows: u64 = receipts.iter().map(|r| r.tally.changed()).sum();
    let results: Vec<Json> = receipts.iter().map(Receipt::json).collect();
    Ok(
        json!({"syncs": results.len(), "succeeded": results.len(), "failed": 0, "rows": rows, "duration_s": begun.elapsed().as_secs_f64(), "backups_kept": [], "results": results}),
    )
}

fn back_up(host: &Connection, m: &Mapping, copies: &mut Vec<(String, PathBuf, bool)>, interrupt: &mut Interrupt<'_>) -> Result<()> {
    // A target that cannot be named yet fails with its first table, which says so.
    let Ok(target) = Target::resolve(host, Some(&m.target)) else { return Ok(()) };
    if let Some(path) = run::back_up(&target, host, interrupt)? {
        copies.push((m.target.clone(), path, true));
    }
    Ok(())
}

fn ran(host: &Connection, id: i64) -> Result<()> {
    if let Some(hub) = Hub::find(host)? {
        hub.execute(host, "UPDATE hub.sync_mapping SET last_run = ?2 WHERE id = ?1", (id, time::now()))?;
    }
    Ok(())
}
