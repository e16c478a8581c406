//! Installing, upgrading, finding and removing dbint's own tables.
//!
//! The table `dbint_hub(key, value)` marks the place: `version`, `prefix`, and a row `adopted:NAME` for each
//! table that was the user's before and fits.
use super::views;
use crate::db::{
    ident::{literal, qualified, quote, same},
    schema,
};
use crate::error::{At, Error, Kind, Result};
use rusqlite::{Connection, OptionalExtension, Params};

/// Forward only: a file that was released is never edited, the next change is the next number.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../sql/hub/0001_hub.sql"),
    include_str!("../../../sql/hub/0002_sync.sql"),
    include_str!("../../../sql/hub/0003_care.sql"),
    include_str!("../../../sql/hub/0004_quality.sql"),
    include_str!("../../../sql/hub/0005_run.sql"),
    include_str!("../../../sql/hub/0006_backup.sql"),
];

/// The hub's version is the number of migrations it has seen.
pub const fn version() -> i64 {
    MIGRATIONS.len() as i64
}

/// Where dbint's tables are, and how they are called there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hub {
    pub schema: String,
    pub prefix: String,
}

pub struct Installed {
    pub hub: Hub,
    pub created: Vec<String>,
    pub adopted: Vec<String>,
}

impl Hub {
    /// The hub of this connection: in `main`, else in an attached database. Never writes.
    pub fn find(db: &Connection) -> Result<Option<Hub>> {
        Ok(locate(db)?.map(|(hub, _)| hub))
    }

    /// The hub, installed in `main` where there is none yet, upgraded where it is older.
    pub fn need(db: &Connection) -> Result<Hub> {
        match locate(db)? {
            Some((hub, at)) if at == version() => Ok(hub),
            Some((hub, _)) => install(db, &hub.schema, None).map(|i| i.hub),
            None => install(db, "main", None).map(|i| i.hub),
        }
    }

    /// `hub.NAME` in our statements becomes the qualified, quoted name; after the first in a CREATE statement the
    /// bare one, since a view or index may not name another schema than its own.
    pub fn sql(&self, text: &str) -> String {
        text.split_inclusive(';').map(|s| self.one(s)).collect()
    }

    fn one(&self, statement: &str) -> String {
        let create = first_word(statement).is_some_and(|w| same(w, "CREATE"));
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut parts = statement.split("hub.");
        let mut out = parts.next().unwrap_or_default().to_owned();
        let mut seen = 0;
        for part in parts {
            // `github.com` is no table of ours.
            if out.ends_with(word) {
                out += "hub.";
                out += part;
                continue;
            }
            let (name, rest) = part.split_at(part.find(|c| !word(c)).unwrap_or(part.len()));
            out += &if create && seen > 0 { quote(&self.name(name)) } else { self.qualified(name) };
            out += rest;
            seen += 1;
        }
        out
    }

    /// The name of one of our tables as stored.
    pub fn name(&self, table: &str) -> String {
        format!("{}{table}", self.prefix)
    }

    pub fn qualified(&self, table: &str) -> String {
        qualified(&self.schema, &self.name(table))
    }

    /// Runs one statement of ours on the host's connection; where it meets BUSY_SNAPSHOT (WAL, and somebody has
    /// committed since the host's read began), on an own one. A connection of our own would wait for the caller's
    /// lock in rollback mode, and for ever under locking_mode=EXCLUSIVE: hence the host first.
    pub fn execute(&self, db: &Connection, sql: &str, params: impl Params + Clone) -> Result<usize> {
        match db.prepare(&self.sql(sql)).and_then(|mut q| q.execute(params.clone())) {
            Err(rusqlite::Error::SqliteFailure(e, _)) if e.extended_code == rusqlite::ffi::SQLITE_BUSY_SNAPSHOT => {
                let file = super::target::file_of(db, &self.schema)?.ok_or_else(|| Error::new(Kind::Busy, "the hub is locked"))?;
                let own = crate::db::open::open(&file, crate::db::open::Mode::Write)?;
                let there = Hub { schema: "main".into(), prefix: self.prefix.clone() };
                Ok(own.execute(&there.sql(sql), params)?)
            }
            other => other.map_err(|e| Error::from(e).context("dbint's own tables")),
        }
    }
}

/// The tables of a hub, without a prefix.
pub fn tables() -> Vec<String> {
    MIGRATIONS.iter().flat_map(|m| statements(m)).filter_map(|s| created_table(&s)).collect()
}

/// Whether `table` is one of dbint's own: a table of the hub in this schema, what a synchronisation keeps beside its rows,
/// or the log that `sync.audit_db` puts elsewhere.
pub fn is_own(hub: Option<&Hub>, schema: &str, table: &schema::Table) -> bool {
    const LOG: [&str; 4] = ["source_db", "target_db", "action", "timestamp"];
    let of_hub = |h: &Hub| same(&h.schema, schema) && tables().iter().any(|t| same(&h.name(t), &table.name));
    table.name.get(..6).is_some_and(|p| same(p, "dbint_"))
        || hub.is_some_and(of_hub)
        || (same(&table.name, "sync_audit_log") && table.columns.iter().map(|c| c.name.as_str()).eq(LOG))
}

fn first_word(sql: &str) -> Option<&str> {
    sql.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with("--"))?.split_ascii_whitespace().next()
}

/// The hub and its version. A newer one than ours is an error: we would not know what we write.
fn locate(db: &Connection) -> Result<Option<(Hub, i64)>> {
    let mut q = db.prepare("SELECT name FROM pragma_database_list WHERE name <> 'temp' ORDER BY seq")?;
    let schemas: Vec<String> = q.query_map([], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?;
    for schema in schemas {
        let Ok(true) =
            db.query_row(&format!("SELECT EXISTS(SELECT 1 FROM {}.sqlite_schema WHERE type = 'table' AND name = 'dbint_hub')", quote(&schema)), [], |r| {
                r.get::<_, bool>(0)
            })
        else {
            continue;
        };
        let get = |key: &str| -> Result<Option<String>> {
            let sql = format!("SELECT CAST(value AS TEXT) FROM {} WHERE key = ?", qualified(&schema, "dbint_hub"));
            Ok(db.query_row(&sql, [key], |r| r.get(0)).optional()?)
        };
        let Some(at) = get("version")?.and_then(|v| v.parse::<i64>().ok()) else { continue };
        if at > version() {
            return Err(Error::new(Kind::Newer, format!("dbint's tables in {schema} have version {at}, and this library knows up to {}", version()))
                .hint("Load the newer dbint"));
        }
        let prefix = get("prefix")?.unwrap_or_default();
        return Ok(Some((Hub { schema, prefix }, at)));
    }
    Ok(None)
}

pub use crate::db::transaction::savepoint;

/// Creates what is missing. `prefix` None keeps the prefix of the hub that is there.
pub fn install(db: &Connection, schema: &str, prefix: Option<&str>) -> Result<Installed> {
    let known: bool = db.query_row("SELECT EXISTS(SELECT 1 FROM pragma_database_list WHERE name = ? COLLATE NOCASE)", [schema], |r| r.get(0))?;
    if !known || same(schema, "temp") {
        return Err(Error::not_found(format!("no attached database \"{schema}\"")));
    }
    if prefix.is_some_and(|p| !p.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')) {
        return Err(Error::argument("a prefix has letters, digits and _ only"));
    }
    let there = locate(db)?;
    let (hub, from) = match there {
        Some((hub, at)) if same(&hub.schema, schema) => {
            if prefix.is_some_and(|p| p != hub.prefix) {
                return Err(
                    Error::argument(format!("dbint's tables are here already, with the prefix \"{}\"", hub.prefix)).hint("dbint_uninstall() removes them")
                );
            }
            (hub, at)
        }
        _ => (Hub { schema: schema.to_owned(), prefix: prefix.unwrap_or_default().to_owned() }, 0),
    };
    let mut done = Installed { hub, created: vec![], adopted: vec![] };
    if from == version() {
        return Ok(done);
    }
    let hub = done.hub.clone();
    savepoint(db, || {
        db.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {}(key TEXT PRIMARY KEY NOT NULL, value TEXT) WITHOUT ROWID",
            qualified(&hub.schema, "dbint_hub")
        ))?;
        let mut put = db.prepare(&format!("REPLACE INTO {} VALUES(?, ?)", qualified(&hub.schema, "dbint_hub")))?;
        for migration in MIGRATIONS.iter().skip(from as usize) {
            for statement in statements(migration) {
                match created_table(&statement) {
                    Some(name) if exists(db, &hub, &name)? => {
                        adopt(db, &hub, &name, &statement)?;
                        put.execute([format!("adopted:{name}").as_str(), "1"])?;
                        done.adopted.push(hub.name(&name));
                        continue;
                    }
                    Some(name) => done.created.push(hub.name(&name)),
                    None => {}
                }
                let statement = statement.replacen("CREATE INDEX ", "CREATE INDEX IF NOT EXISTS ", 1);
                db.execute_batch(&hub.sql(&unqualified_index(&statement, &hub))).at(format!("installing {}", hub.schema))?;
            }
        }
        for (name, _) in views::ALL {
            view(db, &hub, name)?;
        }
        put.execute(["version", &version().to_string()])?;
        put.execute(["prefix", &hub.prefix])?;
        Ok(())
    })?;
    Ok(done)
}

/// Makes one of our views, in place of an older one.
pub fn view(db: &Connection, hub: &Hub, name: &str) -> Result<()> {
    let sql = views::ALL.iter().find(|(n, _)| *n == name).map_or("", |(_, sql)| sql);
    match schema::find_table(db, &hub.schema, &hub.name(name))? {
        Some(t) if t.kind != schema::TableKind::View => return Err(taken(hub, name)),
        _ => drop_view(db, hub, name)?,
    }
    db.execute_batch(&hub.sql(sql)).at(format!("installing view {name}"))
}

/// Asks first: DROP VIEW IF EXISTS would find our table function of the same name, and refuse.
fn drop_view(db: &Connection, hub: &Hub, name: &str) -> Result<()> {
    if exists(db, hub, name)? {
        db.execute_batch(&format!("DROP VIEW {}", hub.qualified(name)))?;
    }
    Ok(())
}

/// `CREATE INDEX hub.i ON t(c)`: the table of an index is never qualified, but has the prefix, too.
fn unqualified_index(statement: &str, hub: &Hub) -> String {
    let Some((head, rest)) = statement.split_once(" ON ").filter(|_| statement.contains("CREATE INDEX") || statement.contains("CREATE UNIQUE INDEX")) else {
        return statement.to_owned();
    };
    format!("{head} ON {}{rest}", hub.prefix)
}

fn statements(script: &str) -> Vec<String> {
    // Our own files: no semicolon in a text or comment, no trigger.
    let bare: String = script.lines().map(|l| l.split("--").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    bare.split(';').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

fn created_table(statement: &str) -> Option<String> {
    let rest = statement.strip_prefix("CREATE TABLE hub.")?;
    Some(rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()?.to_owned())
}

fn exists(db: &Connection, hub: &Hub, name: &str) -> Result<bool> {
    Ok(schema::find_table(db, &hub.schema, &hub.name(name))?.is_some())
}

fn taken(hub: &Hub, name: &str) -> Error {
    Error::new(Kind::Unsupported, format!("{} has a table or view \"{}\" of its own, which does not fit", hub.schema, hub.name(name)))
        .hint("Nothing was changed. dbint_init('{\"prefix\":\"dbint_\"}') uses other names")
}

/// A table of the user's with all our columns serves as ours; anything else is an error.
fn adopt(db: &Connection, hub: &Hub, name: &str, ours: &str) -> Result<()> {
    let model = Connection::open_in_memory()?;
    model.execute_batch(&Hub { schema: "main".into(), prefix: String::new() }.sql(ours))?;
    let want = schema::table(&model, "main", name)?;
    let have = schema::table(db, &hub.schema, &hub.name(name))?;
    if have.kind == schema::TableKind::Table && want.columns.iter().all(|c| have.column(&c.name).is_some()) { Ok(()) } else { Err(taken(hub, name)) }
}

/// Drops what we made; returns what was (or would be) removed, and the adopted tables that stay.
pub fn uninstall(db: &Connection, dry_run: bool) -> Result<(Vec<String>, Vec<String>)> {
    let Some((hub, _)) = locate(db)? else {
        return Err(Error::not_found("dbint's tables are not installed here"));
    };
    let marks = qualified(&hub.schema, "dbint_hub");
    let mut q = db.prepare(&format!("SELECT substr(key, 9) FROM {marks} WHERE key LIKE 'adopted:%'"))?;
    let adopted: Vec<String> = q.query_map([], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?;
    drop(q);
    let tables = tables();
    let ours: Vec<&String> = tables.iter().filter(|t| !adopted.contains(t)).collect();
    let removed: Vec<String> = views::ALL.iter().map(|(n, _)| hub.name(n)).chain(ours.iter().map(|t| hub.name(t))).chain(["dbint_hub".to_owned()]).collect();
    let kept = adopted.iter().map(|t| hub.name(t)).collect();
    if !dry_run {
        savepoint(db, || {
            for (name, _) in views::ALL {
                drop_view(db, &hub, name)?;
            }
            for table in ours.iter().rev() {
                db.execute_batch(&format!("DROP TABLE IF EXISTS {}", hub.qualified(table)))?;
            }
            Ok(db.execute_batch(&format!("DROP TABLE {marks}"))?)
        })
        .at(format!("removing dbint's tables from {}", literal(&hub.schema)))?;
    }
    Ok((removed, kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn install_is_idempotent_adopts_and_goes_away() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE configuration(id, key, value, description, updated_by, updated_at, extra)").unwrap();
        let first = install(&db, "main", None).unwrap();
        assert_eq!(first.adopted, ["configuration"]);
        assert!(install(&db, "main", None).unwrap().created.is_empty());
        assert_eq!(Hub::need(&db).unwrap(), first.hub);
        assert!(uninstall(&db, true).unwrap().0.contains(&"sync_mapping".to_owned()));
        uninstall(&db, false).unwrap();
        let left: Vec<String> = db.prepare("SELECT name FROM sqlite_schema").unwrap().query_map([], |r| r.get(0)).unwrap().map(|r| r.unwrap()).collect();
        assert_eq!(left, ["configuration"]);
    }

    #[test]
    fn a_foreign_table_of_our_name_is_left_alone() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE alerts(mine)").unwrap();
        let before: i64 = db.query_row("PRAGMA main.schema_version", [], |r| r.get(0)).unwrap();
        let e = install(&db, "main", None).err().unwrap().to_string();
        assert!(e.contains("\"alerts\"") && e.contains("dbint_init('{\"prefix\":\"dbint_\"}')"), "{e}");
        assert_eq!(Hub::find(&db).unwrap(), None);
        let after: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0)).unwrap();
        assert_eq!((after, before), (1, 1));
        let hub = install(&db, "main", Some("dbint_")).unwrap().hub;
        assert_eq!(hub.sql("SELECT 'github.com' FROM hub.alerts"), "SELECT 'github.com' FROM \"main\".\"dbint_alerts\"");
        db.execute_batch("SELECT * FROM dbint_unified_system_status").unwrap();
    }

    #[test]
    fn a_newer_hub_is_not_touched() {
        let db = Connection::open_in_memory().unwrap();
        install(&db, "main", None).unwrap();
        db.execute_batch("UPDATE dbint_hub SET value = 99 WHERE key = 'version'").unwrap();
        assert_eq!(Hub::need(&db).unwrap_err().kind, Kind::Newer);
    }
}
