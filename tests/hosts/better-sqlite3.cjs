// Runs statements through better-sqlite3: better-sqlite3.cjs DATABASE LIBRARY STATEMENT...; prints each first value.
const Database = require("better-sqlite3");
const [database, library, ...statements] = process.argv.slice(2);
const db = new Database(database);
db.loadExtension(library);
for (const sql of statements) {
  const row = db.prepare(sql).raw().get();
  console.log(row === undefined ? "" : String(row[0]));
}
db.close();
