//! Old measurements become hourly, then daily figures; what is kept has a bound.
//!
//! ```text
//! performance_metrics   the last monitor.raw_hours, at most monitor.raw_rows rows
//! metric_history HOUR   30 days       DAY   2 years
//! ```
use crate::db::time;
use crate::error::Result;
use crate::hub::{Hub, install::savepoint, settings};
use rusqlite::{Connection, OptionalExtension};

/// The oldest rows of one pass: a pass is short, so that nobody waits long for the hub.
const PASS: i64 = 20_000;

const HOURS: &str = "INSERT INTO hub.metric_history(period, start_time, db_name, metric_type, samples, avg_value, min_value, max_value) \
    SELECT 'HOUR', substr(measurement_time, 1, 13) || ':00:00', db_name, metric_type, count(*), avg(metric_value), min(metric_value), max(metric_value) \
    FROM hub.performance_metrics WHERE rowid <= ?1 AND metric_value IS NOT NULL AND length(measurement_time) >= 19 \
    GROUP BY 2, 3, 4 HAVING true \
    ON CONFLICT(period, db_name, metric_type, start_time) DO UPDATE SET \
    avg_value = (avg_value * samples + excluded.avg_value * excluded.samples) / (samples + excluded.samples), samples = samples + excluded.samples, \
    min_value = min(min_value, excluded.min_value), max_value = max(max_value, excluded.max_value)";

const DAYS: &str = "INSERT INTO hub.metric_history(period, start_time, db_name, metric_type, samples, avg_value, min_value, max_value) \
    SELECT 'DAY', substr(start_time, 1, 10) || ' 00:00:00', db_name, metric_type, sum(samples), sum(avg_value * samples) / sum(samples), min(min_value), max(max_value) \
    FROM hub.metric_history WHERE period = 'HOUR' AND start_time < ?1 GROUP BY 2, 3, 4 HAVING true \
    ON CONFLICT(period, db_name, metric_type, start_time) DO UPDATE SET \
    avg_value = (avg_value * samples + excluded.avg_value * excluded.samples) / (samples + excluded.samples), samples = samples + excluded.samples, \
    min_value = min(min_value, excluded.min_value), max_value = max(max_value, excluded.max_value)";

/// Rows of performance_metrics that went into the history.
pub fn run(db: &Connection, hub: &Hub) -> Result<usize> {
    let hours = settings::number(db, "monitor.raw_hours")?.clamp(1.0, 24.0 * 366.0);
    let most = settings::number(db, "monitor.raw_rows")?.max(1_000.0) as i64;
    let now = chrono::Utc::now();
    let before = |hours: f64| time::stored(now - chrono::Duration::seconds((hours * 3600.0) as i64));
    let mut gone = 0;
    loop {
        // Rows are in the order they came; the newest is never taken, so that the numbering goes on.
        let (first, last): (Option<i64>, Option<i64>) =
            db.query_row(&hub.sql("SELECT (SELECT min(rowid) FROM hub.performance_metrics), (SELECT max(rowid) FROM hub.performance_metrics)"), [], |r| {
                Ok((r.get(0)?, r.get(1)?))
            })?;
        let (Some(first), Some(last)) = (first, last) else { break };
        let old = "SELECT max(rowid) FROM (SELECT rowid, measurement_time FROM hub.performance_metrics ORDER BY rowid LIMIT ?1) WHERE measurement_time < ?2";
        let old: Option<i64> = db.prepare(&hub.sql(old))?.query_row((PASS, before(hours)), |r| r.get(0)).optional()?.flatten();
        let many = (last - first >= most).then(|| (last - most).min(first + PASS));
        let Some(until) = old.into_iter().chain(many).max().map(|u| u.min(last - 1)).filter(|u| *u >= first) else { break };
        gone += savepoint(db, || {
            db.execute(&hub.sql(HOURS), [until])?;
            Ok(db.execute(&hub.sql("DELETE FROM hub.performance_metrics WHERE rowid <= ?"), [until])?)
        })?;
    }
    savepoint(db, || {
        let (month, years) = (before(30.0 * 24.0), before(2.0 * 366.0 * 24.0));
        // Whole days only: a day is made once all of its hours are old.
        let day = format!("{} 00:00:00", month.get(..10).unwrap_or(&month));
        db.execute(&hub.sql(DAYS), [&day])?;
        db.execute(&hub.sql("DELETE FROM hub.metric_history WHERE period = 'HOUR' AND start_time < ?"), [&day])?;
        db.execute(&hub.sql("DELETE FROM hub.metric_history WHERE period = 'DAY' AND start_time < ?"), [&years])?;
        // Resolved alerts and checks are history, too.
        db.execute(&hub.sql("DELETE FROM hub.health_history WHERE checked_at < ?"), [&month])?;
        Ok(())
    })?;
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::install;

    #[test]
    fn raw_rows_become_hours_and_days_and_nothing_is_lost() {
        let db = Connection::open_in_memory().unwrap();
        let hub = install::install(&db, "main", None).unwrap().hub;
        let now = chrono::Utc::now();
        let mut put = db
            .prepare("INSERT INTO performance_metrics(metric_id, db_name, metric_type, metric_value, measurement_time) VALUES(?, 'a', 'query_time', ?, ?)")
            .unwrap();
        // 100 days, every six hours.
        for i in 0..400 {
            let at = time::stored(now - chrono::Duration::hours((400 - i) * 6));
            put.execute((i, i as f64, at)).unwrap();
        }
        drop(put);
        let gone = run(&db, &hub).unwrap();
        let one = |sql: &str| db.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
        let raw = one("SELECT count(*) FROM performance_metrics");
        assert!((7..=9).contains(&raw), "{raw}");
        assert_eq!(gone as i64 + raw, 400);
        assert_eq!(one("SELECT sum(samples) FROM metric_history") + raw, 400);
        assert!((69..=72).contains(&one("SELECT count(*) FROM metric_history WHERE period = 'DAY'")));
        // The mean of all is the mean of what was put in.
        let sum: f64 = db
            .query_row("SELECT (SELECT sum(avg_value * samples) FROM metric_history) + (SELECT sum(metric_value) FROM performance_metrics)", [], |r| r.get(0))
            .unwrap();
        assert!((sum - (0..400).sum::<i64>() as f64).abs() < 1e-6, "{sum}");
        assert_eq!(one("SELECT CAST(min(min_value) AS INTEGER) FROM metric_history"), 0);
        // Again: nothing more to do.
        assert_eq!(run(&db, &hub).unwrap(), 0);
        // A bound on rows, whatever their age.
        db.execute_batch("INSERT INTO configuration(key, value) VALUES('monitor.raw_rows', '1000')").unwrap();
        let mut put = db.prepare("INSERT INTO performance_metrics(metric_id, db_name, metric_type, metric_value) VALUES(?, 'b', 'query_time', 1)").unwrap();
        for i in 0..3_000 {
            put.execute([format!("b{i}")]).unwrap();
        }
        drop(put);
        run(&db, &hub).unwrap();
        assert!(one("SELECT count(*) FROM performance_metrics") <= 1_001);
        assert_eq!(
            one("SELECT (SELECT sum(samples) FROM metric_history WHERE db_name = 'b') + (SELECT count(*) FROM performance_metrics WHERE db_name = 'b')"),
            3_000
        );
    }
}
