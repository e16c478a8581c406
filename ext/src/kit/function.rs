//! Registers a [`Function`] on a connection, once per number of arguments it accepts.
#![allow(unsafe_code)]
use super::{Access, Call, Function, guard};
use crate::error::Error;
use rusqlite::{
    Connection,
    functions::FunctionFlags,
    types::{Value, ValueRef},
};

pub fn register(db: &Connection, f: &'static Function) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | match f.access {
            Access::Pure => FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS,
            Access::Reads => FunctionFlags::empty(),
            Access::Writes | Access::Outside => FunctionFlags::SQLITE_DIRECTONLY,
        };
    let least = f.args.iter().filter(|a| !a.optional).count();
    for n in least..=f.args.len() {
        db.create_scalar_function(f.name, n as i32, flags, move |ctx| {
            // SAFETY: the connection is used only during this call, on SQLite's thread.
            let db = unsafe { ctx.get_connection()? };
            guard(f.name, || {
                let args = (0..ctx.len()).map(|i| owned(ctx.get_raw(i), i)).collect::<crate::Result<Vec<_>>>()?;
                (f.run)(&Call::new(&db, f.name, f.args, args)?)
            })
        })?;
    }
    Ok(())
}

pub fn owned(v: ValueRef<'_>, i: usize) -> crate::Result<Value> {
    Value::try_from(v).map_err(|_| Error::argument(format!("argument {} is not valid UTF-8", i + 1)))
}
