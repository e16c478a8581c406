//! Work shared with one other thread, which never brings the host down and ends with the call.
use super::caught;
use crate::error::{Error, Kind, Result};
use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

/// Does `mine` while another thread does `theirs`, whose tick fails once `mine` has failed: it is in vain then.
/// The second result is None where the host has no thread left to give.
pub fn beside<A, B: Send>(
    theirs: impl FnOnce(&mut dyn FnMut() -> Result<()>) -> Result<B> + Send,
    mine: impl FnOnce() -> Result<A>,
) -> (Result<A>, Option<Result<B>>) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let work = || {
            let mut tick = || if stop.load(Relaxed) { Err(Error::new(Kind::Interrupted, "stopped")) } else { Ok(()) };
            caught(|| theirs(&mut tick)).unwrap_or_else(|what| Err(Error::internal(what)))
        };
        let worker = thread::Builder::new().name("dbint".into()).spawn_scoped(scope, work).ok();
        let mine = mine();
        stop.store(mine.is_err(), Relaxed);
        (mine, worker.map(|w| w.join().unwrap_or_else(|_| Err(Error::internal("a thread ended early")))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_stops_the_other_and_a_panic_is_an_error() {
        let (mine, theirs) = beside(|_| Ok(2), || Ok(1));
        assert_eq!((mine.unwrap(), theirs.unwrap().unwrap()), (1, 2));
        let (mine, theirs) = beside(
            |tick| -> Result<()> {
                loop {
                    tick()?;
                }
            },
            || Err::<(), _>(Error::argument("no")),
        );
        assert!(mine.is_err());
        assert_eq!(theirs.unwrap().unwrap_err().kind, Kind::Interrupted);
        let (mine, theirs) = beside(|_| -> Result<()> { panic!("forced") }, || Ok(1));
        assert!(mine.is_ok() && theirs.unwrap().unwrap_err().to_string().contains("forced"));
    }
}
