//! One backup from beginning to end: source, pages, manifest, restore test, catalogue.
use super::bytes::{hex, sha256};
use super::lock::Lock;
use super::manifest::{Head, Pages, Type};
use super::repository::{Proof, Repository};
use super::source::{self, MOVED, Source, Tick};
use super::{catalogue, place, prune, remote, restore, take};
use crate::db::time;
use crate::error::{At, Error, Kind, Result};
use crate::hub::Target;
use crate::{kit::Interrupt, options};
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use std::time::Instant;

options! {
    pub struct BackupOptions {
        /// full (default), incremental (what changed since the last backup) or differential (since the last full one).
        r#type: String,
        /// A name that can stand for the id; default: database, time and type.
        name: String,
        /// The folder of the backups; default: the setting backup.path.
        path: String,
        /// A file with the key: a passphrase, an age identity or an age recipient; default: the environment's BACKUP_ENCRYPTION_KEY.
        key_file: String,
        /// Restore to a temporary file and check it; default true.
        restore_test: bool,
        /// zstd (default) or none.
        compression: String,
        /// Level of zstd, 1 (default) to 19.
        level: i32,
        /// Take a damaged source, labelled so, instead of refusing it; default false.
        allow_damaged: bool,
    }
}

/// What the caller asked for, checked.
pub struct Wish {
    pub ty: Type,
    name: Option<String>,
    level: i32,
    restore_test: bool,
    allow_damaged: bool,
    pub fleet: Option<String>,
    /// The moment all of a fleet share.
    pub instant: Option<String>,
}

impl Wish {
    pub fn read(o: &BackupOptions) -> Result<Wish> {
        let level = match crate::kit::one_of("compression", o.compression.as_deref().unwrap_or("zstd"), &["zstd", "none"])? {
            "none" => 0,
            _ => o.level.unwrap_or(1),
        };
        if !(0..=19).contains(&level) {
            return Err(Error::argument("option \"level\" is from 1 to 19"));
        }
        if o.name.as_ref().is_some_and(|n| n.is_empty() || n.len() > 200 || n.chars().any(char::is_control)) {
            return Err(Error::argument("option \"name\" has 1 to 200 characters, none of them a control character"));
        }
        Ok(Wish {
            ty: o.r#type.as_deref().map_or(Ok(Type::Full), Type::read)?,
            name: o.name.clone(),
            level,
            restore_test: o.restore_test.unwrap_or(true),
            allow_damaged: o.allow_damaged.unwrap_or(false),
            fleet: None,
            instant: None,
        })
    }
}

/// A backup that was made.
pub struct Done {
    pub head: Head,
    pub proof: Option<Proof>,
    pub note: Option<&'static str>,
    /// How the pages were read.
    pub read: &'static str,
    pub new_pages: usize,
    pub duration_s: f64,
}

pub fn backup(host: &Connection, db: Option<&str>, o: &BackupOptions) -> Result<Json> {
    let started = Instant::now();
    let wish = Wish::read(o)?;
    let target = Target::resolve(host, db)?;
    let repo = place::open_or_create(host, o.path.as_deref(), o.key_file.as_deref())?;
    let mut lock = Lock::take(&repo.dir, "backup")?;
    repo.tidy();
    let mut interrupt = Interrupt::of(host)?;
    let mut tick = || lock.renew().and_then(|()| interrupt.check());
    let file = target.file(host)?.map(|f| f.canonicalize().unwrap_or(f).display().to_string());
    let mut take = |source: &mut dyn Source, tick: Tick<'_>| one(&repo, source, &target.name, file.clone(), &wish, tick);
    let mut done = source::with(host, &target, &repo, &mut tick, &mut take).at(&target.name)?;
    if let Verdict::SetAside = prove(&repo, &mut done, &wish, &mut tick).at(&target.name)? {
        done = source::with(host, &target, &repo, &mut tick, &mut take).at(&target.name)?;
        match prove(&repo, &mut done, &wish, &mut tick).at(&target.name)? {
            Verdict::Kept => done.note = Some("packs with damaged bytes were set aside, and the pages they had lost stored again"),
            Verdict::SetAside => return Err(set_aside().context(&target.name)),
        }
    }
    done.duration_s = started.elapsed().as_secs_f64();
    catalogue::add(host, &repo, &done.head, done.proof.as_ref())?;
    let copied = remote::after_backup(host, &repo, &mut tick)?;
    let mut told = receipt(&repo, &done);
    if let (Some(copied), Some(told)) = (copied, told.as_object_mut()) {
        told.insert("remote".into(), copied);
    }
    Ok(told)
}

/// Stores what is new and publishes the manifest.
pub fn one(repo: &Repository, source: &mut dyn Source, database: &str, file: Option<String>, wish: &Wish, tick: Tick<'_>) -> Result<Done> {
    if source.pages() == 0 {
        return Err(Error::unsupported("the database is empty: it has no page yet"));
    }
    let damaged = if wish.allow_damaged { check(source.snapshot())? } else { None };
    // Both are read from the repository, and neither needs the other.
    let (base, index) = std::thread::scope(|scope| {
        let index = scope.spawn(|| repo.index());
        let base = base(repo, database, wish.ty, source.page_size(), file.as_deref());
        (base, index.join().unwrap_or_else(|_| Err(Error::internal("a part of the backup stopped"))))
    });
    let ((parent, note), index) = (base?, index?);
    let ty = if parent.is_some() { wish.ty } else { Type::Full };
    let (parent, before) = parent.map_or((None, Pages::default()), |(h, p)| (Some(h.id), p));
    let schema_digest = schema_digest(source.snapshot())?;
    let created_at = wish.instant.clone().unwrap_or_else(time::now);
    // Stored as they are, in a repository that has none of them yet, they need the room they have.
    if wish.level == 0 && index.is_empty() {
        place::has_room(&repo.tmp("pack"), u64::from(source.page_size()) * u64::from(source.pages()))?;
    }
    let taken = take::pages(repo, source, before, &index, wish.level, tick)?;
    if !source.still_valid() {
        return Err(Error::internal(MOVED));
    }
    let stamp: String = created_at.chars().filter(char::is_ascii_digit).collect();
    let head = Head {
        id: time::new_id(),
        name: wish.name.clone().unwrap_or_else(|| format!("{database}-{stamp}-{}", ty.word())),
        database: database.to_owned(),
        source: file,
        ty,
        parent,
        created_at,
        page_size: source.page_size(),
        pages: source.pages(),
        entries: taken.changed.len() as u32,
        root: taken.pages.root(),
        sha256: None,
        schema_digest,
        stored_bytes: taken.stored_bytes,
        fleet: wish.fleet.clone(),
        damaged,
        dbint: env!("CARGO_PKG_VERSION").to_owned(),
        sqlite: rusqlite::version().to_owned(),
    };
    repo.publish(&head, &taken.pages, &taken.changed)?;
    Ok(Done { head, proof: None, note, read: source.how(), new_pages: taken.new_pages, duration_s: 0.0 })
}

/// The backup to build on with its pages, or why there is none.
fn base(repo: &Repository, database: &str, ty: Type, page_size: u32, file: Option<&str>) -> Result<(Option<(Head, Pages)>, Option<&'static str>)> {
    let Some(head) = repo.parent(database, ty)? else {
        return Ok((None, (ty != Type::Full).then_some("full, because there is none to build on")));
    };
    if !take::builds_on(&head, ty, page_size, file) {
        return Ok((None, Some("full, because the last backup is of another file or page size")));
    }
    match repo.pages(&head.id) {
        Ok(found) => Ok((Some(found), None)),
        Err(e) if e.kind == Kind::Corrupt => Ok((None, Some("full, because the backup it would build on is damaged"))),
        Err(e) => Err(e),
    }
}

/// What the restore test came to.
pub enum Verdict {
    Kept,
    /// Packs it builds on have damaged bytes. They are out of the way now, and the backup is gone: the next one will be whole.
    SetAside,
}

pub fn set_aside() -> Error {
    Error::new(Kind::Corrupt, "packs it builds on have damaged bytes; they were set aside").hint("The next backup stores their pages again")
}

/// The restore test, if it was wished. A source that turns out to be damaged is not kept as a backup.
pub fn prove(repo: &Repository, done: &mut Done, wish: &Wish, tick: Tick<'_>) -> Result<Verdict> {
    if !wish.restore_test {
        return Ok(Verdict::Kept);
    }
    if !repo.key.reads() {
        done.note = Some("stored, but not proven: only the recipient of the encryption is known");
        return Ok(Verdict::Kept);
    }
    let proof = match restore::test(repo, &done.head.id, tick) {
        Err(e) if e.kind == Kind::Full => {
            done.note = Some("stored, but not proven: no room for a restore test");
            return Ok(Verdict::Kept);
        }
        other => other?,
    };
    let said = proof.problems.first().cloned().unwrap_or_default();
    if !proof.ok && proof.root == done.head.root {
        repo.forget(&done.head.id)?;
        return Err(Error::new(Kind::Corrupt, format!("the source is damaged: {said}"))
            .hint("No backup was kept. The option {\"allow_damaged\":true} takes it as it is, labelled"));
    }
    if !proof.ok && prune::set_aside(repo, tick)? > 0 {
        repo.forget(&done.head.id)?;
        return Ok(Verdict::SetAside);
    }
    repo.prove(&proof)?;
    if !proof.ok {
        return Err(Error::new(Kind::Corrupt, format!("backup {} failed its restore test: {said}", done.head.id)).hint("verify_backup() tells what is damaged"));
    }
    done.proof = Some(proof);
    Ok(Verdict::Kept)
}

fn check(db: &Connection) -> Result<Option<String>> {
    let said = match db.query_row("PRAGMA quick_check(1)", [], |r| r.get::<_, String>(0)) {
        Ok(said) => said,
        Err(e) => e.to_string(),
    };
    Ok(Some(said).filter(|s| s != "ok"))
}

/// SHA-256 over type, name, table and SQL of every object of the schema.
fn schema_digest(db: &Connection) -> Result<String> {
    let mut q = db.prepare("SELECT coalesce(type, '') || char(10) || coalesce(name, '') || char(10) || coalesce(tbl_name, '') || char(10) || coalesce(sql, '') FROM sqlite_schema ORDER BY type, name")?;
    let mut all = String::new();
    for row in q.query_map([], |r| r.get::<_, String>(0))? {
        all += &row?;
        all.push('\0');
    }
    Ok(hex(&sha256(all.as_bytes())))
}

pub fn receipt(repo: &Repository, done: &Done) -> Json {
    let (h, p) = (&done.head, done.proof.as_ref());
    json!({
        "backup_id": h.id, "name": h.name, "status": "SUCCESS", "proven": p.is_some(), "db_name": h.database, "type": h.ty.word(),
        "parent": h.parent, "created_at": h.created_at, "backup_path": repo.manifest_path(&h.id), "repository": repo.dir,
        "size_bytes": h.size(), "stored_bytes": h.stored_bytes, "pages": h.pages, "changed_pages": h.entries, "new_pages": done.new_pages,
        "sha256": p.and_then(|p| p.sha256.clone()).or_else(|| h.sha256.clone()), "root": h.root, "read": done.read, "encrypted": repo.key.is_encrypted(),
        "restore_test": p.map(|p| json!({"ok": p.ok, "duration_s": round(p.duration_s), "row_counts": p.row_counts})),
        "damaged": h.damaged, "note": done.note, "duration_s": round(done.duration_s),
    })
}

pub fn round(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}
