//! Collecting: what a database tells on its own, and what the hub knows about it, stored as metrics.
use super::{
    host::Machine,
    measure,
    metrics::{self, Group, Reading},
    record,
};
use crate::db::time;
use crate::error::{Error, Result};
use crate::hub::{Hub, Target, settings, target::Place};
use crate::{kit::*, options};
use rusqlite::{Connection, OptionalExtension, params, types::Value};

options! {
    pub struct CollectOptions {
        /// Only these groups: health, performance, sync, consistency, resources.
        groups: Vec<String>,
        /// false: measure only, store nothing.
        record: bool,
    }
}

pub const COLLECT_METRICS: Table = Table {
    name: "collect_metrics",
    args: &[opt("db", "schema, registered name or file; * for every registered database; default: this database"), options(CollectOptions::KEYS)],
    columns: &[
        col("db_name", "TEXT"),
        col("metric_type", "TEXT"),
        col("metric_value", "REAL"),
        col("unit", "TEXT"),
        col("baseline_value", "REAL"),
        col("performance_delta", "REAL"),
        col("reason", "TEXT"),
    ],
    access: Access::Outside,
    summary: "Measures a database and its host and stores the figures; what cannot be measured says why.",
    example: "SELECT metric_type, unit FROM collect_metrics('analytics', '{\"groups\":[\"health\"]}');",
    rows: collect_metrics,
};

pub const METRIC_TYPES: Table = Table {
    name: "metric_types",
    args: &[],
    columns: &[
        col("metric_type", "TEXT"),
        col("alias", "TEXT"),
        col("unit", "TEXT"),
        col("collected", "TEXT"),
        col("interval_s", "REAL"),
        col("formula", "TEXT"),
    ],
    access: Access::Pure,
    summary: "Every metric: its word, unit, formula, and how often the monitor takes it.",
    example: "SELECT metric_type, unit, interval_s FROM metric_types WHERE alias = 'query_response_time';",
    rows: |_| {
        let text = |t: &str| if t.is_empty() { Value::Null } else { Value::Text(t.into()) };
        rows(
            metrics::METRICS
                .iter()
                .map(|m| vec![text(m.word), text(m.alias), text(m.unit), text(m.group.word()), Value::Real(m.group.interval_s()), text(m.formula)])
                .collect(),
        )
    },
};

pub fn groups(words: Option<&[String]>) -> Result<Vec<Group>> {
    let Some(words) = words else { return Ok(Group::ALL.to_vec()) };
    let all = Group::ALL.map(Group::word);
    words
        .iter()
        .map(|w| {
            let word = one_of("group", w, &all)?;
            Group::ALL.into_iter().find(|g| g.word() == word).ok_or_else(|| Error::internal("group"))
        })
        .collect()
}

fn collect_metrics(call: &Call<'_>) -> Result<Rows> {
    let options: CollectOptions = call.options()?;
    let groups = groups(options.groups.as_deref())?;
    let hub = if options.record.unwrap_or(true) { Some(Hub::need(call.db)?) } else { Hub::find(call.db)? };
    let targets = match call.opt_text("db") {
        Some("*") => fleet(call.db)?,
        one => vec![Target::resolve(call.db, one)?],
    };
    let machine = groups.contains(&Group::Resources).then(Machine::look);
    let mut interrupt = Interrupt::of(call.db)?;
    let mut all = vec![];
    for target in targets {
        interrupt.check()?;
        let now = time::now();
        let read = target_readings(call.db, hub.as_ref(), &target, &groups, machine.as_ref(), &now)?;
        let stored = match &hub {
            Some(hub) if options.record.unwrap_or(true) => record::write(call.db, hub, |db, hub| record::readings(db, hub, &target.name, &read, &now))?,
            _ => vec![],
        };
        for (i, r) in read.iter().enumerate() {
            let of = stored.get(i);
            let real = |v: Option<f64>| v.map_or(Value::Null, Value::Real);
            all.push(vec![
                Value::Text(target.name.clone()),
                Value::Text(r.metric.into()),
                real(r.value.as_ref().ok().copied()),
                Value::Text(r.unit().into()),
                real(of.and_then(|s| s.baseline)),
                real(of.and_then(|s| s.delta)),
                r.value.as_ref().err().map_or(Value::Null, |e| Value::Text(e.clone())),
            ]);
        }
    }
    rows(all)
}

/// Every registered database, and this one where nothing is registered.
pub fn fleet(db: &Connection) -> Result<Vec<Target>> {
    let names = crate::hub::target::registry(db)?;
    if names.is_empty() {
        return Ok(vec![Target::resolve(db, None)?]);
    }
    Ok(names.into_iter().map(|(name, path)| Target { name, place: Place::File(path.into()) }).filter(|t| !is_server(t)).collect())
}

fn is_server(t: &Target) -> bool {
    matches!(&t.place, Place::File(p) if p.to_string_lossy().contains("://"))
}

fn target_readings(db: &Connection, hub: Option<&Hub>, target: &Target, groups: &[Group], machine: Option<&Machine>, now: &str) -> Result<Vec<Reading>> {
    let mut read = match (target.file(db)?, &target.place) {
        (Some(file), _) => measure::file(&file, groups, machine),
        (None, Place::Schema(schema)) => measure::memory(db, schema, groups, machine),
        (None, _) => return Err(Error::unsupported(format!("{} is a server; these metrics are of SQLite databases", target.name))),
    };
    if let Some(hub) = hub {
        from_hub(db, hub, &target.name, groups, now, &mut read)?;
    }
    Ok(read)
}

/// The figures that come from what the hub has recorded.
pub fn from_hub(db: &Connection, hub: &Hub, name: &str, groups: &[Group], now: &str, read: &mut Vec<Reading>) -> Result<()> {
    let value = |read: &[Reading], m: &str| read.iter().find(|r| r.metric == m).and_then(|r| r.value.as_ref().ok().copied());
    if groups.contains(&Group::Performance) {
        let sql = "SELECT sum(metric_value), count(*) FROM (SELECT metric_value FROM hub.performance_metrics \
                   WHERE db_name = ? AND metric_type = 'query_time' AND metric_value IS NOT NULL ORDER BY measurement_time DESC LIMIT 59)";
        let (sum, n): (Option<f64>, i64) = db.prepare(&hub.sql(sql))?.query_row([name], |r| Ok((r.get(0)?, r.get(1)?)))?;
        let this = value(read, "query_time");
        let n = n as f64 + f64::from(u8::from(this.is_some()));
        read.push(if n > 0.0 {
            Reading::new("query_time_average", (sum.unwrap_or(0.0) + this.unwrap_or(0.0)) / n)
        } else {
            Reading::none("query_time_average", "no query_time yet")
        });
    }
    if groups.contains(&Group::Sync) {
        let sql = "SELECT avg(CASE WHEN sync_status = 'SUCCESS' AND timestamp >= datetime(?1, '-24 hours') THEN sync_duration END), \
                   coalesce(sum(timestamp >= datetime(?1, '-1 hour')), 0), \
                   coalesce(sum(timestamp >= datetime(?1, '-1 hour') AND sync_status IN ('FAILED', 'ROLLED_BACK')), 0) \
                   FROM hub.cross_db_sync_log WHERE timestamp >= datetime(?1, '-24 hours') AND ?2 IN (source_db, target_db)";
        let (mean, syncs, failed): (Option<f64>, f64, f64) = db.prepare(&hub.sql(sql))?.query_row([now, name], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
        read.push(mean.map_or_else(|| Reading::none("sync_duration", "no successful sync in the last 24 hours"), |m| Reading::new("sync_duration", m)));
        let sql = "SELECT count(*), coalesce(sum(metric_value < 100), 0) FROM (SELECT metric_value FROM hub.performance_metrics \
                   WHERE db_name = ? AND metric_type = 'availability' ORDER BY measurement_time DESC LIMIT 59)";
        let (probes, unanswered): (f64, f64) = db.prepare(&hub.sql(sql))?.query_row([name], |r| Ok((r.get(0)?, r.get(1)?)))?;
        let this = value(read, "availability");
        let all = syncs + probes + f64::from(u8::from(this.is_some()));
        let bad = failed + unanswered + f64::from(u8::from(this.is_some_and(|v| v < 100.0)));
        read.push(if all > 0.0 {
            Reading::new("error_rate", bad / all * 100.0)
        } else {
            Reading::none("error_rate", "no sync in the last hour and no probe yet")
        });
    }
    if groups.contains(&Group::Consistency) {
        let sql = "SELECT (julianday(?1) - julianday(max(created_at))) * 86400 FROM hub.backup_catalog WHERE db_name = ?2 AND proven_at IS NOT NULL";
        let age: Option<f64> = db.prepare(&hub.sql(sql))?.query_row([now, name], |r| r.get(0))?;
        read.push(age.map_or_else(|| Reading::none("backup_age", "no backup of it was restored and compared yet"), |s| Reading::new("backup_age", s.max(0.0))));
    }
    if groups.contains(&Group::Consistency) {
        read.extend(agreement(db, hub, name)?);
    }
    if groups.contains(&Group::Resources)
        && let Some(used) = value(read, "storage_used")
    {
        read.push(Reading::new("storage_limit", used / (settings::number(db, "size.limit_mb")? * 1e6) * 100.0));
        read.push(growth(db, hub, name, used, now)?);
    }
    Ok(())
}

/// Content of both sides of the mappings that name the database.
pub fn agreement(db: &Connection, hub: &Hub, name: &str) -> Result<[Reading; 2]> {
    Ok(match super::agreement::score(db, hub, name)? {
        Some((score, wrong)) => [Reading::new("consistency", score), Reading::new("consistency_warnings", wrong)],
        None => ["consistency", "consistency_warnings"].map(|m| Reading::none(m, "no mapping names this database")),
    })
}

fn growth(db: &Connection, hub: &Hub, name: &str, used: f64, now: &str) -> Result<Reading> {
    let sql = "SELECT at, value FROM ( \
               SELECT * FROM (SELECT start_time AS at, avg_value AS value FROM hub.metric_history \
                 WHERE period = 'HOUR' AND db_name = ?2 AND metric_type = 'storage_used' AND start_time >= datetime(?1, '-7 days') ORDER BY start_time LIMIT 1) \
               UNION ALL \
               SELECT * FROM (SELECT measurement_time, metric_value FROM hub.performance_metrics \
                 WHERE measurement_time >= datetime(?1, '-7 days') AND db_name = ?2 AND metric_type = 'storage_used' ORDER BY measurement_time LIMIT 1)) \
               ORDER BY at LIMIT 1";
    let first: Option<(String, f64)> = db.prepare(&hub.sql(sql))?.query_row(params![now, name], |r| Ok((r.get(0)?, r.get(1)?))).optional()?;
    let Some((at, before)) = first else { return Ok(Reading::none("size_growth", "no earlier size is recorded")) };
    let days = time::seconds_between(&at, now).unwrap_or(0.0) / 86_400.0;
    // An hour's jump times twenty-four says nothing about a day.
    if days < 1.0 / 24.0 || before <= 0.0 {
        return Ok(Reading::none("size_growth", "less than an hour of sizes is recorded"));
    }
    Ok(Reading::new("size_growth", (used - before) / before / days.max(1.0) * 100.0))
}

/// One registered file, measured and completed from the hub.
pub fn of_file(db: &Connection, hub: &Hub, name: &str, path: &std::path::Path, groups: &[Group], machine: Option<&Machine>, now: &str) -> Result<Vec<Reading>> {
    let mut read = measure::file(path, groups, machine);
    from_hub(db, hub, name, groups, now, &mut read)?;
    Ok(read)
}
