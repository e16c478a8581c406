//! Looking into a backup: open it read-only, take one table out of it, compare two of them.
use super::place;
use super::repository::Repository;
use super::source::Tick;
use super::{restore, show};
use crate::db::{
    ident::{qualified, quote, same},
    limit,
    open::Mode,
    schema::{self, TableKind},
};
use crate::error::{At, Error, Result};
use crate::hub::{Target, install::savepoint, limits};
use crate::kit::{Call, Interrupt, Rows, Stmt, rows};
use crate::options;
use rusqlite::{Connection, OpenFlags, types::Value};
use serde_json::{Value as Json, json};
use std::{
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Instant,
};

options! {
    pub struct LookOptions {
        /// The folder of the backups; default: the setting backup.path.
        path: String,
        /// A file with the key of encrypted backups; default: the environment's BACKUP_ENCRYPTION_KEY.
        key_file: String,
        /// The schema name it is attached by; default: backup.
        schema: String,
    }
}
options! {
    pub struct TableOptions {
        /// The folder of the backups; default: the setting backup.path.
        path: String,
        /// A file with the key of encrypted backups; default: the environment's BACKUP_ENCRYPTION_KEY.
        key_file: String,
        /// The name the table gets; default: its own.
        r#as: String,
    }
}

/// A backup restored to a file that goes away again.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn scratch(repo: &Repository, wanted: &str, tick: Tick<'_>) -> Result<(super::manifest::Head, Scratch)> {
    let (head, pages) = repo.pages(&show::at(repo, wanted, None)?.id)?;
    let path = repo.tmp("look");
    restore::fetch(repo, &head, &pages, &path, tick)?;
    let file = Scratch(path);
    // A WAL database, at rest and read-only, needs no -wal and -shm beside it.
    let mut f = std::fs::OpenOptions::new().write(true).open(&file.0)?;
    f.seek(SeekFrom::Start(18))?;
    f.write_all(&[1, 1])?;
    Ok((head, file))
}

/// Attaches a backup, read-only; its file has no name any more and goes with the connection or DETACH.
pub fn open(host: &Connection, wanted: &str, o: &LookOptions) -> Result<Json> {
    let schema = o.schema.as_deref().unwrap_or("backup");
    let taken: bool = host.query_row("SELECT EXISTS(SELECT 1 FROM pragma_database_list WHERE name = ? COLLATE NOCASE)", [schema], |r| r.get(0))?;
    if taken {
        return Err(Error::argument(format!("there is a schema \"{schema}\" already"))
            .hint(format!("DETACH {} first, or name another by the option \"schema\"", quote(schema))));
    }
    let repo = place::open(host, o.path.as_deref(), o.key_file.as_deref())?;
    let mut interrupt = Interrupt::of(host)?;
    let (head, file) = scratch(&repo, wanted, &mut || interrupt.tick())?;
    let mut perms = std::fs::metadata(&file.0)?.permissions();
    perms.set_readonly(true);
    std::fs::set_permissions(&file.0, perms)?;
    host.execute(&format!("ATTACH ?1 AS {}", quote(schema)), [file.0.to_string_lossy()])?;
    let tables = schema::tables(host, schema)?;
    Ok(json!({"backup_id": head.id, "name": head.name, "created_at": head.created_at, "schema": schema, "tables": tables}))
}

/// Copies one table, its rows, indexes and triggers, from a backup into a database.
pub fn table(host: &Connection, wanted: &str, table: &str, into: &str, o: &TableOptions) -> Result<Json> {
    let started = Instant::now();
    let target = Target::resolve(host, Some(into))?;
    let repo = place::open(host, o.path.as_deref(), o.key_file.as_deref())?;
    let mut interrupt = Interrupt::of(host)?;
    let (head, file) = scratch(&repo, wanted, &mut || interrupt.tick())?;
    let from = crate::db::open::open_immutable(&file.0)?;
    let t = schema::table(&from, "main", table).at(format!("backup {}", head.id))?;
    if t.kind != TableKind::Table {
        return Err(Error::unsupported(format!("\"{}\" is no ordinary table", t.name)).hint("restore_database() restores it with all it needs"));
    }
    let name = o.r#as.as_deref().unwrap_or(&t.name);
    let session = target.session(host, Mode::Write)?;
    let (db, main) = (&*session.db, session.schema.as_str());
    if schema::find_table(db, main, name)?.is_some() {
        return Err(Error::argument(format!("{} has a table \"{name}\" already", session.name))
            .hint(format!("The option {{\"as\":\"{name}_restored\"}} gives it another name")));
    }
    let (create, others) = renamed(&from, &t.name, name)?;
    let (into_file, limit) = (target.file(host)?, limits::enforced(host, &target.name, None)?);
    let (mut n, mut left_out) = (0u64, vec![]);
    savepoint(db, || {
        db.execute_batch(&in_schema(&create, main)?)?;
        // A rowid that is no column is kept, too.
        let rowid = if t.rowid_alias(&from)?.is_none() { t.rowid_name() } else { None };
        let columns: Vec<String> = rowid.map(str::to_owned).into_iter().chain(t.writable().map(|c| quote(&c.name))).collect();
        let marks = vec!["?"; columns.len()].join(", ");
        let mut get = Stmt::prepare(&from, &format!("SELECT {} FROM {}", columns.join(", "), quote(&t.name)))?;
        let mut put = Stmt::prepare(db, &format!("INSERT INTO {}({}) VALUES({marks})", qualified(main, name), columns.join(", ")))?;
        while get.step()? {
            for i in 0..columns.len() {
                put.bind_column(i + 1, &get, i)?;
            }
            put.run()?;
            n += 1;
            interrupt.tick()?;
        }
        // After the rows: an index is built at once, and a trigger must not see them arrive.
        for (object, sql) in &others {
            let taken: bool =
                db.query_row(&format!("SELECT EXISTS(SELECT 1 FROM {}.sqlite_schema WHERE name = ? COLLATE NOCASE)", quote(main)), [object], |r| r.get(0))?;
            if taken {
                left_out.push(json!({"name": object, "why": "the name is taken"}));
            } else {
                db.execute_batch(&in_schema(sql, main)?).at(object)?;
            }
        }
        limit::check_before_commit(db, main, into_file.as_deref(), limit)
    })?;
    Ok(
        json!({"backup_id": head.id, "table": name, "into": session.name, "rows": n, "left_out": left_out, "duration_s": super::job::round(started.elapsed().as_secs_f64())}),
    )
}

/// The statements of a table, its indexes and triggers, with the table's new name: SQLite itself rewrites them.
fn renamed(from: &Connection, table: &str, name: &str) -> Result<(String, Vec<(String, String)>)> {
    let mut q = from.prepare(
        "SELECT type, name, sql FROM sqlite_schema WHERE tbl_name = ? COLLATE NOCASE AND sql IS NOT NULL ORDER BY type = 'trigger', type = 'index', rowid",
    )?;
    let all: Vec<(String, String, String)> = q.query_map([table], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?.collect::<rusqlite::Result<_>>()?;
    let sqls = |all: &[(String, String, String)]| -> Result<(String, Vec<(String, String)>)> {
        let create = all.iter().find(|(ty, _, _)| ty == "table").map(|(_, _, sql)| sql.clone()).ok_or_else(|| Error::internal("no statement of the table"))?;
        Ok((create, all.iter().filter(|(ty, _, _)| ty != "table").map(|(_, n, sql)| (n.clone(), sql.clone())).collect()))
    };
    if same(table, name) {
        return sqls(&all);
    }
    // Triggers may speak of other tables, which are not here: they stay with the table of the old name.
    let model = Connection::open_in_memory()?;
    for (ty, _, sql) in all.iter().filter(|(ty, _, _)| ty != "trigger") {
        model.execute_batch(sql).at(ty)?;
    }
    model.execute_batch(&format!("ALTER TABLE {} RENAME TO {}", quote(table), quote(name)))?;
    let mut q = model.prepare("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")?;
    let all: Vec<(String, String, String)> = q.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?.collect::<rusqlite::Result<_>>()?;
    sqls(&all)
}

/// `CREATE … name` with the schema before the name. As stored, SQLite's statements name no schema, and the words before
/// the name are its own.
fn in_schema(sql: &str, schema: &str) -> Result<String> {
    if same(schema, "main") {
        return Ok(sql.to_owned());
    }
    let mut at = 0;
    for word in ["CREATE", "UNIQUE", "TABLE", "INDEX", "TRIGGER"] {
        let rest = sql.get(at..).unwrap_or_default();
        let skip = rest.len() - rest.trim_start().len();
        if rest.trim_start().get(..word.len()).is_some_and(|w| same(w, word)) {
            at += skip + word.len();
        }
    }
    let (head, tail) = sql.split_at_checked(at).ok_or_else(|| Error::internal("no CREATE statement"))?;
    Ok(format!("{head} {}.{}", quote(schema), tail.trim_start()))
}

/// Rows of `backup_diff`: each table that differs.
pub fn diff(call: &Call<'_>) -> Result<Rows> {
    let o: TableOptions = call.options()?;
    let repo = place::open(call.db, o.path.as_deref(), o.key_file.as_deref())?;
    let mut interrupt = Interrupt::of(call.db)?;
    let (_, a) = scratch(&repo, call.text("a")?, &mut || interrupt.tick())?;
    let (_, b) = scratch(&repo, call.text("b")?, &mut || interrupt.tick())?;
    let db = Connection::open_with_flags(":memory:", OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    let attach = |path: &Path, name: &str| db.execute(&format!("ATTACH ?1 AS {name}"), [path.to_string_lossy()]);
    attach(&a.0, "a")?;
    attach(&b.0, "b")?;
    let mut names = schema::tables(&db, "a")?;
    names.extend(schema::tables(&db, "b")?);
    names.sort();
    names.dedup();
    let mut all = vec![];
    for name in names {
        interrupt.check()?;
        let sides = [schema::find_table(&db, "a", &name)?, schema::find_table(&db, "b", &name)?];
        if sides.iter().flatten().any(|t| t.kind == TableKind::Virtual) {
            continue;
        }
        let count = |sql: String| -> Result<Value> { Ok(Value::Integer(db.query_row(&format!("SELECT count(*) FROM ({sql})"), [], |r| r.get(0))?)) };
        let rows_of = |side: &str| count(format!("SELECT 1 FROM {}", qualified(side, &name)));
        let row = match &sides {
            [Some(ta), Some(tb)] => {
                let list =
                    |t: &schema::Table| t.columns.iter().filter(|c| c.generated != schema::Generated::Hidden).map(|c| c.name.clone()).collect::<Vec<_>>();
                let (ca, cb) = (list(ta), list(tb));
                let word = if ta.sql == tb.sql { "rows" } else { "schema" };
                if ca != cb {
                    Some((word, rows_of("a")?, rows_of("b")?, Value::Null, Value::Null))
                } else {
                    let columns = crate::db::ident::list(ca.iter().map(String::as_str));
                    let only =
                        |x: &str, y: &str| count(format!("SELECT {columns} FROM {} EXCEPT SELECT {columns} FROM {}", qualified(x, &name), qualified(y, &name)));
                    let (na, nb, oa, ob) = (rows_of("a")?, rows_of("b")?, only("a", "b")?, only("b", "a")?);
                    let equal = na == nb && oa == Value::Integer(0) && ob == Value::Integer(0) && word == "rows";
                    (!equal).then_some((word, na, nb, oa, ob))
                }
            }
            [Some(_), None] => Some(("removed", rows_of("a")?, Value::Null, Value::Null, Value::Null)),
            _ => Some(("added", Value::Null, rows_of("b")?, Value::Null, Value::Null)),
        };
        if let Some((change, na, nb, oa, ob)) = row {
            all.push(vec![Value::Text(name), Value::Text(change.to_owned()), na, nb, oa, ob]);
        }
    }
    rows(all)
}
