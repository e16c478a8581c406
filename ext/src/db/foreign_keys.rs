//! Foreign keys as declared, and whether their parents can carry them.
use super::{
    ident::{quote, same},
    schema::{self, Table},
};
use crate::error::Result;
use rusqlite::Connection;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    pub id: i64,
    pub parent: String,
    pub columns: Vec<String>,
    /// The parent's columns; empty where the declaration leaves them out and means its primary key.
    pub parent_columns: Vec<String>,
}

impl ForeignKey {
    /// `orders(customer) → customers(id)`
    pub fn shown(&self, table: &str) -> String {
        let to = if self.parent_columns.is_empty() { String::new() } else { format!("({})", self.parent_columns.join(", ")) };
        format!("{table}({}) → {}{to}", self.columns.join(", "), self.parent)
    }

    /// The columns of the parent that are meant.
    pub fn targets(&self, parent: &Table) -> Vec<String> {
        if self.parent_columns.is_empty() { parent.primary_key().iter().map(|c| c.name.clone()).collect() } else { self.parent_columns.clone() }
    }

    /// Selects the rows of `child` that have no parent; `key` is the expression shown for a row.
    pub fn orphans(&self, child: &Table, parent: &Table, key: &str) -> String {
        let pairs: Vec<_> = self.columns.iter().zip(self.targets(parent)).collect();
        let join = pairs.iter().map(|(c, p)| format!("p.{} = c.{}", quote(p), quote(c))).collect::<Vec<_>>().join(" AND ");
        let given = self.columns.iter().map(|c| format!("c.{} IS NOT NULL", quote(c))).collect::<Vec<_>>().join(" AND ");
        let (from, to) = (super::ident::qualified(&child.schema, &child.name), super::ident::qualified(&parent.schema, &parent.name));
        format!("SELECT {key} FROM {from} AS c WHERE {given} AND NOT EXISTS(SELECT 1 FROM {to} AS p WHERE {join})")
    }

    /// What is wrong with the declaration; None where SQLite can enforce it.
    pub fn broken(&self, db: &Connection, parent: Option<&Table>) -> Result<Option<String>> {
        let Some(parent) = parent else { return Ok(Some(format!("there is no table \"{}\"", self.parent))) };
        let targets = self.targets(parent);
        if targets.len() != self.columns.len() {
            return Ok(Some(format!("it has {} columns, the key of \"{}\" has {}", self.columns.len(), parent.name, targets.len())));
        }
        if let Some(missing) = targets.iter().find(|t| parent.column(t).is_none()) {
            return Ok(Some(format!("\"{}\" has no column \"{missing}\"", parent.name)));
        }
        let is = |columns: &[String]| columns.len() == targets.len() && columns.iter().all(|c| targets.iter().any(|t| same(t, c)));
        let key: Vec<String> = parent.primary_key().iter().map(|c| c.name.clone()).collect();
        let unique = schema::indexes(db, &parent.schema, &parent.name)?
            .iter()
            .any(|i| i.unique && !i.partial && i.columns.iter().cloned().collect::<Option<Vec<_>>>().is_some_and(|c| is(&c)));
        Ok((!unique && !is(&key)).then(|| format!("\"{}\"({}) is neither a primary key nor unique", parent.name, targets.join(", "))))
    }
}

/// All foreign keys of a table, in the order of their declaration.
pub fn of(db: &Connection, schema: &str, table: &str) -> Result<Vec<ForeignKey>> {
    let mut q = schema::pragma(db, schema, "foreign_key_list", table)?;
    let rows = q.query_map([], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, String>(2)?, r.get::<_, String>(3)?, r.get::<_, Option<String>>(4)?)))?;
    let mut rows: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
    // The last one declared has the id 0.
    rows.sort_by_key(|r| std::cmp::Reverse(r.0));
    let mut found: Vec<ForeignKey> = vec![];
    for (id, parent, from, to) in rows {
        if found.last().is_none_or(|f| f.id != id) {
            found.push(ForeignKey { id, parent, columns: vec![], parent_columns: vec![] });
        }
        if let Some(f) = found.last_mut() {
            f.columns.push(from);
            f.parent_columns.extend(to);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_judges() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(
            "PRAGMA foreign_keys=OFF; CREATE TABLE p(id INTEGER PRIMARY KEY, a, b, UNIQUE(a, b));
             CREATE TABLE c(x REFERENCES p, y REFERENCES p(a), z REFERENCES nowhere, v, w, FOREIGN KEY(w, v) REFERENCES p(b, a));
             INSERT INTO p VALUES(1, 1, 2); INSERT INTO c(x) VALUES(1), (2), (NULL)",
        )
        .unwrap();
        let (p, c) = (schema::table(&db, "main", "p").unwrap(), schema::table(&db, "main", "c").unwrap());
        let all = of(&db, "main", "c").unwrap();
        let verdicts: Vec<_> = all.iter().map(|f| f.broken(&db, (f.parent == "p").then_some(&p)).unwrap()).collect();
        assert_eq!(verdicts[0], None);
        assert_eq!(verdicts[1].as_deref(), Some("\"p\"(a) is neither a primary key nor unique"));
        assert_eq!(verdicts[2].as_deref(), Some("there is no table \"nowhere\""));
        assert_eq!(verdicts[3], None);
        assert_eq!(all[3].shown("c"), "c(w, v) → p(b, a)");
        assert_eq!(db.query_row(&all[0].orphans(&c, &p, "c.rowid"), [], |r| r.get::<_, i64>(0)).unwrap(), 2);
    }
}
