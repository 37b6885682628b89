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
    for (unsigned i = 0; i < st->count; i++)
        free((void *)(uintptr_t)st->params[i].text.ptr);
    free(st->params);
    free((void *)(uintptr_t)st->text.ptr);
    *st = (struct sql_statement){.text = {NULL, 0}};
}

static void free_session(struct sql_session *s)
{
    list_remove(&s->node);
    sql_statement_free(&s->statement);
    sql_rows_free(&s->rows);
    free(s);
}

struct sql_session *sql_session_new(struct sql_pool *pool, void (*done)(struct sql_session *),
                                    void *owner)
{
    struct sql_session *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    s->pool = pool;
    s->done = done;
    s->owner = owner;
    list_push(&pool->sessions, &s->node);
    return s;
}

static int copy_statement(struct sql_session *s, struct str text, const struct sql_value *params,
                          unsigned count)
{
    struct sql_statement *to = &s->statement;
    sql_statement_free(&s->statement);
    to->text = str_copy(text);
    to->params = calloc(count > 0 ? count : 1, sizeof(*to->params));
    bool ok = to->text.ptr != NULL && to->params != NULL;
    for (unsigned i = 0; ok && i < count; i++) {
        to->params[i] = params[i];
        to->count++;
        if (params[i].text.ptr == NULL)
            continue;
        to->params[i].text = str_copy(params[i].text);
        ok = to->params[i].text.ptr != NULL;
    }
    if (!ok)
        sql_statement_free(&s->statement);
    return ok ? 0 : -ENOMEM;
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
