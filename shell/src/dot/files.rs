//! Commands that take a file: databases to open, scripts to run, libraries to load, places for output.
use super::usage;
use crate::{
    error::{Error, Result},
    open,
    render::{Format, Mode, name},
    run,
    session::{Flow, Session},
};
use std::{fs::File, io::BufReader, path::Path};

/// Scripts that read each other end here.
const DEEPEST: usize = 50;

pub fn open(session: &mut Session, args: &[&str]) -> Result<Flow> {
    let (flags, files): (Vec<&str>, Vec<&str>) = args.iter().partition(|a| a.starts_with("--"));
    if files.len() > 1 || flags.iter().any(|f| *f != "--readonly") {
        return Err(usage());
    }
    let usual = session.readonly;
    session.readonly |= !flags.is_empty();
    let done = session.open(files.first().map(Path::new));
    session.readonly = usual;
    done.map(|()| Flow::Go)
}

fn named(path: &str) -> impl Fn(std::io::Error) -> Error + '_ {
    move |e| Error::usage(format!("\"{path}\": {e}"))
}

pub fn read(session: &mut Session, args: &[&str]) -> Result<Flow> {
    read_file(session, Path::new(args.first().ok_or_else(usage)?))
}

pub fn read_file(session: &mut Session, path: &Path) -> Result<Flow> {
    let shown = path.display().to_string();
    if session.reading >= DEEPEST {
        return Err(Error::usage(format!("\"{shown}\" is read by itself, {DEEPEST} times over")));
    }
    let mut file = BufReader::new(File::open(path).map_err(named(&shown))?);
    session.reading += 1;
    let done = run::script(session, Some(&shown), &mut file);
    session.reading -= 1;
    done
}

pub fn load(session: &mut Session, args: &[&str]) -> Result<Flow> {
    let path = args.first().ok_or_else(usage)?;
    open::load(&session.opened.borrow().db, path, args.get(1).copied())?;
    Ok(Flow::Go)
}

pub fn output(session: &mut Session, args: &[&str]) -> Result<Flow> {
    match args.first() {
        None | Some(&"stdout") => session.out.send_to_stdout()?,
        Some(path) => session.out.send_to_file(Path::new(path), false).map_err(named(path))?,
    }
    Ok(Flow::Go)
}

pub fn once(session: &mut Session, args: &[&str]) -> Result<Flow> {
    let path = args.first().ok_or_else(usage)?;
    session.out.send_to_file(Path::new(path), true).map_err(named(path))?;
    Ok(Flow::Go)
}

pub fn cd(_: &mut Session, args: &[&str]) -> Result<Flow> {
    let path = args.first().ok_or_else(usage)?;
    std::env::set_current_dir(path).map_err(named(path))?;
    Ok(Flow::Go)
}

/// The whole statement's output, in the format the file's name asks for.
pub fn export(session: &mut Session, text: &str) -> Result<Flow> {
    let (path, what) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let path = Path::new(path.trim_matches(['\'', '"']));
    let what = what.trim().trim_end_matches(';');
    if path.as_os_str().is_empty() || what.is_empty() {
        return Err(usage());
    }
    let mode = match path.extension().and_then(|e| e.to_str()).unwrap_or_default() {
        "csv" => Mode::Csv,
        "tsv" => Mode::Tabs,
        "json" => Mode::Json,
        "md" => Mode::Markdown,
        "sql" => Mode::Insert,
        "txt" => Mode::Table,
        other => return Err(Error::usage(format!("no format for files that end in \".{other}\"; there are .csv .tsv .json .md .sql .txt"))),
    };
    let is_name = !what.contains(char::is_whitespace);
    let sql = if is_name { format!("SELECT * FROM {}", name(what.trim_matches('"'))) } else { what.to_owned() };
    // A mistyped name leaves no empty file behind.
    session.opened.borrow().db.prepare(&sql)?;
    let mut format = Format::new(mode);
    format.headers = Some(true);
    format.insert = if is_name { what.trim_matches('"').to_owned() } else { "t".to_owned() };
    let usual = std::mem::replace(&mut session.format, format);
    let opened = session.out.send_to_file(path, true).map_err(named(&path.display().to_string()));
    let done = opened.and_then(|()| run::sql(session, &sql));
    session.format = usual;
    done.map(|()| Flow::Go)
}
