//! Settings: an option in the call stands above a row in `configuration`, that above the environment, that above the default.
use super::Hub;
use crate::error::{Error, Result, did_you_mean};
use crate::kit::{Call, Rows, rows};
use rusqlite::{Connection, OptionalExtension, types::Value};

pub struct Setting {
    pub key: &'static str,
    pub env: Option<&'static str>,
    pub default: &'static str,
    pub kind: Kind,
    pub summary: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Number,
    /// true / false
    Switch,
    /// Never shown, never read from a table.
    Secret,
    /// Makes dbint act outside the database (a path, a command, a URL). A row in a file somebody sent must not do
    /// that: it counts only if set in this connection by `dbint_set`, by the environment, or if the environment
    /// says `DBINT_TRUST_CONFIGURATION=1`.
    Outside,
}

const fn setting(key: &'static str, env: Option<&'static str>, default: &'static str, kind: Kind, summary: &'static str) -> Setting {
    Setting { key, env, default, kind, summary }
}

pub const SETTINGS: &[Setting] = &[
    setting("database.url", Some("DATABASE_URL"), "", Kind::Secret, "The server or file that stands for production."),
    setting("database.replicas", Some("READ_REPLICA_URLS"), "", Kind::Secret, "Read replicas, comma-separated URLs."),
    setting("backup.path", Some("BACKUP_PATH"), "./backups", Kind::Outside, "Where backups go."),
    setting("backup.retention_days", Some("BACKUP_RETENTION_DAYS"), "30", Kind::Number, "How long backups are kept, in days."),
    setting("backup.encryption_key", Some("BACKUP_ENCRYPTION_KEY"), "", Kind::Secret, "Passphrase of encrypted backups."),
    setting("backup.remote", Some("BACKUP_REMOTE_STORAGE"), "false", Kind::Switch, "Whether backups go to a remote store, too."),
    setting("backup.storage_type", Some("BACKUP_STORAGE_TYPE"), "", Kind::Plain, "s3, gcs, azure or local."),
    setting("backup.bucket", Some("BACKUP_STORAGE_BUCKET"), "", Kind::Outside, "Bucket or container of the remote store."),
    setting("backup.region", Some("BACKUP_STORAGE_REGION"), "us-east-1", Kind::Plain, "Region of the remote store."),
    setting("monitor.enabled", Some("DB_MONITORING_ENABLED"), "true", Kind::Switch, "Whether the monitor samples."),
    setting("monitor.interval_ms", Some("DB_MONITORING_INTERVAL"), "30000", Kind::Number, "Milliseconds between two samples."),
    setting("monitor.raw_hours", None, "48", Kind::Number, "Hours until metrics are rolled up by the hour."),
    setting("monitor.raw_rows", None, "200000", Kind::Number, "Most rows of performance_metrics; the oldest are rolled up before their time."),
    setting("alert.log_path", Some("DBINT_ALERT_LOG"), "", Kind::Outside, "Text log of alerts; empty for none."),
    setting(
        "alert.command",
        Some("DBINT_ALERT_COMMAND"),
        "",
        Kind::Outside,
        "Program and arguments run for each alert; it reads JSON from its standard input.",
    ),
    setting("alert.webhook", Some("DBINT_ALERT_WEBHOOK"), "", Kind::Outside, "http:// URL each alert is posted to as JSON."),
    setting("validation.enabled", Some("DB_VALIDATION_ENABLED"), "true", Kind::Switch, "Whether data quality rules run on schedule."),
    setting("validation.hours", Some("DB_VALIDATION_HOURS"), "2,14", Kind::Plain, "Hours of the day (local time) at which they run."),
    setting("index.enabled", Some("DB_INDEX_OPTIMIZATION_ENABLED"), "true", Kind::Switch, "Whether the index review runs on schedule."),
    setting("index.hours", Some("DB_INDEX_OPTIMIZATION_HOURS"), "3", Kind::Plain, "Hours of the day (local time) at which it runs."),
    setting("oracle.host", Some("ORACLE_HOST"), "", Kind::Outside, "Oracle server; without it there is no Oracle pool."),
    setting("oracle.port", Some("ORACLE_PORT"), "1521", Kind::Number, "Oracle port."),
    setting("oracle.database", Some("ORACLE_DATABASE"), "", Kind::Plain, "Oracle service name."),
    setting("oracle.user", Some("ORACLE_USER"), "", Kind::Plain, "Oracle user."),
    setting("oracle.password", Some("ORACLE_PASSWORD"), "", Kind::Secret, "Oracle password."),
    setting("secret_key", Some("SECRET_KEY"), "", Kind::Secret, "Key of encrypt() and decrypt() where none is given."),
    setting("workspace", Some("DBINT_WORKSPACE"), "", Kind::Outside, "Folder that paths are confined to."),
    setting("environment", Some("DBINT_ENVIRONMENT"), "development", Kind::Plain, "development or production."),
    setting("sync.batch_size", None, "1000", Kind::Number, "Rows between two looks at progress and Ctrl-C; a sync still commits once."),
    setting("sync.retries", None, "3", Kind::Number, "Tries again after a lock or an I/O error, with growing pauses."),
    setting("sync.log_path", Some("DBINT_SYNC_LOG_PATH"), "", Kind::Outside, "Text log of sync decisions; empty for none."),
    setting("sync.audit_db", None, "", Kind::Outside, "Another database for sync_audit_log."),
    setting("sync.retention_days", None, "30", Kind::Number, "How long audit, conflict and undo rows are kept, in days."),
    setting("size.limit_mb", None, "99.9", Kind::Number, "Size limit of a database in MB of 1,000,000 bytes."),
    setting("maintenance.auto", None, "false", Kind::Switch, "Whether the monitor does what maintenance_due lists."),
    setting("repair.auto", None, "false", Kind::Switch, "Whether the monitor runs lossless repairs, backup first."),
    setting("log.level", Some("DBINT_LOG"), "off", Kind::Plain, "off, error, warn, info or debug."),
    setting("log.path", Some("DBINT_LOG_PATH"), "", Kind::Outside, "dbint's own log file."),
];

/// A second name for the workspace, used by existing deployments.
const WORKSPACE_ALIAS: &str = "GH_COPILOT_WORKSPACE";

/// A value in force, and where it came from.
pub struct Found {
    pub value: String,
    pub source: &'static str,
}

pub fn declared(key: &str) -> Result<&'static Setting> {
    SETTINGS
        .iter()
        .find(|s| s.key == key)
        .ok_or_else(|| Error::not_found(format!("no setting \"{key}\".{}", did_you_mean(key, SETTINGS.iter().map(|s| s.key)))))
}

/// The value in force for this connection.
pub fn get(db: &Connection, key: &str) -> Result<Found> {
    let s = declared(key)?;
    if let Some(value) = session(db, key)? {
        return Ok(Found { value, source: "session" });
    }
    if s.kind != Kind::Secret
        && (s.kind != Kind::Outside || trusted())
        && let Some(value) = stored(db, key)?
    {
        return Ok(Found { value, source: "configuration" });
    }
    if let Some(value) = environment(s) {
        return Ok(Found { value, source: "environment" });
    }
    Ok(Found { value: s.default.to_owned(), source: "default" })
}

/// The value as text; None where it is empty.
pub fn text(db: &Connection, key: &str) -> Result<Option<String>> {
    Ok(Some(get(db, key)?.value).filter(|v| !v.is_empty()))
}

pub fn number(db: &Connection, key: &str) -> Result<f64> {
    let found = get(db, key)?;
    found.value.trim().parse().map_err(|_| Error::argument(format!("setting {key} from {} must be a number, not \"{}\"", found.source, found.value)))
}

pub fn switch(db: &Connection, key: &str) -> Result<bool> {
    let found = get(db, key)?;
    match found.value.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" | "" => Ok(false),
        other => Err(Error::argument(format!("setting {key} from {} must be true or false, not \"{other}\"", found.source))),
    }
}

fn trusted() -> bool {
    std::env::var("DBINT_TRUST_CONFIGURATION").is_ok_and(|v| v == "1")
}

fn environment(s: &Setting) -> Option<String> {
    let read = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    s.env.and_then(read).or_else(|| if s.key == "workspace" { read(WORKSPACE_ALIAS) } else { None })
}

fn stored(db: &Connection, key: &str) -> Result<Option<String>> {
    let Some(hub) = Hub::find(db)? else { return Ok(None) };
    Ok(db.prepare(&hub.sql("SELECT CAST(value AS TEXT) FROM hub.configuration WHERE key = ?"))?.query_row([key], |r| r.get(0)).optional()?)
}

const SESSION: &str = "temp.dbint_session";

fn session(db: &Connection, key: &str) -> Result<Option<String>> {
    let there: bool = db.prepare("SELECT EXISTS(SELECT 1 FROM temp.sqlite_schema WHERE name = 'dbint_session')")?.query_row([], |r| r.get(0))?;
    if !there {
        return Ok(None);
    }
    Ok(db.prepare(&format!("SELECT value FROM {SESSION} WHERE key = ?"))?.query_row([key], |r| r.get(0)).optional()?)
}

/// Stores a setting for this connection (a TEMP table) and, where there is a hub and it is no secret, in `configuration`.
pub fn set(db: &Connection, key: &str, value: &Value) -> Result<Value> {
    let s = declared(key)?;
    let value = match value {
        Value::Null => None,
        Value::Integer(i) => Some(i.to_string()),
        Value::Real(r) => Some(r.to_string()),
        Value::Text(t) => Some(t.clone()),
        Value::Blob(_) => return Err(Error::argument("a setting is text or a number, not a blob")),
    };
    if let Some(v) = &value {
        let fits = match s.kind {
            Kind::Number => v.trim().parse::<f64>().is_ok_and(f64::is_finite),
            Kind::Switch => ["1", "true", "yes", "on", "0", "false", "no", "off"].contains(&v.to_ascii_lowercase().as_str()),
            _ => true,
        };
        if !fits {
            return Err(Error::argument(format!("setting {key} takes {}, not \"{v}\"", if s.kind == Kind::Number { "a number" } else { "true or false" })));
        }
    }
    let hub = Hub::find(db)?.filter(|_| s.kind != Kind::Secret);
    db.execute_batch(&format!("CREATE TABLE IF NOT EXISTS {SESSION}(key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL)"))?;
    match &value {
        Some(v) => {
            db.execute(&format!("REPLACE INTO {SESSION} VALUES(?, ?)"), [key, v])?;
            if let Some(hub) = &hub {
                let sql = "INSERT INTO hub.configuration(key, value, description) VALUES(?1, ?2, ?3) \
                           ON CONFLICT(key) DO UPDATE SET value = ?2, updated_at = CURRENT_TIMESTAMP";
                hub.execute(db, sql, [key, v, s.summary])?;
            }
        }
        None => {
            db.execute(&format!("DELETE FROM {SESSION} WHERE key = ?"), [key])?;
            if let Some(hub) = &hub {
                hub.execute(db, "DELETE FROM hub.configuration WHERE key = ?", [key])?;
            }
        }
    }
    Ok(Value::Text(shown(s, &get(db, key)?)))
}

fn shown(s: &Setting, found: &Found) -> String {
    match s.kind {
        Kind::Secret if !found.value.is_empty() => "(set)".to_owned(),
        _ => found.value.clone(),
    }
}

/// Rows of `dbint_settings`.
pub fn list(call: &Call<'_>) -> Result<Rows> {
    let mut all = Vec::with_capacity(SETTINGS.len());
    for s in SETTINGS {
        let found = get(call.db, s.key)?;
        let text = |t: &str| Value::Text(t.to_owned());
        all.push(vec![text(s.key), Value::Text(shown(s, &found)), text(found.source), text(s.default), s.env.map_or(Value::Null, text), text(s.summary)]);
    }
    rows(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precedence_and_trust() {
        let db = Connection::open_in_memory().unwrap();
        assert_eq!(get(&db, "sync.retries").unwrap().source, "default");
        super::super::install::install(&db, "main", None).unwrap();
        db.execute_batch("INSERT INTO configuration(key, value) VALUES('sync.retries', '7'), ('sync.log_path', '/etc/x')").unwrap();
        assert_eq!(number(&db, "sync.retries").unwrap(), 7.0);
        // A path in a stranger's file does not act.
        assert_eq!(text(&db, "sync.log_path").unwrap(), None);
        set(&db, "sync.log_path", &Value::Text("logs/a.log".into())).unwrap();
        assert_eq!(text(&db, "sync.log_path").unwrap().as_deref(), Some("logs/a.log"));
        set(&db, "sync.retries", &Value::Null).unwrap();
        assert_eq!(get(&db, "sync.retries").unwrap().source, "default");
        assert!(set(&db, "sync.retries", &Value::Text("many".into())).is_err());
        assert!(get(&db, "sync.retry").err().unwrap().to_string().contains("Did you mean \"sync.retries\"?"));
        assert_eq!(set(&db, "secret_key", &Value::Text("hush".into())).unwrap(), Value::Text("(set)".into()));
        let n: i64 = db.query_row("SELECT count(*) FROM configuration WHERE key = 'secret_key'", [], |r| r.get(0)).unwrap();
        assert_eq!(n, 0);
    }
}
