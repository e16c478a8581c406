//! The statements that give a table another definition and keep its rows.
//!
//! ```text
//! PRAGMA foreign_keys=OFF; PRAGMA legacy_alter_table=ON   nothing else is rewritten, no cascade
//! BEGIN IMMEDIATE
//! ALTER TABLE t RENAME TO t_before                        first the old one goes aside: whatever fails after this, and is
//! CREATE TABLE t(…)                                       rolled back, leaves no t_before to drop, even for a shell that
//! INSERT OR ROLLBACK INTO t(…) SELECT … FROM t_before     carries on after an error
//! DROP TABLE t_before
//! CREATE INDEX …; CREATE TRIGGER …                        those the new schema has as the old one
//! COMMIT
//! ```
use super::object::{self, Object, canonical};
use crate::db::{
    affinity::Affinity,
    ident::{list, literal, qualified, quote, same},
    lex,
    schema::{Column, Generated, Table},
};

/// Where the statements run.
pub struct Place {
    /// Before a name: empty for main, `"other".` for an attached database.
    pub prefix: String,
    pub schema: String,
    /// The connection has foreign keys on: so they are again afterwards.
    pub foreign_keys: bool,
}

/// A column of the new table, and where its values come from.
pub struct Source<'t> {
    pub to: &'t Column,
    pub from: Option<&'t Column>,
}

/// Pairs the columns of `b` with those of `a`: by name, and what is left over by place and type, which is a renamed one.
pub fn pair<'t>(a: &'t Table, b: &'t Table) -> Vec<Source<'t>> {
    b.columns
        .iter()
        .enumerate()
        .map(|(i, to)| {
            let renamed = || {
                let there = a.columns.get(i)?;
                let free = b.column(&there.name).is_none() && same(&there.ty, &to.ty) && there.pk == to.pk && there.generated == to.generated;
                free.then_some(there)
            };
            Source { to, from: a.column(&to.name).or_else(renamed) }
        })
        .collect()
}

/// Columns of `a` whose values nothing takes over.
pub fn dropped<'t>(a: &'t Table, pairs: &[Source<'_>]) -> Vec<&'t Column> {
    let taken = |c: &Column| pairs.iter().any(|p| p.from.is_some_and(|f| same(&f.name, &c.name)));
    a.columns.iter().filter(|c| !taken(c)).collect()
}

/// What stands in a column that may not be NULL where nothing else is known.
pub fn filler(column: &Column) -> Option<&'static str> {
    if !column.not_null || column.default.is_some() || column.generated != Generated::No {
        return None;
    }
    Some(match Affinity::of(&column.ty) {
        Affinity::Text => "''",
        Affinity::Blob => "x''",
        Affinity::Real => "0.0",
        _ => "0",
    })
}

/// The statements for one table; `after` are its indexes and triggers, `guarded` where other tables refer to it.
pub fn rebuild(place: &Place, a: &Table, b: &Table, alias: bool, after: &[&Object], guarded: bool, taken: &dyn Fn(&str) -> bool) -> String {
    let mut aside = format!("{}_before", a.name);
    while taken(&aside) {
        aside.push('_');
    }
    let pairs = pair(a, b);
    let (mut into, mut values) = (vec![], vec![]);
    // A rowid without a name of its own is kept, too: full-text indexes and the like refer to it.
    if let (false, Some(to), Some(from)) = (alias, b.rowid_name(), a.rowid_name()) {
        into.push(to);
        values.push(from.to_owned());
    }
    for p in pairs.iter().filter(|p| p.to.generated == Generated::No) {
        let expression = match (p.from, &p.to.default, filler(p.to)) {
            (Some(from), Some(default), _) if p.to.not_null && !from.not_null => format!("coalesce({}, {default})", quote(&from.name)),
            (Some(from), ..) => quote(&from.name),
            (None, None, Some(filler)) if p.to.pk == 0 => filler.to_owned(),
            (None, ..) => continue,
        };
        into.push(&p.to.name);
        values.push(expression);
    }
    let Place { prefix, .. } = place;
    let mut s = vec![
        "PRAGMA foreign_keys=OFF".to_owned(),
        "PRAGMA legacy_alter_table=ON".to_owned(),
        "BEGIN IMMEDIATE".to_owned(),
        format!("ALTER TABLE {prefix}{} RENAME TO {}", quote(&a.name), quote(&aside)),
        object::named(&b.sql, prefix, &b.name),
    ];
    // With nothing to take over, each row still is one.
    if into.is_empty() {
        let first = b.writable().next().map(|c| c.name.clone()).unwrap_or_default();
        s.push(format!("INSERT OR ROLLBACK INTO {prefix}{}({}) SELECT NULL FROM {prefix}{}", quote(&b.name), quote(&first), quote(&aside)));
    } else {
        s.push(format!(
            "INSERT OR ROLLBACK INTO {prefix}{}({}) SELECT {} FROM {prefix}{}",
            quote(&b.name),
            list(into.iter().copied()),
            values.join(", "),
            quote(&aside)
        ));
    }
    let counts = |t: &Table| canonical(&t.sql).contains(&(false, "autoincrement".into()));
    if counts(a) && counts(b) {
        let seen = |name: &str| format!("(SELECT seq FROM {prefix}sqlite_sequence WHERE name = {})", literal(name));
        s.push(format!("DELETE FROM {prefix}sqlite_sequence WHERE name = {} AND seq <= {}", literal(&b.name), seen(&aside)));
        s.push(format!(
            "INSERT INTO {prefix}sqlite_sequence(name, seq) SELECT {}, seq FROM {prefix}sqlite_sequence WHERE name = {} AND NOT EXISTS{}",
            literal(&b.name),
            literal(&aside),
            seen(&b.name)
        ));
    }
    if guarded {
        // Inside somebody's transaction the first PRAGMA does nothing, and the DROP would cascade: this stops it.
        s.push("CREATE TEMP TABLE dbint_guard(foreign_keys CHECK (foreign_keys = 0))".to_owned());
        s.push("INSERT OR ROLLBACK INTO temp.dbint_guard SELECT foreign_keys FROM pragma_foreign_keys".to_owned());
        s.push("DROP TABLE temp.dbint_guard".to_owned());
    }
    s.push(format!("DROP TABLE {prefix}{}", quote(&aside)));
    s.extend(after.iter().map(|o| object::named(&o.sql, prefix, &o.name)));
    s.push("COMMIT".to_owned());
    s.push("PRAGMA legacy_alter_table=OFF".to_owned());
    if place.foreign_keys {
        s.push("PRAGMA foreign_keys=ON".to_owned());
    }
    s.join(";\n") + ";"
}

/// `ALTER TABLE … ADD COLUMN` where all that differs is new columns at the end that SQLite can add without touching a row.
pub fn add_columns(place: &Place, a: &Table, b: &Table) -> Option<String> {
    let (was, is) = (lex::definitions(&a.sql), lex::definitions(&b.sql));
    let (kept, added) = is.split_at_checked(was.len())?;
    // Constraints of the table stand behind its columns: then the new columns are not at the end.
    let all_columns = is.len() == b.columns.len() && was.len() == a.columns.len();
    let tail = |sql: &str, last: &str| sql.rfind(last).and_then(|i| sql.get(i + last.len()..)).map(canonical);
    let same_rest = tail(&a.sql, was.last()?) == tail(&b.sql, is.last()?) && kept.iter().zip(&was).all(|(x, y)| canonical(x) == canonical(y));
    if !all_columns || !same_rest || a.without_rowid != b.without_rowid || a.strict != b.strict || !added.iter().all(|d| addable(d)) {
        return None;
    }
    let one = |d: &&str| format!("ALTER TABLE {} ADD COLUMN {d};", qualified(&place.schema, &a.name));
    Some(added.iter().map(one).collect::<Vec<_>>().join("\n"))
}

/// A plain column: a type, a literal as default, NOT NULL only beside such a default.
fn addable(definition: &str) -> bool {
    let tokens = lex::tokens(definition);
    let refused = ["PRIMARY", "UNIQUE", "CHECK", "REFERENCES", "GENERATED", "AS", "CURRENT_TIMESTAMP", "CURRENT_DATE", "CURRENT_TIME", "COLLATE", "CONSTRAINT"];
    let literal = |i: usize| tokens.get(i + 1).is_some_and(|t| matches!(t.kind, lex::Kind::Number | lex::Kind::Text));
    let default = tokens.iter().position(|t| t.is("DEFAULT"));
    tokens.iter().all(|t| !refused.iter().any(|r| t.is(r)))
        && default.is_none_or(literal)
        && (default.is_some() || !tokens.iter().any(|t| t.is("NOT")))
        && !definition.contains("--")
        && !definition.contains("/*")
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_plain_columns_are_added_in_place() {
        for (definition, yes) in [
            ("a", true),
            ("a TEXT DEFAULT 'x' NOT NULL", true),
            ("a INT NOT NULL", false),
            ("a DEFAULT (1+1)", false),
            ("a DEFAULT CURRENT_TIMESTAMP", false),
            ("a UNIQUE", false),
            ("a DEFAULT -1", false),
        ] {
            assert_eq!(super::addable(definition), yes, "{definition}");
        }
    }
}
