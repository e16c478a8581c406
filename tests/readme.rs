//! The README tells the truth: its console sessions print what it shows, its install step works, its links lead somewhere.
//! UPDATE=1 writes what the sessions print.
use dbint_tests::{demo_fleet, library, quick, root, shell};
use std::{fs, path::Path, process::Command};

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("README.md")
}

/// The commands of a session: `$ ` starts one, `> ` goes on with it; what they print is left out.
fn commands(session: &str) -> Vec<String> {
    let mut all: Vec<String> = vec![];
    for line in session.lines() {
        if let Some(first) = line.strip_prefix("$ ") {
            all.push(first.to_owned());
        } else if let (Some(more), Some(last)) = (line.strip_prefix('>'), all.last_mut()) {
            *last += "\n";
            *last += more.strip_prefix(' ').unwrap_or(more);
        }
    }
    all
}

fn shown(command: &str) -> String {
    let mut lines = command.lines();
    let first = format!("$ {}\n", lines.next().unwrap_or_default());
    lines.fold(first, |text, l| text + format!("> {l}").trim_end() + "\n")
}

fn run(dir: &Path, command: &str) -> String {
    let path = format!("{}:{}", shell().parent().expect("a folder").display(), std::env::var("PATH").unwrap_or_default());
    let out = Command::new("bash").args(["-c", &format!("{{ {command}\n}} 2>&1")]).env("PATH", path).current_dir(dir).output().expect("bash");
    let text = String::from_utf8_lossy(&out.stdout).replace(&dir.to_string_lossy().into_owned(), "$DIR");
    text.lines().map(|l| format!("{}\n", l.trim_end())).collect()
}

#[test]
fn console_sessions_print_what_is_shown() {
    if quick() {
        return;
    }
    let fleet = demo_fleet();
    fs::copy(library(), fleet.path().join(library().file_name().expect("a name"))).expect("a copy");
    let text = readme();
    let mut made = String::new();
    for (i, part) in text.split("```").enumerate() {
        made += if i == 0 { "" } else { "```" };
        match part.strip_prefix("console\n") {
            Some(session) if i % 2 == 1 => {
                made += "console\n";
                for command in commands(session) {
                    made += &shown(&command);
                    made += &run(fleet.path(), &command);
                }
            }
            _ => made += part,
        }
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(root().join("README.md"), made).expect("written");
        return;
    }
    let differs = text.lines().zip(made.lines()).find(|(a, b)| a != b);
    assert!(text == made, "UPDATE=1 writes it anew. First difference (README, now): {differs:#?}");
    assert!(text.matches("\n$ ").count() >= 4);
}

#[cfg(target_os = "linux")]
#[test]
fn after_the_install_step_the_plain_name_loads() {
    if quick() {
        return;
    }
    library();
    let text = readme();
    let step = text.split("<!-- install -->\n```sh\n").nth(1).and_then(|t| t.split("```").next()).expect("the install step");
    let home = tempfile::tempdir().expect("a folder");
    let script = format!("set -e\n{step}\ncd \"$HOME\"\nsqlite3 -batch -bail :memory: '.load libdbint' 'SELECT dbint_version()'");
    let out = Command::new("bash").args(["-c", &script]).env("HOME", home.path()).env_remove("LD_LIBRARY_PATH").current_dir(root()).output().expect("bash");
    let told = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(told.trim_end(), env!("CARGO_PKG_VERSION"), "{}", String::from_utf8_lossy(&out.stderr));
    // Without the step it is not found: the test would notice.
    let before =
        Command::new("sqlite3").args(["-batch", "-bail", ":memory:", ".load libdbint"]).current_dir(home.path()).env_remove("LD_LIBRARY_PATH").output();
    assert!(!before.expect("sqlite3").status.success() || Path::new("/usr/local/lib/libdbint.so").exists());
}

#[test]
fn links_and_commands_exist() {
    let text = readme();
    let links: Vec<&str> = text.split("](").skip(1).filter_map(|t| t.split(')').next()).filter(|l| !l.contains("://")).collect();
    assert!(!links.is_empty());
    let missing: Vec<_> = links.iter().filter(|l| !root().join(l).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for file in ["tests/run", "tests/bench/sync", "tests/structure.rs", "tests/hosts.rs"] {
        assert!(text.contains(file) && root().join(file).exists(), "{file}");
    }
    // What continuous integration runs is the second command.
    let first = text.split("```sh\n").nth(1).and_then(|t| t.split("```").next()).expect("the commands");
    let commands: Vec<&str> = first.lines().map(|l| l.split('#').next().unwrap_or_default().trim()).collect();
    assert_eq!(commands, ["cargo run --release -- demo", "tests/run"]);
    assert!(fs::read_to_string(root().join(".ci/run")).expect(".ci/run").contains("exec tests/run"));
}
