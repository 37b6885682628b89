/* PostgreSQL by libpq, without blocking the loop.
 *
 * libpq would look names up on the loop, so that is done before; and it would prove there that it
 * knows a password, which takes milliseconds, so a thread does that. A text with parameters is
 * prepared once a connection, which also tells their types: `bytea` is sent as it is. Rows are read
 * one by one, so that a result that is too large is left in time. A statement that nobody wants any
 * more is cancelled on a thread, as libpq's call blocks; then a transaction that is still open is
 * rolled back, and the connection is used again. */
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/limits.h"
#include "sql/sql_internal.h"

enum oid {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_OID = 26,
    OID_JSON = 114,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_JSONB = 3802
};

enum state {
    LOOKING_UP,
    CONNECTING,
    IDLE,
    PREPARING,
    DESCRIBING,
    RUNNING,
    CLEARING, /* what comes is thrown away; maybe a thread asks the server to stop */
    ROLLING_BACK
};

struct address {
    struct str url; /* owned */
    char *host;     /* owned; to be looked up; NULL: there is nothing to look up */
};

/* A statement that the server has prepared. */
struct prepared {
    struct str text; /* owned; NULL: forgotten */
    char name[8];    /* there */
    Oid *types;      /* owned; of its parameters */
    unsigned count;
};

struct pg {
    struct sql_conn base;
    PGconn *pg;
    enum state state;
    struct prepared prepared[LIMIT_SQL_PREPARED];
    unsigned prepared_count;
    unsigned current; /* the one that runs; LIMIT_SQL_PREPARED: unprepared */
    bool again;       /* the server had forgotten it: it is run once more, unprepared */
    bool sized;       /* the columns' names are there */
    bool in_trial;    /* in a transaction that is a savepoint (sql_new) */
    bool wrapped;     /* in a savepoint of this one statement, in a trial */
    bool closed;      /* by the pool: freed when nothing is pending */
    unsigned pending; /* handles, look-up, thread */
    PostgresPollingStatusType step; /* what the thread's came to, while it connects */
    struct sql *sql;
    struct watch *watch; /* NULL: none */
    uv_timer_t timer;    /* of connecting */
    uv_getaddrinfo_t lookup;
    uv_work_t work;
    PGcancel *cancel;
};

/* libpq may change its socket while it connects: each has a handle of its own. */
struct watch {
    uv_poll_t handle;
    struct pg *pg;
    int events; /* that it waits for; 0: it was stopped */
};

static void advance(struct pg *pg);

static struct pg *pg_of(struct sql_conn *conn)
{
    return container_of(conn, struct pg, base);
}

/* ---- errors ---- */

static const char *first_line(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text != NULL ? text : "");
    out[strcspn(out, "\n")] = '\0';
    return out;
}

/* The server counts characters from 1. */
static unsigned line_of(const struct sql_statement *st, const char *position)
{
    unsigned long characters = position != NULL ? strtoul(position, NULL, 10) : 0;
    size_t at = 0;
    if (characters == 0)
        return 0;
    while (--characters > 0 && at < st->text.len) {
        size_t len = str_utf8_length(str_skip(st->text, at));
        at += len > 0 ? len : 1;
    }
    return sql_line_of(st->text.ptr, at);
}

static void set_broken(struct pg *pg)
{
    char text[512];
    pg->base.session->failed = true;
    sql_error_set(&pg->base.session->error, "08006", "the connection to the database broke",
                  first_line(text, sizeof(text), PQerrorMessage(pg->pg)));
}

static void set_error(struct pg *pg, const PGresult *result)
{
    struct sql_error *error = &pg->base.session->error;
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
    pg->base.session->failed = true;
    if (code == NULL) {
        set_broken(pg);
        return;
    }
    sql_error_set(error, code, PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY),
                  PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL));
    snprintf(error->constraint, sizeof(error->constraint), "%s",
             constraint != NULL ? constraint : "");
    if (pg->base.session->statement.is_script)
        error->line = line_of(&pg->base.session->statement,
                              PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION));
}

static void fail_open(struct pg *pg, const char *detail)
{
    struct sql_error error;
    char text[512];
    sql_error_set(&error, "08001", "the database cannot be reached",
                  first_line(text, sizeof(text), detail));
    sql_conn_failed(&pg->base, &error);
}

/* ---- handles ---- */

static void let_go(struct pg *pg)
{
    struct sql *sql = pg->sql;
    if (--pg->pending > 0)
        return;
    PQfinish(pg->pg);
    for (unsigned i = 0; i < pg->prepared_count; i++) {
        free((void *)(uintptr_t)pg->prepared[i].text.ptr);
        free(pg->prepared[i].types);
    }
    free(pg);
    sql_handle_closed(sql);
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct watch *watch = container_of((uv_poll_t *)handle, struct watch, handle);
    struct pg *pg = watch->pg;
    free(watch);
    let_go(pg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    let_go(container_of((uv_timer_t *)handle, struct pg, timer));
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = container_of(poll, struct watch, handle);
    (void)events;
    if (status != 0)
        watch->events = 0; /* libuv has stopped it */
    advance(watch->pg);
}

static void unwatch(struct pg *pg)
{
    if (pg->watch != NULL)
        uv_close((uv_handle_t *)&pg->watch->handle, on_watch_closed);
    pg->watch = NULL;
}

/* False: out of memory, or of descriptors. */
static bool watch(struct pg *pg, int events)
{
    if (pg->watch == NULL) {
        struct watch *made = calloc(1, sizeof(*made));
        if (made == NULL ||
            uv_poll_init(sql_loop(pg->base.pool), &made->handle, PQsocket(pg->pg)) != 0) {
            free(made);
            return false;
        }
        made->pg = pg;
        pg->watch = made;
        pg->pending++;
    }
    if (pg->watch->events == events)
        return true; /* starting anew would take the kernel three calls */
    if (uv_poll_start(&pg->watch->handle, events, on_event) != 0)
        return false;
    pg->watch->events = events;
    return true;
}

/* ---- trials: all is one transaction that ends with the connection ----
 *
 * What is said here is answered at once, whoever holds locks: so it may block. */

static bool do_now(struct pg *pg, const char *text)
{
    PGresult *result = PQexec(pg->pg, text);
    bool ok = PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
    return ok;
}

/* A statement that fails must not end the transaction around it: it has a savepoint, too. What is
 * to be run instead of the statement, or NULL. */
static const char *try_statement(struct pg *pg, struct str text)
{
    bool failed = PQtransactionStatus(pg->pg) == PQTRANS_INERROR;
    if (str_eq(text, STR("BEGIN"))) {
        pg->in_trial = true;
        return "SAVEPOINT luafn_trial";
    }
    if (pg->in_trial && (str_eq(text, STR("COMMIT")) || str_eq(text, STR("ROLLBACK")))) {
        pg->in_trial = false;
        return failed || text.ptr[0] == 'R' ? "ROLLBACK TO SAVEPOINT luafn_trial"
                                            : "RELEASE SAVEPOINT luafn_trial";
    }
    if (!pg->in_trial)
        pg->wrapped = do_now(pg, "SAVEPOINT luafn_trial");
    return NULL;
}

static void end_statement(struct pg *pg, bool failed)
{
    if (pg->wrapped)
        (void)do_now(pg, failed ? "ROLLBACK TO SAVEPOINT luafn_trial"
                                : "RELEASE SAVEPOINT luafn_trial");
    pg->wrapped = false;
}

/* Undoes what was not ended. */
static bool end_unended(struct pg *pg)
{
    bool open = pg->in_trial || pg->wrapped;
    pg->in_trial = pg->wrapped = false;
    return (!open || do_now(pg, "ROLLBACK TO SAVEPOINT luafn_trial")) &&
           PQtransactionStatus(pg->pg) == PQTRANS_INTRANS;
}

/* ---- connecting ---- */

static void on_notice(void *arg, const PGresult *result)
{
    (void)arg;
    (void)result;
}

static void on_late(uv_timer_t *timer)
{
    fail_open(container_of(timer, struct pg, timer), "no answer within the time for it");
}

static void wait_for_server(struct pg *pg)
{
    uv_update_time(pg->timer.loop);
    uv_timer_start(&pg->timer, on_late, (uint64_t)(LIMIT_SQL_CONNECT * 1000), 0);
}

static void take_step(struct pg *pg, PostgresPollingStatusType status)
{
    if (status == PGRES_POLLING_FAILED) {
        fail_open(pg, PQerrorMessage(pg->pg));
    } else if (status == PGRES_POLLING_OK) {
        uv_timer_stop(&pg->timer);
        pg->state = IDLE;
        if (PQsetnonblocking(pg->pg, 1) != 0 || !watch(pg, UV_READABLE))
            fail_open(pg, "out of memory");
        else if (pg->sql->trial != NULL && !do_now(pg, "BEGIN"))
            fail_open(pg, PQerrorMessage(pg->pg));
        else
            sql_conn_opened(&pg->base);
    } else if (!watch(pg, status == PGRES_POLLING_READING ? UV_READABLE : UV_WRITABLE)) {
        fail_open(pg, "out of memory");
    }
}

static void on_step_work(uv_work_t *work)
{
    struct pg *pg = container_of(work, struct pg, work);
    pg->step = PQconnectPoll(pg->pg);
}

static void on_stepped(uv_work_t *work, int status)
{
    struct pg *pg = container_of(work, struct pg, work);
    (void)status; /* never cancelled */
    if (!pg->closed)
        take_step(pg, pg->step);
    let_go(pg);
}

/* Its answer to a server that wants a password proved is 4096 rounds of a hash, as a rule (RFC 7677
 * section 4): a pool that opens would be all that the loop does. */
static void go_on_connecting(struct pg *pg)
{
    const char *password = PQpass(pg->pg);
    unwatch(pg); /* before libpq may close that socket */
    if (password == NULL || password[0] == '\0') {
        take_step(pg, PQconnectPoll(pg->pg));
        return;
    }
    pg->pending++;
    /* It fails only without a function to run. */
    (void)uv_queue_work(sql_loop(pg->base.pool), &pg->work, on_step_work, on_stepped);
}

static void open_socket(struct pg *pg, const char *numeric)
{
    const struct address *address = pg->base.pool->address;
    const char *names[] = {"dbname", "hostaddr", "client_encoding", "fallback_application_name",
                           NULL};
    const char *values[] = {address->url.ptr, numeric, "UTF8", "luafn", NULL};
    pg->state = CONNECTING;
    pg->pg = PQconnectStartParams(names, values, 1);
    if (pg->pg == NULL || PQstatus(pg->pg) == CONNECTION_BAD) {
        fail_open(pg, pg->pg != NULL ? PQerrorMessage(pg->pg) : "out of memory");
        return;
    }
    PQsetNoticeReceiver(pg->pg, on_notice, NULL);
    if (!watch(pg, UV_WRITABLE))
        fail_open(pg, "out of memory");
}

/* Not from within pg_open, which reports nothing. */
static void on_opened(uv_timer_t *timer)
{
    struct pg *pg = container_of(timer, struct pg, timer);
    wait_for_server(pg);
    open_socket(pg, NULL);
}

static void on_looked_up(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
    struct pg *pg = container_of(lookup, struct pg, lookup);
    const struct address *address = pg->closed ? NULL : pg->base.pool->address;
    char numeric[INET6_ADDRSTRLEN] = "";
    if (address != NULL && status == 0)
        status = uv_ip_name(found->ai_addr, numeric, sizeof(numeric));
    uv_freeaddrinfo(found);
    if (address != NULL && status != 0)
        fail_open(pg, uv_strerror(status));
    else if (address != NULL)
        open_socket(pg, numeric);
    let_go(pg);
}

static struct sql_conn *pg_open(struct sql_pool *pool)
{
    const struct address *address = pool->address;
    struct pg *pg = calloc(1, sizeof(*pg));
    uv_loop_t *loop = sql_loop(pool);
    if (pg == NULL)
        return NULL;
    pg->base.pool = pool;
    pg->sql = sql_of(pool);
    list_push(&pool->others, &pg->base.node);
    sql_handle_opened(pool);
    pg->pending = 1; /* the timer */
    uv_timer_init(loop, &pg->timer);
    if (address->host == NULL) {
        uv_timer_start(&pg->timer, on_opened, 0, 0);
        return &pg->base;
    }
    wait_for_server(pg);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    if (uv_getaddrinfo(loop, &pg->lookup, on_looked_up, address->host, NULL, &hints) == 0) {
        pg->pending++;
    } else {
        list_remove(&pg->base.node);
        pg->closed = true;
        uv_close((uv_handle_t *)&pg->timer, on_timer_closed);
        return NULL;
    }
    return &pg->base;
}

static void pg_close(struct sql_conn *conn)
{
    struct pg *pg = pg_of(conn);
    pg->closed = true;
    unwatch(pg);
    uv_close((uv_handle_t *)&pg->timer, on_timer_closed);
}

/* ---- statements ---- */

static void broke(struct pg *pg)
{
    set_broken(pg);
    sql_conn_done(&pg->base, false);
}

/* What was sent goes out as far as the socket takes it, and the answer is waited for. */
static void sent(struct pg *pg, int ok)
{
    int left = ok ? PQflush(pg->pg) : -1;
    if (left < 0 || !watch(pg, left > 0 ? UV_READABLE | UV_WRITABLE : UV_READABLE))
        broke(pg);
}

static unsigned find_prepared(const struct pg *pg, struct str text)
{
    for (unsigned i = 0; i < pg->prepared_count; i++) {
        if (pg->prepared[i].text.ptr != NULL && str_eq(pg->prepared[i].text, text))
            return i;
    }
    return LIMIT_SQL_PREPARED;
}

/* A parameter as text; `number` has room for one. */
static const char *write_param(const struct sql_value *value, char number[40])
{
    switch (value->type) {
    case SQL_NULL:
        return NULL;
    case SQL_BOOLEAN:
        return value->integer != 0 ? "true" : "false";
    case SQL_INTEGER:
        snprintf(number, 40, "%lld", (long long)value->integer);
        return number;
    case SQL_FLOAT:
        snprintf(number, 40, "%.17g", value->number);
        return number;
    default:
        return value->text.ptr;
    }
}

static void execute_text(struct pg *pg, const char *text)
{
    pg->state = RUNNING;
    pg->sized = false;
    sent(pg, PQsendQuery(pg->pg, text));
}

static void execute(struct pg *pg)
{
    const struct sql_statement *st = &pg->base.session->statement;
    const struct prepared *p = pg->current < LIMIT_SQL_PREPARED ? &pg->prepared[pg->current] : NULL;
    const char *values[LIMIT_SQL_PARAMS];
    int lengths[LIMIT_SQL_PARAMS], formats[LIMIT_SQL_PARAMS];
    char numbers[LIMIT_SQL_PARAMS][40];
    for (unsigned i = 0; i < st->count; i++) {
        const struct sql_value *value = &st->params[i];
        bool bytea = p != NULL && i < p->count && p->types[i] == OID_BYTEA;
        values[i] = write_param(value, numbers[i]);
        lengths[i] = (int)value->text.len;
        formats[i] = value->type == SQL_BYTES || (value->type == SQL_TEXT && bytea);
    }
    pg->state = RUNNING;
    pg->sized = false;
    int ok = p != NULL
                 ? PQsendQueryPrepared(pg->pg, p->name, (int)st->count, values, lengths, formats, 0)
                 : PQsendQueryParams(pg->pg, st->text.ptr, (int)st->count, NULL, values, lengths,
                                     formats, 0);
    if (ok)
        (void)PQsetSingleRowMode(pg->pg);
    sent(pg, ok);
}

/* Where there is a place left. */
static bool prepare(struct pg *pg)
{
    const struct sql_statement *st = &pg->base.session->statement;
    struct prepared *p = &pg->prepared[pg->prepared_count];
    if (pg->prepared_count == LIMIT_SQL_PREPARED || (p->text = str_copy(st->text)).ptr == NULL)
        return false;
    pg->current = pg->prepared_count++;
    snprintf(p->name, sizeof(p->name), "s%u", pg->current);
    pg->state = PREPARING;
    sent(pg, PQsendPrepare(pg->pg, p->name, st->text.ptr, 0, NULL));
    return true;
}

static void pg_run(struct sql_conn *conn)
{
    struct pg *pg = pg_of(conn);
    const struct sql_statement *st = &conn->session->statement;
    pg->again = false;
    pg->current = LIMIT_SQL_PREPARED;
    const char *instead = pg->sql->trial != NULL ? try_statement(pg, st->text) : NULL;
    if (instead != NULL || st->is_script) {
        execute_text(pg, instead != NULL ? instead : st->text.ptr);
        return;
    }
    if (st->count > 0) {
        pg->current = find_prepared(pg, st->text);
        if (pg->current == LIMIT_SQL_PREPARED && prepare(pg))
            return;
    }
    execute(pg);
}

static void forget_prepared(struct pg *pg)
{
    if (pg->current == LIMIT_SQL_PREPARED)
        return;
    free((void *)(uintptr_t)pg->prepared[pg->current].text.ptr);
    pg->prepared[pg->current].text.ptr = NULL; /* its name is not used again */
    pg->current = LIMIT_SQL_PREPARED;
}

/* ---- results ---- */

/* One cell of a row. False: the result is too large. */
static bool add_cell(struct sql_rows *rows, const PGresult *result, int column)
{
    struct str text = {PQgetvalue(result, 0, column), (size_t)PQgetlength(result, 0, column)};
    struct sql_value value = {.type = SQL_TEXT, .text = text};
    unsigned char *bytes = NULL;
    if (text.len == 0 && PQgetisnull(result, 0, column)) {
        value = (struct sql_value){.type = SQL_NULL};
        return sql_rows_add(rows, &value);
    }
    switch (PQftype(result, column)) {
    case OID_BOOL:
        value = (struct sql_value){.type = SQL_BOOLEAN, .integer = text.ptr[0] == 't'};
        break;
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_OID:
        value = (struct sql_value){.type = SQL_INTEGER, .integer = strtoll(text.ptr, NULL, 10)};
        break;
    case OID_FLOAT4:
    case OID_FLOAT8:
        value = (struct sql_value){.type = SQL_FLOAT, .number = strtod(text.ptr, NULL)};
        break;
    case OID_JSON:
    case OID_JSONB:
        value.type = SQL_JSON;
        break;
    case OID_BYTEA:
        value.type = SQL_BYTES;
        bytes = PQunescapeBytea((const unsigned char *)text.ptr, &value.text.len);
        value.text.ptr = (const char *)bytes;
        break;
    default:
        break;
    }
    bool fits = (value.type != SQL_BYTES || bytes != NULL) && sql_rows_add(rows, &value);
    if (bytes != NULL)
        PQfreemem(bytes);
    return fits;
}

static bool add_row(struct pg *pg, const PGresult *result)
{
    struct sql_rows *rows = &pg->base.session->rows;
    int columns = PQnfields(result);
    bool fits = true;
    for (int i = 0; fits && !pg->sized && i < columns; i++)
        fits = sql_rows_add_name(rows, str_from(PQfname(result, i)));
    pg->sized = true;
    for (int i = 0; fits && PQntuples(result) > 0 && i < columns; i++)
        fits = add_cell(rows, result, i);
    if (fits && PQntuples(result) > 0)
        sql_rows_end_row(rows);
    return fits;
}

/* The rest will not be read: the connection ends, which the server notices. */
static void leave(struct pg *pg, const char *code, const char *message)
{
    struct sql_session *s = pg->base.session;
    sql_rows_clear(&s->rows);
    s->failed = true;
    sql_error_set(&s->error, code, message, NULL);
    sql_conn_done(&pg->base, false);
}

static void overflow(struct pg *pg)
{
    char text[128];
    snprintf(text, sizeof(text), "the result has more than %zu bytes",
             pg->base.session->rows.limit);
    leave(pg, "54000", text);
}

/* A result of the statement that runs. False: nothing more of it is to be read. */
static bool take_running(struct pg *pg, const PGresult *result)
{
    struct sql_session *s = pg->base.session;
    const char *state;
    switch (PQresultStatus(result)) {
    case PGRES_SINGLE_TUPLE:
        if (add_row(pg, result))
            return true;
        overflow(pg);
        return false;
    case PGRES_TUPLES_OK:
        if (!s->statement.is_script && !add_row(pg, result)) {
            overflow(pg);
            return false;
        }
        __attribute__((fallthrough));
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
        s->rows.affected = strtoull(PQcmdTuples((PGresult *)(uintptr_t)result), NULL, 10);
        return true;
    case PGRES_FATAL_ERROR:
        state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        /* It is not there any more (a pooler in between), or its columns are others. */
        pg->again = state != NULL && pg->current < LIMIT_SQL_PREPARED &&
                    (strcmp(state, "26000") == 0 || strcmp(state, "0A000") == 0);
        set_error(pg, result);
        return true;
    default: /* COPY and the like */
        leave(pg, "0A000", "COPY cannot be used here");
        return false;
    }
}

static void take_described(struct pg *pg, const PGresult *result)
{
    struct prepared *p = &pg->prepared[pg->current];
    int count = PQnparams(result);
    p->types = calloc(count > 0 ? (size_t)count : 1, sizeof(*p->types));
    for (int i = 0; p->types != NULL && i < count; i++)
        p->types[i] = PQparamtype(result, i);
    p->count = p->types != NULL ? (unsigned)count : 0;
}

/* The server is ready for the next. */
static void end_step(struct pg *pg)
{
    struct sql_session *s = pg->base.session;
    bool failed = s->failed;
    if (pg->state == PREPARING && !failed) {
        pg->state = DESCRIBING;
        sent(pg, PQsendDescribePrepared(pg->pg, pg->prepared[pg->current].name));
    } else if (pg->state == DESCRIBING && !failed) {
        execute(pg);
    } else if (pg->state == RUNNING && pg->again && PQtransactionStatus(pg->pg) == PQTRANS_IDLE) {
        pg->again = false;
        forget_prepared(pg);
        s->failed = false;
        sql_rows_clear(&s->rows);
        execute(pg);
    } else {
        if (failed && pg->state != RUNNING)
            forget_prepared(pg);
        end_statement(pg, failed);
        pg->state = IDLE;
        sql_conn_done(&pg->base, PQstatus(pg->pg) == CONNECTION_OK);
    }
}

/* False: nothing more is to be read now. */
static bool take_result(struct pg *pg, const PGresult *result)
{
    if (PQresultStatus(result) == PGRES_FATAL_ERROR && pg->state != RUNNING) {
        set_error(pg, result);
        return true;
    }
    if (pg->state == DESCRIBING)
        take_described(pg, result);
    return pg->state != RUNNING || take_running(pg, result);
}

static void read_results(struct pg *pg)
{
    while (!PQisBusy(pg->pg)) {
        PGresult *result = PQgetResult(pg->pg);
        if (result == NULL) {
            end_step(pg);
            return;
        }
        bool on = take_result(pg, result);
        PQclear(result);
        if (!on)
            return;
    }
}

/* ---- clearing ---- */

static void end_clearing(struct pg *pg, bool usable)
{
    pg->state = IDLE;
    sql_conn_cleared(&pg->base, usable);
}

/* Throws away what comes, then what is open. */
static void go_on_clearing(struct pg *pg)
{
    while (!PQisBusy(pg->pg)) {
        PGresult *result = PQgetResult(pg->pg);
        if (result != NULL) {
            ExecStatusType status = PQresultStatus(result);
            PQclear(result);
            if (status != PGRES_COPY_IN && status != PGRES_COPY_OUT && status != PGRES_COPY_BOTH)
                continue;
            end_clearing(pg, false);
            return;
        }
        if (pg->sql->trial != NULL) {
            end_clearing(pg, end_unended(pg));
            return;
        }
        PGTransactionStatusType open = PQtransactionStatus(pg->pg);
        if (open == PQTRANS_IDLE || open == PQTRANS_UNKNOWN || pg->state == ROLLING_BACK) {
            end_clearing(pg, open == PQTRANS_IDLE);
            return;
        }
        pg->state = ROLLING_BACK;
        if (!PQsendQueryParams(pg->pg, "ROLLBACK", 0, NULL, NULL, NULL, NULL, 0) ||
            PQflush(pg->pg) < 0) {
            end_clearing(pg, false);
            return;
        }
    }
}

static void on_cancel_work(uv_work_t *work)
{
    char why[256];
    struct pg *pg = container_of(work, struct pg, work);
    (void)PQcancel(pg->cancel, why, sizeof(why));
}

static void on_cancelled(uv_work_t *work, int status)
{
    struct pg *pg = container_of(work, struct pg, work);
    (void)status;
    PQfreeCancel(pg->cancel);
    pg->cancel = NULL;
    if (!pg->closed && pg->base.session == NULL)
        advance(pg);
    let_go(pg);
}

static void ask_to_stop(struct pg *pg)
{
    pg->cancel = PQgetCancel(pg->pg);
    pg->state = CLEARING;
    if (pg->cancel == NULL ||
        uv_queue_work(sql_loop(pg->base.pool), &pg->work, on_cancel_work, on_cancelled) != 0) {
        if (pg->cancel != NULL)
            PQfreeCancel(pg->cancel);
        pg->cancel = NULL;
    } else {
        pg->pending++;
    }
}

static void pg_clear(struct sql_conn *conn)
{
    struct pg *pg = pg_of(conn);
    if (pg->state == PREPARING || pg->state == DESCRIBING)
        forget_prepared(pg);
    if (pg->state == IDLE)
        pg->state = CLEARING;
    else if (pg->state != CLEARING)
        ask_to_stop(pg);
    if (pg->cancel == NULL)
        go_on_clearing(pg);
}

/* ---- the socket ---- */

static void advance(struct pg *pg)
{
    if (pg->state == CONNECTING) {
        go_on_connecting(pg);
        return;
    }
    bool broken = PQconsumeInput(pg->pg) == 0;
    int left = broken ? -1 : PQflush(pg->pg);
    if (left >= 0)
        broken = !watch(pg, left > 0 ? UV_READABLE | UV_WRITABLE : UV_READABLE);
    if (pg->state == IDLE && pg->base.session == NULL) {
        if (broken || left < 0)
            sql_conn_lost(&pg->base); /* the server has ended it */
    } else if (pg->base.session == NULL) {
        if (broken || left < 0)
            end_clearing(pg, false);
        else if (pg->cancel == NULL)
            go_on_clearing(pg);
    } else if (broken || left < 0) {
        broke(pg);
    } else if (pg->state != IDLE && pg->state != CLEARING) {
        read_results(pg);
    }
}

/* ---- the address ---- */

static void pg_forget(void *arg)
{
    struct address *address = arg;
    free((void *)(uintptr_t)address->url.ptr);
    free(address->host);
    free(address);
}

/* A host that has to be looked up: one, and neither a socket nor a number. */
static bool needs_lookup(const char *host)
{
    unsigned char number[16];
    return host[0] != '\0' && host[0] != '/' && host[0] != '@' && strchr(host, ',') == NULL &&
           uv_inet_pton(AF_INET, host, number) != 0 && uv_inet_pton(AF_INET6, host, number) != 0;
}

int sql_postgres_parse(struct str url, void **out, struct err *err)
{
    struct address *address = calloc(1, sizeof(*address));
    char *text = address != NULL ? strndup(url.ptr, url.len) : NULL, *why = NULL;
    if (text == NULL) {
        free(address);
        return err_set(err, -1, "out of memory");
    }
    address->url = (struct str){text, url.len};
    *out = address;
    PQconninfoOption *options = PQconninfoParse(text, &why);
    PQfreemem(why); /* it may quote the password */
    if (options == NULL)
        return err_set(err, -1, "postgres://USER:PASSWORD@HOST:PORT/DATABASE expected");
    const char *host = NULL;
    bool numeric = false;
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        if (strcmp(o->keyword, "host") == 0)
            host = o->val;
        numeric |= strcmp(o->keyword, "hostaddr") == 0 && o->val != NULL && o->val[0] != '\0';
    }
    if (host != NULL && !numeric && needs_lookup(host))
        address->host = strdup(host);
    PQconninfoFree(options);
    return 0;
}

const char *sql_postgres_version(void)
{
    static char text[16];
    int version = PQlibVersion();
    snprintf(text, sizeof(text), "%d.%d", version / 10000, version % 10000);
    return text;
}

const struct sql_driver sql_postgres = {
    .open = pg_open,
    .run = pg_run,
    .clear = pg_clear,
    .close = pg_close,
    .forget = pg_forget,
};
