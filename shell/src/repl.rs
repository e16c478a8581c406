//! The conversation at a terminal.
use crate::{
    dot,
    error::{Error, Result},
    helper::Assistant,
    lexer, run,
    session::{Flow, Session},
};
use rustyline::{CompletionType, Config, Editor, error::ReadlineError, history::FileHistory};
use std::path::PathBuf;

/// Where history is kept: DBINT_HISTORY, or a file in the home folder; an empty DBINT_HISTORY keeps none.
fn history_file() -> Option<PathBuf> {
    match std::env::var_os("DBINT_HISTORY") {
        Some(v) => Some(PathBuf::from(v)).filter(|p| !p.as_os_str().is_empty()),
        None => std::env::home_dir().map(|h| h.join(".dbint_history")),
    }
}

pub fn run(session: &mut Session) -> Result<Flow> {
    let config = Config::builder()
        .history_ignore_space(true)
        .max_history_size(10_000)
        .map_err(odd)?
        .completion_type(CompletionType::List)
        .bracketed_paste(true)
        .color_mode(if session.format.color { rustyline::ColorMode::Enabled } else { rustyline::ColorMode::Disabled })
        .build();
    let mut editor: Editor<Assistant, FileHistory> = Editor::with_config(config).map_err(odd)?;
    editor.set_helper(Some(Assistant::new(session.opened.clone(), session.format.color)));
    let history = history_file();
    if let Some(h) = &history {
        // The first time there is none.
        let _ = editor.load_history(h);
    }
    greet(session);
    // A statement without its semicolon, while a dot command below it had its turn.
    let mut held = String::new();
    loop {
        // A star while a transaction is open, for nothing is safe before its COMMIT.
        let open = !session.opened.borrow().db.is_autocommit();
        let initial = std::mem::take(&mut held);
        let mut line = match editor.readline_with_initial(if open { "dbint*> " } else { "dbint> " }, (&initial, "")) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => {
                if open {
                    eprintln!("The open transaction was not committed: it is rolled back.");
                }
                return Ok(Flow::Leave(0));
            }
            Err(e) => return Err(odd(e)),
        };
        if line.trim().is_empty() {
            continue;
        }
        if let Some((statement, command)) = dot::last_line(&line).filter(|(statement, _)| !lexer::complete(statement)) {
            (held, line) = (statement.to_owned(), command.to_owned());
        }
        editor.add_history_entry(&line).map_err(odd)?;
        if let Some(h) = &history {
            // A home that cannot be written costs the history, not the session.
            let _ = editor.append_history(h);
        }
        match run::text(session, &line) {
            Ok(Flow::Leave(code)) => return Ok(Flow::Leave(code)),
            Ok(Flow::Go | Flow::Failed) => {}
            Err(e) if e.is_closed_pipe() => {}
            Err(e) => {
                session.complain(&e);
                if session.bail {
                    return Ok(Flow::Leave(1));
                }
            }
        }
        if !held.is_empty() {
            eprintln!("The statement above it has no semicolon and did not run; it waits here:");
        }
    }
}

fn greet(session: &Session) {
    let opened = session.opened.borrow();
    let file = match (&opened.path, opened.is_fresh()) {
        (None, _) => "in memory; .open FILE opens a file".to_owned(),
        (Some(p), true) => format!("{} (new)", p.display()),
        (Some(p), false) => p.display().to_string(),
    };
    eprintln!("dbint {}, SQLite {}: {file}\n.help for help, Tab completes, Ctrl-D leaves", env!("CARGO_PKG_VERSION"), rusqlite::version());
}

fn odd(e: ReadlineError) -> Error {
    match e {
        ReadlineError::Io(e) => Error::Io(e),
        e => Error::usage(e.to_string()),
    }
}
