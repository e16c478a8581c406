//! What goes wrong with a repository or a source: a clear error, a repository that stays valid, and a next run that goes on.
//!
//! BACKUP_FULL_DISKS (12) chooses how many sizes of a full disk are tried, BACKUP_BIG_GB how large the large source is.
#[path = "backup_kit.rs"]
mod kit;

use kit::*;
use rusqlite::Connection;
use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::Command,
};

struct Place {
    dir: tempfile::TempDir,
    db: Connection,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        Connection::open(dir.path().join("s.db"))
            .unwrap()
            .execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, x); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) INSERT INTO t SELECT i, hex(randomblob(100)) FROM n")
            .unwrap();
        let db = open(&dir.path().join("hub.db"));
        Place { dir, db }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn options(&self, more: serde_json::Value) -> String {
        let mut o = serde_json::json!({"path": self.path("b")});
        more.as_object().unwrap().iter().for_each(|(k, v)| o[k] = v.clone());
        o.to_string()
    }

    fn backup(&self, more: serde_json::Value) -> Result<serde_json::Value, String> {
        ask(&self.db, &format!("SELECT backup_database('{}', '{}')", self.path("s.db").display(), self.options(more)))
            .map(|t| serde_json::from_str(&t).unwrap())
    }

    fn change(&self) {
        Connection::open(self.path("s.db")).unwrap().execute("UPDATE t SET x = hex(randomblob(100)) WHERE id BETWEEN 100 AND 200", []).unwrap();
    }

    fn verify(&self) -> serde_json::Value {
        json(&self.db, &format!("SELECT verify_backup(NULL, '{}')", self.options(serde_json::json!({}))))
    }

    /// Restores and compares; the error where it cannot.
    fn gives_back(&self, backup: &str, bytes: &[u8]) -> Result<(), String> {
        let to = self.path("back.db");
        ask(&self.db, &format!("SELECT restore_database('{backup}', '{}', '{}')", to.display(), self.options(serde_json::json!({}))))?;
        assert!(fs::read(&to).unwrap() == bytes, "{backup} gives other bytes back");
        fs::remove_file(&to).unwrap();
        Ok(())
    }

    fn source(&self) -> Vec<u8> {
        fs::read(self.path("s.db")).unwrap()
    }

    fn packs(&self) -> Vec<PathBuf> {
        files(&self.path("b/packs"))
    }
}

fn flip(path: &Path, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at as usize] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_bit_is_found_and_its_page_stored_again() {
    for ty in ["full", "incremental"] {
        let p = Place::new();
        p.backup(serde_json::json!({"name": "first"})).unwrap();
        let before = p.source();
        p.change();
        flip(&p.packs()[0], 5000);
        let e = p.gives_back("first", &before).unwrap_err();
        assert!(e.contains("bytes of a frame have changed") && e.contains("pack ") && e.contains("DBINT_CORRUPT"), "{e}");
        assert_eq!(p.verify()["ok"], false);
        let made = p.backup(serde_json::json!({"name": "second", "type": ty})).unwrap();
        assert_eq!(made["proven"], true, "{made}");
        assert!(made["note"].as_str().unwrap().contains("set aside"), "{made}");
        p.gives_back("second", &p.source()).unwrap();
        assert_eq!(files(&p.path("b/damaged")).len(), 1);
        // The frame had a page that the source has no more, or it had none: the older backup says so, or is whole again.
        match p.gives_back("first", &before) {
            Ok(()) => assert_eq!(p.verify()["ok"], true),
            Err(e) => assert!(e.contains("is in no readable pack"), "{e}"),
        }
    }
}

#[test]
fn a_missing_pack_is_told_and_its_pages_stored_again() {
    let p = Place::new();
    p.backup(serde_json::json!({"name": "first"})).unwrap();
    let bytes = p.source();
    fs::remove_file(&p.packs()[0]).unwrap();
    let e = p.gives_back("first", &bytes).unwrap_err();
    assert!(e.contains("page 1 (") && e.contains("is in no readable pack") && e.contains("DBINT_CORRUPT"), "{e}");
    let said = p.verify();
    assert!(said["problems"][0]["problem"].as_str().unwrap().contains("pages are in no readable pack"), "{said}");
    // Nothing changed, and yet all is missing.
    let made = p.backup(serde_json::json!({"name": "second", "type": "incremental"})).unwrap();
    assert_eq!((made["proven"].as_bool(), made["changed_pages"].as_u64()), (Some(true), Some(0)), "{made}");
    assert_eq!(p.verify()["ok"], true);
    p.gives_back("first", &bytes).unwrap();
}

#[test]
fn swapped_packs_and_a_truncated_manifest() {
    let p = Place::new();
    p.backup(serde_json::json!({"name": "first"})).unwrap();
    let first = p.source();
    p.change();
    p.backup(serde_json::json!({"name": "second", "type": "incremental"})).unwrap();
    let [a, b] = p.packs().try_into().unwrap();
    let (in_a, in_b) = (fs::read(&a).unwrap(), fs::read(&b).unwrap());
    fs::write(&a, &in_b).unwrap();
    fs::write(&b, &in_a).unwrap();
    let said = p.verify().to_string();
    assert!(said.contains("stands under another pack's name"), "{said}");
    fs::write(&a, &in_a).unwrap();
    fs::write(&b, &in_b).unwrap();
    assert_eq!(p.verify()["ok"], true);
    let manifest = files(&p.path("b/manifests")).remove(1);
    let whole = fs::read(&manifest).unwrap();
    fs::write(&manifest, &whole[..whole.len() - 100]).unwrap();
    let e = p.gives_back("second", &first).unwrap_err();
    assert!(e.contains("seal does not match") && e.contains("DBINT_CORRUPT"), "{e}");
    p.gives_back("first", &first).unwrap();
    let e = ask(&p.db, &format!("SELECT prune_backups('{}')", p.options(serde_json::json!({"days": 0})))).unwrap_err();
    assert!(e.contains("nothing was pruned"), "{e}");
    let made = p.backup(serde_json::json!({"name": "third", "type": "incremental"})).unwrap();
    assert_eq!((made["type"].as_str(), made["proven"].as_bool()), (Some("full"), Some(true)), "{made}");
    assert_eq!(made["note"], "full, because the backup it would build on is damaged");
    p.gives_back("third", &p.source()).unwrap();
}

#[test]
fn a_newer_format_is_left_alone() {
    let p = Place::new();
    p.backup(serde_json::json!({})).unwrap();
    let about = p.path("b/repository.json");
    let text = fs::read_to_string(&about).unwrap();
    let newer = text.lines().next().unwrap().replace("\"dbint_repository\":1", "\"dbint_repository\":2");
    let out = Command::new("bash").args(["-c", &format!("printf '%s' '{newer}' | sha256sum")]).output().unwrap();
    fs::write(&about, format!("{newer}\n{}\n", &String::from_utf8(out.stdout).unwrap()[..64])).unwrap();
    let before: Vec<_> = files(&p.path("b"));
    for e in [p.backup(serde_json::json!({})).unwrap_err(), p.gives_back("2999-01-01", &[]).unwrap_err()] {
        assert!(e.contains("has format 2") && e.contains("Load the newer dbint") && e.contains("DBINT_NEWER"), "{e}");
    }
    assert_eq!(files(&p.path("b")), before);
}

#[test]
fn a_corrupt_source_is_refused_or_labelled() {
    let p = Place::new();
    p.backup(serde_json::json!({"name": "sound"})).unwrap();
    let sound = p.source();
    // An interior page that is none any more.
    let page = {
        let db = Connection::open(p.path("s.db")).unwrap();
        db.query_row("SELECT rootpage FROM sqlite_schema WHERE name = 't'", [], |r| r.get::<_, u32>(0)).unwrap()
    };
    let mut f = fs::OpenOptions::new().write(true).open(p.path("s.db")).unwrap();
    f.seek(SeekFrom::Start(u64::from(page - 1) * 4096)).unwrap();
    f.write_all(&[0x5a; 64]).unwrap();
    let e = p.backup(serde_json::json!({"name": "refused"})).unwrap_err();
    assert!(e.contains("the source is damaged") && e.contains("allow_damaged") && e.contains("DBINT_CORRUPT"), "{e}");
    let list = |p: &Place| {
        ask(&p.db, &format!("SELECT group_concat(name || ' ' || status || ' ' || (detail IS NOT NULL)) FROM backups('{}')", p.path("b").display())).unwrap()
    };
    assert_eq!(list(&p), "sound SUCCESS 0");
    assert_eq!(p.verify()["ok"], true);
    let made = p.backup(serde_json::json!({"name": "labelled", "allow_damaged": true})).unwrap();
    assert!(made["damaged"].is_string() && made["proven"] == true, "{made}");
    assert_eq!(list(&p), "sound SUCCESS 0,labelled SUCCESS 1");
    p.gives_back("labelled", &p.source()).unwrap();
    p.gives_back("sound", &sound).unwrap();
    // Nothing is built on it.
    fs::write(p.path("s.db"), &sound).unwrap();
    let made = p.backup(serde_json::json!({"type": "incremental"})).unwrap();
    assert_eq!((made["proven"].as_bool(), made["changed_pages"].as_u64()), (Some(true), Some(0)), "{made}");
}

const INSIDE: &str = "BACKUP_FAULTS_INSIDE";

/// Not a test of its own: in a process with its own mounts, where a disk of any size can be had.
#[test]
#[cfg(target_os = "linux")]
fn inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let p = Place::new();
    let (disk, source) = (p.path("disk"), p.path("s.db"));
    fs::create_dir_all(&disk).unwrap();
    let mount = |options: &str| {
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&disk).status().unwrap();
        assert!(done.success());
    };
    let rounds = count("BACKUP_FULL_DISKS", 12);
    let (mut failed, mut unproven) = (0, 0);
    for round in 0..rounds {
        mount(&format!("size={}k", 64 + 2600 * round / rounds));
        let o = serde_json::json!({"path": disk.join("b"), "compression": if round % 2 == 0 { "none" } else { "zstd" }});
        let sql = format!("SELECT backup_database('{}', '{o}')", source.display());
        let path = serde_json::json!({"path": disk.join("b")}).to_string();
        let mut good = 0;
        for _ in 0..3 {
            p.change();
            match ask(&p.db, &sql) {
                Err(e) => {
                    assert!(e.contains("DBINT_FULL"), "round {round}: {e}");
                    failed += 1;
                }
                Ok(made) => {
                    good += 1;
                    unproven += u32::from(made.contains("no room for a restore test"));
                }
            }
            if disk.join("b/repository.json").exists() {
                let said = json(&p.db, &format!("SELECT verify_backup(NULL, '{path}')"));
                assert_eq!((said["ok"].as_bool(), said["backups"].as_u64()), (Some(true), Some(good)), "round {round}: {said}");
            }
        }
        mount("remount,size=64m");
        let made = json(&p.db, &sql);
        assert_eq!(made["proven"], true, "round {round}: {made}");
        assert_eq!(json(&p.db, &format!("SELECT verify_backup(NULL, '{path}')"))["ok"], true);
        assert!(Command::new("umount").arg(&disk).status().unwrap().success());
    }
    // A restore says so before it writes.
    p.backup(serde_json::json!({"name": "all"})).unwrap();
    mount("size=100k");
    let e = ask(&p.db, &format!("SELECT restore_database('all', '{}', '{}')", disk.join("x.db").display(), p.options(serde_json::json!({})))).unwrap_err();
    assert!(e.contains("the disk has") && e.contains("nothing was written") && e.contains("DBINT_FULL"), "{e}");
    assert!(files(&disk).is_empty());
    assert!(failed > 3 && unproven > 0, "{failed} failed, {unproven} unproven");
    println!("{rounds} sizes of a full disk: {failed} backups failed, {unproven} were stored without a restore test, all went on with room");
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk() {
    let mut c = Command::new("unshare");
    c.args(["--map-root-user", "--mount"]);
    if !c.arg("true").status().is_ok_and(|s| s.success()) {
        println!("NOT TRIED: this machine lets nobody mount; tests/backup_kill.rs limits the size of files instead");
        return;
    }
    let mut c = Command::new("unshare");
    c.args(["--map-root-user", "--mount"]).arg(std::env::current_exe().unwrap()).args(["--exact", "inside", "--nocapture"]).env(INSIDE, "1");
    let out = c.output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    println!("{}", text.lines().find(|l| l.contains("sizes of a full disk")).unwrap());
}

const BIG: &str = "BACKUP_FAULTS_BIG";

/// A sound database whose pages are nearly all free: its file has holes, so that a large one costs no room.
fn large(path: &Path, bytes: u64) {
    Connection::open(path).unwrap().execute_batch("PRAGMA page_size=4096; CREATE TABLE t(x); INSERT INTO t VALUES(42)").unwrap();
    let mut f = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let last = (bytes / 4096) as u32;
    // SQLite never uses the page at 1 GB, where its locks are.
    let free: Vec<u32> = (3..=last).filter(|n| *n != (1 << 30) / 4096 + 1).collect();
    let mut put = |at: u64, words: &[u32]| {
        f.seek(SeekFrom::Start(at)).unwrap();
        f.write_all(&words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>()).unwrap();
    };
    // A trunk page of the list of free pages: the next trunk, how many leaves, which.
    let mut groups = free.chunks(4096 / 4 - 7).peekable();
    while let Some([trunk, leaves @ ..]) = groups.next() {
        let next = groups.peek().and_then(|g| g.first()).copied().unwrap_or(0);
        put(u64::from(trunk - 1) * 4096, &[&[next, leaves.len() as u32], leaves].concat());
    }
    put(28, &[last, 3, free.len() as u32]);
    f.set_len(u64::from(last) * 4096).unwrap();
}

/// Not a test of its own: with little memory.
#[test]
#[cfg(target_os = "linux")]
fn with_little_memory() {
    let Ok(dir) = std::env::var(BIG) else { return };
    let dir = Path::new(&dir);
    let db = open(&dir.join("hub.db"));
    let o = serde_json::json!({"path": dir.join("b")}).to_string();
    for ty in ["full", "incremental"] {
        let o = serde_json::json!({"path": dir.join("b"), "type": ty}).to_string();
        let made = json(&db, &format!("SELECT backup_database('{}', '{o}')", dir.join("big.db").display()));
        assert_eq!((made["proven"].as_bool(), made["type"].as_str()), (Some(true), Some(ty)), "{made}");
    }
    json(&db, &format!("SELECT restore_database('2999-01-01', '{}', '{o}')", dir.join("back.db").display()));
}

/// Memory grows by some bytes a page, never with the pages themselves: 10 GB go through with 1 GB of address space.
#[test]
#[cfg(target_os = "linux")]
fn a_source_larger_than_memory() {
    let gb = std::env::var("BACKUP_BIG_GB").ok().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.1);
    let dir = tempfile::tempdir().unwrap();
    large(&dir.path().join("big.db"), (gb * 1e9) as u64);
    // The program itself, its threads and SQLite take 200 MB of addresses; the rest grows with the number of pages.
    let kb = 200_000 + (gb * 80_000.0) as u64;
    let script = format!("ulimit -v {kb}; export MALLOC_ARENA_MAX=1; exec \"$0\" --exact with_little_memory --nocapture --test-threads 1");
    let out = Command::new("bash").args(["-c", &script]).arg(std::env::current_exe().unwrap()).env(BIG, dir.path()).output().unwrap();
    assert!(out.status.success(), "{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    let kept = |name: &str| std::os::unix::fs::MetadataExt::blocks(&fs::metadata(dir.path().join(name)).unwrap()) * 512;
    println!("{gb} GB within {} MB of addresses; the source has {} bytes on the disk, the restored file {}", kb / 1000, kept("big.db"), kept("back.db"));
    let same = Command::new("cmp").arg(dir.path().join("big.db")).arg(dir.path().join("back.db")).status().unwrap();
    assert!(same.success());
}
