//! Phase 8: every index against its table, every reference against its row, both sides of every mapping.
use super::{
    Phase, setup,
    state::{Outcome, State, Verdict, quoted},
};
use crate::db::{
    foreign_keys,
    parallel::{self, Watch},
    schema,
};
use crate::error::{Kind, Result};
use crate::health::Severity;
use crate::run::agreement::{Compared, compare};
use rusqlite::Connection;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

#[derive(Default)]
pub struct Consistency {
    /// Rows without a parent, as the first check found them; None where it could not look.
    orphans: Vec<(PathBuf, Option<i64>)>,
    databases: usize,
    failed: Vec<String>,
    checks: i64,
    passed: i64,
}

/// What was found in one database.
struct Checked {
    structure: Option<String>,
    orphans: i64,
}

fn patience(bytes: u64) -> Duration {
    Duration::from_millis(10_000 + bytes / 2_000)
}

impl Phase for Consistency {
    fn steps(&mut self, run: &mut State) -> Result<Vec<String>> {
        Ok(run.chunks("checked"))
    }

    fn step(&mut self, run: &mut State, at: usize) -> Result<()> {
        let items: Vec<(String, PathBuf, bool)> =
            run.items.get(run.range(at)).unwrap_or_default().iter().map(|i| (i.name.clone(), i.path.clone(), i.is_readable())).collect();
        let looked = parallel::each(&run.db, &items, |(_, path, readable), watch: &Watch| if *readable { check(path, watch).map(Some) } else { Ok(None) })?;
        for ((name, path, _), result) in items.iter().zip(looked) {
            self.databases += 1;
            // Structure, and references.
            self.checks += 2;
            let report = || format!("SELECT * FROM integrity_report({}) WHERE NOT passed", quoted(path));
            match result.and_then(|r| r) {
                Ok(Some(found)) => {
                    match &found.structure {
                        None => self.passed += 1,
                        Some(why) => {
                            run.figures.critical += 1;
                            self.failed.push(format!("{name}: {why}"));
                            run.advise(Severity::Critical, name, why.clone(), report());
                        }
                    }
                    if found.orphans == 0 {
                        self.passed += 1;
                    } else {
                        self.failed.push(format!("{name}: {} rows without a parent", found.orphans));
                    }
                    self.orphans.push((path.clone(), Some(found.orphans)));
                }
                Ok(None) => {
                    run.figures.critical += 1;
                    self.failed.push(format!("{name}: cannot be read"));
                }
                Err(e) => {
                    run.figures.critical += 1;
                    self.failed.push(format!("{name}: {}", e.message));
                    run.advise(Severity::Critical, name, e.message, report());
                    self.orphans.push((path.clone(), None));
                }
            }
        }
        Ok(())
    }

    fn close(&mut self, run: &mut State) -> Result<Outcome> {
        let mut tables = 0;
        for m in setup::mappings(run)? {
            for (table, verdict) in compare(&run.db, &m)? {
                self.checks += 1;
                tables += 1;
                match verdict {
                    Compared::Different => self.failed.push(format!("{}.{table} differs from {}", m.target, m.source)),
                    Compared::Equal | Compared::Larger => self.passed += 1,
                }
            }
        }
        (run.figures.checks, run.figures.passed) = (self.checks, self.passed);
        let list = self.failed.iter().take(5).cloned().collect::<Vec<_>>().join("; ");
        let said = if list.is_empty() { String::new() } else { format!(": {list}{}", if self.failed.len() > 5 { " …" } else { "" }) };
        Ok(Outcome::new(
            !self.failed.is_empty(),
            format!("{} databases, {tables} mapped tables: {} of {} checks passed{said}", self.databases, self.passed, self.checks),
        ))
    }

    /// Orphans counted by joins, where the first check asked SQLite's own pragma.
    fn second(&mut self, run: &mut State) -> Result<Verdict> {
        let known: Vec<(PathBuf, i64)> = self.orphans.iter().filter_map(|(p, n)| n.map(|n| (p.clone(), n))).collect();
        let counted = parallel::each(&run.db, &known, |(path, _), watch: &Watch| by_joins(path, watch))?;
        let (mut total, mut wrong, mut unasked) = (0, vec![], 0);
        for ((path, first), second) in known.iter().zip(counted) {
            match second.and_then(|s| s) {
                Ok(n) => {
                    total += n;
                    if n != *first {
                        wrong.push(format!("{} ({n} against {first})", path.display()));
                    }
                }
                Err(_) => unasked += 1,
            }
        }
        let more = if unasked > 0 { format!(", {unasked} could not be asked") } else { String::new() };
        let text = format!("{total} rows without a parent in {} databases, by joins{more}", known.len() - unasked);
        Ok(if wrong.is_empty() && unasked == 0 { Verdict::of(true, text) } else { Verdict::disputed(format!("{text} {}", wrong.join(", ")).trim().to_owned()) })
    }
}

fn check(path: &Path, watch: &Watch) -> Result<Checked> {
    let db = setup::reader(path)?;
    let _watched = watch.over(&db, patience(crate::db::size::on_disk(path).total()));
    let said: String = db.query_row("PRAGMA integrity_check(1)", [], |r| r.get(0))?;
    let mut orphans = 0;
    let mut q = db.prepare("PRAGMA foreign_key_check")?;
    let mut rows = q.query([])?;
    loop {
        match rows.next() {
            Ok(Some(_)) => orphans += 1,
            Ok(None) => break,
            Err(e) => {
                let e = crate::Error::from(e);
                // "foreign key mismatch": the declaration is wrong, which the schema phase and integrity_report tell.
                if e.kind == Kind::Sqlite {
                    break;
                }
                return Err(e);
            }
        }
    }
    Ok(Checked { structure: Some(said).filter(|s| s != "ok"), orphans })
}

fn by_joins(path: &Path, watch: &Watch) -> Result<i64> {
    let db = setup::reader(path)?;
    let _watched = watch.over(&db, patience(crate::db::size::on_disk(path).total()));
    let mut n = 0;
    for table in schema::stored_tables(&db, "main")? {
        n += orphans_of(&db, &table)?;
    }
    Ok(n)
}

fn orphans_of(db: &Connection, table: &str) -> Result<i64> {
    let keys = foreign_keys::of(db, "main", table)?;
    if keys.is_empty() {
        return Ok(0);
    }
    let child = schema::table(db, "main", table)?;
    let mut n = 0;
    for key in keys {
        let Some(parent) = schema::find_table(db, "main", &key.parent)? else {
            // Without its table every reference is an orphan.
            let given = key.columns.iter().map(|c| format!("{} IS NOT NULL", crate::db::ident::quote(c))).collect::<Vec<_>>().join(" AND ");
            n += db.query_row(&format!("SELECT count(*) FROM {} WHERE {given}", crate::db::ident::quote(table)), [], |r| r.get::<_, i64>(0))?;
            continue;
        };
        if key.broken(db, Some(&parent))?.is_some() {
            continue;
        }
        n += db.query_row(&format!("SELECT count(*) FROM ({})", key.orphans(&child, &parent, "1")), [], |r| r.get::<_, i64>(0))?;
    }
    Ok(n)
}
