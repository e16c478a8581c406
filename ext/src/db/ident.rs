//! Quoting: the one place where a name or a text becomes part of a statement.

/// `my "table"` → `"my ""table"""`
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `"schema"."table"`
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quote(schema), quote(name))
}

/// A text literal, for the few places where SQLite takes no parameter (ATTACH in scripts, DEFAULT, shown remedies).
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `"a", "b"`
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quote).collect::<Vec<_>>().join(", ")
}

/// SQLite compares names without regard to ASCII case.
pub fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

#[cfg(test)]
mod tests {
    #[test]
    fn quotes_what_users_name_their_tables() {
        for name in ["plain", "my table", "a\"b", "dot.ted", "it's", "🦀", ""] {
            let db = rusqlite::Connection::open_in_memory().unwrap();
            db.execute_batch(&format!("CREATE TABLE {}(x)", super::quote(name))).unwrap();
            let back: String = db.query_row(&format!("SELECT name FROM sqlite_schema WHERE name = {}", super::literal(name)), [], |r| r.get(0)).unwrap();
            assert_eq!(back, name);
        }
    }
}
