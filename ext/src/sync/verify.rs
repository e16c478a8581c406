//! `verify_sync`: are source and target equal again? Both are read anew; the receipt is not believed.
use super::{
    options::Choice,
    past,
    run::{self, Ends},
};
use crate::{
    db::digest::{self, Algorithm, Method},
    error::{Error, Result},
    hub::{Target, target::Mode},
    kit::Interrupt,
};
use rusqlite::Connection;
use serde_json::{Value as Json, json};

pub fn verify(host: &Connection, sync_id: &str) -> Result<Json> {
    let past = past::find(host, sync_id, None)?;
    let Some(source) = &past.source else { return Err(Error::not_found(format!("the receipt of \"{sync_id}\" does not name its source"))) };
    let mut choice = Choice::parse(host, Some(&past.options.to_string()).filter(|t| *t != "null").map(String::as_str))?;
    // A log tells what was to be carried; what is there is read.
    choice.by_log = false;
    choice.method = super::options::Method::Auto;
    choice.given.dry_run = Some(true);
    let ends = Ends { source: Target::resolve(host, Some(source))?, target: past.target.clone() };
    let r = run::preview(host, &past.table, &ends, &choice, None)?;
    let t = &r.tally;
    // An incremental sync leaves what only the target has, and what is newer there.
    let ok = !r.created_table && t.changed() == 0 && (!past.full || t.left == 0 && t.skipped == 0);
    let digest = |end: &Target| -> Result<digest::Digest> {
        let session = end.session(host, Mode::Read)?;
        digest::table(&session.db, &session.schema, &past.table, Algorithm::Fast, Method::Auto, &mut Interrupt::of(host)?)
    };
    let (a, b) = (digest(&ends.source)?, if r.created_table { None } else { Some(digest(&ends.target)?) });
    Ok(json!({
        "sync_id": past.sync_id, "table": past.table, "source": r.source, "target": r.target, "ok": ok,
        "missing": t.inserted, "different": t.updated, "newer_in_target": t.skipped, "only_in_target": t.left + t.deleted, "equal": r.unchanged, "method": r.method,
        "source_rows": a.rows, "target_rows": b.as_ref().map(|b| b.rows), "source_digest": a.hex, "target_digest": b.map(|b| b.hex),
    }))
}
