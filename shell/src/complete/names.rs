//! The names there are: keywords, tables, columns, functions. Asked of SQLite each time, so never stale.
use rusqlite::{Connection, ToSql};

pub const KEYWORDS: &[&str] = &[
    "ABORT",
    "ACTION",
    "ADD",
    "AFTER",
    "ALL",
    "ALTER",
    "ALWAYS",
    "ANALYZE",
    "AND",
    "AS",
    "ASC",
    "ATTACH",
    "AUTOINCREMENT",
    "BEFORE",
    "BEGIN",
    "BETWEEN",
    "BY",
    "CASCADE",
    "CASE",
    "CAST",
    "CHECK",
    "COLLATE",
    "COLUMN",
    "COMMIT",
    "CONFLICT",
    "CONSTRAINT",
    "CREATE",
    "CROSS",
    "CURRENT",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "DATABASE",
    "DEFAULT",
    "DEFERRABLE",
    "DEFERRED",
    "DELETE",
    "DESC",
    "DETACH",
    "DISTINCT",
    "DO",
    "DROP",
    "EACH",
    "ELSE",
    "END",
    "ESCAPE",
    "EXCEPT",
    "EXCLUDE",
    "EXCLUSIVE",
    "EXISTS",
    "EXPLAIN",
    "FAIL",
    "FILTER",
    "FIRST",
    "FOLLOWING",
    "FOR",
    "FOREIGN",
    "FROM",
    "FULL",
    "GENERATED",
    "GLOB",
    "GROUP",
    "GROUPS",
    "HAVING",
    "IF",
    "IGNORE",
    "IMMEDIATE",
    "IN",
    "INDEX",
    "INDEXED",
    "INITIALLY",
    "INNER",
    "INSERT",
    "INSTEAD",
    "INTERSECT",
    "INTO",
    "IS",
    "ISNULL",
    "JOIN",
    "KEY",
    "LAST",
    "LEFT",
    "LIKE",
    "LIMIT",
    "MATCH",
    "MATERIALIZED",
    "NATURAL",
    "NO",
    "NOT",
    "NOTHING",
    "NOTNULL",
    "NULL",
    "NULLS",
    "OF",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OTHERS",
    "OUTER",
    "OVER",
    "PARTITION",
    "PLAN",
    "PRAGMA",
    "PRECEDING",
    "PRIMARY",
    "QUERY",
    "RAISE",
    "RANGE",
    "RECURSIVE",
    "REFERENCES",
    "REGEXP",
    "REINDEX",
    "RELEASE",
    "RENAME",
    "REPLACE",
    "RESTRICT",
    "RETURNING",
    "RIGHT",
    "ROLLBACK",
    "ROW",
    "ROWS",
    "SAVEPOINT",
    "SELECT",
    "SET",
    "STRICT",
    "TABLE",
    "TEMP",
    "TEMPORARY",
    "THEN",
    "TIES",
    "TO",
    "TRANSACTION",
    "TRIGGER",
    "UNBOUNDED",
    "UNION",
    "UNIQUE",
    "UPDATE",
    "USING",
    "VACUUM",
    "VALUES",
    "VIEW",
    "VIRTUAL",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
    "WITHOUT",
];

pub fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|k| k.eq_ignore_ascii_case(word))
}

/// The first column of all rows as text; a database that cannot be read now has no names to offer.
pub fn list(db: &Connection, sql: &str, params: &[&dyn ToSql]) -> Vec<String> {
    let read = || -> rusqlite::Result<Vec<String>> { db.prepare(sql)?.query_map(params, |r| r.get(0))?.collect() };
    read().unwrap_or_default()
}

/// Tables and views of every attached database, then the tables dbint adds.
pub fn tables(db: &Connection) -> Vec<String> {
    let mut all = own_tables(db);
    all.extend(list(db, "SELECT name FROM dbint_functions WHERE kind = 'table' ORDER BY name", &[]));
    all.dedup();
    all
}

pub fn own_tables(db: &Connection) -> Vec<String> {
    list(db, "SELECT DISTINCT name FROM pragma_table_list WHERE type <> 'shadow' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name", &[])
}

pub fn columns(db: &Connection, table: &str) -> Vec<String> {
    list(db, "SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1", &[&table])
}

pub fn all_columns(db: &Connection) -> Vec<String> {
    let mut all: Vec<String> = own_tables(db).iter().flat_map(|t| columns(db, t)).collect();
    all.sort();
    all.dedup();
    all
}

/// SQLite's functions and ours.
pub fn functions(db: &Connection) -> Vec<String> {
    list(db, "SELECT DISTINCT name FROM pragma_function_list WHERE name GLOB '[a-z]*' ORDER BY name", &[])
}

pub fn schemas(db: &Connection) -> Vec<String> {
    list(db, "SELECT name FROM pragma_database_list ORDER BY seq", &[])
}

/// Databases registered in the hub by name.
pub fn registered(db: &Connection) -> Vec<String> {
    list(db, "SELECT db_name FROM unified_system_status ORDER BY db_name", &[])
}

/// Tables and views of the hub, if it is in `main`.
pub fn of_hub(db: &Connection) -> Vec<String> {
    list(db, "SELECT value FROM json_each(dbint_uninstall('{\"dry_run\":true}'), '$.removed')", &[])
}

/// Tables of one attached database.
pub fn tables_of(db: &Connection, schema: &str) -> Vec<String> {
    list(db, "SELECT name FROM pragma_table_list WHERE schema = ? COLLATE NOCASE AND type <> 'shadow' ORDER BY name", &[&schema])
}
