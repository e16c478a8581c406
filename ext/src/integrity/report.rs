//! Runs the checks on one database.
use super::{
    ReportOptions,
    checks::{self, Check, Reads},
    finding::Findings,
    subject::Subject,
};
use crate::error::{Error, Kind, Result, did_you_mean};
use crate::kit::one_of;
use rusqlite::Connection;
use std::time::Instant;

pub struct Report {
    pub name: String,
    pub results: Vec<Outcome>,
}

/// What one check said.
pub struct Outcome {
    pub check: &'static Check,
    pub findings: Findings,
    /// Why it could not be carried out.
    pub unknown: Option<String>,
    pub ms: f64,
}

impl Report {
    pub fn of(host: &Connection, db: Option<&str>, o: &ReportOptions) -> Result<Report> {
        let quick = one_of("level", o.level.as_deref().unwrap_or("full"), &["quick", "full"])? == "quick";
        let limit = o.limit.unwrap_or(20) as usize;
        let wanted = wanted(host, o.checks.as_deref())?;
        let subject = Subject::open(host, db)?;
        let mut results = vec![];
        for check in wanted {
            // What a quick look leaves out, and what nobody can look at in a file that does not open, has no row.
            if (quick && check.reads == Reads::Rows) || (check.reads != Reads::File && !subject.is_open()) {
                continue;
            }
            let begun = Instant::now();
            let mut findings = Findings::new(limit);
            let unknown = match (check.run)(&subject, &mut findings) {
                Ok(()) => None,
                Err(e) if e.kind == Kind::Interrupted => return Err(e),
                Err(e) => Some(e.message),
            };
            results.push(Outcome { check, findings, unknown, ms: (begun.elapsed().as_secs_f64() * 1e6).round() / 1e3 });
        }
        Ok(Report { name: subject.name.clone(), results })
    }
}

/// The checks named by a list of names, ids and patterns; all where there is none.
fn wanted(host: &Connection, list: Option<&str>) -> Result<Vec<&'static Check>> {
    let Some(list) = list else { return Ok(checks::all().collect()) };
    let mut chosen: Vec<&'static Check> = vec![];
    for pattern in list.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let mut glob = host.prepare("SELECT lower(?1) GLOB lower(?2)")?;
        let before = chosen.len();
        for c in checks::all() {
            if (glob.query_row([c.name, pattern], |r| r.get(0))? || c.id.eq_ignore_ascii_case(pattern)) && !chosen.iter().any(|k| k.id == c.id) {
                chosen.push(c);
            }
        }
        if chosen.len() == before && !checks::all().any(|c| c.name.eq_ignore_ascii_case(pattern) || c.id.eq_ignore_ascii_case(pattern)) {
            let near = did_you_mean(pattern, checks::all().map(|c| c.name));
            return Err(Error::argument(format!("no check \"{pattern}\".{near}")).hint("integrity_checks lists them"));
        }
    }
    chosen.sort_by_key(|c| checks::all().position(|k| k.id == c.id));
    Ok(chosen)
}
