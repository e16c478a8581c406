//! Subcommands that run for a while: the whole run, its report, the monitor, the dashboard.
pub mod integrate;
pub mod monitor;
mod place;
mod serve;
mod signals;
