//! What is wrong in this database, row by row, and which statement mends it.
mod checks;
mod finding;
mod profile;
mod repair;
mod report;
mod salvage;
mod subject;
mod values;

use crate::{kit::*, options};
use finding::Finding;
use report::Report;
use rusqlite::types::Value;

options! {
    pub struct ReportOptions {
        /// quick (no table is read row by row) or full (default).
        level: String,
        /// Findings shown of each check; the rest is counted. Default 20.
        limit: u32,
        /// Only these checks: names or ids, separated by commas; GLOB patterns are fine.
        checks: String,
        /// Only what was found, without the checks that passed.
        findings: bool,
        /// First do what repair_database does; its steps are the first rows.
        repair: bool,
    }
}

options! {
    struct RepairOptions {
        /// Only tell what would be done.
        dry_run: bool,
        /// Where the copy made beforehand goes; default: beside the file, with `.before-repair-` and the time after its name.
        backup: String,
    }
}

pub const ROOM: Room = Room {
    name: "integrity",
    summary: "What is wrong in this database, row by row, and which statement mends it.",
    functions: &[
        REPAIR_DATABASE,
        Function {
            name: "salvage_database",
            args: &[
                typed("db", Type::Any, false, "the damaged database: schema, registered name or file; NULL is this one"),
                req("new_path", "the new file; it must not exist"),
            ],
            returns: "json {source, target, method, page_size, page_size_guessed, pages, rows, lost_and_found, lost_and_found_rows, doubtful_rows, tables[{name, rows, doubtful, damage}], damage, damaged[{page, why}], objects_failed, failed[{object, name, error}], quick_check, duration_s, note}",
            access: Access::Outside,
            summary: "Saves every row that can still be read of a damaged database into a new file, by an own walk over its pages. A row that may never have been there goes into the table lost_and_found, with the reason.",
            example: "SELECT json_extract(salvage_database('analytics', 'salvaged.db'), '$.damage', '$.lost_and_found_rows');",
            run: |call| Ok(Value::Text(salvage::call(call.db, call.opt_text("db"), call.text("new_path")?)?.to_string())),
        },
    ],
    tables: &[
        Table {
            name: "integrity_report",
            args: &[database(), options(ReportOptions::KEYS)],
            columns: &[
                col("db_name", "TEXT"),
                col("check_id", "TEXT"),
                col("check_name", "TEXT"),
                col("severity", "TEXT"),
                col("passed", "INTEGER"),
                col("table_name", "TEXT"),
                col("key", "TEXT"),
                col("detail", "TEXT"),
                col("remedy", "TEXT"),
                col("duration_ms", "REAL"),
            ],
            access: Access::Outside,
            summary: "Examines a database: a row for each check that passed, a row for each finding of one that did not.",
            example: "SELECT check_name, severity, passed FROM integrity_report('analytics') WHERE check_name IN ('integrity_check', 'foreign_key_orphans');",
            rows: integrity_report,
        },
        Table {
            name: "integrity_checks",
            args: &[],
            columns: &[col("check_id", "TEXT"), col("check_name", "TEXT"), col("severity", "TEXT"), col("reads", "TEXT"), col("summary", "TEXT")],
            access: Access::Pure,
            summary: "Lists the checks of integrity_report: what each looks for, how grave it is, and what it reads.",
            example: "SELECT severity, count(*) FROM integrity_checks GROUP BY severity;",
            rows: integrity_checks,
        },
        Table {
            name: "recovery_plan",
            args: &[database()],
            columns: &[
                col("step", "INTEGER"),
                col("action", "TEXT"),
                col("statement", "TEXT"),
                col("reason", "TEXT"),
                col("automatic", "INTEGER"),
                col("loses", "TEXT"),
            ],
            access: Access::Outside,
            summary: "The steps after which a database is sound again, in order, as statements; automatic ones are done by repair_database, the rest is for you to decide. No row for a sound database.",
            example: "SELECT step, action, automatic FROM recovery_plan('analytics') WHERE loses <> 'nothing' AND action = 'salvage';",
            rows: |call| {
                let all = repair::recovery(call.db, call.opt_text("db"))?;
                let row = |(i, a): (usize, repair::Action)| {
                    let [action, statement, reason, loses] = [a.action, &a.statement, &a.reason, a.loses].map(text);
                    vec![Value::Integer(i as i64 + 1), action, statement, reason, Value::Integer(a.automatic.into()), loses]
                };
                rows(all.into_iter().enumerate().map(row).collect())
            },
        },
    ],
};

const REPAIR_DATABASE: Function = Function {
    name: "repair_database",
    args: &[database(), options(RepairOptions::KEYS)],
    returns: "json {db_name, status, dry_run, backup, steps[{kind, statement, reason, status, error}], failed, not_touched[{check, severity, table, detail, remedy}], findings_before, findings_after, timestamp}",
    access: Access::Outside,
    summary: "Does the repairs that lose nothing (REINDEX, statistics, journals left over), after a verified copy of the file, and says what it leaves alone. A damaged file is not touched: recovery_plan.",
    example: "SELECT json_extract(repair_database('analytics', '{\"dry_run\":true}'), '$.dry_run');",
    run: |call| {
        let o: RepairOptions = call.options()?;
        Ok(Value::Text(repair::run(call.db, call.opt_text("db"), o.dry_run.unwrap_or(false), o.backup.as_deref())?.json().to_string()))
    },
};

fn text(s: &str) -> Value {
    Value::Text(s.to_owned())
}

fn opt_value(s: &Option<String>) -> Value {
    s.as_deref().map_or(Value::Null, text)
}

fn integrity_report(call: &Call<'_>) -> crate::Result<Rows> {
    let o: ReportOptions = call.options()?;
    let findings_only = o.findings.unwrap_or(false);
    let mut all = vec![];
    if o.repair.unwrap_or(false) {
        let done = repair::run(call.db, call.opt_text("db"), false, None)?;
        for s in &done.steps {
            let detail = s.error.as_ref().map_or(s.status.to_owned(), |e| format!("{}: {e}", s.status));
            let passed = Value::Integer((s.status == "DONE").into());
            let copy = done.backup.as_ref().map_or(String::new(), |b| format!("; the database before is {b}"));
            let [name, id, check, severity] = [done.name.as_str(), "R01", "repair", "INFO"].map(text);
            let [detail, statement] = [format!("{detail}; {}{copy}", s.reason), s.statement.clone()].map(Value::Text);
            all.push(vec![name, id, check, severity, passed, Value::Null, text(s.kind), detail, statement, Value::Real(0.0)]);
        }
    }
    let report = Report::of(call.db, call.opt_text("db"), &o)?;
    for r in &report.results {
        let row = |passed: Value, f: Option<&Finding>, detail: Value| {
            vec![
                text(&report.name),
                text(r.check.id),
                text(r.check.name),
                text(r.check.severity.word()),
                passed,
                f.map_or(Value::Null, |f| opt_value(&f.table)),
                f.map_or(Value::Null, |f| opt_value(&f.key)),
                detail,
                f.map_or(Value::Null, |f| opt_value(&f.remedy)),
                Value::Real(r.ms),
            ]
        };
        for f in &r.findings.list {
            all.push(row(Value::Integer(0), Some(f), text(&f.detail)));
        }
        if let Some(more) = r.findings.more() {
            all.push(row(Value::Integer(0), None, text(&format!("{more} more"))));
        }
        if let Some(why) = &r.unknown {
            all.push(row(Value::Null, None, text(&format!("could not be checked: {why}"))));
        } else if r.findings.total == 0 && !findings_only {
            all.push(row(Value::Integer(1), None, text("ok")));
        }
    }
    rows(all)
}

fn integrity_checks(_: &Call<'_>) -> crate::Result<Rows> {
    rows(checks::all().map(|c| [c.id, c.name, c.severity.word(), c.reads.word(), c.summary].map(text).to_vec()).collect())
}
