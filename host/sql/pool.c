/* Pools: who waits for a connection, who has one, and what becomes of it afterwards. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/sql_internal.h"

struct sql *sql_new(uv_loop_t *loop, const char *trial)
{
    struct sql *sql = calloc(1, sizeof(*sql));
    if (sql == NULL)
        return NULL;
    sql->loop = loop;
    sql->trial = trial;
    list_init(&sql->pools);
    return sql;
}

uv_loop_t *sql_loop(const struct sql_pool *pool)
{
    return pool->sql->loop;
}

struct sql *sql_of(const struct sql_pool *pool)
{
    return pool->sql;
}

void sql_handle_opened(struct sql_pool *pool)
{
    pool->sql->handles++;
}

void sql_handle_closed(struct sql *sql)
{
    sql->handles--;
    if (sql->closing && sql->handles == 0)
        free(sql);
}

void sql_error_set(struct sql_error *error, const char *code, const char *message,
                   const char *detail)
{
    *error = (struct sql_error){.code = ""};
    snprintf(error->code, sizeof(error->code), "%s", code);
    snprintf(error->message, sizeof(error->message), "%s", message);
    snprintf(error->detail, sizeof(error->detail), "%s", detail != NULL ? detail : "");
}

unsigned sql_line_of(const char *text, size_t at)
{
    return 1 + (unsigned)str_count((struct str){text, at}, '\n');
}

/* ---- sessions ---- */

void sql_statement_free(struct sql_statement *st)
{
    buf_free(&st->memory);
    *st = (struct sql_statement){.text = {NULL, 0}};
}

static void free_session(struct sql_session *s)
{
    sql_statement_free(&s->statement);
    sql_rows_free(&s->rows);
    free(s);
}

/* The next one needs no memory of its own then. False: too many, or it has become too large. */
static bool keep_session(struct sql_session *s)
{
    struct sql_pool *pool = s->pool;
    if (pool == NULL || pool->spare_count == LIMIT_SQL_SPARE ||
        s->statement.memory.cap > LIMIT_SQL_SPARE_BYTES)
        return false;
    sql_rows_clear(&s->rows);
    pool->spare[pool->spare_count++] = s;
    return true;
}

struct sql_session *sql_session_new(struct sql_pool *pool, void (*done)(struct sql_session *),
                                    void *owner)
{
    struct sql_session *s = pool->spare_count > 0 ? pool->spare[--pool->spare_count]
                                                  : calloc(1, sizeof(struct sql_session));
    if (s == NULL)
        return NULL;
    s->running = s->failed = false;
    s->pool = pool;
    s->done = done;
    s->owner = owner;
    list_push(&pool->sessions, &s->node);
    return s;
}

/* NUL-terminated; there is room for it. */
static struct str add_text(struct buf *memory, struct str text)
{
    struct str copy = {memory->data + memory->len, text.len};
    buf_add_str(memory, text);
    buf_add_char(memory, '\0');
    return copy;
}

static int copy_statement(struct sql_session *s, struct str text, const struct sql_value *params,
                          unsigned count)
{
    struct sql_statement *to = &s->statement;
    struct buf *memory = &to->memory;
    size_t size = count * sizeof(*params) + text.len + 1;
    for (unsigned i = 0; i < count; i++)
        size += params[i].text.len + 1;
    buf_clear(memory);
    if (buf_reserve(memory, size) != 0)
        return -ENOMEM;
    to->params = (struct sql_value *)(void *)memory->data;
    to->count = count;
    to->is_script = false;
    if (count > 0)
        buf_add(memory, params, count * sizeof(*params));
    to->text = add_text(memory, text);
    for (unsigned i = 0; i < count; i++) {
        if (params[i].text.ptr != NULL)
            to->params[i].text = add_text(memory, params[i].text);
    }
    return 0;
}

static void tell(struct sql_session *s)
{
    s->running = false;
    if (s->done != NULL)
        s->done(s);
}

static void fail(struct sql_session *s, const struct sql_error *error)
{
    s->failed = true;
    s->error = *error;
    tell(s);
}

/* ---- connections ---- */

static void give(struct sql_conn *conn, struct sql_session *s)
{
    struct sql_pool *pool = conn->pool;
    list_remove(&conn->node);
    list_push(&pool->others, &conn->node);
    list_remove(&s->node);
    list_push(&pool->sessions, &s->node);
    conn->session = s;
    s->conn = conn;
    pool->driver->run(conn);
}

static void drop(struct sql_conn *conn)
{
    struct sql_pool *pool = conn->pool;
    list_remove(&conn->node);
    pool->count--;
    pool->driver->close(conn);
}

static void fail_all(struct sql_pool *pool, const struct sql_error *error)
{
    struct list round;
    list_init(&round);
    list_append(&round, &pool->waiting);
    while (!list_is_empty(&round)) {
        struct sql_session *s = container_of(round.next, struct sql_session, node);
        list_remove(&s->node);
        list_push(&pool->sessions, &s->node);
        fail(s, error);
    }
}

/* Who waits gets what is idle, or a new one. */
static void serve(struct sql_pool *pool)
{
    unsigned opening = 0;
    while (!list_is_empty(&pool->waiting) && !list_is_empty(&pool->idle))
        give(container_of(pool->idle.prev, struct sql_conn, node),
             container_of(pool->waiting.next, struct sql_session, node));
    if (list_is_empty(&pool->waiting))
        return;
    list_each(node, &pool->others) opening +=
        container_of(node, struct sql_conn, node)->session == NULL;
    list_each(node, &pool->waiting)
    {
        if (opening > 0) {
            opening--; /* that one will be his */
            continue;
        }
        if (pool->count == pool->most)
            return;
        struct sql_conn *conn = pool->driver->open(pool);
        if (conn == NULL)
            return; /* when another gives his back, or never: his deadline tells */
        pool->count++;
    }
}

void sql_conn_opened(struct sql_conn *conn)
{
    list_remove(&conn->node);
    list_push(&conn->pool->idle, &conn->node);
    serve(conn->pool);
}

void sql_conn_failed(struct sql_conn *conn, const struct sql_error *error)
{
    struct sql_pool *pool = conn->pool;
    struct sql_error copied = *error;
    drop(conn);
    fail_all(pool, &copied);
}

void sql_conn_lost(struct sql_conn *conn)
{
    drop(conn);
}

void sql_conn_cleared(struct sql_conn *conn, bool usable)
{
    struct sql_pool *pool = conn->pool;
    if (usable) {
        sql_conn_opened(conn);
        return;
    }
    drop(conn);
    serve(pool);
}

/* The session's end of it. */
static void take_back(struct sql_session *s)
{
    struct sql_conn *conn = s->conn;
    s->conn = NULL;
    conn->session = NULL;
    conn->pool->driver->clear(conn);
}

void sql_conn_done(struct sql_conn *conn, bool usable)
{
    struct sql_session *s = conn->session;
    struct sql_pool *pool = conn->pool;
    if (!usable) {
        s->conn = NULL;
        conn->session = NULL;
        drop(conn);
    }
    tell(s);
    if (!usable)
        serve(pool);
}

static int begin(struct sql_session *s, size_t limit)
{
    s->rows.limit = limit;
    sql_rows_clear(&s->rows);
    s->failed = false;
    s->running = true;
    if (s->conn != NULL) {
        s->pool->driver->run(s->conn);
        return 0;
    }
    list_remove(&s->node);
    list_push(&s->pool->waiting, &s->node);
    serve(s->pool);
    return 0;
}

int sql_session_run(struct sql_session *s, struct str text, const struct sql_value *params,
                    unsigned count, size_t limit)
{
    return copy_statement(s, text, params, count) == 0 ? begin(s, limit) : -ENOMEM;
}

int sql_session_run_script(struct sql_session *s, struct str text)
{
    if (copy_statement(s, text, NULL, 0) != 0)
        return -ENOMEM;
    s->statement.is_script = true;
    return begin(s, 0);
}

void sql_session_drop(struct sql_session *s)
{
    s->done = NULL;
    if (s->conn != NULL)
        take_back(s);
    list_remove(&s->node);
    if (!keep_session(s))
        free_session(s);
}

/* ---- pools ---- */

void sql_pool_free(struct sql_pool *pool)
{
    list_remove(&pool->node);
    if (pool->address != NULL)
        pool->driver->forget(pool->address);
    free((void *)(uintptr_t)pool->key.ptr);
    free(pool);
}

/* Those that are left know of no pool any more. */
static void let_go_sessions(struct sql_pool *pool)
{
    while (!list_is_empty(&pool->sessions)) {
        struct sql_session *s = container_of(pool->sessions.next, struct sql_session, node);
        list_remove(&s->node);
        s->pool = NULL;
    }
    while (pool->spare_count > 0)
        free_session(pool->spare[--pool->spare_count]);
}

static void close_pool(struct sql_pool *pool)
{
    struct sql_error error;
    sql_error_set(&error, "57P01", "the host stops", NULL);
    fail_all(pool, &error);
    while (!list_is_empty(&pool->idle))
        drop(container_of(pool->idle.next, struct sql_conn, node));
    while (!list_is_empty(&pool->others)) {
        struct sql_conn *conn = container_of(pool->others.next, struct sql_conn, node);
        if (conn->session != NULL)
            conn->session->conn = NULL;
        drop(conn);
    }
    let_go_sessions(pool);
    sql_pool_free(pool);
}

void sql_close(struct sql *sql)
{
    if (sql == NULL)
        return;
    sql->closing = true;
    sql->handles++; /* ours, until all are told */
    list_each(node, &sql->pools) close_pool(container_of(node, struct sql_pool, node));
    sql_handle_closed(sql);
}
