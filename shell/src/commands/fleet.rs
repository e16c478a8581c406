//! What dashboard and report show, as JSON, by SQL that anybody may ask.
use crate::error::Result;
use rusqlite::{
    Connection, Row,
    types::{Value, ValueRef},
};
use serde_json::{Map, Value as Json, json};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Rows of the fleet on one page: the gravest, then the largest.
const ROWS: usize = 200;
/// Lines of one chart that can still be told apart.
const LINES: usize = 6;

fn value(v: ValueRef<'_>) -> Json {
    match v {
        ValueRef::Integer(i) => json!(i),
        ValueRef::Real(r) => json!(r),
        ValueRef::Text(t) => json!(String::from_utf8_lossy(t)),
        ValueRef::Null | ValueRef::Blob(_) => Json::Null,
    }
}

fn object(r: &Row<'_>, names: &[String]) -> rusqlite::Result<Map<String, Json>> {
    names.iter().enumerate().map(|(i, n)| Ok((n.clone(), value(r.get_ref(i)?)))).collect()
}

fn rows(db: &Connection, sql: &str) -> Result<Vec<Map<String, Json>>> {
    let mut q = db.prepare(sql)?;
    let names: Vec<String> = q.column_names().iter().map(|n| (*n).to_owned()).collect();
    let all = q.query_map([], |r| object(r, &names))?.collect::<rusqlite::Result<_>>()?;
    Ok(all)
}

fn text<'m>(row: &'m Map<String, Json>, key: &str) -> &'m str {
    row.get(key).and_then(Json::as_str).unwrap_or_default()
}

/// Milliseconds and size.
type Points = Vec<[f64; 2]>;
type Trends = HashMap<String, Points>;

/// The sizes of a day change slowly: they are asked for once a minute.
#[derive(Default)]
pub struct Cache(Mutex<Option<(Instant, Trends)>>);

impl Cache {
    fn trends(&self, db: &Connection) -> Result<Trends> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, trends)) = kept.as_ref().filter(|(at, _)| at.elapsed() < Duration::from_secs(60)) {
            let _ = at;
            return Ok(trends.clone());
        }
        let mut trends = Trends::new();
        let mut q =
            db.prepare("SELECT db_name, 1000.0 * strftime('%s', at), value FROM metric_series('storage_used', NULL, '{\"hours\":24,\"points\":24}')")?;
        for row in q.query_map([], |r| Ok((r.get::<_, String>(0)?, [r.get(1)?, r.get(2)?])))? {
            let (name, point) = row?;
            trends.entry(name).or_default().push(point);
        }
        *kept = Some((Instant::now(), trends.clone()));
        Ok(trends)
    }
}

/// Sums over all databases, and the rows of those that are shown. Of a large fleet only these become objects.
fn fleet(db: &Connection, find: &str) -> Result<(Json, Vec<Map<String, Json>>)> {
    let mut q = db.prepare("SELECT * FROM fleet_overview")?;
    let names: Vec<String> = q.column_names().iter().map(|n| (*n).to_owned()).collect();
    let at = |name: &str| names.iter().position(|n| n == name).unwrap_or(usize::MAX);
    let [name, health, bytes, rows, tables, alerts, proven] =
        ["db_name", "health_status", "size_bytes", "rows", "tables", "active_alerts", "last_proven_backup"].map(at);
    let words = ["CRITICAL", "UNREACHABLE", "WARNING", "HEALTHY"];
    let mut count = [0u64; 4];
    let (mut all, mut sum, mut safe) = (0u64, [0i64; 3], 0u64);
    let find = find.to_lowercase();
    let mut kept: Vec<((usize, i64, i64), Vec<Value>)> = vec![];
    let mut found = q.query([])?;
    while let Some(r) = found.next()? {
        let number = |i| r.get_ref(i).ok().and_then(|v| v.as_i64_or_null().ok().flatten()).unwrap_or(0);
        let grave = r.get_ref(health)?.as_str_or_null().ok().flatten().and_then(|h| words.iter().position(|w| *w == h)).unwrap_or(3);
        if let Some(n) = count.get_mut(grave) {
            *n += 1;
        }
        for (total, i) in sum.iter_mut().zip([bytes, rows, tables]) {
            *total += number(i);
        }
        safe += u64::from(r.get_ref(proven)? != ValueRef::Null);
        let key = (grave, -number(alerts), -number(bytes));
        if find.is_empty() || r.get_ref(name)?.as_str().is_ok_and(|n| n.to_lowercase().contains(&find)) {
            // The last that is kept gives way to a graver one.
            if kept.len() < ROWS || kept.last().is_some_and(|(last, _)| key < *last) {
                let place = kept.partition_point(|(k, _)| *k <= key);
                kept.insert(place, (key, (0..names.len()).map(|i| r.get(i)).collect::<rusqlite::Result<_>>()?));
                kept.truncate(ROWS);
            }
        }
        all += 1;
    }
    let [critical, unreachable, warning, healthy] = count;
    let [bytes, rows, tables] = sum;
    let totals = json!({"databases": all, "healthy": healthy, "warning": warning, "critical": critical, "unreachable": unreachable,
                        "bytes": bytes, "rows": rows, "tables": tables, "proven": safe});
    let object = |row: Vec<Value>| names.iter().cloned().zip(row.iter().map(|v| value(v.into()))).collect();
    Ok((totals, kept.into_iter().map(|(_, row)| object(row)).collect()))
}

/// Everything but the charts. `find` is a part of a name.
pub fn state(db: &Connection, cache: &Cache, find: &str) -> Result<Json> {
    let (totals, mut fleet) = fleet(db, find)?;
    let mut trends = cache.trends(db)?;
    for r in &mut fleet {
        let trend = trends.remove(text(r, "db_name")).unwrap_or_default();
        r.insert("trend".into(), json!(trend));
    }
    let (open, critical): (i64, i64) =
        db.query_row("SELECT count(*), coalesce(sum(severity = 'CRITICAL'), 0) FROM active_alerts", [], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(json!({
        "now": db.query_row("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')", [], |r| r.get::<_, String>(0))?,
        "totals": totals,
        "fleet": fleet,
        "alerts": rows(db, "SELECT * FROM active_alerts LIMIT 100")?,
        "alerts_open": open,
        "alerts_critical": critical,
        "history": rows(db, "SELECT at, event, severity, message, who FROM alert_history ORDER BY event_id DESC LIMIT 15")?,
        "syncs": rows(db, "SELECT * FROM sync_status_summary LIMIT 50")?,
        "monitor": rows(db, "SELECT * FROM monitor_status")?.into_iter().next(),
        // A library without query statistics has nothing to show.
        "slow": rows(db, "SELECT sql, calls, avg_ms, max_ms FROM query_stats ORDER BY max_ms DESC LIMIT 10").unwrap_or_default(),
    }))
}

/// One metric over time: the databases whose mean is highest.
pub fn series(db: &Connection, metric: &str, hours: u32) -> Result<Json> {
    let title = super::page::METRICS.iter().find(|m| m.0 == metric).map_or(metric, |m| m.1);
    let unit: String = db.query_row("SELECT coalesce(max(unit), '') FROM metric_types WHERE metric_type = ?", [metric], |r| r.get(0))?;
    let whole = json!({"hours": hours, "points": 1}).to_string();
    let mut q = db.prepare("SELECT db_name, sum(value * samples) / sum(samples) AS mean FROM metric_series(?, NULL, ?) GROUP BY 1 ORDER BY 2 DESC, 1")?;
    let mut names: Vec<String> = q.query_map([metric, &whole], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?;
    // These are of the machine: the same for every database.
    if ["memory_usage", "cpu_usage"].contains(&metric) {
        names.truncate(1);
    }
    let total = names.len();
    names.truncate(LINES);
    let now: f64 = db.query_row("SELECT 1000.0 * strftime('%s', 'now')", [], |r| r.get(0))?;
    let span = f64::from(hours) * 3_600_000.0;
    let points = json!({"hours": hours, "points": 240}).to_string();
    let mut all = vec![];
    let mut q = db.prepare("SELECT 1000.0 * strftime('%s', at), value FROM metric_series(?, ?, ?)")?;
    for name in &names {
        let line: Points = q.query_map([metric, name, &points], |r| Ok([r.get(0)?, r.get(1)?]))?.collect::<rusqlite::Result<_>>()?;
        let shown = if names.len() == 1 && total == 1 && ["memory_usage", "cpu_usage"].contains(&metric) { "this machine" } else { name };
        all.push(json!({"db": shown, "points": line}));
    }
    // The chart begins with its first value, not with hours of nothing.
    let first = all.iter().filter_map(|s| s.pointer("/points/0/0").and_then(Json::as_f64)).fold(f64::INFINITY, f64::min);
    let from = if first.is_finite() { first.max(now - span).min(now - 60_000.0) } else { now - span };
    let usual = spacing(&all).max(span / 240.0);
    Ok(json!({"metric": metric, "title": title, "unit": unit, "from": from, "to": now, "gap": usual * 3.0, "total": total, "series": all}))
}

/// The usual time between two points: the median of all.
fn spacing(all: &[Json]) -> f64 {
    let mut between: Vec<f64> = vec![];
    for s in all {
        let times: Vec<f64> = s.get("points").and_then(Json::as_array).map_or(vec![], |p| p.iter().filter_map(|p| p.get(0).and_then(Json::as_f64)).collect());
        between.extend(times.windows(2).map(|w| w[1] - w[0]));
    }
    between.sort_by(f64::total_cmp);
    between.get(between.len() / 2).copied().unwrap_or(0.0)
}

/// A report's data: the state, and every chart.
pub fn saved(db: &Connection, hours: u32) -> Result<Json> {
    let mut charts = Map::new();
    for (metric, _) in super::page::METRICS {
        charts.insert(metric.into(), series(db, metric, hours)?);
    }
    Ok(json!({"state": state(db, &Cache::default(), "")?, "series": charts}))
}
