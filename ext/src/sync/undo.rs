//! Takes a sync back: the target's table holds exactly what it held before, or nothing is changed.
//!
//! Every row the sync touched must still be as the sync left it. First all of those go, then all of the former ones come
//! back: so values that changed places do not meet.
use super::{
    guards,
    ledger::{self, Entry, UNDO},
    past,
    rows::Hasher,
    side::Destination,
};
use crate::{
    db::{
        changelog::{Log, POSITIONS},
        digest,
        ident::{list, qualified, quote, same},
        record, schema, time,
    },
    error::{Error, Kind, Result},
    hub::Hub,
    kit::{Field, Interrupt, Stmt},
};
use rusqlite::Connection;
use serde_json::{Value as Json, json};

pub fn undo(host: &Connection, sync_id: &str, target: Option<&str>) -> Result<Json> {
    let past = past::find(host, sync_id, target)?;
    let mut to = Destination::open(host, &past.target, false, false)?;
    to.begin(false)?;
    to.fire_triggers(false)?;
    let schema = to.schema.clone();
    let db = to.db();
    let missing = || {
        Error::not_found(format!("{} holds nothing to undo the sync \"{sync_id}\"", past.target.name))
            .hint("It changed nothing, ran with {\"undo\":false}, or is older than setting sync.retention_days")
    };
    let entry = Entry::read(db, &schema, sync_id)?.ok_or_else(missing)?;
    if let Some(when) = &entry.undone_at {
        return Err(Error::argument(format!("the sync \"{sync_id}\" was undone already, at {when}")));
    }
    let table = schema::table(db, &schema, &entry.table)?;
    if let Some(gone) = entry.columns.iter().find(|c| table.column(c).is_none()) {
        return Err(Error::new(Kind::Conflict, format!("the table \"{}\" has no column \"{gone}\" any more: it cannot hold what it held before", table.name)));
    }
    let keys = guards::Keys::before(db, &schema, &table.name)?;
    let mut interrupt = Interrupt::of(host)?;
    let (removed, restored) = match &entry.whole_digest {
        Some(then) => (empty(db, &schema, &entry, then, &mut interrupt)?, 0),
        None => Rows { db, schema: &schema, entry: &entry, log: Log::find(db, &schema, &entry.table)? }.put_back(&mut interrupt)?,
    };
    keys.check(db, &schema)?;
    ledger::mark_undone(db, &schema, sync_id)?;
    // The target has less now than its position in the source's log says: the next sync compares everything.
    if schema::find_table(db, &schema, POSITIONS)?.is_some() {
        db.execute(&format!("DELETE FROM {} WHERE table_name = ? COLLATE NOCASE", qualified(&schema, POSITIONS)), [&entry.table])?;
    }
    let name = to.name.clone();
    to.commit()?;
    if let Some(hub) = Hub::find(host)? {
        hub.execute(host, "UPDATE hub.cross_db_sync_log SET sync_status = 'ROLLED_BACK' WHERE sync_id = ?", [sync_id])?;
    }
    Ok(json!({"sync_id": sync_id, "table": entry.table, "target": name, "removed": removed, "restored": restored, "undone_at": time::now()}))
}

fn moved_on(what: String) -> Error {
    Error::new(Kind::Conflict, format!("the target has moved on since: {what}; nothing was changed")).hint("Undo the later syncs first, the newest first")
}

/// The table was empty before the sync.
fn empty(db: &Connection, schema: &str, entry: &Entry, then: &str, interrupt: &mut Interrupt<'_>) -> Result<u64> {
    let now = digest::of_rows(db, schema, &entry.table, &mut || interrupt.tick())?;
    if now.hex != then {
        return Err(moved_on(format!("\"{}\" had {} rows after the sync and has {} now, with other content", entry.table, entry.inserted, now.rows)));
    }
    let table = qualified(schema, &entry.table);
    if entry.created_table {
        db.execute_batch(&format!("DROP TABLE {table}"))?;
    } else {
        db.execute_batch(&format!("DELETE FROM {table}"))?;
    }
    Ok(now.rows)
}

struct Rows<'a> {
    db: &'a Connection,
    schema: &'a str,
    entry: &'a Entry,
    log: Option<Log>,
}

impl Rows<'_> {
    fn put_back(&self, interrupt: &mut Interrupt<'_>) -> Result<(u64, u64)> {
        let moved = self.moved(interrupt)?;
        let touched = self.entry.inserted + self.entry.updated + self.entry.deleted;
        if moved > 0 {
            return Err(moved_on(format!("{moved} of the {touched} rows it touched in \"{}\" are not as it left them", self.entry.table)));
        }
        let (mut removed, mut restored) = (0, 0);
        let table = qualified(self.schema, &self.entry.table);
        let mut by_key = Stmt::prepare(self.db, &format!("DELETE FROM {table} WHERE {}", self.is_key()))?;
        let mut q = self.rows("op <> 'd'")?;
        while q.step()? {
            interrupt.tick()?;
            let Field::Blob(loc) = q.field(1) else { continue };
            let now = self.find(q.field(0), loc)?.ok_or_else(|| moved_on(format!("a row of \"{}\" is gone", self.entry.table)))?;
            self.tell(&now.1, true)?;
            match now.0 {
                Some(rowid) => {
                    let name = self.rowid()?;
                    self.db.execute(&format!("DELETE FROM {table} WHERE {name} = ?"), [rowid])?;
                }
                None => {
                    bind(&mut by_key, loc)?;
                    by_key.run()?;
                }
            }
            removed += 1;
        }
        drop(q);
        let columns = list(self.entry.columns.iter().map(String::as_str));
        let marks = vec!["?"; self.entry.columns.len()].join(", ");
        let mut add = Stmt::prepare(self.db, &format!("INSERT OR ABORT INTO {table}({columns}) VALUES({marks})"))?;
        let mut q = self.rows("before IS NOT NULL")?;
        while q.step()? {
            interrupt.tick()?;
            let Field::Blob(before) = q.field(2) else { continue };
            bind(&mut add, before)?;
            add.run()
                .map_err(|e| if e.kind == Kind::Constraint { moved_on(format!("another row stands where a former one was ({})", e.message)) } else { e })?;
            self.tell(before, false)?;
            restored += 1;
        }
        Ok((removed, restored))
    }

    /// op, loc, before, after
    fn rows(&self, which: &str) -> Result<Stmt<'_>> {
        let mut q = Stmt::prepare(
            self.db,
            &format!("SELECT op, loc, before, after FROM {} WHERE n BETWEEN ?1 AND ?2 AND {which} ORDER BY n DESC", qualified(self.schema, UNDO)),
        )?;
        q.bind(1, Field::Int(self.entry.first_n))?;
        q.bind(2, Field::Int(self.entry.last_n))?;
        Ok(q)
    }

    /// How many rows are not as the sync left them.
    fn moved(&self, interrupt: &mut Interrupt<'_>) -> Result<u64> {
        let mut moved = 0;
        let mut q = self.rows("1")?;
        while q.step()? {
            interrupt.tick()?;
            let still = match (q.field(0), q.field(1), q.field(2)) {
                // Deleted by the sync: nothing may stand there now. A row without a key may have its like.
                (Field::Text(b"d"), _, Field::Blob(before)) => match self.key_of(before)? {
                    Some(key) => self.find(Field::Text(b"i"), &key)?.is_none(),
                    None => true,
                },
                (op, Field::Blob(loc), _) => match self.find(op, loc)? {
                    Some((_, image)) => Field::Int(Hasher::fixed().row(record::decode(&image)?) as i64) == q.field(3),
                    None => false,
                },
                _ => true,
            };
            moved += u64::from(!still);
        }
        Ok(moved)
    }

    fn is_key(&self) -> String {
        let names = if self.entry.keys.is_empty() { &self.entry.columns } else { &self.entry.keys };
        names.iter().enumerate().map(|(i, k)| format!("{} IS ?{}", quote(k), i + 1)).collect::<Vec<_>>().join(" AND ")
    }

    fn key_of(&self, image: &[u8]) -> Result<Option<Vec<u8>>> {
        let row = record::decode(image)?;
        let at = |k: &String| self.entry.columns.iter().position(|c| same(c, k)).and_then(|i| row.get(i).copied()).filter(|f| !matches!(f, Field::Null));
        let key: Option<Vec<Field<'_>>> = self.entry.keys.iter().map(at).collect();
        Ok(key.filter(|k| !k.is_empty()).map(record::encode))
    }

    fn rowid(&self) -> Result<&'static str> {
        schema::table(self.db, self.schema, &self.entry.table)?.rowid_name().ok_or_else(|| Error::internal("a row without a key in a table without rowids"))
    }

    /// The row that the sync left; its rowid where nothing but its content names it.
    fn find(&self, op: Field<'_>, loc: &[u8]) -> Result<Option<(Option<i64>, Vec<u8>)>> {
        let table = qualified(self.schema, &self.entry.table);
        let columns = list(self.entry.columns.iter().map(String::as_str));
        let width = self.entry.columns.len();
        if matches!(op, Field::Text(b"i" | b"u")) {
            let mut q = Stmt::prepare(self.db, &format!("SELECT {columns} FROM {table} WHERE {}", self.is_key()))?;
            bind(&mut q, loc)?;
            return Ok(if q.step()? { Some((None, record::encode((0..width).map(|i| q.field(i))))) } else { None });
        }
        let all = self.entry.columns.iter().enumerate().map(|(i, k)| format!("{} IS ?{}", quote(k), i + 1)).collect::<Vec<_>>().join(" AND ");
        let mut q = Stmt::prepare(self.db, &format!("SELECT {columns}, {} FROM {table} WHERE {all}", self.rowid()?))?;
        bind(&mut q, loc)?;
        while q.step()? {
            // IS takes 1 and 1.0 for the same.
            let image = record::encode((0..width).map(|i| q.field(i)));
            if image == loc {
                return Ok(Some((Some(q.int(width)), image)));
            }
        }
        Ok(None)
    }

    /// Followers of the target must see the undo as the change it is.
    fn tell(&self, image: &[u8], deleted: bool) -> Result<()> {
        let Some(log) = &self.log else { return Ok(()) };
        let row = record::decode(image)?;
        let mut add = log.append(self.db)?;
        for (i, k) in log.key.iter().enumerate() {
            let at = self.entry.columns.iter().position(|c| same(c, k)).and_then(|i| row.get(i).copied());
            add.bind(i + 1, at.unwrap_or(Field::Null))?;
        }
        let now = time::now();
        add.bind(log.key.len() + 1, if deleted { Field::Text(now.as_bytes()) } else { Field::Null })?;
        add.bind(log.key.len() + 2, Field::Null)?;
        add.run()
    }
}

fn bind(q: &mut Stmt<'_>, row: &[u8]) -> Result<()> {
    for (i, v) in record::decode(row)?.into_iter().enumerate() {
        q.bind(i + 1, v)?;
    }
    Ok(())
}
