/* scan(FILE, TABLE): steps once through a table and touches each value by the C API of the host's SQLite.
** No program that compares rows by cursors in this process can be faster: the floor of the sync benchmark. */
#include "sqlite3ext.h"
#include <string.h>
SQLITE_EXTENSION_INIT1

static void scan(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
  sqlite3 *db = 0;
  sqlite3_stmt *s = 0;
  sqlite3_int64 sum = 0;
  char *sql = sqlite3_mprintf("SELECT * FROM \"%w\"", sqlite3_value_text(argv[1]));
  int rc = sqlite3_open_v2((const char *)sqlite3_value_text(argv[0]), &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, 0);
  (void)argc;
  if (rc == SQLITE_OK) rc = sqlite3_prepare_v2(db, sql, -1, &s, 0);
  if (rc == SQLITE_OK) {
    int n = sqlite3_column_count(s);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
      for (int i = 0; i < n; i++) {
        sqlite3_value *v = sqlite3_column_value(s, i);
        switch (sqlite3_value_type(v)) {
          case SQLITE_INTEGER: sum += sqlite3_value_int64(v); break;
          case SQLITE_FLOAT: sum += sqlite3_value_double(v) > 0; break;
          case SQLITE_NULL: break;
          default: {
            const char *bytes = sqlite3_value_blob(v);
            int length = sqlite3_value_bytes(v);
            sum += length ? length + bytes[length - 1] : 0;
          }
        }
      }
    }
  }
  if (rc == SQLITE_DONE) sqlite3_result_int64(ctx, sum);
  else sqlite3_result_error(ctx, sqlite3_errmsg(db), -1);
  sqlite3_finalize(s);
  sqlite3_close(db);
  sqlite3_free(sql);
}

int sqlite3_floor_init(sqlite3 *db, char **err, const sqlite3_api_routines *api) {
  SQLITE_EXTENSION_INIT2(api);
  (void)err;
  return sqlite3_create_function(db, "scan", 2, SQLITE_UTF8, 0, scan, 0, 0);
}
