"""Runs statements through Python's DB-API: dbapi.py MODULE DATABASE LIBRARY STATEMENT...; prints each first value."""
import importlib
import sys

module, database, library, *statements = sys.argv[1:]
db = importlib.import_module(module).connect(database)
db.enable_load_extension(True)
db.load_extension(library)
db.enable_load_extension(False)
for sql in statements:
    row = db.execute(sql).fetchone()
    print("" if row is None else row[0])
db.commit()
db.close()
