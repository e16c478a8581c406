//! Checks rules on a database, and keeps what came out.
use super::rule::{self, Breaks, Rule};
use crate::{
    db::{
        ident::{list, qualified, quote},
        schema, time,
    },
    error::{Kind, Result},
    hub::{Hub, Session, Target, target::Mode},
    kit::{Field, Interrupt, Stmt},
};
use rusqlite::{Connection, params};
use std::time::Instant;

/// What one rule came to.
pub struct Outcome {
    pub rule: Rule,
    pub db_name: String,
    pub result: Result<Counted>,
    pub ms: f64,
}

pub struct Counted {
    pub rows: i64,
    pub failed: i64,
    /// The key of a row that breaks it.
    pub example: Option<String>,
    pub remedy: String,
}

impl Counted {
    /// Share of the rows that keep the rule, in percent; of an empty table all.
    pub fn score(&self) -> f64 {
        if self.rows == 0 { 100.0 } else { (1.0 - self.failed as f64 / self.rows as f64) * 100.0 }
    }
}

/// The mean of the rules' scores, each weighted by its severity: CRITICAL 3, ERROR 2, WARNING 1, INFO 0.5. One decimal; None
/// where no rule could be checked.
pub fn score<'o>(all: impl IntoIterator<Item = &'o Outcome>) -> Option<f64> {
    let (mut sum, mut weights) = (0.0, 0.0);
    for o in all {
        if let Ok(c) = &o.result {
            sum += c.score() * o.rule.weight();
            weights += o.rule.weight();
        }
    }
    (weights > 0.0).then(|| (sum / weights * 10.0).round() / 10.0)
}

/// Checks rules that name `target`, or every rule where that is None.
pub fn check(host: &Connection, target: Option<&Target>, wanted: impl Fn(&Rule) -> bool) -> Result<Vec<Outcome>> {
    let mut interrupt = Interrupt::of(host)?;
    let here = target.map(|t| rule::place(host, t)).transpose()?;
    let mut all = vec![];
    for r in rule::all(host)?.into_iter().filter(|r| wanted(r)) {
        interrupt.check()?;
        let began = Instant::now();
        let found = Target::resolve(host, Some(&r.db));
        if let (Some(here), Ok(t)) = (&here, &found)
            && rule::place(host, t)? != *here
        {
            continue;
        }
        if here.is_some() && found.is_err() {
            continue;
        }
        let db_name = found.as_ref().map_or_else(|_| r.db.clone(), |t| t.name.clone());
        let result = found.and_then(|t| one(&t.session(host, Mode::Read)?, &r, &mut interrupt));
        if let Err(e) = &result
            && e.kind == Kind::Interrupted
        {
            return result.map(|_| vec![]);
        }
        all.push(Outcome { rule: r, db_name, result, ms: (began.elapsed().as_secs_f64() * 1e6).round() / 1e3 });
    }
    Ok(all)
}

fn one(s: &Session<'_>, r: &Rule, interrupt: &mut Interrupt<'_>) -> Result<Counted> {
    let t = schema::table(&s.db, &s.schema, &r.table)?;
    let from = qualified(&s.schema, &t.name);
    let number = |sql: &str| -> Result<i64> { Ok(s.db.query_row(sql, [], |r| r.get(0))?) };
    let rows = number(&format!("SELECT count(*) FROM {from}"))?;
    let key = rule::key(&t).unwrap_or_default();
    let shown = key.iter().map(|k| format!("{}.{}", quote(&t.name), quote(k))).collect::<Vec<_>>().join(" || ', ' || ");
    let shown = if shown.is_empty() { "NULL".to_owned() } else { format!("CAST({shown} AS TEXT)") };
    let example = |condition: &str| -> Result<Option<String>> {
        let sql = format!("SELECT {shown} FROM {from} WHERE {condition} LIMIT 1");
        Ok(s.db.query_row(&sql, [], |r| r.get(0)).or_else(|e| if e == rusqlite::Error::QueryReturnedNoRows { Ok(None) } else { Err(e) })?)
    };
    Ok(match r.breaks(&s.db, &t, false)? {
        Breaks::When(condition) => {
            let failed = number(&format!("SELECT count(*) FROM {from} WHERE {condition}"))?;
            let example = if failed > 0 { example(&condition)? } else { None };
            Counted { rows, failed, example, remedy: format!("SELECT * FROM {} WHERE {condition};", quote(&t.name)) }
        }
        Breaks::Twice(columns) => {
            let names = list(columns.iter().map(String::as_str));
            let given = columns.iter().map(|c| format!("{} IS NOT NULL", quote(c))).collect::<Vec<_>>().join(" AND ");
            let groups = format!("SELECT {names}, count(*) AS n FROM {from} WHERE {given} GROUP BY {names} HAVING count(*) > 1");
            // Of each group one row may stay.
            let failed = number(&format!("SELECT coalesce(sum(n - 1), 0) FROM ({groups})"))?;
            let shown = columns.iter().map(|c| format!("CAST({} AS TEXT)", quote(c))).collect::<Vec<_>>().join(" || ', ' || ");
            let example = if failed > 0 { s.db.query_row(&format!("SELECT {shown} FROM ({groups}) LIMIT 1"), [], |r| r.get(0))? } else { None };
            Counted {
                rows,
                failed,
                example,
                remedy: format!("SELECT {names}, count(*) FROM {} WHERE {given} GROUP BY {names} HAVING count(*) > 1;", quote(&t.name)),
            }
        }
        Breaks::NoMatch(column, regex) => {
            let mut q = Stmt::prepare(&s.db, &format!("SELECT {}, {shown} FROM {from} WHERE {0} IS NOT NULL", quote(&column)))?;
            let (mut failed, mut example) = (0, None);
            while q.step()? {
                let fits = match q.field(0) {
                    Field::Text(b) => std::str::from_utf8(b).is_ok_and(|t| regex.is_match(t)),
                    Field::Int(v) => regex.is_match(&v.to_string()),
                    _ => false,
                };
                if !fits {
                    failed += 1;
                    if let (None, Field::Text(b)) = (&example, q.field(1)) {
                        example = Some(String::from_utf8_lossy(b).into_owned());
                    }
                }
                interrupt.tick()?;
            }
            Counted { rows, failed, example, remedy: format!("SELECT {} FROM {} WHERE {0} IS NOT NULL;", quote(&column), quote(&t.name)) }
        }
    })
}

const KEEP_DAYS: i64 = 90;

/// Keeps the results, and forgets those of three months ago.
pub fn record(host: &Connection, hub: &Hub, all: &[Outcome]) -> Result<()> {
    for o in all {
        let (counted, error) = match &o.result {
            Ok(c) => (Some(c), None),
            Err(e) => (None, Some(e.message.as_str())),
        };
        let values = params![
            time::new_id(),
            o.rule.id,
            o.db_name,
            o.rule.table,
            time::now(),
            counted.map(|c| c.rows),
            counted.map(|c| c.failed),
            counted.map(Counted::score),
            o.ms,
            error
        ];
        let sql = "INSERT INTO hub.validation_history(result_id, rule_id, db_name, table_name, checked_at, checked_rows, failed_rows, score, duration_ms, error) \
                   VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        hub.execute(host, sql, values)?;
    }
    let old = time::stored(chrono::Utc::now() - chrono::TimeDelta::days(KEEP_DAYS));
    hub.execute(host, "DELETE FROM hub.validation_history WHERE checked_at < ?", [&old])?;
    Ok(())
}
