//! Phase 9: the first measurements, the alert rules, and a last look at the integrity of every database.
use super::{
    Phase,
    state::{Outcome, State, Verdict, literal},
};
use crate::error::Result;
use crate::health::Severity;
use crate::run::{alerts, collect, deliver, host::Machine, metrics::Group, record};

#[derive(Default)]
pub struct Watch {
    measured: usize,
    samples: i64,
    before: i64,
    looked: usize,
    opened: usize,
    machine: Option<Machine>,
}

impl Phase for Watch {
    fn steps(&mut self, run: &mut State) -> Result<Vec<String>> {
        self.before = run.db.query_row(&run.hub.sql("SELECT coalesce(max(rowid), 0) FROM hub.performance_metrics"), [], |r| r.get(0))?;
        let mut steps = run.chunks("integrity");
        self.looked = steps.len();
        if run.plan.monitoring {
            let fleet: Vec<String> = run.items.iter().filter(|i| i.registered).map(|i| format!("metrics of {}", i.name)).collect();
            self.measured = fleet.len();
            // Many small databases are measured by the monitor soon enough.
            steps.extend(fleet.into_iter().take(MOST));
            self.measured = self.measured.min(MOST);
        }
        Ok(steps)
    }

    fn step(&mut self, run: &mut State, at: usize) -> Result<()> {
        if at < self.looked {
            return run.examine(at, 1);
        }
        let Some(item) = run.items.iter().filter(|i| i.registered).nth(at - self.looked) else { return Ok(()) };
        // The machine is looked at once for all.
        let machine = self.machine.get_or_insert_with(Machine::look);
        let now = crate::db::time::now();
        let read = collect::of_file(&run.db, &run.hub, &item.name, &item.path, &Group::ALL, Some(machine), &now)?;
        record::write(&run.db, &run.hub, |db, hub| record::readings(db, hub, &item.name, &read, &now))?;
        self.samples += read.iter().filter(|r| r.value.is_ok()).count() as i64;
        Ok(())
    }

    fn close(&mut self, run: &mut State) -> Result<Outcome> {
        let [_, last] = &run.integrity;
        let (checked, bad) = (last.checked, last.failed.len());
        let mut text = format!("{} of {checked} databases sound at the end", checked - bad);
        if run.plan.monitoring {
            let channels = deliver::channels(&run.db)?;
            let done = alerts::evaluate(&run.db, &run.hub, &channels, &crate::db::time::now())?;
            deliver::send(&run.db, &run.hub, &channels)?;
            self.opened = done.opened.len();
            text += &format!(
                "; {} figures of {} databases, {} alert rules, {} alerts opened, {} active",
                self.samples, self.measured, done.rules, self.opened, done.active
            );
            if self.opened > 0 {
                run.advise(Severity::Warning, "", format!("{} alerts were opened", self.opened), "SELECT * FROM active_alerts".into());
            }
        } else {
            text += "; monitoring is not part of this mode";
        }
        Ok(Outcome::new(bad > 0 || self.opened > 0, text))
    }

    /// What the start of the run saw, and what the hub holds.
    fn second(&mut self, run: &mut State) -> Result<Verdict> {
        let [first, last] = &run.integrity;
        let worse: Vec<String> = last.failed.iter().filter(|(n, ..)| !first.failed.iter().any(|(m, ..)| m == n)).map(|(n, ..)| literal(n)).collect();
        let sql = "SELECT count(*) FROM hub.performance_metrics WHERE rowid > ? AND metric_value IS NOT NULL";
        let stored: i64 = run.db.query_row(&run.hub.sql(sql), [self.before], |r| r.get(0))?;
        let text = format!(
            "{} sound at the start, {} at the end; {stored} new figures in the hub",
            first.checked - first.failed.len(),
            last.checked - last.failed.len()
        );
        if stored < self.samples {
            return Ok(Verdict::disputed(format!("{text}, though {} were measured", self.samples)));
        }
        Ok(if worse.is_empty() { Verdict::of(true, text) } else { Verdict::disputed(format!("{text}; sound before: {}", worse.join(", "))) })
    }
}

/// Databases measured by the run itself.
const MOST: usize = 200;
