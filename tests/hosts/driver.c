/* A SQLite host of any version: linked with an amalgamation, it loads the library given and runs what stdin asks.
**
**   driver DATABASE [LIBRARY]
**
** A request is "<length>\n<SQL>", some statements; the answer is
**   "rows <columns> <rows>\n" and then each value of the last statement as "<type> <length>\n<bytes>\n", or
**   "error <length>\n<message>\n".
** A library that does not load is one "error" answer, and the end.
*/
#include "sqlite3.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void error(const char *text) {
  printf("error %zu\n%s\n", strlen(text), text);
  fflush(stdout);
}

/* The rows of one statement, kept until it is known to be the last. */
typedef struct {
  char *at;
  size_t used, room;
} Text;

static void add(Text *t, const void *bytes, size_t n) {
  if (t->used + n > t->room) {
    t->room = (t->used + n) * 2;
    t->at = realloc(t->at, t->room);
    if (!t->at) exit(3);
  }
  memcpy(t->at + t->used, bytes, n);
  t->used += n;
}

static void add_value(Text *t, sqlite3_stmt *s, int i) {
  static const char types[] = {0, 'i', 'r', 't', 'b', 'n'};
  char head[64];
  int type = sqlite3_column_type(s, i);
  const void *bytes = "";
  char real[64];
  int n = 0;
  if (type == SQLITE_FLOAT) { /* 17 digits: the value itself, whatever this version prints */
    n = snprintf(real, sizeof real, "%.17g", sqlite3_column_double(s, i));
    bytes = real;
  } else if (type != SQLITE_NULL) {
    bytes = type == SQLITE_BLOB ? sqlite3_column_blob(s, i) : (const void *)sqlite3_column_text(s, i);
    n = sqlite3_column_bytes(s, i);
  }
  add(t, head, (size_t)snprintf(head, sizeof head, "%c %d\n", types[type], n));
  add(t, bytes, (size_t)n);
  add(t, "\n", 1);
}

static void run(sqlite3 *db, const char *sql, Text *out) {
  int columns = 0;
  long rows = 0;
  out->used = 0;
  while (*sql) {
    sqlite3_stmt *s = 0;
    if (sqlite3_prepare_v2(db, sql, -1, &s, &sql) != SQLITE_OK) {
      error(sqlite3_errmsg(db));
      return;
    }
    if (!s) continue; /* only space or a comment */
    columns = sqlite3_column_count(s);
    rows = 0;
    out->used = 0;
    while (sqlite3_step(s) == SQLITE_ROW) {
      rows++;
      for (int i = 0; i < columns; i++) add_value(out, s, i);
    }
    if (sqlite3_finalize(s) != SQLITE_OK) {
      error(sqlite3_errmsg(db));
      return;
    }
  }
  printf("rows %d %ld\n", columns, rows);
  fwrite(out->at, 1, out->used, stdout);
  fflush(stdout);
}

int main(int argc, char **argv) {
  sqlite3 *db;
  Text out = {0};
  size_t n;
  if (argc < 2 || sqlite3_open(argv[1], &db) != SQLITE_OK) return 2;
  sqlite3_enable_load_extension(db, 1);
  if (argc > 2) {
    char *why = 0;
    if (sqlite3_load_extension(db, argv[2], 0, &why) != SQLITE_OK) {
      error(why ? why : "?");
      return 1;
    }
  }
  while (scanf("%zu", &n) == 1 && getchar() == '\n') {
    char *sql = calloc(n + 1, 1);
    if (!sql || fread(sql, 1, n, stdin) != n) return 2;
    run(db, sql, &out);
    free(sql);
  }
  free(out.at);
  return sqlite3_close(db) == SQLITE_OK ? 0 : 4;
}
