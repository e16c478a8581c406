//! One virtual-table module serves every [`Table`]: arguments are hidden columns,
//! rows come from an iterator, and no caller writes `unsafe`.
#![allow(unsafe_code)]
use super::{Access, Call, Rows, Table, caught, function::owned, guard::trip, guard_table};
use crate::error::{Error, Result};
use rusqlite::{Connection, types::Value, vtab::*};
use std::{
    borrow::Cow,
    ffi::{CStr, CString, c_int},
    marker::PhantomData,
};

pub fn register(db: &Connection, t: &'static Table) -> rusqlite::Result<()> {
    const MODULE: Module<'_, Vtab> = Module::eponymous_only_module();
    db.create_module(t.name, &MODULE, Some(t))
}

#[repr(C)]
struct Vtab {
    base: sqlite3_vtab,
    spec: &'static Table,
    db: *mut rusqlite::ffi::sqlite3,
}

// SAFETY: `repr(C)` and the first field is `sqlite3_vtab`, as rusqlite asks.
unsafe impl<'v> VTab<'v> for Vtab {
    type Aux = &'static Table;
    type Cursor = Cursor<'v>;

    fn connect(db: &mut VTabConnection, aux: Option<&Self::Aux>, _: &[u8], _: &[u8], _: &[u8], _: &[&[u8]]) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        guard_table("dbint", || {
            trip("connect");
            let spec = *aux.ok_or_else(|| Error::internal("no table spec"))?;
            match spec.access {
                Access::Pure => db.config(VTabConfig::Innocuous)?,
                Access::Reads => {}
                Access::Writes | Access::Outside => db.config(VTabConfig::DirectOnly)?,
            }
            let mut cols: Vec<String> = spec.columns.iter().map(|c| format!("\"{}\" {}", c.name, c.ty)).collect();
            cols.extend(spec.args.iter().map(|a| format!("\"{}\" HIDDEN", hidden(a.name, spec))));
            let sql = CString::new(format!("CREATE TABLE x({})", cols.join(", "))).map_err(|e| Error::internal(e.to_string()))?;
            // SAFETY: the handle outlives the vtab; SQLite disconnects vtabs before closing.
            let handle = unsafe { db.handle() };
            Ok((Cow::Owned(sql), Vtab { base: sqlite3_vtab::default(), spec, db: handle }))
        })
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        guard_table(self.spec.name, || {
            trip("best_index");
            plan(self.spec, info)
        })
    }

    fn open(&'v mut self) -> rusqlite::Result<Self::Cursor> {
        guard_table(self.spec.name, || {
            trip("open");
            Ok(Cursor { base: sqlite3_vtab_cursor::default(), spec: self.spec, db: self.db, rows: None, row: None, args: vec![], rowid: 0, of: PhantomData })
        })
    }
}

/// An argument that has a column's name gets another one: `db` → `db_arg`.
fn hidden(name: &str, spec: &Table) -> String {
    if spec.columns.iter().any(|c| c.name.eq_ignore_ascii_case(name)) { format!("{name}_arg") } else { name.to_owned() }
}

/// Takes every `argument = value` that is usable; bit i of the plan says that argument i is given.
fn plan(spec: &Table, info: &mut IndexInfo) -> Result<bool> {
    let first = spec.columns.len() as c_int;
    let mut at: Vec<Option<usize>> = vec![None; spec.args.len()];
    for (i, c) in info.constraints().enumerate() {
        if c.column() < first || c.operator() != IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ {
            continue;
        }
        if !c.is_usable() {
            return Ok(false);
        }
        if let Some(slot) = at.get_mut((c.column() - first) as usize) {
            *slot = Some(i);
        }
    }
    let (mut plan, mut n) = (0, 0);
    for (i, (found, arg)) in at.iter().zip(spec.args).enumerate() {
        match found {
            Some(c) => {
                n += 1;
                plan |= 1 << i;
                let mut usage = info.constraint_usage(*c);
                usage.set_argv_index(n);
                usage.set_omit(true);
            }
            None if !arg.optional => {
                return Err(Error::argument(format!("missing argument {}; it is called as {}", arg.name, super::signature(spec.name, spec.args))));
            }
            None => {}
        }
    }
    info.set_idx_num(plan);
    info.set_estimated_cost(1000.0);
    Ok(true)
}

#[repr(C)]
struct Cursor<'v> {
    base: sqlite3_vtab_cursor,
    spec: &'static Table,
    db: *mut rusqlite::ffi::sqlite3,
    rows: Option<Rows>,
    row: Option<Vec<Value>>,
    args: Vec<Value>,
    rowid: i64,
    of: PhantomData<&'v Vtab>,
}

// SAFETY: `repr(C)` and the first field is `sqlite3_vtab_cursor`.
unsafe impl VTabCursor for Cursor<'_> {
    fn filter(&mut self, plan: c_int, _: Option<&str>, args: &Filters<'_>) -> rusqlite::Result<()> {
        let (spec, db) = (self.spec, self.db);
        self.close();
        self.rowid = 0;
        let (given, rows) = guard_table(spec.name, || {
            trip("filter");
            let mut from = args.iter();
            let given = (0..spec.args.len())
                .map(|i| if plan & (1 << i) != 0 { from.next().map_or(Ok(Value::Null), |v| owned(v, i)) } else { Ok(Value::Null) })
                .collect::<Result<Vec<_>>>()?;
            // SAFETY: borrowed for this call only; `from_handle` does not close it.
            let db = unsafe { Connection::from_handle(db)? };
            let call = Call::new(&db, spec.name, spec.args, given.clone())?;
            Ok((given, (spec.rows)(&call)?))
        })?;
        self.args = given;
        self.rows = Some(rows);
        self.next()
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        let rows = &mut self.rows;
        self.row = guard_table(self.spec.name, || {
            trip("next");
            let row = rows.as_mut().and_then(Iterator::next).transpose()?;
            if row.is_none() {
                // Ended here, what the iterator holds is free at once, and a panic of its Drop is told.
                drop(rows.take());
            }
            Ok(row)
        })?;
        self.rowid += 1;
        Ok(())
    }

    fn eof(&self) -> bool {
        self.row.is_none()
    }

    fn column(&self, ctx: &mut Context, i: c_int) -> rusqlite::Result<()> {
        guard_table(self.spec.name, || {
            trip("column");
            let i = i as usize;
            let n = self.spec.columns.len();
            let v = if i < n { self.row.as_ref().and_then(|r| r.get(i)) } else { self.args.get(i - n) };
            Ok(ctx.set_result(v.unwrap_or(&Value::Null))?)
        })
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(self.rowid)
    }
}

impl Cursor<'_> {
    /// Ends the iterator, whose own Drop may panic, too.
    fn close(&mut self) {
        let rows = self.rows.take();
        let _ = caught(|| drop(rows));
    }
}

impl Drop for Cursor<'_> {
    fn drop(&mut self) {
        self.close();
    }
}
