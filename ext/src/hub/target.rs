//! "Which database did the caller mean?" One rule for every function that takes a database.
//!
//! NULL is `main`; else, in this order: an attached schema, a name in the registry, a server's URL, a file path.
use super::Hub;
pub use crate::db::open::Mode;
use crate::db::{ident::same, open};
use crate::error::{Error, Result, did_you_mean};
use rusqlite::{Connection, OptionalExtension};
use std::{
    ops::Deref,
    path::{Path, PathBuf},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A database of the caller's connection: `main`, `temp` or an attached one.
    Schema(String),
    File(PathBuf),
    /// A URL without its password is in [`Target::name`]; this one has it.
    Server(String),
}

/// A database somebody named.
#[derive(Clone, Debug)]
pub struct Target {
    /// For logs and receipts: the registered name, else the file's name without its extension.
    pub name: String,
    pub place: Place,
}

/// A connection to a database: the host's own, or one of ours.
pub enum Conn<'c> {
    Host(&'c Connection),
    Own(Connection),
}

impl Deref for Conn<'_> {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        match self {
            Conn::Host(c) => c,
            Conn::Own(c) => c,
        }
    }
}

/// A connection, and the schema in it that was meant.
pub struct Session<'c> {
    pub db: Conn<'c>,
    pub schema: String,
    pub name: String,
}

impl Target {
    pub fn resolve(host: &Connection, given: Option<&str>) -> Result<Target> {
        let Some(given) = given else { return Target::schema(host, "main") };
        if given.is_empty() {
            return Err(Error::argument("the name of a database is empty").hint("NULL stands for this database"));
        }
        let attached = schemas(host)?;
        if let Some((name, _)) = attached.iter().find(|(n, _)| same(n, given)) {
            return Target::schema(host, name);
        }
        let registered = registry(host)?;
        if let Some((name, path)) = registered.iter().find(|(n, _)| n == given) {
            return Ok(Target { name: name.clone(), place: place(path) });
        }
        let place = place(given);
        if let Place::File(path) = &place
            && !path.exists()
        {
            let names = attached.iter().chain(&registered).map(|(n, _)| n.as_str());
            return Err(Error::not_found(format!("no database \"{given}\": no attached, no registered one, and no such file.{}", did_you_mean(given, names)))
                .hint("To make a new file, pass the option {\"create\":true} where there is one"));
        }
        Ok(Target::at(place, &registered))
    }

    /// As `resolve`, for a function that may make the file.
    pub fn resolve_new(host: &Connection, given: &str) -> Result<Target> {
        match Target::resolve(host, Some(given)) {
            Err(e) if e.kind == crate::Kind::NotFound => Ok(Target::at(place(given), &registry(host)?)),
            other => other,
        }
    }

    /// A file by its path, as found by a scan.
    pub fn file_at(path: &Path) -> Target {
        Target::at(Place::File(path.to_owned()), &[])
    }

    fn at(place: Place, registered: &[(String, String)]) -> Target {
        let name = match &place {
            Place::File(path) => {
                let full = path.canonicalize().unwrap_or_else(|_| path.clone());
                registered.iter().find(|(_, p)| Path::new(p) == full).map_or_else(|| stem(path), |(n, _)| n.clone())
            }
            Place::Server(url) => without_password(url),
            Place::Schema(s) => s.clone(),
        };
        Target { name, place }
    }

    fn schema(host: &Connection, schema: &str) -> Result<Target> {
        let name = match file_of(host, schema)? {
            Some(file) => {
                let full = file.canonicalize().unwrap_or(file.clone());
                registry(host)?.into_iter().find(|(_, p)| Path::new(p) == full).map_or_else(|| stem(&file), |(n, _)| n)
            }
            None => schema.to_owned(),
        };
        Ok(Target { name, place: Place::Schema(schema.to_owned()) })
    }

    /// The database's file; None for one in memory, a temporary one, and a server.
    pub fn file(&self, host: &Connection) -> Result<Option<PathBuf>> {
        match &self.place {
            Place::Schema(schema) => file_of(host, schema),
            Place::File(path) => Ok(Some(path.clone())),
            Place::Server(_) => Ok(None),
        }
    }

    /// The host's connection for its own databases, an own one for files.
    pub fn session<'c>(&self, host: &'c Connection, mode: Mode) -> Result<Session<'c>> {
        let (db, schema) = match &self.place {
            Place::Schema(s) => (Conn::Host(host), s.clone()),
            Place::File(path) => (Conn::Own(open::open(path, mode)?), "main".to_owned()),
            Place::Server(_) => return Err(Error::unsupported(format!("{} is a server, and this works on SQLite files only", self.name))),
        };
        Ok(Session { db, schema, name: self.name.clone() })
    }
}

pub fn place(text: &str) -> Place {
    let is = |scheme: &str| text.get(..scheme.len()).is_some_and(|s| same(s, scheme));
    if is("postgres://") || is("postgresql://") || is("oracle://") {
        return Place::Server(text.to_owned());
    }
    // As SQLAlchemy writes it: `sqlite:///fleet.db` is relative, `sqlite:////data/fleet.db` absolute.
    let path = if is("sqlite:///") { text.get(10..) } else { None };
    Place::File(PathBuf::from(path.unwrap_or(text)))
}

/// What may be shown of a URL.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, tail) = rest.split_once('?').map_or((rest, None), |(h, t)| (h, Some(t)));
    let host = match host.rsplit_once('@') {
        Some((user, at)) => format!("{}@{at}", user.split(':').next().unwrap_or_default()),
        None => host.to_owned(),
    };
    let tail = tail.map(|t| t.split('&').filter(|p| !p.to_ascii_lowercase().starts_with("password")).collect::<Vec<_>>().join("&"));
    match tail {
        Some(t) if !t.is_empty() => format!("{scheme}://{host}?{t}"),
        _ => format!("{scheme}://{host}"),
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| path.display().to_string(), |s| s.to_string_lossy().into_owned())
}

fn schemas(host: &Connection) -> Result<Vec<(String, String)>> {
    let mut q = host.prepare("SELECT name, coalesce(file, '') FROM pragma_database_list ORDER BY seq")?;
    Ok(q.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<rusqlite::Result<_>>()?)
}

/// The file behind a schema; None where it is in memory or temporary.
pub fn file_of(host: &Connection, schema: &str) -> Result<Option<PathBuf>> {
    let file: Option<Option<String>> =
        host.query_row("SELECT file FROM pragma_database_list WHERE name = ? COLLATE NOCASE", [schema], |r| r.get(0)).optional()?;
    Ok(file.flatten().filter(|f| !f.is_empty()).map(PathBuf::from))
}

/// Name and path of every registered database.
pub fn registry(host: &Connection) -> Result<Vec<(String, String)>> {
    let Some(hub) = Hub::find(host)? else { return Ok(vec![]) };
    let mut q = host.prepare(&hub.sql("SELECT db_name, db_path FROM hub.database_registry ORDER BY db_name"))?;
    Ok(q.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_resolve_in_order() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("ATTACH ':memory:' AS other").unwrap();
        let place = |s| Target::resolve(&db, s).map(|t| t.place);
        assert_eq!(place(None).unwrap(), Place::Schema("main".into()));
        assert_eq!(place(Some("OTHER")).unwrap(), Place::Schema("other".into()));
        assert_eq!(super::place("sqlite:///a/b.db"), Place::File("a/b.db".into()));
        assert_eq!(super::place("SQLITE:////a/b.db"), Place::File("/a/b.db".into()));
        assert!(matches!(place(Some("postgresql://u:p@h/d")).unwrap(), Place::Server(_)));
        let e = place(Some("othr")).unwrap_err().to_string();
        assert!(e.contains("Did you mean \"other\"?") && e.contains("\"create\":true"), "{e}");
        super::super::install::install(&db, "main", None).unwrap();
        db.execute_batch("INSERT INTO database_registry(db_id, db_name, db_path) VALUES('1', 'shop', '/data/shop.db')").unwrap();
        assert_eq!(place(Some("shop")).unwrap(), Place::File("/data/shop.db".into()));
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(without_password("postgres://u:s3cret@h:5432/d?password=x&sslmode=require"), "postgres://u@h:5432/d?sslmode=require");
        assert_eq!(without_password("postgres://h/d"), "postgres://h/d");
    }
}
