//! The life of alerts, by a clock of the test's own, and their delivery to real receivers.
use dbint_tests::Way;
use rusqlite::Connection;
use std::{
    io::{Read, Write},
    net::TcpListener,
};

fn hub() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    Way::Linked.register(&db).unwrap();
    db.execute_batch("SELECT dbint_init()").unwrap();
    db
}

fn measured(db: &Connection, name: &str, metric: &str, value: f64, at: &str) {
    let sql = "INSERT INTO performance_metrics(metric_id, db_name, metric_type, metric_value, measurement_time) VALUES(hex(randomblob(8)), ?, ?, ?, ?)";
    db.execute(sql, (name, metric, value, at)).unwrap();
}

fn evaluate(db: &Connection, now: &str) -> serde_json::Value {
    let text: String = db.query_row("SELECT evaluate_alerts(?)", [format!("{{\"now\":\"{now}\"}}")], |r| r.get(0)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn count(answer: &serde_json::Value, key: &str) -> usize {
    answer[key].as_array().unwrap().len()
}

#[test]
fn every_default_rule_opens_and_resolves_once() {
    let db = hub();
    db.execute_batch("DELETE FROM alert_rules WHERE comparison = 'anomaly'").unwrap();
    let mut q = db.prepare("SELECT rule_id, metric_type, comparison, threshold, clear_threshold FROM alert_rules").unwrap();
    let rules: Vec<(String, String, String, f64, Option<f64>)> =
        q.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?))).unwrap().map(Result::unwrap).collect();
    assert_eq!(rules.len(), 18);
    for (i, (rule, metric, comparison, threshold, clear)) in rules.iter().enumerate() {
        let name = format!("db{i}");
        let opens = |at: &str| {
            db.query_row("SELECT count(*) FROM alerts WHERE rule_id = ? AND db_name = ? AND state <> 'RESOLVED'", (rule, at), |r| r.get::<_, i64>(0)).unwrap()
        };
        let (edge, bad, good) = match comparison.as_str() {
            ">" => (*threshold, threshold + 1.0, threshold - 1.0),
            ">=" => (threshold - 0.1, *threshold, threshold - 10.0),
            "<" => (*threshold, threshold - 1.0, 100.0),
            "=" => (threshold + 1.0, *threshold, 100.0),
            other => panic!("{other}"),
        };
        let good = if *threshold == 0.0 && comparison == ">" {
            0.0
        } else if comparison == ">" {
            clear.unwrap_or(good) - 0.5
        } else {
            good
        };
        measured(&db, &name, metric, edge, "2026-01-01 00:00:00");
        evaluate(&db, "2026-01-01 00:00:01");
        assert_eq!(opens(&name), 0, "{rule} at its edge");
        measured(&db, &name, metric, bad, "2026-01-01 00:01:00");
        evaluate(&db, "2026-01-01 00:01:01");
        assert_eq!(opens(&name), 1, "{rule} opens");
        // Back behind the threshold, but not behind the point where it clears.
        if let Some(clear) = clear {
            measured(&db, &name, metric, (clear + threshold) / 2.0, "2026-01-01 00:02:00");
            evaluate(&db, "2026-01-01 00:02:01");
            assert_eq!(opens(&name), 1, "{rule} does not flap");
        }
        measured(&db, &name, metric, good, "2026-01-01 00:03:00");
        evaluate(&db, "2026-01-01 00:03:01");
        assert_eq!(opens(&name), 0, "{rule} resolves");
        let events: String = db
            .query_row("SELECT group_concat(event, ' ') FROM alert_events JOIN alerts USING(alert_id) WHERE rule_id = ? AND db_name = ?", (rule, &name), |r| {
                r.get(0)
            })
            .unwrap();
        assert_eq!(events, "OPENED RESOLVED", "{rule}");
    }
}

/// A fleet has its own idea of what is normal: rules are rows.
#[test]
fn a_fleet_may_set_another_threshold_than_the_default() {
    let db = hub();
    db.execute_batch("UPDATE alert_rules SET threshold = 10, clear_threshold = 8 WHERE rule_id = 'error_rate_critical'").unwrap();
    let critical = || db.query_row("SELECT count(*) FROM active_alerts WHERE severity = 'CRITICAL'", [], |r| r.get::<_, i64>(0)).unwrap();
    measured(&db, "platform", "error_rate", 7.0, "2026-01-01 00:00:00");
    evaluate(&db, "2026-01-01 00:00:01");
    assert_eq!(critical(), 0);
    measured(&db, "platform", "error_rate", 11.0, "2026-01-01 00:01:00");
    evaluate(&db, "2026-01-01 00:01:01");
    assert_eq!(critical(), 1);
    // Installing again keeps the user's row.
    db.execute_batch("SELECT dbint_init()").unwrap();
    assert_eq!(db.query_row("SELECT threshold FROM alert_rules WHERE rule_id = 'error_rate_critical'", [], |r| r.get::<_, f64>(0)).unwrap(), 10.0);
}

#[test]
fn an_alert_waits_for_its_time_and_for_maintenance_to_end() {
    let db = hub();
    db.execute_batch(
        "DELETE FROM alert_rules;
         INSERT INTO alert_rules(rule_id, metric_type, threshold, for_s, scope) VALUES('slow', 'query_response_time', 1, 60, 'shop*');
         INSERT INTO maintenance_windows(scope, starts_at, ends_at) VALUES('shop2', '2026-01-01 00:00:00', '2026-01-01 01:00:00')",
    )
    .unwrap();
    for name in ["shop1", "shop2", "other"] {
        measured(&db, name, "query_time", 2.0, "2026-01-01 00:00:00");
    }
    assert_eq!(count(&evaluate(&db, "2026-01-01 00:00:59"), "opened"), 0);
    // No new sample is needed: time passes.
    assert_eq!(count(&evaluate(&db, "2026-01-01 00:01:00"), "opened"), 1);
    assert_eq!(count(&evaluate(&db, "2026-01-01 00:01:30"), "opened"), 0);
    assert_eq!(count(&evaluate(&db, "2026-01-01 01:00:00"), "opened"), 1);
    // The clock set back neither opens nor resolves anything.
    let back = evaluate(&db, "2025-12-31 00:00:00");
    assert_eq!((count(&back, "opened"), count(&back, "resolved"), back["active"].as_i64()), (0, 0, Some(2)));
    // A short dip within one evaluation counts, however late it is seen.
    measured(&db, "shop1", "query_time", 0.5, "2026-01-01 01:10:00");
    measured(&db, "shop1", "query_time", 2.0, "2026-01-01 01:10:10");
    let seen = evaluate(&db, "2026-01-01 01:10:20");
    assert_eq!((count(&seen, "opened"), count(&seen, "resolved")), (0, 1));
    // A rule that is switched off takes its alerts along.
    db.execute_batch("UPDATE alert_rules SET enabled = 0").unwrap();
    assert_eq!(count(&evaluate(&db, "2026-01-01 02:00:00"), "resolved"), 1);
}

#[test]
fn acknowledging_and_resolving_by_hand() {
    let db = hub();
    measured(&db, "a", "availability", 0.0, "2026-01-01 00:00:00");
    let id = evaluate(&db, "2026-01-01 00:00:00")["opened"][0].as_str().unwrap().to_owned();
    let call = |sql: &str| db.query_row(sql, [&id], |r| r.get::<_, String>(0));
    assert!(call("SELECT acknowledge_alert(?, 'ann')").unwrap().contains("\"acknowledged_by\":\"ann\""));
    assert!(call("SELECT acknowledge_alert(?, 'bob')").unwrap().contains("ann"));
    assert_eq!(db.query_row("SELECT state || acknowledged_by FROM active_alerts", [], |r| r.get::<_, String>(0)).unwrap(), "ACKNOWLEDGEDann");
    call("SELECT resolve_alert(?, 'cable')").unwrap();
    assert!(call("SELECT acknowledge_alert(?)").unwrap_err().to_string().contains("resolved already"));
    assert!(db.query_row("SELECT acknowledge_alert('none')", [], |_| Ok(())).unwrap_err().to_string().contains("[DBINT_NOT_FOUND]"));
    measured(&db, "a", "availability", 0.0, "2026-01-01 00:05:00");
    assert_eq!(count(&evaluate(&db, "2026-01-01 00:05:00"), "opened"), 1);
}

#[test]
fn what_is_unusual_for_the_hour_rings() {
    let db = hub();
    db.execute_batch("DELETE FROM alert_rules WHERE rule_id <> 'query_time_anomaly'; UPDATE alert_rules SET for_s = 0").unwrap();
    for day in 1..=5 {
        // Nights are slow, days are fast, on every day.
        for (hour, mean) in [("03", 2.0), ("14", 0.1)] {
            let sql = "INSERT INTO metric_history VALUES('HOUR', ?, 'a', 'query_time', 60, ?, ?, ?)";
            db.execute(sql, (format!("2026-01-0{day} {hour}:00:00"), mean, mean, mean)).unwrap();
        }
    }
    measured(&db, "a", "query_time", 2.1, "2026-01-06 03:10:00");
    assert_eq!(count(&evaluate(&db, "2026-01-06 03:10:00"), "opened"), 0);
    measured(&db, "a", "query_time", 2.1, "2026-01-06 14:10:00");
    assert_eq!(count(&evaluate(&db, "2026-01-06 14:10:00"), "opened"), 1);
    measured(&db, "a", "query_time", 0.1, "2026-01-06 14:20:00");
    assert_eq!(count(&evaluate(&db, "2026-01-06 14:20:00"), "resolved"), 1);
}

#[test]
fn news_go_to_log_command_and_webhook_with_retry() {
    let dir = tempfile::tempdir().unwrap();
    let db = hub();
    let log = dir.path().join("logs/alerts.log");
    let seen = dir.path().join("seen.json");
    let script = dir.path().join("receive.sh");
    std::fs::write(&script, format!("#!/bin/sh\ncat >> {}\n", seen.display())).unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", server.local_addr().unwrap());
    // Refuses the first request, takes the second.
    let receiver = std::thread::spawn(move || {
        let mut last = String::new();
        for status in ["503 Busy", "204 Fine"] {
            let (mut s, _) = server.accept().unwrap();
            let mut buffer = [0; 4096];
            last.clear();
            while !last.ends_with('}') {
                let n = s.read(&mut buffer).unwrap();
                last += &String::from_utf8_lossy(&buffer[..n]);
            }
            s.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).unwrap();
        }
        last
    });
    // A row in the file does not make anything run.
    let ghost = dir.path().join("ghost");
    db.execute("INSERT INTO configuration(key, value) VALUES('alert.command', ?)", [format!("touch {}", ghost.display())]).unwrap();
    measured(&db, "a\nb", "availability", 0.0, "2026-01-01 00:00:00");
    assert_eq!(evaluate(&db, "2026-01-01 00:00:00")["delivered"], 0);
    assert!(!ghost.exists());
    for (key, value) in [("alert.log_path", log.display().to_string()), ("alert.command", format!("sh {}", script.display())), ("alert.webhook", url)] {
        db.query_row("SELECT dbint_set(?, ?)", [key, &value], |_| Ok(())).unwrap();
    }
    measured(&db, "a\nb", "availability", 100.0, "2026-01-01 00:01:00");
    assert_eq!(evaluate(&db, "2026-01-01 00:01:00")["delivered"], 3);
    assert_eq!(
        std::fs::read_to_string(&log).unwrap(),
        "2026-01-01 00:01:00 CRITICAL RESOLVED a b: the database cannot be reached (availability = 0 %; rule: = 0)\n"
    );
    let body: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&seen).unwrap()).unwrap();
    assert_eq!((body["event"].as_str(), body["rule_id"].as_str()), (Some("RESOLVED"), Some("connection_failure")));
    assert!(receiver.join().unwrap().starts_with("POST /hook HTTP/1.1\r\n"));
    let attempts: String =
        db.query_row("SELECT group_concat(channel || ' ' || status || ' ' || attempts, ', ') FROM alert_deliveries", [], |r| r.get(0)).unwrap();
    assert_eq!(attempts, "log SENT 1, command SENT 1, webhook SENT 2");
    // In the caller's transaction the news wait: a rollback takes them back.
    db.execute_batch("BEGIN").unwrap();
    measured(&db, "c", "availability", 0.0, "2026-01-01 00:02:00");
    assert_eq!(evaluate(&db, "2026-01-01 00:02:00")["delivered"], 0);
    db.execute_batch("ROLLBACK").unwrap();
    assert_eq!(db.query_row("SELECT count(*) FROM alert_deliveries", [], |r| r.get::<_, i64>(0)).unwrap(), 3);
}
