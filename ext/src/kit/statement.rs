//! A statement over the C API, for hot loops: values are borrowed, not copied (1.7 × rusqlite's `Row::get_ref`),
//! and text keeps bytes that are not UTF-8.
#![allow(unsafe_code)]
use crate::error::{Error, Result};
use rusqlite::{Connection, ffi, types::Value};
use std::{ffi::c_int, ptr, slice};

/// A prepared statement on `db`, finalized on drop.
pub struct Stmt<'c> {
    raw: *mut ffi::sqlite3_stmt,
    db: &'c Connection,
}

/// One value as SQLite holds it. Text is bytes: SQLite does not promise UTF-8.
#[derive(Clone, Copy, Debug)]
pub enum Field<'a> {
    Null,
    Int(i64),
    Real(f64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

impl<'c> Stmt<'c> {
    pub fn prepare(db: &'c Connection, sql: &str) -> Result<Self> {
        let n = c_int::try_from(sql.len()).map_err(|_| Error::argument("statement too long"))?;
        let mut raw = ptr::null_mut();
        // SAFETY: the handle is open as long as `db` is borrowed; `sql` is valid for `n` bytes.
        let rc = unsafe { ffi::sqlite3_prepare_v3(db.handle(), sql.as_ptr().cast(), n, ffi::SQLITE_PREPARE_PERSISTENT, &mut raw, ptr::null_mut()) };
        let stmt = Stmt { raw, db };
        if rc != ffi::SQLITE_OK { Err(stmt.error(rc)) } else { Ok(stmt) }
    }

    fn error(&self, rc: c_int) -> Error {
        // SAFETY: errmsg is a valid C string until the next call on this connection.
        let text = unsafe { std::ffi::CStr::from_ptr(ffi::sqlite3_errmsg(self.db.handle())) }.to_string_lossy().into_owned();
        rusqlite::Error::SqliteFailure(ffi::Error::new(rc), Some(text)).into()
    }

    /// Moves to the next row; false after the last.
    #[inline]
    pub fn step(&mut self) -> Result<bool> {
        // SAFETY: `raw` is a live statement (NULL, for an empty text, is answered with MISUSE).
        match unsafe { ffi::sqlite3_step(self.raw) } {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => Ok(false),
            rc => {
                let e = self.error(rc);
                self.reset();
                Err(e)
            }
        }
    }

    /// Ready to run again; bindings stay.
    #[inline]
    pub fn reset(&mut self) {
        // SAFETY: as in `step`; the code repeats the last step's error, already reported.
        unsafe { ffi::sqlite3_reset(self.raw) };
    }

    /// Runs a statement without rows, with values for its parameters (from 1) that are not copied; afterwards it has none.
    #[inline]
    pub fn run_with<'f>(&mut self, values: impl IntoIterator<Item = (usize, Field<'f>)>) -> Result<()> {
        // However this ends, the statement forgets where the values were.
        struct Bound<'b, 'c>(&'b mut Stmt<'c>);
        impl Drop for Bound<'_, '_> {
            fn drop(&mut self) {
                self.0.reset();
                // SAFETY: as in `step`.
                unsafe { ffi::sqlite3_clear_bindings(self.0.raw) };
            }
        }
        let bound = Bound(self);
        for (i, v) in values {
            // SAFETY: the bytes outlive `bound`.
            unsafe { bound.0.bind_as(i, v, ffi::SQLITE_STATIC())? };
        }
        while bound.0.step()? {}
        Ok(())
    }

    /// Runs a statement without rows and makes it ready for the next run.
    #[inline]
    pub fn run(&mut self) -> Result<()> {
        while self.step()? {}
        self.reset();
        Ok(())
    }

    pub fn columns(&self) -> usize {
        // SAFETY: as in `step`.
        unsafe { ffi::sqlite3_column_count(self.raw) as usize }
    }

    /// Column `i` of the current row, borrowed until the next step or reset.
    #[inline]
    pub fn field(&self, i: usize) -> Field<'_> {
        // SAFETY: an index out of range gives SQLite's NULL value; the bytes live until the statement moves,
        // which needs `&mut self`. TEXT is asked for before its length, as SQLite demands.
        unsafe {
            let v = ffi::sqlite3_column_value(self.raw, i as c_int);
            match ffi::sqlite3_value_type(v) {
                ffi::SQLITE_INTEGER => Field::Int(ffi::sqlite3_value_int64(v)),
                ffi::SQLITE_FLOAT => Field::Real(ffi::sqlite3_value_double(v)),
                ffi::SQLITE_TEXT => {
                    let p = ffi::sqlite3_value_text(v);
                    Field::Text(bytes(p.cast(), ffi::sqlite3_value_bytes(v)))
                }
                ffi::SQLITE_BLOB => {
                    let p = ffi::sqlite3_value_blob(v);
                    Field::Blob(bytes(p.cast(), ffi::sqlite3_value_bytes(v)))
                }
                _ => Field::Null,
            }
        }
    }

    /// Whether column `i` and column `j` of another statement's row hold the same value, as two fields are compared.
    #[inline]
    pub fn same(&self, i: usize, other: &Stmt<'_>, j: usize) -> bool {
        // SAFETY: as in `field`; neither statement moves meanwhile.
        unsafe {
            let (a, b) = (ffi::sqlite3_column_value(self.raw, i as c_int), ffi::sqlite3_column_value(other.raw, j as c_int));
            let kind = ffi::sqlite3_value_type(a);
            if kind != ffi::sqlite3_value_type(b) {
                return false;
            }
            match kind {
                ffi::SQLITE_TEXT => {
                    let (p, q) = (ffi::sqlite3_value_text(a), ffi::sqlite3_value_text(b));
                    let (n, m) = (ffi::sqlite3_value_bytes(a), ffi::sqlite3_value_bytes(b));
                    n == m && bytes(p, n) == bytes(q, m)
                }
                ffi::SQLITE_INTEGER => ffi::sqlite3_value_int64(a) == ffi::sqlite3_value_int64(b),
                ffi::SQLITE_FLOAT => ffi::sqlite3_value_double(a).to_bits() == ffi::sqlite3_value_double(b).to_bits(),
                ffi::SQLITE_NULL => true,
                _ => self.field(i) == other.field(j),
            }
        }
    }

    #[inline]
    pub fn int(&self, i: usize) -> i64 {
        // SAFETY: as in `field`.
        unsafe { ffi::sqlite3_column_int64(self.raw, i as c_int) }
    }

    /// Binds parameter `i` (from 1); the bytes are copied.
    #[inline]
    pub fn bind(&mut self, i: usize, v: Field<'_>) -> Result<()> {
        // SAFETY: TRANSIENT makes SQLite copy the bytes.
        unsafe { self.bind_as(i, v, ffi::SQLITE_TRANSIENT()) }
    }

    /// SAFETY: `owner` says how long the bytes last.
    #[inline]
    unsafe fn bind_as(&mut self, i: usize, v: Field<'_>, owner: ffi::sqlite3_destructor_type) -> Result<()> {
        let at = i as c_int;
        // SAFETY: lengths are those of live slices.
        let rc = unsafe {
            match v {
                Field::Null => ffi::sqlite3_bind_null(self.raw, at),
                Field::Int(v) => ffi::sqlite3_bind_int64(self.raw, at, v),
                Field::Real(v) => ffi::sqlite3_bind_double(self.raw, at, v),
                Field::Text(b) => ffi::sqlite3_bind_text(self.raw, at, some(b), length(b)?, owner),
                Field::Blob(b) => ffi::sqlite3_bind_blob(self.raw, at, some(b).cast(), length(b)?, owner),
            }
        };
        if rc == ffi::SQLITE_OK { Ok(()) } else { Err(self.error(rc)) }
    }

    /// Binds column `column` of another statement's current row, without decoding it.
    #[inline]
    pub fn bind_column(&mut self, i: usize, from: &Stmt<'_>, column: usize) -> Result<()> {
        // SAFETY: an unprotected value may be bound; SQLite copies it, across connections and encodings.
        let rc = unsafe { ffi::sqlite3_bind_value(self.raw, i as c_int, ffi::sqlite3_column_value(from.raw, column as c_int)) };
        if rc == ffi::SQLITE_OK { Ok(()) } else { Err(self.error(rc)) }
    }
}

impl Drop for Stmt<'_> {
    fn drop(&mut self) {
        // SAFETY: finalizing NULL or a statement of a connection that is still open.
        unsafe { ffi::sqlite3_finalize(self.raw) };
    }
}

/// SQLite gives NULL for an empty blob.
#[inline]
unsafe fn bytes<'a>(p: *const u8, n: c_int) -> &'a [u8] {
    if p.is_null() || n <= 0 {
        return &[];
    }
    // SAFETY: SQLite gives `n` bytes at `p`.
    unsafe { slice::from_raw_parts(p, n as usize) }
}

/// A pointer that is not NULL even for an empty slice: NULL would bind NULL.
fn some(b: &[u8]) -> *const std::ffi::c_char {
    if b.is_empty() { c"".as_ptr() } else { b.as_ptr().cast() }
}

fn length(b: &[u8]) -> Result<c_int> {
    c_int::try_from(b.len()).map_err(|_| Error::argument("a value over 2 GB"))
}

impl Field<'_> {
    /// The same value for keeping; invalid UTF-8 in text is replaced (for showing, never for storing).
    pub fn shown(self) -> Value {
        match self {
            Field::Null => Value::Null,
            Field::Int(v) => Value::Integer(v),
            Field::Real(v) => Value::Real(v),
            Field::Text(b) => Value::Text(String::from_utf8_lossy(b).into_owned()),
            Field::Blob(b) => Value::Blob(b.to_vec()),
        }
    }
}

/// Same type and same bits: 1, 1.0 and '1' differ, as do 0.0 and −0.0.
impl PartialEq for Field<'_> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Field::Null, Field::Null) => true,
            (Field::Int(a), Field::Int(b)) => a == b,
            (Field::Real(a), Field::Real(b)) => a.to_bits() == b.to_bits(),
            (Field::Text(a), Field::Text(b)) | (Field::Blob(a), Field::Blob(b)) => a == b,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_through_unchanged() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE a(x); CREATE TABLE b(x)").unwrap();
        let all = [Field::Null, Field::Int(i64::MIN), Field::Real(-0.0), Field::Text(b"a\0\xff"), Field::Text(b""), Field::Blob(b""), Field::Blob(b"\0")];
        let mut put = Stmt::prepare(&db, "INSERT INTO a VALUES(?)").unwrap();
        for v in all {
            put.bind(1, v).unwrap();
            put.run().unwrap();
        }
        let mut copy = Stmt::prepare(&db, "INSERT INTO b VALUES(?)").unwrap();
        let mut get = Stmt::prepare(&db, "SELECT x FROM a").unwrap();
        while get.step().unwrap() {
            copy.bind_column(1, &get, 0).unwrap();
            copy.run().unwrap();
        }
        db.execute_batch("DELETE FROM b").unwrap();
        for v in all {
            copy.run_with([(1, v)]).unwrap();
        }
        // Nothing stays bound, after an error neither.
        copy.run().unwrap();
        db.execute_batch("DELETE FROM b WHERE rowid > 7; CREATE UNIQUE INDEX b_x ON b(x)").unwrap();
        assert!(copy.run_with([(1, Field::Text(b""))]).is_err());
        assert!(copy.run_with([(2, Field::Null)]).is_err());
        copy.run().unwrap();
        assert_eq!(db.query_row("SELECT count(*) FROM b WHERE x IS NULL", [], |r| r.get::<_, i64>(0)).unwrap(), 2);
        let mut get = Stmt::prepare(&db, "SELECT x FROM b ORDER BY rowid").unwrap();
        let mut other = Stmt::prepare(&db, "SELECT x, rowid FROM a ORDER BY rowid").unwrap();
        for v in all {
            assert!(get.step().unwrap());
            assert_eq!(get.field(0), v);
            other.reset();
            while other.step().unwrap() {
                assert_eq!(get.same(0, &other, 0), v == other.field(0), "{v:?}");
            }
        }
        assert!(Stmt::prepare(&db, "SELEC").is_err());
    }
}
