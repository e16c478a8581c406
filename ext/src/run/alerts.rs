//! Alerts: rules over metrics; an alert opens, may be acknowledged, and resolves; its history is kept.
//!
//! `evaluate_alerts` reads the rows of `performance_metrics` it has not seen, in the order they came, whatever the
//! clock says. A rule that has been broken for `for_s` seconds opens one alert a database; the alert resolves when a
//! value passes `clear_threshold`. While a row of `maintenance_windows` covers a database, nothing opens for it.
use super::{deliver, record};
use crate::db::time;
use crate::error::{Error, Result, did_you_mean};
use crate::hub::Hub;
use crate::{kit::*, options};
use rusqlite::{Connection, OptionalExtension, params, types::Value};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};

options! {
    struct EvaluateOptions {
        /// The time to go by, UTC `YYYY-MM-DD HH:MM:SS`; default: now.
        now: String,
    }
}

pub const EVALUATE_ALERTS: Function = Function {
    name: "evaluate_alerts",
    args: &[options(EvaluateOptions::KEYS)],
    returns: "json {rules, samples, opened[], resolved[], active, delivered}",
    access: Access::Outside,
    summary: "Holds new metrics against the alert rules: opens and resolves alerts, and delivers the news.",
    example: "SELECT json_extract(evaluate_alerts(), '$.rules') > 0;",
    run: |call| {
        let o: EvaluateOptions = call.options()?;
        let now = o.now.unwrap_or_else(time::now);
        if time::parse(&now).is_none() {
            return Err(Error::argument(format!("option now must be UTC YYYY-MM-DD HH:MM:SS, not \"{now}\"")));
        }
        let hub = Hub::need(call.db)?;
        let channels = deliver::channels(call.db)?;
        let done = evaluate(call.db, &hub, &channels, &now)?;
        // Inside the caller's transaction the news may still be rolled back: it stays queued.
        let delivered = if call.db.is_autocommit() { deliver::send(call.db, &hub, &channels)? } else { 0 };
        Ok(Value::Text(
            json!({"rules": done.rules, "samples": done.samples, "opened": done.opened, "resolved": done.resolved, "active": done.active, "delivered": delivered})
                .to_string(),
        ))
    },
};

pub const ACKNOWLEDGE_ALERT: Function = Function {
    name: "acknowledge_alert",
    args: &[req("id", "alert_id of active_alerts"), opt("who", "who has seen it; default: the user of this process")],
    returns: "json {alert_id, state, acknowledged_by}",
    access: Access::Writes,
    summary: "Marks an open alert as seen.",
    example: "SELECT json_extract(acknowledge_alert(alert_id, 'ops'), '$.state') FROM active_alerts WHERE state = 'OPEN';",
    run: |call| {
        let user = std::env::var("USER").unwrap_or_else(|_| "unknown".into());
        let who = call.opt_text("who").unwrap_or(&user);
        let hub = Hub::need(call.db)?;
        let id = call.text("id")?;
        let state = state(call.db, &hub, id)?;
        if state == "RESOLVED" {
            return Err(Error::argument(format!("alert \"{id}\" is resolved already")));
        }
        if state == "OPEN" {
            let now = time::now();
            record::write(call.db, &hub, |db, hub| {
                let sql = "UPDATE hub.alerts SET state = 'ACKNOWLEDGED', acknowledged_at = ?2, acknowledged_by = ?3 WHERE alert_id = ?1";
                db.execute(&hub.sql(sql), [id, &now, who])?;
                event(db, hub, id, "ACKNOWLEDGED", &now, Some(who), None, None)
            })?;
        }
        let by: Option<String> = call.db.query_row(&hub.sql("SELECT acknowledged_by FROM hub.alerts WHERE alert_id = ?"), [id], |r| r.get(0))?;
        Ok(Value::Text(json!({"alert_id": id, "state": "ACKNOWLEDGED", "acknowledged_by": by}).to_string()))
    },
};

pub const RESOLVE_ALERT: Function = Function {
    name: "resolve_alert",
    args: &[req("id", "alert_id of active_alerts"), opt("note", "why; kept in alert_events")],
    returns: "json {alert_id, state}",
    access: Access::Writes,
    summary: "Closes an alert by hand; a rule that is still broken opens a new one.",
    example: "SELECT json_extract(resolve_alert(alert_id), '$.state') FROM active_alerts;",
    run: |call| {
        let hub = Hub::need(call.db)?;
        let id = call.text("id")?;
        if state(call.db, &hub, id)? != "RESOLVED" {
            let now = time::now();
            record::write(call.db, &hub, |db, hub| {
                db.execute(
                    &hub.sql("DELETE FROM hub.alert_states WHERE (rule_id, db_name) = (SELECT rule_id, db_name FROM hub.alerts WHERE alert_id = ?)"),
                    [id],
                )?;
                resolve(db, hub, id, &now, None, Some(call.opt_text("note").unwrap_or("by hand")))
            })?;
        }
        Ok(Value::Text(json!({"alert_id": id, "state": "RESOLVED"}).to_string()))
    },
};

fn state(db: &Connection, hub: &Hub, id: &str) -> Result<String> {
    let found = db.query_row(&hub.sql("SELECT state FROM hub.alerts WHERE alert_id = ?"), [id], |r| r.get(0)).optional()?;
    found.ok_or_else(|| {
        let known: Vec<String> = db
            .prepare(&hub.sql("SELECT alert_id FROM hub.alerts WHERE state <> 'RESOLVED'"))
            .and_then(|mut q| q.query_map([], |r| r.get(0))?.collect())
            .unwrap_or_default();
        Error::not_found(format!("no alert \"{id}\".{}", did_you_mean(id, known.iter().map(String::as_str)))).hint("active_alerts lists them")
    })
}

struct Rule {
    id: String,
    metric: String,
    comparison: String,
    threshold: f64,
    clear: Option<f64>,
    severity: String,
    for_s: f64,
    scope: String,
    description: String,
}

impl Rule {
    /// Whether the value breaks the rule, and whether it is good enough to resolve an alert.
    fn judge(&self, value: f64) -> (bool, bool) {
        let holds = |limit: f64| match self.comparison.as_str() {
            ">" | "anomaly" => value > limit,
            ">=" => value >= limit,
            "<" => value < limit,
            "<=" => value <= limit,
            "=" => value == limit,
            "!=" => value != limit,
            _ => false,
        };
        let broken = holds(self.threshold);
        (broken, !broken && !self.clear.is_some_and(holds))
    }
}

#[derive(Default)]
pub struct Evaluated {
    pub rules: usize,
    pub samples: usize,
    pub opened: Vec<String>,
    pub resolved: Vec<String>,
    pub active: i64,
}

struct Broken {
    since: String,
    value: f64,
}

/// Everything of one evaluation, while it runs.
struct Board {
    broken: BTreeMap<(usize, String), Broken>,
    open: HashMap<(usize, String), String>,
    out: Evaluated,
}

pub fn evaluate(db: &Connection, hub: &Hub, channels: &deliver::Channels, now: &str) -> Result<Evaluated> {
    record::write(db, hub, |db, hub| evaluate_inside(db, hub, channels, now))
}

fn evaluate_inside(db: &Connection, hub: &Hub, channels: &deliver::Channels, now: &str) -> Result<Evaluated> {
    let rules = rules(db, hub)?;
    let mut board = Board { broken: BTreeMap::new(), open: HashMap::new(), out: Evaluated { rules: rules.len(), ..Evaluated::default() } };
    let at = |id: &str| rules.iter().position(|r| r.id == id);
    let mut q = db.prepare(&hub.sql("SELECT rule_id, db_name, since, value FROM hub.alert_states"))?;
    for row in q.query_map([], |r| Ok((r.get::<_, String>(0)?, r.get(1)?, r.get(2)?, r.get::<_, Option<f64>>(3)?)))? {
        let (id, name, since, value) = row?;
        if let Some(i) = at(&id) {
            board.broken.insert((i, name), Broken { since, value: value.unwrap_or(0.0) });
        }
    }
    let mut q = db.prepare(&hub.sql("SELECT alert_id, rule_id, coalesce(db_name, '') FROM hub.alerts WHERE state <> 'RESOLVED' AND rule_id IS NOT NULL"))?;
    let open: Vec<(String, String, String)> = q.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?.collect::<rusqlite::Result<_>>()?;
    for (alert, rule, name) in open {
        match at(&rule) {
            Some(i) => {
                board.open.insert((i, name), alert);
            }
            None => {
                resolve(db, hub, &alert, now, None, Some("the rule was removed or disabled"))?;
                deliver::queue(db, hub, channels, &alert, "RESOLVED")?;
                board.out.resolved.push(alert);
            }
        }
    }
    samples(db, hub, channels, &rules, &mut board, now)?;
    // A rule may have become old enough without a new value.
    let due: Vec<_> = board
        .broken
        .iter()
        .filter(|(key, b)| !board.open.contains_key(key) && held(&b.since, now) >= rule_for(&rules, key.0))
        .map(|(k, b)| (k.clone(), b.value))
        .collect();
    for (key, value) in due {
        open_alert(db, hub, channels, &rules, &mut board, key, value, now)?;
    }
    db.execute(&hub.sql("DELETE FROM hub.alert_states"), [])?;
    let mut put = db.prepare(&hub.sql("INSERT INTO hub.alert_states(rule_id, db_name, since, value) VALUES(?, ?, ?, ?)"))?;
    for ((i, name), b) in &board.broken {
        if let Some(rule) = rules.get(*i) {
            put.execute(params![rule.id, name, b.since, b.value])?;
        }
    }
    board.out.active = db.query_row(&hub.sql("SELECT count(*) FROM hub.alerts WHERE state <> 'RESOLVED'"), [], |r| r.get(0))?;
    Ok(board.out)
}

/// Seconds a rule has been broken; none where the clock was set back.
fn held(since: &str, now: &str) -> f64 {
    time::seconds_between(since, now).unwrap_or(0.0).max(0.0)
}

fn rule_for(rules: &[Rule], i: usize) -> f64 {
    rules.get(i).map_or(f64::INFINITY, |r| r.for_s)
}

fn samples(db: &Connection, hub: &Hub, channels: &deliver::Channels, rules: &[Rule], board: &mut Board, now: &str) -> Result<()> {
    const CURSOR: &str = "alerts.cursor";
    let last: i64 = db.query_row(&hub.sql("SELECT coalesce(max(rowid), 0) FROM hub.performance_metrics"), [], |r| r.get(0))?;
    let seen: Option<i64> = db.query_row(&hub.sql("SELECT CAST(value AS INTEGER) FROM hub.run_state WHERE key = ?"), [CURSOR], |r| r.get(0)).optional()?;
    // Rows may have been rolled up since: then numbers began anew.
    let seen = seen.filter(|s| *s <= last).unwrap_or(0);
    let mut by_metric: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, rule) in rules.iter().enumerate() {
        by_metric.entry(&rule.metric).or_default().push(i);
    }
    let mut scope = db.prepare("SELECT ?1 GLOB ?2")?;
    let mut scopes: HashMap<(usize, String), bool> = HashMap::new();
    let mut usual = Usual::new(hub);
    let mut q = db.prepare(&hub.sql(
        "SELECT db_name, metric_type, metric_value, measurement_time FROM hub.performance_metrics WHERE rowid > ? AND metric_value IS NOT NULL ORDER BY rowid",
    ))?;
    let mut rows = q.query([seen])?;
    while let Some(row) = rows.next()? {
        let (name, metric, value, at): (String, String, f64, String) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        board.out.samples += 1;
        for &i in by_metric.get(metric.as_str()).map_or(&[][..], Vec::as_slice) {
            let Some(rule) = rules.get(i) else { continue };
            let key = (i, name.clone());
            let inside = match scopes.get(&key) {
                Some(known) => *known,
                None => {
                    let is = scope.query_row([&name, &rule.scope], |r| r.get(0))?;
                    scopes.insert(key.clone(), is);
                    is
                }
            };
            if !inside {
                continue;
            }
            let judged = if rule.comparison == "anomaly" { usual.deviation(db, &name, &metric, value, &at)? } else { Some(value) };
            let Some(judged) = judged else { continue };
            let (broken, good) = rule.judge(judged);
            if broken {
                let state = board.broken.entry(key.clone()).or_insert_with(|| Broken { since: at.clone(), value });
                state.value = value;
                if held(&state.since, &at) >= rule.for_s && !board.open.contains_key(&key) {
                    open_alert(db, hub, channels, rules, board, key, value, now)?;
                }
            } else {
                board.broken.remove(&key);
                if good && let Some(alert) = board.open.remove(&key) {
                    resolve(db, hub, &alert, now, Some(value), None)?;
                    deliver::queue(db, hub, channels, &alert, "RESOLVED")?;
                    board.out.resolved.push(alert);
                }
            }
        }
    }
    db.execute(&hub.sql("REPLACE INTO hub.run_state(key, value) VALUES(?, ?)"), params![CURSOR, last.to_string()])?;
    Ok(())
}

#[allow(clippy::too_many_arguments)]
fn open_alert(
    db: &Connection,
    hub: &Hub,
    channels: &deliver::Channels,
    rules: &[Rule],
    board: &mut Board,
    key: (usize, String),
    value: f64,
    now: &str,
) -> Result<()> {
    let Some(rule) = rules.get(key.0) else { return Ok(()) };
    let closed: bool = db.query_row(
        &hub.sql("SELECT EXISTS(SELECT 1 FROM hub.maintenance_windows WHERE ?1 GLOB scope AND datetime(?2) >= datetime(starts_at) AND datetime(?2) < datetime(ends_at))"),
        [&key.1, now],
        |r| r.get(0),
    )?;
    if closed {
        return Ok(());
    }
    let unit = super::metrics::find(&rule.metric).map_or("", |m| m.unit);
    let limit = if rule.comparison == "anomaly" { "unusual for the hour".to_owned() } else { format!("rule: {} {}", rule.comparison, rule.threshold) };
    let message = format!("{}: {} ({} = {} {unit}; {limit})", key.1, rule.description, rule.metric, rounded(value));
    let alert = time::new_id();
    db.execute(
        &hub.sql("INSERT INTO hub.alerts(alert_id, rule_id, db_name, severity, message, value, state, opened_at) VALUES(?, ?, ?, ?, ?, ?, 'OPEN', ?)"),
        params![alert, rule.id, key.1, rule.severity, message, value, now],
    )?;
    event(db, hub, &alert, "OPENED", now, None, Some(value), None)?;
    deliver::queue(db, hub, channels, &alert, "OPENED")?;
    board.out.opened.push(alert.clone());
    board.open.insert(key, alert);
    Ok(())
}

fn rounded(v: f64) -> f64 {
    (v * 1000.0).round() / 1000.0
}

fn resolve(db: &Connection, hub: &Hub, alert: &str, now: &str, value: Option<f64>, note: Option<&str>) -> Result<()> {
    db.execute(&hub.sql("UPDATE hub.alerts SET state = 'RESOLVED', resolved_at = ?2 WHERE alert_id = ?1"), [alert, now])?;
    event(db, hub, alert, "RESOLVED", now, None, value, note)
}

#[allow(clippy::too_many_arguments)]
fn event(db: &Connection, hub: &Hub, alert: &str, what: &str, now: &str, who: Option<&str>, value: Option<f64>, note: Option<&str>) -> Result<()> {
    db.execute(
        &hub.sql("INSERT INTO hub.alert_events(alert_id, event, at, who, value, note) VALUES(?, ?, ?, ?, ?, ?)"),
        params![alert, what, now, who, value, note],
    )?;
    Ok(())
}

fn rules(db: &Connection, hub: &Hub) -> Result<Vec<Rule>> {
    let mut q = db.prepare(&hub.sql(
        "SELECT rule_id, metric_type, comparison, threshold, clear_threshold, severity, for_s, scope, coalesce(description, rule_id) \
         FROM hub.alert_rules WHERE enabled AND threshold IS NOT NULL ORDER BY rule_id",
    ))?;
    let all = q.query_map([], |r| {
        let metric: String = r.get(1)?;
        Ok(Rule {
            id: r.get(0)?,
            // A rule may use the figure's other name.
            metric: super::metrics::find(&metric).map_or(metric, |m| m.word.to_owned()),
            comparison: r.get::<_, String>(2)?.trim().to_ascii_lowercase(),
            threshold: r.get(3)?,
            clear: r.get(4)?,
            severity: r.get(5)?,
            for_s: r.get(6)?,
            scope: r.get(7)?,
            description: r.get(8)?,
        })
    })?;
    Ok(all.collect::<rusqlite::Result<_>>()?)
}

/// Database, metric and hour of a day, such as `2026-11-20 14`.
type Hour = (String, String, String);

/// The usual value of a metric for an hour of the day, from the hourly history of two weeks.
struct Usual {
    sql: String,
    known: HashMap<Hour, Option<(f64, f64)>>,
}

/// Days of history below which nothing is usual.
const DAYS: i64 = 3;

impl Usual {
    fn new(hub: &Hub) -> Usual {
        let sql = hub.sql(
            "SELECT count(*), avg(avg_value), avg(avg_value * avg_value) FROM hub.metric_history \
             WHERE period = 'HOUR' AND db_name = ?1 AND metric_type = ?2 AND start_time >= datetime(?3, '-14 days') AND start_time < ?3 \
             AND substr(start_time, 12, 2) = substr(?3, 12, 2)",
        );
        Usual { sql, known: HashMap::new() }
    }

    /// How many standard deviations a value lies from the usual; None where too little is known. A spread below 5 %
    /// of the mean counts as 5 %, so that a very even history does not ring at trifles.
    fn deviation(&mut self, db: &Connection, name: &str, metric: &str, value: f64, at: &str) -> Result<Option<f64>> {
        let hour = at.get(..13).unwrap_or(at);
        let key = (name.to_owned(), metric.to_owned(), hour.to_owned());
        let usual = match self.known.get(&key) {
            Some(known) => *known,
            None => {
                let start = format!("{hour}:00:00");
                let (days, mean, squares): (i64, Option<f64>, Option<f64>) =
                    db.prepare(&self.sql)?.query_row([name, metric, &start], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
                let found = mean.zip(squares).filter(|_| days >= DAYS).map(|(m, s)| (m, (s - m * m).max(0.0).sqrt().max(m.abs() * 0.05)));
                self.known.insert(key, found);
                found
            }
        };
        Ok(usual.filter(|(_, spread)| *spread > 0.0).map(|(mean, spread)| (value - mean).abs() / spread))
    }
}
