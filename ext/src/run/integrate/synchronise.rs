//! Phase 5: the mappings are carried out; what the sync log holds afterwards is the result.
use super::{
    Phase, setup,
    state::{Outcome, State, Verdict, literal},
};
use crate::error::{Kind, Result};
use crate::health::Severity;
use crate::run::agreement::{Compared, Mapping, compare};
use serde_json::{Value as Json, json};

#[derive(Default)]
pub struct Synchronise {
    mappings: Vec<Mapping>,
    failed: Vec<String>,
    seconds: f64,
    before: i64,
}

impl Phase for Synchronise {
    fn steps(&mut self, run: &mut State) -> Result<Vec<String>> {
        self.mappings = setup::mappings(run)?;
        self.before = run.db.query_row(&run.hub.sql("SELECT coalesce(max(rowid), 0) FROM hub.cross_db_sync_log"), [], |r| r.get(0))?;
        Ok(self.mappings.iter().map(|m| format!("{} to {}", m.source, m.target)).collect())
    }

    fn step(&mut self, run: &mut State, at: usize) -> Result<()> {
        let Some(m) = self.mappings.get(at) else { return Ok(()) };
        let target = run.items.iter().find(|i| i.name == m.target);
        if run.plan.backup && target.is_some_and(|t| t.backup.is_none()) {
            self.failed.push(format!("{} to {}: the target has no backup", m.source, m.target));
            return Ok(());
        }
        match run.ask("SELECT sync_all(?)", &[&json!({"mapping": m.id, "backup": false}).to_string()]) {
            Ok(done) => self.count(run, &done),
            Err(e) if e.kind == Kind::Interrupted => return Err(e),
            Err(e) => self.failed.push(format!("{} to {}: {}", m.source, m.target, e.message)),
        }
        Ok(())
    }

    fn close(&mut self, run: &mut State) -> Result<Outcome> {
        let f = &mut run.figures;
        f.sync_seconds = (f.synced > 0).then(|| self.seconds / f.synced as f64);
        let text = format!("{} mappings: {} of {} syncs succeeded, {} rows", self.mappings.len(), f.synced, f.syncs, f.sync_records);
        let failed = f.sync_failed > 0 || !self.failed.is_empty();
        for why in &self.failed {
            run.advise(Severity::Error, "", format!("sync failed: {why}"), "SELECT * FROM sync_due".into());
        }
        let said = if self.failed.is_empty() { String::new() } else { format!("; {}", self.failed.join("; ")) };
        Ok(Outcome::new(failed, text + &said))
    }

    /// Content of both sides, row by row, by checksums that know nothing of the sync. An incremental target may hold more.
    fn second(&mut self, run: &mut State) -> Result<Verdict> {
        let (mut equal, mut larger, mut wrong) = (0, 0, vec![]);
        for m in &self.mappings {
            for (table, verdict) in compare(&run.db, m)? {
                match verdict {
                    Compared::Equal => equal += 1,
                    Compared::Larger => larger += 1,
                    Compared::Different => {
                        let statement = format!("SELECT * FROM sync_diff({}, {})", literal(&table), literal(&m.target));
                        run.advise(Severity::Error, &m.target, format!("table {table} differs from {} after the sync", m.source), statement);
                        wrong.push(format!("{}.{table}", m.target));
                    }
                }
            }
        }
        let sql = "SELECT count(*) FROM hub.cross_db_sync_log WHERE rowid > ? AND sync_status = 'SUCCESS'";
        let logged: i64 = run.db.query_row(&run.hub.sql(sql), [self.before], |r| r.get(0))?;
        if logged != run.figures.synced {
            wrong.push(format!("the sync log with its {logged} successes"));
        }
        let said = if larger > 0 { format!(", {larger} targets hold more rows than their source") } else { String::new() };
        let text = format!("{equal} tables equal by checksum{said}");
        Ok(if wrong.is_empty() { Verdict::of(true, text) } else { Verdict::disputed(format!("{text}; different: {}", wrong.join(", "))) })
    }
}

impl Synchronise {
    /// By the receipts, a table each.
    fn count(&mut self, run: &mut State, done: &Json) {
        for r in done.get("results").and_then(Json::as_array).map_or(&[][..], Vec::as_slice) {
            let text = |k: &str| r.get(k).and_then(Json::as_str).unwrap_or_default();
            let number = |k: &str| r.get(k).and_then(Json::as_i64).unwrap_or(0);
            run.figures.syncs += 1;
            if text("status") == "SUCCESS" {
                run.figures.synced += 1;
                run.figures.sync_records += number("inserted") + number("updated") + number("deleted");
                self.seconds += r.get("duration_s").and_then(Json::as_f64).unwrap_or(0.0);
            } else {
                run.figures.sync_failed += 1;
                self.failed.push(format!("{} of {} to {}: {}", text("table"), text("source"), text("target"), text("error")));
            }
        }
    }
}
