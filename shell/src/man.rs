//! The man page: the options as declared, and what options do not tell.
use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};
use std::io::{self, Write};

const DESCRIPTION: &str = "Opens a SQLite database with dbint in it, as a shell at a terminal, or for one run when SQL, dot commands or a pipe are given. \
    Everything it can do SQL can do: .help lists the commands and what dbint adds to SQL.";

const ENVIRONMENT: &[(&str, &str)] = &[
    ("NO_COLOR", "Set to anything: no colours."),
    ("DBINT_HISTORY", "The file that keeps the history; empty for none."),
    ("DBINT_PAGER, PAGER", "What long output goes through at a terminal; less by default."),
];

const FILES: &[(&str, &str)] = &[
    ("~/.dbintrc", "Statements and dot commands run before a conversation begins."),
    ("~/.dbint_history", "What was typed. A line that begins with a space is not kept."),
];

const STATUS: &[(&str, &str)] =
    &[("0", "All went well."), ("1", "A statement or command failed."), ("2", "The command line was wrong."), ("130", "Ended by Ctrl-C.")];

const EXAMPLES: &[(&str, &str)] = &[
    ("dbint COMMAND --help", "The options of a command."),
    ("dbint demo", "Makes a fleet of eight databases and shows what dbint does with it."),
    ("dbint app.db", "The shell."),
    ("dbint app.db \"SELECT db_health()\"", "One statement."),
    ("dbint -m csv app.db \"SELECT * FROM orders\" > orders.csv", "For other programs."),
    ("dbint app.db < script.sql", "A script; it stops at the first error."),
];

pub fn render(command: Command, out: &mut dyn Write) -> io::Result<()> {
    let command = command.long_about(DESCRIPTION);
    let subcommands: Vec<(String, String)> =
        command.get_subcommands().map(|c| (format!("dbint {}", c.get_name()), c.get_about().map(ToString::to_string).unwrap_or_default())).collect();
    let man = Man::new(command);
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    let pairs = |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
    let more = [
        ("COMMANDS", subcommands),
        ("ENVIRONMENT", pairs(ENVIRONMENT)),
        ("FILES", pairs(FILES)),
        ("EXIT STATUS", pairs(STATUS)),
        ("EXAMPLES", pairs(EXAMPLES)),
    ];
    for (title, entries) in more {
        let mut roff = Roff::default();
        roff.control("SH", [title]);
        for (name, text) in entries {
            roff.control("TP", []);
            roff.text([bold(name)]).text([roman(text)]);
        }
        roff.to_writer(out)?;
    }
    Ok(())
}
