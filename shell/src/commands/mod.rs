//! Subcommands that run for a while: the whole run, its report, the monitor, the dashboard.
pub mod integrate;
mod place;
mod signals;
