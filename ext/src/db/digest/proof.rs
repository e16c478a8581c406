//! Pages and cursors give one digest, for every shape of table.
use super::*;
use std::path::PathBuf;

fn file(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("dbint-digest-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join(name);
    let _ = std::fs::remove_file(&path);
    path
}

fn both(db: &Connection, table: &str) -> std::result::Result<String, String> {
    let mut hexes = vec![];
    for algorithm in [Algorithm::Fast, Algorithm::Sha256] {
        let get = |m| super::table(db, "main", table, algorithm, m, &mut Interrupt::of(db).unwrap());
        let cursors = get(Method::Cursors).unwrap();
        match get(Method::Pages) {
            Err(e) => {
                let auto = get(Method::Auto).unwrap();
                assert_eq!((auto.hex, auto.rows), (cursors.hex, cursors.rows));
                assert!(auto.why.is_some());
                return Err(e.to_string());
            }
            Ok(pages) => assert_eq!((&pages.hex, pages.rows), (&cursors.hex, cursors.rows), "{table} {algorithm:?}"),
        }
        if algorithm == Algorithm::Fast {
            let one_thread = of_rows(db, "main", table, &mut || Ok(())).unwrap();
            assert_eq!((one_thread.hex, one_thread.rows), (cursors.hex.clone(), cursors.rows), "{table}");
        }
        hexes.push(cursors.hex);
    }
    Ok(hexes.concat())
}

#[test]
fn pages_and_cursors_agree_on_every_shape() {
    let db = Connection::open(file("shapes.db")).unwrap();
    db.execute_batch(
        "CREATE TABLE rowid_alias(a TEXT, id INTEGER PRIMARY KEY, r REAL, v AS (a || 'v') VIRTUAL, s AS (a || 's') STORED, n);
         INSERT INTO rowid_alias(a, r, n) VALUES('x', 1, 1), ('y', 1.5, 1.0), (NULL, 9e18, '1'), ('z', -0.0, x'31'), ('é', 1e999, 9223372036854775807);
         CREATE TABLE no_rowid(v REAL, k2 TEXT COLLATE NOCASE, x, k1 INT, PRIMARY KEY(k1, k2)) WITHOUT ROWID;
         INSERT INTO no_rowid VALUES(2, 'b', NULL, 1), (3, 'a', 'q', 1), (NULL, 'c', zeroblob(9000), -7);
         CREATE TABLE plain(a, b); INSERT INTO plain VALUES(1, 2), (1, 2), (NULL, NULL), (CAST(x'ff00fe' AS TEXT), char(0));
         CREATE TABLE \"de sc\"(id INTEGER PRIMARY KEY DESC, x); INSERT INTO \"de sc\" VALUES(5, 6);
         CREATE TABLE grown(a); INSERT INTO grown VALUES(1); ALTER TABLE grown ADD COLUMN b; ALTER TABLE grown ADD COLUMN c REAL DEFAULT NULL; INSERT INTO grown VALUES(2, 3, 4);
         CREATE TABLE defaults(a); INSERT INTO defaults VALUES(1); ALTER TABLE defaults ADD COLUMN b DEFAULT 5;
         CREATE TABLE floats(a DOUBLE PRECISION, b FLOAT, c 'FLOATING POINT', d BLOB_REAL); INSERT INTO floats VALUES(1, 2, 3, 4.0);
         CREATE TABLE empty(a); CREATE VIEW v AS SELECT 1",
    )
    .unwrap();
    let mut all = vec![];
    for t in ["rowid_alias", "no_rowid", "plain", "de sc", "grown", "floats", "empty"] {
        all.push(both(&db, t).unwrap());
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 7);
    let why = |t| both(&db, t).unwrap_err();
    assert!(why("defaults").contains("default was added"));
    assert!(why("v").contains("differ in schema") || why("v").contains("cannot be read"));
    // What only this connection knows.
    db.create_scalar_function("own", 0, Default::default(), |_| Ok(7)).unwrap();
    db.execute_batch("CREATE VIEW calls AS SELECT a, own() AS o FROM plain").unwrap();
    assert!(both(&db, "calls").is_err());
    let memory = Connection::open_in_memory().unwrap();
    memory.execute_batch("CREATE TABLE plain(x, y); INSERT INTO plain VALUES(NULL, NULL), (1, 2), (CAST(x'ff00fe' AS TEXT), char(0)), (1, 2)").unwrap();
    assert!(both(&memory, "plain").unwrap_err().contains("not a file"));
    let hex = |db: &Connection| super::table(db, "main", "plain", Algorithm::Fast, Method::Auto, &mut Interrupt::of(db).unwrap()).unwrap().hex;
    assert_eq!(hex(&memory), hex(&db));
    let wide = Connection::open(file("wide.db")).unwrap();
    wide.execute_batch("PRAGMA encoding='UTF-16'; CREATE TABLE plain(x, y); INSERT INTO plain VALUES('é', 1)").unwrap();
    assert!(both(&wide, "plain").unwrap_err().contains("UTF-16"));
    db.execute_batch("BEGIN; INSERT INTO plain VALUES(7, 7)").unwrap();
    assert!(both(&db, "plain").unwrap_err().contains("transaction"));
}

/// Large enough for two threads, with rows in the WAL and rowids that do not start at 1.
#[test]
fn a_large_table_in_a_busy_wal() {
    let db = Connection::open(file("large.db")).unwrap();
    db.execute_batch(
        "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT, r REAL);
         WITH RECURSIVE s(i) AS (SELECT -9000 UNION ALL SELECT i + 1 FROM s WHERE i < 9000)
         INSERT INTO t SELECT i * 3, printf('%.*c', 50 + abs(i) % 300, 'x'), i / 2.0 FROM s",
    )
    .unwrap();
    let _ = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    let one = both(&db, "t").unwrap();
    db.execute_batch("PRAGMA wal_autocheckpoint=0; UPDATE t SET x = x || 'y' WHERE id % 7 = 0; DELETE FROM t WHERE id BETWEEN 300 AND 3000").unwrap();
    let two = both(&db, "t").unwrap();
    assert_ne!(one, two);
}
