//! `dbint integrate`: the whole run over a folder, with progress one can trust. The run itself is the table `integrate`.
use super::{place, signals::Stop};
use crate::error::{self, Error, Result};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use rusqlite::{Connection, Row};
use serde_json::{Value as Json, json};
use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

/// Exit codes: 0 all is well, 3 the run is complete and found something, 1 a phase failed, 130 / 143 stopped by Ctrl-C / SIGTERM.
#[derive(Args)]
#[command(after_help = "Exit codes: 0 all is well; 3 complete, with findings; 1 failed; 2 wrong usage; 130 or 143 stopped by Ctrl-C or SIGTERM.")]
pub struct Integrate {
    /// The folder of the databases [default: DBINT_WORKSPACE, else the current one]
    dir: Option<PathBuf>,
    /// The same
    #[arg(long, value_name = "DIR", conflicts_with = "dir")]
    workspace: Option<PathBuf>,
    /// The database with dbint's tables [default: the one in the folder that has them, else DIR/dbint.db]
    #[arg(long, value_name = "FILE")]
    hub: Option<PathBuf>,
    /// Only this part; without it everything
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Only these databases, as in "a.db,b.db"
    #[arg(long, value_name = "NAMES")]
    databases: Option<String>,
    /// Optimise, whatever the mode
    #[arg(long)]
    optimize_performance: bool,
    /// Validate consistency, whatever the mode
    #[arg(long)]
    validate_consistency: bool,
    /// Measure and evaluate the alert rules, whatever the mode
    #[arg(long)]
    setup_monitoring: bool,
    /// Write the report as JSON, Markdown and HTML into this folder [default: DIR/reports]
    #[arg(long, value_name = "FOLDER", num_args = 0..=1)]
    generate_report: Option<Option<PathBuf>>,
    /// Where backups go [default: setting backup.path, else a folder beside DIR]
    #[arg(long, value_name = "FOLDER")]
    backup_path: Option<PathBuf>,
    /// Change databases without a backup
    #[arg(long)]
    no_backup: bool,
    /// Print the report as JSON instead of a summary
    #[arg(long)]
    json: bool,
    /// A line for each step, and every second check
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Sync,
    Optimize,
    Validate,
}

impl Mode {
    const fn word(self) -> &'static str {
        match self {
            Mode::Sync => "sync",
            Mode::Optimize => "optimize",
            Mode::Validate => "validate",
        }
    }
}

/// A row of `integrate`.
struct Line {
    number: i64,
    phase: String,
    description: String,
    status: String,
    progress: f64,
    result: String,
    verdict: String,
    seconds: f64,
    session: String,
}

impl Line {
    fn read(r: &Row<'_>) -> rusqlite::Result<Line> {
        let text = |i: &str| r.get::<_, Option<String>>(i).map(Option::unwrap_or_default);
        Ok(Line {
            number: r.get("number")?,
            phase: text("phase")?,
            description: text("description")?,
            status: text("status")?,
            progress: r.get("progress")?,
            result: text("result")?,
            verdict: text("verdict")?,
            seconds: r.get::<_, Option<f64>>("duration_s")?.unwrap_or(0.0),
            session: text("session_id")?,
        })
    }
}

impl Integrate {
    pub fn run(self) -> Result<u8> {
        let dir = place::workspace(self.dir.as_deref().or(self.workspace.as_deref()))?;
        let (path, opened) = place::open(self.hub.as_deref(), &dir, true)?;
        let db = &opened.db;
        let stop = Stop::on_signal(Some(db.get_interrupt_handle()))?;
        let mut screen = Screen::new(self.verbose, self.json);
        screen.say(&format!("Workspace {}, hub {}", dir.display(), path.strip_prefix(&dir).unwrap_or(&path).display()))?;
        let session = match self.phases(db, &dir, &stop, &mut screen) {
            Ok(session) => session,
            Err(_) if stop.is_set() => {
                screen.stopped();
                // The mark is set as soon as the statement that was cancelled has let go of the hub.
                for _ in 0..40 {
                    let status = db.query_row("SELECT json_extract(integration_report(), '$.run.status')", [], |r| r.get::<_, Option<String>>(0));
                    if status.is_ok_and(|s| s.as_deref() != Some("RUNNING")) {
                        break;
                    }
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
                eprintln!("Stopped. What a phase had not finished was taken back; `SELECT integration_report()` tells how far it came.");
                return Ok(stop.code());
            }
            Err(e) => {
                screen.stopped();
                eprintln!("Error: {}", error::explain(db, &e));
                return Ok(1);
            }
        };
        screen.stopped();
        let form = |format: &str| -> Result<String> {
            Ok(db.query_row("SELECT integration_report(?, ?)", [&session, &json!({"format": format}).to_string()], |r| r.get(0))?)
        };
        let text = form("json")?;
        let report: Json = serde_json::from_str(&text).map_err(io::Error::other)?;
        if let Some(folder) = &self.generate_report {
            let folder = folder.clone().unwrap_or_else(|| dir.join("reports"));
            let failed = |e: io::Error| Error::usage(format!("\"{}\": {e}", folder.display()));
            std::fs::create_dir_all(&folder).map_err(failed)?;
            let pretty = serde_json::to_string_pretty(&report).map_err(io::Error::other)?;
            for (ending, content) in [("json", pretty), ("md", form("markdown")?), ("html", form("html")?)] {
                let file = folder.join(format!("{session}.{ending}"));
                std::fs::write(&file, content).map_err(failed)?;
                screen.say(&format!("Report: {}", file.display()))?;
            }
        }
        if self.json {
            writeln!(io::stdout(), "{text}")?;
        } else {
            summary(&report)?;
        }
        Ok(match report.pointer("/run/status").and_then(Json::as_str) {
            Some("COMPLETED") => 0,
            Some("FINDINGS") => 3,
            _ => 1,
        })
    }

    /// Runs all phases; answers the session's id.
    fn phases(&self, db: &Connection, dir: &Path, stop: &Stop, screen: &mut Screen) -> Result<String> {
        let switch = |on: bool| if on { Json::Bool(true) } else { Json::Null };
        let options = json!({
            "mode": self.mode.map(Mode::word), "databases": self.databases, "optimize": switch(self.optimize_performance),
            "consistency": switch(self.validate_consistency), "monitoring": switch(self.setup_monitoring), "backup": !self.no_backup,
            "backup_path": self.backup_path.as_ref().map(|p| p.display().to_string()), "steps": true, "log": true,
        });
        let mut q = db.prepare("SELECT * FROM integrate(?, ?)")?;
        let mut rows = q.query([dir.display().to_string(), options.to_string()])?;
        let mut session = String::new();
        while let Some(row) = rows.next()? {
            let line = Line::read(row)?;
            session.clone_from(&line.session);
            screen.show(&line)?;
            if stop.is_set() {
                return Err(Error::usage("stopped"));
            }
        }
        Ok(session)
    }
}

/// The figures, and what to do next.
fn summary(report: &Json) -> Result<()> {
    let mut out = io::stdout();
    let get = |path: &str| {
        report.pointer(path).map_or_else(|| "–".to_owned(), |v| if v.is_null() { "–".to_owned() } else { v.to_string().trim_matches('"').to_owned() })
    };
    writeln!(out, "\n{}: {} in {} s", get("/integration_session/session_id"), get("/run/status"), get("/integration_session/duration_seconds"))?;
    writeln!(
        out,
        "  databases    {} ({} MB), {} tables, {} rows",
        get("/database_discovery/databases_found"),
        get("/database_discovery/total_size_mb"),
        get("/database_discovery/total_tables"),
        get("/database_discovery/total_records")
    )?;
    writeln!(
        out,
        "  syncs        {} of {} succeeded, {} rows",
        get("/integration_results/successful_syncs"),
        get("/integration_results/sync_operations"),
        get("/integration_results/total_records_synced")
    )?;
    writeln!(
        out,
        "  consistency  {} of {} checks passed, score {}, {} critical",
        get("/consistency_validation/checks_passed"),
        get("/consistency_validation/consistency_checks"),
        get("/consistency_validation/consistency_score"),
        get("/consistency_validation/critical_issues")
    )?;
    let advice = report.get("recommendations").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    if !advice.is_empty() {
        writeln!(out, "\nRecommendations:")?;
    }
    for a in advice.iter().take(MOST) {
        let text = |k: &str| a.get(k).and_then(Json::as_str).unwrap_or_default();
        writeln!(out, "  {:8} {}: {}\n           {};", text("severity"), text("db_name"), text("finding"), text("statement"))?;
    }
    if advice.len() > MOST {
        writeln!(out, "  … and {} more in integration_report()", advice.len() - MOST)?;
    }
    Ok(())
}

const MOST: usize = 10;

/// A bar on a terminal, plain lines elsewhere.
struct Screen {
    bar: Option<ProgressBar>,
    verbose: bool,
    /// Standard output belongs to the report.
    aside: bool,
    color: bool,
}

impl Screen {
    fn new(verbose: bool, aside: bool) -> Screen {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(1000);
            let wide = terminal_size::terminal_size().is_none_or(|(w, _)| w.0 >= 70);
            let template =
                if wide { "{bar:24} {percent:>3} %  {elapsed_precise} elapsed, {eta_precise} remaining  {wide_msg}" } else { "{percent:>3} % {wide_msg}" };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar.enable_steady_tick(std::time::Duration::from_millis(200));
            bar
        });
        let color = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Screen { bar, verbose, aside, color }
    }

    fn say(&self, text: &str) -> Result<()> {
        let write = || if self.aside { writeln!(io::stderr(), "{text}") } else { writeln!(io::stdout(), "{text}") };
        match &self.bar {
            Some(bar) => bar.suspend(write)?,
            None => write()?,
        }
        Ok(())
    }

    fn show(&mut self, line: &Line) -> Result<()> {
        let step = line.status == "STEP";
        if let Some(bar) = &self.bar {
            bar.set_position((line.progress * 10.0) as u64);
            bar.set_message(if step { format!("{}: {}", line.phase, line.result) } else { line.phase.clone() });
        }
        if step {
            return if self.verbose { self.say(&format!("      {}", line.result)) } else { Ok(()) };
        }
        let (color, off) = match (self.color, line.status.as_str()) {
            (false, _) => ("", ""),
            (_, "COMPLETED") => ("\x1b[32m", "\x1b[0m"),
            (_, "FAILED") => ("\x1b[31m", "\x1b[0m"),
            (_, "FINDINGS") => ("\x1b[33m", "\x1b[0m"),
            _ => ("\x1b[2m", "\x1b[0m"),
        };
        let head = format!("[{}/9] {:25} {color}{:9}{off}", line.number, line.phase, line.status);
        self.say(&format!("{head} {:>8.2} s  {:>3.0} %  {}", line.seconds, line.progress, line.result))?;
        if self.verbose {
            self.say(&format!("      {}", line.description))?;
        }
        if !line.verdict.is_empty() && (self.verbose || line.verdict.starts_with("DISPUTED")) {
            self.say(&format!("      second check {}", line.verdict))?;
        }
        Ok(())
    }

    fn stopped(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
