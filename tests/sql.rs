//! Runs every tests/sql/**/*.slt twice: linked in (`linked`) and through the real library (`loaded`), each file in a
//! scratch folder of its own that `$DIR` stands for. UPDATE=1 rewrites the expectations.
use dbint_tests::Way;
use fallible_iterator::FallibleIterator;
use libtest_mimic::{Arguments, Trial};
use rusqlite::{Connection, types::ValueRef};
use sqllogictest::{DB, DBOutput, DefaultColumnType};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

struct Db {
    db: Connection,
    dir: String,
}

impl DB for Db {
    type Error = rusqlite::Error;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, rusqlite::Error> {
        let sql = sql.replace("$DIR", &self.dir);
        let mut rows = vec![];
        let mut n = 0;
        let mut batch = rusqlite::Batch::new(&self.db, &sql);
        while let Some(mut stmt) = batch.next()? {
            n = stmt.column_count();
            rows.clear();
            let mut q = stmt.query([])?;
            while let Some(r) = q.next()? {
                rows.push((0..n).map(|i| Ok(self.show(r.get_ref(i)?))).collect::<rusqlite::Result<Vec<_>>>()?);
            }
        }
        Ok(if n == 0 { DBOutput::StatementComplete(0) } else { DBOutput::Rows { types: vec![DefaultColumnType::Any; n], rows } })
    }

    fn engine_name(&self) -> &str {
        "sqlite"
    }
}

impl Db {
    fn show(&self, v: ValueRef<'_>) -> String {
        match v {
            ValueRef::Null => "NULL".to_owned(),
            ValueRef::Integer(v) => v.to_string(),
            ValueRef::Real(v) => format!("{v:?}"),
            ValueRef::Text(t) if t.is_empty() => "(empty)".to_owned(),
            ValueRef::Text(t) => String::from_utf8_lossy(t).replace(&self.dir, "$DIR"),
            ValueRef::Blob(b) => format!("blob:{}", b.len()),
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

fn run(file: &Path, way: Way) -> Result<(), libtest_mimic::Failed> {
    let scratch = tempfile::tempdir()?;
    let dir = scratch.path().to_string_lossy().into_owned();
    let connect = || {
        let dir = dir.clone();
        async move {
            let db = Connection::open(Path::new(&dir).join("main.db"))?;
            way.register(&db)?;
            Ok(Db { db, dir })
        }
    };
    let mut runner = sqllogictest::Runner::new(connect);
    let done = if std::env::var_os("UPDATE").is_some() && way == Way::Linked {
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
    let mut trials = vec![];
    for way in Way::BOTH {
        for f in &found {
            let name = format!("{way:?}/{}", f.strip_prefix(&root).expect("under root").display()).to_lowercase();
            let f = f.clone();
            trials.push(Trial::test(name, move || run(&f, way)));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
