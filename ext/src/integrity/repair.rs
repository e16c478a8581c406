//! Repairs that provably lose nothing: indexes made anew from their tables, statistics counted again, files beside the
//! database that SQLite itself takes for left over. Everything else is told, and left alone.
use super::{
    ReportOptions,
    report::{Outcome, Report},
};
use crate::db::{
    copy,
    ident::{literal, qualified, quote},
    limit, open, time,
    transaction::savepoint,
};
use crate::error::{At, Error, Kind, Result};
use crate::hub::{
    Target, limits,
    target::{Mode, Place},
};
use crate::kit::Interrupt;
use rusqlite::{Connection, config::DbConfig};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

/// One thing that is done.
pub struct Step {
    /// Repairs of one cause: index, statistics, leftover.
    pub kind: &'static str,
    pub statement: String,
    pub reason: String,
    /// PLANNED, DONE, or FAILED with the reason.
    pub status: &'static str,
    pub error: Option<String>,
    /// The file that goes.
    file: Option<PathBuf>,
}

/// A finding that no repair touches.
pub struct Untouched {
    pub check: &'static str,
    pub severity: &'static str,
    pub table: Option<String>,
    pub detail: String,
    pub remedy: Option<String>,
}

pub struct Repair {
    pub name: String,
    pub dry_run: bool,
    pub steps: Vec<Step>,
    pub untouched: Vec<Untouched>,
    pub backup: Option<String>,
    pub findings_before: u64,
    pub findings_after: Option<u64>,
}

impl Repair {
    /// The receipt.
    pub fn json(&self) -> Json {
        let step = |s: &Step| json!({"kind": s.kind, "statement": s.statement, "reason": s.reason, "status": s.status, "error": s.error});
        let left = |u: &Untouched| json!({"check": u.check, "severity": u.severity, "table": u.table, "detail": u.detail, "remedy": u.remedy});
        let failed = self.steps.iter().filter(|s| s.status == "FAILED").count();
        let status = if self.dry_run {
            "PLANNED"
        } else if failed > 0 {
            "FAILED"
        } else if self.steps.is_empty() {
            "NOTHING_TO_DO"
        } else {
            "DONE"
        };
        json!({
            "db_name": self.name, "status": status, "dry_run": self.dry_run, "backup": self.backup,
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(), "failed": failed,
            "not_touched": self.untouched.iter().map(left).collect::<Vec<_>>(),
            "findings_before": self.findings_before, "findings_after": self.findings_after, "timestamp": time::now(),
        })
    }
}

const INDEX: [&str; 2] = ["index_consistency", "integrity_check"];
const STATISTICS: [&str; 3] = ["statistics_missing", "statistics_stale", "statistics_orphaned"];

/// What would be done, from what was found.
pub fn plan(report: &Report, target: &Target, schema: &str) -> (Vec<Step>, Vec<Untouched>) {
    let mut steps: Vec<Step> = vec![];
    let mut untouched = vec![];
    for Outcome { check, findings, .. } in &report.results {
        for f in &findings.list {
            let key = f.key.as_deref().unwrap_or_default();
            let table = f.table.as_deref().unwrap_or_default();
            let made = match check.name {
                name if INDEX.contains(&name) && f.remedy.as_deref().is_some_and(|r| r.starts_with("REINDEX")) => {
                    Some(("index", format!("REINDEX {};", qualified(schema, key)), None))
                }
                "statistics_orphaned" => {
                    Some(("statistics", format!("DELETE FROM {} WHERE tbl = {};", qualified(schema, "sqlite_stat1"), literal(table)), None))
                }
                name if STATISTICS.contains(&name) => Some(("statistics", format!("ANALYZE {};", qualified(schema, table)), None)),
                "journal_leftovers" if matches!(target.place, Place::File(_)) => {
                    let file = ["-journal", "-wal", "-shm"].into_iter().find(|s| f.detail.contains(&format!("{s} (")));
                    let path = |s| if let Place::File(p) = &target.place { Some(copy::with_suffix(p, s)) } else { None };
                    file.and_then(path).map(|p| ("leftover", format!("-- remove {}, after SQLite has taken from it what is valid", p.display()), Some(p)))
                }
                _ => None,
            };
            match made {
                Some((kind, statement, file)) => {
                    // One index has many findings, and one repair.
                    if !steps.iter().any(|s| s.statement == statement) {
                        steps.push(Step { kind, statement, reason: f.detail.clone(), status: "PLANNED", error: None, file });
                    }
                }
                None => untouched.push(Untouched {
                    check: check.name,
                    severity: check.severity.word(),
                    table: f.table.clone(),
                    detail: f.detail.clone(),
                    remedy: f.remedy.clone(),
                }),
            }
        }
    }
    // Leftovers first: an open journal decides what the rest is read from.
    steps.sort_by_key(|s| match s.kind {
        "leftover" => 0,
        "index" => 1,
        _ => 2,
    });
    (steps, untouched)
}

/// Plans, copies the database aside, repairs and looks again. The copy goes to `backup`, else beside the file.
pub fn run(host: &Connection, given: Option<&str>, dry_run: bool, backup: Option<&str>) -> Result<Repair> {
    let options = ReportOptions { limit: Some(100), ..ReportOptions::default() };
    let target = Target::resolve(host, given)?;
    let before = Report::of(host, given, &options)?;
    let schema = if let Place::Schema(s) = &target.place { s.clone() } else { "main".to_owned() };
    let (steps, untouched) = plan(&before, &target, &schema);
    let count = |r: &Report| r.results.iter().map(|o| o.findings.total).sum::<u64>();
    let mut repair = Repair { name: target.name.clone(), dry_run, steps, untouched, backup: None, findings_before: count(&before), findings_after: None };
    if dry_run {
        return Ok(repair);
    }
    let salvage = |u: &&Untouched| u.severity == "CRITICAL" && u.remedy.as_deref().is_some_and(|r| r.contains("salvage_database"));
    if let Some(damage) = repair.untouched.iter().filter(salvage).find(|u| !of_an_index(&u.detail)) {
        return Err(Error::new(Kind::Corrupt, format!("{} is damaged, and nothing of it was touched: {}", repair.name, damage.detail))
            .hint("recovery_plan lists what to do, in order"));
    }
    // Nothing that needs no repair is copied or opened for writing.
    if repair.steps.is_empty() {
        return Ok(repair);
    }
    let file = target.file(host)?;
    if let Some(file) = &file {
        let to = backup.map_or_else(|| aside(file), PathBuf::from);
        let session = target.session(host, Mode::Read)?;
        let mut interrupt = Interrupt::of(host)?;
        copy::as_it_is(&session.db, &session.schema, &to, || interrupt.check())?;
        repair.backup = Some(to.display().to_string());
    }
    leftovers(&mut repair.steps, file.as_deref());
    let session = target.session(host, Mode::Write)?;
    let most = limits::enforced(host, &target.name, None)?;
    for step in repair.steps.iter_mut().filter(|s| s.kind != "leftover") {
        let done = savepoint(&session.db, || {
            session.db.execute_batch(&step.statement)?;
            limit::check_before_commit(&session.db, &session.schema, file.as_deref(), most)
        });
        match done {
            Err(e) if e.kind == Kind::Interrupted => return Err(e),
            Err(e) => (step.status, step.error) = ("FAILED", Some(e.message)),
            Ok(()) => step.status = "DONE",
        }
    }
    drop(session);
    repair.findings_after = Some(count(&Report::of(host, given, &options)?));
    Ok(repair)
}

/// An index that does not agree with its table, as integrity_check says it: REINDEX makes it anew from the rows.
fn of_an_index(detail: &str) -> bool {
    ["wrong # of entries in index ", " missing from index ", "non-unique entry in index "].iter().any(|m| detail.contains(m))
}

fn aside(file: &Path) -> PathBuf {
    let stamp: String = time::now().chars().filter(char::is_ascii_digit).collect();
    copy::with_suffix(file, &format!(".before-repair-{stamp}"))
}

/// SQLite itself takes what is valid out of a journal, and removes it, when it opens the file alone; only a journal that it
/// knows to be empty stays, and goes here.
fn leftovers(steps: &mut [Step], file: Option<&Path>) {
    let Some(file) = file else { return };
    for step in steps.iter_mut().filter(|s| s.kind == "leftover") {
        let Some(left) = step.file.clone() else { continue };
        match remove(file, &left) {
            Ok(()) if left.exists() => (step.status, step.error) = ("FAILED", Some("it is in use, or it holds something: it was left".to_owned())),
            Ok(()) => step.status = "DONE",
            Err(e) => (step.status, step.error) = ("FAILED", Some(e.message)),
        }
    }
}

fn remove(file: &Path, left: &Path) -> Result<()> {
    let db = open::open(file, Mode::Write).at("opening it for the repair")?;
    // The last connection copies the log back and removes it; nobody else can be in between: the lock is exclusive.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    let mode: String = db.query_row("PRAGMA journal_mode", [], |r| r.get(0))?;
    db.execute_batch("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE")?;
    let journal = left.extension().is_some_and(|e| e.to_string_lossy().ends_with("-journal"));
    if journal && mode == "wal" && is_void(left) {
        std::fs::remove_file(left)?;
    }
    db.execute_batch("ROLLBACK; PRAGMA locking_mode=NORMAL")?;
    db.close().map_err(|(_, e)| Error::from(e))
}

/// A journal whose first byte is zero holds nothing: so says SQLite, which zeroes it when a transaction is over.
fn is_void(journal: &Path) -> bool {
    let mut first = [0xff];
    match std::fs::File::open(journal).and_then(|mut f| std::io::Read::read(&mut f, &mut first)) {
        Ok(n) => n == 0 || first == [0],
        Err(_) => false,
    }
}

/// One line of a plan to get a database back.
pub struct Action {
    pub action: &'static str,
    pub statement: String,
    pub reason: String,
    /// repair_database does it by itself.
    pub automatic: bool,
    /// What it may cost.
    pub loses: &'static str,
}

/// The steps, in order, after which the database is sound again as far as it can be.
pub fn recovery(host: &Connection, given: Option<&str>) -> Result<Vec<Action>> {
    let target = Target::resolve(host, given)?;
    let report = Report::of(host, given, &ReportOptions { limit: Some(20), ..ReportOptions::default() })?;
    let schema = if let Place::Schema(s) = &target.place { s.clone() } else { "main".to_owned() };
    let (steps, untouched) = plan(&report, &target, &schema);
    let db = given.map_or("NULL".to_owned(), literal);
    let mut all = vec![];
    let mut add = |action, statement: String, reason: String, automatic, loses| all.push(Action { action, statement, reason, automatic, loses });
    let damage: Vec<&Untouched> = untouched.iter().filter(|u| u.severity == "CRITICAL").collect();
    if !damage.is_empty() {
        let reason = damage.iter().map(|d| d.detail.as_str()).take(3).collect::<Vec<_>>().join("; ");
        if let Some(file) = target.file(host)? {
            let (f, s) = (file.display(), time::now().chars().filter(char::is_ascii_digit).collect::<String>());
            let copies = format!("-- cp {f} {f}.damaged-{s}; the same for {f}-wal and {f}-journal where they are");
            add("keep the damaged file", copies, "what was not understood yet may still be needed; stop every writer first".to_owned(), false, "nothing");
        }
        if let Some((id, at)) = newest_backup(host, &target.name)? {
            let to = format!("{}-restored.db", target.name);
            let statement = format!("SELECT restore_database({}, {});", literal(&id), literal(&to));
            add("restore the newest backup", statement, format!("it was taken at {at}"), false, "what was written since");
        }
        let saved = format!("{}-salvaged.db", target.name);
        add("salvage", format!("SELECT salvage_database({db}, {});", literal(&saved)), reason, false, "what cannot be read; the answer tells");
        add(
            "check what was saved",
            format!("SELECT * FROM integrity_report({}, '{{\"findings\":true}}');", literal(&saved)),
            "before it takes the place of the damaged file".to_owned(),
            false,
            "nothing",
        );
        let compare = format!("SELECT * FROM lost_and_found; -- in {}", quote(&saved));
        add("look through lost_and_found", compare, "rows in doubt stand there, with the reason".to_owned(), false, "nothing");
    }
    for s in steps {
        // In a damaged file nothing is mended in place.
        if damage.is_empty() {
            add("repair", s.statement, s.reason, true, "nothing");
        }
    }
    for u in untouched.iter().filter(|u| u.severity != "CRITICAL" && matches!(u.severity, "ERROR" | "WARNING")) {
        if let Some(remedy) = &u.remedy {
            let place = u.table.as_ref().map_or(String::new(), |t| format!("{t}: "));
            add("decide", remedy.clone(), format!("{place}{}", u.detail), false, "depends on what you decide");
        }
    }
    if !all.is_empty() {
        let again = format!("SELECT * FROM integrity_report({db}, '{{\"findings\":true}}');");
        all.push(Action {
            action: "check again",
            statement: again,
            reason: "nothing should be left but what you decided to keep".to_owned(),
            automatic: false,
            loses: "nothing",
        });
    }
    Ok(all)
}

fn newest_backup(host: &Connection, name: &str) -> Result<Option<(String, String)>> {
    let Some(hub) = crate::hub::Hub::find(host)? else { return Ok(None) };
    let mut q = host.prepare(&hub.sql("SELECT backup_id, created_at FROM hub.backup_catalog WHERE db_name = ? ORDER BY created_at DESC LIMIT 1"))?;
    let mut rows = q.query([name])?;
    Ok(match rows.next()? {
        Some(r) => Some((r.get(0)?, r.get(1)?)),
        None => None,
    })
}
