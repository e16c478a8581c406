//! `.watch`: a statement again and again.
use super::usage;
use crate::{
    error::Result,
    run,
    session::{Flow, Session},
};
use std::{
    io::Write,
    thread::sleep,
    time::{Duration, Instant},
};

pub fn watch(session: &mut Session, text: &str) -> Result<Flow> {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let (seconds, sql) = match first.parse::<f64>() {
        Ok(s) if s > 0.0 && s < 86_400.0 => (s, rest),
        Ok(_) => return Err(usage()),
        Err(_) => (2.0, text),
    };
    if sql.trim().is_empty() {
        return Err(usage());
    }
    // A pager would wait for a reader.
    let pager = session.out.pager.take();
    let done = repeat(session, seconds, sql);
    session.out.pager = pager;
    done
}

fn repeat(session: &mut Session, seconds: f64, sql: &str) -> Result<Flow> {
    let _running = run::Running::start();
    loop {
        if session.out.is_terminal() {
            // Home and clear; the list of what was there before stays in the scroll-back.
            write!(session.out, "\x1b[H\x1b[2J")?;
        }
        writeln!(session.out, "Every {seconds} s, Ctrl-C ends: {sql}")?;
        session.out.flush()?;
        match run::sql(session, sql) {
            Err(e) if e.is_interrupt() => return Ok(Flow::Go),
            done => done?,
        }
        let next = Instant::now() + Duration::from_secs_f64(seconds);
        while Instant::now() < next {
            if run::interrupted() {
                return Ok(Flow::Go);
            }
            sleep(Duration::from_millis(50).min(next.saturating_duration_since(Instant::now())));
        }
    }
}
