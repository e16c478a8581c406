//! Brings news of alerts to a log, a command, a webhook: from a queue, after the commit, holding no lock.
//!
//! A row in a database must not make dbint run or call anything: the channels are settings that count only when they
//! come from the environment or from `dbint_set` in this session.
use super::record;
use crate::db::time;
use crate::error::{At, Error, Kind, Result};
use crate::hub::{Hub, settings};
use rusqlite::{Connection, params};
use serde_json::json;
use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    Log(String),
    Command(String),
    Webhook(String),
}

pub type Channels = Vec<Channel>;

impl Channel {
    fn word(&self) -> &'static str {
        match self {
            Channel::Log(_) => "log",
            Channel::Command(_) => "command",
            Channel::Webhook(_) => "webhook",
        }
    }
}

const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);
/// A command or a server that does not answer by then has failed.
const DEADLINE: Duration = Duration::from_secs(10);

/// The channels this session allows.
pub fn channels(db: &Connection) -> Result<Channels> {
    let all = [
        settings::text(db, "alert.log_path")?.map(Channel::Log),
        settings::text(db, "alert.command")?.map(Channel::Command),
        settings::text(db, "alert.webhook")?.map(Channel::Webhook),
    ];
    Ok(all.into_iter().flatten().collect())
}

pub fn queue(db: &Connection, hub: &Hub, channels: &Channels, alert: &str, event: &str) -> Result<()> {
    for channel in channels {
        db.execute(&hub.sql("INSERT INTO hub.alert_deliveries(alert_id, event, channel) VALUES(?, ?, ?)"), [alert, event, channel.word()])?;
    }
    Ok(())
}

struct Message {
    id: i64,
    channel: String,
    json: String,
    line: String,
}

/// Sends what is queued; how many arrived. What fails three times stays as FAILED with its error.
pub fn send(db: &Connection, hub: &Hub, channels: &Channels) -> Result<usize> {
    let mut sent = 0;
    for message in pending(db, hub, channels)? {
        let Some(channel) = channels.iter().find(|c| c.word() == message.channel) else { continue };
        let mut attempts = 0;
        let outcome = loop {
            attempts += 1;
            match one(channel, &message) {
                Err(_) if attempts < ATTEMPTS => std::thread::sleep(PAUSE * 2u32.pow(attempts - 1)),
                end => break end,
            }
        };
        sent += usize::from(outcome.is_ok());
        let (status, error) = match outcome {
            Ok(()) => ("SENT", None),
            Err(e) => ("FAILED", Some(e.message)),
        };
        record::write(db, hub, |db, hub| {
            let sql = "UPDATE hub.alert_deliveries SET status = ?2, attempts = attempts + ?3, last_error = ?4, updated_at = ?5 WHERE delivery_id = ?1";
            db.execute(&hub.sql(sql), params![message.id, status, attempts, error, time::now()])?;
            Ok(())
        })?;
    }
    Ok(sent)
}

fn pending(db: &Connection, hub: &Hub, channels: &Channels) -> Result<Vec<Message>> {
    if channels.is_empty() {
        return Ok(vec![]);
    }
    let mut q = db.prepare(&hub.sql(
        "SELECT d.delivery_id, d.channel, d.event, a.alert_id, a.rule_id, a.db_name, a.severity, a.message, a.value, \
         CASE d.event WHEN 'RESOLVED' THEN a.resolved_at ELSE a.opened_at END \
         FROM hub.alert_deliveries AS d JOIN hub.alerts AS a USING(alert_id) WHERE d.status = 'PENDING' ORDER BY d.delivery_id LIMIT 1000",
    ))?;
    let all = q.query_map([], |r| {
        let text = |i| r.get::<_, Option<String>>(i).map(Option::unwrap_or_default);
        let (event, severity, message, at) = (text(2)?, text(6)?, text(7)?, text(9)?);
        let json = json!({"event": event, "alert_id": text(3)?, "rule_id": text(4)?, "db_name": text(5)?, "severity": severity,
                          "message": message, "value": r.get::<_, Option<f64>>(8)?, "at": at});
        // One line an alert, whatever names its database has.
        let line = format!("{at} {severity} {event} {}\n", message.replace(['\n', '\r'], " "));
        Ok(Message { id: r.get(0)?, channel: r.get(1)?, json: json.to_string(), line })
    })?;
    Ok(all.collect::<rusqlite::Result<_>>()?)
}

fn one(channel: &Channel, message: &Message) -> Result<()> {
    match channel {
        Channel::Log(path) => {
            if let Some(dir) = std::path::Path::new(path).parent() {
                std::fs::create_dir_all(dir).at(path)?;
            }
            std::fs::OpenOptions::new().create(true).append(true).open(path).and_then(|mut f| f.write_all(message.line.as_bytes())).at(path)
        }
        Channel::Command(line) => run(line, &message.json),
        Channel::Webhook(url) => post(url, &message.json),
    }
}

/// The words of the setting are program and arguments; no shell comes between.
fn run(line: &str, json: &str) -> Result<()> {
    let mut words = line.split_ascii_whitespace();
    let program = words.next().ok_or_else(|| Error::argument("alert.command is empty"))?;
    let mut child = Command::new(program).args(words).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().at(program)?;
    if let Some(mut to) = child.stdin.take() {
        // A command that does not read is not at fault.
        let _ = to.write_all(json.as_bytes());
    }
    let start = Instant::now();
    loop {
        match child.try_wait().at(program)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(Error::new(Kind::Io, format!("{program}: {status}"))),
            None if start.elapsed() > DEADLINE => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Error::new(Kind::Io, format!("{program}: no end after {} s", DEADLINE.as_secs())));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn post(url: &str, json: &str) -> Result<()> {
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| Error::unsupported("alert.webhook takes an http:// URL").hint("For https set alert.command to a program that posts, such as curl"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let to = address.to_socket_addrs().at(authority)?.next().ok_or_else(|| Error::new(Kind::Remote, format!("{authority}: no address")))?;
    let mut stream = TcpStream::connect_timeout(&to, DEADLINE).at(authority)?;
    stream.set_read_timeout(Some(DEADLINE)).and_then(|()| stream.set_write_timeout(Some(DEADLINE))).at(authority)?;
    let head =
        format!("POST /{path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", json.len());
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(json.as_bytes())).at(authority)?;
    let mut answer = [0u8; 64];
    let n = stream.read(&mut answer).at(authority)?;
    let line = String::from_utf8_lossy(answer.get(..n).unwrap_or_default()).into_owned();
    let status = line.split_ascii_whitespace().nth(1).unwrap_or_default();
    if status.starts_with('2') { Ok(()) } else { Err(Error::new(Kind::Remote, format!("{authority} answered {status}"))) }
}
