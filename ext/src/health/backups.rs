//! How old the last backup is that was restored and compared: told beside the checks, never counted.
use super::check::{Kind, Severity};
use super::examine::Report;
use crate::error::Result;
use crate::hub::Hub;
use rusqlite::Connection;
use std::collections::HashMap;

const PROVEN: Kind = Kind { id: "proven_backup", name: "Proven backup", severity: Severity::Info, weight: 0.0, evidence: "SELECT * FROM backup_status" };

/// A backup that is due may wait for the next run: twice the policy's shortest interval is late.
const LATE: f64 = 2.0;

/// Where the hub knows backups of a database, or has a policy for it.
pub fn tell(host: &Connection, reports: &mut [Report]) -> Result<()> {
    let Some(hub) = Hub::find(host)? else { return Ok(()) };
    let sql = "SELECT db_name, (julianday('now') - julianday(max(CASE WHEN proven_at IS NOT NULL THEN created_at END))) * 86400 FROM hub.backup_catalog GROUP BY db_name";
    let ages: HashMap<String, Option<f64>> = host.prepare(&hub.sql(sql))?.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    let sql = "SELECT db_name, min(coalesce(nullif(full_s, 0), 9e15), coalesce(nullif(differential_s, 0), 9e15), coalesce(nullif(incremental_s, 0), 9e15)) \
               FROM hub.backup_policies WHERE enabled";
    let every: HashMap<String, f64> = host.prepare(&hub.sql(sql))?.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    for report in reports {
        let (age, every) = (ages.get(&report.name), every.get(&report.name).or_else(|| every.get("*")));
        if age.is_none() && every.is_none() {
            continue;
        }
        let remedy = "SELECT run_backups() or backup_database()";
        report.checks.push(match age.copied().flatten() {
            None => PROVEN.failed("main", 0.0, "no backup of it was restored and compared yet", remedy),
            Some(age) if every.is_some_and(|e| age > LATE * e) => PROVEN.failed("main", 0.0, format!("the last proven backup is {}", shown(age)), remedy),
            Some(age) => PROVEN.passed("main", format!("the last proven backup is {}", shown(age))),
        });
    }
    Ok(())
}

fn shown(seconds: f64) -> String {
    match seconds.max(0.0) {
        s if s < 5400.0 => format!("{:.0} minutes old", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} hours old", s / 3600.0),
        s => format!("{:.1} days old", s / 86_400.0),
    }
}
