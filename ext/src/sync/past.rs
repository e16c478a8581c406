//! A sync that is over: its receipt, and where its target is.
use crate::{
    error::{Error, Result},
    hub::{Hub, Target},
};
use rusqlite::{Connection, OptionalExtension};
use serde_json::Value as Json;

pub struct Past {
    pub sync_id: String,
    pub table: String,
    pub source: Option<String>,
    pub target: Target,
    /// As the caller of that sync wrote them.
    pub options: Json,
    pub full: bool,
}

/// By the hub's log; without a hub, by the target the caller names.
pub fn find(host: &Connection, sync_id: &str, target: Option<&str>) -> Result<Past> {
    let receipt: Option<String> = match Hub::find(host)? {
        Some(hub) => host
            .prepare(&hub.sql("SELECT receipt FROM hub.cross_db_sync_log WHERE sync_id = ? AND sync_status IN ('SUCCESS', 'ROLLED_BACK')"))?
            .query_row([sync_id], |r| r.get(0))
            .optional()?
            .flatten(),
        None => None,
    };
    let receipt: Json = receipt.as_deref().and_then(|r| serde_json::from_str(r).ok()).unwrap_or(Json::Null);
    let text = |key: &str| receipt.get(key).and_then(Json::as_str).map(str::to_owned);
    // The file first: a name may mean another database by now.
    let target = match (target, text("target_file"), text("target")) {
        (Some(t), ..) => Target::resolve(host, Some(t))?,
        (None, Some(file), name) => match Target::resolve(host, Some(&file)) {
            Ok(t) => t,
            Err(_) if name.is_some() => Target::resolve(host, name.as_deref())?,
            Err(e) => return Err(e),
        },
        (None, None, Some(name)) => Target::resolve(host, Some(&name))?,
        (None, None, None) => {
            return Err(
                Error::not_found(format!("no sync \"{sync_id}\" in cross_db_sync_log")).hint("Without a hub, name its target: {\"target\":\"replica.db\"}")
            );
        }
    };
    Ok(Past {
        sync_id: sync_id.to_owned(),
        table: text("table").unwrap_or_default(),
        source: text("source_file").or_else(|| text("source")),
        target,
        options: receipt.get("options").cloned().unwrap_or(Json::Null),
        full: text("mode").as_deref() == Some("full"),
    })
}
