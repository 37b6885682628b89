/* Databases: PostgreSQL (libpq, without blocking) and SQLite (on a thread), behind one interface.
 *
 * A worker has one pool an address. Whoever wants something run makes a session: it waits for a
 * connection, runs statements one after the other, and gives the connection back when it is
 * dropped; what it left open is rolled back, what it left running is cancelled at the server. All
 * callbacks come from the loop, or from within the call. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/list.h"
#include "base/str.h"
#include "sql/rows.h"

struct sql;      /* all pools of a worker */
struct sql_pool; /* of one address */

/* What a statement failed with. Texts are cut to fit. */
struct sql_error {
    char code[6]; /* SQLSTATE; SQLite's are those of its kind */
    char message[512];
    char detail[512];     /* may be empty */
    char constraint[128]; /* its name, or columns; may be empty */
    unsigned line;        /* of a script; 0: not known */
};

struct sql_session {
    struct list node;      /* the pool's */
    struct sql_pool *pool; /* borrowed */
    struct sql_conn *conn; /* borrowed from the pool; NULL: it waits for one, or has none yet */
    bool running;          /* a statement is under way */
    bool failed; /* the last statement: then `error` says why, else `rows` is the result */
    struct sql_error error;
    struct sql_rows rows;
    struct sql_statement {
        struct str text;          /* NUL-terminated */
        struct sql_value *params; /* texts NUL-terminated */
        unsigned count;
        bool is_script;
        struct buf memory;              /* where they are */
    } statement;                        /* owned */
    void (*done)(struct sql_session *); /* the statement has ended */
    void *owner;                        /* borrowed; for `done` */
};

/* `trial` (borrowed; NULL: none) is an empty folder: nothing that happens lasts, or reaches what is
 * there. A SQLite file is then a new one in that folder, whatever its path; with PostgreSQL all is
 * one transaction on one connection, which nobody commits: BEGIN means a savepoint in it. NULL: out
 * of memory. */
struct sql *sql_new(uv_loop_t *loop, const char *trial);
/* Ends all connections; sessions must be dropped before or fail. The loop must run on until their
 * handles are closed; then it is freed. NULL is fine. */
void sql_close(struct sql *sql);

/* The pool of an address: `postgres://…` as libpq reads it, or `sqlite:FILE` below the folder
 * `root`, or the place (base/place.h); `pool=N` in its query says how many connections (default 10;
 * SQLite has one). NULL with the reason; the address is not in it. */
struct sql_pool *sql_pool_of(struct sql *sql, struct str url, struct str root, struct err *err);

/* NULL: out of memory. */
struct sql_session *sql_session_new(struct sql_pool *pool, void (*done)(struct sql_session *),
                                    void *owner);
/* Runs a statement, of which everything is copied, when there is a connection. At most `limit`
 * bytes of rows. 0, or -ENOMEM: then `done` is not called. */
int sql_session_run(struct sql_session *session, struct str text, const struct sql_value *params,
                    unsigned count, size_t limit) __attribute__((warn_unused_result));
/* The same with several statements, without parameters; their rows are thrown away. */
int sql_session_run_script(struct sql_session *session, struct str text)
    __attribute__((warn_unused_result));
/* The end, at any time; `done` is not called any more. */
void sql_session_drop(struct sql_session *session);

/* "15.1", "3.40.1"; static. */
const char *sql_postgres_version(void);
const char *sql_sqlite_version(void);
