//! Random tables, contents, edits and options: after each sync the target is what a model without dbint says it is.
//!
//! DBINT_SEQUENCES says how many sequences run, DBINT_SEED which; DBINT_SEQUENCE runs one of them alone and tells each step.
#[path = "sync_property/ask.rs"]
mod ask;
#[path = "sync_property/edits.rs"]
mod edits;
#[path = "sync_property/model.rs"]
mod model;
#[path = "sync_property/shape.rs"]
mod shape;
#[path = "sync_property/values.rs"]
mod values;
#[path = "sync_property/world.rs"]
mod world;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::Instant,
};

const SEQUENCES: u64 = 2000;

/// What random sequences must have met, or they prove nothing about it.
const MUST: &str = "key Rowid,key Autoincrement,key Descending,key Text,key NoCase,key RTrim,key Blob,key Any,key Composite,key Indexed,key Plain,key None,\
shape WITHOUT ROWID,shape rowid into WITHOUT ROWID,shape WITHOUT ROWID into rowid,shape STRICT,shape unique column,shape timestamp,shape generated VIRTUAL,\
shape generated STORED,shape other column order,shape extra target column,shape extra source column,shape foreign key,shape referred to,\
shape triggers on target,shape index differs,shape UTF-16 both,shape UTF-16 into UTF-8,shape UTF-8 into UTF-16,shape odd table name,\
edit insert,edit replace,edit update,edit key,edit delete,edit swap,edit cycle,edit delete all,edit copy,edit vacuum,edit same,\
layout MainToPath,layout MainToAttached,layout PathToPath,layout MemoryToPath,layout PathToMemory,layout PathToMain,layout TempToPath,\
layout PathToOpenMain,layout MainToOpenAttached,journal wal,journal delete,source tracked,source untracked,chain,\
method change_log,method pages,method rowid_merge,method hash_join,method key_merge,method lookup,method refill,\
forced change_log,forced pages,forced rowid_merge,forced hash_join,forced key_merge,forced lookup,forced refill,\
mode full,mode incremental,delete true,delete false,where,columns,created,triggers fired,rolled back,\
conflict same time,conflict target newer,conflict target wins,conflict refused,conflict target keeps deleted,conflict deleted\\, but changed later,\
tracked deletion in a scan,error DBINT_CONSTRAINT,error DBINT_CONFLICT,error DBINT_UNSUPPORTED,error DBINT_ARGUMENT,NULL in a key,equal rows twice";

/// Files that a sync flushes to disk again and again are kept in memory where there is such a place.
fn scratch() -> tempfile::TempDir {
    let fast = Path::new("/dev/shm");
    if fast.is_dir() { tempfile::tempdir_in(fast) } else { tempfile::tempdir() }.unwrap()
}

#[test]
fn the_target_is_what_the_model_says() {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let sequences = number("DBINT_SEQUENCES").unwrap_or(SEQUENCES);
    // The same sequences for everybody.
    let seed = number("DBINT_SEED").unwrap_or(2);
    let (first, last) = number("DBINT_SEQUENCE").map_or((0, sequences), |n| (n, n + 1));
    let told = last - first == 1;
    let dir = scratch();
    let begun = Instant::now();
    let seen: Mutex<BTreeMap<String, u64>> = Mutex::default();
    let failed: Mutex<Vec<(u64, String)>> = Mutex::default();
    println!("seed {seed}");
    let work = |part: u64, parts: u64| {
        let mut mine = BTreeMap::new();
        for n in (first..last).filter(|n| n % parts == part) {
            if failed.lock().unwrap().len() >= 20 {
                break;
            }
            let place: PathBuf = dir.path().join(n.to_string());
            std::fs::create_dir(&place).unwrap();
            let mut story = vec![];
            let done = catch_unwind(AssertUnwindSafe(|| world::sequence(seed, n, &place, &mut mine, &mut story)));
            if let Err(panic) = done {
                let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                failed.lock().unwrap().push((n, format!("{}\n{}", story.join("\n"), text.unwrap_or_default())));
            } else if told {
                println!("{}", story.join("\n"));
            }
            std::fs::remove_dir_all(&place).unwrap();
        }
        let mut all = seen.lock().unwrap();
        mine.into_iter().for_each(|(k, v)| *all.entry(k).or_default() += v);
    };
    let parts = thread::available_parallelism().map_or(1, |n| n.get().min(4)) as u64;
    thread::scope(|s| (0..parts).for_each(|p| drop(s.spawn(move || work(p, parts)))));
    let (seen, mut failed) = (seen.into_inner().unwrap(), failed.into_inner().unwrap());
    println!("{} sequences, seed {seed}, {:.1} s", last - first, begun.elapsed().as_secs_f64());
    for (what, n) in &seen {
        println!("{n:>8} {what}");
    }
    failed.sort();
    for (n, story) in &failed {
        println!("--- sequence {n} of seed {seed} failed\n{story}");
    }
    assert!(failed.is_empty(), "{} sequences failed, seed {seed}", failed.len());
    if sequences >= 1000 && !told {
        let missing: Vec<String> = MUST.replace("\\,", ";").split(',').map(|m| m.replace(';', ",")).filter(|m| !seen.contains_key(m.as_str())).collect();
        assert!(missing.is_empty(), "never met: {missing:?}, seed {seed}");
    }
}
