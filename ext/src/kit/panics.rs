//! A panic in each callback of a table is an error, and the process lives to run the next statement.
use super::{Access, Call, Room, Rows, Table, col, guard::trip, register};
use rusqlite::{Connection, types::Value};

const ROOM: Room = Room {
    name: "panics",
    summary: "Panics on demand.",
    functions: &[],
    tables: &[Table {
        name: "rows",
        args: &[],
        columns: &[col("n", "INTEGER")],
        access: Access::Reads,
        summary: "Three rows.",
        example: "SELECT * FROM rows;",
        rows: |_: &Call<'_>| Ok(Box::new(Three(0)) as Rows),
    }],
};

struct Three(i64);

impl Iterator for Three {
    type Item = crate::Result<Vec<Value>>;

    fn next(&mut self) -> Option<Self::Item> {
        trip("iterator");
        self.0 += 1;
        (self.0 <= 3).then(|| Ok(vec![Value::Integer(self.0)]))
    }
}

impl Drop for Three {
    fn drop(&mut self) {
        trip("drop");
    }
}

fn sum(db: &Connection) -> rusqlite::Result<i64> {
    let mut q = db.prepare("SELECT n FROM rows")?;
    q.query_map([], |r| r.get::<_, i64>(0))?.sum()
}

#[test]
fn a_panic_in_each_callback_is_an_error() {
    for callback in ["connect", "best_index", "open", "filter", "next", "iterator", "column", "drop"] {
        // A connection of its own each: a table once connected stays so.
        let db = Connection::open_in_memory().unwrap();
        register(&db, &ROOM).unwrap();
        super::PANIC_AT.set(callback);
        let got = sum(&db);
        super::PANIC_AT.set("");
        let text = got.unwrap_err().to_string();
        assert!(text.contains(&format!("internal error: forced in {callback} [DBINT_INTERNAL]")), "{callback}: {text}");
        assert_eq!(sum(&db).unwrap(), 6, "after {callback}");
    }
}

#[test]
fn a_panic_in_the_drop_of_a_cursor_left_early_is_caught() {
    let db = Connection::open_in_memory().unwrap();
    register(&db, &ROOM).unwrap();
    super::PANIC_AT.set("drop");
    let first: i64 = db.query_row("SELECT n FROM rows LIMIT 1", [], |r| r.get(0)).unwrap();
    super::PANIC_AT.set("");
    assert_eq!((first, sum(&db).unwrap()), (1, 6));
}
