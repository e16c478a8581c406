//! The figures of one run, and its report in three forms.
use super::state::State;
use crate::db::time;
use crate::error::{Error, Result};
use crate::hub::Hub;
use crate::{kit::*, options};
use rusqlite::{Connection, OptionalExtension, types::Value};
use serde_json::{Value as Json, json};

options! {
    pub struct ReportOptions {
        /// json (default), markdown or html.
        format: String,
    }
}

pub const REPORT: Function = Function {
    name: "integration_report",
    args: &[opt("session", "session_id of integration_sessions; default: the last run"), options(ReportOptions::KEYS)],
    returns: "json {integration_session, database_discovery, integration_results, performance_optimization, consistency_validation, recommendations[], run}; or Markdown, or HTML",
    access: Access::Reads,
    summary: "The report of a run: only figures that were measured in it, and for each finding the statement that follows it up.",
    example: "SELECT count(*) FROM integrate('.', '{\"mode\":\"validate\"}'); SELECT json_extract(integration_report(), '$.database_discovery.databases_found');",
    run: |call| {
        let o: ReportOptions = call.options()?;
        let format = one_of("format", o.format.as_deref().unwrap_or("json"), &["json", "markdown", "html"])?;
        let report = stored(call.db, call.opt_text("session"))?;
        Ok(Value::Text(match format {
            "markdown" => super::super::report_page::markdown(&report),
            "html" => super::super::report_page::html(&report),
            _ => report.to_string(),
        }))
    },
};

fn stored(db: &Connection, session: Option<&str>) -> Result<Json> {
    let none = || Error::not_found(session.map_or("no run is recorded".into(), |s| format!("no run \"{s}\""))).hint("SELECT * FROM integrate('dir') makes one");
    let hub = Hub::find(db)?.ok_or_else(none)?;
    let sql = "SELECT session_id, start_time, workspace_path, mode, report FROM hub.integration_sessions \
               WHERE ?1 IS NULL OR session_id = ?1 ORDER BY start_time DESC, rowid DESC LIMIT 1";
    type Row = (String, String, String, String, Option<String>);
    let row: Option<Row> = db.prepare(&hub.sql(sql))?.query_row([session], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?))).optional()?;
    let (id, start, workspace, mode, report) = row.ok_or_else(none)?;
    match report {
        Some(text) => Ok(serde_json::from_str(&text)?),
        // Running, or ended by force: what is known is told, nothing is made up.
        None => Ok(
            json!({"integration_session": {"session_id": id, "start_time": iso(&start), "end_time": null, "duration_seconds": null, "workspace_path": workspace},
                          "run": {"status": "RUNNING", "mode": mode}}),
        ),
    }
}

/// Stored times show a `T` in JSON.
pub fn iso(stored: &str) -> String {
    stored.replacen(' ', "T", 1)
}

#[derive(Default)]
pub struct Figures {
    pub databases: usize,
    pub bytes: u64,
    pub tables: i64,
    pub records: i64,
    pub syncs: i64,
    pub synced: i64,
    pub sync_failed: i64,
    pub sync_seconds: Option<f64>,
    pub sync_records: i64,
    pub vacuums: i64,
    pub analyzes: i64,
    pub reindexes: i64,
    /// Percent by which the probes of the databases became faster; None where nothing was optimised.
    pub improvement: Option<f64>,
    pub optimize_seconds: f64,
    pub checks: i64,
    pub passed: i64,
    pub critical: i64,
}

fn round(value: f64, digits: i32) -> f64 {
    let by = 10f64.powi(digits);
    (value * by).round() / by
}

fn percent(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| round(part as f64 / whole as f64 * 100.0, 1))
}

impl Figures {
    pub fn report(&self, run: &State, status: &str, end: Option<&str>, seconds: f64) -> Json {
        let mut advice: Vec<_> = run.advice.iter().collect();
        advice.sort_by_key(|a| std::cmp::Reverse(a.severity));
        let advice: Vec<Json> =
            advice.into_iter().map(|a| json!({"severity": a.severity.word(), "db_name": a.name, "finding": a.finding, "statement": a.statement})).collect();
        let [first, last] = &run.integrity;
        let (first, last) = (first.json(), last.json());
        json!({
            "integration_session": {
                "session_id": run.id, "start_time": iso(&run.start), "end_time": end.map(iso), "duration_seconds": round(seconds, 3),
                "workspace_path": run.dir.display().to_string(),
            },
            "database_discovery": {
                "databases_found": self.databases, "total_size_mb": round(self.bytes as f64 / 1e6, 3), "total_tables": self.tables, "total_records": self.records,
            },
            "integration_results": {
                "sync_operations": self.syncs, "successful_syncs": self.synced, "failed_syncs": self.sync_failed,
                "sync_success_rate": percent(self.synced, self.syncs), "avg_sync_duration": self.sync_seconds.map(|s| round(s, 6)),
                "total_records_synced": self.sync_records,
            },
            "performance_optimization": {
                "vacuum_operations": self.vacuums, "analyze_operations": self.analyzes, "reindex_operations": self.reindexes,
                "performance_improvement": self.improvement.map(|p| round(p, 1)), "optimization_time": round(self.optimize_seconds, 3),
            },
            "consistency_validation": {
                "consistency_checks": self.checks, "checks_passed": self.passed, "checks_failed": self.checks - self.passed,
                "consistency_score": percent(self.passed, self.checks), "critical_issues": self.critical,
            },
            "recommendations": advice,
            "run": {"status": status, "mode": run.plan.mode, "phases": run.phases, "integrity_at_start": first, "integrity_at_end": last, "written_at": iso(&time::now())},
        })
    }
}
