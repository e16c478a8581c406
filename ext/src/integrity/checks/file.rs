//! The file, and what lies beside it.
use super::{Check, Findings, Reads, Severity::*, Subject, check};
use crate::db::ident::quote;
use crate::error::Result;
use crate::integrity::finding::Finding;

pub const CHECKS: &[Check] = &[
    check("F01", "zero_byte_file", Error, Reads::File, "The file has content.", zero_byte_file),
    check("F02", "file_size", Critical, Reads::Schema, "The file is as long as its header says.", file_size),
    check("F03", "hot_journal", Error, Reads::File, "No transaction was cut off and waits to be rolled back.", hot_journal),
    check("F04", "journal_leftovers", Warning, Reads::Schema, "No journal lies beside the file that its mode does not use.", journal_leftovers),
    check("F05", "wal_oversized", Warning, Reads::Schema, "The write-ahead log is not far larger than the database.", wal_oversized),
    check("F06", "wal_reset_bug", Info, Reads::Schema, "The host's SQLite checkpoints without the WAL-reset bug.", wal_reset_bug),
    check("F07", "page_size", Info, Reads::Schema, "The page size suits the size of the database.", page_size),
    check("F08", "freelist", Warning, Reads::Schema, "Less than a quarter of the file is free pages.", freelist),
    check("F09", "incremental_vacuum", Info, Reads::Schema, "Free pages that wait for an incremental vacuum get one.", incremental_vacuum),
    check("F10", "application_id", Info, Reads::Schema, "The file does not belong to another application.", application_id),
    check("F11", "written_by_newer", Warning, Reads::File, "The SQLite that wrote the file is not newer than the host's.", written_by_newer),
    check("F12", "utf16", Info, Reads::Schema, "Text is stored as UTF-8, as in the databases one would attach.", utf16),
    check("F13", "schema_format", Info, Reads::File, "The schema format knows descending indexes and compact booleans.", schema_format),
    check("F14", "hard_links", Warning, Reads::File, "The file has one name only.", hard_links),
    check("F15", "world_writable", Warning, Reads::File, "Not everybody on the machine may write the file.", world_writable),
    check("F16", "unsafe_connection", Warning, Reads::Schema, "This connection does not switch off what protects the data.", unsafe_connection),
];

fn zero_byte_file(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    if let Some(f) = s.files.as_ref().filter(|f| f.size == 0 && f.wal.unwrap_or(0) == 0) {
        out.add(Finding::new(format!("{} has 0 bytes: an empty database, or one that was never written", f.path.display())));
    }
    Ok(())
}

fn file_size(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    // Pages of a WAL are not in the file yet.
    let Some(f) = s.files.as_ref().filter(|f| f.wal.unwrap_or(0) == 0 && f.size > 0) else { return Ok(()) };
    let (pages, size) = (s.pragma("page_count")?, s.pragma("page_size")?);
    let want = (pages as u64).saturating_mul(size as u64);
    if want != f.size && s.db()?.is_autocommit() {
        out.add(Finding::new(format!("the header speaks of {pages} pages of {size} bytes, {want} in all; the file has {}", f.size)));
    }
    Ok(())
}

fn hot_journal(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    if let Some(f) = s.files.as_ref().filter(|f| f.journal_is_hot) {
        let detail = format!("a journal of {} bytes: a transaction is under way, or it was cut off and the next writer rolls it back", f.journal.unwrap_or(0));
        out.add(Finding::new(detail).fix("SELECT count(*) FROM sqlite_schema; -- on a connection that may write"));
    }
    Ok(())
}

/// By the header where it can be read: beside a stray -wal, SQLite itself answers `wal`.
fn is_wal(s: &Subject<'_>) -> Result<bool> {
    if let Some(format) = s.files.as_ref().and_then(|f| f.header.as_ref()?.get(18)) {
        return Ok(*format == 2);
    }
    let mode: String = s.db()?.query_row(&format!("PRAGMA {}.journal_mode", quote(s.schema())), [], |r| r.get(0))?;
    Ok(mode == "wal")
}

fn journal_leftovers(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    let Some(f) = &s.files else { return Ok(()) };
    let wal = is_wal(s)?;
    let stray = if wal { [("-journal", f.journal), ("", None)] } else { [("-wal", f.wal), ("-shm", f.shm)] };
    for (suffix, size) in stray {
        if let Some(size) = size {
            let mode = if wal { "WAL" } else { "rollback" };
            out.add(Finding::new(format!("{}{suffix} ({size} bytes) beside a database in {mode} mode", f.path.display())).fix("SELECT repair_database(NULL);"));
        }
    }
    Ok(())
}

fn wal_oversized(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    if let Some((f, wal)) = s.files.as_ref().and_then(|f| Some((f, f.wal?)))
        && wal > 1_000_000
        && wal > f.size.saturating_mul(4)
    {
        out.add(Finding::new(format!("the log has {wal} bytes, the database {}", f.size)).fix("PRAGMA wal_checkpoint(TRUNCATE);"));
    }
    Ok(())
}

fn wal_reset_bug(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    if is_wal(s)? {
        let version: String = s.db()?.query_row("SELECT sqlite_version()", [], |r| r.get(0))?;
        if has_wal_reset_bug(&version) {
            out.add(Finding::new(format!("SQLite {version} can lose pages when two connections checkpoint while a third writes; fixed in 3.51.3")));
        }
    }
    Ok(())
}

/// Fixed in 3.51.3, and in the maintenance releases 3.50.7 and 3.44.6.
fn has_wal_reset_bug(version: &str) -> bool {
    let mut parts = version.split('.').map(|p| p.parse::<u32>().unwrap_or(0));
    let (major, minor, patch) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    match (major, minor) {
        (3, 44) => patch < 6,
        (3, 50) => patch < 7,
        (3, 51) => patch < 3,
        (3, m) => m < 51,
        _ => major < 3,
    }
}

fn page_size(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    let (size, pages) = (s.pragma("page_size")?, s.pragma("page_count")?);
    if size < 4096 && pages.saturating_mul(size) > 1_000_000 {
        out.add(Finding::new(format!("pages of {size} bytes in a database of {} bytes", pages.saturating_mul(size))).fix("PRAGMA page_size = 4096; VACUUM;"));
    }
    Ok(())
}

fn freelist(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    let (free, pages) = (s.pragma("freelist_count")?, s.pragma("page_count")?);
    if free > 100 && free.saturating_mul(4) > pages {
        out.add(Finding::new(format!("{free} of {pages} pages are free")).fix("VACUUM;"));
    }
    Ok(())
}

fn incremental_vacuum(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    let free = s.pragma("freelist_count")?;
    if s.pragma("auto_vacuum")? == 2 && free > 10 {
        out.add(Finding::new(format!("{free} free pages wait for an incremental vacuum")).fix("PRAGMA incremental_vacuum;"));
    }
    Ok(())
}

fn application_id(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    // From the list of magic numbers in SQLite's source tree.
    let known = match s.pragma("application_id")? as u32 {
        0 => return Ok(()),
        0x0f055111 => "a Fossil repository",
        0x0f055112 => "a Fossil check-out",
        0x0f055113 => "Fossil's configuration",
        0x42654462 => "a Bentley BeSQLite database",
        0x42654c6e => "Bentley Localization",
        0x45737269 => "an Esri database",
        0x47504b47 | 0x47503130 | 0x47503131 => "an OGC GeoPackage",
        0x4d504258 => "an MBTiles tileset",
        0x5f4d544e => "a Monotone database",
        0x6a035744 => "TeXnicard's",
        0x53514c69 => "SQLite's own",
        other => {
            out.add(Finding::new(format!("application_id {other} marks it as some application's own file")));
            return Ok(());
        }
    };
    out.add(Finding::new(format!("it is {known}: leave its schema to its application")));
    Ok(())
}

/// A big-endian number of the header.
fn header(s: &Subject<'_>, at: usize) -> Option<u32> {
    let bytes = s.files.as_ref()?.header.as_ref()?.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

fn written_by_newer(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    let host = rusqlite::version_number() as u32;
    if let Some(by) = header(s, 96).filter(|v| *v > host && *v < 4_000_000) {
        let shown = |v: u32| format!("{}.{}.{}", v / 1_000_000, v / 1000 % 1000, v % 1000);
        out.add(Finding::new(format!("written by SQLite {}, read by {}: newer syntax in the schema may not be understood", shown(by), shown(host))));
    }
    Ok(())
}

fn schema_format(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    if let Some(format) = header(s, 44).filter(|f| (1..4).contains(f)) {
        out.add(Finding::new(format!("schema format {format}: DESC in an index is ignored")).fix("VACUUM;"));
    }
    Ok(())
}

fn utf16(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    let encoding: String = s.db()?.query_row(&format!("PRAGMA {}.encoding", quote(s.schema())), [], |r| r.get(0))?;
    if encoding != "UTF-8" {
        out.add(Finding::new(format!("text is stored as {encoding}: it cannot be attached beside a UTF-8 database")));
    }
    Ok(())
}

#[cfg(unix)]
fn mode(s: &Subject<'_>) -> Option<(u64, u32)> {
    use std::os::unix::fs::MetadataExt;
    let m = std::fs::metadata(&s.files.as_ref()?.path).ok()?;
    Some((m.nlink(), m.mode()))
}
#[cfg(not(unix))]
fn mode(_: &Subject<'_>) -> Option<(u64, u32)> {
    None
}

fn hard_links(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    if let Some((links, _)) = mode(s).filter(|m| m.0 > 1) {
        out.add(Finding::new(format!("the file has {links} names: opened by different ones, journals do not meet, and the data is damaged")));
    }
    Ok(())
}

fn world_writable(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    if let Some((_, mode)) = mode(s).filter(|m| m.1 & 0o002 != 0) {
        out.add(Finding::new(format!("mode {:03o}: every user of the machine may write it", mode & 0o777)));
    }
    Ok(())
}

fn unsafe_connection(s: &Subject<'_>, out: &mut Findings) -> Result<()> {
    if !s.is_host || s.files.is_none() {
        return Ok(());
    }
    let mode: String = s.db()?.query_row(&format!("PRAGMA {}.journal_mode", quote(s.schema())), [], |r| r.get(0))?;
    if mode == "off" || mode == "memory" {
        out.add(Finding::new(format!("journal_mode is {mode}: a crash in a transaction damages the database")).fix("PRAGMA journal_mode = DELETE;"));
    }
    if s.pragma("synchronous")? == 0 {
        out.add(Finding::new("synchronous is OFF: a power loss may damage the database").fix("PRAGMA synchronous = NORMAL;"));
    }
    for (pragma, what) in [("writable_schema", "the schema can be overwritten"), ("ignore_check_constraints", "CHECK constraints are not enforced")] {
        if s.pragma(pragma)? != 0 {
            out.add(Finding::new(format!("{pragma} is ON: {what}")).fix(format!("PRAGMA {pragma} = OFF;")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_wal_reset_bug_ends_where_it_was_mended() {
        let exposed = ["3.34.1", "3.44.5", "3.45.0", "3.50.6", "3.51.2"];
        let mended = ["3.44.6", "3.50.7", "3.51.3", "3.52.0", "3.53.2"];
        assert!(exposed.iter().all(|v| super::has_wal_reset_bug(v)));
        assert!(!mended.iter().any(|v| super::has_wal_reset_bug(v)));
    }
}
