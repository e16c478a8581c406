//! dbint describing itself.
use crate::{catalog::ROOMS, kit::*};
use rusqlite::types::Value;

mod doctor;

pub const ROOM: Room = Room {
    name: "about",
    summary: "dbint describing itself.",
    functions: &[
        Function {
            name: "dbint_version",
            args: &[],
            returns: "text",
            access: Access::Pure,
            summary: "The version of dbint.",
            example: "SELECT dbint_version();",
            run: |_| Ok(Value::Text(env!("CARGO_PKG_VERSION").to_owned())),
        },
        doctor::DBINT_DOCTOR,
    ],
    tables: &[Table {
        name: "dbint_functions",
        args: &[],
        columns: &[
            col("name", "TEXT"),
            col("kind", "TEXT"),
            col("room", "TEXT"),
            col("signature", "TEXT"),
            col("returns", "TEXT"),
            col("access", "TEXT"),
            col("summary", "TEXT"),
            col("options", "TEXT"),
            col("example", "TEXT"),
        ],
        access: Access::Pure,
        summary: "Lists every function and table dbint adds.",
        example: "SELECT signature, summary FROM dbint_functions WHERE room = 'about';",
        rows: dbint_functions,
    }],
};

fn dbint_functions(_: &Call<'_>) -> crate::Result<Rows> {
    let row = |room: &Room, kind: &str, name: &str, args: &[Arg], returns: &str, access: Access, summary: &str, example: &str| {
        let shape = if kind == "table" && args.is_empty() { name.to_owned() } else { signature(name, args) };
        let options = args.iter().flat_map(|a| a.keys).map(|k| format!("{}: {}", k.name, k.summary.trim())).collect::<Vec<_>>().join("\n");
        [name, kind, room.name, &shape, returns, access.word(), summary, &options, example].map(|s| Value::Text(s.to_owned())).to_vec()
    };
    let mut all = vec![];
    for room in ROOMS {
        for f in room.functions {
            all.push(row(room, "function", f.name, f.args, f.returns, f.access, f.summary, f.example));
        }
        for t in room.tables {
            let columns = t.columns.iter().map(|c| c.name).collect::<Vec<_>>().join(", ");
            all.push(row(room, "table", t.name, t.args, &columns, t.access, t.summary, t.example));
        }
    }
    rows(all)
}
