//! What a run knows and keeps: its databases, its figures, its rows in the hub.
use super::{IntegrateOptions, PHASES, figures::Figures};
use crate::db::{open, time};
use crate::error::{At, Error, Kind, Result, did_you_mean};
use crate::health::{self, Level, Report, Severity, Status};
use crate::hub::{Hub, discover, registry, registry::Member, settings, target};
use crate::kit::{one_of, threads_allowed};
use rusqlite::{Connection, ToSql, types::Value};
use serde_json::{Value as Json, json};
use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Instant,
};

/// How a phase ended.
pub struct Outcome {
    /// COMPLETED, FINDINGS, FAILED or SKIPPED
    pub status: &'static str,
    pub result: String,
}

impl Outcome {
    pub fn new(findings: bool, result: String) -> Outcome {
        Outcome { status: if findings { "FINDINGS" } else { "COMPLETED" }, result }
    }

    pub fn skipped(why: &str) -> Outcome {
        Outcome { status: "SKIPPED", result: why.to_owned() }
    }

    pub fn failed(e: &Error) -> Outcome {
        Outcome { status: "FAILED", result: e.to_string() }
    }
}

/// What the second check said.
pub struct Verdict {
    word: &'static str,
    text: String,
}

impl Verdict {
    pub fn of(agrees: bool, text: String) -> Verdict {
        Verdict { word: if agrees { "CONFIRMED" } else { "DISPUTED" }, text }
    }

    pub fn disputed(text: String) -> Verdict {
        Verdict::of(false, text)
    }

    pub fn none() -> Verdict {
        Verdict { word: "", text: String::new() }
    }

    pub fn shown(&self) -> String {
        if self.word.is_empty() { String::new() } else { format!("{}: {}", self.word, self.text) }
    }
}

/// What the run may do, from mode and options.
pub struct Plan {
    pub mode: &'static str,
    pub sync: bool,
    pub optimize: bool,
    pub consistency: bool,
    pub monitoring: bool,
    pub backup: bool,
    pub backup_path: Option<String>,
    chosen: Option<Vec<String>>,
    log: bool,
}

impl Plan {
    fn read(o: &IntegrateOptions) -> Result<Plan> {
        let mode = one_of("mode", o.mode.as_deref().unwrap_or("all"), &["all", "sync", "optimize", "validate"])?;
        let mode = ["all", "sync", "optimize", "validate"].into_iter().find(|m| *m == mode).unwrap_or("all");
        let names = |text: &String| text.split(',').map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        Ok(Plan {
            mode,
            sync: matches!(mode, "all" | "sync"),
            optimize: o.optimize.unwrap_or(matches!(mode, "all" | "optimize")),
            consistency: o.consistency.unwrap_or(matches!(mode, "all" | "validate")),
            monitoring: o.monitoring.unwrap_or(mode == "all"),
            backup: o.backup.unwrap_or(true),
            backup_path: o.backup_path.clone(),
            chosen: o.databases.as_ref().map(names).filter(|n| !n.is_empty()),
            log: o.log.unwrap_or(false),
        })
    }

    pub fn changes(&self) -> bool {
        self.sync || self.optimize
    }
}

/// One database of the run.
pub struct Item {
    /// The registered name once it has one, else that of its file.
    pub name: String,
    pub path: PathBuf,
    pub bytes: u64,
    pub status: discover::Status,
    pub registered: bool,
    /// Proven to be restorable as it was: it may be changed.
    pub backup: Option<String>,
}

impl Item {
    pub fn is_readable(&self) -> bool {
        matches!(self.status, discover::Status::Ok | discover::Status::Empty)
    }
}

/// A finding, and the statement that follows it up.
pub struct Advice {
    pub severity: Severity,
    pub name: String,
    pub finding: String,
    pub statement: String,
}

/// The verdicts of one look at all databases.
#[derive(Default)]
pub struct Integrity {
    pub checked: usize,
    pub failed: Vec<(String, &'static str, String)>,
}

impl Integrity {
    pub fn json(&self) -> Json {
        let failed: Vec<Json> = self.failed.iter().map(|(n, s, d)| json!({"db_name": n, "status": s, "detail": d})).collect();
        json!({"checked": self.checked, "passed": self.checked - self.failed.len(), "failed": failed})
    }
}

pub struct State {
    pub db: Connection,
    pub hub: Hub,
    pub plan: Plan,
    pub id: String,
    pub dir: PathBuf,
    pub start: String,
    pub items: Vec<Item>,
    pub figures: Figures,
    pub advice: Vec<Advice>,
    pub integrity: [Integrity; 2],
    pub phases: Vec<Json>,
    began: Instant,
    hub_file: Option<PathBuf>,
    /// Nothing after this phase can be done.
    broken: Option<&'static str>,
    log: Option<PathBuf>,
}

impl State {
    pub fn begin(db: Connection, dir: &str, options: &IntegrateOptions) -> Result<State> {
        let began = Instant::now();
        let plan = Plan::read(options)?;
        let dir = Path::new(dir).canonicalize().map_err(|e| Error::from(e).context(format!("\"{dir}\"")))?;
        if !dir.is_dir() {
            return Err(Error::argument(format!("\"{}\" is not a directory", dir.display())));
        }
        let hub = Hub::need(&db)?;
        let hub_file = target::file_of(&db, &hub.schema)?;
        let start = time::now();
        let digits: String = start.chars().filter(char::is_ascii_digit).take(14).collect();
        let (day, hour) = digits.split_at_checked(8).unwrap_or((&digits, ""));
        let random: String = time::new_id().chars().rev().filter(char::is_ascii_hexdigit).take(6).collect();
        let mut run = State {
            id: format!("INTEGRATION-{day}-{hour}-{random}"),
            log: plan.log.then(|| dir.join("logs/integration.log")),
            db,
            hub,
            plan,
            dir,
            start,
            items: vec![],
            figures: Figures::default(),
            advice: vec![],
            integrity: Default::default(),
            phases: vec![],
            began,
            hub_file,
            broken: None,
        };
        run.find()?;
        run.write(
            "INSERT INTO hub.integration_sessions(session_id, start_time, workspace_path, mode, pid) VALUES(?, ?, ?, ?, ?)",
            &[&run.id, &run.start, &run.dir.display().to_string(), &run.plan.mode, &std::process::id()],
        )?;
        if let Some(log) = &run.log {
            settings::set(&run.db, "sync.log_path", &Value::Text(log.with_file_name("synchronization.log").display().to_string()))?;
        }
        run.say(&format!("{} begins: mode {}, {} databases in {}", run.id, run.plan.mode, run.items.len(), run.dir.display()))?;
        Ok(run)
    }

    /// Every file that is a database, or was one.
    fn find(&mut self) -> Result<()> {
        use discover::Status as S;
        let own = self.own_hub()?;
        for f in discover::discover(&self.db, &self.dir, false)? {
            if matches!(f.status, S::Link | S::Vanished) || own.as_ref() == Some(&f.path) {
                continue;
            }
            if f.status == S::NotADatabase || f.status == S::Unreadable {
                let finding = f.detail.clone().unwrap_or_else(|| f.status.word().to_owned());
                self.advise(Severity::Warning, &f.path.display().to_string(), finding, format!("SELECT * FROM discover_databases({})", quoted(&self.dir)));
            }
            if f.status != S::NotADatabase {
                let item = Item { name: f.name(), bytes: f.bytes.total(), path: f.path, status: f.status, registered: false, backup: None };
                self.items.push(item);
            }
        }
        self.rename()?;
        let Some(chosen) = self.plan.chosen.clone() else { return Ok(()) };
        let file = |i: &Item| i.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        for name in &chosen {
            if !self.items.iter().any(|i| i.name == *name || file(i) == *name) {
                let near = did_you_mean(name, self.items.iter().map(|i| i.name.as_str()));
                return Err(Error::not_found(format!("no database \"{name}\" in \"{}\".{near}", self.dir.display())));
            }
        }
        self.items.retain(|i| chosen.contains(&i.name) || chosen.contains(&file(i)));
        Ok(())
    }

    /// The hub's file, where it holds nothing but the hub: it is no member of the fleet.
    fn own_hub(&self) -> Result<Option<PathBuf>> {
        let Some(file) = &self.hub_file else { return Ok(None) };
        let removed: String = self.db.query_row("SELECT dbint_uninstall('{\"dry_run\":true}')", [], |r| r.get(0))?;
        let removed: Json = serde_json::from_str(&removed)?;
        let ours = removed.get("removed").and_then(Json::as_array).map_or(0, Vec::len) as i64;
        let sql = format!(
            "SELECT count(*) FROM {}.sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
            crate::db::ident::quote(&self.hub.schema)
        );
        let all: i64 = self.db.query_row(&sql, [], |r| r.get(0))?;
        Ok(if all <= ours { file.canonicalize().ok() } else { None })
    }

    /// Names as the registry has them.
    pub fn rename(&mut self) -> Result<()> {
        let names: std::collections::HashMap<PathBuf, String> = registry::members(&self.db)?.into_iter().map(|m| (PathBuf::from(m.path), m.name)).collect();
        for item in &mut self.items {
            if let Some(name) = names.get(&item.path) {
                item.name.clone_from(name);
                item.registered = true;
            }
        }
        Ok(())
    }

    /// Steps for work that is done on many databases at once, and the databases of one step.
    pub fn chunks(&self, what: &str) -> Vec<String> {
        let size = self.chunk();
        (0..self.items.len().div_ceil(size)).map(|i| format!("{what} {} of {}", ((i + 1) * size).min(self.items.len()), self.items.len())).collect()
    }

    fn chunk(&self) -> usize {
        (self.items.len() / 20).max(4)
    }

    pub fn range(&self, at: usize) -> std::ops::Range<usize> {
        let size = self.chunk();
        let from = (at * size).min(self.items.len());
        from..(from + size).min(self.items.len())
    }

    /// Looks at the databases of one step; `pass` 0 is at the start, 1 at the end.
    pub fn examine(&mut self, at: usize, pass: usize) -> Result<()> {
        let chosen = self.items.get(self.range(at)).unwrap_or_default();
        let members = chosen.iter().map(|i| Member { id: String::new(), name: i.name.clone(), path: i.path.display().to_string(), bytes: i.bytes }).collect();
        let reports = health::examine_members(&self.db, members, Level::Quick, pass == 1)?;
        for r in &reports {
            let bad = r.failed().find(|c| c.severity >= Severity::Error);
            let broken = r.score.status == Status::Unreachable || bad.is_some();
            if let Some(integrity) = self.integrity.get_mut(pass) {
                integrity.checked += 1;
                if broken {
                    let detail = bad.map(|c| c.detail.clone()).or_else(|| r.error.clone()).unwrap_or_default();
                    integrity.failed.push((r.name.clone(), r.score.status.word(), detail));
                }
            }
            if pass == 1 {
                self.advise_of(r);
            }
        }
        Ok(())
    }

    fn advise_of(&mut self, r: &Report) {
        if r.score.status == Status::Unreachable {
            let why = r.error.clone().unwrap_or_default();
            return self.advise(Severity::Critical, &r.name, why, format!("SELECT db_health({})", literal(&r.name)));
        }
        let file = r.path.as_ref().map_or_else(|| literal(&r.name), |p| quoted(p));
        for c in r.failed().filter(|c| c.severity > Severity::Info) {
            let statement = match c.id {
                "freelist" => format!("SELECT optimize_database({}, 'vacuum')", literal(&r.name)),
                "journal" => format!("SELECT optimize_database({}, 'checkpoint')", literal(&r.name)),
                "size_limit" => format!("SELECT size_check({})", literal(&r.name)),
                _ => format!("SELECT * FROM integrity_report({file}) WHERE NOT passed"),
            };
            self.advise(c.severity, &r.name, format!("{}: {}", c.name, c.detail), statement);
        }
    }

    pub fn advise(&mut self, severity: Severity, name: &str, finding: String, statement: String) {
        self.advice.push(Advice { severity, name: name.to_owned(), finding, statement });
    }

    /// Why a phase is left out; None where it is not.
    pub fn skipped(&self, number: usize) -> Option<&'static str> {
        let p = &self.plan;
        if let Some(why) = self.broken {
            return Some(why);
        }
        match number {
            3 if !p.changes() => Some("nothing will be changed"),
            4 if !p.sync => Some("not part of this mode"),
            5 if !p.optimize => Some("not part of this mode"),
            7 if !p.consistency => Some("not part of this mode"),
            _ => None,
        }
    }

    /// One statement on the hub.
    pub fn write(&self, sql: &str, params: &[&dyn ToSql]) -> Result<usize> {
        self.hub.execute(&self.db, sql, params)
    }

    /// Asks one of our SQL functions and reads its JSON.
    pub fn ask(&self, sql: &str, params: &[&dyn ToSql]) -> Result<Json> {
        let text: String = self.db.query_row(sql, params, |r| r.get(0)).map_err(read_tag)?;
        Ok(serde_json::from_str(&text)?)
    }

    pub fn keep(&mut self, number: usize, outcome: &Outcome, verdict: &Verdict, seconds: f64) -> Result<()> {
        let (name, description, weight) = PHASES.get(number).copied().unwrap_or_default();
        if outcome.status == "FAILED" {
            match number {
                0..=2 => self.broken = Some("an earlier phase failed"),
                3 => (self.plan.sync, self.plan.optimize) = (false, false),
                _ => {}
            }
        }
        let shown = verdict.shown();
        self.write(
            "INSERT INTO hub.integration_phases(session_id, number, phase, weight, status, result, verdict, duration_s) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
            &[&self.id, &(number as i64 + 1), &name, &weight, &outcome.status, &outcome.result, &shown, &seconds],
        )?;
        self.phases.push(json!({"number": number + 1, "phase": name, "description": description, "weight": weight, "status": outcome.status,
                                "result": outcome.result, "second_check": shown, "duration_s": seconds}));
        self.say(&format!("phase {} {name} ({description}): {}: {} {shown}", number + 1, outcome.status, outcome.result))
    }

    fn say(&self, line: &str) -> Result<()> {
        let Some(path) = &self.log else { return Ok(()) };
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).at(dir.display())?;
        }
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).at(path.display())?;
        file.write_all(format!("{} {}\n", time::now(), line.replace(['\n', '\r'], " ")).as_bytes()).at(path.display())
    }

    /// The last row is told: the report is stored.
    pub fn finish(&mut self) -> Result<()> {
        let statuses: Vec<&str> = self.phases.iter().filter_map(|p| p.get("status").and_then(Json::as_str)).collect();
        let disputed = self.phases.iter().any(|p| p.get("second_check").and_then(Json::as_str).is_some_and(|v| v.starts_with("DISPUTED")));
        let status = if statuses.contains(&"FAILED") {
            "FAILED"
        } else if statuses.contains(&"FINDINGS") || disputed {
            "FINDINGS"
        } else {
            "COMPLETED"
        };
        self.close(status)
    }

    fn close(&self, status: &str) -> Result<()> {
        let end = time::now();
        let report = self.figures.report(self, status, Some(&end), self.began.elapsed().as_secs_f64());
        let sql = "UPDATE hub.integration_sessions SET end_time = ?2, status = ?3, report = ?4 WHERE session_id = ?1";
        self.write(sql, &[&self.id, &end, &status, &report.to_string()])?;
        self.say(&format!("{} ends: {status}", self.id))
    }

    /// Ended before its time. After Ctrl-C the host's connection refuses every statement until its own has ended, and
    /// holds a lock until then: a thread with a connection of its own tells afterwards.
    pub fn stopped(&self, status: &str) {
        if self.close(status).is_ok() || !threads_allowed() {
            return;
        }
        let Some(file) = self.hub_file.clone() else { return };
        let end = time::now();
        let report = self.figures.report(self, status, Some(&end), self.began.elapsed().as_secs_f64()).to_string();
        let hub = Hub { schema: "main".into(), prefix: self.hub.prefix.clone() };
        let (id, status) = (self.id.clone(), status.to_owned());
        let told = std::thread::Builder::new().name("dbint-stopped".into()).spawn(move || {
            let sql = hub.sql("UPDATE hub.integration_sessions SET end_time = ?2, status = ?3, report = ?4 WHERE session_id = ?1 AND status = 'RUNNING'");
            for _ in 0..5 {
                let done = open::open(&file, open::Mode::Write).and_then(|own| Ok(own.execute(&sql, [&id, &end, &status, &report])?));
                if done.is_ok() {
                    break;
                }
            }
        });
        // Without it the run shows as RUNNING until the next one settles it.
        drop(told);
    }
}

/// The kind of an error that came through SQL stands in its text only.
fn read_tag(e: rusqlite::Error) -> Error {
    let mut e = Error::from(e);
    if e.message.contains("[DBINT_INTERRUPTED]") {
        e.kind = Kind::Interrupted;
    }
    if let Some((text, _)) = e.message.rsplit_once(" [DBINT_") {
        e.message = text.to_owned();
    }
    e
}

pub fn literal(text: &str) -> String {
    crate::db::ident::literal(text)
}

pub fn quoted(path: &Path) -> String {
    literal(&path.display().to_string())
}
