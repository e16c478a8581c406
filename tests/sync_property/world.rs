//! One sequence: two databases, edits on both sides, syncs with random options, and the comparison with the model.
use crate::{
    ask::{Ask, ask},
    edits::{Side, copy_all, edit, fill},
    model::{Expected, Figures, Name, Row, Touched, expect, name, orphans, stored},
    shape::{Key, Shape, quote},
    values::{Random, Val},
};
use dbint_tests::Way;
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Layout {
    MainToPath,
    MainToAttached,
    PathToPath,
    MemoryToPath,
    PathToMemory,
    PathToMain,
    TempToPath,
    /// The host has a transaction open, and the sync becomes part of it.
    PathToOpenMain,
    MainToOpenAttached,
}
use Layout::*;

const DONE: [&str; 7] = ["inserted", "updated", "deleted", "conflicts", "skipped", "target_only_rows", "unchanged"];

pub struct World<'w> {
    r: Random,
    shape: Shape,
    layout: Layout,
    host: Connection,
    /// Connections of the two sides' own users; None where only the host can see the database.
    plain: [Option<Connection>; 2],
    files: [PathBuf; 2],
    third: PathBuf,
    tracked: bool,
    chain: bool,
    /// Text that is not UTF-8 may occur.
    wild: bool,
    /// By the columns that travel: up to which entry of the source's log the target has everything.
    positions: HashMap<Vec<usize>, i64>,
    seen: &'w mut BTreeMap<String, u64>,
    story: &'w mut Vec<String>,
}

pub fn sequence(seed: u64, n: u64, dir: &Path, seen: &mut BTreeMap<String, u64>, story: &mut Vec<String>) {
    let mut r = Random::new(seed, n);
    let mut shape = Shape::random(&mut r);
    let mut layout = r.pick(&[
        MainToPath,
        MainToPath,
        MainToAttached,
        PathToPath,
        PathToPath,
        MemoryToPath,
        PathToMemory,
        PathToMain,
        TempToPath,
        PathToOpenMain,
        MainToOpenAttached,
    ]);
    if shape.source_utf16 != shape.target_utf16 && matches!(layout, MainToAttached | MainToOpenAttached) {
        layout = MainToPath;
    }
    if shape.key == Key::None {
        // Its log holds every column: one that does not travel would leave it without a meaning for the target.
        shape.source_extra = false;
    }
    shape.count(seen);
    *seen.entry(format!("layout {layout:?}")).or_default() += 1;
    story.push(format!("{layout:?}\n{}{}", shape.create(false, ""), shape.create(true, "")));
    let mut w = World::new(r, shape, layout, dir, seen, story);
    let steps = 1 + w.r.below(4);
    for step in 0..steps {
        w.edit(step);
        w.step();
    }
}

impl<'w> World<'w> {
    fn new(mut r: Random, shape: Shape, layout: Layout, dir: &Path, seen: &'w mut BTreeMap<String, u64>, story: &'w mut Vec<String>) -> World<'w> {
        let files = [dir.join("source.db"), dir.join("it's target é.db")];
        let host_file = match layout {
            MainToPath | MainToAttached | MainToOpenAttached => Some(&files[0]),
            PathToMain | PathToOpenMain => Some(&files[1]),
            _ => None,
        };
        let plain = |target: bool, r: &mut Random, seen: &mut BTreeMap<String, u64>| {
            let on_host = if target { layout == PathToMemory } else { matches!(layout, MemoryToPath | TempToPath) };
            if on_host {
                return None;
            }
            let db = Connection::open(&files[usize::from(target)]).unwrap();
            let journal = r.pick(&["delete", "wal"]);
            let encoding = if if target { shape.target_utf16 } else { shape.source_utf16 } { "UTF-16le" } else { "UTF-8" };
            let page = r.pick(&[512, 4096]);
            *seen.entry(format!("journal {journal}")).or_default() += 1;
            db.execute_batch(&format!(
                "PRAGMA page_size={page}; PRAGMA encoding='{encoding}'; PRAGMA journal_mode={journal}; PRAGMA synchronous=OFF; PRAGMA foreign_keys=OFF; CREATE TABLE before(x)"
            ))
            .unwrap();
            Some(db)
        };
        let plain = [plain(false, &mut r, seen), plain(true, &mut r, seen)];
        let host = host_file.map_or_else(Connection::open_in_memory, Connection::open).unwrap();
        let in_memory = match layout {
            MemoryToPath | TempToPath => shape.source_utf16,
            PathToMemory => shape.target_utf16,
            _ => false,
        };
        host.execute_batch(if in_memory { "PRAGMA encoding='UTF-16le'" } else { "SELECT 1" }).unwrap();
        host.execute_batch("PRAGMA foreign_keys=OFF").unwrap();
        Way::Linked.register(&host).unwrap();
        if matches!(layout, MainToAttached | MainToOpenAttached) {
            host.execute("ATTACH ? AS tg", [files[1].to_str()]).unwrap();
        }
        let wild = !shape.source_utf16 && !shape.target_utf16;
        let (tracked, chain) = (r.once_in(2), r.once_in(4) && layout != PathToMemory);
        let third = dir.join("third.db");
        let mut w = World { r, shape, layout, host, plain, files, third, tracked, chain, wild, positions: HashMap::new(), seen, story };
        w.create();
        let keys = w.r.pick(&["PRAGMA foreign_keys=OFF", "PRAGMA foreign_keys=ON"]);
        w.host.execute_batch(keys).unwrap();
        w
    }

    fn side(&self, target: bool) -> Side<'_> {
        match &self.plain[usize::from(target)] {
            Some(db) => Side { db, at: "main", target },
            None => Side { db: &self.host, at: if self.layout == TempToPath { "temp" } else { "main" }, target },
        }
    }

    fn saw(&mut self, what: impl Into<String>) {
        *self.seen.entry(what.into()).or_default() += 1;
    }

    fn create(&mut self) {
        let source = self.side(false);
        source.db.execute_batch(&self.shape.create(false, &format!("{}.", source.at))).unwrap();
        // Without the table, the target gets it by the sync.
        let missing = self.r.once_in(10) && !self.shape.child && !self.shape.trigger && !self.shape.parent && !self.shape.source_extra;
        if missing {
            self.shape.no_target();
        } else {
            let target = self.side(true);
            target.db.execute_batch(&self.shape.create(true, "main.")).unwrap();
            target.db.execute_batch(&self.shape.create_trigger()).unwrap();
        }
        if self.shape.parent {
            let sql = self.r.pick(&["SELECT 1", "DELETE FROM p WHERE id > 3"]);
            self.side(true).db.execute_batch(sql).unwrap();
        }
        let keys = if self.shape.key_option() { json!({"keys": self.key_names()}) } else { json!({}) };
        let track = |db: Option<&Path>, schema: Option<&str>| {
            let mut o = keys.clone();
            if let Some(place) = db.map(|p| p.to_string_lossy().into_owned()).or(schema.map(str::to_owned)) {
                o["db"] = json!(place);
            }
            let done = self.host.query_row("SELECT track_changes(?, ?)", (self.shape.table, o.to_string()), |_| Ok(()));
            done.unwrap_or_else(|e| panic!("track {e}"));
        };
        if self.tracked && self.plain[0].is_some() {
            track(Some(&self.files[0]), None);
        } else if self.tracked {
            track(None, Some(self.side(false).at));
        }
        self.chain &= !missing;
        if self.chain {
            track(Some(&self.files[1]), None);
            self.saw("chain");
        }
        self.saw(if self.tracked { "source tracked" } else { "source untracked" });
        if missing {
            self.story.push("the target has no table".into());
        }
    }

    fn has_table(&self) -> bool {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?";
        self.side(true).db.query_row(sql, [self.shape.table], |r| r.get::<_, bool>(0)).unwrap()
    }

    fn key_names(&self) -> Vec<&'static str> {
        self.shape.key_columns.iter().map(|k| self.shape.columns[*k].name).collect()
    }

    fn edit(&mut self, step: usize) {
        let mut r = std::mem::replace(&mut self.r, Random::new(0, 0));
        let has_target = self.has_table();
        let mut done = vec![];
        if step == 0 {
            let n = r.below(30);
            fill(&mut r, self.side(false), &self.shape, n, self.wild);
        }
        if step == 0 && has_target {
            match r.below(4) {
                0 => {}
                1 => fill(&mut r, self.side(true), &self.shape, 15, self.wild),
                _ => copy_all(self.side(true), self.side(false), &self.shape),
            }
        }
        for _ in 0..r.below(8) {
            done.extend(edit(&mut r, self.side(false), if has_target { self.side(true) } else { self.side(false) }, &self.shape, self.wild));
        }
        if has_target && !r.once_in(3) {
            for _ in 0..r.below(5) {
                done.extend(edit(&mut r, self.side(true), self.side(false), &self.shape, self.wild));
            }
        }
        self.r = r;
        self.story.push(format!("edits: {}", done.join(", ")));
        done.into_iter().for_each(|what| self.saw(format!("edit {what}")));
    }

    fn call(&self, ask: &Ask, dry: bool) -> Result<Json, String> {
        let mut o = ask.options.clone();
        if dry {
            o["dry_run"] = json!(true);
        }
        let path = self.files[1].to_string_lossy().into_owned();
        let target = match self.layout {
            MainToPath | PathToPath | MemoryToPath | TempToPath => path.as_str(),
            MainToAttached | MainToOpenAttached => "tg",
            PathToMemory | PathToMain | PathToOpenMain => "main",
        };
        let answer = self.host.query_row("SELECT sync_table(?, ?, ?)", (self.shape.table, target, o.to_string()), |r| r.get::<_, String>(0));
        answer.map(|a| serde_json::from_str(&a).unwrap()).map_err(|e| e.to_string())
    }

    /// What the log has after the target's position.
    fn touched(&self, ask: &Ask) -> Option<Touched> {
        let from = *self.positions.get(&ask.choice.carried)?;
        if !self.tracked || ask.condition.is_some() {
            return None;
        }
        let s = &self.shape;
        let side = self.side(false);
        let n = if s.key_columns.is_empty() { s.columns.len() } else { s.key_columns.len() };
        if s.key_columns.is_empty() && ask.choice.carried.len() < n {
            return None;
        }
        // A composite key is logged in the order of its declaration.
        let mut order: Vec<usize> = (0..n).collect();
        if s.key == Key::Composite {
            order.reverse();
        }
        let ks = (1..=n).map(|i| format!("k{i}")).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT {ks}, seq, deleted_at IS NOT NULL FROM {}.{} WHERE seq > {from} ORDER BY seq",
            side.at,
            quote(&format!("dbint_changes_{}", s.table))
        );
        let mut q = side.db.prepare(&sql).unwrap();
        let mut rows = q.query([]).unwrap();
        let mut all = Touched::default();
        while let Some(row) = rows.next().unwrap() {
            let key: Vec<Val> = order.iter().map(|i| Val::from(row.get_ref(*i).unwrap())).collect();
            let deleted: bool = row.get(n + 1).unwrap();
            let mut values = vec![Val::Null; s.columns.len()];
            s.key_columns.iter().zip(&key).for_each(|(k, v)| values[*k] = v.clone());
            match name(s, &values) {
                Some(name) => drop(all.names.insert(name, deleted)),
                None => drop(all.loose.insert(key, deleted)),
            }
        }
        Some(all)
    }

    fn end_of_log(&self) -> i64 {
        let side = self.side(false);
        let log = quote(&format!("dbint_changes_{}", self.shape.table));
        side.db.query_row(&format!("SELECT ifnull(max(seq), 0) FROM {}.{log}", side.at), [], |r| r.get(0)).unwrap()
    }

    fn column(&self, table: &str, at: &str, db: &Connection) -> Vec<Val> {
        let mut q = db.prepare(&format!("SELECT * FROM {at}.{table}")).unwrap();
        q.query_map([], |r| r.get_ref(0).map(Val::from)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn step(&mut self) {
        let place = match self.layout {
            PathToPath | PathToMemory | PathToMain | PathToOpenMain => self.files[0].to_str(),
            TempToPath => Some("temp"),
            _ => None,
        };
        let ask = ask(&mut self.r, &self.shape, place);
        self.story.push(ask.options.to_string());
        let existed = self.has_table();
        let empty = vec![];
        let source = self.side(false).rows(&self.shape, ask.condition);
        let target = if existed { self.side(true).rows(&self.shape, ask.condition) } else { empty };
        let touched = self.touched(&ask);
        let own = self.side(true).own(&self.shape);
        let (parents, children) = {
            let t = self.side(true);
            let of = |on: bool, table: &str| if on { self.column(table, t.at, t.db) } else { vec![] };
            (of(self.shape.parent, "p"), of(self.shape.child, "c"))
        };
        let orphans_before = orphans(self.side(true).db);
        self.story.push(format!("source {source:?}\ntarget {target:?}\ntouched {touched:?}"));
        let open = matches!(self.layout, PathToOpenMain | MainToOpenAttached);
        if open {
            self.host.execute_batch("BEGIN").unwrap();
        }
        let dry = self.call(&ask, true);
        assert_eq!(self.seen_by_host(existed, ask.condition), target, "a dry run changed the target");
        assert_eq!(self.has_table(), existed, "a dry run made the table");
        let fired = self.fired();
        let real = self.call(&ask, false);
        self.story.push(format!("dry  {}\nreal {}", brief(&dry), brief(&real)));
        assert_eq!(self.side(false).rows(&self.shape, ask.condition), source, "the source changed");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
        self.tell(&ask, existed, &source, &target);
        let receipt = match real {
            Err(e) => {
                assert_eq!(self.seen_by_host(existed, ask.condition), target, "a failed sync changed the target: {e}");
                assert_eq!(self.fired(), fired);
                if open {
                    self.host.execute_batch("ROLLBACK").unwrap();
                }
                self.justify(&ask, &e, &source, &target, touched.as_ref(), now, own, (&parents, &children, orphans_before));
                return;
            }
            Ok(receipt) => receipt,
        };
        let method = receipt["method"].as_str().unwrap().to_owned();
        let by_log = method == "change_log";
        let e = expect(&self.shape, &source, &target, &ask.choice, touched.as_ref(), by_log, now);
        assert!(!e.refused, "the policy forbids it");
        if !by_log && !ask.choice.full && ask.choice.delete != Some(true) && e.figures.deleted > 0 {
            self.saw("tracked deletion in a scan");
        }
        let (want, orphans_after) = stored(&self.shape, &e.rows, &ask.choice, own, &parents, &children).expect("the target's constraints forbid it");
        assert!(!ask.foreign_keys || orphans_after <= orphans_before, "{orphans_after} orphans, {orphans_before} before");
        // Of rows without a name that are alike in what travels, any may be the one that stays.
        let loose = (ask.choice.carried.len() < self.shape.columns.len() || !own.is_empty()) && target.iter().any(|r| name(&self.shape, &r.values).is_none());
        let seen = |rows: Vec<Row>| if loose { carried(rows, &ask.choice.carried) } else { rows };
        let want = seen(want);
        assert_eq!(seen(self.seen_by_host(true, None)), want, "the target is not what it should be");
        self.figures(&ask, &receipt, &e, by_log);
        if let Ok(dry) = &dry {
            DONE.iter()
                .filter(|f| method == dry["method"].as_str().unwrap() || **f != "unchanged")
                .for_each(|f| assert_eq!(dry[f], receipt[f], "dry run: {f}"));
        } else {
            panic!("the dry run failed, the sync did not");
        }
        let changed = e.figures.inserted + e.figures.updated + e.figures.deleted;
        if self.shape.trigger {
            let names = receipt["triggers_not_fired"].as_array().unwrap().len();
            let now_fired = self.fired();
            match ask.triggers {
                Some(true) => assert!(names == 0 && now_fired >= fired + changed, "{names} {fired} {now_fired}"),
                _ => assert!(names == 3 && now_fired == fired, "{names} {fired} {now_fired}"),
            }
            if ask.triggers == Some(true) && changed > 0 {
                self.saw("triggers fired");
            }
        }
        self.saw(format!("method {method}"));
        e.kinds.iter().for_each(|k| self.saw(format!("conflict {k}")));
        if receipt["created_table"] == true {
            self.saw("created");
        }
        if open && self.r.once_in(3) {
            self.host.execute_batch("ROLLBACK").unwrap();
            assert_eq!(self.has_table(), existed, "a rollback leaves the table behind");
            assert!(!existed || self.side(true).rows(&self.shape, ask.condition) == target, "a rollback leaves something behind");
            self.saw("rolled back");
            return;
        } else if open {
            self.host.execute_batch("COMMIT").unwrap();
        }
        assert_eq!(seen(self.side(true).rows(&self.shape, None)), want, "after the commit");
        let intact: String = self.side(true).db.query_row("PRAGMA main.integrity_check", [], |r| r.get(0)).unwrap();
        assert!(intact == "ok" || intact.starts_with("CHECK constraint failed"), "{intact}");
        if self.tracked && ask.condition.is_none() {
            let end = self.end_of_log();
            self.positions.insert(ask.choice.carried.clone(), end);
        }
        // A row that no key names, and that arrives without the column the condition asks about, is another one there.
        let partial = ask.choice.carried.len() < self.shape.columns.len();
        let unnamed = partial && ask.condition.is_some() && source.iter().any(|r| name(&self.shape, &r.values).is_none());
        if ask.choice.full && !unnamed {
            self.nothing_left(&ask, &source);
        }
        if self.chain {
            self.hop();
        }
    }

    /// The target, as the connection sees it whose transaction it may be in.
    fn seen_by_host(&self, exists: bool, condition: Option<&str>) -> Vec<Row> {
        let host = |at| Side { db: &self.host, at, target: true };
        let side = match self.layout {
            PathToOpenMain => host("main"),
            MainToOpenAttached => host("tg"),
            _ => self.side(true),
        };
        if exists { side.rows(&self.shape, condition) } else { vec![] }
    }

    fn fired(&self) -> u64 {
        if !self.shape.trigger {
            return 0;
        }
        let (db, at) = match self.layout {
            PathToOpenMain => (&self.host, "main"),
            MainToOpenAttached => (&self.host, "tg"),
            _ => (self.side(true).db, "main"),
        };
        db.query_row(&format!("SELECT count(*) FROM {at}.fired"), [], |r| r.get::<_, i64>(0)).unwrap() as u64
    }

    fn tell(&mut self, ask: &Ask, existed: bool, source: &[Row], target: &[Row]) {
        self.saw(if ask.choice.full { "mode full" } else { "mode incremental" });
        if ask.method != "auto" {
            self.saw(format!("forced {}", ask.method));
        }
        if let Some(d) = ask.choice.delete {
            self.saw(format!("delete {d}"));
        }
        if ask.condition.is_some() {
            self.saw("where");
        }
        if ask.choice.carried.len() < self.shape.columns.len() {
            self.saw("columns");
        }
        let all = || source.iter().chain(target);
        if existed && all().any(|r| !self.shape.key_columns.is_empty() && name(&self.shape, &r.values).is_none()) {
            self.saw("NULL in a key");
        }
        if self.shape.key_columns.is_empty() && source.windows(2).any(|w| w[0].values == w[1].values) {
            self.saw("equal rows twice");
        }
    }

    fn figures(&self, ask: &Ask, receipt: &Json, e: &Expected, by_log: bool) {
        let n = |f: &str| receipt[f].as_u64().unwrap_or_default();
        let mut want = e.figures;
        let got = Figures {
            inserted: n("inserted"),
            updated: n("updated"),
            deleted: n("deleted"),
            conflicts: n("conflicts"),
            skipped: n("skipped"),
            left: n("target_only_rows"),
            unchanged: n("unchanged"),
        };
        if by_log {
            assert!(receipt["unchanged"].is_null());
            want.unchanged = 0;
        }
        if ask.choice.full {
            assert!(!by_log, "mode full by the log alone");
        }
        assert_eq!(got, want, "figures");
    }

    /// A sync failed: rightly?
    #[expect(clippy::too_many_arguments, reason = "what was there before, in its parts")]
    fn justify(
        &mut self,
        ask: &Ask,
        error: &str,
        source: &[Row],
        target: &[Row],
        touched: Option<&Touched>,
        now: i64,
        own: &[&str],
        around: (&[Val], &[Val], i64),
    ) {
        let tag = error.rsplit('[').next().unwrap_or_default().trim_end_matches(']').to_owned();
        self.saw(format!("error {tag}"));
        let s = &self.shape;
        let twice = |rows: &[Row]| {
            let mut names: Vec<Name> = rows.iter().filter_map(|r| name(s, &r.values)).collect();
            names.sort();
            names.windows(2).any(|w| w[0] == w[1])
        };
        // Whichever way it went, one of the two must be forbidden.
        let mut refusals = vec![];
        let outcome = [false, true].map(|by_log| {
            let e = expect(s, source, target, &ask.choice, touched, by_log, now);
            let kept = stored(s, &e.rows, &ask.choice, own, around.0, around.1);
            if e.refused {
                e.kinds.iter().filter(|k| k.starts_with("refused")).for_each(|k| refusals.push(*k));
            }
            (e.refused, kept.is_none_or(|(_, orphans)| ask.foreign_keys && orphans > around.2))
        });
        let may_log = touched.is_some();
        let nulls = (s.source_without_rowid || s.target_without_rowid) && source.iter().chain(target).any(|r| name(s, &r.values).is_none());
        let right = match tag.as_str() {
            "DBINT_UNSUPPORTED" => !matches!(ask.method, "auto" | "refill"),
            "DBINT_ARGUMENT" => twice(source) || twice(target),
            "DBINT_CONFLICT" => outcome[0].0 || may_log && outcome[1].0,
            "DBINT_CONSTRAINT" => outcome[0].1 || may_log && outcome[1].1 || nulls,
            _ => false,
        };
        if tag == "DBINT_CONFLICT" {
            refusals.into_iter().for_each(|k| self.saw(format!("conflict {k}")));
        }
        assert!(right, "failed without need: {error}");
    }

    /// After a full sync, the next finds nothing to do.
    fn nothing_left(&mut self, ask: &Ask, source: &[Row]) {
        let again = self.call(ask, true).unwrap();
        let done: Vec<&Json> = ["inserted", "updated", "deleted"].iter().map(|f| &again[f]).collect();
        assert!(done.iter().all(|n| **n == 0), "still something to do: {again}");
        assert_eq!(again["unchanged"], source.iter().filter(|r| r.inside).count());
    }

    /// The target is the source of a third database.
    fn hop(&mut self) {
        let mut o = json!({"source": self.files[1].to_string_lossy(), "create": true, "conflict": "source_wins", "foreign_keys": false});
        if self.shape.key_option() {
            o["keys"] = json!(self.key_names());
        }
        let third = self.third.to_string_lossy().into_owned();
        let receipt: String = self.host.query_row("SELECT sync_table(?, ?, ?)", (self.shape.table, third, o.to_string()), |r| r.get(0)).unwrap();
        self.story.push(format!("third {receipt}"));
        let db = Connection::open(&self.third).unwrap();
        let got = Side { db: &db, at: "main", target: true }.rows(&self.shape, None);
        assert_eq!(got, self.side(true).rows(&self.shape, None), "the third database");
    }
}

/// A receipt in one line.
fn brief(r: &Result<Json, String>) -> String {
    match r {
        Ok(r) => ["method", "passed_over", "created_table"].iter().chain(&DONE).map(|f| format!("{f} {}", r[f])).collect::<Vec<_>>().join(", "),
        Err(e) => e.clone(),
    }
}

fn carried(rows: Vec<Row>, columns: &[usize]) -> Vec<Row> {
    let mut all: Vec<Row> =
        rows.into_iter().map(|r| Row { values: columns.iter().map(|c| r.values[*c].clone()).collect(), own: vec![], inside: r.inside }).collect();
    all.sort();
    all
}
