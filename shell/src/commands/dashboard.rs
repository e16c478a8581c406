//! `dbint dashboard`: the fleet as a live page on loopback.
use super::{
    fleet::{self, Cache},
    page, place,
    serve::{Answer, Pages, Server, header},
    signals::Stop,
};
use crate::error::{self, Result};
use clap::Args;
use rusqlite::Connection;
use serde_json::Value as Json;
use std::{
    io::{self, Read, Write},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tiny_http::{Method, Request};

#[derive(Args)]
pub struct Dashboard {
    /// The folder of the databases [default: DBINT_WORKSPACE, else the current one]
    dir: Option<PathBuf>,
    /// The database with dbint's tables [default: the one in the folder that has them]
    #[arg(long, value_name = "FILE")]
    hub: Option<PathBuf>,
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Monitor the fleet meanwhile, every so many seconds; without a number each group of metrics at its own interval
    #[arg(long, value_name = "SECONDS", num_args = 0..=1)]
    monitor: Option<Option<f64>>,
}

impl Dashboard {
    pub fn run(self) -> Result<u8> {
        let dir = place::workspace(self.dir.as_deref())?;
        let (path, opened) = place::open(self.hub.as_deref(), &dir, false)?;
        let db = &opened.db;
        let stop = Stop::on_signal(None)?;
        let random = |n: u32| db.query_row("SELECT lower(hex(randomblob(?)))", [n], |r| r.get::<_, String>(0));
        let token = random(16)?;
        let server = Server::open(&format!("127.0.0.1:{}", self.port), &path, pages(token.clone(), path.display().to_string()))?;
        if let Some(interval) = self.monitor
            && let Err(e) = db.query_row("SELECT monitor_start(?)", [interval], |_| Ok(()))
        {
            eprintln!("The page shows what was measured before: {}", error::explain(db, &e.into()));
        }
        let mut out = io::stdout();
        writeln!(out, "Dashboard of {}\n\n  {}/?token={token}\n\nThe address works on this machine only. Ctrl-C ends it.", path.display(), server.address())?;
        out.flush()?;
        while !stop.is_set() {
            std::thread::sleep(Duration::from_millis(100));
        }
        if self.monitor.is_some() {
            db.query_row("SELECT monitor_stop()", [], |_| Ok(()))?;
        }
        Ok(0)
    }
}

/// Comparing must not tell, by its time, how much of a guess was right.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |d, (x, y)| d | (x ^ y)) == 0
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let raw = query.split('&').find_map(|p| p.strip_prefix(name)?.strip_prefix('='))?;
    let bytes = raw.replace('+', " ").into_bytes();
    let (mut out, mut i) = (vec![], 0);
    while let Some(&b) = bytes.get(i) {
        let hex = (b == b'%').then(|| bytes.get(i + 1..i + 3)).flatten().and_then(|h| u8::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok());
        out.push(hex.unwrap_or(b));
        i += if hex.is_some() { 3 } else { 1 };
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

const COOKIE: &str = "dbint_token";

fn pages(token: String, hub: String) -> Pages {
    let cache = Cache::default();
    Arc::new(move |db, request| {
        let url = request.url().to_owned();
        let (path, query) = url.split_once('?').unwrap_or((&url, ""));
        if let Some(given) = parameter(query, "token") {
            if path != "/" || !same(&given, &token) {
                return Answer::error(401, "This token is not valid. The dashboard prints the right address when it starts.");
            }
            // From here on the token is in a cookie that no other site can use, and out of the address.
            let cookie = format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/");
            return Answer { status: 303, headers: vec![("Location", "/".into()), ("Set-Cookie", cookie)], ..Answer::error(303, "") };
        }
        let mine = header(request, "Cookie")
            .is_some_and(|c| c.split(';').any(|p| p.trim().strip_prefix(COOKIE).and_then(|r| r.strip_prefix('=')).is_some_and(|t| same(t, &token))));
        if !mine {
            return Answer::error(401, "Open the address the dashboard printed when it started: it carries the token.");
        }
        route(db, request, &cache, &hub, path, query).unwrap_or_else(|e| Answer::error(500, &e.to_string()))
    })
}

fn route(db: &Connection, request: &mut Request, cache: &Cache, hub: &str, path: &str, query: &str) -> Result<Answer> {
    let method = request.method().clone();
    let json = |j: &Json| Answer::new("application/json", j.to_string());
    Ok(match (method, path) {
        (Method::Get, "/") => {
            let nonce: String = db.query_row("SELECT lower(hex(randomblob(12)))", [], |r| r.get(0))?;
            let policy = format!(
                "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; style-src-attr 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            );
            let html = page::render("dbint fleet", hub, &nonce, None, 1);
            Answer { headers: vec![("Content-Security-Policy", policy)], ..Answer::new("text/html; charset=utf-8", html) }
        }
        (Method::Get, "/api/state") => json(&fleet::state(db, cache, &parameter(query, "q").unwrap_or_default())?),
        (Method::Get, "/api/series") => {
            let metric = parameter(query, "metric").unwrap_or_default();
            let hours = parameter(query, "hours").and_then(|h| h.parse().ok()).unwrap_or(24);
            match page::METRICS.iter().find(|m| m.0 == metric) {
                Some((metric, _)) if page::TIMES.iter().any(|t| t.0 == hours) => json(&fleet::series(db, metric, hours)?),
                _ => Answer::error(400, "no such metric or time"),
            }
        }
        (Method::Post, "/api/acknowledge") => acknowledge(db, request)?,
        (_, "/" | "/api/state" | "/api/series" | "/api/acknowledge") => Answer::error(405, "not this way"),
        _ => Answer::error(404, "no such page"),
    })
}

/// Only from this very page: a form of another site has another origin, and no JSON.
fn acknowledge(db: &Connection, request: &mut Request) -> Result<Answer> {
    let origin = header(request, "Origin").unwrap_or_default();
    let host = header(request, "Host").unwrap_or_default();
    let is_json = header(request, "Content-Type").is_some_and(|t| t.starts_with("application/json"));
    if origin != format!("http://{host}") || !is_json {
        return Ok(Answer::error(403, "from the page only"));
    }
    let mut body = String::new();
    request.as_reader().take(10_000).read_to_string(&mut body)?;
    let wish: Json = serde_json::from_str(&body).unwrap_or_default();
    let Some(id) = wish.get("alert_id").and_then(Json::as_str) else { return Ok(Answer::error(400, "which alert?")) };
    Ok(match db.query_row("SELECT acknowledge_alert(?, 'dashboard')", [id], |r| r.get::<_, String>(0)) {
        Ok(text) => Answer::new("application/json", text),
        Err(e) => Answer::error(409, &e.to_string()),
    })
}
