//! The host's connection for rows that are made while they are read.
#![allow(unsafe_code)]
use super::Call;
use crate::error::Result;
use rusqlite::Connection;

impl Call<'_> {
    /// The host's connection for an iterator of rows: it lives in a cursor, which SQLite closes before the connection.
    pub fn lasting(&self) -> Result<Connection> {
        // SAFETY: `from_handle` does not own the handle, and only rows of a cursor of this very connection keep the result.
        Ok(unsafe { Connection::from_handle(self.db.handle())? })
    }
}
