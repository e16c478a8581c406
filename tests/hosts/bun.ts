// Runs statements through bun:sqlite: bun.ts DATABASE LIBRARY STATEMENT...; prints each first value.
import { Database } from "bun:sqlite";
const [database, library, ...statements] = process.argv.slice(2);
const db = new Database(database);
db.loadExtension(library);
for (const sql of statements) {
  const row = db.prepare(sql).values()[0];
  console.log(row === undefined ? "" : String(row[0]));
}
db.close();
