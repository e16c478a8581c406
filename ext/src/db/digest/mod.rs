//! What a table holds, as one short text: equal content, equal digest, whatever the order, page size, encoding or rowids.
//!
//! Hashed are the writable columns in declared order, by type and value; generated columns follow from them.
#[cfg(test)]
mod proof;
mod raw;
mod sum;

pub use sum::{Algorithm, Sum};

use crate::{
    db::{
        ident::{list, qualified},
        pages::{Snapshot, Why},
        schema::{self, Table},
    },
    error::{Error, Result},
    kit::{Interrupt, Stmt},
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
    if method == Method::Cursors {
        by_cursor(db, schema, &table, &mut sum, &mut || interrupt.tick())?;
        return Ok(Digest { rows: sum.rows(), hex: sum.hex(), why: None });
    }
    let why = match Snapshot::beside(db, schema) {
        Err(why) => why,
        Ok(snapshot) => match raw::add(&snapshot, &table, &mut sum, &mut || interrupt.tick())? {
            Ok(()) => return Ok(Digest { rows: sum.rows(), hex: sum.hex(), why: None }),
            Err(why) => why,
        },
    };
    if method == Method::Pages {
        return Err(Error::unsupported(format!("pages of \"{name}\" cannot be read directly: {why}")));
    }
    let mut sum = Sum::new(algorithm);
    by_cursor(db, schema, &table, &mut sum, &mut || interrupt.tick())?;
    Ok(Digest { rows: sum.rows(), hex: sum.hex(), why: Some(why) })
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
    by_cursor(db, "main", &table, &mut sum, tick)?;
    Ok(Digest { rows: sum.rows(), hex: sum.hex(), why: Some(why) })
}

/// The digest of a table of `db`, an open transaction included.
pub fn of_rows(db: &Connection, schema: &str, name: &str, tick: &mut dyn FnMut() -> Result<()>) -> Result<Digest> {
    let table = schema::table(db, schema, name)?;
    let mut sum = Sum::new(Algorithm::Fast);
    by_cursor(db, schema, &table, &mut sum, tick)?;
    Ok(Digest { rows: sum.rows(), hex: sum.hex(), why: None })
}

/// Adds every row by SQL, to a sum of the same kind.
fn by_cursor(db: &Connection, schema: &str, table: &Table, sum: &mut Sum, tick: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    let columns = list(table.writable().map(|c| c.name.as_str()));
    let mut q = Stmt::prepare(db, &format!("SELECT {columns} FROM {}", qualified(schema, &table.name)))?;
    let n = q.columns();
    while q.step()? {
        for i in 0..n {
            sum.field(q.field(i));
        }
        sum.add();
        tick()?;
    }
    Ok(())
}
