/* What the pools and the two drivers share. */
#pragma once

#include "base/limits.h"
#include "sql/sql.h"

enum { SQL_POOL_DEFAULT = 10, SQL_POOL_MAX = 100 };

/* All pools of a worker. */
struct sql {
    uv_loop_t *loop;   /* borrowed */
    const char *trial; /* borrowed; NULL: none; see sql_new */
    struct list pools;
    unsigned handles; /* of drivers, that are not closed yet */
    bool closing;
};

/* A connection. A driver's struct begins with it; `driver->close` frees it. */
struct sql_conn {
    struct list node; /* in pool->idle or pool->others */
    struct sql_pool *pool;
    struct sql_session *session; /* whose it is; NULL: nobody's */
};

/* All report by the functions below, at once or later. */
struct sql_driver {
    /* Begins to connect: sql_conn_opened. NULL: out of memory. */
    struct sql_conn *(*open)(struct sql_pool *pool);
    /* Runs session->statement: sql_conn_done. */
    void (*run)(struct sql_conn *conn);
    /* Nobody wants it any more, running or not: clears it for the next, sql_conn_cleared. */
    void (*clear)(struct sql_conn *conn);
    /* Ends it, whatever it does; nothing is reported any more. */
    void (*close)(struct sql_conn *conn);
    /* Frees what the pool's `address` holds. */
    void (*forget)(void *address);
};

struct sql_pool {
    struct list node;
    struct sql *sql;
    const struct sql_driver *driver;
    struct str key;       /* owned: root and url */
    void *address;        /* the driver's */
    unsigned most, count; /* connections */
    struct list idle, others;
    struct list waiting;                        /* sessions that want a connection */
    struct list sessions;                       /* those that have one, or want nothing */
    struct sql_session *spare[LIMIT_SQL_SPARE]; /* those that are over; owned */
    unsigned spare_count;
};

/* What it owns. It is an empty one then. */
void sql_statement_free(struct sql_statement *st);
/* One without connections; NULL is not fine. */
void sql_pool_free(struct sql_pool *pool);

uv_loop_t *sql_loop(const struct sql_pool *pool);
/* A handle of a driver was made, or has closed. */
void sql_handle_opened(struct sql_pool *pool);
void sql_handle_closed(struct sql *sql);
struct sql *sql_of(const struct sql_pool *pool);

/* It is ready. */
void sql_conn_opened(struct sql_conn *conn);
/* It cannot be opened: closed by the pool; who waits fails with that. */
void sql_conn_failed(struct sql_conn *conn, const struct sql_error *error);
/* The statement of its session has ended; `usable`: another one may be run. */
void sql_conn_done(struct sql_conn *conn, bool usable);
void sql_conn_cleared(struct sql_conn *conn, bool usable);
/* An idle one has ended: closed by the pool. */
void sql_conn_lost(struct sql_conn *conn);

/* Of the byte `at`, from 1. */
unsigned sql_line_of(const char *text, size_t at);

void sql_error_set(struct sql_error *error, const char *code, const char *message,
                   const char *detail);

/* 0 with the driver's address, or -1 with the reason. `url` without `pool=`; `trial` as in sql_new.
 */
int sql_postgres_parse(struct str url, void **address, struct err *err);
int sql_sqlite_parse(struct str url, struct str root, const char *trial, void **address,
                     struct err *err);
extern const struct sql_driver sql_postgres, sql_sqlite;
