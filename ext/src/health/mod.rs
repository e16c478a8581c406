//! Is this database in good shape?
mod backups;
mod check;
mod examine;
mod fleet;
mod indexes;
mod record;
mod references;

use crate::hub::{Hub, Target, limits, target::Place};
use crate::{kit::*, options};
use check::rounded;
pub use check::{Severity, Status};
pub use examine::{Level, Report};
pub use fleet::members as examine_members;
use rusqlite::{Connection, types::Value};

options! {
    struct HealthOptions {
        /// `header` reads the first 100 bytes and looks at the files beside it, `quick` (default) opens the database and checks its structure, keys and indexes, `deep` reads every page and index entry.
        level: String,
        /// Whether the result goes into health_history, database_registry and integration_status. Default true; nothing is kept where there is no hub.
        record: bool,
    }
}

pub const ROOM: Room = Room {
    name: "health",
    summary: "Is this database in good shape?",
    functions: &[
        Function {
            name: "db_health",
            args: &[database(), options(HealthOptions::KEYS)],
            returns: "json {db_name, db_path, status, score, integrity, performance, level, size_bytes, response_time_ms, duration_ms, error, formula, checks[{id, name, passed, severity, weight, deduction, detail, evidence, remedy}]}",
            access: Access::Outside,
            summary: "Checks one database: status HEALTHY, WARNING, CRITICAL or UNREACHABLE, a score of 0 to 100, and for each check its evidence and remedy.",
            example: "SELECT json_extract(db_health('analytics'), '$.status');",
            run: |call| {
                let o: HealthOptions = call.options()?;
                let mut report = one(call.db, call.opt_text("db"), Level::of(o.level.as_deref())?)?;
                backups::tell(call.db, std::slice::from_mut(&mut report))?;
                if o.record.unwrap_or(true)
                    && let Some(hub) = Hub::find(call.db)?
                {
                    record::keep(call.db, &hub, std::slice::from_ref(&report))?;
                }
                Ok(Value::Text(report.json().to_string()))
            },
        },
        Function {
            name: "fleet_status",
            args: &[options(HealthOptions::KEYS)],
            returns: "json {overall_status, health_score, timestamp, detailed_status, databases{NAME{status, score, response_time_ms, connection_test, error, timestamp}}, active_alerts, recommendations}",
            access: Access::Outside,
            summary: "The state of the whole fleet in one object: healthy, or degraded where a member is CRITICAL or UNREACHABLE.",
            example: "SELECT json_extract(fleet_status(), '$.overall_status');",
            run: |call| {
                let o: HealthOptions = call.options()?;
                Ok(Value::Text(fleet::status(call.db, Level::of(o.level.as_deref())?)?.to_string()))
            },
        },
    ],
    tables: &[Table {
        name: "fleet_health",
        args: &[options(HealthOptions::KEYS)],
        columns: &[
            col("db_name", "TEXT"),
            col("db_path", "TEXT"),
            col("health_status", "TEXT"),
            col("score", "REAL"),
            col("integrity", "REAL"),
            col("performance", "REAL"),
            col("size", "INTEGER"),
            col("response_time_ms", "REAL"),
            col("failed_checks", "TEXT"),
            col("detail", "TEXT"),
            col("error", "TEXT"),
            col("duration_ms", "REAL"),
        ],
        access: Access::Outside,
        summary: "Checks every registered database, several at once; one that cannot be checked is a row with its own error.",
        example: "SELECT db_name, health_status FROM fleet_health WHERE db_name LIKE 'm%';",
        rows: |call| {
            let o: HealthOptions = call.options()?;
            let reports = fleet::examine(call.db, Level::of(o.level.as_deref())?, o.record.unwrap_or(true))?;
            Ok(Box::new(reports.into_iter().map(|r| Ok(row(&r)))))
        },
    }],
};

/// One database, wherever it is.
fn one(host: &Connection, given: Option<&str>, level: Level) -> crate::Result<Report> {
    let target = Target::resolve(host, given)?;
    let (limit, _) = limits::reported(host, &target.name, None)?;
    let file = target.file(host)?;
    match &target.place {
        Place::Schema(schema) => examine::schema(&target.name, host, schema, file.as_deref(), level, limit),
        Place::File(path) => {
            let done = crate::db::parallel::each(host, std::slice::from_ref(path), |p, watch| examine::file(&target.name, p, level, limit, watch))?;
            done.into_iter().next().unwrap_or_else(|| Err(crate::Error::internal("no report")))
        }
        Place::Server(_) => Ok(Report::unreachable(&target.name, "a server: its health is asked over its own connection")),
    }
}

fn row(r: &Report) -> Vec<Value> {
    let text = |s: Option<String>| s.map_or(Value::Null, Value::Text);
    let failed: Vec<&str> = r.failed().map(|c| c.id).collect();
    let worst = r.failed().max_by_key(|c| c.severity).map(|c| c.detail.clone());
    vec![
        Value::Text(r.name.clone()),
        text(r.path.as_ref().map(|p| p.display().to_string())),
        Value::Text(r.score.status.word().to_owned()),
        Value::Real(rounded(r.score.score)),
        Value::Real(rounded(r.score.integrity)),
        Value::Real(rounded(r.score.performance)),
        Value::Integer(r.bytes.total() as i64),
        r.response_ms.map_or(Value::Null, |ms| Value::Real(rounded(ms))),
        Value::Text(failed.join(", ")),
        text(worst),
        text(r.error.clone()),
        Value::Real(rounded(r.duration_ms)),
    ]
}
