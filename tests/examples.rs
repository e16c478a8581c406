//! Every declared example runs on the demo fleet, linked in and through the real library, and its output is compared
//! with tests/examples/<room>.txt. UPDATE=1 rewrites those files.
use dbint::ROOMS;
use dbint_tests::{Way, demo_fleet, root, show_rows};
use rusqlite::Connection;
use std::{fs, path::Path};

/// Makes `fleet` what `kept` is: examples may write, and the registry knows the files by their whole path.
fn put_back(kept: &Path, fleet: &Path) {
    for e in fs::read_dir(fleet).expect("the fleet").flatten() {
        let p = e.path();
        if p.is_dir() { fs::remove_dir_all(&p) } else { fs::remove_file(&p) }.expect("removed");
    }
    for f in fs::read_dir(kept).expect("the kept fleet").flatten().filter(|f| f.path().is_file()) {
        fs::copy(f.path(), fleet.join(f.file_name())).expect("a copy");
    }
}

/// What `example` prints, with the fleet as the working folder.
fn output(way: Way, fleet: &Path, example: &str) -> String {
    std::env::set_current_dir(fleet).expect("the folder is there");
    let text = Connection::open("production.db").and_then(|db| {
        way.register(&db)?;
        show_rows(&db, example)
    });
    std::env::set_current_dir(root()).expect("the repository is there");
    let text = text.unwrap_or_else(|e| format!("error: {e}\n"));
    text.replace(&fleet.to_string_lossy().into_owned(), "$DIR")
}

#[test]
fn every_example_runs_on_the_demo_fleet() {
    let update = std::env::var_os("UPDATE").is_some();
    let fleet = demo_fleet();
    let kept = tempfile::tempdir().expect("a folder");
    for f in fs::read_dir(fleet.path()).expect("the fleet").flatten().filter(|f| f.path().is_file()) {
        fs::copy(f.path(), kept.path().join(f.file_name())).expect("a copy");
    }
    let run = |way, example| {
        put_back(kept.path(), fleet.path());
        output(way, fleet.path(), example)
    };
    let mut wrong = vec![];
    for room in ROOMS {
        let entries = room.functions.iter().map(|f| (f.name, f.example)).chain(room.tables.iter().map(|t| (t.name, t.example)));
        let page = |way| entries.clone().map(|(name, example)| format!("-- {name}\n{example}\n{}\n", run(way, example))).collect::<String>();
        let file = root().join("tests/examples").join(format!("{}.txt", room.name));
        let linked = page(Way::Linked);
        if update && !linked.is_empty() {
            fs::create_dir_all(root().join("tests/examples")).expect("a folder");
            fs::write(&file, &linked).expect("written");
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        for (way, got) in [(Way::Linked, linked), (Way::Loaded, page(Way::Loaded))] {
            let differs = expected.lines().zip(got.lines()).find(|(a, b)| a != b);
            if expected != got {
                wrong.push(format!("{}, {way:?}: first difference (expected, got): {differs:#?}", room.name));
            }
            if got.contains("\nerror: ") {
                wrong.push(format!("{}, {way:?}: an example fails:\n{got}", room.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\nUPDATE=1 rewrites the expectations", wrong.join("\n"));
}
