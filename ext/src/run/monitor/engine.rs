//! What a monitor does: at each turn it measures what is due, stores it, holds it against the alert rules, and tidies up.
//!
//! It works on connections of its own. Databases are only read, and briefly: a full check of a database costs at most
//! a thousandth of the time, one that has not changed is checked again with the consistency round only, and a check
//! gives way to a writer that a reader would hold up. A round is spread over half of its interval, and commits once.
use super::{lock, lock::Beat, rollup};
use crate::db::{open, parallel::Watch, time};
use crate::error::{Error, Kind, Result};
use crate::hub::{Hub, settings, target};
use crate::run::{
    alerts, collect, deliver,
    host::Machine,
    measure::{self, Cost},
    metrics::{Group, Reading},
    record,
};
use rusqlite::Connection;
use std::{
    cell::Cell,
    collections::HashMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime},
};

/// A full check may take this part of the time.
const SHARE: u32 = 1_000;
/// The checks of one round may take this part of the time until the next, and the least.
const ALLOWANCE: (f64, Duration) = (0.1, Duration::from_millis(100));
/// A check that gave way to a writer is tried again after this time.
const AGAIN: Duration = Duration::from_secs(20);
/// A round is spread over this part of the interval, with pauses no longer than this. Who has just slept is rarely
/// suspended by the system while it holds a lock.
const SPREAD: (f64, Duration) = (0.5, Duration::from_millis(20));
/// How often old rows are rolled up.
const TIDY: Duration = Duration::from_secs(60);
/// What other rooms are asked to do may take so long.
const LONGEST: Duration = Duration::from_secs(3_600);
/// A long round renews its place meanwhile.
const RENEW: Duration = Duration::from_secs(15);

/// Set from outside; the engine looks at it between two databases, the watch ends what runs.
#[derive(Default)]
pub struct Halt {
    pub stop: AtomicBool,
    pub watch: Watch,
    /// Whether a round may take its time; `stop` comes with an `unpark`.
    pub spread: bool,
}

impl Halt {
    pub fn is_set(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

/// What is remembered of the last full check of a database.
struct Checked {
    stamp: Stamp,
    /// Not before then.
    again: Instant,
    /// At the latest then, changed or not.
    anyway: Instant,
    sound: bool,
}

#[derive(PartialEq, Clone, Copy)]
struct Stamp(Option<SystemTime>, u64, u64);

fn stamp(path: &Path) -> Stamp {
    let wal = std::fs::metadata(crate::db::copy::with_suffix(path, "-wal")).map_or(0, |m| m.len());
    let meta = std::fs::metadata(path).ok();
    Stamp(meta.as_ref().and_then(|m| m.modified().ok()), meta.map_or(0, |m| m.len()), wal)
}

pub struct Engine {
    db: Connection,
    hub: Hub,
    pub owner: String,
    interval: Option<f64>,
    channels: deliver::Channels,
    due: [Instant; 5],
    tidy: Instant,
    checked: HashMap<PathBuf, Checked>,
    /// What full checks may still cost in this round.
    allowance: Duration,
    /// What comparing cost in this round.
    compared: Cell<Duration>,
    /// Before then the mappings are not compared again.
    compare: Instant,
    /// What was tried to repair, as it was after that.
    repaired: HashMap<PathBuf, Stamp>,
    pub beat: Beat,
}

/// What one turn did.
#[derive(Default)]
pub struct Turn {
    pub databases: usize,
    pub samples: usize,
    pub opened: Vec<String>,
    pub resolved: Vec<String>,
    pub active: i64,
    pub rolled_up: usize,
    /// Somebody else has the place, or it was given up: end.
    pub lost: bool,
}

impl Engine {
    /// `file` is the hub's database.
    pub fn new(file: &Path, prefix: &str, interval: Option<f64>, channels: deliver::Channels) -> Result<Engine> {
        let db = open::open(file, open::Mode::Write)?;
        // The scheduled work of other rooms is called by its SQL names.
        crate::register(&db)?;
        let now = Instant::now();
        Ok(Engine {
            db,
            hub: Hub { schema: "main".into(), prefix: prefix.to_owned() },
            owner: time::new_id(),
            interval,
            channels,
            due: [now; 5],
            tidy: now,
            checked: HashMap::new(),
            allowance: Duration::ZERO,
            compared: Cell::default(),
            compare: now,
            repaired: HashMap::new(),
            beat: Beat::default(),
        })
    }

    pub fn take_place(&self) -> Result<()> {
        self.writing(|| lock::take(&self.db, &self.hub, &self.owner, self.interval))
    }

    pub fn leave(&self) -> Result<()> {
        self.writing(|| lock::release(&self.db, &self.hub, &self.owner))
    }

    /// Until something is due.
    pub fn rest(&self) -> Duration {
        let next = self.due.iter().min().copied().unwrap_or_else(Instant::now);
        next.saturating_duration_since(Instant::now())
    }

    /// One transaction on the hub; an error takes back all of it.
    fn writing<T>(&self, body: impl FnOnce() -> Result<T>) -> Result<T> {
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        let made = body().and_then(|t| Ok(self.db.execute_batch("COMMIT").map(|()| t)?));
        if made.is_err() && !self.db.is_autocommit() {
            self.db.execute_batch("ROLLBACK")?;
        }
        made
    }

    /// Measures what is due; an error of the hub is counted and told in the status, and the monitor goes on.
    pub fn turn(&mut self, halt: &Halt) -> Turn {
        match self.round(halt) {
            Ok(turn) => turn,
            Err(e) => {
                self.failed(&e);
                Turn::default()
            }
        }
    }

    fn failed(&mut self, e: &Error) {
        self.beat.errors += 1;
        self.beat.last_error = Some(e.to_string());
    }

    fn groups_due(&mut self) -> Vec<Group> {
        let now = Instant::now();
        let mut groups = vec![];
        for (due, group) in self.due.iter_mut().zip(Group::ALL) {
            if *due <= now {
                groups.push(group);
                let every = Duration::from_secs_f64(self.interval.unwrap_or(group.interval_s()).max(0.1));
                // Beats stay in step; after a long round the missed ones are left out.
                *due = (*due + every).max(now + every / 2);
            }
        }
        groups
    }

    fn round(&mut self, halt: &Halt) -> Result<Turn> {
        let mut groups = self.groups_due();
        let mut turn = Turn::default();
        if groups.is_empty() {
            return Ok(turn);
        }
        if groups.contains(&Group::Sync) {
            self.synchronise(halt)?;
        }
        let compares = groups.contains(&Group::Consistency) && self.compare <= Instant::now();
        groups.retain(|g| *g != Group::Consistency || compares);
        let machine = groups.contains(&Group::Resources).then(Machine::look);
        let fleet = target::registry(&self.db)?;
        self.checked.retain(|path, _| fleet.iter().any(|(_, p)| Path::new(p) == path));
        self.repaired.retain(|path, _| fleet.iter().any(|(_, p)| Path::new(p) == path));
        let mut cost = Cost { check: true, polite: true, inserts: HashMap::new(), watch: Some(&halt.watch) };
        let (part, least) = ALLOWANCE;
        self.allowance = Duration::from_secs_f64(self.interval.unwrap_or(Group::Health.interval_s()) * part).max(least);
        let mut renewed = Instant::now();
        let mut read: Vec<(String, Vec<Reading>)> = vec![];
        let mut broken: Vec<(String, PathBuf)> = vec![];
        let shortest = groups.iter().map(|g| g.interval_s()).fold(f64::INFINITY, f64::min);
        let (part, longest) = SPREAD;
        let pause = Duration::from_secs_f64(self.interval.unwrap_or(shortest) * part / fleet.len().max(1) as f64).min(longest);
        for (name, path) in fleet.into_iter().filter(|(_, p)| !p.contains("://")) {
            if halt.is_set() {
                return Ok(turn);
            }
            if halt.spread {
                std::thread::park_timeout(pause);
            }
            let path = PathBuf::from(path);
            let readings = self.measure(&path, &groups, machine.as_ref(), &mut cost);
            turn.databases += 1;
            turn.samples += readings.iter().filter(|r| r.value.is_ok()).count();
            if readings.iter().any(|r| r.metric == "database_integrity" && r.value.as_ref().is_ok_and(|v| *v < 100.0)) {
                broken.push((name.clone(), path));
            }
            read.push((name, readings));
            if renewed.elapsed() > RENEW || read.len() >= 500 {
                renewed = Instant::now();
                self.store(&mut read, &groups, || Ok(()))?;
            }
        }
        if halt.is_set() {
            return Ok(turn);
        }
        self.beat.rounds += 1;
        self.beat.samples += turn.samples as i64;
        let (evaluated, kept) = self.store(&mut read, &groups, || alerts::evaluate(&self.db, &self.hub, &self.channels, &time::now()))?;
        turn.lost = !kept;
        if compares {
            self.compare = Instant::now() + self.compared.take() * SHARE;
        }
        deliver::send(&self.db, &self.hub, &self.channels)?;
        (turn.opened, turn.resolved, turn.active) = (evaluated.opened, evaluated.resolved, evaluated.active);
        if self.tidy <= Instant::now() {
            self.tidy = Instant::now() + TIDY;
            turn.rolled_up = rollup::run(&self.db, &self.hub)?;
        }
        if !turn.lost {
            self.repair(broken, halt)?;
            self.maintain(halt)?;
        }
        Ok(turn)
    }

    /// Where `repair.auto` says so: the repairs that lose nothing, once for each state of a file. One that fails is told in
    /// the status, and keeps nothing else from being done.
    fn repair(&mut self, broken: Vec<(String, PathBuf)>, halt: &Halt) -> Result<()> {
        if broken.is_empty() || !settings::switch(&self.db, "repair.auto")? {
            return Ok(());
        }
        for (name, path) in broken {
            if halt.is_set() || self.repaired.get(&path) == Some(&stamp(&path)) {
                continue;
            }
            let tried = {
                let _watched = halt.watch.over(&self.db, LONGEST);
                self.db.query_row("SELECT repair_database(?)", [&name], |_| Ok(()))
            };
            self.repaired.insert(path.clone(), stamp(&path));
            match tried {
                // Its verdict of before counts no more.
                Ok(()) => drop(self.checked.remove(&path)),
                Err(e) => self.failed(&Error::from(e).context(format!("repair of {name}"))),
            }
        }
        Ok(())
    }

    /// Where `maintenance.auto` says so: what `maintenance_due` lists, but the measuring, which the rounds do.
    fn maintain(&self, halt: &Halt) -> Result<()> {
        if !settings::switch(&self.db, "maintenance.auto")? {
            return Ok(());
        }
        let due: bool = self.db.query_row("SELECT EXISTS(SELECT 1 FROM maintenance_due WHERE task <> 'performance')", [], |r| r.get(0))?;
        if due && !halt.is_set() {
            let _watched = halt.watch.over(&self.db, LONGEST);
            let tasks = r#"{"tasks":["vacuum","analyze","reindex","optimize","checkpoint","backup"]}"#;
            self.db.query_row("SELECT run_maintenance(?)", [tasks], |_| Ok(()))?;
        }
        Ok(())
    }

    /// The mappings that are due. One that fails is in the sync log, and in the error rate.
    fn synchronise(&mut self, halt: &Halt) -> Result<()> {
        let due: i64 = self.db.query_row("SELECT count(*) FROM sync_due WHERE due_in_s <= 0", [], |r| r.get(0))?;
        if due > 0 {
            let _watched = halt.watch.over(&self.db, LONGEST);
            self.db.query_row("SELECT run_syncs('{\"backup\":false}')", [], |_| Ok(()))?;
        }
        Ok(())
    }

    fn measure(&mut self, path: &Path, groups: &[Group], machine: Option<&Machine>, cost: &mut Cost<'_>) -> Vec<Reading> {
        let seen = stamp(path);
        let now = Instant::now();
        let looks = groups.contains(&Group::Health) || groups.contains(&Group::Consistency);
        cost.check =
            looks && !self.allowance.is_zero() && self.checked.get(path).is_none_or(|c| !c.sound || now >= c.anyway || (now >= c.again && c.stamp != seen));
        let readings = measure::within(path, groups, machine, cost);
        if cost.check {
            self.allowance = self.allowance.saturating_sub(now.elapsed());
        }
        let value = |m: &str| readings.iter().find(|r| r.metric == m).and_then(|r| r.value.as_ref().ok().copied());
        let reached = value("availability").is_none_or(|v| v > 0.0);
        if looks && !reached {
            // Once it is back, it is checked at once.
            self.checked.remove(path);
        } else if let Some(verdict) = value("database_integrity") {
            let again = Instant::now() + now.elapsed() * SHARE;
            let anyway = again.max(now + Duration::from_secs_f64(Group::Consistency.interval_s()));
            self.checked.insert(path.to_owned(), Checked { stamp: seen, again, anyway, sound: verdict >= 100.0 });
        } else if cost.check {
            let known = self.checked.entry(path.to_owned()).or_insert(Checked { stamp: seen, again: now, anyway: now, sound: true });
            (known.again, known.anyway) = (now + AGAIN, known.anyway.max(now + AGAIN));
        }
        readings
    }

    /// Keeps what was read, and does the rest in the same transaction; false where the place is somebody else's now.
    fn store<T>(&self, read: &mut Vec<(String, Vec<Reading>)>, groups: &[Group], rest: impl FnOnce() -> Result<T>) -> Result<(T, bool)> {
        let now = time::now();
        let mut all = std::mem::take(read);
        if groups.contains(&Group::Consistency) {
            // Comparing may take long: not while the hub is locked.
            let began = Instant::now();
            for (name, readings) in &mut all {
                readings.extend(collect::agreement(&self.db, &self.hub, name)?);
            }
            self.compared.set(self.compared.get() + began.elapsed());
        }
        let groups: Vec<Group> = groups.iter().copied().filter(|g| *g != Group::Consistency).collect();
        self.writing(|| {
            for (name, mut readings) in all {
                collect::from_hub(&self.db, &self.hub, &name, &groups, &now, &mut readings)?;
                record::readings(&self.db, &self.hub, &name, &readings, &now)?;
            }
            let rest = rest()?;
            Ok((rest, lock::renew(&self.db, &self.hub, &self.owner, self.interval, &self.beat)?))
        })
    }
}

/// The file of the hub of `db`; a monitor has connections of its own, so a hub in memory cannot have one.
pub fn hub_file(db: &Connection, hub: &Hub) -> Result<PathBuf> {
    let file = target::file_of(db, &hub.schema)?;
    let file = file.ok_or_else(|| Error::new(Kind::Unsupported, "dbint's tables are in memory, where a monitor cannot reach them").hint("Open a file"))?;
    Ok(file.canonicalize().unwrap_or(file))
}
