//! What the host's SQLite allows, and what degrades where it does not.
use crate::kit::*;
use rusqlite::{Connection, types::Value};
use serde_json::{Value as Json, json};

pub const DBINT_DOCTOR: Function = Function {
    name: "dbint_doctor",
    args: &[],
    returns: "json {dbint, sqlite, source_id, checks[{name, ok, detail}]}",
    access: Access::Reads,
    summary: "Tells what the host's SQLite allows and what degrades.",
    example: "SELECT json_extract(dbint_doctor(), '$.dbint');",
    run: |call| Ok(Value::Text(report(call.db)?.to_string())),
};

/// The first release without the WAL-reset bug.
pub const WAL_RESET_FIXED: &str = "3.51.3";

fn report(db: &Connection) -> crate::Result<Json> {
    let (version, source): (String, String) = db.query_row("SELECT sqlite_version(), sqlite_source_id()", [], |r| Ok((r.get(0)?, r.get(1)?)))?;
    let compiled = |option: &str| db.query_row("SELECT sqlite_compileoption_used(?)", [option], |r| r.get::<_, bool>(0)).unwrap_or(false);
    let works = |sql: &str| db.prepare(sql).is_ok();
    let check = |name: &str, ok: bool, detail: &str| json!({"name": name, "ok": ok, "detail": detail});
    let fixed = number(&version) >= number(WAL_RESET_FIXED);
    let checks = vec![
        check("json", works("SELECT json('{}')"), "json_extract() on the answers of dbint; without it they are read as text"),
        check("dbstat", works("SELECT 1 FROM dbstat"), "bytes a table; without it dbint counts pages itself"),
        check("fts5", compiled("ENABLE_FTS5"), "full text tables are recognised and rebuilt only where the host has FTS5"),
        check("threads", !compiled("THREADSAFE=0"), "parallel health checks; without threads they run one after another"),
        check("wal_reset_fix", fixed, "before 3.51.3 a checkpoint that meets a writer can lose pages: dbint never checkpoints a shared database there"),
        check("strict_tables", works("SELECT 1 FROM pragma_table_list"), "STRICT tables and exact kinds of tables, from 3.37"),
    ];
    Ok(json!({"dbint": env!("CARGO_PKG_VERSION"), "sqlite": version, "source_id": source, "checks": checks}))
}

/// `3.51.3` → 3051003
fn number(version: &str) -> i64 {
    version.split('.').chain(["0", "0"]).take(3).fold(0, |n, part| n * 1000 + part.parse::<i64>().unwrap_or(0))
}
