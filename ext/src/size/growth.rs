//! How fast a database grows, and when it meets its limit: a line through the sizes that were recorded.
use crate::db::time;
use crate::error::Result;
use crate::hub::Hub;
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, Statement};

/// Sizes of so many days are looked at.
pub const WINDOW_DAYS: i64 = 7;
/// A database that grows faster, in percent a day, is worth an alert.
pub const ALERT_PERCENT: f64 = 20.0;
/// Share of the cases in which the true slope lies in the range.
pub const CONFIDENCE: f64 = 0.95;
/// A forecast beyond it says nothing.
const HORIZON_DAYS: f64 = 36_500.0;
/// An hour's jump times twenty-four says nothing about a day.
const LEAST_DAYS: f64 = 1.0 / 24.0;

/// The growth within the window.
#[derive(Clone, Debug, PartialEq)]
pub struct Growth {
    /// Sizes that were recorded, and the one of now.
    pub samples: usize,
    pub since: DateTime<Utc>,
    /// From the first size to now; whole at least, so that one early jump is not multiplied.
    pub days: f64,
    /// (size now − first) / first / days × 100
    pub percent_per_day: f64,
    /// Slope of the least-squares line.
    pub bytes_per_day: f64,
    /// Its range; None for two sizes, which lie on a line anyhow.
    pub range: Option<(f64, f64)>,
}

/// When the limit is met: as the line goes, as its steepest goes, as its flattest goes (None: never, or in a century).
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    pub date: DateTime<Utc>,
    pub earliest: Option<DateTime<Utc>>,
    pub latest: Option<DateTime<Utc>>,
}

/// Recorded sizes, asked for one database after another.
pub struct Recorded<'c> {
    query: Option<Statement<'c>>,
    now: DateTime<Utc>,
}

impl<'c> Recorded<'c> {
    pub fn of(db: &'c Connection) -> Result<Recorded<'c>> {
        let sql = "SELECT start_time AS at, avg_value AS value FROM hub.metric_history \
                   WHERE period = 'HOUR' AND db_name = ?1 AND metric_type = 'storage_used' AND start_time >= ?2 \
                   UNION ALL SELECT measurement_time, metric_value FROM hub.performance_metrics \
                   WHERE db_name = ?1 AND metric_type = 'storage_used' AND measurement_time >= ?2 ORDER BY at";
        let query = match Hub::find(db)? {
            Some(hub) => Some(db.prepare(&hub.sql(sql))?),
            None => None,
        };
        Ok(Recorded { query, now: Utc::now() })
    }

    /// None while less than an hour of sizes is recorded.
    pub fn growth(&mut self, name: &str, bytes: u64) -> Result<Option<Growth>> {
        let Some(query) = &mut self.query else { return Ok(None) };
        let since = time::stored(self.now - TimeDelta::days(WINDOW_DAYS));
        let mut sizes = vec![];
        let mut rows = query.query([name, &since])?;
        while let Some(r) = rows.next()? {
            // Rows that somebody else put there may hold anything.
            if let (Ok(at), Ok(value)) = (r.get::<_, String>(0), r.get::<_, f64>(1))
                && let Some(at) = time::parse(&at).filter(|at| *at < self.now)
                && value >= 0.0
            {
                sizes.push((at, value));
            }
        }
        sizes.push((self.now, bytes as f64));
        Ok(growth(&sizes))
    }

    pub fn forecast(&self, growth: &Growth, bytes: u64, limit: u64) -> Option<Forecast> {
        let left = limit.checked_sub(bytes).filter(|l| *l > 0)? as f64;
        let meets = |slope: f64| Some(left / slope).filter(|d| slope > 0.0 && *d < HORIZON_DAYS).map(|d| self.now + TimeDelta::seconds((d * 86_400.0) as i64));
        let date = meets(growth.bytes_per_day)?;
        let (low, high) = growth.range.map_or((None, None), |(low, high)| (Some(low), Some(high)));
        Some(Forecast { date, earliest: high.and_then(meets), latest: low.and_then(meets) })
    }
}

fn growth(sizes: &[(DateTime<Utc>, f64)]) -> Option<Growth> {
    let ((since, first), (now, last)) = (sizes.first()?, sizes.last()?);
    let days = (*now - *since).num_milliseconds() as f64 / 86_400_000.0;
    if days < LEAST_DAYS || *first <= 0.0 {
        return None;
    }
    let points: Vec<(f64, f64)> = sizes.iter().map(|(at, y)| ((*at - *since).num_milliseconds() as f64 / 86_400_000.0, *y)).collect();
    let (bytes_per_day, range) = line(&points)?;
    let days = days.max(1.0);
    Some(Growth { samples: sizes.len(), since: *since, days, percent_per_day: (last - first) / first / days * 100.0, bytes_per_day, range })
}

/// Slope of the least-squares line and its range: slope ± t × √(Σ residual² / (n − 2) / Σ (x − mean)²), the textbook
/// confidence interval of a regression slope (NIST/SEMATECH e-Handbook, 4.1.4.1). Sizes taken close together depend on each
/// other, which makes the true range wider than this.
fn line(points: &[(f64, f64)]) -> Option<(f64, Option<(f64, f64)>)> {
    let n = points.len() as f64;
    let mean = |f: fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / n;
    let (mx, my) = (mean(|p| p.0), mean(|p| p.1));
    let sxx: f64 = points.iter().map(|(x, _)| (x - mx).powi(2)).sum();
    let sxy: f64 = points.iter().map(|(x, y)| (x - mx) * (y - my)).sum();
    let slope = sxy / sxx;
    if !slope.is_finite() {
        return None;
    }
    let free = points.len().saturating_sub(2);
    if free == 0 {
        return Some((slope, None));
    }
    let residuals: f64 = points.iter().map(|(x, y)| (y - my - slope * (x - mx)).powi(2)).sum();
    let wide = student(free) * (residuals / free as f64 / sxx).sqrt();
    Some((slope, Some((slope - wide, slope + wide))))
}

/// 97.5 % quantile of Student's t; above ten degrees of freedom 1.96 + 2.5 / n is within 1 %.
fn student(free: usize) -> f64 {
    const TABLE: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    TABLE.get(free - 1).copied().unwrap_or(1.96 + 2.5 / free as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(sizes: &[(f64, f64)]) -> Vec<(DateTime<Utc>, f64)> {
        let start = time::parse("2026-01-01 00:00:00").unwrap();
        sizes.iter().map(|(day, y)| (start + TimeDelta::seconds((day * 86_400.0) as i64), *y)).collect()
    }

    #[test]
    fn a_line_and_its_range() {
        let exact = growth(&days(&[(0.0, 100.0), (1.0, 110.0), (2.0, 120.0), (4.0, 140.0)])).unwrap();
        assert_eq!((exact.samples, exact.days, exact.percent_per_day), (4, 4.0, 10.0));
        assert!((exact.bytes_per_day - 10.0).abs() < 1e-9);
        let (low, high) = exact.range.unwrap();
        assert!((low - 10.0).abs() < 1e-6 && (high - 10.0).abs() < 1e-6);
        // Worked by hand: slope 8, residuals −2 +4 −2 → Σ² 24, Σ(x − mean)² 2, t 12.706: ± 44.01.
        let rough = growth(&days(&[(0.0, 100.0), (1.0, 114.0), (2.0, 116.0)])).unwrap();
        let (low, high) = rough.range.unwrap();
        assert!((rough.bytes_per_day - 8.0).abs() < 1e-9 && (low + 36.01).abs() < 0.01 && (high - 52.01).abs() < 0.01, "{low} {high}");
        assert_eq!(growth(&days(&[(0.0, 100.0), (0.01, 200.0)])), None);
        assert_eq!(growth(&days(&[(0.0, 0.0), (2.0, 200.0)])), None);
        assert_eq!(growth(&days(&[(0.0, 100.0), (0.5, 150.0)])).map(|g| (g.percent_per_day, g.range)), Some((50.0, None)));
    }

    #[test]
    fn a_forecast_meets_the_limit_or_never() {
        let db = Connection::open_in_memory().unwrap();
        let recorded = Recorded::of(&db).unwrap();
        let g = |slope, range| Growth { samples: 3, since: recorded.now, days: 1.0, percent_per_day: 0.0, bytes_per_day: slope, range };
        let at = |f: &Forecast| [Some(f.date), f.earliest, f.latest].map(|d| d.map(|d| (d - recorded.now).num_days()));
        let f = recorded.forecast(&g(10.0, Some((5.0, 20.0))), 100, 200).unwrap();
        assert_eq!(at(&f), [Some(10), Some(5), Some(20)]);
        assert_eq!(at(&recorded.forecast(&g(10.0, Some((-5.0, 20.0))), 100, 200).unwrap()), [Some(10), Some(5), None]);
        assert_eq!(recorded.forecast(&g(0.0, None), 100, 200), None);
        assert_eq!(recorded.forecast(&g(-1.0, None), 100, 200), None);
        assert_eq!(recorded.forecast(&g(10.0, None), 200, 200), None);
    }
}
