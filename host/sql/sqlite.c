/* SQLite: one connection a file and worker, whose statements run on a thread, one at a time.
 *
 * The file lies below the deployment, or its place (base/place.h), and a statement cannot reach
 * another one: ATTACH is refused. Workers share the file by SQLite's own locks (WAL: readers never
 * wait; a writer waits for another for LIMIT_SQL_BUSY). A statement that nobody wants any more is
 * interrupted. */
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

#include "base/limits.h"
#include "base/place.h"
#include "sql/sql_internal.h"

enum { PROGRESS_STEPS = 10000 }; /* of SQLite's machine, about 0.1 ms */

struct address {
    char *path; /* owned */
};

struct lite {
    struct sql_conn base;
    sqlite3 *db; /* the thread's while `busy` */
    struct sql *sql;
    char *path; /* owned: the pool may end before the thread has opened it */
    uv_work_t work;
    void (*task)(struct lite *lite); /* what the thread does */
    bool busy, closed, clearing;
    atomic_bool unwanted; /* the statement is to stop, though it may not have begun yet */
    bool failed;
    struct sql_statement statement; /* owned: of what runs */
    struct sql_rows rows;
    struct sql_error error;
};

static struct lite *lite_of(struct sql_conn *conn)
{
    return container_of(conn, struct lite, base);
}

/* ---- errors, as SQLSTATE ---- */

static const char *state_of_text(const char *message)
{
    static const char *const known[][2] = {
        {"no such table", "42P01"},  {"no such column", "42703"}, {"no such function", "42883"},
        {"already exists", "42P07"}, {"syntax error", "42601"},   {"incomplete input", "42601"},
        {"not authorized", "42501"}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strstr(message, known[i][0]) != NULL)
            return known[i][1];
    }
    return "42000";
}

static const char *state_of(int extended, const char *message)
{
    static const struct {
        int code;
        const char *state;
    } known[] = {
        {SQLITE_CONSTRAINT_UNIQUE, "23505"},
        {SQLITE_CONSTRAINT_PRIMARYKEY, "23505"},
        {SQLITE_CONSTRAINT_ROWID, "23505"},
        {SQLITE_CONSTRAINT_FOREIGNKEY, "23503"},
        {SQLITE_CONSTRAINT_NOTNULL, "23502"},
        {SQLITE_CONSTRAINT_CHECK, "23514"},
        {SQLITE_CONSTRAINT, "23000"},
        {SQLITE_BUSY, "55P03"},
        {SQLITE_LOCKED, "55P03"},
        {SQLITE_INTERRUPT, "57014"},
        {SQLITE_MISMATCH, "42804"},
        {SQLITE_FULL, "53100"},
        {SQLITE_NOMEM, "53200"},
        {SQLITE_READONLY, "25006"},
        {SQLITE_TOOBIG, "54000"},
        {SQLITE_CORRUPT, "XX001"},
        {SQLITE_NOTADB, "XX001"},
        {SQLITE_IOERR, "58030"},
        {SQLITE_CANTOPEN, "08001"},
        {SQLITE_AUTH, "42501"},
        {SQLITE_RANGE, "07001"},
    };
    size_t count = sizeof(known) / sizeof(known[0]);
    for (size_t i = 0; i < count; i++) {
        if (known[i].code == extended)
            return known[i].state;
    }
    for (size_t i = 0; i < count; i++) {
        if (known[i].code == (extended & 0xff))
            return known[i].state;
    }
    return state_of_text(message);
}

static void set_error(struct lite *lite)
{
    int code = sqlite3_extended_errcode(lite->db);
    const char *message = sqlite3_errmsg(lite->db), *colon = strchr(message, ':');
    sql_error_set(&lite->error, state_of(code, message), message, NULL);
    if ((code & 0xff) == SQLITE_CONSTRAINT && colon != NULL)
        snprintf(lite->error.constraint, sizeof(lite->error.constraint), "%s", colon + 2);
    lite->failed = true;
}

static void fail(struct lite *lite, const char *code, const char *message)
{
    sql_error_set(&lite->error, code, message, NULL);
    lite->failed = true;
}

/* ---- on the thread ---- */

static int refuse_other_files(void *arg, int action, const char *first, const char *second,
                              const char *database, const char *trigger)
{
    (void)arg;
    (void)second;
    (void)database;
    (void)trigger;
    bool attaches = action == SQLITE_ATTACH || action == SQLITE_DETACH;
    bool moves = action == SQLITE_PRAGMA && first != NULL &&
                 (strcasecmp(first, "temp_store_directory") == 0 ||
                  strcasecmp(first, "data_store_directory") == 0);
    return attaches || moves ? SQLITE_DENY : SQLITE_OK;
}

/* sqlite3_interrupt stops what runs, and does nothing to what still waits for a thread. */
static int on_progress(void *arg)
{
    const struct lite *lite = arg;
    return atomic_load(&lite->unwanted);
}

static void open_file(struct lite *lite)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(lite->path, &lite->db, flags, NULL) != SQLITE_OK) {
        fail(lite, "08001", "the database file cannot be opened");
        return;
    }
    (void)sqlite3_extended_result_codes(lite->db, 1);
    (void)sqlite3_busy_timeout(lite->db, LIMIT_SQL_BUSY * 1000);
    sqlite3_progress_handler(lite->db, PROGRESS_STEPS, on_progress, lite);
    (void)sqlite3_db_config(lite->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(lite->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    if (sqlite3_exec(lite->db, "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON", NULL, NULL,
                     NULL) != SQLITE_OK) {
        set_error(lite);
        return;
    }
    (void)sqlite3_set_authorizer(lite->db, refuse_other_files, NULL);
}

static int bind_one(sqlite3_stmt *stmt, int at, const struct sql_value *value)
{
    switch (value->type) {
    case SQL_NULL:
        return sqlite3_bind_null(stmt, at);
    case SQL_INTEGER:
    case SQL_BOOLEAN:
        return sqlite3_bind_int64(stmt, at, value->integer);
    case SQL_FLOAT:
        return sqlite3_bind_double(stmt, at, value->number);
    case SQL_BYTES:
        return sqlite3_bind_blob64(stmt, at, value->text.ptr, value->text.len, SQLITE_STATIC);
    default:
        return sqlite3_bind_text64(stmt, at, value->text.ptr, value->text.len, SQLITE_STATIC,
                                   SQLITE_UTF8);
    }
}

/* Each parameter is named $1 to $n. */
static bool bind_all(struct lite *lite, sqlite3_stmt *stmt)
{
    for (int at = 1; at <= sqlite3_bind_parameter_count(stmt); at++) {
        const char *name = sqlite3_bind_parameter_name(stmt, at);
        uint64_t number = 0;
        bool known = name != NULL && name[0] == '$' &&
                     str_to_u64(str_from(name + 1), LIMIT_SQL_PARAMS, &number) == 0 && number > 0;
        if (!known || number > lite->statement.count) {
            fail(lite, "07001",
                 known ? "there is no argument for a parameter" : "parameters are $1, $2 ...");
            return false;
        }
        if (bind_one(stmt, at, &lite->statement.params[number - 1]) != SQLITE_OK) {
            set_error(lite);
            return false;
        }
    }
    return true;
}

static bool is_declared(sqlite3_stmt *stmt, int column, const char *type)
{
    const char *declared = sqlite3_column_decltype(stmt, column);
    return declared != NULL && strncasecmp(declared, type, strlen(type)) == 0;
}

static struct sql_value cell_of(sqlite3_stmt *stmt, int column)
{
    struct sql_value value = {.type = SQL_NULL};
    switch (sqlite3_column_type(stmt, column)) {
    case SQLITE_INTEGER:
        value.type = is_declared(stmt, column, "bool") ? SQL_BOOLEAN : SQL_INTEGER;
        value.integer = sqlite3_column_int64(stmt, column);
        break;
    case SQLITE_FLOAT:
        value.type = SQL_FLOAT;
        value.number = sqlite3_column_double(stmt, column);
        break;
    case SQLITE_TEXT:
        value.type = is_declared(stmt, column, "json") ? SQL_JSON : SQL_TEXT;
        value.text.ptr = (const char *)sqlite3_column_text(stmt, column);
        value.text.len = (size_t)sqlite3_column_bytes(stmt, column);
        break;
    case SQLITE_BLOB:
        value.type = SQL_BYTES;
        value.text.ptr = sqlite3_column_blob(stmt, column);
        value.text.len = (size_t)sqlite3_column_bytes(stmt, column);
        break;
    default:
        break;
    }
    return value;
}

static bool add_row(struct lite *lite, sqlite3_stmt *stmt)
{
    bool fits = true;
    for (int i = 0; fits && i < sqlite3_column_count(stmt); i++) {
        struct sql_value value = cell_of(stmt, i);
        fits = sql_rows_add(&lite->rows, &value);
    }
    sql_rows_end_row(&lite->rows);
    return fits;
}

static void overflow(struct lite *lite)
{
    char text[128];
    snprintf(text, sizeof(text), "the result has more than %zu bytes", lite->rows.limit);
    fail(lite, "54000", text);
}

static void step_all(struct lite *lite, sqlite3_stmt *stmt)
{
    bool fits = true;
    int rc;
    for (int i = 0; fits && i < sqlite3_column_count(stmt); i++)
        fits = sql_rows_add_name(&lite->rows, str_from(sqlite3_column_name(stmt, i)));
    while ((rc = fits ? sqlite3_step(stmt) : SQLITE_ABORT) == SQLITE_ROW)
        fits = add_row(lite, stmt);
    if (!fits)
        overflow(lite);
    else if (rc != SQLITE_DONE)
        set_error(lite);
    else
        lite->rows.affected = lite->rows.count > 0 || sqlite3_stmt_readonly(stmt)
                                  ? lite->rows.count
                                  : (uint64_t)sqlite3_changes64(lite->db);
}

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n;")] == '\0';
}

static void run_statement(struct lite *lite)
{
    sqlite3_stmt *stmt = NULL;
    const char *tail = "";
    if (sqlite3_prepare_v2(lite->db, lite->statement.text.ptr, -1, &stmt, &tail) != SQLITE_OK)
        set_error(lite);
    else if (!is_blank(tail))
        fail(lite, "42601", "one statement at a time");
    else if (stmt != NULL && bind_all(lite, stmt))
        step_all(lite, stmt);
    sqlite3_finalize(stmt);
}

static bool run_next(struct lite *lite, const char *text, const char **tail)
{
    sqlite3_stmt *stmt = NULL;
    int rc;
    if (sqlite3_prepare_v2(lite->db, text, -1, &stmt, tail) != SQLITE_OK) {
        set_error(lite);
    } else if (stmt != NULL && bind_all(lite, stmt)) {
        while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
            continue;
        if (rc != SQLITE_DONE)
            set_error(lite);
    }
    sqlite3_finalize(stmt);
    return !lite->failed;
}

static void run_script(struct lite *lite)
{
    const char *const whole = lite->statement.text.ptr, *text = whole, *tail = whole;
    while (*text != '\0' && run_next(lite, text, &tail))
        text = tail;
    int offset = lite->failed ? sqlite3_error_offset(lite->db) : -1;
    if (lite->failed)
        lite->error.line =
            sql_line_of(whole, (size_t)(text - whole) +
                                   (offset >= 0 ? (size_t)offset : strspn(text, " \t\r\n;")));
}

static void roll_back(struct lite *lite)
{
    if (sqlite3_get_autocommit(lite->db) == 0 &&
        sqlite3_exec(lite->db, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
        set_error(lite);
}

static void close_file(struct lite *lite)
{
    (void)sqlite3_close_v2(lite->db);
}

/* ---- on the loop ---- */

static void on_work(uv_work_t *work)
{
    struct lite *lite = container_of(work, struct lite, work);
    lite->task(lite);
}

static void free_lite(struct lite *lite)
{
    struct sql *sql = lite->sql;
    sql_rows_free(&lite->rows);
    sql_statement_free(&lite->statement);
    free(lite->path);
    free(lite);
    sql_handle_closed(sql);
}

static void on_worked(uv_work_t *work, int status);

static void begin(struct lite *lite, void (*task)(struct lite *))
{
    lite->task = task;
    lite->busy = true;
    lite->failed = false;
    atomic_store(&lite->unwanted, false);
    /* It fails only without a function to run. */
    (void)uv_queue_work(sql_loop(lite->base.pool), &lite->work, on_work, on_worked);
}

static void give_result(struct lite *lite)
{
    struct sql_session *s = lite->base.session;
    size_t limit = s->rows.limit;
    sql_statement_free(&lite->statement);
    s->failed = lite->failed;
    s->error = lite->error;
    sql_rows_free(&s->rows);
    if (lite->failed)
        sql_rows_free(&lite->rows);
    s->rows = lite->rows;
    s->rows.limit = limit;
    lite->rows = (struct sql_rows){0};
    sql_conn_done(&lite->base, true);
}

static void on_worked(uv_work_t *work, int status)
{
    struct lite *lite = container_of(work, struct lite, work);
    (void)status; /* never cancelled */
    lite->busy = false;
    if (lite->task == close_file) {
        free_lite(lite);
    } else if (lite->closed) {
        lite->task = close_file;
        (void)uv_queue_work(work->loop, &lite->work, on_work, on_worked);
    } else if (lite->task == open_file) {
        if (lite->failed)
            sql_conn_failed(&lite->base, &lite->error);
        else
            sql_conn_opened(&lite->base);
    } else if (lite->task == roll_back) {
        lite->clearing = false;
        sql_conn_cleared(&lite->base, !lite->failed);
    } else if (lite->clearing) {
        sql_statement_free(&lite->statement);
        sql_rows_free(&lite->rows);
        begin(lite, roll_back);
    } else {
        give_result(lite);
    }
}

static struct sql_conn *lite_open(struct sql_pool *pool)
{
    const struct address *address = pool->address;
    struct lite *lite = calloc(1, sizeof(*lite));
    if (lite == NULL || (lite->path = strdup(address->path)) == NULL) {
        free(lite);
        return NULL;
    }
    lite->base.pool = pool;
    lite->sql = sql_of(pool);
    list_push(&pool->others, &lite->base.node);
    sql_handle_opened(pool);
    begin(lite, open_file);
    return &lite->base;
}

/* The session may end before its statement does: that is the connection's own meanwhile. */
static void lite_run(struct sql_conn *conn)
{
    struct lite *lite = lite_of(conn);
    lite->statement = conn->session->statement;
    conn->session->statement = (struct sql_statement){.text = {NULL, 0}};
    lite->rows = (struct sql_rows){.limit = conn->session->rows.limit};
    begin(lite, lite->statement.is_script ? run_script : run_statement);
}

static void stop(struct lite *lite)
{
    atomic_store(&lite->unwanted, true);
    sqlite3_interrupt(lite->db);
}

static void lite_clear(struct sql_conn *conn)
{
    struct lite *lite = lite_of(conn);
    lite->clearing = true;
    if (lite->busy)
        stop(lite);
    else
        begin(lite, roll_back);
}

static void lite_close(struct sql_conn *conn)
{
    struct lite *lite = lite_of(conn);
    uv_loop_t *loop = sql_loop(conn->pool);
    lite->closed = true;
    if (lite->busy) {
        if (lite->task != open_file)
            stop(lite);
        return;
    }
    lite->busy = true;
    lite->task = close_file;
    (void)uv_queue_work(loop, &lite->work, on_work, on_worked);
}

/* ---- the address ---- */

static void lite_forget(void *arg)
{
    struct address *address = arg;
    free(address->path);
    free(address);
}

/* Does the path stay below the folder it begins in? */
static bool is_below(struct str path)
{
    struct str part;
    if (path.len == 0 || path.ptr[0] == '/')
        return false;
    while (str_split_next(&path, '/', &part)) {
        if (str_eq(part, STR("..")))
            return false;
    }
    return true;
}

int sql_sqlite_parse(struct str url, struct str root, const char *trial, void **out,
                     struct err *err)
{
    struct str file = str_skip(url, strlen("sqlite:"));
    size_t query = str_find(file, '?');
    if (query < file.len || !is_below(file))
        return err_set(err, -1,
                       "sqlite:FILE expected, a path below the folder of functions.lua, as "
                       "sqlite:data/notes.db");
    root = place_of(root);
    struct address *address = calloc(1, sizeof(*address));
    size_t size = trial != NULL ? strlen(trial) + 24 : root.len + file.len + 2;
    if (address != NULL && (address->path = malloc(size)) != NULL) {
        if (trial != NULL)
            snprintf(address->path, size, "%s/%016llx.db", trial,
                     (unsigned long long)str_hash(url));
        else
            snprintf(address->path, size, "%.*s/%.*s", STR_ARG(root), STR_ARG(file));
        *out = address;
        return 0;
    }
    free(address);
    return err_set(err, -1, "out of memory");
}

const char *sql_sqlite_version(void)
{
    return sqlite3_libversion();
}

const struct sql_driver sql_sqlite = {
    .open = lite_open,
    .run = lite_run,
    .clear = lite_clear,
    .close = lite_close,
    .forget = lite_forget,
};
