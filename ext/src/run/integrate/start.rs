//! Phase 1: the hub is there, old runs are settled, and every file is looked at before anything else happens.
use super::{
    Phase,
    state::{Outcome, State, Verdict},
};
use crate::db::header::{self, Kin};
use crate::error::Result;
use crate::hub::install;
use crate::run::host;

pub struct Start;

impl Phase for Start {
    fn steps(&mut self, run: &mut State) -> Result<Vec<String>> {
        settle(run)?;
        Ok(run.chunks("integrity"))
    }

    fn step(&mut self, run: &mut State, at: usize) -> Result<()> {
        run.examine(at, 0)
    }

    fn close(&mut self, run: &mut State) -> Result<Outcome> {
        let [first, _] = &run.integrity;
        let bad = first.failed.len();
        let list: Vec<String> = first.failed.iter().take(5).map(|(n, s, d)| format!("{n} {s} ({d})")).collect();
        let more = if bad > 5 { format!(" and {} more", bad - 5) } else { String::new() };
        let said = if bad == 0 { String::new() } else { format!(": {}{more}", list.join("; ")) };
        Ok(Outcome::new(bad > 0, format!("hub version {}; {} databases, {} sound, {bad} not{said}", install::version(), first.checked, first.checked - bad)))
    }

    /// The first bytes of every file, read again and judged without SQLite: no sound database may have a broken header.
    fn second(&mut self, run: &mut State) -> Result<Verdict> {
        let [first, _] = &run.integrity;
        let mut broken = 0;
        let mut wrong = vec![];
        for item in &run.items {
            let sound = match header::read(&item.path) {
                Ok(Kin::Database(h)) => h.contradiction(crate::db::size::on_disk(&item.path).wal > 0).is_none(),
                _ => false,
            };
            broken += usize::from(!sound);
            if !sound && !first.failed.iter().any(|(name, ..)| *name == item.name) {
                wrong.push(item.name.clone());
            }
        }
        let text = format!("{} headers are sound, {broken} are not", run.items.len() - broken);
        Ok(if wrong.is_empty() { Verdict::of(true, text) } else { Verdict::disputed(format!("{text}, among them {}", wrong.join(", "))) })
    }
}

/// A run whose process is gone has no end: it is marked so, unless another machine may still be at it.
fn settle(run: &State) -> Result<()> {
    let mut q = run.db.prepare(&run.hub.sql("SELECT session_id, pid FROM hub.integration_sessions WHERE status = 'RUNNING' AND session_id <> ?"))?;
    let open: Vec<(String, Option<u32>)> = q.query_map([&run.id], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    drop(q);
    for (id, pid) in open {
        if pid.is_none_or(|p| p == std::process::id() || !host::alive(p)) {
            run.write("UPDATE hub.integration_sessions SET status = 'INTERRUPTED' WHERE session_id = ?", &[&id])?;
        }
    }
    Ok(())
}
