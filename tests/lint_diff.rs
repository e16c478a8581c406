//! The statements of schema_diff, run on random pairs of schemas: afterwards there is no difference, and each row is there.
//! DBINT_DIFF_PAIRS sets the number of pairs, DBINT_SEED the first seed.
use lint_kit::{Random, number};
use rusqlite::{Connection, types::Value};
use std::{collections::BTreeSet, fmt::Write, path::Path};

mod lint_kit;

const NAMES: [&str; 12] = ["a", "b b", "order", "ü", "it's", "q\"q", "Key", "x1", "group", "[z]", "n-n", "select"];

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[derive(Clone, Debug, PartialEq)]
struct Column {
    id: u64,
    name: String,
    ty: &'static str,
    not_null: bool,
    default: bool,
    unique: bool,
    check: bool,
    collate: bool,
    /// Of this column.
    generated: Option<u64>,
    references: Option<u64>,
}

#[derive(Clone, Debug)]
struct Table {
    id: u64,
    name: String,
    columns: Vec<Column>,
    autoincrement: bool,
    without_rowid: bool,
    strict: bool,
    /// (name, column ids, unique, partial)
    indexes: Vec<(String, Vec<u64>, bool, bool)>,
    triggers: Vec<(String, u64)>,
    view: Option<(String, u64, bool)>,
}

struct Maker {
    random: Random,
    next: u64,
}

impl Maker {
    fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    fn name(&mut self, prefix: &str) -> String {
        let n = self.id();
        format!("{prefix}{} {n}", NAMES[self.random.below(NAMES.len() as u64) as usize])
    }

    fn column(&mut self, tables: &[Table]) -> Column {
        let ty = ["INTEGER", "TEXT", "REAL", "BLOB", "INT"][self.random.below(5) as usize];
        let default = self.chance(30);
        let references = if self.chance(15) && !tables.is_empty() { Some(tables[self.random.below(tables.len() as u64) as usize].id) } else { None };
        let ty = if references.is_some() { "INTEGER" } else { ty };
        let id = self.id();
        Column {
            id,
            name: self.name("c"),
            ty,
            not_null: default && self.chance(40),
            default,
            unique: !default && references.is_none() && self.chance(15),
            check: self.chance(15),
            collate: ty == "TEXT" && self.chance(20),
            generated: None,
            references,
        }
    }

    fn table(&mut self, tables: &[Table]) -> Table {
        let mut columns: Vec<Column> = (0..1 + self.random.below(6)).map(|_| self.column(tables)).collect();
        if self.chance(20) {
            let of = columns[0].id;
            let mut g = self.column(&[]);
            g.collate = false;
            g.ty = columns[0].ty;
            (g.generated, g.default, g.not_null, g.unique, g.check) = (Some(of), false, false, false, false);
            columns.push(g);
        }
        let without_rowid = self.chance(15);
        let mut t = Table {
            id: self.id(),
            name: self.name("t"),
            columns,
            autoincrement: !without_rowid && self.chance(20),
            without_rowid,
            strict: self.chance(15),
            indexes: vec![],
            triggers: vec![],
            view: None,
        };
        for _ in 0..self.random.below(3) {
            let index = self.index(&t);
            t.indexes.push(index);
        }
        if self.chance(25) {
            t.triggers.push((self.name("tr"), t.columns[0].id));
        }
        if self.chance(25) {
            t.view = Some((self.name("v"), t.columns[0].id, self.chance(50)));
        }
        t
    }

    fn index(&mut self, t: &Table) -> (String, Vec<u64>, bool, bool) {
        let one = t.columns[self.random.below(t.columns.len() as u64) as usize].id;
        let plain = t.columns.iter().find(|c| c.id == one).is_some_and(|c| !c.default && c.references.is_none() && c.generated.is_none());
        (self.name("i"), vec![one], plain && self.chance(20), self.chance(20))
    }

    /// What a year does to a schema.
    fn mutate(&mut self, tables: &[Table]) -> Vec<Table> {
        let mut all = tables.to_vec();
        if self.chance(25) && all.len() > 1 {
            all.remove(0);
        }
        for t in &mut all {
            match self.random.below(8) {
                0 => continue,
                // A table renamed and changed at once is another table to anybody who sees the two schemas only.
                1 if t.view.is_none() && t.triggers.is_empty() && t.columns.iter().all(|c| c.references.is_none()) => {
                    t.name = self.name("renamed");
                    continue;
                }
                2 => t.strict = !t.strict && t.columns.iter().all(|c| c.generated.is_none()),
                3 => t.without_rowid = !t.without_rowid,
                _ => {}
            }
            t.autoincrement &= !t.without_rowid;
            for _ in 0..self.random.below(4) {
                let n = self.random.below(t.columns.len() as u64) as usize;
                match self.random.below(9) {
                    0 => t.columns[n].name = self.name("r"),
                    1 | 2 => {
                        let mut c = self.column(&[]);
                        c.unique = false;
                        c.not_null = self.chance(40);
                        t.columns.push(c);
                    }
                    3 => {
                        let mut c = self.column(&[]);
                        c.unique = false;
                        t.columns.insert(n, c);
                    }
                    4 => {
                        let gone = t.columns[n].id;
                        let used = t.columns.iter().any(|c| c.generated == Some(gone)) || t.triggers.iter().any(|x| x.1 == gone);
                        if t.columns.len() > 1 && !used && t.view.as_ref().is_none_or(|v| v.1 != gone) {
                            t.columns.remove(n);
                            t.indexes.retain(|i| !i.1.contains(&gone));
                        }
                    }
                    5 if t.columns[n].references.is_none() && t.columns[n].generated.is_none() && !t.strict => {
                        t.columns[n].ty = if t.columns[n].ty == "TEXT" { "NUMERIC" } else { "TEXT" };
                        t.columns[n].collate = false;
                    }
                    6 if t.columns[n].generated.is_none() => t.columns[n].check ^= true,
                    7 => t.columns.swap(0, n),
                    _ if t.columns[n].generated.is_none() => t.columns[n].not_null ^= true,
                    _ => {}
                }
            }
            if self.chance(30) {
                t.indexes.pop();
            }
            if self.chance(30) {
                let index = self.index(t);
                t.indexes.push(index);
            }
            if let Some(v) = t.view.as_mut().filter(|_| self.random.below(3) == 0) {
                v.2 ^= true;
            }
            if let Some(i) = t.indexes.first_mut().filter(|_| self.random.below(4) == 0) {
                i.3 ^= true;
            }
        }
        if self.chance(30) {
            let t = self.table(&all);
            all.push(t);
        }
        // Text does not go into a STRICT column of numbers.
        for t in &mut all {
            let was = tables.iter().find(|w| w.id == t.id);
            let numeric =
                t.columns.iter().any(|c| c.ty == "NUMERIC" || was.and_then(|w| w.columns.iter().find(|x| x.id == c.id)).is_some_and(|x| x.ty != c.ty));
            t.strict &= !numeric;
        }
        all
    }
}

fn create(tables: &[Table]) -> Vec<String> {
    let mut sql = vec![];
    let named = |t: &Table, id: u64| t.columns.iter().find(|c| c.id == id).map(|c| quote(&c.name)).unwrap();
    for t in tables {
        let mut columns = vec![if t.autoincrement { "id INTEGER PRIMARY KEY AUTOINCREMENT".to_owned() } else { "id INTEGER PRIMARY KEY".to_owned() }];
        for c in &t.columns {
            let mut s = format!("{} {}", quote(&c.name), c.ty);
            if let Some(of) = c.generated {
                // Both kinds, by the number.
                write!(s, " GENERATED ALWAYS AS ({}) {}", named(t, of), if c.id % 2 == 0 { "STORED" } else { "VIRTUAL" }).unwrap();
            }
            if c.not_null {
                s += " NOT NULL";
            }
            if c.default {
                s += match c.ty {
                    "TEXT" => " DEFAULT 'd''d'",
                    "BLOB" => " DEFAULT x'00ff'",
                    _ => " DEFAULT 7",
                };
            }
            if c.unique {
                s += " UNIQUE";
            }
            if c.check {
                write!(s, " CHECK ({} IS NOT 'a,)b')", quote(&c.name)).unwrap();
            }
            if c.collate {
                s += " COLLATE NOCASE";
            }
            if let Some(parent) = c.references.and_then(|p| tables.iter().find(|t| t.id == p)) {
                write!(s, " REFERENCES {}(id) ON DELETE CASCADE", quote(&parent.name)).unwrap();
            }
            columns.push(s);
        }
        let mut options = vec![];
        if t.without_rowid {
            options.push("WITHOUT ROWID");
        }
        if t.strict {
            options.push("STRICT");
        }
        sql.push(format!("CREATE TABLE {}({}) {}", quote(&t.name), columns.join(", "), options.join(", ")));
        for (name, on, unique, partial) in &t.indexes {
            let on: Vec<String> = on.iter().map(|id| named(t, *id)).collect();
            let partial = if *partial { " WHERE id > 3" } else { "" };
            sql.push(format!("CREATE {} INDEX {} ON {}({}){partial}", if *unique { "UNIQUE" } else { "" }, quote(name), quote(&t.name), on.join(", ")));
        }
        for (name, of) in &t.triggers {
            let (name, table) = (quote(name), quote(&t.name));
            sql.push(format!("CREATE TRIGGER {name} AFTER DELETE ON {table} BEGIN DELETE FROM {table} WHERE {} = -1; END", named(t, *of)));
        }
        if let Some((name, of, all)) = &t.view {
            sql.push(format!("CREATE VIEW {} AS SELECT {} FROM {}", quote(name), if *all { "*".to_owned() } else { named(t, *of) }, quote(&t.name)));
            sql.push(format!("CREATE TRIGGER {} INSTEAD OF DELETE ON {} BEGIN SELECT 1; END", quote(&format!("{name} x")), quote(name)));
        }
    }
    sql
}

/// Values that differ from row to row, so that no UNIQUE refuses them; NULL where the other side allows it.
fn fill(db: &Connection, t: &Table, other: Option<&Table>, random: &mut Random) {
    let rows = random.below(20);
    let mut columns = vec!["id".to_owned()];
    columns.extend(t.columns.iter().filter(|c| c.generated.is_none()).map(|c| quote(&c.name)));
    let marks = vec!["?"; columns.len()].join(", ");
    for r in 1..=rows as i64 {
        let mut values = vec![Value::Integer(r)];
        for (n, c) in t.columns.iter().enumerate().filter(|(_, c)| c.generated.is_none()) {
            let must = |c: &Column| c.not_null;
            let there = other.and_then(|o| o.columns.iter().find(|x| x.id == c.id));
            let by_name = other.and_then(|o| o.columns.iter().find(|x| x.name == c.name));
            let at_place = other.and_then(|o| o.columns.get(n));
            let allowed = !must(c) && ![there, by_name, at_place].into_iter().flatten().any(must);
            values.push(match c.ty {
                _ if c.references.is_some() => Value::Integer(r),
                _ if allowed && random.below(5) == 0 => Value::Null,
                "TEXT" => Value::Text(format!("text {r} {}", c.id)),
                "BLOB" => Value::Blob(format!("blob {r} {}", c.id).into_bytes()),
                "REAL" => Value::Real(r as f64 + 0.25),
                _ => Value::Integer(r * 1000 + c.id as i64),
            });
        }
        let sql = format!("INSERT INTO {}({}) VALUES({marks})", quote(&t.name), columns.join(", "));
        db.execute(&sql, rusqlite::params_from_iter(values)).unwrap_or_else(|e| panic!("{e}: {sql}"));
    }
}

fn values(db: &Connection, table: &str, column: &str) -> Vec<Value> {
    let sql = format!("SELECT {} FROM {} ORDER BY id", quote(column), quote(table));
    db.prepare(&sql).unwrap_or_else(|e| panic!("{e}: {sql}")).query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect()
}

fn differences(host: &Connection, a: &str, b: &Path) -> Vec<(String, Option<String>)> {
    let mut q = host.prepare("SELECT object || ' ' || name || ' ' || change, sql FROM schema_diff(?1, ?2)").unwrap();
    q.query_map([a, b.to_str().unwrap()], |r| Ok((r.get(0)?, r.get(1)?))).unwrap().map(Result::unwrap).collect()
}

/// One pair; the number of differences that were closed.
fn pair(dir: &Path, seed: u64) -> usize {
    let mut make = Maker { random: Random::new(seed), next: 0 };
    let mut a = vec![];
    for _ in 0..1 + make.random.below(4) {
        let t = make.table(&a);
        a.push(t);
    }
    let b = make.mutate(&a);
    let (file_a, file_b) = (dir.join(format!("a{seed}.db")), dir.join(format!("b{seed}.db")));
    let (db_a, db_b) = (Connection::open(&file_a).unwrap(), Connection::open(&file_b).unwrap());
    for db in [&db_a, &db_b] {
        db.execute_batch("PRAGMA foreign_keys=OFF; PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF").unwrap();
    }
    for sql in create(&a) {
        db_a.execute_batch(&sql).unwrap_or_else(|e| panic!("seed {seed}: {e}: {sql}"));
    }
    for sql in create(&b) {
        db_b.execute_batch(&sql).unwrap_or_else(|e| panic!("seed {seed}: {e}: {sql}"));
    }
    for t in &a {
        fill(&db_a, t, b.iter().find(|o| o.id == t.id), &mut make.random);
    }
    let mut before = vec![];
    for t in &a {
        let Some(o) = b.iter().find(|o| o.id == t.id) else { continue };
        before.push((o, "id".to_owned(), values(&db_a, &t.name, "id")));
        for (n, c) in t.columns.iter().enumerate().filter(|(_, c)| c.generated.is_none()) {
            // A column that was renamed where it stood, or kept its name; filled-in NULLs are another matter.
            let same_place = o.columns.get(n).is_some_and(|x| x.id == c.id && x.pk_like(c));
            let Some(x) = o.columns.iter().find(|x| x.id == c.id && x.ty == c.ty && x.generated.is_none()) else { continue };
            if x.name == c.name || (same_place && o.name == t.name) {
                before.push((o, x.name.clone(), values(&db_a, &t.name, &c.name)));
            }
        }
    }
    drop(db_a);
    drop(db_b);
    // As main, and as an attached database.
    let attached = seed.is_multiple_of(3);
    let host = if attached { Connection::open_in_memory().unwrap() } else { Connection::open(&file_a).unwrap() };
    dbint::register(&host).unwrap();
    let schema = if attached { "other db" } else { "main" };
    if attached {
        host.execute("ATTACH ?1 AS \"other db\"", [file_a.to_str().unwrap()]).unwrap();
    }
    host.execute_batch(if seed.is_multiple_of(2) { "PRAGMA foreign_keys=ON" } else { "PRAGMA foreign_keys=OFF" }).unwrap();
    let found = differences(&host, schema, &file_b);
    let script: Vec<String> = found.iter().filter_map(|(_, sql)| sql.clone()).collect();
    for sql in &script {
        host.execute_batch(sql).unwrap_or_else(|e| panic!("seed {seed}: {e}:\n{sql}\nof {found:#?}"));
    }
    let left = differences(&host, schema, &file_b);
    assert!(left.is_empty(), "seed {seed}: left {left:#?}\nafter\n{}", script.join("\n"));
    let on: bool = host.query_row("PRAGMA foreign_keys", [], |r| r.get(0)).unwrap();
    assert_eq!(on, seed.is_multiple_of(2), "seed {seed}: foreign keys are as before");
    drop(host);
    let db = Connection::open(&file_a).unwrap();
    for (t, column, was) in before {
        assert_eq!(values(&db, &t.name, &column), was, "seed {seed}: {}.{column}\nafter\n{}", t.name, script.join("\n"));
    }
    let verdict: String = db.query_row("PRAGMA integrity_check(1)", [], |r| r.get(0)).unwrap();
    assert_eq!(verdict, "ok", "seed {seed}");
    found.len()
}

impl Column {
    /// Nothing but its name may differ for a renamed column to be known again.
    fn pk_like(&self, other: &Column) -> bool {
        self.ty == other.ty
    }
}

#[test]
fn closing_statements_leave_no_difference_and_lose_no_row() {
    let pairs = number("DBINT_DIFF_PAIRS", 60);
    let seed = number("DBINT_SEED", 1);
    let dir = tempfile::tempdir().unwrap();
    let closed: usize = (seed..seed + pairs).map(|s| pair(dir.path(), s)).sum();
    println!("{pairs} pairs of schemas from seed {seed}: {closed} differences closed, none left, no row lost");
    assert!(closed as u64 > pairs, "the pairs hardly differ");
}

/// A constraint that the rows break: an error, and everything as it was, also for a shell that carries on.
#[test]
fn what_the_rows_refuse_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a.db"), dir.path().join("b.db"));
    let db = Connection::open(&a).unwrap();
    db.execute_batch(
        "CREATE TABLE p(id INTEGER PRIMARY KEY, x); CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p(id) ON DELETE CASCADE);
         CREATE INDEX i ON p(x); INSERT INTO p VALUES(1, 'same'), (2, 'same'), (3, NULL); INSERT INTO c VALUES(1, 1), (2, 2)",
    )
    .unwrap();
    let other = "CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p(id) ON DELETE CASCADE); CREATE INDEX i ON p(x);";
    Connection::open(&b).unwrap().execute_batch(&format!("CREATE TABLE p(id INTEGER PRIMARY KEY, x UNIQUE); {other}")).unwrap();
    dbint::register(&db).unwrap();
    let state = |db: &Connection| -> String {
        db.query_row(
            "SELECT (SELECT group_concat(id || coalesce(x, '-')) FROM p) || (SELECT count(*) FROM c) || (SELECT group_concat(sql) FROM sqlite_schema)",
            [],
            |r| r.get(0),
        )
        .unwrap()
    };
    let before = state(&db);
    for within in [false, true] {
        db.execute_batch("PRAGMA foreign_keys=ON").unwrap();
        let script: Vec<String> = differences(&db, "main", &b).into_iter().filter_map(|(_, sql)| sql).collect();
        if within {
            db.execute_batch("BEGIN").unwrap();
        }
        let mut failures = BTreeSet::new();
        for statement in script.join("\n").split(";\n") {
            if let Err(e) = db.execute_batch(statement) {
                failures.insert(e.to_string());
            }
        }
        if !db.is_autocommit() {
            db.execute_batch("ROLLBACK").unwrap();
        }
        assert!(failures.iter().any(|f| f.contains("UNIQUE")), "{failures:?}");
        assert_eq!(state(&db), before, "within a transaction: {within}");
    }
}
