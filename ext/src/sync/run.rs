//! One sync of one table, from the arguments to the receipt.
use super::{
    compare::{self, Compare, Followed, Found, There},
    create,
    delta::Delta,
    guards,
    judge::{Sink, judge},
    ledger,
    options::{Choice, Method, SyncOptions},
    receipt::{self, Receipt},
    refill,
    rows::Finder,
    shape::{self, Shape},
    side::{Destination, Reader, Source, identity, refuse_same},
    writer::{DryRun, Names, Tally, Writer},
};
use crate::{
    db::{
        changelog::{Log, Position, Status},
        copy,
        ident::qualified,
        limit, schema,
    },
    error::{At, Error, Result},
    hub::{
        limits,
        target::{Mode, Target},
    },
    kit::{Field, Interrupt},
};
use rusqlite::Connection;
use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// Who takes part.
pub struct Ends {
    pub source: Target,
    pub target: Target,
}

impl Ends {
    pub fn resolve(host: &Connection, target: &str, o: &SyncOptions) -> Result<Ends> {
        let source = Target::resolve(host, o.source.as_deref())?;
        let target = if o.create == Some(true) { Target::resolve_new(host, target)? } else { Target::resolve(host, Some(target))? };
        refuse_same(host, &source, &target)?;
        Ok(Ends { source, target })
    }
}

/// In both directions: what the source has for the target, then what the target has for the source. Each is a sync of its
/// own; stopped in between, the next run goes on.
pub fn both(host: &Connection, table: &str, ends: &Ends, choice: &Choice) -> Result<(Receipt, Receipt)> {
    let back = Ends { source: ends.target.clone(), target: ends.source.clone() };
    for (end, other) in [(&ends.source, "the source"), (&ends.target, "the target")] {
        let session = end.session(host, Mode::Read)?;
        let place = end.file(host)?.map_or_else(|| session.schema.clone(), |f| f.display().to_string());
        if Log::find(&session.db, &session.schema, table)?.is_none() {
            schema::table(&session.db, &session.schema, table).at(format!("{other} {}", end.name))?;
            return Err(Error::unsupported(format!("a sync in both directions needs the changes of both sides, and \"{table}\" is not tracked in {other}"))
                .hint(format!("SELECT track_changes('{table}', '{{\"db\":\"{place}\"}}')")));
        }
    }
    let there = sync(host, table, ends, choice)?;
    Ok((there, sync(host, table, &back, choice)?))
}

/// Synchronises `table`, tries again after a lock or an I/O error, and writes down how it went.
pub fn sync(host: &Connection, table: &str, ends: &Ends, choice: &Choice) -> Result<Receipt> {
    let begun = Instant::now();
    let mut interrupt = Interrupt::of(host)?;
    let backup = if choice.given.backup == Some(true) && !choice.dry_run { back_up(&ends.target, host, &mut interrupt)? } else { None };
    let mut tries = 0;
    let done = loop {
        match once(host, table, ends, choice, &mut interrupt, None) {
            Err(e) if e.kind.is_transient() && tries < choice.retries => {
                pause(Duration::from_millis(100 << tries.min(6)), &mut interrupt)?;
                tries += 1;
            }
            other => break other,
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    match done {
        Ok((mut r, delta)) => {
            (r.retries, r.duration_s) = (tries, seconds);
            if !choice.dry_run {
                // Only now: the hub may be in the source's or in the target's file, which nobody of us holds any more.
                write_down(host, &mut r, ends, choice, &delta)?;
            }
            if let Some(path) = backup {
                // The receipt is written: the stored undo serves from here on.
                std::fs::remove_file(path)?;
            }
            Ok(r)
        }
        Err(mut e) => {
            if !choice.dry_run {
                receipt::keep_failure(host, &ends.source.name, &ends.target.name, table, choice, seconds, &e)?;
            }
            if let Some(path) = backup {
                e = e.hint(format!("The copy made before is \"{}\"", path.display()));
            }
            Err(e)
        }
    }
}

/// The receipt's rows in the hub and the logs, once the target is released; conflicts are copied from the target.
pub fn write_down(host: &Connection, r: &mut Receipt, ends: &Ends, choice: &Choice, delta: &Delta) -> Result<()> {
    let target = if r.tally.conflicts > 0 { Some(ends.target.session(host, Mode::Read)?) } else { None };
    receipt::keep(host, r, choice, delta, target.as_ref().map(|s| (&*s.db, s.schema.as_str())))
}

/// What `sync` would do, without doing it; `sink` sees it row by row.
pub fn preview(host: &Connection, table: &str, ends: &Ends, choice: &Choice, sink: Option<&mut dyn Sink>) -> Result<Receipt> {
    let dry = Choice { dry_run: true, ..choice.clone() };
    Ok(once(host, table, ends, &dry, &mut Interrupt::of(host)?, sink)?.0)
}

fn pause(how_long: Duration, interrupt: &mut Interrupt<'_>) -> Result<()> {
    let end = Instant::now() + how_long;
    while Instant::now() < end {
        interrupt.check()?;
        thread::sleep(Duration::from_millis(20).min(how_long));
    }
    Ok(())
}

/// A verified copy of the target's file beside it; None where there is no file yet.
pub fn back_up(target: &Target, host: &Connection, interrupt: &mut Interrupt<'_>) -> Result<Option<PathBuf>> {
    let Some(file) = target.file(host)?.filter(|f| f.exists()) else { return Ok(None) };
    let path = copy::with_suffix(&file, &format!(".before-{}", crate::db::time::new_id()));
    copy::file(&file, &path, || interrupt.check())?;
    Ok(Some(path))
}

fn once(
    host: &Connection,
    table: &str,
    ends: &Ends,
    choice: &Choice,
    interrupt: &mut Interrupt<'_>,
    preview: Option<&mut dyn Sink>,
) -> Result<(Receipt, Delta)> {
    let source = Source::open(host, &ends.source, &choice.given)?;
    let limit = limits::enforced(host, &ends.target.name, choice.given.limit_mb)?;
    let mut target = Destination::open(host, &ends.target, choice.given.create == Some(true), choice.dry_run)?;
    target.begin(choice.dry_run)?;
    let Carried { receipt, delta, keys, changed } = carry(table, &source, &target, ends, choice, interrupt, preview)?;
    if changed {
        commit(target, limit, keys.iter())?;
    }
    Ok((receipt, delta))
}

/// A table whose rows are in the target's transaction.
pub struct Carried {
    pub receipt: Receipt,
    pub delta: Delta,
    /// To be checked before the commit.
    pub keys: Option<guards::Keys>,
    /// There is something to commit.
    pub changed: bool,
}

/// The last checks, and the commit.
pub fn commit<'k>(target: Destination<'_>, limit: Option<u64>, keys: impl Iterator<Item = &'k guards::Keys>) -> Result<()> {
    for k in keys {
        k.check(target.db(), &target.schema)?;
    }
    limit::check_before_commit(target.db(), &target.schema, target.file.as_deref(), limit)?;
    target.commit()
}

/// Brings one table's rows over, inside the transaction that is open on the target.
pub fn carry(
    table: &str,
    source: &Source<'_>,
    target: &Destination<'_>,
    ends: &Ends,
    choice: &Choice,
    interrupt: &mut Interrupt<'_>,
    preview: Option<&mut dyn Sink>,
) -> Result<Carried> {
    let mut n = 0_u32;
    let mut tick = || {
        n = n.wrapping_add(1);
        if n.is_multiple_of(choice.batch) { interrupt.check() } else { Ok(()) }
    };
    let o = &choice.given;
    let from = shape::source_table(source.db(), &source.schema, table, &source.name)?;
    let to_schema = target.schema.clone();
    let place = || format!("target {}", ends.target.name);
    let delta = Delta::new()?;
    let found_table = schema::find_table(target.db(), &to_schema, &from.name).at(place())?;
    let (to, created) = match found_table {
        Some(t) => (shape::check(target.db(), t, "the target")?, false),
        None if choice.dry_run => {
            let receipt = would_create(source, from, choice, ends)?;
            return Ok(Carried { receipt, delta, keys: None, changed: false });
        }
        None => {
            target.writes(&from.name)?;
            (create::table(source.db(), &source.schema, &from, target.db(), &to_schema).at(place())?, true)
        }
    };
    let shape = Shape::of(source.db(), &source.schema, target.db(), &to_schema, from, to, choice)?;
    let mut r = Receipt::begin(&shape, choice, source, target);
    r.created_table = created;
    r.triggers_not_fired = guards::triggers(target.db(), &to_schema, &shape.target, o.triggers)?;
    if !choice.dry_run {
        target.fire_triggers(o.triggers == Some(true))?;
    }
    let own_identity = identity(target.file.as_deref(), &to_schema);
    let followed = shape.follower(&source.identity());
    let Followed { end, tracked, why_not } = compare::find(source, &followed, target.db(), &to_schema, &shape, choice)?;
    let end = end.map(|(log, at)| (log, at, followed));
    let tracked = tracked.filter(|_| choice.by_log);
    let there = if choice.both { Some(there(source, target, &shape.target.name, &shape.follower_back(&own_identity))?) } else { None };
    let unmoved = tracked.as_ref().is_some_and(|t| t.from == t.to);
    // Reads whole tables: only where rows are about to change.
    let keys = || -> Result<Option<guards::Keys>> {
        Ok(if choice.foreign_keys { Some(guards::Keys::before(target.db(), &to_schema, &shape.target.name)?) } else { None })
    };
    let empty = is_empty(target.db(), &to_schema, &shape.target.name)?;
    let own_log = Log::find(target.db(), &to_schema, &shape.target.name)?.filter(|_| o.triggers != Some(true));

    if !choice.dry_run
        && (tracked.is_none() || choice.full)
        && empty
        && matches!(choice.method, Method::Auto | Method::Refill)
        && own_log.is_none()
        && !choice.lines
        && o.triggers != Some(true)
    {
        let keys = keys()?;
        target.writes(&shape.target.name)?;
        let filled = refill::run(source, target, &shape, choice, &mut tick)?;
        r.method = Method::Refill.word();
        r.passed_over = filled.passed_over;
        r.unchanged = Some(0);
        r.tally = Tally { inserted: filled.rows, ..Tally::default() };
        r.digest.clone_from(&filled.digest);
        r.tracked = end.is_some();
        if filled.rows > 0 || created || end.is_some() {
            if choice.undo && (filled.rows > 0 || created) {
                ledger::create(target.db(), &to_schema)?;
                let whole = Some(filled.digest);
                entry(&r, &shape, whole, (0, -1)).write(target.db(), &to_schema)?;
                r.undo = true;
            }
            follow(target, end.as_ref())?;
        }
        let changed = filled.rows > 0 || created || end.is_some();
        return Ok(Carried { receipt: r, delta, keys, changed });
    }

    let compare = Compare {
        shape: &shape,
        source,
        target: target.db(),
        target_schema: &to_schema,
        target_file: target.readable_file(&shape.target.name),
        target_hold: &target.hold,
        target_identity: &own_identity,
        there: there.as_ref(),
        delta: &delta,
        tick: &mut tick,
    };
    let method = if choice.method == Method::Refill { Method::Auto } else { choice.method };
    let Found { method, unchanged, passed_over } = compare.run(method, tracked.as_ref(), why_not.as_deref())?;
    r.method = method.word();
    r.unchanged = unchanged;
    r.passed_over = passed_over;
    r.tracked = end.is_some();
    let by_log = method == Method::ChangeLog;
    let mut from_rows = Finder::source(source.db(), &source.schema, &shape)?;
    if let Reader::Own(snapshot) = &source.reader {
        from_rows.read_ahead(snapshot);
    }
    if choice.dry_run {
        let mut to_rows = Finder::target(target.db(), &to_schema, &shape)?;
        let mut seen = DryRun { tally: Tally::default(), preview };
        judge(&delta, &shape, choice, (&mut from_rows, &mut to_rows), &mut seen, &mut tick)?;
        r.count(seen.tally);
        return Ok(Carried { receipt: r, delta, keys: None, changed: false });
    }
    let moves = end.is_some() && !(unmoved && by_log);
    let differs = !delta.is_empty()?;
    if !differs && !created && !moves {
        return Ok(Carried { receipt: r, delta, keys: None, changed: false });
    }
    let keys = if differs { keys()? } else { None };
    {
        let db = target.db();
        target.writes(&shape.target.name)?;
        let mut to_rows = Finder::target(db, &to_schema, &shape)?;
        if differs {
            ledger::create(db, &to_schema)?;
            ledger::forget(db, &to_schema, choice.retention_days)?;
        }
        let undo = if choice.undo && differs { Some(ledger::Undo::open(db, &to_schema)?) } else { None };
        let names = Names { sync_id: &r.sync_id, source: &source.name, origin: &source.identity() };
        let mut w = Writer::new(db, &to_schema, &shape, &delta, names, undo, own_log, (choice.lines, o.triggers == Some(true)))?;
        judge(&delta, &shape, choice, (&mut from_rows, &mut to_rows), &mut w, &mut tick)?;
        w.finish(&mut from_rows, &mut to_rows)?;
        let (tally, digest, range) = (w.tally, w.sum.hex(), w.undo.as_ref().map(|u| (u.first, u.next - 1)));
        drop(w);
        r.count(tally);
        r.digest = digest;
        if let Some(range) = range.filter(|_| tally.changed() > 0 || created) {
            entry(&r, &shape, None, range).write(db, &to_schema)?;
            r.undo = true;
        }
    }
    drop(from_rows);
    follow(target, end.as_ref())?;
    let changed = r.tally.changed() > 0 || r.tally.conflicts > 0 || created || moves;
    Ok(Carried { receipt: r, delta, keys, changed })
}

/// Stores how far the target has followed the source's log, with the rows.
fn follow(target: &Destination<'_>, end: Option<&(Log, Position, String)>) -> Result<()> {
    match end {
        Some((log, end, followed)) => end.write(target.db(), &target.schema, log, followed),
        None => Ok(()),
    }
}

/// The target's own log, for a sync in both directions.
fn there(source: &Source<'_>, target: &Destination<'_>, table: &str, own_identity: &str) -> Result<There> {
    let unknown = Ok(There { known: None });
    let Some(log) = Log::find(target.db(), &target.schema, table)? else { return unknown };
    let Some(position) = Position::read(source.db(), &source.schema, &log, own_identity)? else { return unknown };
    if log.status(target.db())? != Status::Ok || position.fits(target.db(), &log)?.is_err() {
        return unknown;
    }
    Ok(There { known: Some((log, position.seq)) })
}

fn entry(r: &Receipt, shape: &Shape, whole_digest: Option<String>, (first_n, last_n): (i64, i64)) -> ledger::Entry {
    ledger::Entry {
        sync_id: r.sync_id.clone(),
        source: r.source.clone(),
        table: shape.target.name.clone(),
        mode: r.mode.to_owned(),
        method: r.method.to_owned(),
        columns: shape.image_columns().map(str::to_owned).collect(),
        keys: r.keys.clone(),
        inserted: r.tally.inserted,
        updated: r.tally.updated,
        deleted: r.tally.deleted,
        conflicts: r.tally.conflicts,
        created_table: r.created_table,
        whole_digest,
        first_n,
        last_n,
        undone_at: None,
    }
}

fn is_empty(db: &Connection, schema: &str, table: &str) -> Result<bool> {
    Ok(!db.query_row(&format!("SELECT EXISTS(SELECT 1 FROM {})", qualified(schema, table)), [], |r| r.get::<_, bool>(0))?)
}

/// The receipt of a dry run whose target has no such table yet.
fn would_create(source: &Source<'_>, from: schema::Table, choice: &Choice, ends: &Ends) -> Result<Receipt> {
    let condition = choice.given.r#where.as_ref().map_or(String::new(), |c| format!(" WHERE ({c}\n)"));
    let mut q = crate::kit::Stmt::prepare(source.db(), &format!("SELECT count(*) FROM {}{condition}", qualified(&source.schema, &from.name)))?;
    q.step()?;
    let rows = match q.field(0) {
        Field::Int(n) => n as u64,
        _ => 0,
    };
    Ok(Receipt {
        sync_id: crate::db::time::new_id(),
        keys: from.primary_key().iter().map(|c| c.name.clone()).collect(),
        table: from.name,
        source: source.name.clone(),
        target: ends.target.name.clone(),
        mode: choice.mode(),
        method: Method::Refill.word(),
        conflict: "source_wins",
        tally: Tally { inserted: rows, ..Tally::default() },
        unchanged: Some(0),
        created_table: true,
        dry_run: true,
        read_by: source.read_by(),
        ..Receipt::default()
    })
}
