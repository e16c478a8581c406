//! The fleet script, a week later: sizes that were recorded become an alert and a date.
use dbint_tests::{Way, demo_fleet};
use rusqlite::Connection;

#[test]
fn growth_of_the_fleet_alerts_and_is_forecast() {
    let fleet = demo_fleet();
    let db = Connection::open(fleet.path().join("production.db")).unwrap();
    Way::Linked.register(&db).unwrap();
    let text = |sql: &str| db.query_row(sql, [], |r| r.get::<_, String>(0)).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let open =
        || text("SELECT coalesce(group_concat(db_name), '') FROM (SELECT db_name FROM alerts WHERE rule_id = 'size_growth' AND state = 'OPEN' ORDER BY 1)");
    assert_eq!(open(), "");
    // Analytics grew by a third a day, monitoring by a tenth, validation_results not at all; as the monitor would have recorded it.
    db.execute_batch(
        "INSERT INTO performance_metrics(metric_id, db_name, metric_type, metric_value, unit, measurement_time)
         SELECT db_name || day, db_name, 'storage_used', db_size / (1 + rate * day), 'bytes', datetime('now', '-' || day || ' days')
         FROM database_registry
         JOIN (SELECT 'analytics' AS name, 0.34 AS rate UNION ALL SELECT 'monitoring', 0.1 UNION ALL SELECT 'validation_results', 0.0) ON name = db_name
         JOIN (SELECT 1 AS day UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4)",
    )
    .unwrap();
    db.execute_batch("CREATE TEMP TABLE seen AS SELECT * FROM collect_metrics('*', '{\"groups\":[\"resources\"]}'); SELECT evaluate_alerts()").unwrap();
    assert_eq!(open(), "analytics");
    let rows: Vec<(String, i64, Option<String>, Option<String>, Option<String>)> = db
        .prepare("SELECT db_name, growth_alert, breach_date, breach_earliest, breach_latest FROM size_report WHERE growth_alert IS NOT NULL AND db_name IN ('analytics', 'monitoring', 'validation_results') ORDER BY 1")
        .unwrap()
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    println!("{rows:#?}");
    let [(analytics, alert, date, earliest, latest), (monitoring, quiet, ..), (steady, still, never, ..)] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((analytics.as_str(), *alert, monitoring.as_str(), *quiet, steady.as_str(), *still), ("analytics", 1, "monitoring", 0, "validation_results", 0));
    assert!(date.is_some() && earliest <= date && (latest.is_none() || latest >= date));
    assert_eq!(*never, None);
    let message = text("SELECT message FROM active_alerts WHERE db_name = 'analytics'");
    println!("{message}");
    assert!(text("SELECT json_extract(size_check('analytics'), '$.forecast.breach_date')") == *date.as_ref().unwrap());
}
