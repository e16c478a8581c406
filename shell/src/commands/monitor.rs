//! `dbint monitor`: the monitor in the foreground, as a service manager wants it: log lines, and a clean end on SIGTERM.
use super::{place, serve, signals::Stop};
use crate::error::{self, Error, Result};
use clap::Args;
use rusqlite::{Connection, OptionalExtension};
use std::{
    io::{self, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

#[derive(Args)]
#[command(after_help = "Ends with exit code 0 on SIGTERM, Ctrl-C and monitor_stop(). One monitor a hub: a second one ends with exit code 1.")]
pub struct Monitor {
    /// The folder of the databases [default: DBINT_WORKSPACE, else the current one]
    dir: Option<PathBuf>,
    /// The database with dbint's tables [default: the one in the folder that has them]
    #[arg(long, value_name = "FILE")]
    hub: Option<PathBuf>,
    /// Seconds between two rounds, for all metrics [default: each group at its own interval]
    #[arg(long, value_name = "SECONDS")]
    interval: Option<f64>,
    /// One round, then end
    #[arg(long, conflicts_with_all = ["interval", "listen"])]
    once: bool,
    /// Serve Prometheus metrics at http://ADDRESS/metrics, such as 127.0.0.1:9187
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// A line each round
    #[arg(short, long)]
    verbose: bool,
}

/// Quiet lines come this often.
const SUMMARY: Duration = Duration::from_secs(60);

impl Monitor {
    pub fn run(self) -> Result<u8> {
        let dir = place::workspace(self.dir.as_deref())?;
        let (path, opened) = place::open(self.hub.as_deref(), &dir, false)?;
        let db = &opened.db;
        let stop = Stop::on_signal(Some(db.get_interrupt_handle()))?;
        let done = if self.once { once(db) } else { self.watch(db, &path, &stop) };
        match done {
            Ok(()) => Ok(0),
            Err(e) if e.is_closed_pipe() => Err(e),
            Err(_) if stop.is_set() => Ok(0),
            Err(e) => {
                eprintln!("Error: {}", error::explain(db, &e));
                Ok(1)
            }
        }
    }

    fn watch(&self, db: &Connection, path: &std::path::Path, stop: &Stop) -> Result<()> {
        let mut last_event: i64 = events(db, None, &mut |_| Ok(()))?;
        let _: String = db.query_row("SELECT monitor_start(?)", [self.interval], |r| r.get(0))?;
        let every = self.interval.map_or_else(|| "each group at its own interval".to_owned(), |s| format!("every {s} s"));
        let count: i64 = db.query_row("SELECT count(*) FROM unified_system_status", [], |r| r.get(0))?;
        log(&format!("monitor started: {count} databases, {every}, hub {}", path.display()))?;
        let server = self.listen.as_deref().map(|address| serve::Server::open(address, path, serve::metrics_only())).transpose()?;
        if let Some(server) = &server {
            log(&format!("metrics at {}/metrics", server.address()))?;
        }
        let (mut rounds, mut told) = (0, Instant::now());
        let ended = loop {
            std::thread::sleep(Duration::from_millis(100));
            if stop.is_set() {
                break "stopped by a signal";
            }
            let row = db
                .query_row("SELECT state, rounds, samples, errors, last_error FROM monitor_status", [], |r| {
                    Ok((r.get::<_, String>(0)?, r.get::<_, i64>(1)?, r.get::<_, i64>(2)?, r.get::<_, i64>(3)?, r.get::<_, Option<String>>(4)?))
                })
                .optional();
            let Ok(Some((state, now, samples, errors, last_error))) = row else { continue };
            if state != "RUNNING" {
                break "ended by monitor_stop()";
            }
            if now == rounds {
                continue;
            }
            let first = rounds == 0;
            rounds = now;
            last_event = events(db, Some(last_event), &mut log)?;
            if self.verbose || first || told.elapsed() >= SUMMARY {
                told = Instant::now();
                let wrong = last_error.filter(|_| errors > 0).map_or(String::new(), |e| format!(", {errors} errors, the last: {e}"));
                log(&format!("round {now}: {samples} figures so far{wrong}"))?;
            }
        };
        let text: String = db.query_row("SELECT monitor_stop()", [], |r| r.get(0))?;
        log(&format!("monitor {ended}: {text}"))
    }
}

fn once(db: &Connection) -> Result<()> {
    let last = events(db, None, &mut |_| Ok(()))?;
    let text: String = db.query_row("SELECT monitor_round()", [], |r| r.get(0))?;
    events(db, Some(last), &mut log)?;
    log(&format!("round: {text}"))
}

/// Tells what happened to alerts since; answers the number of the last event.
fn events(db: &Connection, since: Option<i64>, tell: &mut dyn FnMut(&str) -> Result<()>) -> Result<i64> {
    let mut q = db.prepare("SELECT event_id, event, severity, message FROM alert_history WHERE event_id > ? ORDER BY event_id")?;
    let mut last = since.unwrap_or(0);
    let mut rows = q.query([last])?;
    while let Some(r) = rows.next()? {
        last = r.get(0)?;
        if since.is_some() {
            let (event, severity, message): (String, String, String) = (r.get(1)?, r.get(2)?, r.get(3)?);
            tell(&format!("alert {event} {severity} {}", message.replace(['\n', '\r'], " ")))?;
        }
    }
    Ok(last)
}

/// One line, with the time as it is stored.
fn log(line: &str) -> Result<()> {
    let mut out = io::stdout();
    let now: String = Connection::open_in_memory()?.query_row("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')", [], |r| r.get(0))?;
    writeln!(out, "{now} {line}").and_then(|()| out.flush()).map_err(Error::from)
}
