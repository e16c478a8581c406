//! Subcommands that run for a while: the whole run, its report, the monitor, the dashboard.
pub mod dashboard;
mod fleet;
pub mod integrate;
pub mod monitor;
mod page;
mod place;
pub mod report;
mod serve;
mod signals;
