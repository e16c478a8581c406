//! What a sync tells afterwards, and where it is written down: the hub, the audit log, the log file.
use super::{
    delta::Delta,
    ledger::CONFLICTS,
    options::Choice,
    shape::Shape,
    side::{Destination, Source},
    writer::Tally,
};
use crate::{
    db::{ident::qualified, open, record, time, transaction::savepoint},
    error::{At, Result},
    hub::{Hub, settings},
    kit::{Field, Stmt},
};
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

#[derive(Debug, Default)]
pub struct Receipt {
    pub sync_id: String,
    pub table: String,
    pub source: String,
    pub target: String,
    /// Where they are, so that the receipt can be followed up; None for a database without a file.
    pub source_file: Option<String>,
    pub target_file: Option<String>,
    pub options: Json,
    pub mode: &'static str,
    pub method: &'static str,
    pub passed_over: Vec<String>,
    pub conflict: &'static str,
    pub keys: Vec<String>,
    pub timestamp_column: Option<String>,
    pub tally: Tally,
    pub unchanged: Option<u64>,
    pub created_table: bool,
    pub dry_run: bool,
    /// Sum over the rows as they were left; order does not count.
    pub digest: String,
    pub undo: bool,
    pub triggers_not_fired: Vec<String>,
    pub target_only: Vec<String>,
    pub source_only: Vec<String>,
    pub read_by: String,
    pub tracked: bool,
    pub retries: u32,
    pub duration_s: f64,
    pub notes: Vec<String>,
}

impl Receipt {
    /// Takes over what became of each difference.
    pub fn count(&mut self, tally: Tally) {
        self.unchanged = self.unchanged.map(|n| n + tally.equal);
        self.tally = tally;
    }

    pub fn begin(shape: &Shape, choice: &Choice, source: &Source<'_>, target: &Destination<'_>) -> Receipt {
        let whole = |p: &Option<PathBuf>| p.as_ref().map(|p| p.canonicalize().unwrap_or_else(|_| p.clone()).to_string_lossy().into_owned());
        Receipt {
            sync_id: time::new_id(),
            table: shape.target.name.clone(),
            source: source.name.clone(),
            target: target.name.clone(),
            source_file: whole(&source.file),
            target_file: whole(&target.file),
            options: choice.text.as_deref().and_then(|t| serde_json::from_str(t).ok()).unwrap_or_else(|| json!({})),
            read_by: source.read_by(),
            mode: choice.mode(),
            conflict: shape.policy.word(),
            keys: shape.key_names().into_iter().map(str::to_owned).collect(),
            timestamp_column: shape.timestamp.and_then(|i| shape.columns.get(i).cloned()),
            dry_run: choice.dry_run,
            target_only: shape.target_only.clone(),
            source_only: shape.source_only.clone(),
            ..Receipt::default()
        }
    }

    pub fn json(&self) -> Json {
        let t = &self.tally;
        json!({
            "sync_id": self.sync_id, "table": self.table, "source": self.source, "target": self.target,
            "source_file": self.source_file, "target_file": self.target_file, "options": self.options, "mode": self.mode,
            "inserted": t.inserted, "updated": t.updated, "deleted": t.deleted, "unchanged": self.unchanged,
            "conflicts": t.conflicts, "skipped": t.skipped, "target_only_rows": t.left,
            "duration_s": self.duration_s, "dry_run": self.dry_run, "method": self.method, "passed_over": self.passed_over,
            "conflict_policy": self.conflict, "keys": self.keys, "timestamp_column": self.timestamp_column, "created_table": self.created_table,
            "digest": self.digest, "undo": self.undo, "tracked": self.tracked, "read_by": self.read_by, "retries": self.retries,
            "triggers_not_fired": self.triggers_not_fired, "target_only_columns": self.target_only, "source_only_columns": self.source_only,
            "notes": self.notes,
        })
    }
}

/// Writes down a sync that is done. What fails here does not undo the sync: it becomes a note on the receipt.
pub fn keep(host: &Connection, r: &mut Receipt, choice: &Choice, delta: &Delta, target: Option<(&Connection, &str)>) -> Result<()> {
    let mut notes = vec![];
    let log = || settings::text(host, "sync.log_path")?.map_or(Ok(()), |path| log_file(Path::new(&path), delta));
    if let Err(e) = log() {
        notes.push(format!("log file: {e}"));
    }
    // One commit for all of it.
    let rows = || Hub::find(host)?.map_or(Ok(()), |hub| whole(host, || hub_rows(host, &hub, r, choice, delta, target)));
    if let Err(e) = rows() {
        notes.push(format!("hub: {e}"));
    }
    r.notes.append(&mut notes);
    Ok(())
}

/// In a savepoint; where the caller's own statement writes (CREATE TABLE … AS SELECT), SQLite allows none, and the rows go in
/// with that statement.
fn whole(host: &Connection, body: impl Fn() -> Result<()>) -> Result<()> {
    if host.execute_batch("SAVEPOINT dbint_probe; RELEASE dbint_probe").is_err() {
        return body();
    }
    savepoint(host, body)
}

/// A sync that failed is history, too.
pub fn keep_failure(host: &Connection, source: &str, target: &str, table: &str, choice: &Choice, seconds: f64, error: &crate::Error) -> Result<()> {
    let Some(hub) = Hub::find(host)? else { return Ok(()) };
    let sql = "INSERT INTO hub.cross_db_sync_log(sync_id, source_db, target_db, table_name, sync_type, records_synced, sync_duration, sync_status, timestamp, receipt) \
               VALUES(?, ?, ?, ?, ?, 0, ?, 'FAILED', ?, ?)";
    let receipt = json!({"error": error.to_string()}).to_string();
    hub.execute(host, sql, (time::new_id(), source, target, table, choice.mode().to_ascii_uppercase(), seconds, time::now(), receipt))?;
    Ok(())
}

fn hub_rows(host: &Connection, hub: &Hub, r: &Receipt, choice: &Choice, delta: &Delta, target: Option<(&Connection, &str)>) -> Result<()> {
    let now = time::now();
    let sql = "INSERT INTO hub.cross_db_sync_log(sync_id, source_db, target_db, table_name, sync_type, records_synced, sync_duration, sync_status, timestamp, receipt) \
               VALUES(?, ?, ?, ?, ?, ?, ?, 'SUCCESS', ?, ?)";
    let mode = r.mode.to_ascii_uppercase();
    hub.execute(host, sql, (&r.sync_id, &r.source, &r.target, &r.table, &mode, r.tally.changed() as i64, r.duration_s, &now, r.json().to_string()))?;
    audit(host, hub, r, choice, delta, &now)?;
    if let (Some((db, schema)), true) = (target, r.tally.conflicts > 0) {
        conflicts(host, hub, r, db, schema)?;
    }
    Ok(())
}

/// Skips row by row; the rest as one action each with its count, unless every row was asked for.
fn audit(host: &Connection, hub: &Hub, r: &Receipt, choice: &Choice, delta: &Delta, now: &str) -> Result<()> {
    const SQL: &str = "INSERT INTO hub.sync_audit_log(source_db, target_db, action, timestamp) VALUES(?, ?, ?, ?)";
    let elsewhere = settings::text(host, "sync.audit_db")?.map(|path| open_audit(host, &path)).transpose()?;
    let add = |action: &str| -> Result<()> {
        match &elsewhere {
            Some(db) => db.execute(&SQL.replace("hub.", ""), (&r.source, &r.target, action, now)).map(|_| ()).map_err(crate::Error::from),
            None => hub.execute(host, SQL, (&r.source, &r.target, action, now)).map(|_| ()),
        }
    };
    if let Some(db) = &elsewhere {
        db.execute_batch("BEGIN IMMEDIATE")?;
    }
    if !choice.audit_rows {
        for (word, n) in [("insert", r.tally.inserted), ("update", r.tally.updated), ("delete", r.tally.deleted)] {
            if n > 0 {
                add(&format!("{word} {}: {n} rows", r.table))?;
            }
        }
    }
    let which = if choice.audit_rows { "" } else { " WHERE text LIKE 'conflict\\_skip %' ESCAPE '\\'" };
    let mut q = delta.db.prepare(&format!("SELECT text FROM line{which} ORDER BY rowid"))?;
    let mut lines = q.query([])?;
    while let Some(line) = lines.next()? {
        add(&line.get::<_, String>(0)?)?;
    }
    if let Some(db) = &elsewhere {
        db.execute_batch("COMMIT")?;
    }
    Ok(())
}

/// The audit log in another database than the hub's: a registered name, or a file.
fn open_audit(host: &Connection, place: &str) -> Result<Connection> {
    use crate::hub::target::Target;
    let path = Target::resolve(host, Some(place)).and_then(|t| t.file(host))?.unwrap_or_else(|| place.into());
    let db = open::open(&path, open::Mode::Write).at("setting sync.audit_db")?;
    db.execute_batch(
        "CREATE TABLE IF NOT EXISTS sync_audit_log(source_db TEXT NOT NULL, target_db TEXT NOT NULL, action TEXT NOT NULL, timestamp TEXT DEFAULT CURRENT_TIMESTAMP)",
    )?;
    Ok(db)
}

/// Copies of the target's conflicts, with both rows as JSON to be read; the exact values stay in the target.
fn conflicts(host: &Connection, hub: &Hub, r: &Receipt, db: &Connection, schema: &str) -> Result<()> {
    let sql = format!(
        "SELECT conflict_id, row_key, winner, reason, columns, source_row, target_row, recorded_at FROM {} WHERE sync_id = ? ORDER BY conflict_id",
        qualified(schema, CONFLICTS)
    );
    let mut q = Stmt::prepare(db, &sql)?;
    q.bind(1, Field::Text(r.sync_id.as_bytes()))?;
    let text = |f: Field<'_>| match f.shown() {
        rusqlite::types::Value::Text(t) => t,
        _ => String::new(),
    };
    while q.step()? {
        let columns: Vec<String> = serde_json::from_str(&text(q.field(4))).unwrap_or_default();
        let row = |f: Field<'_>| -> Result<Option<String>> {
            let Field::Blob(b) = f else { return Ok(None) };
            Ok(Some(shown(&columns, &record::decode(b)?).to_string()))
        };
        let sql = "INSERT INTO hub.sync_conflicts(sync_id, source_db, target_db, table_name, row_key, winner, reason, source_row, target_row, target_conflict_id, recorded_at) \
                   VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let (key, winner, reason, at) = (text(q.field(1)), text(q.field(2)), text(q.field(3)), text(q.field(7)));
        let (source, target) = (row(q.field(5))?, row(q.field(6))?);
        hub.execute(host, sql, (&r.sync_id, &r.source, &r.target, &r.table, &key, &winner, &reason, source, target, q.int(0), &at))?;
    }
    Ok(())
}

/// A row as a JSON object, for people.
pub fn shown(columns: &[String], row: &[Field<'_>]) -> Json {
    let value = |f: &Field<'_>| match f {
        Field::Null => Json::Null,
        Field::Int(v) => json!(v),
        Field::Real(v) => json!(v),
        other => Json::String(super::judge::show(*other)),
    };
    Json::Object(columns.iter().zip(row).map(|(c, f)| (c.clone(), value(f))).collect())
}

/// `<action> <table>:<key>`, a line a row; written after the commit, so that the log never tells what did not happen.
fn log_file(path: &Path, delta: &Delta) -> Result<()> {
    let mut q = delta.db.prepare("SELECT text FROM line ORDER BY rowid")?;
    let mut lines = q.query([])?;
    let Some(first) = lines.next()? else { return Ok(()) };
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        fs::create_dir_all(dir)?;
    }
    let mut out = std::io::BufWriter::new(fs::OpenOptions::new().create(true).append(true).open(path)?);
    writeln!(out, "{}", first.get::<_, String>(0)?)?;
    while let Some(line) = lines.next()? {
        writeln!(out, "{}", line.get::<_, String>(0)?)?;
    }
    Ok(out.flush()?)
}
