//! Commands that take a file: databases to open, scripts to run, libraries to load, places for output.
use super::usage;
use crate::{
    error::{Error, Result},
    open, run,
    session::{Flow, Session},
};
use std::{fs::File, io::BufReader, path::Path};

/// Scripts that read each other end here.
const DEEPEST: usize = 50;

pub fn open(session: &mut Session, args: &[&str]) -> Result<Flow> {
    session.open(args.first().map(Path::new))?;
    Ok(Flow::Go)
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
    let done = run::script(session, &mut file);
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
        None | Some(&"stdout") => session.out.to_stdout()?,
        Some(path) => session.out.to_file(Path::new(path), false).map_err(named(path))?,
    }
    Ok(Flow::Go)
}

pub fn once(session: &mut Session, args: &[&str]) -> Result<Flow> {
    let path = args.first().ok_or_else(usage)?;
    session.out.to_file(Path::new(path), true).map_err(named(path))?;
    Ok(Flow::Go)
}

pub fn cd(_: &mut Session, args: &[&str]) -> Result<Flow> {
    let path = args.first().ok_or_else(usage)?;
    std::env::set_current_dir(path).map_err(named(path))?;
    Ok(Flow::Go)
}
