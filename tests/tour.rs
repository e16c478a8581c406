//! The demo and the tour: what a newcomer runs first, in the shell and in the stock client. UPDATE=1 rewrites tests/tour.txt.
use dbint_tests::{library, root, shell};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

fn run(command: &mut Command, dir: &Path, input: &Path) -> String {
    let input = if input.as_os_str().is_empty() { Stdio::null() } else { Stdio::from(fs::File::open(input).unwrap()) };
    let out = command.current_dir(dir).env("HOME", dir).env_remove("DBINT_WORKSPACE").stdin(input).output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&out.stdout).into_owned(), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && errors.is_empty(), "{command:?}\n{text}{errors}");
    text
}

fn stock(dir: &Path, script: &Path) -> String {
    let load = format!(".load {}", library().display());
    run(Command::new("sqlite3").args(["-batch", "-bail", "-list", "production.db", &load]).arg(format!(".read {}", script.display())), dir, Path::new(""))
}

#[test]
fn the_demo_ends_with_populated_views() {
    let dir = tempfile::tempdir().unwrap();
    let demo = || run(Command::new(shell()).args(["demo", "a fleet"]), dir.path(), Path::new(""));
    let first = demo();
    for view in ["unified_system_status", "sync_status_summary", "performance_dashboard", "performance_analytics"] {
        let rows = first.split_once(&format!("\n{view}\n")).map_or(0, |(_, t)| t.lines().take_while(|l| !l.is_empty()).filter(|l| l.starts_with('│')).count());
        assert!(rows > 1, "{view} is empty:\n{first}");
    }
    for row in ["│ compliance_monitor │ monitoring │", "│ session_management │ analytics  │"] {
        assert!(first.contains(row), "{row}\n{first}");
    }
    let log = fs::read_to_string(dir.path().join("a fleet/logs/synchronization.log")).unwrap();
    assert!(log.starts_with("insert session_tracking:S-00001\n") && log.contains("update session_tracking:S-0039"), "{log}");
    let names: Vec<String> = fs::read_dir(dir.path().join("a fleet")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    let odd: Vec<_> = names.iter().filter(|n| !n.ends_with(".db") && *n != "logs").collect();
    assert!(odd.is_empty(), "{odd:?}");
    // Again: what is there stays as it is.
    assert!(demo().contains("found, left as they are"));
}

#[test]
fn the_tour_says_the_same_in_the_shell_and_in_the_stock_client() {
    let tour = root().join("sql/tour.sql");
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(Command::new(shell()).args(["demo", "fleet"]), ours.path(), Path::new(""));
    let seen = run(Command::new(shell()).arg("production.db"), &ours.path().join("fleet"), &tour);
    let fleet = theirs.path().join("fleet");
    fs::create_dir(&fleet).unwrap();
    stock(&fleet, &root().join("sql/fleets/toolkit.sql"));
    assert_eq!(stock(&fleet, &tour), seen);
    let file = root().join("tests/tour.txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &seen).unwrap();
    }
    assert_eq!(fs::read_to_string(&file).unwrap_or_default(), seen, "UPDATE=1 rewrites tests/tour.txt");
}
