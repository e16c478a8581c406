//! `table_checksum`: the content of a table as one short text.
use crate::{
    db::digest::{self, Algorithm, Method},
    error::Result,
    hub::{Target, target::Mode},
    kit::*,
    options,
};
use rusqlite::types::Value;

options! {
    pub struct ChecksumOptions {
        /// fast (xxh3, the default) or sha256.
        algorithm: String,
        /// auto (the default), pages or cursors: how the rows are read; the checksum is the same.
        method: String,
    }
}

pub const TABLE_CHECKSUM: Function = Function {
    name: "table_checksum",
    args: &[req("table", "table or view"), database(), options(ChecksumOptions::KEYS)],
    returns: "text: 32 hexadecimal digits, 64 for sha256",
    access: Access::Outside,
    summary: "The content of a table as one short text: equal rows give equal texts, whatever their order.",
    example: "SELECT table_checksum('session_tracking', 'session_management') = table_checksum('session_tracking', 'session_management', '{\"method\":\"cursors\"}') AS same;",
    run: |call| {
        let o: ChecksumOptions = call.options()?;
        let algorithm = match one_of("algorithm", o.algorithm.as_deref().unwrap_or("fast"), &["fast", "sha256"])? {
            "sha256" => Algorithm::Sha256,
            _ => Algorithm::Fast,
        };
        let method = match one_of("method", o.method.as_deref().unwrap_or("auto"), &["auto", "pages", "cursors"])? {
            "pages" => Method::Pages,
            "cursors" => Method::Cursors,
            _ => Method::Auto,
        };
        Ok(Value::Text(checksum(call, algorithm, method)?))
    },
};

fn checksum(call: &Call<'_>, algorithm: Algorithm, method: Method) -> Result<String> {
    let target = Target::resolve(call.db, call.opt_text("db"))?;
    let session = target.session(call.db, Mode::Read)?;
    let mut interrupt = Interrupt::of(call.db)?;
    Ok(digest::table(&session.db, &session.schema, call.text("table")?, algorithm, method, &mut interrupt)?.hex)
}
