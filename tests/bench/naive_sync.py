"""Sync as scripts usually do it: each source row is looked up by its key, compared, written; commit every 1000."""
import sqlite3
import sys

source, target = sqlite3.connect(sys.argv[1]), sqlite3.connect(sys.argv[2])
columns = [r[1] for r in source.execute("PRAGMA table_info(session_tracking)")]
marks = ", ".join("?" * len(columns))
assignments = ", ".join(f'"{c}" = ?' for c in columns[1:])
seen, pending = set(), 0
for row in source.execute("SELECT * FROM session_tracking"):
    seen.add(row[0])
    have = target.execute("SELECT * FROM session_tracking WHERE session_id = ?", row[:1]).fetchone()
    if have is None:
        target.execute(f"INSERT INTO session_tracking VALUES({marks})", row)
    elif have != row:
        target.execute(f"UPDATE session_tracking SET {assignments} WHERE session_id = ?", row[1:] + row[:1])
    else:
        continue
    pending += 1
    if pending % 1000 == 0:
        target.commit()
for (key,) in target.execute("SELECT session_id FROM session_tracking").fetchall():
    if key not in seen:
        target.execute("DELETE FROM session_tracking WHERE session_id = ?", (key,))
target.commit()
