//! What a table holds, as one short text: equal content, equal digest, whatever the order, page size, encoding or rowids.
//!
//! Hashed are the writable columns in declared order, by type and value; generated columns follow from them.
mod cursors;
#[cfg(test)]
mod proof;
mod raw;
mod sum;

pub use sum::{Algorithm, Sum};

use crate::{
    db::{
        pages::{Snapshot, Why},
        schema::{self, TableKind},
    },
    error::{Error, Result},
    kit::Interrupt,
};
use rusqlite::Connection;

/// How the rows are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// Pages where that is safe, else cursors.
    Auto,
    /// Pages or an error that says why not.
    Pages,
    Cursors,
}

#[derive(Clone, Debug)]
pub struct Digest {
    pub rows: u64,
    pub hex: String,
    /// Why pages were not read, where they were not.
    pub why: Option<Why>,
}

/// The digest of a table or view of `schema`, as `db` sees it. `interrupt` stops it.
pub fn table(db: &Connection, schema: &str, name: &str, algorithm: Algorithm, method: Method, interrupt: &mut Interrupt<'_>) -> Result<Digest> {
    let table = schema::table(db, schema, name)?;
    let mut sum = Sum::new(algorithm);
    let snapshot = Snapshot::beside(db, schema);
    let why = match &snapshot {
        _ if method == Method::Cursors => None,
        Err(why) => Some(*why),
        Ok(snapshot) => match raw::add(snapshot, &table, &mut sum, &mut || interrupt.tick())? {
            Ok(()) => return Ok(Digest { rows: sum.rows(), hex: sum.hex(), why: None }),
            Err(why) => Some(why),
        },
    };
    if let (Method::Pages, Some(why)) = (method, why) {
        return Err(Error::unsupported(format!("pages of \"{name}\" cannot be read directly: {why}")));
    }
    let mut sum = Sum::new(algorithm);
    match &snapshot {
        Ok(snapshot) if table.kind == TableKind::Table => cursors::add_snapshot(snapshot, &table, &mut sum, &mut || interrupt.tick())?,
        // A view may call functions, and a virtual table needs a module, that only the caller's connection has.
        _ => cursors::add(db, schema, &table, &mut sum, &mut || interrupt.tick())?,
    }
    Ok(Digest { rows: sum.rows(), hex: sum.hex(), why })
}

/// The digest of a table as a snapshot sees it.
pub fn of_snapshot(snapshot: &Snapshot, name: &str, tick: &mut dyn FnMut() -> Result<()>) -> Result<Digest> {
    let db = snapshot.db();
    let table = schema::table(db, "main", name)?;
    let mut sum = Sum::new(Algorithm::Fast);
    let why = match raw::add(snapshot, &table, &mut sum, tick)? {
        Ok(()) => return Ok(Digest { rows: sum.rows(), hex: sum.hex(), why: None }),
        Err(why) => why,
    };
    let mut sum = Sum::new(Algorithm::Fast);
    cursors::add_snapshot(snapshot, &table, &mut sum, tick)?;
    Ok(Digest { rows: sum.rows(), hex: sum.hex(), why: Some(why) })
}

/// The digest of a table of `db`, an open transaction included.
pub fn of_rows(db: &Connection, schema: &str, name: &str, tick: &mut dyn FnMut() -> Result<()>) -> Result<Digest> {
    let table = schema::table(db, schema, name)?;
    let mut sum = Sum::new(Algorithm::Fast);
    cursors::add(db, schema, &table, &mut sum, tick)?;
    Ok(Digest { rows: sum.rows(), hex: sum.hex(), why: None })
}
