//! salvage_database beside the `.recover` of the sqlite3 shell, on the same damaged files: it saves at least as many rows, and
//! its tables hold no row that was never in them. DBINT_SALVAGE_FILES sets the number of files, DBINT_SEED the first seed.
use dbint_tests::root;
use lint_kit::{Random, number};
use rusqlite::{Connection, types::ValueRef};
use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

mod lint_kit;

const TABLES: [&str; 4] = ["people", "notes", "pairs", "numbers"];
const DAMAGE: [&str; 9] =
    ["truncated", "page of zeros", "page of noise", "pages swapped", "page header", "cell pointer", "child pointer", "file header", "schema page"];

/// A sound database and, for each table, its rows in one spelling.
fn sound(file: &Path, random: &mut Random) -> BTreeMap<&'static str, HashSet<String>> {
    let db = Connection::open(file).unwrap();
    let page = [512, 1024, 4096][random.below(3) as usize];
    let rows = 200 + random.below(600);
    db.execute_batch(&format!(
        "PRAGMA page_size={page}; PRAGMA synchronous=OFF;
         CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT NOT NULL, age INTEGER, height REAL);
         CREATE TABLE notes(id INTEGER PRIMARY KEY AUTOINCREMENT, person INTEGER REFERENCES people, body TEXT, tag BLOB);
         CREATE TABLE pairs(k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID;
         CREATE TABLE numbers(id INTEGER PRIMARY KEY, n, m NUMERIC);
         CREATE INDEX people_name ON people(name); CREATE INDEX notes_person ON notes(person);
         CREATE VIEW v AS SELECT name FROM people; CREATE TRIGGER tr AFTER DELETE ON people BEGIN SELECT 1; END;
         BEGIN"
    ))
    .unwrap();
    for i in 1..=rows as i64 {
        let word = |n: u64| "abcdefghij klmnop".chars().cycle().skip(i as usize % 16).take(n as usize).collect::<String>();
        db.execute("INSERT INTO people VALUES(?, ?, ?, ?)", (i, format!("{} {i}", word(12)), i % 90, i as f64 + 0.5)).unwrap();
        let long = if random.below(8) == 0 { random.below(9000) } else { random.below(80) };
        db.execute("INSERT INTO notes VALUES(?, ?, ?, ?)", (i * 3, i, format!("{i} {}", word(long)), vec![i as u8; 5])).unwrap();
        db.execute("INSERT INTO pairs VALUES(?, ?)", (format!("key {i:05}"), word(30))).unwrap();
        db.execute("INSERT INTO numbers VALUES(?, ?, ?)", (i * 7, i * i, i as f64 / 8.0)).unwrap();
    }
    db.execute_batch("COMMIT; CREATE TABLE gone AS SELECT * FROM people; DROP TABLE gone").unwrap();
    TABLES.iter().map(|t| (*t, rows_of(&db, t).into_iter().collect())).collect()
}

fn spelled(v: ValueRef<'_>) -> String {
    match v {
        ValueRef::Null => "NULL".into(),
        ValueRef::Integer(i) => i.to_string(),
        ValueRef::Real(r) if r.fract() == 0.0 => (r as i64).to_string(),
        ValueRef::Real(r) => format!("{r:?}"),
        ValueRef::Text(t) => format!("'{}'", String::from_utf8_lossy(t)),
        ValueRef::Blob(b) => format!("x'{b:?}'"),
    }
}

fn row_text(row: &rusqlite::Row<'_>, from: usize) -> String {
    let n = row.as_ref().column_count();
    let mut all: Vec<String> = (from..n).map(|i| spelled(row.get_ref(i).unwrap())).collect();
    while all.last().is_some_and(|v| v == "NULL") {
        all.pop();
    }
    all.join("|")
}

fn rows_of(db: &Connection, table: &str) -> Vec<String> {
    let Ok(mut q) = db.prepare(&format!("SELECT * FROM {table}")) else { return vec![] };
    let mut rows = q.query([]).unwrap();
    let mut all = vec![];
    while let Ok(Some(r)) = rows.next() {
        all.push(row_text(r, 0));
    }
    all
}

/// Rows outside their table: the id, then what follows it in the record (an `id` itself is stored as NULL).
fn found_rows(db: &Connection, table: &str, id: &str, first: usize) -> Vec<String> {
    let Ok(mut q) = db.prepare(&format!("SELECT {id}, * FROM {table}")) else { return vec![] };
    let mut rows = q.query([]).unwrap();
    let mut all = vec![];
    while let Ok(Some(r)) = rows.next() {
        all.push(match r.get_ref(0).unwrap() {
            ValueRef::Integer(id) => format!("{id}|{}", row_text(r, first + 2)),
            _ => row_text(r, first + 1),
        });
    }
    all
}

fn harm(bytes: &mut Vec<u8>, kind: usize, random: &mut Random) {
    let page = match u16::from_be_bytes([bytes[16], bytes[17]]) {
        1 => 65536,
        n => usize::from(n),
    };
    let pages = bytes.len() / page;
    let some = |random: &mut Random| 1 + random.below(pages as u64 - 1) as usize;
    let mut swapped = HashSet::new();
    for _ in 0..1 + random.below(3) {
        let n = some(random);
        let at = n * page;
        let noise = |random: &mut Random, into: &mut [u8]| into.iter_mut().for_each(|b| *b = random.below(256) as u8);
        if at + page > bytes.len() {
            continue;
        }
        // Elsewhere such bytes are text of a row, and no reader can know that they were others.
        if (4..7).contains(&kind) && !matches!(bytes[at], 2 | 5 | 10 | 13) {
            continue;
        }
        match kind {
            0 => bytes.truncate(at + if random.below(2) == 0 { 0 } else { page / 3 }),
            1 => bytes[at..at + page].fill(0),
            2 => noise(random, &mut bytes[at..at + page]),
            3 => {
                let other = some(random) * page;
                // Two last pages of overflow chains in each other's place look right to every reader.
                let tree = [at, other].iter().any(|i| bytes.get(*i).is_some_and(|b| matches!(b, 2 | 5 | 10 | 13)));
                if other + page <= bytes.len() && tree && swapped.insert(at) && swapped.insert(other) {
                    let (a, b) = (bytes[at..at + page].to_vec(), bytes[other..other + page].to_vec());
                    bytes[at..at + page].copy_from_slice(&b);
                    bytes[other..other + page].copy_from_slice(&a);
                }
            }
            4 => {
                let i = at + random.below(5) as usize;
                bytes[i] = random.below(256) as u8;
            }
            5 => {
                let cell = at + 8 + 2 * random.below(6) as usize;
                noise(random, &mut bytes[cell..cell + 2]);
            }
            6 => noise(random, &mut bytes[at + 8..at + 12]),
            7 => noise(random, &mut bytes[0..100]),
            _ => noise(random, &mut bytes[100..page.min(400)]),
        }
    }
}

/// A folder with a libsqlite3 that has sqlite_dbpage, for the stock shell: its `.recover` reads pages by that, and Debian's
/// library comes without it. The shell asks the library for its source id, and refuses another than its own.
fn library_with_pages() -> PathBuf {
    let dir = root().join("target/clients/recover");
    let lib = dir.join("libsqlite3.so.0");
    if !lib.exists() {
        fs::create_dir_all(&dir).unwrap();
        let run = |c: &mut Command| c.output().unwrap_or_else(|e| panic!("{c:?}: {e}"));
        let meta = run(Command::new(env!("CARGO")).args(["metadata", "--format-version", "1", "--locked"]).current_dir(root()));
        let meta: serde_json::Value = serde_json::from_slice(&meta.stdout).unwrap();
        let manifest = meta["packages"].as_array().unwrap().iter().find(|p| p["name"] == "libsqlite3-sys").and_then(|p| p["manifest_path"].as_str()).unwrap();
        let source = Path::new(manifest).with_file_name("sqlite3");
        let version = String::from_utf8(run(Command::new("sqlite3").arg("--version")).stdout).unwrap();
        let id = version.split_once(' ').expect("version and source id").1.trim();
        fs::write(dir.join("id.c"), format!("const char *sqlite3_sourceid(void) {{ return \"{id}\"; }}\n")).unwrap();
        let features = ["DBPAGE_VTAB", "SESSION", "PREUPDATE_HOOK", "COLUMN_METADATA", "UNLOCK_NOTIFY", "STMTVTAB"].map(|f| format!("-DSQLITE_ENABLE_{f}"));
        let compile = |extra: &[&str], file: &Path, object: &str| {
            let mut c = Command::new("cc");
            c.args(["-O1", "-fPIC", "-c"]).args(&features).args(extra).arg(file).arg("-o").arg(dir.join(object));
            assert!(run(&mut c).status.success(), "{c:?}");
        };
        compile(&["-Dsqlite3_sourceid=sqlite3_own_sourceid"], &source.join("sqlite3.c"), "sqlite3.o");
        compile(&[], &dir.join("id.c"), "id.o");
        let mut link = Command::new("cc");
        link.arg("-shared").arg("-o").arg(&lib).args([dir.join("sqlite3.o"), dir.join("id.o")]).args(["-lm", "-lpthread", "-ldl"]);
        assert!(run(&mut link).status.success(), "{link:?}");
    }
    dir
}

/// What the stock shell recovers, as a new database.
fn recover(library: &Path, from: &Path, to: &Path) {
    let mut reader = Command::new("sqlite3")
        .env("LD_LIBRARY_PATH", library)
        .arg(from)
        .arg(".recover")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("sqlite3 is installed");
    let sql = reader.stdout.take().unwrap();
    Command::new("sqlite3").arg(to).stdin(sql).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    reader.wait().unwrap();
}

/// True rows in a result, and rows of its tables that were never in them.
fn judge(db: &Connection, truth: &BTreeMap<&'static str, HashSet<String>>, found: Vec<String>) -> (usize, Vec<String>) {
    let mut saved: HashSet<(&str, String)> = HashSet::new();
    let mut never = vec![];
    for (table, rows) in truth {
        for row in rows_of(db, table) {
            if rows.contains(&row) {
                saved.insert((table, row));
            } else {
                never.push(format!("{table}: {}", row.chars().take(100).collect::<String>()));
            }
        }
    }
    for row in found {
        saved.extend(truth.iter().filter(|(_, rows)| rows.contains(&row)).map(|(t, _)| (*t, row.clone())));
    }
    (saved.len(), never)
}

#[test]
fn saves_at_least_what_recover_does_and_never_a_false_row() {
    let (files, seed) = (number("DBINT_SALVAGE_FILES", 27), number("DBINT_SEED", 1));
    let dir = tempfile::tempdir().unwrap();
    let library = library_with_pages();
    let mut sums: BTreeMap<&str, [usize; 6]> = BTreeMap::new();
    let mut wrong = vec![];
    for n in seed..seed + files {
        let mut random = Random::new(n);
        let file = |name: &str| dir.path().join(format!("{name}{n}.db"));
        let (bad, ours, theirs) = (file("bad"), file("ours"), file("theirs"));
        let truth = sound(&bad, &mut random);
        if n == seed {
            recover(&library, &bad, &theirs);
            let all = judge(&Connection::open(&theirs).unwrap(), &truth, vec![]).0;
            assert!(all == truth.values().map(HashSet::len).sum::<usize>(), "the stock shell recovers {all} rows of a sound file");
            fs::remove_file(&theirs).unwrap();
        }
        let kind = (n % DAMAGE.len() as u64) as usize;
        let mut bytes = fs::read(&bad).unwrap();
        harm(&mut bytes, kind, &mut random);
        fs::write(&bad, &bytes).unwrap();
        let host = Connection::open_in_memory().unwrap();
        dbint::register(&host).unwrap();
        let account: String = match host.query_row("SELECT salvage_database(?1, ?2)", [bad.to_str(), ours.to_str()], |r| r.get(0)) {
            Ok(account) => account,
            Err(e) => {
                wrong.push(format!("file {n}, {}: {e}", DAMAGE[kind]));
                continue;
            }
        };
        assert_eq!(fs::read(&bad).unwrap(), bytes, "file {n}: the damaged file is left as it is");
        let account: serde_json::Value = serde_json::from_str(&account).unwrap();
        assert_eq!(account["quick_check"], "ok", "file {n}: {account}");
        recover(&library, &bad, &theirs);
        let (a, b) = (Connection::open(&ours).unwrap(), Connection::open(&theirs).unwrap());
        let (mine, false_mine) = judge(&a, &truth, found_rows(&a, "lost_and_found", "row_id", 4));
        let (other, false_other) = judge(&b, &truth, found_rows(&b, "lost_and_found", "id", 4));
        let total: usize = truth.values().map(HashSet::len).sum();
        if !false_mine.is_empty() {
            wrong.push(format!("file {n}, {}: {mine} of {total}, .recover {other}; false {false_mine:?}; {}", DAMAGE[kind], account["damaged"]));
        }
        let s = sums.entry(DAMAGE[kind]).or_default();
        for (sum, add) in s.iter_mut().zip([1, total, mine, other, false_mine.len(), false_other.len()]) {
            *sum += add;
        }
        for f in [bad, ours, theirs] {
            let _ = fs::remove_file(f);
        }
    }
    println!("seed {seed}\n{:16} {:>6} {:>9} {:>9} {:>9} {:>11} {:>12}", "damage", "files", "rows", "saved", ".recover", "false rows", "of .recover");
    for (kind, [n, total, mine, other, false_mine, false_other]) in &sums {
        println!("{kind:16} {n:>6} {total:>9} {mine:>9} {other:>9} {false_mine:>11} {false_other:>12}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (kind, [_, _, mine, other, ..]) in &sums {
        assert!(mine >= other, "{kind}: fewer rows than .recover: {mine} and {other}");
    }
}
