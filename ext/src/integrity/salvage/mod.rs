//! Saves what can be read of a damaged database into a new file, and accounts for what was lost.
//!
//! Everything but the new file is left as it is. The pages are read as they lie there, not through SQLite's cursors, which
//! stop at the first damage; the schema is read the same way, from page 1.
mod shape;
mod stray;
mod writer;

use crate::db::{
    copy,
    ident::same,
    open::{self, Mode},
    pages::{self, Found, PageReader, Salvage, Snapshot, Stray, fields, salvage, salvage_page},
};
use crate::error::{At, Error, Kind, Result};
use crate::hub::{Target, target::Mode as Access};
use crate::kit::{Field, Interrupt};
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use shape::Shape;
use std::{fs, path::Path, time::Instant};
use stray::Entries;
use writer::{Filler, Lost, is_create};

/// Unreadable pages and failed objects told one by one.
const SHOWN: usize = 100;

/// A row of the schema that could be read.
struct Object {
    kind: String,
    name: String,
    root: u32,
    sql: String,
}

/// What is told in the end.
#[derive(Default)]
struct Account {
    tables: Vec<Json>,
    failed: Vec<Json>,
    rows: u64,
    doubtful: u64,
}

impl Account {
    fn failure(&mut self, kind: &str, name: &str, why: &str) {
        self.failed.push(json!({"object": kind, "name": name, "error": why}));
    }
}

/// Salvages `target` into the new file `to`; the name appears when the file is complete.
pub fn database(host: &Connection, target: &Target, to: &Path) -> Result<Json> {
    let file = target.file(host)?.ok_or_else(|| Error::unsupported(format!("{} is not a file", target.name)))?;
    if to.exists() {
        return Err(Error::argument(format!("\"{}\" exists already; a salvage never overwrites", to.display())));
    }
    let begun = Instant::now();
    let part = copy::with_suffix(to, ".part");
    let _ = fs::remove_file(&part);
    let done = read(host, &file, &part).and_then(|mut account| {
        fs::File::open(&part)?.sync_all()?;
        fs::rename(&part, to)?;
        copy::sync_directory(to)?;
        if let Some(o) = account.as_object_mut() {
            o.insert("source".into(), json!(file.display().to_string()));
            o.insert("target".into(), json!(to.display().to_string()));
            o.insert("duration_s".into(), json!((begun.elapsed().as_secs_f64() * 1e3).round() / 1e3));
        }
        Ok(account)
    });
    if done.is_err() {
        let _ = fs::remove_file(&part);
    }
    done.at(format!("salvaging \"{}\"", file.display()))
}

/// Under SQLite's lock and with its WAL where it still opens the file, else the bare bytes.
fn read(host: &Connection, file: &Path, part: &Path) -> Result<Json> {
    if let Ok(snapshot) = Snapshot::begin(file)
        && let Ok(reader) = pages::open(&snapshot)
        && (reader.overlaid() > 0 || fs::metadata(file)?.len() <= u64::from(reader.pages) * reader.page_size as u64)
    {
        return Job::new(host, &reader)?.run(part, "snapshot", false);
    }
    let db = open::open_damaged(file)?;
    let shape = Shape::of(&db, file)?;
    let mut account = Job::new(host, &shape.reader(&db))?.run(part, "bytes", shape.guessed)?;
    let wal = fs::metadata(copy::with_suffix(file, "-wal")).map_or(0, |m| m.len());
    let journal = fs::metadata(copy::with_suffix(file, "-journal")).map_or(0, |m| m.len());
    if let Some(o) = account.as_object_mut().filter(|_| wal + journal > 0) {
        o.insert("note".into(), json!(format!("SQLite cannot open the file: {wal} bytes of its -wal and {journal} of its -journal were not looked at")));
    }
    Ok(account)
}

struct Job<'r> {
    reader: &'r PageReader<'r>,
    state: Salvage,
    interrupt: Interrupt<'r>,
    account: Account,
}

impl<'r> Job<'r> {
    fn new(host: &'r Connection, reader: &'r PageReader<'r>) -> Result<Job<'r>> {
        Ok(Job { reader, state: Salvage::new(reader), interrupt: Interrupt::of(host)?, account: Account::default() })
    }

    fn run(mut self, part: &Path, method: &str, guessed: bool) -> Result<Json> {
        let objects = self.schema()?;
        let db = open::open(part, Mode::Create)?;
        let encoding = ["UTF-8", "UTF-16le", "UTF-16be"].get(self.reader.encoding as usize - 1).copied().unwrap_or("UTF-8");
        db.execute_batch(&format!(
            "PRAGMA page_size={}; PRAGMA encoding='{encoding}'; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-16000; BEGIN",
            self.reader.page_size
        ))?;
        let (mut lost, mut tables) = self.fill(&db, &objects)?;
        self.others(&db, &objects);
        self.strays(&db, &mut tables, &mut lost)?;
        let (lost_name, lost_rows) = (lost.name.clone(), lost.rows);
        drop((lost, tables));
        db.execute_batch("COMMIT")?;
        self.modules(&db, &objects);
        let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |r| r.get(0)).unwrap_or_else(|e| e.to_string());
        db.close().map_err(|(_, e)| Error::from(e))?;
        let Job { state, account, reader, .. } = self;
        let bad: Vec<Json> = state.bad.iter().take(SHOWN).map(|(page, why)| json!({"page": page, "why": why.to_string()})).collect();
        let failed: Vec<Json> = account.failed.iter().take(SHOWN).cloned().collect();
        Ok(json!({
            "method": method, "page_size": reader.page_size, "page_size_guessed": guessed, "pages": reader.pages,
            "rows": account.rows, "lost_and_found": if lost_rows > 0 { json!(lost_name) } else { Json::Null }, "lost_and_found_rows": lost_rows,
            "doubtful_rows": account.doubtful, "tables": account.tables, "damage": state.bad_total, "damaged": bad,
            "objects_failed": account.failed.len(), "failed": failed, "quick_check": verdict,
        }))
    }

    /// The schema, as far as page 1 and the pages below it can be read.
    fn schema(&mut self) -> Result<Vec<Object>> {
        let (mut all, encoding) = (vec![], self.reader.encoding);
        salvage(self.reader, 1, &mut self.state, &mut |found: &Found<'_>| {
            let values = fields(found.record)?;
            let text = |i: usize| match values.get(i) {
                Some(Field::Text(t)) => writer::text(t, encoding),
                _ => None,
            };
            let root = match values.get(3) {
                Some(Field::Int(n)) => u32::try_from(*n).unwrap_or(0),
                _ => 0,
            };
            if let (Some(kind), Some(name)) = (text(0), text(1)) {
                all.push(Object { kind, name, root, sql: text(4).unwrap_or_default() });
            }
            Ok(())
        })?;
        Ok(all)
    }

    /// Tables and their rows.
    fn fill<'c>(&mut self, db: &'c Connection, objects: &[Object]) -> Result<(Lost<'c>, Vec<Filler<'c>>)> {
        let encoding = self.reader.encoding;
        let mut lost = Lost::new(db, &|name| objects.iter().any(|o| same(&o.name, name)));
        let Job { reader, state, interrupt, account } = self;
        let (mut sequences, mut tables) = (None, vec![]);
        for o in objects.iter().filter(|o| o.kind == "table" && o.root > 0) {
            if same(&o.name, "sqlite_sequence") {
                sequences = Some(o.root);
                continue;
            }
            if o.name.get(..7).is_some_and(|n| same(n, "sqlite_")) {
                // Statistics: ANALYZE makes them anew.
                salvage(reader, o.root, state, &mut |_| Ok(()))?;
                continue;
            }
            let before = state.bad_total;
            let mut filler = match Filler::new(db, &o.name, &o.sql) {
                Ok(filler) => Some(filler),
                Err(e) if e.kind == Kind::Full => return Err(e),
                Err(e) => {
                    account.failure("table", &o.name, &e.message);
                    None
                }
            };
            salvage(reader, o.root, state, &mut |found| {
                interrupt.tick()?;
                let doubt = match &mut filler {
                    Some(filler) => filler.take(found, encoding)?,
                    None => Some("its table could not be made".to_owned()),
                };
                if let Some(doubt) = doubt {
                    account.doubtful += 1;
                    lost.take(Some(&o.name), found, &doubt, encoding)?;
                }
                Ok(())
            })?;
            let (rows, doubtful) = filler.as_ref().map_or((0, 0), |f| (f.rows, f.doubtful));
            account.rows += rows;
            account.tables.push(json!({"name": o.name, "rows": rows, "doubtful": doubtful, "damage": state.bad_total - before}));
            tables.extend(filler);
        }
        if let Some(root) = sequences {
            numbers(db, reader, root, state)?;
        }
        // Indexes are made anew; their pages are no rows of anybody.
        for o in objects.iter().filter(|o| o.kind == "index" && o.root > 0) {
            salvage(reader, o.root, state, &mut |_| Ok(()))?;
        }
        Ok((lost, tables))
    }

    /// Rows of no table. The indexes must be there: their entries are told apart from rows by what they point to.
    fn strays(&mut self, db: &Connection, tables: &mut [Filler<'_>], lost: &mut Lost<'_>) -> Result<()> {
        let encoding = self.reader.encoding;
        let Job { reader, state, interrupt, .. } = self;
        let free = state.freelist(reader);
        let mut strays = state.unreached(reader);
        // Where nothing was lost, what was deleted stays deleted.
        if state.bad_total > 0 || !strays.is_empty() {
            strays.extend(free);
        }
        let mut entries = Entries::of(db)?;
        for at in strays {
            interrupt.check()?;
            let bad = state.bad_total;
            salvage_page(reader, at.page, state, &mut |found| {
                interrupt.tick()?;
                let (mut fit, mut fits) = (None, 0);
                for table in tables.iter_mut().filter(|t| t.fits(found, encoding)) {
                    if table.holds(found, encoding)? {
                        return Ok(());
                    }
                    fits += 1;
                    fit = Some(table.name().to_owned());
                }
                let entry = if at.index && fits == 0 { entries.explain(found, encoding)? } else { None };
                if entry == Some(true) {
                    return Ok(());
                }
                lost.take(fit.as_deref().filter(|_| fits == 1), found, &reason(at, found, fits, entry), encoding)
            })?;
            if at.free {
                // Its bytes are nobody's: what is wrong with them is no damage.
                state.forget(bad);
            }
        }
        Ok(())
    }

    /// Indexes, views and triggers; what cannot be made is told.
    fn others(&mut self, db: &Connection, objects: &[Object]) {
        for kind in ["index", "view", "trigger"] {
            for o in objects.iter().filter(|o| o.kind == kind && !o.sql.is_empty()) {
                let made = if is_create(&o.sql, &kind.to_uppercase()) {
                    db.prepare(&o.sql).and_then(|mut q| q.execute([])).map(|_| ()).map_err(Error::from)
                } else {
                    Err(Error::new(Kind::Corrupt, "its schema row holds no such statement"))
                };
                if let Err(e) = made {
                    self.account.failure(kind, &o.name, &e.message);
                }
            }
        }
    }

    /// Virtual tables: their storage was saved with the other tables, only their row in the schema is missing.
    fn modules(&mut self, db: &Connection, objects: &[Object]) {
        let virtuals: Vec<&Object> = objects.iter().filter(|o| o.kind == "table" && o.root == 0 && is_create(&o.sql, "VIRTUAL")).collect();
        if virtuals.is_empty() {
            return;
        }
        let write = || -> rusqlite::Result<()> {
            db.execute_batch("PRAGMA writable_schema=ON")?;
            for o in &virtuals {
                db.execute("INSERT INTO sqlite_schema(type, name, tbl_name, rootpage, sql) VALUES('table', ?1, ?1, 0, ?2)", [&o.name, &o.sql])?;
            }
            db.execute_batch("PRAGMA writable_schema=RESET")
        };
        if let Err(e) = write() {
            self.account.failure("table", "virtual tables", &e.to_string());
        }
    }
}

/// Why a row is in `lost_and_found`, and how its table was told from others.
fn reason(at: Stray, found: &Found<'_>, fits: usize, entry: Option<bool>) -> String {
    let place = match (found.doubt, at.free) {
        (Some(doubt), _) => doubt,
        (None, true) => "its page is free: it was deleted, or is an older copy",
        (None, false) => "no table leads to its page",
    };
    match (fits, entry) {
        (1, _) => format!("{place}; no other table has such columns"),
        (0, Some(_)) => format!("{place}; an entry of an index, whose row is lost"),
        (0, None) if at.index => format!("{place}; an entry of an index, or a row of a table WITHOUT ROWID"),
        _ => place.to_owned(),
    }
}

/// The next numbers of AUTOINCREMENT tables: never lower than they were.
fn numbers(db: &Connection, reader: &PageReader<'_>, root: u32, state: &mut Salvage) -> Result<()> {
    let counts: bool = db.query_row("SELECT EXISTS(SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence')", [], |r| r.get(0))?;
    let encoding = reader.encoding;
    salvage(reader, root, state, &mut |found| {
        let values = fields(found.record)?;
        if let (Some(Field::Text(name)), Some(Field::Int(seq)), true, None) = (values.first(), values.get(1), counts, found.doubt)
            && let Some(name) = writer::text(name, encoding)
        {
            let there: bool = db.query_row("SELECT EXISTS(SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?)", [&name], |r| r.get(0))?;
            if there {
                db.execute("DELETE FROM sqlite_sequence WHERE name = ?1 AND seq <= ?2", (&name, seq))?;
                db.execute(
                    "INSERT INTO sqlite_sequence(name, seq) SELECT ?1, ?2 WHERE NOT EXISTS(SELECT 1 FROM sqlite_sequence WHERE name = ?1)",
                    (&name, seq),
                )?;
            }
        }
        Ok(())
    })
}

/// Which database, into which file.
pub fn call(host: &Connection, given: Option<&str>, to: &str) -> Result<Json> {
    if to.is_empty() {
        return Err(Error::argument("new_path is empty"));
    }
    let target = Target::resolve(host, given)?;
    let done = database(host, &target, Path::new(to))?;
    // What was salvaged can be opened, or the account says more than the file holds.
    Target::file_at(Path::new(to)).session(host, Access::Read)?;
    Ok(done)
}
