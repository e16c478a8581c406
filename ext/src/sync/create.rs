//! The source's table in the target, where there is none yet: the same statement, the same indexes.
use crate::{
    db::{
        ident::{qualified, quote},
        lex,
        schema::{self, Table},
    },
    error::{Error, Result},
};
use rusqlite::Connection;

/// Inside the sync's transaction.
pub fn table(source: &Connection, source_schema: &str, from: &Table, target: &Connection, target_schema: &str) -> Result<Table> {
    target.execute_batch(&format!("CREATE TABLE {} {}", qualified(target_schema, &from.name), schema::table_body(&from.sql)))?;
    for index in schema::indexes(source, source_schema, &from.name)? {
        let Some(sql) = &index.sql else { continue };
        // A name belongs to one index of a database: where it is taken, the table goes without.
        let taken: bool = target.query_row(
            &format!("SELECT EXISTS(SELECT 1 FROM {}.sqlite_schema WHERE lower(name) = lower(?))", quote(target_schema)),
            [&index.name],
            |r| r.get(0),
        )?;
        if taken {
            return Err(
                Error::unsupported(format!("the name of the index \"{}\" is taken", index.name)).hint("Create the table in the target yourself, then sync")
            );
        }
        let on = lex::tokens(sql).into_iter().find(|t| t.is("ON")).and_then(|t| sql.get(t.at..)).unwrap_or_default();
        let unique = if index.unique { "UNIQUE " } else { "" };
        target.execute_batch(&format!("CREATE {unique}INDEX {} {on}", qualified(target_schema, &index.name)))?;
    }
    schema::table(target, target_schema, &from.name)
}
