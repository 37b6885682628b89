/* Numbered files, migrations/NNN_name.sql beside functions.lua, that make a database what the
 * functions expect. Each is applied once, in the order of the numbers and in a transaction of its
 * own; the database's table luafn_migrations says which were. */
#pragma once

#include <stdint.h>

#include "app/deployment.h"
#include "sql/sql.h"

enum { MIGRATION_HASH_HEX = 65 };

struct migration {
    uint64_t number;
    char *name;                    /* owned: "001_notes.sql" */
    struct buf text;               /* owned; without a zero byte */
    char hash[MIGRATION_HASH_HEX]; /* SHA-256 of the text */
};

struct migrations {
    struct migration *list; /* owned; in the order of their numbers */
    unsigned count;
};

/* Those below `folder`, that of functions.lua; each fault goes to stderr. Returns their number. */
unsigned migrations_read(struct str folder, struct migrations *out);
void migrations_free(struct migrations *migrations);

/* Variables that functions list in `sql`, without repeats. False: out of memory. */
bool migrations_variables(const struct deployment *deployment,
                          struct buf *names /* NUL after each */);

/* Applies what the database of that address (sql/sql.h) has not had; `applied` is told of each. The
 * loop is that of `sql`, and runs meanwhile. 0, or -1 with file and message. */
int migrations_apply(const struct migrations *migrations, struct sql *sql, uv_loop_t *loop,
                     struct str url, struct str root,
                     void (*applied)(void *arg, const struct migration *migration), void *arg,
                     struct err *err);
