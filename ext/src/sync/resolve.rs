//! `resolve_conflict`: the row that lost wins after all, or the decision stands.
use super::{ledger::CONFLICTS, past, side::Destination};
use crate::{
    db::{
        ident::{list, qualified, quote, same},
        record, schema, time,
    },
    error::{Error, Kind, Result},
    hub::Hub,
    kit::{Field, Stmt, one_of},
};
use rusqlite::{Connection, OptionalExtension};

/// What a resolution did, a row of the table function.
pub struct Resolved {
    pub table: String,
    pub row_key: String,
    pub changed: bool,
}

pub fn resolve(host: &Connection, id: i64, choice: &str) -> Result<Resolved> {
    let choice = one_of("resolution", choice, &["source", "target"])?;
    let hub = Hub::need(host)?;
    let sql = "SELECT sync_id, target_conflict_id, resolution FROM hub.sync_conflicts WHERE id = ?";
    let found: Option<(String, i64, Option<String>)> = host.prepare(&hub.sql(sql))?.query_row([id], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).optional()?;
    let Some((sync_id, at, before)) = found else { return Err(Error::not_found(format!("no conflict {id} in sync_conflicts"))) };
    if let Some(before) = before {
        return Err(Error::argument(format!("conflict {id} was resolved already: {before}")));
    }
    let past = past::find(host, &sync_id, None)?;
    let mut to = Destination::open(host, &past.target, false, false)?;
    to.begin(false)?;
    to.fire_triggers(false)?;
    let done = apply(to.db(), &to.schema, at, choice)?;
    to.commit()?;
    hub.execute(host, "UPDATE hub.sync_conflicts SET resolution = ?2, resolved_at = ?3 WHERE id = ?1", (id, choice, time::now()))?;
    Ok(done)
}

fn apply(db: &Connection, schema: &str, at: i64, choice: &str) -> Result<Resolved> {
    let conflicts = qualified(schema, CONFLICTS);
    let sql = format!("SELECT table_name, row_key, winner, columns, keys, source_row, target_row FROM {conflicts} WHERE conflict_id = ?");
    let mut q = Stmt::prepare(db, &sql)?;
    q.bind(1, Field::Int(at))?;
    if !q.step()? {
        return Err(Error::not_found("the target does not keep this conflict any more").hint("Setting sync.retention_days says how long it does"));
    }
    let text = |i: usize| match q.field(i) {
        Field::Text(b) => String::from_utf8_lossy(b).into_owned(),
        _ => String::new(),
    };
    let blob = |i: usize| match q.field(i) {
        Field::Blob(b) => Some(b.to_vec()),
        _ => None,
    };
    let names = |i: usize| -> Vec<String> { serde_json::from_str(&text(i)).unwrap_or_default() };
    let (table, row_key, winner, columns, keys, source, target) = (text(0), text(1), text(2), names(3), names(4), blob(5), blob(6));
    drop(q);
    let changed = winner != choice;
    if changed {
        let row = Row { db, table: qualified(schema, &schema::table(db, schema, &table)?.name), columns: &columns, keys: &keys, row_key: &row_key };
        let (wins, lost) = if choice == "source" { (source, target) } else { (target, source) };
        row.replace(lost.as_deref(), wins.as_deref())?;
    }
    db.execute(&format!("UPDATE {conflicts} SET resolution = ?2, resolved_at = ?3 WHERE conflict_id = ?1"), (at, choice, time::now()))?;
    Ok(Resolved { table, row_key, changed })
}

struct Row<'a> {
    db: &'a Connection,
    table: String,
    columns: &'a [String],
    keys: &'a [String],
    row_key: &'a str,
}

impl Row<'_> {
    /// `now` is what should stand there: the row that won at the time. None stands for no row.
    fn replace(&self, now: Option<&[u8]>, then: Option<&[u8]>) -> Result<()> {
        let any = now.or(then).ok_or_else(|| Error::internal("a conflict without rows"))?;
        let key = record::decode(any)?;
        let key: Vec<Field<'_>> = self.keys.iter().filter_map(|k| self.columns.iter().position(|c| same(c, k))).filter_map(|i| key.get(i).copied()).collect();
        let place = self.keys.iter().enumerate().map(|(i, k)| format!("{} = ?{}", quote(k), i + 1)).collect::<Vec<_>>().join(" AND ");
        if key.is_empty() {
            return Err(Error::unsupported("rows without a key have no conflicts to resolve"));
        }
        let bind = |q: &mut Stmt<'_>, from: usize, row: &[Field<'_>]| row.iter().enumerate().try_for_each(|(i, v)| q.bind(from + i, *v));
        let mut look = Stmt::prepare(self.db, &format!("SELECT {} FROM {} WHERE {place}", list(self.columns.iter().map(String::as_str)), self.table))?;
        bind(&mut look, 1, &key)?;
        let there = look.step()?;
        let wanted = now.map(record::decode).transpose()?;
        // The source's row lacks the target's own columns.
        let as_left = match &wanted {
            Some(row) => there && row.iter().enumerate().all(|(i, v)| look.field(i) == *v),
            None => !there,
        };
        look.reset();
        if !as_left {
            return Err(Error::new(Kind::Conflict, format!("the row {} has changed since the conflict; nothing was changed", self.row_key))
                .hint("Write the row you want yourself"));
        }
        let then = then.map(record::decode).transpose()?;
        match (then, there) {
            (None, _) => {
                let mut q = Stmt::prepare(self.db, &format!("DELETE FROM {} WHERE {place}", self.table))?;
                bind(&mut q, 1, &key)?;
                q.run()
            }
            (Some(row), true) => {
                let set = self
                    .columns
                    .iter()
                    .take(row.len())
                    .enumerate()
                    .map(|(i, c)| format!("{} = ?{}", quote(c), key.len() + i + 1))
                    .collect::<Vec<_>>()
                    .join(", ");
                let mut q = Stmt::prepare(self.db, &format!("UPDATE OR ABORT {} SET {set} WHERE {place}", self.table))?;
                bind(&mut q, 1, &key)?;
                bind(&mut q, key.len() + 1, &row)?;
                q.run()
            }
            (Some(row), false) => {
                let columns = list(self.columns.iter().take(row.len()).map(String::as_str));
                let mut q = Stmt::prepare(self.db, &format!("INSERT OR ABORT INTO {}({columns}) VALUES({})", self.table, vec!["?"; row.len()].join(", ")))?;
                bind(&mut q, 1, &row)?;
                q.run()
            }
        }
    }
}
