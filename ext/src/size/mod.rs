//! How large is it, how fast does it grow, and when does it meet its limit?
mod check;
mod growth;
mod objects;

use crate::hub::Target;
use crate::kit::*;
use rusqlite::types::Value;

pub const ROOM: Room = Room {
    name: "size",
    summary: "How large is it, how fast does it grow, and when does it meet its limit?",
    functions: &[Function {
        name: "size_check",
        args: &[database(), typed("limit_mb", Type::Number, true, "in MB of 1,000,000 bytes; default: size_limits, then the setting size.limit_mb")],
        returns: "json {db_name, db_path, status, size_bytes, size_mb, database_bytes, wal_bytes, free_bytes, limit_mb, limit_enforced, percent, near_limit, over_limit, growth{samples, since, days, bytes_per_day, bytes_per_day_low, bytes_per_day_high, percent_per_day, alert, alert_percent}, forecast{breach_date, earliest, latest, confidence}, method, note, tables[{name, bytes, table_bytes, index_bytes, rows, indexes[{name, bytes}]}]}",
        access: Access::Outside,
        summary: "One database against its limit: status OK, NEAR_LIMIT (90 %) or OVER_LIMIT, the bytes of each table and index, and from recorded sizes its growth and the day it meets the limit.",
        example: "SELECT json_extract(size_check('analytics', 50), '$.status');",
        run: |call| Ok(Value::Text(check::check(call.db, call.opt_text("db"), call.opt_number("limit_mb"))?.to_string())),
    }],
    tables: &[
        Table {
            name: "size_report",
            args: &[opt("dir", "everything below it; default: the registered databases, else those of this connection")],
            columns: &[
                col("db_name", "TEXT"),
                col("db_path", "TEXT"),
                col("size_bytes", "INTEGER"),
                col("size_mb", "REAL"),
                col("limit_mb", "REAL"),
                col("percent", "REAL"),
                col("near_limit", "INTEGER"),
                col("over_limit", "INTEGER"),
                col("status", "TEXT"),
                col("bytes_per_day", "REAL"),
                col("growth_percent_per_day", "REAL"),
                col("growth_alert", "INTEGER"),
                col("breach_date", "TEXT"),
                col("breach_earliest", "TEXT"),
                col("breach_latest", "TEXT"),
                col("detail", "TEXT"),
            ],
            access: Access::Outside,
            summary: "Size, limit, growth and forecast of many databases; one that is empty, damaged or gone has a row that says so.",
            example: "SELECT db_name, near_limit, status FROM size_report('.') WHERE db_name IN ('analytics', 'monitoring');",
            rows: check::report,
        },
        Table {
            name: "table_sizes",
            args: &[database()],
            columns: &[
                col("name", "TEXT"),
                col("table_name", "TEXT"),
                col("kind", "TEXT"),
                col("pages", "INTEGER"),
                col("bytes", "INTEGER"),
                col("payload_bytes", "INTEGER"),
                col("unused_bytes", "INTEGER"),
                col("entries", "INTEGER"),
                col("method", "TEXT"),
                col("note", "TEXT"),
            ],
            access: Access::Outside,
            summary: "Pages and bytes of every table and index, then the free pages and SQLite's own: together the whole database. Method pages and dbstat are exact, estimate is not.",
            example: "SELECT name, kind, pages, entries FROM table_sizes('analytics') WHERE table_name = 'daily_usage';",
            rows: |call| {
                let o = objects::of(call.db, &Target::resolve(call.db, call.opt_text("db"))?)?;
                let text = |t: Option<String>| t.map_or(Value::Null, Value::Text);
                let number = |n: Option<u64>| n.map_or(Value::Null, |n| Value::Integer(n as i64));
                let (method, note) = (o.method, o.note);
                rows(
                    o.list
                        .into_iter()
                        .map(|x| {
                            vec![
                                text(x.name),
                                text(x.table),
                                Value::Text(x.kind.to_owned()),
                                Value::Integer(x.pages as i64),
                                Value::Integer(x.bytes as i64),
                                number(x.payload),
                                number(x.unused),
                                number(x.entries),
                                Value::Text(method.to_owned()),
                                text(note.clone()),
                            ]
                        })
                        .collect(),
                )
            },
        },
    ],
};
