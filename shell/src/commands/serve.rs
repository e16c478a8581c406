//! A small web server on loopback: Prometheus metrics, and the pages of the dashboard.
//!
//! Each worker has a connection of its own to the hub. Requests must name a host that is this machine, so that a page on
//! the web cannot reach it through a name of its own; what shows or changes the fleet needs the token, too.
use crate::error::{Error, Result};
use rusqlite::Connection;
use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};
use tiny_http::{Header, Request, Response};

/// Answers what is not `/metrics`.
pub type Pages = Arc<dyn Fn(&Connection, &mut Request) -> Answer + Send + Sync>;

/// No pages: metrics only.
pub fn metrics_only() -> Pages {
    Arc::new(|_, _| Answer::error(404, "there is /metrics"))
}

/// Workers: a slow reader of one page does not hold up the next.
const WORKERS: usize = 4;

pub struct Server {
    address: SocketAddr,
    http: Arc<tiny_http::Server>,
}

/// An answer: status, type, text, and a cookie to set.
pub struct Answer {
    pub status: u16,
    pub mime: &'static str,
    pub text: String,
    pub headers: Vec<(&'static str, String)>,
}

impl Answer {
    pub fn new(mime: &'static str, text: impl Into<String>) -> Answer {
        Answer { status: 200, mime, text: text.into(), headers: vec![] }
    }

    pub fn error(status: u16, text: &str) -> Answer {
        Answer { status, ..Answer::new("text/plain; charset=utf-8", format!("{text}\n")) }
    }
}

impl Server {
    pub fn open(address: &str, hub: &Path, pages: Pages) -> Result<Server> {
        let wanted = if address.contains(':') { address.to_owned() } else { format!("127.0.0.1:{address}") };
        let socket: SocketAddr = wanted.parse().map_err(|_| Error::usage(format!("\"{address}\" is no address such as 127.0.0.1:9187")))?;
        let http = tiny_http::Server::http(socket).map_err(|e| Error::usage(format!("cannot listen on {socket}: {e}")))?;
        let http = Arc::new(http);
        let address = http.server_addr().to_ip().unwrap_or(socket);
        for _ in 0..WORKERS {
            let (http, hub, pages) = (http.clone(), hub.to_owned(), pages.clone());
            thread::spawn(move || work(&http, &hub, &pages, address));
        }
        Ok(Server { address, http })
    }

    /// `http://127.0.0.1:9187`
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for _ in 0..WORKERS {
            self.http.unblock();
        }
    }
}

fn connect(hub: &PathBuf) -> Result<Connection> {
    let db = Connection::open_with_flags(hub, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    dbint::register(&db)?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(db)
}

fn work(http: &tiny_http::Server, hub: &PathBuf, pages: &Pages, address: SocketAddr) {
    let mut db = None;
    while let Ok(mut request) = http.recv() {
        let answer = if !host_is_ours(&request, address) {
            Answer::error(421, "this server answers under its own address only")
        } else {
            if db.is_none() {
                db = connect(hub).ok();
            }
            match &db {
                None => Answer::error(503, "the hub cannot be opened"),
                Some(db) => answer(db, &mut request, pages),
            }
        };
        if answer.status >= 500 {
            // The file may have been replaced: the next request opens it anew.
            db = None;
        }
        respond(request, answer);
    }
}

fn answer(db: &Connection, request: &mut Request, pages: &Pages) -> Answer {
    let url = request.url().to_owned();
    let path = url.split('?').next().unwrap_or_default();
    if path == "/metrics" && request.method() == &tiny_http::Method::Get {
        return match db.query_row("SELECT prometheus_metrics()", [], |r| r.get::<_, String>(0)) {
            Ok(text) => Answer::new("text/plain; version=0.0.4; charset=utf-8", text),
            Err(e) => Answer::error(500, &e.to_string()),
        };
    }
    pages(db, request)
}

/// `Host` must be the address itself or a name of this machine's loopback: a rebound name of the web is neither.
fn host_is_ours(request: &Request, address: SocketAddr) -> bool {
    let Some(host) = header(request, "Host") else { return false };
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host.as_str(), |(name, _)| name);
    let ip = name.trim_matches(['[', ']']).parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip == address.ip() || address.ip().is_unspecified())
}

pub fn header(request: &Request, name: &'static str) -> Option<String> {
    request.headers().iter().find(|h| h.field.equiv(name)).map(|h| h.value.as_str().to_owned())
}

fn respond(request: Request, answer: Answer) {
    let mut response = Response::from_string(answer.text).with_status_code(answer.status);
    let fixed = [
        ("Content-Type", answer.mime.to_owned()),
        ("Cache-Control", "no-store".to_owned()),
        ("X-Content-Type-Options", "nosniff".to_owned()),
        ("Referrer-Policy", "no-referrer".to_owned()),
        ("X-Frame-Options", "DENY".to_owned()),
    ];
    for (name, value) in fixed.into_iter().chain(answer.headers) {
        if let Ok(h) = Header::from_bytes(name.as_bytes(), value.as_bytes()) {
            response.add_header(h);
        }
    }
    // The reader may be gone.
    let _ = request.respond(response);
}
