//! What the black-box tests share: the built library, scratch folders, connections of both kinds.
#![allow(unsafe_code)]
mod demo;
mod driver;

pub use demo::{demo_fleet, show_rows};
pub use driver::Driver;
use rusqlite::Connection;
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The top folder of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The loadable library, built now: a test of an old library would prove nothing.
pub fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let done = Command::new(env!("CARGO")).arg("ext").arg("--quiet").current_dir(root()).status();
        assert!(done.is_ok_and(|s| s.success()), "`cargo ext` failed");
        let name = format!("{}dbint{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        root().join("target/ext/release").join(name)
    })
}

/// The shell, built now.
pub fn shell() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        // The tests' features, and an example beside it, which makes cargo count their dependencies: what was built for them
        // serves again.
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--workspace", "--bin", "dbint", "--example", "gen"]);
        if cfg!(feature = "cloud") {
            cargo.args(["--features", "dbint-tests/cloud"]);
        }
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        assert!(cargo.current_dir(root()).status().is_ok_and(|s| s.success()), "the shell does not build");
        // This program is in target/debug/deps or target/release/deps.
        let me = std::env::current_exe().expect("the path of this program");
        let dir = me.ancestors().nth(2).expect("the folder of the build");
        dir.join(format!("dbint{}", std::env::consts::EXE_SUFFIX))
    })
}

/// Whether only the quick part was asked for: `tests/run --quick`, which says what that leaves out.
pub fn quick() -> bool {
    std::env::var_os("DBINT_QUICK").is_some()
}

/// A client installed by `tests/setup`, by its path below target/clients.
pub fn client(path: &str) -> PathBuf {
    let client = root().join("target/clients").join(path);
    assert!(client.exists(), "{} is missing: run tests/setup", client.display());
    client
}

/// How dbint gets into a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Linked into this program, as the shell does.
    Linked,
    /// The real library, by SQLite's extension loader.
    Loaded,
}

impl Way {
    pub const BOTH: [Way; 2] = [Way::Linked, Way::Loaded];

    /// Puts dbint into `db`.
    pub fn register(self, db: &Connection) -> rusqlite::Result<()> {
        match self {
            Way::Linked => dbint::register(db),
            // SAFETY: the library under test.
            Way::Loaded => unsafe {
                db.load_extension_enable()?;
                db.load_extension(library(), None::<&str>)?;
                db.load_extension_disable()
            },
        }
    }
}
