"""A writer that knows nothing of dbint: tracked_writer.py FILE insert|update|change SEED."""
import random
import sqlite3
import sys

file, work, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
db = sqlite3.connect(file, isolation_level=None)
db.execute("PRAGMA synchronous=NORMAL")
integer = db.execute("SELECT typeof(session_id) FROM session_tracking LIMIT 1").fetchone()[0] == "integer"
most = db.execute("SELECT max(rowid) FROM session_tracking").fetchone()[0]
r = random.Random(seed)
fresh = iter(range(most + 1, most + 1_000_000))


def insert():
    n = next(fresh)
    key = n if integer else f"{r.getrandbits(128):032x}"
    db.execute("INSERT INTO session_tracking VALUES(?, ?, ?, ?, ?, ?)", (key, f"user_{n % 20_000:05}", "2026-01-01 00:00:00", "2026-01-02 00:00:00", "x" * 120, n / 7))


def update(rowid):
    db.execute("UPDATE session_tracking SET updated_at = ?, score = score + 1 WHERE rowid = ?", (f"2026-02-01 00:00:{seed % 60:02}", rowid))


if work == "change":
    some = [row[0] for row in (db.execute("SELECT rowid FROM session_tracking WHERE rowid >= ? LIMIT 1", (r.randint(1, most),)).fetchone() for _ in range(2000)) if row]
    some = list(dict.fromkeys(some))[:750]
    db.execute("BEGIN")
    for rowid in some[:500]:
        update(rowid)
    for rowid in some[500:]:
        db.execute("DELETE FROM session_tracking WHERE rowid = ?", (rowid,))
    for _ in range(250):
        insert()
    db.execute("COMMIT")
else:
    for _ in range(200):
        db.execute("BEGIN")
        for _ in range(100):
            insert() if work == "insert" else update(r.randint(1, most))
        db.execute("COMMIT")
