//! The command line.
use crate::{
    commands::{dashboard, integrate, monitor, report},
    demo,
    error::{Error, Result},
    render::Mode,
    repl, run,
    session::{Flow, Session},
};
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::{
    io::{self, BufReader, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

/// The operations console for a fleet of SQLite databases.
#[derive(Parser)]
#[command(name = "dbint", version, args_conflicts_with_subcommands = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    shell: Shell,
}

/// One entry a subcommand; each has its arguments and its `run` in its own module.
#[derive(Subcommand)]
enum Command {
    /// Make the toolkit fleet in a scratch folder, run everything on it and show the result
    Demo(demo::Demo),
    /// Run everything over a folder of databases: find, check, back up, synchronise, optimise, validate, report
    Integrate(integrate::Integrate),
    /// Show the report of the last run, or write the fleet's page into a file
    Report(report::Report),
    /// Serve the fleet as a live page on this machine
    Dashboard(dashboard::Dashboard),
    /// Sample the fleet in the foreground, as a service
    Monitor(monitor::Monitor),
    /// Print the completion script for a shell
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Print the man page
    Man,
}

/// Without a subcommand: the shell itself.
#[derive(Args)]
struct Shell {
    /// The database; without one it is in memory
    file: Option<PathBuf>,
    /// SQL or dot commands to run instead of a conversation
    sql: Vec<String>,
    /// Output mode
    #[arg(short, long, value_enum)]
    mode: Option<Mode>,
    /// Run this before anything else
    #[arg(short, long, value_name = "SQL")]
    cmd: Vec<String>,
    /// Open the database for reading only
    #[arg(short, long)]
    readonly: bool,
    /// Run this file first, in place of ~/.dbintrc
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Go on after an error; the exit code tells of it
    #[arg(long)]
    no_bail: bool,
}

impl Cli {
    pub fn run(self) -> ExitCode {
        let done = match self.command {
            None => self.shell.run(),
            Some(Command::Demo(demo)) => demo.run(),
            Some(Command::Integrate(integrate)) => integrate.run(),
            Some(Command::Report(report)) => report.run(),
            Some(Command::Dashboard(dashboard)) => dashboard.run(),
            Some(Command::Monitor(monitor)) => monitor.run(),
            Some(Command::Completions { shell }) => print(|out| {
                clap_complete::generate(shell, &mut Cli::command(), "dbint", out);
                Ok(())
            }),
            Some(Command::Man) => print(|out| crate::man::render(Cli::command(), out)),
        };
        match done {
            Ok(code) => code.into(),
            Err(e) if e.is_closed_pipe() => 0.into(),
            Err(e) => {
                eprintln!("Error: {e}");
                1.into()
            }
        }
    }
}

/// Through memory: what generates the text does not expect the reader to go away.
fn print(make: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Result<u8> {
    let mut text = vec![];
    make(&mut text)?;
    io::stdout().write_all(&text)?;
    Ok(0)
}

impl Shell {
    fn run(self) -> Result<u8> {
        self.not_a_typo()?;
        let interactive = self.sql.is_empty() && io::stdin().is_terminal();
        let mut session = Session::new(self.file.as_deref(), self.readonly, interactive)?;
        if let Some(mode) = self.mode {
            session.format.mode = mode;
        }
        session.bail &= !self.no_bail;
        let done = self.converse(&mut session, interactive);
        match done {
            Ok(Flow::Leave(code)) => Ok(code),
            Ok(Flow::Go) => Ok(0),
            Ok(Flow::Failed) => Ok(1),
            Err(e) if e.is_closed_pipe() => Ok(0),
            Err(e) => {
                session.complain(&e);
                Ok(if e.is_interrupt() { run::INTERRUPTED } else { 1 })
            }
        }
    }

    fn converse(&self, session: &mut Session, interactive: bool) -> Result<Flow> {
        let rc = self.init.clone().or_else(|| std::env::home_dir().map(|h| h.join(".dbintrc")).filter(|p| interactive && p.exists()));
        if let Some(path) = rc {
            crate::dot::read_file(session, &path)?;
        }
        let mut failed = false;
        for text in self.cmd.iter().chain(&self.sql) {
            match run::text(session, text)? {
                Flow::Go => {}
                Flow::Failed => failed = true,
                leave => return Ok(leave),
            }
        }
        match (interactive, self.sql.is_empty()) {
            (true, _) => repl::run(session),
            (false, true) => run::script(session, Some(""), &mut BufReader::new(io::stdin())),
            (false, false) => Ok(if failed { Flow::Failed } else { Flow::Go }),
        }
    }

    /// `dbint dmeo` is no wish for a new database of that name.
    fn not_a_typo(&self) -> Result<()> {
        let Some(name) = self.file.as_ref().and_then(|p| p.to_str()) else { return Ok(()) };
        if !self.sql.is_empty() || name.contains(['.', '/', '\\', ':']) || std::path::Path::new(name).exists() {
            return Ok(());
        }
        let known: Vec<String> = Cli::command().get_subcommands().map(|c| c.get_name().to_owned()).collect();
        let near = dbint::did_you_mean(name, known.iter().map(String::as_str));
        if near.is_empty() { Ok(()) } else { Err(Error::usage(format!("no command and no file \"{name}\".{near}"))) }
    }
}
