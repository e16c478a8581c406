//! Phase 6: every database that was backed up is optimised, and its response is measured before and after.
use super::{
    Phase,
    state::{Outcome, State, Verdict, literal},
};
use crate::error::{Kind, Result};
use crate::health::Severity;
use crate::run::{measure, metrics::Group};
use serde_json::Value as Json;
use std::{path::Path, time::Instant};

#[derive(Default)]
pub struct Optimise {
    chosen: Vec<usize>,
    failed: Vec<String>,
    before_s: f64,
    after_s: f64,
    bytes_before: u64,
    bytes_after: u64,
    rows_before: Vec<i64>,
}

impl Phase for Optimise {
    fn steps(&mut self, run: &mut State) -> Result<Vec<String>> {
        let may = |i: &super::state::Item| i.is_readable() && i.bytes > 0 && (i.backup.is_some() || !run.plan.backup);
        self.chosen = run.items.iter().enumerate().filter(|(_, i)| may(i)).map(|(n, _)| n).collect();
        Ok(self.chosen.iter().filter_map(|n| run.items.get(*n)).map(|i| i.name.clone()).collect())
    }

    fn step(&mut self, run: &mut State, at: usize) -> Result<()> {
        let Some(item) = self.chosen.get(at).and_then(|n| run.items.get(*n)) else { return Ok(()) };
        let (name, path) = (item.name.clone(), item.path.clone());
        let (bytes, probe) = (measure::storage(&path), probe(&path));
        self.rows_before.push(rows(&path).unwrap_or(-1));
        let began = Instant::now();
        match run.ask("SELECT optimize_database(?)", &[&path.display().to_string()]) {
            Ok(done) => {
                run.figures.optimize_seconds += began.elapsed().as_secs_f64();
                self.count(run, &done);
                if let (Some(before), Some(after)) = (probe, self::probe(&path)) {
                    self.before_s += before;
                    self.after_s += after;
                }
                self.bytes_before += bytes;
                self.bytes_after += measure::storage(&path);
            }
            Err(e) if e.kind == Kind::Interrupted => return Err(e),
            Err(e) => {
                self.failed.push(format!("{name} ({})", e.message));
                run.advise(Severity::Warning, &name, format!("not optimised: {}", e.message), format!("SELECT optimize_database({})", literal(&name)));
            }
        }
        Ok(())
    }

    fn close(&mut self, run: &mut State) -> Result<Outcome> {
        let f = &mut run.figures;
        if self.before_s > 0.0 {
            f.improvement = Some((self.before_s - self.after_s) / self.before_s * 100.0);
        }
        let failed = if self.failed.is_empty() { String::new() } else { format!("; not done: {}", self.failed.join(", ")) };
        Ok(Outcome::new(
            !self.failed.is_empty(),
            format!(
                "{} databases: {} vacuumed, {} analysed, {} reindexed; {:.3} MB before, {:.3} MB after{failed}",
                self.chosen.len() - self.failed.len(),
                f.vacuums,
                f.analyzes,
                f.reindexes,
                self.bytes_before as f64 / 1e6,
                self.bytes_after as f64 / 1e6
            ),
        ))
    }

    /// No row was lost: counted on connections of their own.
    fn second(&mut self, run: &mut State) -> Result<Verdict> {
        let mut wrong = vec![];
        let hub = crate::hub::target::file_of(&run.db, &run.hub.schema)?.and_then(|f| f.canonicalize().ok());
        let mut counted = 0;
        for (n, before) in self.chosen.iter().zip(&self.rows_before) {
            let Some(item) = run.items.get(*n).filter(|i| Some(&i.path) != hub.as_ref()) else { continue };
            counted += 1;
            if rows(&item.path).unwrap_or(-1) != *before {
                wrong.push(item.name.clone());
            }
        }
        let text = format!("{counted} databases have the rows they had");
        Ok(if wrong.is_empty() { Verdict::of(true, text) } else { Verdict::disputed(format!("rows changed meanwhile in {}", wrong.join(", "))) })
    }
}

impl Optimise {
    /// What was done, by the words of the receipt.
    fn count(&self, run: &mut State, done: &Json) {
        let operations = done.get("operations").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        for operation in operations {
            let word = operation.get("operation").and_then(Json::as_str).or_else(|| operation.as_str()).unwrap_or_default();
            let made = operation.get("status").and_then(Json::as_str).is_none_or(|s| s == "SUCCESS" || s == "DONE");
            let figure = match word {
                "vacuum" => &mut run.figures.vacuums,
                "analyze" => &mut run.figures.analyzes,
                "reindex" => &mut run.figures.reindexes,
                _ => continue,
            };
            *figure += i64::from(made);
        }
    }
}

/// Seconds of one probe of the database.
fn probe(path: &Path) -> Option<f64> {
    let read = measure::file(path, &[Group::Performance], None);
    read.iter().find(|r| r.metric == "query_time").and_then(|r| r.value.as_ref().ok().copied())
}

fn rows(path: &Path) -> Result<i64> {
    let db = super::setup::reader(path)?;
    Ok(crate::hub::discover::counts(&db, "main")?.rows)
}
