//! The README's reference is made from the declarations: UPDATE=1 writes it anew. Its tour is sql/tour.sql, its commands exist.
use dbint::{
    ROOMS,
    kit::{Access, Arg, Room, signature},
};
use dbint_tests::root;
use std::fs;

const BEGIN: &str = "<!-- reference: made from the declarations by UPDATE=1 cargo test -p dbint-tests --test reference -->\n";
const END: &str = "<!-- end of reference -->\n";

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn access(a: Access) -> &'static str {
    match a {
        Access::Pure | Access::Reads => "",
        Access::Writes => "W",
        Access::Outside => "O",
    }
}

fn options(text: &mut String, name: &str, args: &[Arg]) {
    let keys: Vec<_> = args.iter().flat_map(|a| a.keys).collect();
    if keys.is_empty() {
        return;
    }
    *text += &format!("\nOptions of `{name}`:\n");
    for k in keys {
        *text += &format!("- `{}`: {}\n", k.name, k.summary.split_whitespace().collect::<Vec<_>>().join(" "));
    }
}

fn room(room: &Room) -> String {
    let mut text = format!("### {}\n\n{}\n", room.name, room.summary);
    if !room.functions.is_empty() {
        text += "\n| function | returns | | what it does |\n|---|---|---|---|\n";
        for f in room.functions {
            text += &format!("| `{}` | {} | {} | {} |\n", signature(f.name, f.args), cell(f.returns), access(f.access), cell(f.summary));
        }
    }
    if !room.tables.is_empty() {
        text += "\n| table | columns | | what it shows |\n|---|---|---|---|\n";
        for t in room.tables {
            let columns = t.columns.iter().map(|c| c.name).collect::<Vec<_>>().join(", ");
            let call = if t.args.is_empty() { t.name.to_owned() } else { signature(t.name, t.args) };
            text += &format!("| `{call}` | {columns} | {} | {} |\n", access(t.access), cell(t.summary));
        }
    }
    room.functions.iter().for_each(|f| options(&mut text, f.name, f.args));
    room.tables.iter().for_each(|t| options(&mut text, t.name, t.args));
    text
}

fn reference() -> String {
    let rooms: Vec<String> = ROOMS.iter().filter(|r| !r.functions.is_empty() || !r.tables.is_empty()).map(|r| room(r)).collect();
    format!("\n{}\n", rooms.join("\n"))
}

/// The part of `readme` between the markers, and what stands before and after it.
fn split(readme: &str) -> (&str, &str, &str) {
    let (before, rest) = readme.split_once(BEGIN).expect("the marker before the reference");
    let (inside, after) = rest.split_once(END).expect("the marker after the reference");
    (before, inside, after)
}

#[test]
fn readme_reference_is_current() {
    let file = root().join("README.md");
    let readme = fs::read_to_string(&file).unwrap();
    let (before, inside, after) = split(&readme);
    let made = reference();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, format!("{before}{BEGIN}{made}{END}{after}")).unwrap();
        return;
    }
    let differs = inside.lines().zip(made.lines()).find(|(a, b)| a != b);
    assert!(inside == made, "the reference is stale; UPDATE=1 writes it anew. First difference: {differs:#?}");
}

/// A changed declaration is seen: the reference of another catalogue is another text.
#[test]
fn every_entry_is_in_the_reference() {
    let made = reference();
    for r in ROOMS {
        for (name, args) in r.functions.iter().map(|f| (f.name, f.args)) {
            assert!(made.contains(&format!("| `{}` |", signature(name, args))), "{name}");
            assert!(args.iter().flat_map(|a| a.keys).all(|k| made.contains(&format!("\n- `{}`: ", k.name))), "{name}");
        }
        assert!(r.tables.iter().all(|t| made.contains(&format!("`{}", t.name))), "{}", r.name);
    }
}
