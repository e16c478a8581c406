//! Changes the target's rows, and leaves in the same transaction what undoes them, what lost, and what followers must know.
//!
//! A change that meets a unique value which a later change will free (values that swap places) is set aside: its row is
//! taken out, and put in again at the end.
use super::{
    delta::{Delta, Spot},
    judge::{Action, Judged, Sink, label},
    ledger::{CONFLICTS, Undo},
    rows::{self, Finder, Hasher},
    shape::Shape,
};
use crate::{
    db::{
        changelog::Log,
        digest::{Algorithm, Sum},
        ident::{list, qualified, quote, same},
        record, time,
    },
    error::{Error, Kind, Result},
    kit::{Field, Stmt},
};
use rusqlite::Connection;

#[derive(Clone, Copy, Default, Debug)]
pub struct Tally {
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    pub skipped: u64,
    pub conflicts: u64,
    /// Rows only the target has, which stay.
    pub left: u64,
    /// Rows found equal only now, which no walk has counted.
    pub equal: u64,
}

impl Tally {
    pub fn count(&mut self, j: &Judged<'_, '_>) {
        match j.action {
            Action::Insert => self.inserted += 1,
            Action::Update => self.updated += 1,
            Action::Delete => self.deleted += 1,
            Action::Skip => self.skipped += 1,
        }
        self.conflicts += u64::from(j.conflict.is_some());
    }

    pub fn changed(&self) -> u64 {
        self.inserted + self.updated + self.deleted
    }
}

/// A dry run: the figures, and whoever looks on sees each row.
pub struct DryRun<'p> {
    pub tally: Tally,
    pub preview: Option<&'p mut dyn Sink>,
}

impl Sink for DryRun<'_> {
    fn row(&mut self, j: Judged<'_, '_>) -> Result<()> {
        self.tally.count(&j);
        self.preview.as_mut().map_or(Ok(()), |p| p.row(j))
    }

    fn left(&mut self, n: u64) {
        self.tally.left = n;
    }

    fn equal(&mut self) {
        self.tally.equal += 1;
    }
}

/// What the ledger and the logs need to know of the sync.
pub struct Names<'a> {
    pub sync_id: &'a str,
    pub source: &'a str,
    /// The source, as a follower of the target must know it: its own changes do not go back to it.
    pub origin: &'a str,
}

pub struct Writer<'a> {
    pub tally: Tally,
    /// Sum over the rows as the sync left them.
    pub sum: Sum,
    pub undo: Option<Undo<'a>>,
    shape: &'a Shape,
    names: Names<'a>,
    db: &'a Connection,
    schema: &'a str,
    delta: &'a Delta,
    /// Leaves the key alone, and with it the key's index.
    update_rest: Option<Stmt<'a>>,
    update_all: Stmt<'a>,
    insert: Insert<'a>,
    delete: Stmt<'a>,
    conflict: Option<Stmt<'a>>,
    known_conflict: Option<Stmt<'a>>,
    log: Option<(Log, Stmt<'a>)>,
    line: Stmt<'a>,
    /// Skips are told row by row in any case.
    every_line: bool,
    /// The target's triggers see the rows.
    triggers: bool,
    park: Stmt<'a>,
    /// What is written is what was read: no column transforms it, none is the target's own.
    exact: bool,
}

/// Puts rows in, at the source's rowid where that means nothing to users and is free: so rowids line up for the next time.
struct Insert<'a> {
    plain: Stmt<'a>,
    at: Option<(Stmt<'a>, Stmt<'a>)>,
}

impl<'a> Insert<'a> {
    fn new(db: &'a Connection, schema: &str, shape: &Shape, columns: &[&str]) -> Result<Insert<'a>> {
        let table = qualified(schema, &shape.target.name);
        let marks = |n: usize| vec!["?"; n].join(", ");
        let names = list(columns.iter().copied());
        let plain = Stmt::prepare(db, &format!("INSERT OR ABORT INTO {table}({names}) VALUES({})", marks(columns.len())))?;
        let at = match shape.rowids {
            Some((_, r)) if shape.target.rowid_alias(db)?.is_none() => Some((
                Stmt::prepare(db, &format!("SELECT 1 FROM {table} WHERE {r} = ?"))?,
                Stmt::prepare(db, &format!("INSERT OR ABORT INTO {table}({names}, {r}) VALUES({})", marks(columns.len() + 1)))?,
            )),
            _ => None,
        };
        Ok(Insert { plain, at })
    }

    fn run<'f>(&mut self, wish: &Spot, fields: impl Iterator<Item = Field<'f>>) -> Result<()> {
        let mut free = None;
        if let (Some((taken, _)), Spot::Rowid(r)) = (&mut self.at, wish) {
            taken.bind(1, Field::Int(*r))?;
            free = (!taken.step()?).then_some(*r);
            taken.reset();
        }
        let q = match (&mut self.at, free) {
            (Some((_, q)), Some(_)) => q,
            _ => &mut self.plain,
        };
        q.run_with((1..).zip(fields.chain(free.map(Field::Int))))
    }
}

impl<'a> Writer<'a> {
    #[expect(clippy::too_many_arguments, reason = "one call, and each of them is a thing of its own")]
    pub fn new(
        db: &'a Connection,
        schema: &'a str,
        shape: &'a Shape,
        delta: &'a Delta,
        names: Names<'a>,
        undo: Option<Undo<'a>>,
        log: Option<Log>,
        (every_line, triggers): (bool, bool),
    ) -> Result<Writer<'a>> {
        let table = qualified(schema, &shape.target.name);
        let set = |columns: &[(usize, &str)]| columns.iter().map(|(i, c)| format!("{} = ?{}", quote(c), i + 1)).collect::<Vec<_>>().join(", ");
        let place = shape.at_target(shape.columns.len() + 1);
        let all: Vec<(usize, &str)> = shape.columns.iter().map(String::as_str).enumerate().collect();
        let rest: Vec<(usize, &str)> = all.iter().copied().filter(|(i, _)| !shape.key.contains(i)).collect();
        let update = |columns: &[(usize, &str)]| Stmt::prepare(db, &format!("UPDATE OR ABORT {table} SET {} WHERE {place}", set(columns)));
        delta.db.execute_batch("CREATE TABLE IF NOT EXISTS parked(s, before BLOB); DELETE FROM parked")?;
        let columns: Vec<&str> = shape.columns.iter().map(String::as_str).collect();
        Ok(Writer {
            tally: Tally::default(),
            sum: Sum::new(Algorithm::Fast),
            undo,
            names,
            db,
            schema,
            delta,
            update_rest: if rest.is_empty() || rest.len() == all.len() { None } else { Some(update(&rest)?) },
            update_all: update(&all)?,
            insert: Insert::new(db, schema, shape, &columns)?,
            delete: Stmt::prepare(db, &format!("DELETE FROM {table} WHERE {}", shape.at_target(1)))?,
            conflict: None,
            known_conflict: None,
            log: log.map(|l| l.append(db).map(|q| (l, q))).transpose()?,
            line: Stmt::prepare(&delta.db, "INSERT INTO line VALUES(?)")?,
            every_line,
            triggers,
            park: Stmt::prepare(&delta.db, "INSERT INTO parked VALUES(?, ?)")?,
            exact: shape.same_types() && shape.target_only.is_empty(),
            shape,
        })
    }

    /// Puts the rows that were set aside in again.
    pub fn finish(&mut self, source: &mut Finder<'_>, target: &mut Finder<'_>) -> Result<()> {
        target.release();
        let columns: Vec<&str> = self.shape.image_columns().collect();
        let mut insert = Insert::new(self.db, self.schema, self.shape, &columns)?;
        let width = self.shape.columns.len();
        let mut q = Stmt::prepare(&self.delta.db, "SELECT s, before FROM parked")?;
        while q.step()? {
            let s = Spot::of(q.field(0));
            source.seek(&s)?;
            let Field::Blob(before) = q.field(1) else { continue };
            let own = record::decode(before)?;
            insert.run(&s, (0..width).map(|i| source.field(i)).chain(own.into_iter().skip(width))).map_err(|e| self.named(e, source))?;
            self.after("u", &s, Some(before), source, target)?;
        }
        self.undo.as_mut().map_or(Ok(()), Undo::finish)
    }

    fn named(&self, e: Error, row: &Finder<'_>) -> Error {
        e.context(format!("{}:{}", self.shape.target.name, label(self.shape, |i| row.field(i))))
    }

    fn update(&mut self, j: &mut Judged<'_, '_>, t: &Spot) -> Result<bool> {
        let same_key = self.shape.key.iter().all(|k| j.source.field(*k) == j.target.field(*k));
        let width = self.shape.columns.len();
        let (q, partial) = match &mut self.update_rest {
            Some(q) if same_key => (q, true),
            _ => (&mut self.update_all, false),
        };
        j.target.release();
        let written = (0..width).filter(|i| !(partial && self.shape.key.contains(i))).map(|i| (i + 1, j.source.field(i)));
        match q.run_with(written.chain((width + 1..).zip(t.parts()?))) {
            Ok(()) => Ok(true),
            Err(e) if e.kind == Kind::Constraint => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Writes down what the row is now: for the undo, the proof and the followers.
    fn after(&mut self, op: &str, s: &Spot, before: Option<&[u8]>, source: &mut Finder<'_>, target: &mut Finder<'_>) -> Result<()> {
        let shape = self.shape;
        let width = shape.columns.len();
        if self.undo.is_none() && self.log.is_none() {
            (0..width).for_each(|i| self.sum.field(source.field(i)));
            self.sum.add();
            return Ok(());
        }
        // Where a column may have transformed a value, or has one of its own, the row is read again.
        let again = if self.exact { None } else { Some(self.read_again(s, source, target)?) };
        let image: Vec<Field<'_>> = match &again {
            Some(bytes) => record::decode(bytes)?,
            None => (0..width).map(|i| source.field(i)).collect(),
        };
        for f in image.iter().take(width) {
            self.sum.field(*f);
        }
        self.sum.add();
        let field = |i: usize| image.get(i).copied().unwrap_or(Field::Null);
        if let Some(undo) = &mut self.undo {
            let hash = Hasher::fixed().row(image.iter().copied());
            match rows::key(shape, field) {
                Some(key) => undo.add(op, Some(&record::encode(key)), before, Some(hash))?,
                // Nothing but its content names the row.
                None => undo.add(&op.to_ascii_uppercase(), Some(&record::encode(image.iter().copied())), before, Some(hash))?,
            }
        }
        if let Some((log, add)) = &mut self.log {
            let at: Vec<usize> = log.key.iter().filter_map(|k| shape.image_columns().position(|c| same(c, k))).collect();
            let old = before.map(record::decode).transpose()?;
            if let Some(old) = old {
                let values: Vec<Field<'_>> = at.iter().map(|i| old.get(*i).copied().unwrap_or(Field::Null)).collect();
                if at.iter().zip(&values).any(|(i, v)| field(*i) != *v) {
                    append(add, &values, None, self.names.origin)?;
                }
            }
            let values: Vec<Field<'_>> = at.iter().map(|i| field(*i)).collect();
            append(add, &values, None, self.names.origin)?;
        }
        Ok(())
    }

    fn read_again(&self, s: &Spot, source: &Finder<'_>, target: &mut Finder<'_>) -> Result<Vec<u8>> {
        let shape = self.shape;
        let spot = match (s, rows::key(shape, |i| source.field(i))) {
            (_, Some(key)) => target.spot_of(&key, shape.rowids.is_some())?,
            (Spot::Rowid(_), None) => Some(Spot::Rowid(self.db.last_insert_rowid())),
            (Spot::Key(_), None) => None,
        };
        let found = spot.map(|s| target.seek(&s)).transpose()?.unwrap_or(false);
        if !found {
            return Err(Error::internal("a row that was written cannot be found"));
        }
        let image = target.image();
        target.release();
        Ok(image)
    }

    fn keep_conflict(&mut self, j: &Judged<'_, '_>) -> Result<()> {
        let Some(conflict) = j.conflict else { return Ok(()) };
        let width = self.shape.columns.len();
        let source = j.s.as_ref().map(|_| record::encode((0..width).map(|i| j.source.field(i))));
        let target = j.t.as_ref().map(|_| j.target.image());
        let target_row = target.as_deref().map_or(Field::Null, Field::Blob);
        let source_row = source.as_deref().map_or(Field::Null, Field::Blob);
        let label = label(self.shape, |i| if j.t.is_some() { j.target.field(i) } else { j.source.field(i) });
        if self.conflict.is_none() {
            let sql = format!(
                "INSERT INTO {}(sync_id, source_db, table_name, row_key, winner, reason, columns, keys, source_row, target_row, recorded_at) VALUES(?,?,?,?,?,?,?,?,?,?,?)",
                qualified(self.schema, CONFLICTS)
            );
            self.conflict = Some(Stmt::prepare(self.db, &sql)?);
            let table = qualified(self.schema, CONFLICTS);
            let sql = format!("SELECT 1 FROM {table} WHERE table_name = ?1 AND row_key = ?2 AND winner = 'target' AND source_row IS ?3 AND target_row IS ?4");
            self.known_conflict = Some(Stmt::prepare(self.db, &sql)?);
        }
        if let Some(known) = self.known_conflict.as_mut().filter(|_| conflict.winner == "target") {
            // A row that stays the newer one would be told again by each sync.
            known.bind(1, Field::Text(self.shape.target.name.as_bytes()))?;
            known.bind(2, Field::Text(label.as_bytes()))?;
            known.bind(3, source_row)?;
            known.bind(4, target_row)?;
            let told = known.step()?;
            known.reset();
            if told {
                return Ok(());
            }
        }
        let columns = serde_json::to_string(&self.shape.image_columns().collect::<Vec<_>>())?;
        let keys = serde_json::to_string(&self.shape.key_names())?;
        let now = time::now();
        let texts = [self.names.sync_id, self.names.source, &self.shape.target.name, &label, conflict.winner, conflict.reason, &columns, &keys];
        let Some(q) = &mut self.conflict else { return Ok(()) };
        for (i, t) in texts.iter().enumerate() {
            q.bind(i + 1, Field::Text(t.as_bytes()))?;
        }
        q.bind(9, source_row)?;
        q.bind(10, target_row)?;
        q.bind(11, Field::Text(now.as_bytes()))?;
        q.run()
    }
}

fn append(add: &mut Stmt<'_>, key: &[Field<'_>], deleted_at: Option<&str>, origin: &str) -> Result<()> {
    let deleted_at = deleted_at.map_or(Field::Null, |t| Field::Text(t.as_bytes()));
    add.run_with((1..).zip(key.iter().copied().chain([deleted_at, Field::Text(origin.as_bytes())])))
}

impl Sink for Writer<'_> {
    fn row(&mut self, mut j: Judged<'_, '_>) -> Result<()> {
        self.tally.count(&j);
        self.keep_conflict(&j)?;
        if self.every_line || j.action == Action::Skip {
            let of = |f: &Finder<'_>| label(self.shape, |i| f.field(i));
            let text = format!("{} {}:{}", j.action.word(), self.shape.target.name, if j.t.is_some() { of(j.target) } else { of(j.source) });
            self.line.bind(1, Field::Text(text.as_bytes()))?;
            self.line.run()?;
        }
        match (j.action, j.s.clone(), j.t.clone()) {
            (Action::Delete, _, Some(t)) => {
                let before = j.target.image();
                j.target.release();
                self.delete.run_with((1..).zip(t.parts()?))?;
                if let Some(undo) = &mut self.undo {
                    undo.add("d", None, Some(&before), None)?;
                }
                if let Some((log, add)) = &mut self.log {
                    let old = record::decode(&before)?;
                    let at = |k: &String| self.shape.image_columns().position(|c| same(c, k)).and_then(|i| old.get(i).copied());
                    let key: Vec<Field<'_>> = log.key.iter().map(|k| at(k).unwrap_or(Field::Null)).collect();
                    append(add, &key, Some(&time::now()), self.names.origin)?;
                }
                Ok(())
            }
            (Action::Update, Some(s), Some(t)) => {
                let before = j.target.image();
                if self.update(&mut j, &t)? {
                    return self.after("u", &s, Some(&before), j.source, j.target);
                }
                self.delete.run_with((1..).zip(t.parts()?))?;
                self.park.bind(1, s.field())?;
                self.park.bind(2, Field::Blob(&before))?;
                self.park.run()
            }
            (Action::Insert, Some(s), _) => {
                j.target.release();
                let width = self.shape.columns.len();
                let done = self.insert.run(&s, (0..width).map(|i| j.source.field(i)));
                done.map_err(|e| self.named(e, j.source))?;
                self.after("i", &s, None, j.source, j.target)
            }
            _ => Ok(()),
        }
    }

    fn left(&mut self, n: u64) {
        self.tally.left = n;
    }

    fn equal(&mut self) {
        self.tally.equal += 1;
    }

    fn takes_any_order(&self) -> bool {
        self.shape.only_key_is_unique && !self.triggers && !self.every_line
    }
}
