//! The same work on many databases at once: a thread per core, each with connections of its own, watched from the
//! caller's thread, which passes on Ctrl-C and ends what takes too long.
use crate::error::{Error, Kind, Result};
use crate::kit::{Interrupt, caught, leave_descriptors, threads_allowed};
use rusqlite::{Connection, InterruptHandle};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// How often the caller's thread looks for Ctrl-C and for work that is late.
const LOOK: Duration = Duration::from_millis(20);

/// One worker's place: the connection it works with just now, and until when it may.
#[derive(Default)]
pub struct Watch {
    now: Mutex<Option<(InterruptHandle, Instant)>>,
    late: AtomicBool,
}

impl Watch {
    /// From here to the drop of the guard, `db` is interrupted when the user presses Ctrl-C or `limit` has passed.
    pub fn over(&self, db: &Connection, limit: Duration) -> Watched<'_> {
        self.late.store(false, Ordering::Relaxed);
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Some((db.get_interrupt_handle(), Instant::now() + limit));
        Watched(self)
    }

    /// Whether the last interruption was because of the time.
    pub fn was_late(&self) -> bool {
        self.late.load(Ordering::Relaxed)
    }

    /// Interrupts what is watched where `stop` says so or its time is over.
    pub fn look(&self, stop: bool) {
        if let Some((handle, until)) = &*self.now.lock().unwrap_or_else(PoisonError::into_inner) {
            if !stop && Instant::now() >= *until {
                self.late.store(true, Ordering::Relaxed);
            }
            if stop || self.was_late() {
                handle.interrupt();
            }
        }
    }
}

pub struct Watched<'w>(&'w Watch);
impl Drop for Watched<'_> {
    fn drop(&mut self) {
        *self.0.now.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Runs `work` on every item and returns the results in the items' order. A panic in one is that item's error.
/// Items are taken in their order: put the largest first. Fails as a whole only when the user interrupts.
pub fn each<T: Sync, R: Send>(host: &Connection, items: &[T], work: impl Fn(&T, &Watch) -> R + Sync) -> Result<Vec<Result<R>>> {
    on_threads(host, items, || (), work)
}

/// As [`each`], for a look at the first bytes of files: the work must not call SQLite.
pub fn each_peeking<T: Sync, R: Send>(host: &Connection, items: &[T], work: impl Fn(&T) -> R + Sync) -> Result<Vec<Result<R>>> {
    on_threads(host, items, leave_descriptors, |item, _| work(item))
}

/// `begin` runs first in each thread of ours.
fn on_threads<T: Sync, R: Send>(host: &Connection, items: &[T], begin: fn(), work: impl Fn(&T, &Watch) -> R + Sync) -> Result<Vec<Result<R>>> {
    let mut interrupt = Interrupt::of(host)?;
    let one = |item: &T, watch: &Watch| caught(|| work(item, watch)).map_err(|what| Error::internal(format!("internal error: {what}")));
    if !threads_allowed() {
        let watch = Watch::default();
        return items.iter().map(|item| interrupt.check().map(|()| one(item, &watch))).collect();
    }
    let cores = thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let watches: Vec<Watch> = (0..cores).map(|_| Watch::default()).collect();
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut out: Vec<Option<Result<R>>> = items.iter().map(|_| None).collect();
    let mut ended = Ok(());
    thread::scope(|scope| {
        let (send, receive) = mpsc::channel();
        for watch in &watches {
            let send = send.clone();
            let (next, stop, one) = (&next, &stop, &one);
            // A host that has no thread left to give: the others do the work.
            let _ = thread::Builder::new().name("dbint".into()).spawn_scoped(scope, move || {
                begin();
                // All at the end: to wake the caller for each of ten thousand small results costs more than the work.
                let mut done = vec![];
                while !stop.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { break };
                    done.push((at, one(item, watch)));
                }
                let _ = send.send(done);
            });
        }
        drop(send);
        let mut looked = Instant::now();
        loop {
            match receive.recv_timeout(LOOK) {
                Ok(done) => {
                    for (at, result) in done {
                        if let Some(slot) = out.get_mut(at) {
                            *slot = Some(result);
                        }
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                if ended.is_ok() {
                    ended = interrupt.check();
                }
                stop.store(ended.is_err(), Ordering::Relaxed);
                watches.iter().for_each(|w| w.look(ended.is_err()));
            }
        }
    });
    ended?;
    Ok(out.into_iter().map(|r| r.unwrap_or_else(|| Err(Error::new(Kind::Internal, "no thread could be started")))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_survives_a_panic_and_ends_what_is_late() {
        let host = Connection::open_in_memory().unwrap();
        let items: Vec<i64> = (0..50).collect();
        let got = each(&host, &items, |n, _| if *n == 7 { panic!("seven") } else { n * 2 }).unwrap();
        assert_eq!(got[49].as_ref().unwrap(), &98);
        assert!(got[7].as_ref().unwrap_err().message.contains("seven"));
        let endless = |_: &i64, watch: &Watch| {
            let db = Connection::open_in_memory().unwrap();
            let _watched = watch.over(&db, Duration::from_millis(50));
            let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
            (db.query_row(sql, [], |_| Ok(())).is_err(), watch.was_late())
        };
        assert!(each(&host, &[1, 2, 3], endless).unwrap().into_iter().all(|r| r.unwrap() == (true, true)));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn who_peeks_opens_no_database() {
        let path = std::env::temp_dir().join(format!("dbint-peeking-{}.db", std::process::id()));
        let host = Connection::open(&path).unwrap();
        host.execute_batch("CREATE TABLE t(x)").unwrap();
        let open = |p: &std::path::PathBuf| crate::db::open::open(p, crate::db::open::Mode::Read).map(drop).map_err(|e| e.kind);
        assert_eq!(each_peeking(&host, std::slice::from_ref(&path), open).unwrap().pop().unwrap().unwrap(), Err(Kind::Internal));
        assert!(each(&host, std::slice::from_ref(&path), |p, _| open(p)).unwrap().pop().unwrap().unwrap().is_ok());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn ctrl_c_of_the_host_stops_all() {
        let host = Connection::open_in_memory().unwrap();
        host.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES(1)").unwrap();
        let handle = host.get_interrupt_handle();
        // An interruption counts while a statement of the host is running, as it is during a call.
        let mut running = host.prepare("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n").unwrap();
        let mut rows = running.query([]).unwrap();
        rows.next().unwrap();
        let got = each(&host, &[0; 8], |_, watch| {
            handle.interrupt();
            let db = Connection::open_in_memory().unwrap();
            let _watched = watch.over(&db, Duration::from_secs(60));
            db.query_row("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n", [], |_| Ok(())).is_err()
        });
        assert_eq!(got.unwrap_err().kind, Kind::Interrupted);
    }
}
