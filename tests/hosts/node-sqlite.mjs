// Runs statements through node:sqlite, in Node and in Deno: node-sqlite.mjs DATABASE LIBRARY STATEMENT...; prints each first value.
import { DatabaseSync } from "node:sqlite";
import process from "node:process";
const [database, library, ...statements] = process.argv.slice(2);
const db = new DatabaseSync(database, { allowExtension: true });
db.loadExtension(library);
for (const sql of statements) {
  const row = db.prepare(sql).get();
  console.log(row === undefined ? "" : String(Object.values(row)[0]));
}
db.close();
