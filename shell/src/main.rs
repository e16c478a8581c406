//! The dbint shell: a terminal for what SQL can do. It holds no database logic of its own.
mod cli;
mod commands;
mod complete;
mod demo;
mod dot;
mod error;
mod helper;
mod lexer;
mod man;
mod open;
mod out;
mod render;
mod repl;
mod run;
mod session;
mod spinner;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    dbint::kit::silence_caught_panics();
    cli::Cli::parse().run()
}
