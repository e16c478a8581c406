//! Phase 4: the mappings are checked, and what the run will change is backed up, each backup proven by a restore.
use super::{
    Phase,
    state::{Outcome, State, Verdict, literal},
};
use crate::db::{
    open::{self, Mode},
    schema,
};
use crate::error::{Kind, Result};
use crate::health::Severity;
use crate::hub::{Target, settings};
use crate::run::agreement::{self, Mapping};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

#[derive(Default)]
pub struct Setup {
    /// Places in the list of databases.
    wanted: Vec<usize>,
    made: Vec<String>,
    bytes: u64,
    failed: Vec<String>,
    mappings: usize,
    wrong: usize,
    folder: Option<String>,
}

/// The enabled mappings between databases of the run.
pub fn mappings(run: &State) -> Result<Vec<Mapping>> {
    let all = agreement::mappings(&run.db, &run.hub)?;
    let paths: Vec<_> = run.items.iter().map(|i| i.path.as_path()).collect();
    let inside = |name: &str| {
        let Ok(target) = Target::resolve(&run.db, Some(name)) else { return run.items.iter().any(|i| i.name == name) };
        let Ok(Some(file)) = target.file(&run.db) else { return false };
        file.canonicalize().is_ok_and(|f| paths.contains(&f.as_path()))
    };
    Ok(all.into_iter().filter(|m| inside(&m.source) || inside(&m.target)).collect())
}

impl Phase for Setup {
    fn steps(&mut self, run: &mut State) -> Result<Vec<String>> {
        let all = mappings(run)?;
        self.mappings = all.len();
        let mut targets = BTreeSet::new();
        for m in &all {
            targets.insert(m.target.clone());
            if let Err(why) = sound(run, m) {
                self.wrong += 1;
                let statement = format!("SELECT * FROM sync_mapping WHERE id = {}", m.id);
                run.advise(Severity::Error, &m.source, format!("mapping {} to {} cannot run: {why}", m.id, m.target), statement);
            }
        }
        if !run.plan.backup {
            return Ok(vec![]);
        }
        let will_change = |name: &str| run.plan.optimize || targets.contains(name);
        self.wanted =
            run.items.iter().enumerate().filter(|(_, i)| i.is_readable() && i.registered && i.bytes > 0 && will_change(&i.name)).map(|(n, _)| n).collect();
        if !self.wanted.is_empty() {
            self.folder = folder(run)?;
        }
        Ok(self.wanted.iter().filter_map(|n| run.items.get(*n)).map(|i| format!("backup of {}", i.name)).collect())
    }

    fn step(&mut self, run: &mut State, at: usize) -> Result<()> {
        let Some(item) = self.wanted.get(at).and_then(|n| run.items.get_mut(*n)) else { return Ok(()) };
        let (name, path) = (item.name.clone(), item.path.display().to_string());
        let options = json!({"type": "incremental", "path": self.folder}).to_string();
        match run.ask("SELECT backup_database(?, ?)", &[&path, &options]) {
            Ok(receipt) if receipt.get("proven").and_then(Json::as_bool) == Some(true) => {
                let id = receipt.get("backup_id").and_then(Json::as_str).unwrap_or_default().to_owned();
                self.bytes += receipt.get("stored_bytes").and_then(Json::as_u64).unwrap_or(0);
                self.made.push(id.clone());
                if let Some(item) = self.wanted.get(at).and_then(|n| run.items.get_mut(*n)) {
                    item.backup = Some(id);
                }
            }
            Ok(receipt) => self.fail(run, &name, receipt.get("note").and_then(Json::as_str).unwrap_or("the restore test was not made")),
            Err(e) if e.kind == Kind::Interrupted => return Err(e),
            Err(e) => self.fail(run, &name, &e.message),
        }
        Ok(())
    }

    fn close(&mut self, _: &mut State) -> Result<Outcome> {
        let failed = if self.failed.is_empty() { String::new() } else { format!("; not backed up and left as they are: {}", self.failed.join(", ")) };
        let wrong = if self.wrong > 0 { format!(" ({} cannot run)", self.wrong) } else { String::new() };
        Ok(Outcome::new(
            self.wrong > 0 || !self.failed.is_empty(),
            format!(
                "{} mappings{wrong}; {} backups, each restored and compared, {:.3} MB stored{failed}",
                self.mappings,
                self.made.len(),
                self.bytes as f64 / 1e6
            ),
        ))
    }

    /// Every byte of the backups is read again.
    fn second(&mut self, run: &mut State) -> Result<Verdict> {
        let mut bad = vec![];
        let options = json!({"path": self.folder}).to_string();
        for id in &self.made {
            let checked = run.ask("SELECT verify_backup(?, ?)", &[id, &options])?;
            if checked.get("ok").and_then(Json::as_bool) != Some(true) {
                bad.push(id.clone());
            }
        }
        let text = format!("{} of {} backups read and verified", self.made.len() - bad.len(), self.made.len());
        Ok(Verdict::of(bad.is_empty(), text))
    }
}

impl Setup {
    fn fail(&mut self, run: &mut State, name: &str, why: &str) {
        self.failed.push(format!("{name} ({why})"));
        run.advise(Severity::Error, name, format!("no backup: {why}"), format!("SELECT backup_database({})", literal(name)));
    }
}

/// Where the backups go: what was said, else a folder beside the workspace, never inside it.
fn folder(run: &State) -> Result<Option<String>> {
    if run.plan.backup_path.is_some() {
        return Ok(run.plan.backup_path.clone());
    }
    if settings::get(&run.db, "backup.path")?.source != "default" || settings::text(&run.db, "workspace")?.is_some() {
        return Ok(None);
    }
    let mut name = run.dir.file_name().unwrap_or_default().to_owned();
    name.push("-backups");
    Ok(Some(run.dir.with_file_name(name).display().to_string()))
}

/// Both sides are there, and every table of the source is.
fn sound(run: &State, m: &Mapping) -> std::result::Result<(), String> {
    let look = || -> Result<Vec<String>> {
        Target::resolve(&run.db, Some(&m.target))?;
        let source = Target::resolve(&run.db, Some(&m.source))?.session(&run.db, Mode::Read)?;
        let mut missing = vec![];
        for table in m.tables.split(',').map(str::trim).filter(|t| !t.is_empty() && *t != "*") {
            if schema::find_table(&source.db, &source.schema, table)?.is_none() {
                missing.push(table.to_owned());
            }
        }
        Ok(missing)
    };
    match look() {
        Ok(missing) if missing.is_empty() => Ok(()),
        Ok(missing) => Err(format!("{} has no table {}", m.source, missing.join(", "))),
        Err(e) => Err(e.message),
    }
}

/// For what needs a connection of its own to a database of the run.
pub fn reader(path: &std::path::Path) -> Result<rusqlite::Connection> {
    open::open_to_look(path, open::BUSY_TIMEOUT)
}
