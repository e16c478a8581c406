"""Runs statements through apsw: apsw_client.py DATABASE LIBRARY STATEMENT...; prints each first value."""
import sys

import apsw

database, library, *statements = sys.argv[1:]
db = apsw.Connection(database)
# The names before 3.43; newer releases keep them.
db.enableloadextension(True)
db.loadextension(library)
for sql in statements:
    row = db.cursor().execute(sql).fetchone()
    print("" if row is None else row[0])
db.close()
