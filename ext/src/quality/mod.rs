//! Rules the data must keep, and what breaks them.
mod enforce;
mod judge;
mod rule;

use crate::{
    db::time,
    hub::{Hub, Target, settings, target::Mode},
    kit::*,
    options,
};
use judge::Outcome;
use rusqlite::types::Value;
use serde_json::{Value as Json, json};

options! {
    struct ValidateOptions {
        /// Only rules of these tables.
        tables: Vec<String>,
        /// Only what failed or could not be checked.
        findings: bool,
    }
}
options! {
    struct RunOptions {
        /// Check every enabled rule, not only those that are due by their frequency_s.
        all: bool,
    }
}
options! {
    struct EnforceOptions {
        /// The database, where it is not this one.
        db: String,
        /// Take the triggers away again.
        remove: bool,
        /// Only tell the statements.
        dry_run: bool,
    }
}

pub const ROOM: Room = Room {
    name: "quality",
    summary: "Rules the data must keep, and what breaks them.",
    functions: &[
        Function {
            name: "quality_score",
            args: &[database()],
            returns: "json {db, score, rules, failed_rules, unchecked_rules, tables[{table, score}], recommendations[{rule_id, severity, text, statement}]}",
            access: Access::Outside,
            summary: "How well a database keeps its rules: the mean share of rows that keep each rule, weighted by severity; and what to do next.",
            example: "INSERT INTO validation_rules(table_name, column_name, rule_type) VALUES('services', 'name', 'not_null'); SELECT json_extract(quality_score(), '$.score') AS score;",
            run: |call| {
                let target = Target::resolve(call.db, call.opt_text("db"))?;
                let all = judge::check(call.db, Some(&target), |_| true)?;
                Ok(Value::Text(report(&target.name, &all).to_string()))
            },
        },
        Function {
            name: "run_validation",
            args: &[options(RunOptions::KEYS)],
            returns: "json {checked, failed, errors, score, enabled}",
            access: Access::Outside,
            summary: "Checks the rules that are due by their frequency_s, in every database they name, and keeps the results in validation_history.",
            example: "SELECT json_extract(run_validation(), '$.errors');",
            run: |call| {
                let o: RunOptions = call.options()?;
                let every = o.all.unwrap_or(false);
                if !every && !settings::switch(call.db, "validation.enabled")? {
                    return Ok(Value::Text(json!({"checked": 0, "failed": 0, "errors": 0, "score": null, "enabled": false}).to_string()));
                }
                let now = time::now();
                let all = judge::check(call.db, None, |r| every || due_in(r, &now) <= 0.0)?;
                if let Some(hub) = Hub::find(call.db)?.filter(|_| !all.is_empty()) {
                    judge::record(call.db, &hub, &all)?;
                }
                let failed = all.iter().filter(|o| o.result.as_ref().is_ok_and(|c| c.failed > 0)).count();
                let errors = all.iter().filter(|o| o.result.is_err()).count();
                Ok(Value::Text(json!({"checked": all.len(), "failed": failed, "errors": errors, "score": judge::score(&all), "enabled": true}).to_string()))
            },
        },
        Function {
            name: "enforce_rules",
            args: &[req("table", "the table"), options(EnforceOptions::KEYS)],
            returns: "json {db, table, enforced[{rule_id, rule, triggers[]}], skipped[{rule_id, rule, why}], removed[], statements[], dry_run}",
            access: Access::Writes,
            summary: "Installs a table's rules as triggers of built-in SQL: from then on every writer keeps them. Rows that are there already are not touched.",
            example: "SELECT json_extract(enforce_rules('services', '{\"dry_run\":true}'), '$.removed');",
            run: |call| {
                let o: EnforceOptions = call.options()?;
                let target = Target::resolve(call.db, o.db.as_deref())?;
                let place = rule::place(call.db, &target)?;
                let dry_run = o.dry_run.unwrap_or(false);
                let session = target.session(call.db, if dry_run { Mode::Read } else { Mode::Write })?;
                let done = enforce::table(call.db, &session, &place, call.text("table")?, o.remove.unwrap_or(false), dry_run)?;
                Ok(Value::Text(done.to_string()))
            },
        },
    ],
    tables: &[
        Table {
            name: "validate_data",
            args: &[database(), options(ValidateOptions::KEYS)],
            columns: &[
                col("rule_id", "INTEGER"),
                col("db_name", "TEXT"),
                col("table_name", "TEXT"),
                col("column_name", "TEXT"),
                col("rule_type", "TEXT"),
                col("severity", "TEXT"),
                col("passed", "INTEGER"),
                col("checked_rows", "INTEGER"),
                col("failed_rows", "INTEGER"),
                col("example_key", "TEXT"),
                col("detail", "TEXT"),
                col("remedy", "TEXT"),
                col("score", "REAL"),
                col("duration_ms", "REAL"),
            ],
            access: Access::Outside,
            summary: "Checks the rules of validation_rules on a database: a row for each rule, how many rows break it, and the statement that shows them.",
            example: "INSERT INTO validation_rules(table_name, column_name, rule_type, parameter) VALUES('services', 'service_id', 'range', '1..'); SELECT rule_type, passed, failed_rows FROM validate_data() WHERE table_name = 'services';",
            rows: validate_data,
        },
        Table {
            name: "validation_due",
            args: &[],
            columns: &[
                col("rule_id", "INTEGER"),
                col("db_name", "TEXT"),
                col("table_name", "TEXT"),
                col("rule_type", "TEXT"),
                col("frequency_s", "INTEGER"),
                col("last_checked", "TEXT"),
                col("due_in_s", "REAL"),
            ],
            access: Access::Reads,
            summary: "The enabled rules and when each is due next; 0 or less is now.",
            example: "SELECT count(*) FROM validation_due WHERE due_in_s > 0;",
            rows: |call| {
                let now = time::now();
                let all = rule::all(call.db)?.into_iter().map(|r| {
                    let due = due_in(&r, &now);
                    let last = r.last.map_or(Value::Null, Value::Text);
                    vec![
                        Value::Integer(r.id),
                        Value::Text(r.db),
                        Value::Text(r.table),
                        Value::Text(r.ty),
                        Value::Integer(r.frequency_s),
                        last,
                        Value::Real(due),
                    ]
                });
                rows(all.collect())
            },
        },
    ],
};

/// Seconds until a rule is due; a clock that was set back does not put it off.
fn due_in(r: &rule::Rule, now: &str) -> f64 {
    let since = r.last.as_deref().and_then(|last| time::seconds_between(last, now));
    since.filter(|s| *s >= 0.0).map_or(0.0, |s| r.frequency_s as f64 - s)
}

fn validate_data(call: &Call<'_>) -> crate::Result<Rows> {
    let o: ValidateOptions = call.options()?;
    let target = Target::resolve(call.db, call.opt_text("db"))?;
    let all = judge::check(call.db, Some(&target), |r| rule::applies(r, o.tables.as_deref()))?;
    let findings = o.findings.unwrap_or(false);
    let text = |t: &str| Value::Text(t.to_owned());
    let opt = |t: &Option<String>| t.as_deref().map_or(Value::Null, text);
    let shown = all.iter().filter(|o| !findings || o.result.as_ref().map_or(true, |c| c.failed > 0)).map(|o| {
        let r = &o.rule;
        let mut row = vec![Value::Integer(r.id), text(&o.db_name), text(&r.table), opt(&r.column), text(&r.ty), text(&r.severity)];
        row.extend(match &o.result {
            Ok(c) => {
                let failed = c.failed > 0;
                let detail = if failed { format!("{} of {} rows break it: {}", c.failed, c.rows, r.shown()) } else { "kept by every row".into() };
                let remedy = if failed { text(&c.remedy) } else { Value::Null };
                vec![
                    Value::Integer((!failed).into()),
                    Value::Integer(c.rows),
                    Value::Integer(c.failed),
                    opt(&c.example),
                    text(&detail),
                    remedy,
                    Value::Real(c.score()),
                ]
            }
            Err(e) => {
                let mut unknown = vec![Value::Null; 4];
                unknown.extend([text(&format!("could not be checked: {}", e.message)), Value::Null, Value::Null]);
                unknown
            }
        });
        row.push(Value::Real(o.ms));
        row
    });
    rows(shown.collect())
}

/// What to do, the gravest first.
fn report(db: &str, all: &[Outcome]) -> Json {
    let failed: Vec<&Outcome> = all.iter().filter(|o| o.result.as_ref().is_ok_and(|c| c.failed > 0)).collect();
    let mut advice: Vec<(f64, Json)> = vec![];
    for o in &failed {
        if let Ok(c) = &o.result {
            let text = format!("{} rows break the rule {}: mend or remove them", c.failed, o.rule.shown());
            advice.push((o.rule.weight(), json!({"rule_id": o.rule.id, "severity": o.rule.severity, "text": text, "statement": c.remedy})));
        }
    }
    for o in all {
        match &o.result {
            Err(e) => {
                let text = format!("the rule could not be checked: {}", e.message);
                let statement = format!("UPDATE validation_rules SET enabled = 0 WHERE rule_id = {};", o.rule.id);
                advice.push((0.25, json!({"rule_id": o.rule.id, "severity": "INFO", "text": text, "statement": statement})));
            }
            Ok(c) if c.failed == 0 && o.rule.ty != "regex" => {
                let text = format!("every row keeps {}: triggers can keep it so", o.rule.shown());
                let statement = format!("SELECT enforce_rules({}, {});", crate::db::ident::literal(&o.rule.table), option_db(&o.rule.db));
                advice.push((0.1, json!({"rule_id": o.rule.id, "severity": "INFO", "text": text, "statement": statement})));
            }
            Ok(_) => {}
        }
    }
    advice.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut tables: Vec<&str> = all.iter().map(|o| o.rule.table.as_str()).collect();
    tables.sort_unstable();
    tables.dedup();
    let tables: Vec<Json> = tables.iter().map(|t| json!({"table": t, "score": judge::score(all.iter().filter(|o| o.rule.table == **t))})).collect();
    json!({
        "db": db, "score": judge::score(all), "rules": all.len(), "failed_rules": failed.len(), "unchecked_rules": all.iter().filter(|o| o.result.is_err()).count(),
        "tables": tables, "recommendations": advice.into_iter().map(|(_, a)| a).collect::<Vec<_>>()
    })
}

fn option_db(db: &str) -> String {
    crate::db::ident::literal(&json!({"db": db}).to_string())
}
