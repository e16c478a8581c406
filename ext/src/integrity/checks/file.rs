//! The file, and what lies beside it.
use super::{Check, Findings, Reads, Severity::*, Subject, check};
use crate::error::Result;
use crate::integrity::finding::Finding;

pub const CHECKS: &[Check] = &[
    check("F01", "zero_byte_file", Error, Reads::File, "The file has content.", zero_byte_file),
    check("F02", "file_size", Critical, Reads::Schema, "The file is as long as its header says.", file_size),
    check("F03", "hot_journal", Error, Reads::File, "No transaction was cut off and waits to be rolled back.", hot_journal),
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
