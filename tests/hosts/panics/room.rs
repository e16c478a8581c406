//! SQL names that panic: a function, and a table in its call, in a row and in its Drop.
use dbint::kit::*;
use rusqlite::types::Value;

pub const ROOM: Room = Room {
    name: "panics",
    summary: "Panics on demand.",
    functions: &[Function {
        name: "panic_now",
        args: &[req("how", "text, string or payload")],
        returns: "nothing",
        access: Access::Reads,
        summary: "Panics.",
        example: "SELECT panic_now('text');",
        run: |call| match call.text("how")? {
            "text" => panic!("forced"),
            "string" => panic!("forced by {}", call.name),
            _ => std::panic::panic_any(Explosive),
        },
    }],
    tables: &[Table {
        name: "panic_rows",
        args: &[req("place", "call, next or drop")],
        columns: &[col("n", "INTEGER")],
        access: Access::Reads,
        summary: "Three rows, and a panic.",
        example: "SELECT * FROM panic_rows('next');",
        rows: |call| {
            let place = call.text("place")?.to_owned();
            assert!(place != "call", "forced in the call");
            Ok(Box::new(Three { n: 0, place }) as Rows)
        },
    }],
};

/// Thrown as a panic, it panics again when it is dropped.
struct Explosive;

impl Drop for Explosive {
    fn drop(&mut self) {
        panic!("forced in the payload");
    }
}

struct Three {
    n: i64,
    place: String,
}

impl Iterator for Three {
    type Item = dbint::Result<Vec<Value>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.n += 1;
        assert!(!(self.n == 2 && self.place == "next"), "forced in the second row");
        (self.n <= 3).then(|| Ok(vec![Value::Integer(self.n)]))
    }
}

impl Drop for Three {
    fn drop(&mut self) {
        assert!(self.place != "drop", "forced in Drop");
    }
}
