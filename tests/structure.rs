//! The house stands: floors, file sizes, where `unsafe` may be, words that do not belong here.
//! Each check is a function that names what it finds; beside it stands a proof that it finds something.
use dbint_tests::root;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The floors of `ext` and the modules on them. A module uses lower floors only, never one beside it or above it.
const FLOORS: [(usize, &[&str]); 5] = [(0, &["kit", "error"]), (1, &["db"]), (2, &["hub", "remote"]), (4, &["run"]), (5, &["catalog", "entry", "lib"])];

/// `about` shows the one list of everything; the macro of `options` names `kit` by the crate's path.
const EXCEPT: [(&str, &str); 1] = [("about", "catalog")];

/// The floor of a module of `ext`; every folder that has no floor of its own is a domain room.
fn floor(module: &str) -> Option<usize> {
    let listed = FLOORS.iter().find(|(_, names)| names.contains(&module)).map(|(n, _)| *n);
    listed.or_else(|| root().join("ext/src").join(module).is_dir().then_some(3))
}

/// Every tracked file, and those not yet added.
fn files(extension: &str) -> Vec<PathBuf> {
    let out = Command::new("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root()).output().expect("git runs");
    assert!(out.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&out.stderr));
    let names = String::from_utf8_lossy(&out.stdout).into_owned();
    let all: Vec<PathBuf> = names.split('\0').filter(|n| n.ends_with(extension)).map(PathBuf::from).filter(|p| root().join(p).is_file()).collect();
    assert!(!all.is_empty(), "no *{extension} found");
    all
}

fn read(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(root().join(file)).expect("readable")).into_owned()
}

/// The modules a source text names by `crate::`, or by as many `super::` as lead to the crate.
fn uses(text: &str, depth: usize) -> Vec<String> {
    let mut found = vec![];
    let code: String = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    for start in ["crate::", &"super::".repeat(depth)] {
        for (at, _) in code.match_indices(start) {
            // `$crate::`, and the end of a longer chain, are other paths.
            if code[..at].ends_with([':', '$', '_']) || code[..at].ends_with(char::is_alphanumeric) {
                continue;
            }
            let rest = &code[at + start.len()..];
            match rest.strip_prefix('{') {
                Some(group) => found.extend(group_heads(group)),
                None => found.extend(head(rest)),
            }
        }
    }
    found
}

fn head(path: &str) -> Option<String> {
    let name: String = path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// The first word of each path of `a::b, c::{d, e}, f}`.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut out) = (0, 0, vec![]);
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                out.extend(head(&group[start..i]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                out.extend(head(&group[start..i]));
                start = i + 1;
            }
            _ => {}
        }
    }
    out
}

/// Where `file`, such as `ext/src/sync/plan.rs`, leaves its place.
fn floor_breaks(file: &Path, text: &str) -> Vec<String> {
    let Ok(inside) = file.strip_prefix("ext/src") else { return vec![] };
    let parts: Vec<String> = inside.with_extension("").iter().map(|p| p.to_string_lossy().into_owned()).filter(|p| p != "mod").collect();
    let own = parts[0].as_str();
    let Some(own_floor) = floor(own) else { return vec![format!("{}: \"{own}\" has no floor", file.display())] };
    let breaks = |used: &String| {
        let other = used.as_str();
        floor(other).is_some_and(|f| other != own && (f > own_floor || (f == own_floor && own_floor > 0 && own_floor < 5))) && !EXCEPT.contains(&(own, other))
    };
    uses(text, parts.len()).iter().filter(|u| breaks(u)).map(|u| format!("{}: {own} (floor {own_floor}) uses {u}", file.display())).collect()
}

#[test]
fn floors_are_respected() {
    let found: Vec<String> = files(".rs").iter().flat_map(|f| floor_breaks(f, &read(f))).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_broken_floor_is_found() {
    let breaks = |file: &str, text: &str| floor_breaks(Path::new(file), text).len();
    assert_eq!(breaks("ext/src/sync/mod.rs", "use crate::{db::open, hub::{self, settings}, kit::*};"), 0);
    assert_eq!(breaks("ext/src/sync/mod.rs", "use crate::health;"), 1);
    assert_eq!(breaks("ext/src/sync/plan.rs", "use crate::{\n    db::{open, ident},\n    size::report,\n};"), 1);
    assert_eq!(breaks("ext/src/sync/plan.rs", "fn f() { super::super::backup::take() }"), 1);
    assert_eq!(breaks("ext/src/sync/plan.rs", "use super::size;"), 0);
    assert_eq!(breaks("ext/src/db/open.rs", "let x = crate::hub::Hub::find(db);"), 1);
    assert_eq!(breaks("ext/src/kit/call.rs", "use crate::error::Error; macro_rules! m { () => { $crate::kit::Key } }"), 0);
    assert_eq!(breaks("ext/src/kit/call.rs", "// crate::hub would be wrong\nuse crate::db;"), 1);
    assert_eq!(breaks("ext/src/stray.rs", ""), 1);
}

/// 200 to 250 lines is the habit; nobody should meet more than 600.
#[test]
fn files_are_short() {
    let long: Vec<String> =
        files(".rs").iter().map(|f| (f, read(f).lines().count())).filter(|(_, n)| *n > 600).map(|(f, n)| format!("{}: {n} lines", f.display())).collect();
    assert!(long.is_empty(), "{long:#?}");
}

fn is_unsafe(text: &str) -> bool {
    // What stands between quotation marks is no code.
    let code = text.lines().flat_map(|l| l.split("//").next().unwrap_or_default().split('"').step_by(2));
    code.flat_map(|l| l.split(|c: char| !c.is_alphanumeric() && c != '_')).any(|word| word == "unsafe" || word == "unsafe_code")
}

#[test]
fn unsafe_stays_in_its_places() {
    let inside = |f: &Path| f.starts_with("ext/src") || f.starts_with("shell");
    // The shell's `.load` runs a library the user names: nothing could make that safe.
    let allowed = |f: &Path| f.starts_with("ext/src/kit") || [Path::new("ext/src/entry.rs"), Path::new("shell/src/open.rs")].contains(&f);
    let found: Vec<_> = files(".rs").into_iter().filter(|f| inside(f) && !allowed(f) && is_unsafe(&read(f))).collect();
    assert!(found.is_empty(), "{found:#?}");
    assert!(
        is_unsafe("fn f() { unsafe { g() } }")
            && is_unsafe("#![allow(unsafe_code)]")
            && !is_unsafe("// unsafe only there")
            && !is_unsafe("\"style 'unsafe-inline'\"")
    );
    assert!(is_unsafe(&read(Path::new("ext/src/entry.rs"))));
}

/// What says that a piece is unfinished, or where it was made. Written in halves, so that this file passes.
fn unwanted(text: &str) -> Vec<String> {
    let words = [
        ["to", "do!("],
        ["unimplem", "ented!("],
        ["FIX", "ME"],
        ["#[ign", "ore"],
        ["db", "g!("],
        ["/ho", "me/"],
        ["/ro", "ot/"],
        ["/wo", "rk/"],
        ["/Use", "rs/"],
    ];
    words.iter().map(|w| w.concat()).filter(|w| text.contains(w.as_str())).collect()
}

#[test]
fn nothing_is_unfinished_and_no_machine_shows() {
    let texts = [".rs", ".sql", ".slt", ".md", ".toml", ".sh", ".py", ".js", ".c", "/setup", "/run", "/sync"];
    let found: Vec<String> = files("")
        .iter()
        .filter(|f| texts.iter().any(|t| f.to_string_lossy().ends_with(t)))
        .flat_map(|f| unwanted(&read(f)).into_iter().map(move |w| format!("{}: {w}", f.display())))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
    assert_eq!(unwanted(&["to", "do!()"].concat()).len(), 1);
}

/// Each module tells in its first line what it is for.
#[test]
fn modules_open_with_their_purpose() {
    let silent: Vec<_> = files(".rs").into_iter().filter(|f| !read(f).starts_with("//!")).collect();
    assert!(silent.is_empty(), "{silent:#?}");
}
