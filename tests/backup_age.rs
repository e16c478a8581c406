//! Encrypted backups are `age` files: the `age` tool opens ours, and we open the tool's.
#[path = "backup_kit.rs"]
mod kit;

use kit::*;
use rusqlite::Connection;
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

fn tool(program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}: run tests/setup"));
    let mut ask = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || ask.write_all(&input));
    let out = child.wait_with_output().unwrap();
    let _ = writer.join();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// A full and an incremental backup of `s.db` in `dir/repo` with the key in `dir/key`.
fn backups(dir: &Path, key: &[u8]) -> Connection {
    fs::write(dir.join("key"), key).unwrap();
    let db = open(&dir.join("s.db"));
    db.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, x); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO t SELECT i, hex(randomblob(200)) FROM n")
        .unwrap();
    for ty in ["full", "incremental"] {
        json(&db, &format!("SELECT backup_database(NULL, '{}')", options(dir, &[("type", ty), ("name", ty)])));
        db.execute_batch("UPDATE t SET x = 'changed' WHERE id = 1500").unwrap();
    }
    db
}

fn options(dir: &Path, more: &[(&str, &str)]) -> String {
    let mut o = serde_json::json!({"path": dir.join("repo"), "key_file": dir.join("key")});
    more.iter().for_each(|(k, v)| o[*k] = serde_json::json!(v));
    o.to_string()
}

fn secrets(dir: &Path) -> Vec<PathBuf> {
    needed(&dir.join("repo")).into_iter().filter(|p| p.parent().is_some_and(|d| !d.ends_with("repo"))).collect()
}

/// Decrypts a repository by the tool into a plain one: only what `repository.json` says about encryption changes.
fn plain(dir: &Path, identity: &Path, to: &Path) {
    for file in secrets(dir) {
        let copy = to.join(file.strip_prefix(dir.join("repo")).unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        assert!(fs::read(&file).unwrap().starts_with(b"age-encryption.org/v1\n"));
        fs::write(copy, tool("age", &["-d", "-i", identity.to_str().unwrap(), file.to_str().unwrap()], b"")).unwrap();
    }
    let about = fs::read_to_string(dir.join("repo/repository.json")).unwrap();
    let mut about: serde_json::Value = serde_json::from_str(about.lines().next().unwrap()).unwrap();
    about["encryption"] = serde_json::Value::Null;
    let sum = String::from_utf8(tool("sha256sum", &[], about.to_string().as_bytes())).unwrap();
    fs::write(to.join("repository.json"), format!("{about}\n{}\n", &sum[..64])).unwrap();
}

fn opens_as_a_plain_repository(dir: &Path, identity: &Path) {
    let to = dir.join("plain");
    plain(dir, identity, &to);
    let db = open(&dir.join("other.db"));
    let path = serde_json::json!({"path": to}).to_string();
    let said = json(&db, &format!("SELECT verify_backup(NULL, '{path}')"));
    assert_eq!((said["ok"].as_bool(), said["backups"].as_u64()), (Some(true), Some(2)), "{said}");
    for name in ["full", "incremental"] {
        let restored = dir.join(format!("{name}.db"));
        json(&db, &format!("SELECT restore_database('{name}', '{}', '{path}')", restored.display()));
        let n = Connection::open(&restored).unwrap().query_row("SELECT count(*) + 10000 * sum(x = 'changed') FROM t", [], |r| r.get::<_, i64>(0)).unwrap();
        assert_eq!(n, if name == "full" { 3000 } else { 13_000 });
    }
}

#[test]
fn an_identity_of_the_tool() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // The whole file as age-keygen writes it, comments included.
    let db = backups(dir, &tool("age-keygen", &[], b""));
    opens_as_a_plain_repository(dir, &dir.join("key"));
    // What the tool encrypted, we open.
    let recipient = String::from_utf8(tool("age-keygen", &["-y", dir.join("key").to_str().unwrap()], b"")).unwrap();
    for file in secrets(dir) {
        let clear = tool("age", &["-d", "-i", dir.join("key").to_str().unwrap(), file.to_str().unwrap()], b"");
        fs::write(&file, tool("age", &["-r", recipient.trim()], &clear)).unwrap();
    }
    let said = json(&db, &format!("SELECT verify_backup(NULL, '{}')", options(dir, &[])));
    assert_eq!(said["ok"], true, "{said}");
    // Another key opens nothing, and no message shows one.
    let own = fs::read_to_string(dir.join("key")).unwrap();
    fs::write(dir.join("key"), tool("age-keygen", &[], b"")).unwrap();
    let e = ask(&db, &format!("SELECT restore_database('full', '{}', '{}')", dir.join("no.db").display(), options(dir, &[]))).unwrap_err();
    assert!(e.contains("key does not open") && e.contains("DBINT_DENIED") && !e.contains("AGE-SECRET"), "{e}");
    let without = serde_json::json!({"path": dir.join("repo")});
    let e = ask(&db, &format!("SELECT verify_backup(NULL, '{without}')")).unwrap_err();
    assert!(e.contains("are encrypted"), "{e}");
    let secret = own.lines().last().unwrap();
    assert!(
        files(dir).iter().filter(|f| !f.ends_with("key")).all(|f| !fs::read(f).unwrap().windows(secret.len()).any(|w| w == secret.as_bytes())),
        "the key lies in a file"
    );
}

#[test]
fn a_recipient_alone_writes_what_its_identity_reads() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let identity = tool("age-keygen", &[], b"");
    fs::write(dir.join("identity"), &identity).unwrap();
    let recipient = tool("age-keygen", &["-y", dir.join("identity").to_str().unwrap()], b"");
    fs::write(dir.join("key"), &recipient).unwrap();
    let db = open(&dir.join("s.db"));
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES(42)").unwrap();
    let made = json(&db, &format!("SELECT backup_database(NULL, '{}')", options(dir, &[("name", "one")])));
    assert_eq!((made["proven"].as_bool(), made["encrypted"].as_bool()), (Some(false), Some(true)), "{made}");
    fs::write(dir.join("key"), &identity).unwrap();
    let tested = json(&db, &format!("SELECT restore_test('one', '{}')", options(dir, &[])));
    assert_eq!(tested["ok"], true, "{tested}");
}

#[test]
fn a_passphrase_opens_the_identity_by_the_tool() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    backups(dir, b"correct horse battery staple\n");
    let (sealed, identity) = (dir.join("repo/identity.age"), dir.join("identity"));
    let mut age = rexpect::spawn(&format!("age -d -o {} {}", identity.display(), sealed.display()), Some(20_000)).unwrap();
    age.exp_string("passphrase").unwrap();
    age.send_line("correct horse battery staple").unwrap();
    age.exp_eof().unwrap();
    for _ in 0..50 {
        if fs::metadata(&identity).is_ok_and(|m| m.len() > 0) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(fs::read_to_string(&identity).unwrap().starts_with("AGE-SECRET-KEY-1"));
    opens_as_a_plain_repository(dir, &identity);
}
