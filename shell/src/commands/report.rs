//! `dbint report`: the last run as text, and the fleet as a page in one file, for mail and archive.
use super::{fleet, page, place};
use crate::error::{Error, Result};
use clap::{Args, ValueEnum};
use std::{
    io::{self, Write},
    path::PathBuf,
};

#[derive(Args)]
pub struct Report {
    /// The folder of the databases [default: DBINT_WORKSPACE, else the current one]
    dir: Option<PathBuf>,
    /// The database with dbint's tables [default: the one in the folder that has them]
    #[arg(long, value_name = "FILE")]
    hub: Option<PathBuf>,
    /// Write the dashboard as one self-contained file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Hours the charts of the page look back
    #[arg(long, default_value_t = 168, value_parser = clap::value_parser!(u32).range(1..=87_600))]
    hours: u32,
    /// How the report of the last run is printed
    #[arg(long, value_enum, default_value_t = Form::Markdown)]
    format: Form,
    /// Another run than the last, by its session id
    #[arg(long, value_name = "ID")]
    session: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Json,
    Markdown,
    Html,
}

impl Report {
    pub fn run(self) -> Result<u8> {
        let dir = place::workspace(self.dir.as_deref())?;
        let (path, opened) = place::open(self.hub.as_deref(), &dir, false)?;
        let db = &opened.db;
        let mut out = io::stdout();
        let Some(file) = &self.html else {
            let form = match self.format {
                Form::Json => "json",
                Form::Markdown => "markdown",
                Form::Html => "html",
            };
            let options = serde_json::json!({"format": form}).to_string();
            let text: String = db.query_row("SELECT integration_report(?, ?)", (&self.session, &options), |r| r.get(0))?;
            writeln!(out, "{}", text.trim_end())?;
            return Ok(0);
        };
        let data = fleet::saved(db, self.hours)?;
        let html = page::render("dbint fleet report", &path.display().to_string(), "report", Some(&data), self.hours);
        std::fs::write(file, &html).map_err(|e| Error::usage(format!("\"{}\": {e}", file.display())))?;
        writeln!(out, "{}: {} bytes, needs nothing but a browser", file.display(), html.len())?;
        Ok(0)
    }
}
