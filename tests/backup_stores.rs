//! Backups in stores: the S3 of moto, the Azure of Azurite, the client for Google Cloud Storage against moto, and a connection
//! that is cut. Needs the feature `cloud` and `tests/setup`.
//!
//! Credentials and endpoints are environment, so every call runs in a process of its own.
#[path = "backup_kit.rs"]
mod kit;

use dbint_tests::client;
use kit::*;
use rusqlite::Connection;
use serde_json::Value as Json;
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU16, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

const SQL: &str = "BACKUP_STORES_SQL";

/// Not a test of its own: one statement in a process with its own environment.
#[test]
fn child() {
    if let Ok(sql) = std::env::var(SQL) {
        let db = open(Path::new(&std::env::var("BACKUP_STORES_DB").unwrap()));
        match ask(&db, &sql) {
            Ok(said) => println!("\nANSWER {said}"),
            Err(e) => println!("\nERROR {e}"),
        }
    }
}

type Env = Vec<(&'static str, String)>;

struct Site {
    dir: tempfile::TempDir,
    env: Env,
}

impl Site {
    /// A database of a few MB with a full and an incremental backup, in `b`.
    fn new(env: Env) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let site = Site { dir, env };
        let db = Connection::open(site.path("s.db")).unwrap();
        db.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, x); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 24000) INSERT INTO t SELECT i, randomblob(1000) FROM n")
            .unwrap();
        site.backup("full");
        db.execute_batch("UPDATE t SET x = randomblob(900) WHERE id % 40 = 0").unwrap();
        site.backup("incremental");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn backup(&self, ty: &str) {
        self.ok(&format!("SELECT backup_database('{}', '{{\"type\":\"{ty}\",\"name\":\"{ty}\"}}')", self.path("s.db").display()));
    }

    fn run(&self, sql: &str) -> Result<Json, String> {
        let mut c = Command::new(std::env::current_exe().unwrap());
        c.args(["--exact", "child", "--nocapture"]).env(SQL, sql).env("BACKUP_STORES_DB", self.path("hub.db")).env("BACKUP_PATH", self.path("b"));
        let out = c.envs(self.env.iter().map(|(k, v)| (k, v))).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let find = |word: &str| text.lines().find_map(|l| l.strip_prefix(word)).map(str::to_owned);
        match (find("ANSWER "), find("ERROR ")) {
            (Some(a), _) => Ok(serde_json::from_str(&a).unwrap_or(Json::String(a))),
            (_, Some(e)) => Err(e),
            _ => panic!("{sql}: {text} {}", String::from_utf8_lossy(&out.stderr)),
        }
    }

    fn ok(&self, sql: &str) -> Json {
        self.run(sql).unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// List, verify and restore from `url`; the database must come back byte for byte.
    fn reads_back(&self, url: &str) {
        assert_eq!(self.ok(&format!("SELECT group_concat(name || ' ' || status) FROM backups('{url}')")), "full SUCCESS,incremental SUCCESS");
        let said = self.ok(&format!("SELECT verify_backup(NULL, '{{\"path\":\"{url}\"}}')"));
        assert_eq!((said["ok"].as_bool(), said["backups"].as_u64()), (Some(true), Some(2)), "{said}");
        let to = self.path("back.db");
        self.ok(&format!("SELECT restore_database('incremental', '{}', '{{\"path\":\"{url}\"}}')", to.display()));
        assert!(fs::read(&to).unwrap() == fs::read(self.path("s.db")).unwrap());
        fs::remove_file(&to).unwrap();
    }

    /// All that a store must do; `url` is empty, `second` another bucket.
    fn round_trip(&self, url: &str, second: &str) {
        let started = Instant::now();
        let first = self.ok(&format!("SELECT copy_backups('{url}')"));
        assert_eq!(first["backups"], 2, "{first}");
        let again = self.ok(&format!("SELECT copy_backups('{url}')"));
        assert_eq!((again["files"].as_u64(), again["there_already"].as_u64()), (Some(0), first["files"].as_u64()), "{again}");
        self.reads_back(url);
        let copied = self.ok(&format!("SELECT copy_backups('{second}', '{{\"path\":\"{url}\",\"region\":\"eu-west-1\"}}')"));
        assert_eq!(copied["files"], first["files"], "{copied}");
        self.reads_back(second);
        println!(
            "{url}: {} files, {} bytes; copied, listed, verified, restored, copied on to {second}, {:.1} s",
            first["files"],
            first["bytes"],
            started.elapsed().as_secs_f64()
        );
        let e = self.run(&format!("SELECT copy_backups('{}', '{{}}')", url.replacen("://", "://no-such-", 1))).unwrap_err();
        assert!(e.contains("DBINT_"), "{e}");
    }
}

/// A server of another program, ended with the test.
struct Server {
    child: Child,
    port: u16,
}

/// Below the ports the system hands out by itself: none of those that tests beside this one listen on gets between its choice
/// and the server's start.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    loop {
        let port = NEXT.fetch_add(1, Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Server {
    fn start(program: &Path, args: &dyn Fn(u16) -> Vec<String>) -> Server {
        let port = free_port();
        // Azurite wants a Node; the machine may have none but the clients' own.
        let path = format!("{}:{}", client("newest/bin").display(), std::env::var("PATH").unwrap());
        let child = Command::new(program).args(args(port)).env("PATH", path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut server = Server { child, port };
        let until = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(server.child.try_wait().unwrap().is_none(), "{} ended", program.display());
            assert!(Instant::now() < until, "{} does not answer", program.display());
            std::thread::sleep(Duration::from_millis(100));
        }
        server
    }

    fn request(&self, head: &str, body: &[u8]) -> String {
        let mut s = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(s, "{head}\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
        s.write_all(body).unwrap();
        let mut answer = vec![];
        s.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn moto() -> Server {
    let s = Server::start(&client("stores/bin/moto_server"), &|p| vec!["-p".into(), p.to_string()]);
    for bucket in ["first", "second"] {
        assert!(s.request(&format!("PUT /{bucket} HTTP/1.1"), b"").contains(" 200 "));
    }
    s
}

fn s3(port: u16) -> Env {
    vec![
        ("AWS_ENDPOINT", format!("http://127.0.0.1:{port}")),
        ("AWS_ALLOW_HTTP", "true".into()),
        ("AWS_ACCESS_KEY_ID", "key".into()),
        ("AWS_SECRET_ACCESS_KEY", "wordofsecrecy".into()),
    ]
}

#[test]
fn s3_round_trip() {
    let server = moto();
    Site::new(s3(server.port)).round_trip("s3://first/some/folder", "s3://second");
}

#[test]
fn after_each_backup_by_environment() {
    let server = moto();
    let mut env = s3(server.port);
    for (k, v) in
        [("BACKUP_REMOTE_STORAGE", "true"), ("BACKUP_STORAGE_TYPE", "s3"), ("BACKUP_STORAGE_BUCKET", "first"), ("BACKUP_STORAGE_REGION", "eu-central-1")]
    {
        env.push((k, v.into()));
    }
    Site::new(env).reads_back("s3://first");
}

/// Forwards to a server, until so many bytes went through: then every connection is cut, and no new one is served.
struct Cut {
    port: u16,
    left: Arc<AtomicI64>,
}

impl Cut {
    fn new(to: u16, bytes: i64) -> Cut {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, left) = (listener.local_addr().unwrap().port(), Arc::new(AtomicI64::new(bytes)));
        let shared = left.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.load(Relaxed) <= 0 {
                    continue;
                }
                let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
                for (mut a, mut b) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                    let left = shared.clone();
                    std::thread::spawn(move || {
                        let mut buffer = [0; 16 << 10];
                        while let Ok(n @ 1..) = a.read(&mut buffer) {
                            if left.fetch_sub(n as i64, Relaxed) <= 0 || b.write_all(&buffer[..n]).is_err() {
                                break;
                            }
                        }
                        let _ = (a.shutdown(std::net::Shutdown::Both), b.shutdown(std::net::Shutdown::Both));
                    });
                }
            }
        });
        Cut { port, left }
    }
}

#[test]
fn a_cut_connection_is_continued() {
    let server = moto();
    let (seed, mut r) = Random::from_env("BACKUP_STORES");
    println!("seed {seed}");
    let cut = Cut::new(server.port, 0);
    let site = Site::new(s3(cut.port));
    let size: u64 = needed(&site.path("b")).iter().map(|f| fs::metadata(f).unwrap().len()).sum();
    for round in 0..count("BACKUP_CUTS", 3) {
        let url = format!("s3://first/{round}");
        // Up: cut somewhere, then continued.
        cut.left.store(r.below(size as usize) as i64, Relaxed);
        let e = site.run(&format!("SELECT copy_backups('{url}')")).unwrap_err();
        assert!(e.contains("DBINT_REMOTE") && !e.contains("wordofsecrecy"), "{e}");
        cut.left.store(i64::MAX / 2, Relaxed);
        // What is there is valid at any moment: no manifest without its packs.
        let half = site.run(&format!("SELECT verify_backup(NULL, '{{\"path\":\"{url}\"}}')"));
        assert!(half.as_ref().map_or_else(|e| e.contains("no backups in") || e.contains("NOT_FOUND"), |r| r["ok"] == true), "{half:?}");
        let rest = site.ok(&format!("SELECT copy_backups('{url}')"));
        let there = rest["there_already"].as_u64().unwrap();
        site.reads_back(&url);
        // Down: cut somewhere; nothing is left behind.
        cut.left.store(r.below(size as usize) as i64, Relaxed);
        let to = site.path("down.db");
        let e = site.run(&format!("SELECT restore_database('full', '{}', '{{\"path\":\"{url}\"}}')", to.display())).unwrap_err();
        assert!(e.contains("DBINT_REMOTE") && !to.exists(), "{e}");
        cut.left.store(i64::MAX / 2, Relaxed);
        println!("round {round}: cut at a random byte of {size}, continued with {there} files there already");
    }
}

/// Forwards to a server, in one of several moods for each connection.
struct Moody {
    port: u16,
    /// Every so many connections get no better than an error, or half an answer.
    every: Arc<AtomicI64>,
}

impl Moody {
    fn new(to: u16) -> Moody {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, every) = (listener.local_addr().unwrap().port(), Arc::new(AtomicI64::new(3)));
        let shared = every.clone();
        std::thread::spawn(move || {
            for (n, client) in (0..).zip(listener.incoming().flatten()) {
                let every = shared.load(Relaxed);
                std::thread::spawn(move || Moody::serve(client, to, n % every == every - 1, n / every % 2 == 0));
            }
        });
        Moody { port, every }
    }

    fn serve(mut client: TcpStream, to: u16, bad: bool, error: bool) {
        // Slow, always.
        std::thread::sleep(Duration::from_millis(100));
        if bad && error {
            let mut request = [0; 4096];
            let _ = client.read(&mut request);
            let _ = client.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = std::io::copy(&mut client, &mut std::io::sink());
            return;
        }
        let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
        let (mut up, mut into) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut up, &mut into);
            let _ = into.shutdown(std::net::Shutdown::Write);
        });
        let _ = std::io::copy(&mut server.take(if bad { 600 } else { u64::MAX }), &mut client);
        let _ = client.shutdown(std::net::Shutdown::Both);
    }
}

#[test]
fn a_store_that_is_slow_and_errs_and_answers_half() {
    let server = moto();
    let moody = Moody::new(server.port);
    let site = Site::new(s3(moody.port));
    let direct =
        |url: &str| Site { dir: tempfile::tempdir().unwrap(), env: s3(server.port) }.run(&format!("SELECT verify_backup(NULL, '{{\"path\":\"{url}\"}}')"));
    let clear = |e: &str| assert!(e.contains("DBINT_REMOTE") && !e.contains("wordofsecrecy"), "{e}");
    let mut tries = 0;
    // Tried again within a call; what fails all the same says so, and the next call goes on.
    while let Err(e) = site.run("SELECT copy_backups('s3://first')") {
        clear(&e);
        tries += 1;
        assert!(tries < 20, "{e}");
        let half = direct("s3://first");
        assert!(half.as_ref().map_or_else(|e| e.contains("no backups in"), |r| r["ok"] == true), "{half:?}");
    }
    let to = site.path("back.db");
    while let Err(e) = site.run(&format!("SELECT restore_database('incremental', '{}', '{{\"path\":\"s3://first\"}}')", to.display())) {
        clear(&e);
        assert!(!to.exists());
        tries += 1;
        assert!(tries < 40, "{e}");
    }
    assert!(fs::read(&to).unwrap() == fs::read(site.path("s.db")).unwrap());
    let said = direct("s3://first").unwrap();
    assert_eq!((said["ok"].as_bool(), said["backups"].as_u64()), (Some(true), Some(2)), "{said}");
    println!("copied and restored through a store in which every third answer is an error or a half; {tries} calls had to be repeated");
    // Only bad answers: an error that says so, soon.
    moody.every.store(1, Relaxed);
    let started = Instant::now();
    clear(&site.run("SELECT copy_backups('s3://second')").unwrap_err());
    assert!(started.elapsed() < Duration::from_secs(120));
}

#[test]
fn what_a_store_gives_back_is_not_trusted() {
    let server = moto();
    let site = Site::new(s3(server.port));
    site.ok("SELECT copy_backups('s3://first')");
    // The full backup's: the largest.
    let pack = files(&site.path("b/packs")).into_iter().max_by_key(|p| fs::metadata(p).unwrap().len()).unwrap();
    let name = pack.file_name().unwrap().to_str().unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    assert!(
        server
            .request(&format!("PUT /first/packs/{name} HTTP/1.1\r\nAuthorization: Bearer x\r\nContent-Type: application/octet-stream"), &bytes)
            .contains(" 200 ")
    );
    // Names that are none of a repository's are passed over.
    assert!(server.request("PUT /first/packs/evil.sh HTTP/1.1\r\nAuthorization: Bearer x", b"x").contains(" 200 "));
    let said = site.ok("SELECT verify_backup(NULL, '{\"path\":\"s3://first\"}')");
    assert_eq!(said["ok"], false, "{said}");
    let e = site.run(&format!("SELECT restore_database('full', '{}', '{{\"path\":\"s3://first\"}}')", site.path("x.db").display())).unwrap_err();
    assert!(e.contains("DBINT_CORRUPT"), "{e}");
    // A name that leads elsewhere is refused with the whole list.
    assert!(server.request("PUT /first/packs/..%2F..%2Fevil.pack HTTP/1.1\r\nAuthorization: Bearer x", b"x").contains(" 200 "));
    let e = site.run("SELECT count(*) FROM backups('s3://first')").unwrap_err();
    assert!(e.contains("DBINT_REMOTE") && e.contains("evil.pack"), "{e}");
}

/// Makes containers with the emulator's well-known key.
const CONTAINERS: &str = r#"
import base64, hashlib, hmac, sys, urllib.request
from email.utils import formatdate
port, key = sys.argv[1], base64.b64decode("Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==")
for name in sys.argv[2:]:
    date = formatdate(usegmt=True)
    text = f"PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:2021-08-06\n/devstoreaccount1/devstoreaccount1/{name}\nrestype:container"
    sig = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
    req = urllib.request.Request(f"http://127.0.0.1:{port}/devstoreaccount1/{name}?restype=container", method="PUT", headers={
        "x-ms-date": date, "x-ms-version": "2021-08-06", "Authorization": f"SharedKey devstoreaccount1:{sig}"})
    urllib.request.urlopen(req)
"#;

#[test]
fn azure_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display().to_string();
    let server = Server::start(&client("npm/node_modules/.bin/azurite-blob"), &|p| {
        ["--silent", "--skipApiVersionCheck", "--location", &at, "--blobPort", &p.to_string()].map(str::to_owned).to_vec()
    });
    let made = Command::new("/usr/bin/python3").args(["-c", CONTAINERS, &server.port.to_string(), "first", "second"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let env = vec![
        ("AZURE_STORAGE_USE_EMULATOR", "true".to_owned()),
        ("AZURITE_BLOB_STORAGE_URL", format!("http://127.0.0.1:{}", server.port)),
        ("AZURE_ALLOW_HTTP", "true".to_owned()),
    ];
    Site::new(env).round_trip("az://first/some/folder", "az://second");
}

/// Google's XML interface is S3's with other authentication, and the emulators of Google Cloud Storage do not speak it: the
/// client for Google, with a service account's signed tokens, is tried against moto, which takes any token. What this leaves
/// open is whether Google accepts them.
#[test]
fn google_round_trip() {
    let server = moto();
    let made = Command::new("openssl").args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let key = String::from_utf8(made.stdout).unwrap();
    let account = tempfile::NamedTempFile::new().unwrap();
    let json = serde_json::json!({"gcs_base_url": format!("http://127.0.0.1:{}", server.port), "client_email": "backup@example.com", "private_key": key, "private_key_id": "1"});
    fs::write(account.path(), json.to_string()).unwrap();
    let env = vec![("GOOGLE_SERVICE_ACCOUNT", account.path().display().to_string()), ("GOOGLE_ALLOW_HTTP", "true".into())];
    Site::new(env).round_trip("gs://first/some/folder", "gs://second");
}
