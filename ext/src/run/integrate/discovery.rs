//! Phase 2: every database becomes a member of the fleet, and its tables and rows are counted.
use super::{
    Phase,
    state::{Outcome, State, Verdict},
};
use crate::db::header::{self, Kin};
use crate::db::parallel::{self, Watch};
use crate::db::time;
use crate::error::{Error, Kind, Result};
use crate::hub::discover::{self, Counts, Status};
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

#[derive(Default)]
pub struct Discovery {
    registered: usize,
    failed: Vec<String>,
}

const ADD: &str = "INSERT OR IGNORE INTO hub.database_registry(db_id, db_name, db_path, db_size) VALUES(?, ?, ?, ?)";
const SEEN: &str = "UPDATE hub.database_registry SET db_size = ?2, table_count = ?3, record_count = ?4, timestamp = ?5 WHERE db_name = ?1";

impl Phase for Discovery {
    fn steps(&mut self, run: &mut State) -> Result<Vec<String>> {
        self.register(run)?;
        Ok(run.chunks("counted"))
    }

    fn step(&mut self, run: &mut State, at: usize) -> Result<()> {
        let items = run.items.get(run.range(at)).unwrap_or_default();
        let files: Vec<(String, PathBuf)> = items.iter().filter(|i| i.is_readable()).map(|i| (i.name.clone(), i.path.clone())).collect();
        let counted = parallel::each(&run.db, &files, |(_, path), watch: &Watch| discover::counts_of_file(path, watch))?;
        let now = time::now();
        run.db.execute_batch("SAVEPOINT dbint_counts")?;
        for ((name, path), counts) in files.iter().zip(counted) {
            let bytes = crate::db::size::on_disk(path).total();
            match counts.and_then(|c| c) {
                Ok(Counts { tables, rows }) => {
                    run.write(SEEN, &[name, &(bytes as i64), &tables, &rows, &now])?;
                    run.figures.tables += tables;
                    run.figures.records += rows;
                }
                Err(e) => {
                    if let Some(item) = run.items.iter_mut().find(|i| i.path == *path) {
                        item.status = Status::of(&e);
                    }
                    self.failed.push(format!("{}: {}", path.display(), e.message));
                }
            }
        }
        run.db.execute_batch("RELEASE dbint_counts")?;
        Ok(())
    }

    fn close(&mut self, run: &mut State) -> Result<Outcome> {
        let figures = &mut run.figures;
        figures.databases = run.items.len();
        figures.bytes = run.items.iter().map(|i| crate::db::size::on_disk(&i.path).total()).sum();
        let unread: Vec<&str> = run.items.iter().filter(|i| !i.is_readable()).map(|i| i.name.as_str()).collect();
        let said =
            if unread.is_empty() { String::new() } else { format!("; not readable: {}", unread.iter().take(10).copied().collect::<Vec<_>>().join(", ")) };
        Ok(Outcome::new(
            !unread.is_empty(),
            format!(
                "{} databases, {:.3} MB, {} tables, {} rows, {} newly registered{said}",
                figures.databases,
                figures.bytes as f64 / 1e6,
                figures.tables,
                figures.records,
                self.registered
            ),
        ))
    }

    /// Another walk through the folders, which knows nothing but the first bytes of each file; and what the registry holds.
    fn second(&mut self, run: &mut State) -> Result<Verdict> {
        let names: HashSet<&str> = run.items.iter().filter(|i| i.is_readable()).map(|i| i.name.as_str()).collect();
        let (mut tables, mut rows) = (0, 0);
        let mut q = run.db.prepare(&run.hub.sql("SELECT db_name, coalesce(table_count, 0), coalesce(record_count, 0) FROM hub.database_registry"))?;
        for row in q.query_map([], |r| Ok((r.get::<_, String>(0)?, r.get::<_, i64>(1)?, r.get::<_, i64>(2)?)))? {
            let (name, t, r) = row?;
            if names.contains(name.as_str()) {
                (tables, rows) = (tables + t, rows + r);
            }
        }
        let chosen: HashSet<&Path> = run.items.iter().map(|i| i.path.as_path()).collect();
        let known = run.items.iter().filter(|i| matches!(header::read(&i.path), Ok(Kin::Database(_) | Kin::Damaged(_)))).count();
        let mut found = 0;
        walk(&run.dir, &mut |path| {
            found += usize::from(chosen.contains(path) && begins_as_database(path));
        });
        let agrees = found == known && tables == run.figures.tables && rows == run.figures.records;
        Ok(Verdict::of(agrees, format!("{found} files begin as a database; the registry holds {tables} tables, {rows} rows")))
    }
}

impl Discovery {
    fn register(&mut self, run: &mut State) -> Result<()> {
        let before = run.items.iter().filter(|i| i.registered).count();
        let mut taken: HashSet<String> = crate::hub::registry::members(&run.db)?.into_iter().map(|m| m.name).collect();
        taken.extend(["main".into(), "temp".into()]);
        run.db.execute_batch("SAVEPOINT dbint_registry")?;
        for item in run.items.iter().filter(|i| !i.registered && matches!(i.status, Status::Ok | Status::Empty | Status::Locked)) {
            let path = item.path.to_str().ok_or_else(|| Error::new(Kind::Unsupported, format!("\"{}\" is not UTF-8", item.path.display())))?;
            let longer = item.path.parent().and_then(Path::file_name).map(|p| format!("{}/{}", p.to_string_lossy(), item.name));
            let names = [Some(item.name.clone()), longer, Some(path.to_owned())];
            let Some(name) = names.into_iter().flatten().find(|n| !taken.contains(n)) else { continue };
            run.write(ADD, &[&time::new_id(), &name, &path, &(item.bytes as i64)])?;
            taken.insert(name);
        }
        run.db.execute_batch("RELEASE dbint_registry")?;
        run.rename()?;
        self.registered = run.items.iter().filter(|i| i.registered).count() - before;
        Ok(())
    }
}

fn begins_as_database(path: &Path) -> bool {
    matches!(header::read(path), Ok(Kin::Database(_) | Kin::Damaged(_)))
}

fn walk(dir: &Path, see: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(t) if t.is_dir() => walk(&entry.path(), see),
            Ok(t) if t.is_file() => see(&entry.path()),
            _ => {}
        }
    }
}
