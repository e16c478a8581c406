//! The fleet: which databases belong to it, under which names, and what was last seen of them.
use super::{
    Hub, Target,
    discover::{self, Counts, Found, Status},
    install::savepoint,
    target::{self, Place},
};
use crate::db::{
    header::{self, Kin},
    open::Mode,
    parallel::each,
    size::{self, Bytes},
    time,
};
use crate::error::{At, Error, Kind, Result, did_you_mean};
use crate::{kit::*, options};
use rusqlite::{Connection, OptionalExtension, types::Value};
use serde_json::json;
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

options! {
    struct LookOptions {
        /// `quick` opens each database and counts its tables and rows (default); `header` reads the first 100 bytes only.
        level: String,
    }
}

impl LookOptions {
    fn counts(&self) -> Result<bool> {
        Ok(one_of("level", self.level.as_deref().unwrap_or("quick"), &["quick", "header"])? == "quick")
    }
}

pub const REGISTER_DATABASE: Function = Function {
    name: "register_database",
    args: &[
        req("path_or_url", "a database file, a server's URL, or a directory: then every database below it"),
        opt("name", "how it is called; default the file's name without its extension"),
        options(LookOptions::KEYS),
    ],
    returns: "json {db_id, db_name, db_path, db_size, table_count, record_count, added}; for a directory {registered, known, skipped}",
    access: Access::Outside,
    summary: "Makes a database a member of the fleet, or renames one that is; the file itself is not changed.",
    example: "SELECT json_extract(register_database('analytics.db'), '$.db_name');",
    run: |call| {
        let given = call.text("path_or_url")?;
        let counts = call.options::<LookOptions>()?.counts()?;
        let hub = Hub::need(call.db)?;
        let out = match target::place(given) {
            Place::File(dir) if dir.is_dir() && call.opt_text("name").is_none() => register_all(call.db, &hub, &dir, counts)?,
            place => register(call.db, &hub, given, &place, call.opt_text("name"), counts)?,
        };
        Ok(Value::Text(out.to_string()))
    },
};

pub const UNREGISTER_DATABASE: Function = Function {
    name: "unregister_database",
    args: &[req("name", "a registered name")],
    returns: "json {db_name, db_path}",
    access: Access::Writes,
    summary: "Takes a database out of the fleet; its file and its history stay.",
    example: "SELECT json_extract(unregister_database('monitoring'), '$.db_name') FROM (SELECT register_database('monitoring.db'));",
    run: |call| {
        let name = call.text("name")?;
        let hub = Hub::need(call.db)?;
        let path: Option<String> =
            call.db.prepare(&hub.sql("SELECT db_path FROM hub.database_registry WHERE db_name = ?"))?.query_row([name], |r| r.get(0)).optional()?;
        let Some(path) = path else {
            let known = target::registry(call.db)?;
            return Err(Error::not_found(format!("no registered database \"{name}\".{}", did_you_mean(name, known.iter().map(|(n, _)| n.as_str())))));
        };
        hub.execute(call.db, "DELETE FROM hub.database_registry WHERE db_name = ?", [name])?;
        Ok(Value::Text(json!({"db_name": name, "db_path": path}).to_string()))
    },
};

pub const REFRESH_REGISTRY: Function = Function {
    name: "refresh_registry",
    args: &[options(LookOptions::KEYS)],
    returns: "json {refreshed, failed[{db_name, status, error}]}",
    access: Access::Outside,
    summary: "Looks at every registered database again: size, tables, rows, last change.",
    example: "SELECT json_extract(refresh_registry(), '$.refreshed');",
    run: |call| refresh(call.db, call.options::<LookOptions>()?.counts()?),
};

pub const DISCOVER_DATABASES: Table = Table {
    name: "discover_databases",
    args: &[req("dir", "a directory"), options(LookOptions::KEYS)],
    columns: &[
        col("path", "TEXT"),
        col("db_name", "TEXT"),
        col("size", "INTEGER"),
        col("tables", "INTEGER"),
        col("rows", "INTEGER"),
        col("page_size", "INTEGER"),
        col("journal_mode", "TEXT"),
        col("last_modified", "TEXT"),
        col("status", "TEXT"),
        col("detail", "TEXT"),
    ],
    access: Access::Outside,
    summary: "Every SQLite file below a directory, by its header; empty, damaged and unreadable ones are labelled. Size in bytes, -wal included.",
    example: "SELECT db_name, tables, status FROM discover_databases('.') WHERE db_name IN ('analytics', 'monitoring');",
    rows: |call| {
        let found = discover::discover(call.db, Path::new(call.text("dir")?), call.options::<LookOptions>()?.counts()?)?;
        Ok(Box::new(found.into_iter().map(|f| Ok(shown(&f)))))
    },
};

fn shown(f: &Found) -> Vec<Value> {
    let integer = |n: Option<i64>| n.map_or(Value::Null, Value::Integer);
    let text = |t: Option<String>| t.map_or(Value::Null, Value::Text);
    vec![
        Value::Text(f.path.display().to_string()),
        Value::Text(f.name()),
        Value::Integer(f.bytes.total() as i64),
        integer(f.counts.map(|c| c.tables)),
        integer(f.counts.map(|c| c.rows)),
        integer(f.header.as_ref().map(|h| h.page_size as i64)),
        text(f.header.as_ref().map(|h| if h.wal { "wal" } else { "delete" }.to_owned())),
        text(f.modified.clone()),
        Value::Text(f.status.word().to_owned()),
        text(f.detail.clone()),
    ]
}

/// A registered database.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: String,
    pub name: String,
    /// A file's full path, or a server's URL without its password.
    pub path: String,
    pub bytes: u64,
}

impl Member {
    pub fn place(&self) -> Place {
        target::place(&self.path)
    }
}

/// All members of the fleet, by name; none where there is no hub.
pub fn members(db: &Connection) -> Result<Vec<Member>> {
    let Some(hub) = Hub::find(db)? else { return Ok(vec![]) };
    let mut q = db.prepare(&hub.sql("SELECT db_id, db_name, db_path, coalesce(db_size, 0) FROM hub.database_registry ORDER BY db_name"))?;
    let found = q.query_map([], |r| Ok(Member { id: r.get(0)?, name: r.get(1)?, path: r.get(2)?, bytes: r.get::<_, i64>(3)?.max(0) as u64 }))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// What is seen of a database at a glance.
struct Glance {
    bytes: Bytes,
    counts: Option<Counts>,
    modified: Option<String>,
}

/// Looks at a file; the host's own connection counts where the file is one of its databases.
fn glance(host: &Connection, path: &Path, count: bool) -> Result<Glance> {
    match header::read(path).at(format!("\"{}\"", path.display()))? {
        Kin::Other => return Err(Error::new(Kind::NotADatabase, format!("\"{}\" is not a SQLite database (or it is encrypted)", path.display()))),
        Kin::Damaged(what) => return Err(Error::new(Kind::Corrupt, format!("\"{}\" is damaged: {what}", path.display()))),
        Kin::Empty | Kin::Database(_) => {}
    }
    let counts = if count {
        let target = match attached(host, path)? {
            Some(schema) => Target { name: schema.clone(), place: Place::Schema(schema) },
            None => Target::file_at(path),
        };
        let session = target.session(host, Mode::Read)?;
        Some(discover::counts(&session.db, &session.schema)?)
    } else {
        None
    };
    let modified = std::fs::metadata(path).and_then(|m| m.modified()).ok().map(discover::stored);
    Ok(Glance { bytes: size::on_disk(path), counts, modified })
}

/// The schema under which the caller's connection has this file.
pub fn attached(host: &Connection, path: &Path) -> Result<Option<String>> {
    Ok(attached_files(host)?.into_iter().find(|(_, file)| file == path).map(|(name, _)| name))
}

/// Schema and file of every database of the caller's connection that has one.
pub fn attached_files(host: &Connection) -> Result<Vec<(String, PathBuf)>> {
    let mut q = host.prepare("SELECT name, file FROM pragma_database_list WHERE file <> ''")?;
    let all: Vec<(String, String)> = q.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    Ok(all.into_iter().filter_map(|(name, file)| Some((name, Path::new(&file).canonicalize().ok()?))).collect())
}

const ADD: &str =
    "INSERT INTO hub.database_registry(db_id, db_name, db_path, db_size, table_count, record_count, last_modified, timestamp) VALUES(?, ?, ?, ?, ?, ?, ?, ?)";
const SEEN: &str = "UPDATE hub.database_registry SET db_name = ?1, db_size = ?2, table_count = coalesce(?3, table_count), \
                    record_count = coalesce(?4, record_count), last_modified = ?5, timestamp = ?6 WHERE db_id = ?7";

fn register(db: &Connection, hub: &Hub, given: &str, place: &Place, name: Option<&str>, count: bool) -> Result<serde_json::Value> {
    if let Some(name) = name {
        free_name(db, name)?;
    }
    let (path, glance) = match place {
        Place::Server(url) => (target::without_password(url), None),
        Place::File(path) if !path.exists() => {
            return Err(Error::not_found(format!("no file \"{given}\"")).hint("A database must exist before it can be registered"));
        }
        Place::File(path) => {
            let full = path.canonicalize()?;
            (text(&full)?, Some(glance(db, &full, count)?))
        }
        Place::Schema(_) => return Err(Error::internal("a path was expected")),
    };
    let find = |column: &str, value: &str| -> Result<Option<(String, String, String)>> {
        let sql = format!("SELECT db_id, db_name, db_path FROM hub.database_registry WHERE {column} = ?");
        Ok(db.prepare(&hub.sql(&sql))?.query_row([value], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).optional()?)
    };
    let known = find("db_path", &path)?;
    let name = match (name, &known) {
        (Some(name), _) => {
            if let Some((_, _, other)) = find("db_name", name)?.filter(|(_, _, p)| *p != path) {
                return Err(Error::argument(format!("the name \"{name}\" belongs to \"{other}\"")).hint("Choose another, or unregister that one first"));
            }
            name.to_owned()
        }
        (None, Some((_, name, _))) => name.clone(),
        (None, None) => unused(Path::new(&path), matches!(place, Place::Server(_)), |n| Ok(free_name(db, n).is_err() || find("db_name", n)?.is_some()))?,
    };
    let now = time::now();
    let counts = glance.as_ref().and_then(|g| g.counts);
    let (size, modified) = (glance.as_ref().map(|g| g.bytes.total() as i64), glance.as_ref().and_then(|g| g.modified.clone()));
    let (tables, rows) = (counts.map(|c| c.tables), counts.map(|c| c.rows));
    let id = known.as_ref().map_or_else(time::new_id, |(id, ..)| id.clone());
    match known {
        Some(_) => hub.execute(db, SEEN, (&name, size, tables, rows, &modified, &now, &id))?,
        None => hub.execute(db, ADD, (&id, &name, &path, size, tables, rows, &modified, &now))?,
    };
    Ok(json!({"db_id": id, "db_name": name, "db_path": path, "db_size": size, "table_count": tables, "record_count": rows, "added": known.is_none()}))
}

/// A name must not hide behind another meaning of the same word.
fn free_name(db: &Connection, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::argument("the name is empty"));
    }
    let taken: bool = db.query_row("SELECT EXISTS(SELECT 1 FROM pragma_database_list WHERE name = ? COLLATE NOCASE)", [name], |r| r.get(0))?;
    if taken || ["main", "temp"].iter().any(|n| n.eq_ignore_ascii_case(name)) {
        return Err(Error::argument(format!("\"{name}\" is the name of an attached database")).hint("Choose another name"));
    }
    Ok(())
}

/// `shop`, else `north/shop`, else the whole path.
fn unused(path: &Path, server: bool, taken: impl Fn(&str) -> Result<bool>) -> Result<String> {
    let whole = path.display().to_string();
    if server {
        return Ok(whole);
    }
    let stem = path.file_stem().map_or_else(|| whole.clone(), |s| s.to_string_lossy().into_owned());
    if !taken(&stem)? {
        return Ok(stem);
    }
    if let Some(parent) = path.parent().and_then(Path::file_name) {
        let longer = format!("{}/{stem}", parent.to_string_lossy());
        if !taken(&longer)? {
            return Ok(longer);
        }
    }
    Ok(whole)
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::unsupported(format!("\"{}\" is not UTF-8; dbint stores paths as text", path.display())))
}

/// Registers every database below `dir` in one transaction.
fn register_all(db: &Connection, hub: &Hub, dir: &Path, count: bool) -> Result<serde_json::Value> {
    let found = discover::discover(db, &dir.canonicalize()?, count)?;
    let known = members(db)?;
    let paths: HashSet<&str> = known.iter().map(|m| m.path.as_str()).collect();
    let mut names: HashSet<String> = known.iter().map(|m| m.name.clone()).collect();
    let mut q = db.prepare("SELECT name FROM pragma_database_list")?;
    names.extend(q.query_map([], |r| r.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?);
    names.extend(["main".to_owned(), "temp".to_owned()]);
    let (mut registered, mut already, mut skipped) = (0, 0, vec![]);
    let now = time::now();
    savepoint(db, || {
        let mut add = db.prepare(&hub.sql(ADD))?;
        for f in &found {
            let path = match (f.status, text(&f.path)) {
                (Status::Ok | Status::Empty | Status::Locked, Ok(path)) => path,
                _ => {
                    skipped.push(json!({"path": f.path.display().to_string(), "status": f.status.word(), "detail": f.detail}));
                    continue;
                }
            };
            if paths.contains(path.as_str()) {
                already += 1;
                continue;
            }
            let name = unused(&f.path, false, |n| Ok(names.contains(n)))?;
            let (tables, rows) = (f.counts.map(|c| c.tables), f.counts.map(|c| c.rows));
            add.execute((time::new_id(), &name, &path, f.bytes.total() as i64, tables, rows, &f.modified, &now))?;
            names.insert(name);
            registered += 1;
        }
        Ok(())
    })?;
    Ok(json!({"registered": registered, "known": already, "skipped": skipped}))
}

fn refresh(db: &Connection, count: bool) -> Result<Value> {
    let hub = Hub::need(db)?;
    let own = attached_files(db)?;
    let (mut files, mut seen) = (vec![], vec![]);
    for m in members(db)? {
        let Place::File(path) = m.place() else { continue };
        // The caller's own databases are looked at by the caller's connection.
        if own.iter().any(|(_, file)| *file == path) {
            seen.push((glance(db, &path, count), m));
        } else {
            files.push((path, m));
        }
    }
    let looked = each(db, &files, |(path, _), watch| glance_apart(path, count, watch))?;
    seen.extend(looked.into_iter().map(|r| r.and_then(|r| r)).zip(files.into_iter().map(|(_, m)| m)));
    let (mut refreshed, mut failed) = (0, vec![]);
    let now = time::now();
    savepoint(db, || {
        let mut put = db.prepare(&hub.sql(SEEN))?;
        let mut lost = db.prepare(&hub.sql("UPDATE hub.database_registry SET health_status = ?, timestamp = ? WHERE db_id = ?"))?;
        for (glance, m) in &seen {
            match glance {
                Ok(g) => {
                    let (tables, rows) = (g.counts.map(|c| c.tables), g.counts.map(|c| c.rows));
                    put.execute((&m.name, g.bytes.total() as i64, tables, rows, &g.modified, &now, &m.id))?;
                    refreshed += 1;
                }
                Err(e) => {
                    let status = if matches!(e.kind, Kind::Corrupt | Kind::NotADatabase) { "CRITICAL" } else { "UNREACHABLE" };
                    lost.execute((status, &now, &m.id))?;
                    failed.push(json!({"db_name": m.name, "status": status, "error": e.message}));
                }
            }
        }
        Ok(())
    })?;
    Ok(Value::Text(json!({"refreshed": refreshed, "failed": failed}).to_string()))
}

/// As `glance`, on another thread: no host there.
fn glance_apart(path: &PathBuf, count: bool, watch: &crate::db::parallel::Watch) -> Result<Glance> {
    let counts = if count { Some(discover::counts_of_file(path, watch)?) } else { None };
    if !count {
        header::need(path)
            .map(drop)
            .or_else(|e| if e.kind == Kind::NotADatabase && size::on_disk(path).database == 0 && path.exists() { Ok(()) } else { Err(e) })?;
    }
    let modified = std::fs::metadata(path).and_then(|m| m.modified()).ok().map(discover::stored);
    Ok(Glance { bytes: size::on_disk(path), counts, modified })
}
