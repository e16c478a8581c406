//! The whole fleet at once, largest database first; every member is a row, whatever happens to it.
use super::{
    backups,
    check::{Severity, Status, rounded},
    examine::{self, Level, Report},
    record,
};
use crate::db::parallel::each;
use crate::error::Result;
use crate::hub::{
    Hub, limits,
    registry::{self, Member},
    target::Place,
};
use rusqlite::Connection;
use serde_json::{Map, Value as Json, json};
use std::path::PathBuf;

/// Examines every member of the fleet.
pub fn examine(host: &Connection, level: Level, keep: bool) -> Result<Vec<Report>> {
    members(host, registry::members(host)?, level, keep)
}

/// Examines these; the caller's own databases by the caller's connection, all others in parallel.
pub fn members(host: &Connection, members: Vec<Member>, level: Level, keep: bool) -> Result<Vec<Report>> {
    let own = registry::attached_files(host)?;
    let limits = limits::all(host)?;
    let general = limits::general(host)?;
    let limit = |name: &str| limits.get(name).copied().unwrap_or(general);
    let (mut reports, mut files) = (vec![], vec![]);
    for member in members {
        match member.place() {
            Place::File(path) => match own.iter().find(|(_, f)| *f == path) {
                Some((schema, _)) => reports.push(examine::schema(&member.name, host, schema, Some(&path), level, limit(&member.name))?),
                None => files.push((member, path)),
            },
            Place::Server(_) | Place::Schema(_) => reports.push(Report::unreachable(&member.name, "a server: its health is asked over its own connection")),
        }
    }
    files.sort_by_key(|(m, _)| std::cmp::Reverse(m.bytes));
    let looked = each(host, &files, |(m, path): &(Member, PathBuf), watch| examine::file(&m.name, path, level, limit(&m.name), watch))?;
    for (result, (member, _)) in looked.into_iter().zip(&files) {
        reports.push(result.unwrap_or_else(|e| Report::unreachable(&member.name, &e.to_string())));
    }
    reports.sort_by(|a, b| a.name.cmp(&b.name));
    backups::tell(host, &mut reports)?;
    if keep && let Some(hub) = Hub::find(host)? {
        record::keep(host, &hub, &reports)?;
    }
    Ok(reports)
}

/// The answer of `fleet_status()`.
pub fn status(host: &Connection, level: Level) -> Result<Json> {
    let reports = examine(host, level, true)?;
    let now = crate::db::time::now();
    let mut databases = Map::new();
    let mut count = [0u32; 4];
    let mut recommendations = vec![];
    for r in &reports {
        let slot = match r.score.status {
            Status::Healthy => 0,
            Status::Warning => 1,
            Status::Critical => 2,
            Status::Unreachable => 3,
        };
        if let Some(n) = count.get_mut(slot) {
            *n += 1;
        }
        for c in r.failed().filter(|c| c.severity > Severity::Info) {
            recommendations.push(json!({"db_name": r.name, "check": c.id, "detail": c.detail, "remedy": c.remedy}));
        }
        databases.insert(
            r.name.clone(),
            json!({
                "status": r.score.status.word().to_lowercase(), "score": rounded(r.score.score), "response_time_ms": r.response_ms.map(rounded),
                "connection_test": r.score.status != Status::Unreachable, "error": r.error, "timestamp": now.replacen(' ', "T", 1),
            }),
        );
    }
    let [healthy, warning, critical, unreachable] = count;
    let score = if reports.is_empty() { 100.0 } else { reports.iter().map(|r| r.score.score).sum::<f64>() / reports.len() as f64 };
    Ok(json!({
        "overall_status": if critical + unreachable == 0 { "healthy" } else { "degraded" },
        "health_score": rounded(score),
        "timestamp": now.replacen(' ', "T", 1),
        "detailed_status": {"databases": reports.len(), "healthy": healthy, "warning": warning, "critical": critical, "unreachable": unreachable},
        "databases": databases,
        "active_alerts": record::open_alerts(host)?,
        "recommendations": recommendations,
    }))
}
