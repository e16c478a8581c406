//! One database against its limit, or all of them.
use super::{
    growth::{ALERT_PERCENT, CONFIDENCE, Forecast, Growth, Recorded},
    objects::{self, Object, Objects},
};
use crate::db::{
    header::{self, Kin},
    limit,
    size::{self, Bytes, MB},
};
use crate::error::{At, Error, Kind, Result};
use crate::hub::{
    Target, discover, limits, registry,
    target::{self, Place},
};
use crate::kit::{Call, Rows};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, types::Value};
use serde_json::{Value as Json, json};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// From here on a database is near its limit.
const NEAR: f64 = 0.9;

/// How a size stands to its limit.
#[derive(Clone, Copy)]
struct Stand {
    bytes: u64,
    limit: u64,
}

impl Stand {
    fn over(self) -> bool {
        !limit::fits(self.bytes, self.limit)
    }

    fn near(self) -> bool {
        self.bytes as f64 >= self.limit as f64 * NEAR
    }

    fn percent(self) -> f64 {
        rounded(self.bytes as f64 / self.limit.max(1) as f64 * 100.0)
    }

    fn word(self) -> &'static str {
        match (self.over(), self.near()) {
            (true, _) => "OVER_LIMIT",
            (_, true) => "NEAR_LIMIT",
            _ => "OK",
        }
    }
}

/// The answer of `size_check`.
pub fn check(host: &Connection, given: Option<&str>, limit_mb: Option<f64>) -> Result<Json> {
    let target = Target::resolve(host, given)?;
    if let Place::Server(_) = target.place {
        return Err(Error::unsupported(format!("{} is a server, and this measures SQLite databases", target.name)));
    }
    let file = target.file(host)?;
    if let (Place::File(path), Some(_)) = (&target.place, given)
        && header::read(path).at(format!("\"{}\"", path.display()))? == Kin::Other
    {
        return Err(Error::new(Kind::NotADatabase, format!("\"{}\" is not a SQLite database (or it is encrypted)", path.display())));
    }
    let bytes = match (&target.place, &file) {
        (Place::Schema(schema), file) => size::of_schema(host, schema, file.as_deref())?,
        (_, Some(path)) => size::on_disk(path),
        _ => Bytes::default(),
    };
    let (limit, enforced) = limits::reported(host, &target.name, limit_mb)?;
    let stand = Stand { bytes: bytes.total(), limit };
    let mut recorded = Recorded::of(host)?;
    let growth = recorded.growth(&target.name, stand.bytes)?;
    let forecast = growth.as_ref().and_then(|g| recorded.forecast(g, stand.bytes, limit));
    // The sizes above are true of a damaged or locked file, too: only its tables cannot be told apart.
    let (objects, note) = match objects::of(host, &target) {
        Ok(objects) => (Some(objects), None),
        Err(e) if e.kind == Kind::Interrupted => return Err(e),
        Err(e) => (None, Some(e.message)),
    };
    let note = note.or_else(|| objects.as_ref().and_then(|o| o.note.clone()));
    Ok(json!({
        "db_name": target.name,
        "db_path": file.map(|f| f.display().to_string()),
        "status": stand.word(),
        "size_bytes": stand.bytes,
        "size_mb": stand.bytes as f64 / MB,
        "database_bytes": bytes.database,
        "wal_bytes": bytes.wal,
        "free_bytes": objects.as_ref().map(free),
        "limit_mb": limit as f64 / MB,
        "limit_enforced": enforced,
        "percent": stand.percent(),
        "near_limit": stand.near(),
        "over_limit": stand.over(),
        "growth": growth.as_ref().map(shown_growth),
        "forecast": forecast.as_ref().map(shown_forecast),
        "method": objects.as_ref().map(|o| o.method),
        "note": note,
        "tables": objects.as_ref().map(by_table),
    }))
}

fn free(objects: &Objects) -> u64 {
    objects.list.iter().filter(|o| o.kind == "free").map(|o| o.bytes).sum()
}

fn by_table(objects: &Objects) -> Vec<Json> {
    let mut tables: Vec<(u64, Json)> = vec![];
    for table in objects.list.iter().filter(|o| o.kind == "table") {
        let indexes: Vec<&Object> = objects.list.iter().filter(|o| o.kind == "index" && o.table == table.table).collect();
        let index_bytes: u64 = indexes.iter().map(|o| o.bytes).sum();
        let indexes: Vec<Json> = indexes.iter().map(|o| json!({"name": o.name, "bytes": o.bytes})).collect();
        let bytes = table.bytes + index_bytes;
        tables.push((
            bytes,
            json!({"name": table.name, "bytes": bytes, "table_bytes": table.bytes, "index_bytes": index_bytes, "rows": table.entries, "indexes": indexes}),
        ));
    }
    tables.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    tables.into_iter().map(|(_, t)| t).collect()
}

fn shown_growth(g: &Growth) -> Json {
    json!({
        "samples": g.samples,
        "since": g.since.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "days": rounded(g.days),
        "bytes_per_day": g.bytes_per_day.round(),
        "bytes_per_day_low": g.range.map(|r| r.0.round()),
        "bytes_per_day_high": g.range.map(|r| r.1.round()),
        "percent_per_day": rounded(g.percent_per_day),
        "alert": g.percent_per_day > ALERT_PERCENT,
        "alert_percent": ALERT_PERCENT,
    })
}

fn shown_forecast(f: &Forecast) -> Json {
    json!({"breach_date": date(f.date), "earliest": f.earliest.map(date), "latest": f.latest.map(date), "confidence": CONFIDENCE})
}

fn date(t: DateTime<Utc>) -> String {
    t.format("%Y-%m-%d").to_string()
}

fn rounded(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

/// A database of the report, and what was seen of it.
struct Seen {
    name: String,
    path: Option<PathBuf>,
    bytes: Option<u64>,
    /// What stands in the way of using it.
    label: Option<(&'static str, Option<String>)>,
}

/// The rows of `size_report`: everything below a directory, else the registered databases, else those of this connection.
pub fn report(call: &Call<'_>) -> Result<Rows> {
    let host = call.db;
    let seen = match call.opt_text("dir") {
        Some(dir) => below(host, Path::new(dir))?,
        None => match registry::members(host)? {
            members if members.is_empty() => attached(host)?,
            members => members.into_iter().map(member).collect(),
        },
    };
    let (own, general) = (limits::all(host)?, limits::general(host)?);
    let mut recorded = Recorded::of(host)?;
    let mut out = vec![];
    for s in seen {
        let limit = own.get(&s.name).copied().unwrap_or(general);
        let growth = s.bytes.map_or(Ok(None), |b| recorded.growth(&s.name, b))?;
        let forecast = growth.as_ref().zip(s.bytes).and_then(|(g, b)| recorded.forecast(g, b, limit));
        out.push(row(s, limit, growth.as_ref(), forecast.as_ref()));
    }
    crate::kit::rows(out)
}

fn below(host: &Connection, dir: &Path) -> Result<Vec<Seen>> {
    let names: HashMap<PathBuf, String> = target::registry(host)?.into_iter().map(|(name, path)| (PathBuf::from(path), name)).collect();
    let found = discover::discover(host, dir, false)?;
    Ok(found
        .into_iter()
        .map(|f| {
            let registered = if names.is_empty() { None } else { f.path.canonicalize().ok().and_then(|full| names.get(&full).cloned()) };
            let label = (f.status != discover::Status::Ok).then(|| (f.status.word(), f.detail.clone()));
            // A link's bytes are those of what it points to, which has a row of its own.
            let known = !matches!(f.status, discover::Status::Link | discover::Status::Vanished | discover::Status::Unreadable);
            Seen { name: registered.unwrap_or_else(|| f.name()), bytes: known.then(|| f.bytes.total()), path: Some(f.path), label }
        })
        .collect())
}

fn member(m: registry::Member) -> Seen {
    let Place::File(path) = m.place() else {
        return Seen { name: m.name, path: Some(m.path.into()), bytes: None, label: Some(("SERVER", Some("its size is its server's to tell".to_owned()))) };
    };
    let label = match header::read(&path) {
        Ok(Kin::Database(_)) => None,
        Ok(Kin::Empty) => Some(("EMPTY", None)),
        Ok(Kin::Damaged(what)) => Some(("CORRUPT", Some(what))),
        Ok(Kin::Other) => Some(("NOT_A_DATABASE", Some("no SQLite header: another format, or encrypted".to_owned()))),
        Err(e) if !path.exists() => Some(("VANISHED", Some(e.message))),
        Err(e) => Some(("UNREADABLE", Some(e.message))),
    };
    let bytes = path.is_file().then(|| size::on_disk(&path).total());
    Seen { name: m.name, bytes, path: Some(path), label }
}

fn attached(host: &Connection) -> Result<Vec<Seen>> {
    let mut q = host.prepare("SELECT name FROM pragma_database_list WHERE name <> 'temp'")?;
    let schemas: Vec<String> = q.query_map([], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?;
    let one = |schema: String| {
        let target = Target::resolve(host, Some(&schema))?;
        let path = target.file(host)?;
        let bytes = size::of_schema(host, &schema, path.as_deref())?.total();
        Ok(Seen { name: target.name, path, bytes: Some(bytes), label: None })
    };
    schemas.into_iter().map(one).collect()
}

fn row(s: Seen, limit: u64, growth: Option<&Growth>, forecast: Option<&Forecast>) -> Vec<Value> {
    let text = |t: Option<String>| t.map_or(Value::Null, Value::Text);
    let real = |x: Option<f64>| x.map_or(Value::Null, Value::Real);
    let flag = |b: Option<bool>| b.map_or(Value::Null, |b| Value::Integer(b.into()));
    let stand = s.bytes.map(|bytes| Stand { bytes, limit });
    let (label, detail) = s.label.map_or((None, None), |(label, detail)| (Some(label), detail));
    vec![
        Value::Text(s.name),
        text(s.path.map(|p| p.display().to_string())),
        s.bytes.map_or(Value::Null, |b| Value::Integer(b as i64)),
        real(s.bytes.map(|b| b as f64 / MB)),
        Value::Real(limit as f64 / MB),
        real(stand.map(Stand::percent)),
        flag(stand.map(Stand::near)),
        flag(stand.map(Stand::over)),
        text(label.or(stand.map(Stand::word)).map(str::to_owned)),
        real(growth.map(|g| g.bytes_per_day.round())),
        real(growth.map(|g| rounded(g.percent_per_day))),
        flag(growth.map(|g| g.percent_per_day > ALERT_PERCENT)),
        text(forecast.map(|f| date(f.date))),
        text(forecast.and_then(|f| f.earliest).map(date)),
        text(forecast.and_then(|f| f.latest).map(date)),
        text(detail),
    ]
}
