//! What is measured: one fixed word for each metric, its unit, its formula, and how often the monitor takes it.

/// Metrics that are taken together, and the seconds between two rounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    Health,
    Performance,
    Sync,
    Consistency,
    Resources,
}

impl Group {
    pub const ALL: [Group; 5] = [Group::Health, Group::Performance, Group::Sync, Group::Consistency, Group::Resources];

    pub const fn word(self) -> &'static str {
        match self {
            Group::Health => "health",
            Group::Performance => "performance",
            Group::Sync => "sync",
            Group::Consistency => "consistency",
            Group::Resources => "resources",
        }
    }

    /// Seconds between two rounds of the monitor, unless one number overrides them all.
    pub const fn interval_s(self) -> f64 {
        match self {
            Group::Health => 60.0,
            Group::Performance => 30.0,
            Group::Sync => 300.0,
            Group::Consistency => 1800.0,
            Group::Resources => 120.0,
        }
    }
}

pub struct Metric {
    /// The `metric_type` of rows and rules.
    pub word: &'static str,
    /// The name of the figure where it has another one.
    pub alias: &'static str,
    pub unit: &'static str,
    pub group: Group,
    pub formula: &'static str,
}

const fn metric(word: &'static str, alias: &'static str, unit: &'static str, group: Group, formula: &'static str) -> Metric {
    Metric { word, alias, unit, group, formula }
}

/// Every metric. A figure that cannot be had on a host or for a database has no value and a reason, never a made-up number.
pub const METRICS: &[Metric] = &[
    metric(
        "query_time",
        "query_response_time",
        "s",
        Group::Performance,
        "median of 5 runs of one probe: count the schema, then read the first row of each of up to 8 tables",
    ),
    metric("query_time_average", "average_query_time", "s", Group::Performance, "mean of the last 60 values of query_time"),
    metric("connection_time", "", "s", Group::Performance, "opening the file and reading its header, the slowest of 3"),
    metric("connection_efficiency", "", "%", Group::Performance, "connections answered within 0.1 s / connections tried × 100, of 3"),
    metric(
        "insert_throughput",
        "",
        "rows/s",
        Group::Performance,
        "1,000 rows of 100 bytes in one transaction into a scratch file with the page size of the database, never into the database",
    ),
    metric("lock_waits", "", "count", Group::Performance, "times a probe of this round found the database locked and had to wait"),
    metric("availability", "", "%", Group::Health, "100 where the database answered this round, else 0; its mean over a time is the availability"),
    metric("database_integrity", "integrity", "%", Group::Health, "checks passed / checks run × 100, of quick_check and foreign_key_check"),
    metric("health_status", "", "level", Group::Health, "0 HEALTHY, 1 WARNING, 2 CRITICAL, 3 UNREACHABLE"),
    metric("sync_duration", "sync_performance", "s", Group::Sync, "mean duration of the successful syncs from or to the database in the last 24 hours"),
    metric(
        "error_rate",
        "",
        "%",
        Group::Sync,
        "(failed syncs + unanswered probes) / (syncs + probes) × 100, of the syncs of the last hour and the last 60 probes",
    ),
    metric("consistency", "consistency_score", "%", Group::Consistency, "mean consistency score of the mappings from or to the database"),
    metric("consistency_warnings", "", "count", Group::Consistency, "consistency checks of these mappings that did not pass"),
    metric("backup_age", "", "s", Group::Consistency, "seconds since the newest backup was made that has passed a restore test"),
    metric("memory_usage", "", "%", Group::Resources, "memory in use / memory of the host or its container × 100"),
    metric("cpu_usage", "", "%", Group::Resources, "processor time in use, of all cores, between two looks at least 0.2 s apart"),
    metric("disk_io", "", "bytes/s", Group::Resources, "bytes this process read from and wrote to disk since the last look / seconds"),
    metric("connection_count", "", "count", Group::Resources, "open handles on the file in the processes this user may see (Linux)"),
    metric("storage_used", "", "bytes", Group::Resources, "bytes of the database file and its -wal"),
    metric("storage_limit", "", "%", Group::Resources, "storage_used / the size limit × 100"),
    metric("size_growth", "", "%/day", Group::Resources, "(storage_used now − first of the last 7 days) / first / days × 100"),
    metric("pool_usage", "", "%", Group::Resources, "connections in use / most connections × 100, of a pool"),
];

/// By word or alias, in any case.
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|m| m.word.eq_ignore_ascii_case(name) || (!m.alias.is_empty() && m.alias.eq_ignore_ascii_case(name)))
}

/// One figure of one database: a value, or the reason why there is none.
#[derive(Clone, Debug)]
pub struct Reading {
    pub metric: &'static str,
    pub value: std::result::Result<f64, String>,
}

impl Reading {
    pub fn new(metric: &'static str, value: f64) -> Reading {
        Reading { metric, value: if value.is_finite() { Ok(value) } else { Err("not a number".into()) } }
    }

    pub fn none(metric: &'static str, reason: impl Into<String>) -> Reading {
        Reading { metric, value: Err(reason.into()) }
    }

    pub fn unit(&self) -> &'static str {
        find(self.metric).map_or("", |m| m.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_aliases_find_them() {
        for (i, m) in METRICS.iter().enumerate() {
            assert!(METRICS.iter().skip(i + 1).all(|o| o.word != m.word && o.alias != m.word && (o.alias.is_empty() || o.alias != m.alias)), "{}", m.word);
        }
        assert_eq!(find("Query_Response_Time").unwrap().word, "query_time");
        let kpis = "query_response_time insert_throughput sync_performance connection_efficiency database_integrity consistency_score error_rate \
                    availability memory_usage disk_io cpu_usage connection_count storage_used lock_waits";
        for kpi in kpis.split_whitespace() {
            assert!(find(kpi).is_some(), "{kpi}");
        }
    }
}
