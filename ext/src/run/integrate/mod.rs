//! The whole run over a folder of databases: nine phases, each confirmed by a second, independent check.
//!
//! Rows are made while they are read, so that a shell can show progress and stop between two steps. The run changes
//! databases in two phases only (synchronisation, optimisation), and only those it has backed up.
mod consistency;
mod discovery;
mod figures;
mod optimise;
mod schema;
mod setup;
mod start;
mod state;
mod synchronise;
mod views;
mod watch;

use crate::error::{Error, Kind, Result};
use crate::{kit::*, options};
use rusqlite::types::Value;
use state::{Outcome, State, Verdict};
use std::time::Instant;

pub use figures::REPORT;

options! {
    pub struct IntegrateOptions {
        /// all (default), sync, optimize or validate; validate changes no database but the hub.
        mode: String,
        /// Only these databases: names or file names, separated by commas.
        databases: String,
        /// Whether to optimise, whatever the mode says.
        optimize: bool,
        /// Whether to validate consistency, whatever the mode says.
        consistency: bool,
        /// Whether to set up monitoring, whatever the mode says.
        monitoring: bool,
        /// Whether to back up before a change; default true.
        backup: bool,
        /// The folder of the backups; default: the setting backup.path, else a folder beside the workspace.
        backup_path: String,
        /// A row for each step, too.
        steps: bool,
        /// Write logs/integration.log and logs/synchronization.log in the workspace; default false.
        log: bool,
    }
}

pub const INTEGRATE: Table = Table {
    name: "integrate",
    args: &[req("dir", "the folder of the databases"), options(IntegrateOptions::KEYS)],
    columns: &[
        col("number", "INTEGER"),
        col("phase", "TEXT"),
        col("description", "TEXT"),
        col("weight", "INTEGER"),
        col("status", "TEXT"),
        col("progress", "REAL"),
        col("result", "TEXT"),
        col("verdict", "TEXT"),
        col("duration_s", "REAL"),
        col("session_id", "TEXT"),
    ],
    access: Access::Outside,
    summary: "The whole run over a folder: finds, checks, backs up, synchronises, optimises and validates its databases; a row a phase, each confirmed by a second check.",
    example: "SELECT phase, weight, status FROM integrate('.', '{\"mode\":\"validate\"}');",
    rows: |call| Ok(Box::new(Runner::begin(call)?)),
};

/// One of the nine.
pub trait Phase {
    /// What is to be done, a line a step.
    fn steps(&mut self, run: &mut State) -> Result<Vec<String>>;
    fn step(&mut self, run: &mut State, at: usize) -> Result<()>;
    fn close(&mut self, run: &mut State) -> Result<Outcome>;
    /// The same result, found in another way.
    fn second(&mut self, run: &mut State) -> Result<Verdict>;
}

/// Name, description, weight in percent of the whole.
type Title = (&'static str, &'static str, u32);
pub const PHASES: [Title; 9] = [
    ("Initialization", "Install the hub, find the files, check the integrity of each", 5),
    ("Database Discovery", "Register every database and count its tables and rows", 15),
    ("Schema Analysis", "Read every schema and compare tables of the same name", 15),
    ("Integration Setup", "Check the mappings and back up what will change", 10),
    ("Data Synchronization", "Carry out every enabled mapping", 20),
    ("Performance Optimization", "Optimise every database, with figures before and after", 15),
    ("View Creation", "Make the views of the fleet and run each", 5),
    ("Consistency Validation", "Check every row reference and index, and both sides of each mapping", 10),
    ("Monitoring Setup", "Take the first measurements, evaluate the alert rules, check integrity again", 5),
];

fn phase(number: usize) -> Box<dyn Phase> {
    match number {
        0 => Box::new(start::Start),
        1 => Box::new(discovery::Discovery::default()),
        2 => Box::new(schema::Schemas::default()),
        3 => Box::new(setup::Setup::default()),
        4 => Box::new(synchronise::Synchronise::default()),
        5 => Box::new(optimise::Optimise::default()),
        6 => Box::new(views::Views::default()),
        7 => Box::new(consistency::Consistency::default()),
        _ => Box::new(watch::Watch::default()),
    }
}

struct Runner {
    run: State,
    number: usize,
    current: Option<Current>,
    over: bool,
    steps: bool,
}

struct Current {
    phase: Box<dyn Phase>,
    steps: Vec<String>,
    at: usize,
    began: Instant,
}

impl Runner {
    fn begin(call: &Call<'_>) -> Result<Runner> {
        let options: IntegrateOptions = call.options()?;
        if !call.db.is_autocommit() {
            return Err(Error::new(Kind::InTransaction, "a run cannot be part of a transaction").hint("COMMIT or ROLLBACK first"));
        }
        let steps = options.steps.unwrap_or(false);
        let run = State::begin(call.lasting()?, call.text("dir")?, &options)?;
        Ok(Runner { run, number: 0, current: None, over: false, steps })
    }

    /// Percent of the whole run that is done.
    fn progress(&self) -> f64 {
        let weights = PHASES.iter().map(|p| f64::from(p.2));
        let done: f64 = weights.clone().take(self.number).sum();
        let part = self.current.as_ref().map_or(0.0, |c| c.at as f64 / (c.steps.len().max(1) + 1) as f64);
        done + part * weights.clone().nth(self.number).unwrap_or(0.0)
    }

    fn row(&self, number: usize, status: &str, result: &str, verdict: &str, seconds: Option<f64>) -> Vec<Value> {
        let (name, description, weight) = PHASES.get(number).copied().unwrap_or_default();
        let text = |t: &str| if t.is_empty() { Value::Null } else { Value::Text(t.to_owned()) };
        vec![
            Value::Integer(number as i64 + 1),
            text(name),
            text(description),
            Value::Integer(i64::from(weight)),
            text(status),
            Value::Real((self.progress() * 10.0).round() / 10.0),
            text(result),
            text(verdict),
            seconds.map_or(Value::Null, Value::Real),
            text(&self.run.id),
        ]
    }

    /// The next row; None at the end.
    fn advance(&mut self) -> Result<Option<Vec<Value>>> {
        loop {
            let Some(current) = &mut self.current else {
                if self.number == PHASES.len() {
                    self.over = true;
                    self.run.finish()?;
                    return Ok(None);
                }
                let began = Instant::now();
                if let Some(why) = self.run.skipped(self.number) {
                    return self.done(Outcome::skipped(why), Verdict::none(), began).map(Some);
                }
                let mut phase = phase(self.number);
                match phase.steps(&mut self.run) {
                    Ok(steps) => self.current = Some(Current { phase, steps, at: 0, began }),
                    Err(e) if e.kind == Kind::Interrupted => return Err(e),
                    Err(e) => return self.done(Outcome::failed(&e), Verdict::none(), began).map(Some),
                }
                continue;
            };
            if let Some(label) = current.steps.get(current.at).cloned() {
                let made = current.phase.step(&mut self.run, current.at);
                current.at += 1;
                let began = current.began;
                match made {
                    Ok(()) if self.steps => return Ok(Some(self.row(self.number, "STEP", &label, "", None))),
                    Ok(()) => continue,
                    Err(e) if e.kind == Kind::Interrupted => return Err(e),
                    Err(e) => return self.done(Outcome::failed(&e), Verdict::none(), began).map(Some),
                }
            }
            let began = current.began;
            let closed = current.phase.close(&mut self.run);
            let (outcome, verdict) = match closed {
                Ok(outcome) => match current.phase.second(&mut self.run) {
                    Ok(verdict) => (outcome, verdict),
                    Err(e) if e.kind == Kind::Interrupted => return Err(e),
                    Err(e) => (outcome, Verdict::disputed(format!("the second check failed: {}", e.message))),
                },
                Err(e) if e.kind == Kind::Interrupted => return Err(e),
                Err(e) => (Outcome::failed(&e), Verdict::none()),
            };
            return self.done(outcome, verdict, began).map(Some);
        }
    }

    fn done(&mut self, outcome: Outcome, verdict: Verdict, began: Instant) -> Result<Vec<Value>> {
        let seconds = (began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        self.run.keep(self.number, &outcome, &verdict, seconds)?;
        let number = self.number;
        self.number += 1;
        self.current = None;
        Ok(self.row(number, outcome.status, &outcome.result, &verdict.shown(), Some(seconds)))
    }
}

impl Iterator for Runner {
    type Item = Result<Vec<Value>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let made = self.advance();
        if let Err(e) = &made {
            self.over = true;
            self.run.stopped(if e.kind == Kind::Interrupted { "INTERRUPTED" } else { "FAILED" });
        }
        made.transpose()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // The reader went away before the end.
        if !self.over {
            self.run.stopped("INTERRUPTED");
        }
    }
}
