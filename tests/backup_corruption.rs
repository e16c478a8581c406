//! Whatever happens to a byte that a backup needs, `verify_backup` finds it; and an intact repository raises no alarm.
//!
//! BACKUP_CORRUPTIONS (10000 for the full proof) and BACKUP_INTACT (1000) choose the counts, BACKUP_CORRUPTION_SEED the run.
#[path = "backup_kit.rs"]
mod kit;

use kit::*;
use rusqlite::Connection;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

/// A hub with two databases and their backups, full, incremental and differential, in `dir/name`.
struct Fixture {
    db: Connection,
    repo: PathBuf,
    options: String,
    /// Each backup's id and the database it must give back.
    backups: Vec<(String, Vec<u8>)>,
}

impl Fixture {
    fn make(dir: &Path, name: &str, key: Option<&str>, r: &mut Random) -> Fixture {
        let dir = dir.join(name);
        fs::create_dir_all(&dir).unwrap();
        let key_file = dir.join("key");
        let mut options = serde_json::json!({"path": dir.join("repo")});
        if let Some(key) = key {
            fs::write(&key_file, key).unwrap();
            options["key_file"] = serde_json::json!(key_file);
        }
        let db = open(&dir.join("hub.db"));
        ask(&db, "SELECT dbint_init()").unwrap();
        let mut f = Fixture { db, repo: dir.join("repo"), options: options.to_string(), backups: vec![] };
        for (source, rows) in [("a.db", 200), ("b.db", 40)] {
            let file = dir.join(source);
            let writer = Connection::open(&file).unwrap();
            writer
                .execute_batch(&format!(
                    "PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, x); CREATE INDEX t_x ON t(x);
                     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) INSERT INTO t SELECT i, hex(randomblob(100)) FROM n"
                ))
                .unwrap();
            for ty in ["full", "incremental", "incremental", "differential", "incremental"] {
                let id = r.below(rows) + 1;
                writer.execute(&format!("UPDATE t SET x = hex(randomblob(120)) WHERE id BETWEEN {id} AND {}", id + 20), []).unwrap();
                writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
                f.backup(&file, ty);
            }
        }
        f
    }

    fn with(&self, key: &str, value: &str) -> String {
        let mut o: serde_json::Value = serde_json::from_str(&self.options).unwrap();
        o[key] = serde_json::json!(value);
        o.to_string()
    }

    fn backup(&mut self, file: &Path, ty: &str) {
        let made = json(&self.db, &format!("SELECT backup_database('{}', '{}')", file.display(), self.with("type", ty)));
        assert_eq!(made["proven"], true, "{made}");
        self.backups.push((made["backup_id"].as_str().unwrap().to_owned(), fs::read(file).unwrap()));
    }

    /// None: all is well; else what was found.
    fn verify(&self, id: Option<&str>) -> Option<String> {
        let id = id.map_or("NULL".to_owned(), |id| format!("'{id}'"));
        match ask(&self.db, &format!("SELECT verify_backup({id}, '{}')", self.options)) {
            Ok(text) => {
                let said: serde_json::Value = serde_json::from_str(&text).unwrap();
                (said["ok"] != true).then(|| said["problems"][0]["problem"].as_str().unwrap_or("?").to_owned())
            }
            Err(e) => Some(e),
        }
    }
}

/// Files as they were, to put back.
type Before = Vec<(PathBuf, Vec<u8>)>;

/// Damages something; returns the kind of fault and what to put back. Never leaves all bytes as they were.
fn damage(r: &mut Random, files: &[PathBuf]) -> (&'static str, Before) {
    loop {
        let path = r.pick(files).clone();
        let old = fs::read(&path).unwrap();
        let mut new = old.clone();
        let at = r.below(old.len());
        let before = vec![(path.clone(), old.clone())];
        let kind = match r.below(9) {
            0 | 1 => {
                new[at] ^= 1 << r.below(8);
                "bit flip"
            }
            2 => {
                new[at] = r.next() as u8;
                "byte"
            }
            3 => {
                let end = (at + 1 + r.below(4096)).min(new.len());
                new[at..end].iter_mut().for_each(|b| *b = 0);
                "zeroed block"
            }
            4 => {
                new.truncate(at);
                "truncated"
            }
            5 => {
                let more: Vec<u8> = (0..1 + r.below(100)).map(|_| r.next() as u8).collect();
                new.extend(more);
                "extended"
            }
            6 => {
                let from = r.below(old.len());
                let n = (1 + r.below(512)).min(old.len() - from).min(old.len() - at);
                new[at..at + n].copy_from_slice(&old[from..from + n]);
                "misplaced write"
            }
            7 => {
                fs::remove_file(&path).unwrap();
                return ("deleted", before);
            }
            _ => {
                let other = r.pick(files).clone();
                let theirs = fs::read(&other).unwrap();
                if theirs == old || path.extension() != other.extension() || path.parent() != other.parent() {
                    continue;
                }
                fs::write(&path, &theirs).unwrap();
                fs::write(&other, &old).unwrap();
                return ("swapped", vec![(path, old), (other, theirs)]);
            }
        };
        if new != old {
            fs::write(&path, &new).unwrap();
            return (kind, before);
        }
    }
}

#[test]
fn every_corruption_is_found() {
    let rounds = count("BACKUP_CORRUPTIONS", 300);
    let (seed, mut r) = Random::from_env("BACKUP_CORRUPTION");
    println!("seed {seed}");
    let dir = tempfile::tempdir().unwrap();
    let identity = "AGE-SECRET-KEY-104ZZKQYG39WX5CVMFWHWS9M7D8KC9UJYXDZ6JTKAN40F9J4YZESQK8FRES";
    let fixtures = [Fixture::make(dir.path(), "plain", None, &mut r), Fixture::make(dir.path(), "sealed", Some(identity), &mut r)];
    let mut found: BTreeMap<(&str, String), u32> = BTreeMap::new();
    let (mut restored, started) = (0, Instant::now());
    for round in 0..rounds {
        let f = &fixtures[round % 2];
        let list = needed(&f.repo);
        let (kind, before) = damage(&mut r, &list);
        let name = before[0].0.strip_prefix(&f.repo).unwrap().display().to_string();
        assert!(f.verify(None).is_some(), "seed {seed}, round {round}: {kind} of {name} was not found");
        // What one backup is said to be, it is: good ones restore byte for byte, whatever else is damaged.
        if round % 8 < 2 {
            let (id, bytes) = r.pick(&f.backups);
            let to = dir.path().join("restored.db");
            let good = f.verify(Some(id)).is_none();
            let back = ask(&f.db, &format!("SELECT restore_database('{id}', '{}', '{}')", to.display(), f.options));
            if good {
                back.unwrap_or_else(|e| panic!("seed {seed}, round {round}: {kind} of {name}: {e}"));
            }
            if to.exists() {
                assert!(fs::read(&to).unwrap() == *bytes, "seed {seed}, round {round}: {kind} of {name}: restored other bytes");
                fs::remove_file(&to).unwrap();
                restored += 1;
            }
        }
        before.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
        *found.entry((kind, name.split(['/', '\\']).next().unwrap().to_owned())).or_default() += 1;
    }
    println!("{rounds} corruptions, all found, {restored} restores beside them equal, {:.0} s", started.elapsed().as_secs_f64());
    found.iter().for_each(|((kind, place), n)| println!("  {kind:15} {place:15} {n}"));
    assert!(fixtures.iter().all(|f| f.verify(None).is_none()), "seed {seed}: an alarm when all was put back");
}

#[test]
fn a_passphrase_and_its_identity_are_covered() {
    let (seed, mut r) = Random::from_env("BACKUP_CORRUPTION");
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::make(dir.path(), "phrase", Some("correct horse battery staple"), &mut r);
    let identity = f.repo.join("identity.age");
    assert!(f.verify(None).is_none());
    for _ in 0..count("BACKUP_CORRUPTIONS", 300) / 50 {
        let (kind, before) = damage(&mut r, std::slice::from_ref(&identity));
        assert!(f.verify(None).is_some(), "seed {seed}: {kind} of the identity was not found");
        before.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    }
    fs::write(dir.path().join("phrase/key"), "another").unwrap();
    assert!(f.verify(None).unwrap().contains("key does not open"));
}

#[test]
fn intact_repositories_raise_no_alarm() {
    let rounds = count("BACKUP_INTACT", 40);
    let (seed, mut r) = Random::from_env("BACKUP_CORRUPTION");
    println!("seed {seed}");
    let dir = tempfile::tempdir().unwrap();
    let mut f = Fixture::make(dir.path(), "intact", None, &mut r);
    let file = dir.path().join("intact/a.db");
    let writer = Connection::open(&file).unwrap();
    let started = Instant::now();
    for round in 0..rounds {
        let n = 1 + r.below(60);
        match r.below(6) {
            0 => writer.execute_batch(&format!("DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY random() LIMIT {n})")),
            1 => writer.execute_batch("VACUUM"),
            _ => writer.execute_batch(&format!("INSERT INTO t(x) SELECT hex(randomblob({n})) FROM t LIMIT {n}; UPDATE t SET x = x || 'y' WHERE id % {n} = 0")),
        }
        .unwrap();
        let ty = *r.pick(&["full", "incremental", "incremental", "incremental", "differential"]);
        writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        f.backup(&file, ty);
        if r.below(5) == 0 {
            let mut o: serde_json::Value = serde_json::from_str(&f.options).unwrap();
            o["days"] = 0.into();
            o["count"] = (1 + r.below(8)).into();
            o["generations"] = 1.into();
            let gone = json(&f.db, &format!("SELECT prune_backups('{o}')"));
            let ids: Vec<&str> = gone["removed"].as_array().unwrap().iter().filter_map(|b| b["backup_id"].as_str()).collect();
            f.backups.retain(|(id, _)| !ids.contains(&id.as_str()));
        }
        if let Some(said) = f.verify(None) {
            panic!("seed {seed}, round {round}: false alarm: {said}");
        }
        let (id, bytes) = r.pick(&f.backups);
        let to = dir.path().join("restored.db");
        ask(&f.db, &format!("SELECT restore_database('{id}', '{}', '{}')", to.display(), f.options)).unwrap();
        assert!(fs::read(&to).unwrap() == *bytes, "seed {seed}, round {round}: restored other bytes");
        fs::remove_file(&to).unwrap();
    }
    println!("{rounds} intact, no alarm, each with a restore equal byte for byte, {:.0} s", started.elapsed().as_secs_f64());
}
