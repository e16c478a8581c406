//! What is declared is what SQLite got: every name with every number of arguments, its flags, columns and arguments.
use dbint::{
    ROOMS,
    kit::{Access, Function, Room, Table, Type},
};
use dbint_tests::Way;
use rusqlite::Connection;
use std::collections::BTreeSet;

type Names = BTreeSet<(String, i64)>;

const DETERMINISTIC: i64 = 0x800;
const DIRECT_ONLY: i64 = 0x80000;
const INNOCUOUS: i64 = 0x200000;

fn functions(db: &Connection) -> Names {
    let mut q = db.prepare("SELECT name, narg FROM pragma_function_list").unwrap();
    q.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap()
}

fn modules(db: &Connection) -> BTreeSet<String> {
    let mut q = db.prepare("SELECT name FROM pragma_module_list").unwrap();
    q.query_map([], |r| r.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

fn declared_functions(rooms: &[&Room]) -> Names {
    let each = |f: &Function| {
        let least = f.args.iter().filter(|a| !a.optional).count();
        (least..=f.args.len()).map(|n| (f.name.to_owned(), n as i64)).collect::<Vec<_>>()
    };
    rooms.iter().flat_map(|r| r.functions).flat_map(each).collect()
}

fn all_functions() -> impl Iterator<Item = &'static Function> {
    ROOMS.iter().flat_map(|r| r.functions)
}

fn all_tables() -> impl Iterator<Item = &'static Table> {
    ROOMS.iter().flat_map(|r| r.tables)
}

/// Connections without and with dbint; what only the second has is ours.
fn pair(way: Way) -> (Connection, Connection) {
    let (before, after) = (Connection::open_in_memory().unwrap(), Connection::open_in_memory().unwrap());
    way.register(&after).unwrap();
    (before, after)
}

#[test]
fn declared_is_registered() {
    for way in Way::BOTH {
        let (before, after) = pair(way);
        let got: Names = &functions(&after) - &functions(&before);
        assert_eq!(got, declared_functions(ROOMS), "functions, {way:?}");
        let got: BTreeSet<_> = &modules(&after) - &modules(&before);
        assert_eq!(got, all_tables().map(|t| t.name.to_owned()).collect(), "tables, {way:?}");
        let mut q = after.prepare("SELECT name FROM dbint_functions").unwrap();
        let listed: BTreeSet<String> = q.query_map([], |r| r.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(listed, all_functions().map(|f| f.name).chain(all_tables().map(|t| t.name)).map(String::from).collect(), "dbint_functions, {way:?}");
    }
}

#[test]
fn access_decides_the_flags() {
    for way in Way::BOTH {
        let (_, db) = pair(way);
        let mut q = db.prepare("SELECT DISTINCT flags FROM pragma_function_list WHERE name = ?").unwrap();
        for f in all_functions() {
            let flags: Vec<i64> = q.query_map([f.name], |r| r.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
            let want = match f.access {
                Access::Pure => DETERMINISTIC | INNOCUOUS,
                Access::Reads => 0,
                Access::Writes | Access::Outside => DIRECT_ONLY,
            };
            assert_eq!(flags.iter().map(|f| f & (DETERMINISTIC | DIRECT_ONLY | INNOCUOUS)).collect::<Vec<_>>(), [want], "{}, {way:?}", f.name);
        }
        for t in all_tables() {
            let view = format!("v_{}", t.name);
            db.execute_batch(&format!("CREATE VIEW {view} AS SELECT * FROM {}", t.name)).unwrap();
            let why = db.prepare(&format!("SELECT * FROM {view}")).map(drop).map_err(|e| e.to_string());
            let refused = why.as_ref().is_err_and(|e| e.contains("unsafe use of virtual table"));
            let direct_only = matches!(t.access, Access::Writes | Access::Outside);
            assert_eq!(refused, direct_only, "{} in a view: {why:?}, {way:?}", t.name);
            db.execute_batch(&format!("DROP VIEW {view}")).unwrap();
        }
    }
}

#[test]
fn tables_have_their_columns_and_arguments() {
    let (_, db) = pair(Way::Loaded);
    let mut q = db.prepare("SELECT name, hidden FROM pragma_table_xinfo(?)").unwrap();
    for t in all_tables() {
        let got: Vec<(String, bool)> = q.query_map([t.name], |r| Ok((r.get(0)?, r.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap();
        let shown: Vec<&str> = got.iter().filter(|c| !c.1).map(|c| c.0.as_str()).collect();
        assert_eq!(shown, t.columns.iter().map(|c| c.name).collect::<Vec<_>>(), "{}", t.name);
        assert_eq!(got.len() - shown.len(), t.args.len(), "arguments of {}", t.name);
        assert!(t.args.len() < 31, "{}: the plan is one bit an argument", t.name);
    }
}

#[test]
fn declarations_are_complete() {
    let mut names = BTreeSet::new();
    let entries = all_functions().map(|f| (f.name, f.args, f.summary, f.example)).chain(all_tables().map(|t| (t.name, t.args, t.summary, t.example)));
    for (name, args, summary, example) in entries {
        assert!(names.insert(name), "{name} is declared twice");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}: lower case and underscores");
        assert!(summary.ends_with('.') && summary.len() > 10, "{name}: the summary is a sentence");
        assert!(example.trim_end().ends_with(';'), "{name}: the example is a statement");
        assert!(example.contains(name), "{name}: the example calls it");
        let optional: Vec<bool> = args.iter().map(|a| a.optional).collect();
        assert!(optional.is_sorted(), "{name}: required arguments come first");
        for (i, a) in args.iter().enumerate() {
            let last = i + 1 == args.len();
            assert!(!a.summary.is_empty(), "{name}: what is {}?", a.name);
            assert!(a.ty != Type::Options || (last && a.name == "options"), "{name}: the options are the last argument");
            assert!(a.keys.iter().all(|k| !k.summary.trim().is_empty()), "{name}: every option has its line");
        }
    }
    for room in ROOMS {
        assert!(room.summary.ends_with(['.', '?']), "{}: the summary is a sentence", room.name);
    }
}
