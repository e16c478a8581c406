//! The toolkit fleet a week on: sizes recorded on earlier days make an alert and a forecast, and steady ones make none.
use dbint_tests::{Way, demo_fleet};
use rusqlite::Connection;
use serde_json::Value as Json;

fn json(db: &Connection, sql: &str) -> Json {
    serde_json::from_str(&db.query_row(sql, [], |r| r.get::<_, String>(0)).unwrap()).unwrap()
}

#[test]
fn recorded_sizes_alert_of_growth_and_forecast_the_day_of_the_limit() {
    let fleet = demo_fleet();
    let db = Connection::open(fleet.path().join("production.db")).unwrap();
    Way::Linked.register(&db).unwrap();
    // Shares of the size of now, four days ago until yesterday: one grew to four times its size, unevenly, one by a tenth of a percent.
    db.execute_batch("DELETE FROM performance_metrics WHERE metric_type = 'storage_used'; DELETE FROM metric_history WHERE metric_type = 'storage_used'")
        .unwrap();
    for (name, shares) in [("analytics", [0.25, 0.42, 0.63, 0.79]), ("monitoring", [0.9990, 0.9993, 0.9994, 0.9998])] {
        for (share, days) in shares.into_iter().zip([4, 3, 2, 1]) {
            let size: f64 = db.query_row("SELECT size_bytes FROM size_report WHERE db_name = ?", [name], |r| r.get(0)).unwrap();
            db.execute(
                "INSERT INTO performance_metrics(metric_id, db_name, metric_type, metric_value, unit, measurement_time)
                 VALUES(hex(randomblob(8)), ?1, 'storage_used', round(?2 * ?3), 'bytes', datetime('now', ?4))",
                (name, size, share, format!("-{days} days")),
            )
            .unwrap();
        }
        db.query_row("SELECT count(*) FROM collect_metrics(?, '{\"groups\":[\"resources\"]}')", [name], |_| Ok(())).unwrap();
    }
    json(&db, "SELECT evaluate_alerts()");
    let alerts: Vec<(String, String, String)> = db
        .prepare("SELECT db_name, severity, message FROM active_alerts WHERE rule_id = 'size_growth'")
        .unwrap()
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    println!("{alerts:?}");
    assert!(matches!(alerts.as_slice(), [(name, severity, _)] if name == "analytics" && severity == "WARNING"), "{alerts:?}");

    // The forecast: the line through the five sizes, to the day, within its range of 95 %.
    let size = json(&db, "SELECT size_check('analytics')");
    println!("{}\n{}", size["growth"], size["forecast"]);
    let (growth, forecast) = (&size["growth"], &size["forecast"]);
    assert_eq!((growth["alert"].as_bool(), growth["days"].as_f64(), forecast["confidence"].as_f64()), (Some(true), Some(4.0), Some(0.95)));
    let percent = growth["percent_per_day"].as_f64().unwrap();
    assert!((percent - 75.0).abs() < 0.1, "{percent}");
    let day = |key: &str| forecast[key].as_str().unwrap().to_owned();
    assert!(day("earliest") < day("breach_date") && day("breach_date") < day("latest"));
    let left = size["limit_mb"].as_f64().unwrap() * 1e6 - size["size_bytes"].as_f64().unwrap();
    let days = (left / growth["bytes_per_day"].as_f64().unwrap()).floor();
    let by_hand: bool = db
        .query_row("SELECT ?1 BETWEEN date('now', (?2 - 1) || ' days') AND date('now', (?2 + 1) || ' days')", (day("breach_date"), days), |r| r.get(0))
        .unwrap();
    assert!(by_hand, "{} and {days} days", day("breach_date"));

    // The report says the same, and nothing of the kind of the steady one.
    let rows: Vec<(String, bool, Option<String>)> = db
        .prepare("SELECT db_name, growth_alert, breach_date FROM size_report WHERE db_name IN ('analytics', 'monitoring') ORDER BY db_name")
        .unwrap()
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(rows[0], ("analytics".into(), true, Some(day("breach_date"))));
    assert!(rows[1].0 == "monitoring" && !rows[1].1, "{rows:?}");
}
