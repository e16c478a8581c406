//! Do two databases agree, in schema and in content?
mod checksum;
mod diff;
mod object;
mod rebuild;
mod report;

use crate::error::{Error, Result};
use crate::hub::{Severity, Target, target::Mode};
use crate::{kit::*, options};
use report::{Pair, Report};
use rusqlite::types::Value;
use serde_json::json;

options! {
    struct ReportOptions {
        /// Only these tables.
        tables: Vec<String>,
        /// Also look for foreign keys that refer to each other in a circle. Default false.
        circular: bool,
    }
}

const PAIR: &[Arg] = &[
    typed("a", Type::Any, false, "schema, registered name or file; alone: the id of a row in sync_mapping"),
    opt("b", "the database it is compared with"),
    options(ReportOptions::KEYS),
];

pub const ROOM: Room = Room {
    name: "consistency",
    summary: "Do two databases agree, in schema and in content?",
    functions: &[
        checksum::TABLE_CHECKSUM,
        Function {
            name: "consistency_score",
            args: PAIR,
            returns: "json {db_a, db_b, consistency_score, weighted_score, checks, passed, failed, failed_by_severity{CRITICAL, ERROR, WARNING, INFO}, critical_issues[{check, table, detail}]}",
            access: Access::Outside,
            summary: "Two databases in two figures: the percentage of the checks of consistency_report that pass, and 100 less 3 for each failed CRITICAL, 2 ERROR, 1 WARNING, 0.5 INFO.",
            example: "SELECT json_extract(consistency_score('analytics', 'analytics'), '$.consistency_score');",
            run: |call| {
                let r = reported(call)?;
                let of = |s: &str| r.checks.iter().filter(|c| !c.passed && c.severity.word() == s).count();
                let critical: Vec<_> = r.checks.iter().filter(|c| !c.passed && c.severity == Severity::Critical).collect();
                let critical: Vec<_> = critical.iter().map(|c| json!({"check": c.name, "table": c.table, "detail": c.detail})).collect();
                let by = json!({"CRITICAL": of("CRITICAL"), "ERROR": of("ERROR"), "WARNING": of("WARNING"), "INFO": of("INFO")});
                Ok(Value::Text(
                    json!({
                        "db_a": r.name_a, "db_b": r.name_b, "consistency_score": r.consistency_score(), "weighted_score": r.weighted_score(),
                        "checks": r.checks.len(), "passed": r.checks.len() - r.failed(), "failed": r.failed(), "failed_by_severity": by,
                        "critical_issues": critical,
                    })
                    .to_string(),
                ))
            },
        },
    ],
    tables: &[
        Table {
            name: "consistency_report",
            args: PAIR,
            columns: &[
                col("db_a", "TEXT"),
                col("db_b", "TEXT"),
                col("check_name", "TEXT"),
                col("severity", "TEXT"),
                col("weight", "REAL"),
                col("passed", "INTEGER"),
                col("table_name", "TEXT"),
                col("in_a", "TEXT"),
                col("in_b", "TEXT"),
                col("detail", "TEXT"),
                col("consistency_score", "REAL"),
                col("weighted_score", "REAL"),
            ],
            access: Access::Outside,
            summary: "Compares two databases: tables, columns, indexes, views and triggers, row counts, content, newest times, orphans; a row for each check. Both scores stand in every row.",
            example: "SELECT check_name, passed FROM consistency_report('analytics', 'analytics') WHERE table_name IS NULL;",
            rows: |call| {
                let r = reported(call)?;
                let text = |s: &Option<String>| s.clone().map_or(Value::Null, Value::Text);
                let row = |c: &report::Check| {
                    vec![
                        Value::Text(r.name_a.clone()),
                        Value::Text(r.name_b.clone()),
                        Value::Text(c.name.to_owned()),
                        Value::Text(c.severity.word().to_owned()),
                        Value::Real(report::weight(c.severity)),
                        Value::Integer(c.passed.into()),
                        text(&c.table),
                        text(&c.in_a),
                        text(&c.in_b),
                        Value::Text(c.detail.clone()),
                        Value::Real(r.consistency_score()),
                        Value::Real(r.weighted_score()),
                    ]
                };
                rows(r.checks.iter().map(row).collect())
            },
        },
        Table {
            name: "schema_diff",
            args: &[req("a", "the database that is to change: schema, registered name or file"), req("b", "the database it is to be like")],
            columns: &[
                col("step", "INTEGER"),
                col("object", "TEXT"),
                col("name", "TEXT"),
                col("table_name", "TEXT"),
                col("change", "TEXT"),
                col("in_a", "TEXT"),
                col("in_b", "TEXT"),
                col("loses_data", "INTEGER"),
                col("sql", "TEXT"),
            ],
            access: Access::Outside,
            summary: "How the schema of a differs from that of b, and the statements that, run in a in this order, make it the same and keep its rows. Differences of one step are closed together; change is missing, extra, changed or renamed; loses_data marks a table or column that only a has.",
            example: "SELECT count(*) FROM schema_diff('analytics', 'analytics');",
            rows: schema_diff,
        },
    ],
};

fn reported(call: &Call<'_>) -> Result<Report> {
    let o: ReportOptions = call.options()?;
    let mut pair = match (call.value("a"), call.opt_text("b")) {
        (Value::Integer(id), None) => report::of_mapping(call.db, *id)?,
        (Value::Text(a), Some(b)) => Pair { a: Target::resolve(call.db, Some(a))?, b: Target::resolve(call.db, Some(b))?, tables: None, circular: false },
        (Value::Text(_), None) => {
            return Err(Error::argument("argument b is missing").hint("Name two databases, or give the id of a row in sync_mapping as an integer"));
        }
        (Value::Null, Some(b)) => Pair { a: Target::resolve(call.db, None)?, b: Target::resolve(call.db, Some(b))?, tables: None, circular: false },
        _ => return Err(Error::argument("argument a must be the name of a database, or alone the id of a row in sync_mapping")),
    };
    pair.circular = o.circular.unwrap_or(false);
    if let Some(tables) = o.tables {
        pair.tables = Some(tables);
    }
    report::of(call.db, &pair)
}

fn schema_diff(call: &Call<'_>) -> Result<Rows> {
    let (a, b) = (Target::resolve(call.db, call.opt_text("a"))?, Target::resolve(call.db, call.opt_text("b"))?);
    let (sa, sb) = (a.session(call.db, Mode::Read)?, b.session(call.db, Mode::Read)?);
    let on: bool = call.db.query_row("PRAGMA foreign_keys", [], |r| r.get(0))?;
    let found = diff::between(&diff::Side::of(&sa.db, &sa.schema)?, &diff::Side::of(&sb.db, &sb.schema)?, on)?;
    let text = |s: Option<String>| s.map_or(Value::Null, Value::Text);
    let row = |d: diff::Difference| {
        vec![
            Value::Integer(d.step),
            Value::Text(d.object.to_owned()),
            Value::Text(d.name),
            Value::Text(d.table),
            Value::Text(d.change.to_owned()),
            text(d.in_a),
            text(d.in_b),
            Value::Integer(d.loses_data.into()),
            text(d.sql),
        ]
    };
    rows(found.into_iter().map(row).collect())
}
