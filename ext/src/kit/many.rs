//! Inserts rows in groups: one statement for many rows takes half the time of a statement for each.
use super::{Field, Stmt, Values};
use crate::error::Result;
use rusqlite::Connection;

/// Rows of one statement.
const GROUP: usize = 32;

/// Bytes that wait at most, but for the row that is one too many.
const MOST: usize = 1 << 18;

/// Rows wait here, in their order, until there is a group of them, or [`Many::finish`]; dropped before, the last ones are lost.
pub struct Many<'c, const WIDTH: usize> {
    one: Stmt<'c>,
    group: Stmt<'c>,
    waiting: Values,
}

impl<'c, const WIDTH: usize> Many<'c, WIDTH> {
    /// `table` is a quoted name; rows have all of its columns.
    pub fn into(db: &'c Connection, table: &str) -> Result<Many<'c, WIDTH>> {
        let row = format!("({})", ["?"; WIDTH].join(", "));
        let insert = |rows: usize| Stmt::prepare(db, &format!("INSERT INTO {table} VALUES{}", vec![row.as_str(); rows].join(", ")));
        Ok(Many { one: insert(1)?, group: insert(GROUP)?, waiting: Values::default() })
    }

    pub fn add(&mut self, row: [Field<'_>; WIDTH]) -> Result<()> {
        row.into_iter().for_each(|v| self.waiting.push(v));
        if self.waiting.count() == GROUP * WIDTH || self.waiting.bytes() > MOST { self.finish() } else { Ok(()) }
    }

    /// Writes the rows that wait.
    pub fn finish(&mut self) -> Result<()> {
        let Many { one, group, waiting } = self;
        let all = |from: usize, n: usize| (1..).zip((from..from + n).filter_map(|i| waiting.get(i)));
        if waiting.count() == GROUP * WIDTH {
            group.run_with(all(0, waiting.count()))?;
        } else {
            (0..waiting.count()).step_by(WIDTH).try_for_each(|from| one.run_with(all(from, WIDTH)))?;
        }
        waiting.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_arrives_once_and_in_order() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE t(n INTEGER PRIMARY KEY, a, b)").unwrap();
        let large = vec![7; MOST];
        let mut all = 0;
        for rows in [0, 1, 31, 32, 33, 64, 100] {
            let mut many = Many::into(&db, "t").unwrap();
            for i in 0..rows {
                let blob: &[u8] = if i % 40 == 39 { &large } else { b"x" };
                let b = [Field::Null, Field::Real(-0.0), Field::Text(b"\xff\0"), Field::Blob(b"")][i % 4];
                many.add([Field::Int((all + i) as i64), Field::Blob(blob), b]).unwrap();
            }
            many.finish().unwrap();
            many.finish().unwrap();
            all += rows;
            let seen = db.query_row("SELECT count(*), ifnull(sum(n), 0), ifnull(max(n), -1) FROM t", [], |r| Ok([r.get::<_, i64>(0)?, r.get(1)?, r.get(2)?]));
            let all = all as i64;
            assert_eq!(seen.unwrap(), [all, all * (all - 1) / 2, all - 1]);
        }
        let kinds: String = db.query_row("SELECT group_concat(DISTINCT typeof(b)) FROM t", [], |r| r.get(0)).unwrap();
        assert_eq!(kinds, "null,real,text,blob");
        // A row that cannot be written is told, at the latest at the end.
        let mut many = Many::into(&db, "t").unwrap();
        let told = (0..2).try_for_each(|_| many.add([Field::Int(5), Field::Null, Field::Null])).and_then(|()| many.finish());
        assert!(told.is_err());
    }
}
