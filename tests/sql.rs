//! Runs every tests/sql/**/*.slt in four hosts: linked in (`linked`), through the real library (`loaded`), and in the
//! `oldest` and the `newest` SQLite there are; each file in a scratch folder of its own that `$DIR` stands for.
//! UPDATE=1 rewrites the expectations.
use dbint_tests::{Driver, Way, library, quick};
use fallible_iterator::FallibleIterator;
use libtest_mimic::{Arguments, Trial};
use rusqlite::{
    Connection,
    types::{Value, ValueRef},
};
use sqllogictest::{DB, DBOutput, DefaultColumnType};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Host {
    Linked,
    Loaded,
    Oldest,
    Newest,
}

impl Host {
    fn open(self, file: &Path) -> Result<Box<dyn Client>, String> {
        let here = |way: Way| {
            let db = Connection::open(file).map_err(|e| e.to_string())?;
            way.register(&db).map_err(|e| e.to_string())?;
            Ok(Box::new(db) as Box<dyn Client>)
        };
        match self {
            Host::Linked => here(Way::Linked),
            Host::Loaded => here(Way::Loaded),
            // The expectations read JSON; as it comes, this version has no JSON functions (tests/hosts.rs loads it so).
            Host::Oldest => Ok(Box::new(Driver::open("sqlite-oldest-json", file, library())?)),
            Host::Newest => Ok(Box::new(Driver::open("sqlite-newest", file, library())?)),
        }
    }
}

/// A connection of any kind: some statements in, the columns and rows of the last one out.
trait Client: Send {
    fn run(&mut self, sql: &str) -> Result<(usize, Vec<Vec<Value>>), String>;
}

impl Client for Connection {
    fn run(&mut self, sql: &str) -> Result<(usize, Vec<Vec<Value>>), String> {
        let (mut n, mut rows) = (0, vec![]);
        let mut get = || -> rusqlite::Result<()> {
            let mut batch = rusqlite::Batch::new(self, sql);
            while let Some(mut stmt) = batch.next()? {
                n = stmt.column_count();
                rows.clear();
                let mut q = stmt.query([])?;
                while let Some(r) = q.next()? {
                    rows.push((0..n).map(|i| Ok(lossy(r.get_ref(i)?))).collect::<rusqlite::Result<Vec<_>>>()?);
                }
            }
            Ok(())
        };
        get().map_err(|e| e.to_string())?;
        Ok((n, rows))
    }
}

fn lossy(v: ValueRef<'_>) -> Value {
    match v {
        ValueRef::Text(t) => Value::Text(String::from_utf8_lossy(t).into_owned()),
        v => Value::try_from(v).unwrap_or(Value::Null),
    }
}

impl Client for Driver {
    fn run(&mut self, sql: &str) -> Result<(usize, Vec<Vec<Value>>), String> {
        Driver::run(self, sql)
    }
}

struct Db {
    client: Box<dyn Client>,
    dir: String,
}

#[derive(Debug)]
struct Failed(String);
impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for Failed {}

impl DB for Db {
    type Error = Failed;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failed> {
        let (n, rows) = self.client.run(&sql.replace("$DIR", &self.dir)).map_err(|e| Failed(e.replace(&self.dir, "$DIR")))?;
        let rows = rows.into_iter().map(|r| r.into_iter().map(|v| self.show(v)).collect()).collect();
        Ok(if n == 0 { DBOutput::StatementComplete(0) } else { DBOutput::Rows { types: vec![DefaultColumnType::Any; n], rows } })
    }

    fn engine_name(&self) -> &str {
        "sqlite"
    }
}

impl Db {
    fn show(&self, v: Value) -> String {
        match v {
            Value::Null => "NULL".to_owned(),
            Value::Integer(v) => v.to_string(),
            Value::Real(v) => format!("{v:?}"),
            Value::Text(t) if t.is_empty() => "(empty)".to_owned(),
            Value::Text(t) => t.replace(&self.dir, "$DIR"),
            Value::Blob(b) => format!("blob:{}", b.len()),
        }
    }
}

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for e in fs::read_dir(dir).expect("tests/sql exists").flatten() {
        let p = e.path();
        if p.is_dir() {
            files(&p, out)
        } else if p.extension().is_some_and(|x| x == "slt") {
            out.push(p)
        }
    }
}

fn run(file: &Path, host: Host) -> Result<(), libtest_mimic::Failed> {
    let scratch = tempfile::tempdir()?;
    let dir = scratch.path().to_string_lossy().into_owned();
    let connect = || {
        let dir = dir.clone();
        async move { Ok(Db { client: host.open(&Path::new(&dir).join("main.db")).map_err(Failed)?, dir }) }
    };
    let mut runner = sqllogictest::Runner::new(connect);
    // `skipif oldest` before a record leaves it out there.
    runner.add_label(&format!("{host:?}").to_lowercase());
    let done = if std::env::var_os("UPDATE").is_some() && host == Host::Linked {
        let update =
            runner.update_test_file(file, " ", sqllogictest::default_validator, sqllogictest::default_normalizer, sqllogictest::default_column_validator);
        pollster::block_on(update).map_err(|e| e.to_string())
    } else {
        runner.run_file(file).map_err(|e| e.to_string())
    };
    Ok(done?)
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let mut found = vec![];
    files(&root, &mut found);
    found.sort();
    let hosts: &[Host] = if quick() { &[Host::Linked, Host::Loaded] } else { &[Host::Linked, Host::Loaded, Host::Oldest, Host::Newest] };
    let mut trials = vec![];
    for &host in hosts {
        for f in &found {
            let name = format!("{host:?}/{}", f.strip_prefix(&root).expect("under root").display()).to_lowercase();
            let f = f.clone();
            trials.push(Trial::test(name, move || run(&f, host)));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
