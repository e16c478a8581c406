//! Size limits: an option in the call stands above a row in `size_limits`, that above the setting `size.limit_mb`.
use super::{Hub, settings};
use crate::db::size::{DEFAULT_LIMIT, MB};
use crate::error::{Error, Result};
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashMap;

/// MB of a user's option or row as bytes.
pub fn bytes(mb: f64) -> Result<u64> {
    if mb.is_finite() && mb > 0.0 { Ok((mb * MB).round() as u64) } else { Err(Error::argument(format!("a size limit must be above 0, not {mb}"))) }
}

/// The limit somebody set for `name`, in bytes: writes that would reach it are refused. None where nobody did: the
/// default only reports.
pub fn enforced(db: &Connection, name: &str, option_mb: Option<f64>) -> Result<Option<u64>> {
    if let Some(mb) = option_mb {
        return bytes(mb).map(Some);
    }
    if let Some(hub) = Hub::find(db)? {
        let row: Option<f64> = db.prepare(&hub.sql("SELECT limit_mb FROM hub.size_limits WHERE db_name = ?"))?.query_row([name], |r| r.get(0)).optional()?;
        if let Some(mb) = row {
            return bytes(mb).map(Some);
        }
    }
    let setting = settings::get(db, "size.limit_mb")?;
    if setting.source == "default" { Ok(None) } else { bytes(settings::number(db, "size.limit_mb")?).map(Some) }
}

/// The limit to report against, and whether writes keep it.
pub fn reported(db: &Connection, name: &str, option_mb: Option<f64>) -> Result<(u64, bool)> {
    Ok(enforced(db, name, option_mb)?.map_or((DEFAULT_LIMIT, false), |l| (l, true)))
}

/// Every database's own limit, for a look at all of them; the rest have [`general`].
pub fn all(db: &Connection) -> Result<HashMap<String, u64>> {
    let Some(hub) = Hub::find(db)? else { return Ok(HashMap::new()) };
    let mut q = db.prepare(&hub.sql("SELECT db_name, limit_mb FROM hub.size_limits"))?;
    let rows = q.query_map([], |r| Ok((r.get(0)?, r.get::<_, f64>(1)?)))?;
    rows.map(|r| r.map_err(Error::from).and_then(|(n, mb): (String, f64)| Ok((n, bytes(mb)?)))).collect()
}

/// The limit of databases without one of their own.
pub fn general(db: &Connection) -> Result<u64> {
    bytes(settings::number(db, "size.limit_mb")?)
}
