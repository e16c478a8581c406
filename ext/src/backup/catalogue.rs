//! The hub's copy of what repositories hold: it remembers backups whose files are gone, and answers without the folder.
use super::manifest::Head;
use super::repository::{Proof, Repository};
use crate::error::Result;
use crate::hub::Hub;
use rusqlite::{Connection, params};

/// A row of the catalogue.
pub struct Row {
    pub id: String,
    pub name: String,
    pub database: String,
    pub ty: String,
    pub created_at: String,
    pub size: i64,
    pub stored: i64,
    pub sha256: Option<String>,
    pub parent: Option<String>,
    pub proven_at: Option<String>,
    pub repository: String,
}

/// Where there is a hub; the repository alone suffices to restore.
pub fn add(host: &Connection, repo: &Repository, h: &Head, proof: Option<&Proof>) -> Result<()> {
    let Some(hub) = Hub::find(host)? else { return Ok(()) };
    let sql = "INSERT INTO hub.backup_catalog(backup_id, name, db_name, type, created_at, size_bytes, stored_bytes, sha256, root, parent_id, proven_at, repository) \
               VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
               ON CONFLICT(backup_id) DO UPDATE SET sha256 = coalesce(excluded.sha256, sha256), proven_at = excluded.proven_at";
    let proven = proof.filter(|p| p.ok);
    let dir = repo.dir.display().to_string();
    let sha = proof.and_then(|p| p.sha256.as_ref());
    let values = params![
        h.id,
        h.name,
        h.database,
        h.ty.word(),
        h.created_at,
        h.size() as i64,
        h.stored_bytes as i64,
        sha,
        h.root,
        h.parent,
        proven.map(|p| &p.tested_at),
        dir
    ];
    hub.execute(host, sql, values)?;
    Ok(())
}

pub fn remove(host: &Connection, id: &str) -> Result<()> {
    let Some(hub) = Hub::find(host)? else { return Ok(()) };
    hub.execute(host, "DELETE FROM hub.backup_catalog WHERE backup_id = ?1", [id])?;
    Ok(())
}

/// What the catalogue says is in this repository.
pub fn list(host: &Connection, repository: &str) -> Result<Vec<Row>> {
    let Some(hub) = Hub::find(host)? else { return Ok(vec![]) };
    let sql = "SELECT backup_id, name, db_name, type, created_at, size_bytes, stored_bytes, sha256, parent_id, proven_at, repository \
               FROM hub.backup_catalog WHERE repository = ?1 ORDER BY backup_id";
    let mut q = host.prepare(&hub.sql(sql))?;
    let rows = q.query_map([repository], |r| {
        Ok(Row {
            id: r.get(0)?,
            name: r.get(1)?,
            database: r.get(2)?,
            ty: r.get(3)?,
            created_at: r.get(4)?,
            size: r.get(5)?,
            stored: r.get(6)?,
            sha256: r.get(7)?,
            parent: r.get(8)?,
            proven_at: r.get(9)?,
            repository: r.get(10)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
