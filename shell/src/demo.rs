//! `dbint demo`: the toolkit fleet in a scratch folder.
use crate::{
    error::Result,
    run,
    session::{Flow, Session},
};
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub struct Demo {
    /// The folder; without one a new scratch folder
    dir: Option<PathBuf>,
}

impl Demo {
    pub fn run(self) -> Result<u8> {
        let dir = self.dir.unwrap_or_else(|| std::env::temp_dir().join(format!("dbint-demo-{}", std::process::id())));
        std::fs::create_dir_all(&dir)?;
        std::env::set_current_dir(&dir)?;
        let mut session = Session::new(Some(&PathBuf::from("production.db")), false, false)?;
        Ok(match run::text(&mut session, include_str!("../../sql/fleets/toolkit.sql"))? {
            Flow::Leave(code) => code,
            Flow::Go => 0,
            Flow::Failed => 1,
        })
    }
}
