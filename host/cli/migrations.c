/* Reading migrations, and applying them. */
#include "cli/migrations.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "shared/digest.h"

/* ---- files ---- */

/* NNN_name.sql */
static bool read_number(struct str name, uint64_t *number)
{
    size_t digits = str_find(name, '_');
    return digits + 1 < name.len - strlen(".sql") &&
           str_to_u64((struct str){name.ptr, digits}, INT64_MAX, number) == 0;
}

static void hash_text(struct migration *m)
{
    unsigned char hash[DIGEST_BYTES];
    digest_sha256(buf_str(&m->text), hash);
    str_write_hex(hash, sizeof(hash), m->hash);
}

/* Takes a file into the list, which has room. Returns the number of faults. */
static unsigned take_file(struct str folder, const char *name, struct migrations *out)
{
    struct migration *m = &out->list[out->count];
    char path[4096];
    *m = (struct migration){.text = BUF_INIT};
    if (!read_number(str_from(name), &m->number)) {
        cli_fault("migrations/%s: a name such as 001_notes.sql expected: a number, _ and a name",
                  name);
        return 1;
    }
    snprintf(path, sizeof(path), "%.*s/migrations/%s", STR_ARG(folder), name);
    int rc = file_read_all(path, 0, LIMIT_MIGRATION, &m->text);
    if (rc == 0 && m->text.len > 0 && memchr(m->text.data, '\0', m->text.len) != NULL)
        rc = -EINVAL;
    if (rc == 0 && (m->name = strdup(name)) == NULL)
        rc = -ENOMEM;
    if (rc == 0) {
        hash_text(m);
        out->count++;
        return 0;
    }
    buf_free(&m->text);
    cli_fault("migrations/%s: %s", name, rc == -EINVAL ? "a zero byte in the text" : strerror(-rc));
    return 1;
}

static int by_number(const void *a, const void *b)
{
    const struct migration *one = a, *other = b;
    int names = strcmp(one->name, other->name);
    return one->number != other->number ? (one->number > other->number ? 1 : -1) : names;
}

static int is_migration(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && str_ends_with(str_from(entry->d_name), STR(".sql"));
}

unsigned migrations_read(struct str folder, struct migrations *out)
{
    struct dirent **entries = NULL;
    char path[4096];
    unsigned faults = 0;
    *out = (struct migrations){0};
    snprintf(path, sizeof(path), "%.*s/migrations", STR_ARG(folder));
    int count = scandir(path, &entries, is_migration, NULL);
    struct migration *list = count > 0 ? calloc((size_t)count, sizeof(*list)) : NULL;
    if (count > 0 && list == NULL)
        faults = (unsigned)cli_fault("out of memory");
    out->list = list;
    for (int i = 0; i < count; i++) {
        if (list != NULL)
            faults += take_file(folder, entries[i]->d_name, out);
        free(entries[i]);
    }
    free(entries);
    if (list != NULL)
        qsort(list, out->count, sizeof(*list), by_number);
    for (unsigned i = 1; list != NULL && i < out->count; i++) {
        if (list[i].number == list[i - 1].number)
            faults += (unsigned)cli_fault("migrations/%s: has the number of migrations/%s",
                                          list[i].name, list[i - 1].name);
    }
    return faults;
}

void migrations_free(struct migrations *migrations)
{
    for (unsigned i = 0; i < migrations->count; i++) {
        free(migrations->list[i].name);
        buf_free(&migrations->list[i].text);
    }
    free(migrations->list);
    *migrations = (struct migrations){0};
}

/* ---- databases ---- */

static bool has_name(const struct buf *names, struct str name)
{
    for (size_t at = 0; at < names->len; at += strlen(names->data + at) + 1) {
        if (str_eq(str_from(names->data + at), name))
            return true;
    }
    return false;
}

bool migrations_variables(const struct deployment *deployment, struct buf *names)
{
    for (unsigned i = 0; i < deployment->function_count; i++) {
        const struct function *function = deployment->functions[i];
        const struct function_spec *spec =
            function->current != NULL ? &function->current->spec : function->spec;
        for (unsigned k = 0; k < spec->sql_count; k++) {
            if (has_name(names, spec->sql[k]))
                continue;
            buf_add_str(names, spec->sql[k]);
            buf_add_char(names, '\0');
        }
    }
    return !buf_failed(names);
}

/* ---- applying ---- */

/* A session whose statements are waited for. */
struct work {
    uv_loop_t *loop;
    struct sql_session *session; /* owned */
    bool done;
};

static void on_done(struct sql_session *session)
{
    ((struct work *)session->owner)->done = true;
}

/* 0, or -1: session->error says why. */
static int wait_for(struct work *w, int started)
{
    while (started == 0 && !w->done && uv_run(w->loop, UV_RUN_ONCE) != 0)
        continue;
    if (started != 0 || !w->done) {
        w->session->error = (struct sql_error){.code = "53200", .message = "out of memory"};
        return -1;
    }
    return w->session->failed ? -1 : 0;
}

static int run(struct work *w, struct str text, const struct sql_value *params, unsigned count)
{
    w->done = false;
    return wait_for(w, sql_session_run(w->session, text, params, count, LIMIT_MIGRATION));
}

static int run_script(struct work *w, struct str text)
{
    w->done = false;
    return wait_for(w, sql_session_run_script(w->session, text));
}

static bool failed_with(const struct work *w, const char *code)
{
    return strcmp(w->session->error.code, code) == 0;
}

static int tell(const struct work *w, const struct migration *m, struct err *err)
{
    const struct sql_error *e = &w->session->error;
    char line[16] = "";
    if (e->line > 0)
        snprintf(line, sizeof(line), ":%u", e->line);
    return err_set(err, -1, "%s%s%s%s%s (%s)%s%s", m != NULL ? "migrations/" : "",
                   m != NULL ? m->name : "", line, m != NULL ? ": " : "", e->message, e->code,
                   e->detail[0] != '\0' ? ": " : "", e->detail);
}

static struct sql_value text_value(const char *text)
{
    return (struct sql_value){.type = SQL_TEXT, .text = str_from(text)};
}

enum outcome { APPLIED, BY_ANOTHER, FAILED };

/* Its row comes first: of two who apply it at once the second waits there, and finds it. */
static enum outcome apply(struct work *w, const struct migration *m, struct err *err)
{
    const struct sql_value row[] = {{.type = SQL_INTEGER, .integer = (int64_t)m->number},
                                    text_value(m->name),
                                    text_value(m->hash)};
    if (run(w, STR("BEGIN"), NULL, 0) != 0) {
        tell(w, m, err);
        return FAILED;
    }
    if (run(w, STR("insert into luafn_migrations (number, name, hash) values ($1, $2, $3)"), row,
            3) != 0) {
        tell(w, m, err);
        return failed_with(w, "23505") ? BY_ANOTHER : FAILED;
    }
    if (run(w, STR("SAVEPOINT luafn_file"), NULL, 0) != 0 ||
        run_script(w, (struct str){m->text.data != NULL ? m->text.data : "", m->text.len}) != 0) {
        tell(w, m, err);
        return FAILED;
    }
    if (run(w, STR("RELEASE SAVEPOINT luafn_file"), NULL, 0) != 0) {
        (void)run(w, STR("ROLLBACK"), NULL, 0); /* if there is one that it has begun */
        (void)run(w, STR("delete from luafn_migrations where number = $1"), row, 1);
        err_set(err, -1,
                "migrations/%s: ends the transaction that it runs in: undo what it has done, and "
                "leave out its BEGIN and COMMIT",
                m->name);
        return FAILED;
    }
    if (run(w, STR("COMMIT"), NULL, 0) == 0)
        return APPLIED;
    tell(w, m, err);
    return FAILED;
}

/* 1: it was applied before; 0: not; -1 with the reason. */
static int was_applied(struct work *w, const struct migration *m, struct err *err)
{
    const struct sql_value number = {.type = SQL_INTEGER, .integer = (int64_t)m->number};
    const struct sql_rows *rows = &w->session->rows;
    if (run(w, STR("select name, hash from luafn_migrations where number = $1"), &number, 1) != 0)
        return tell(w, m, err);
    if (rows->count == 0)
        return 0;
    struct str name = sql_rows_get(rows, 0, 0).text, hash = sql_rows_get(rows, 0, 1).text;
    if (str_eq(hash, str_from(m->hash)))
        return 1;
    return err_set(err, -1,
                   "migrations/%s: its text is another one than when it was applied, as %.*s: undo "
                   "the change, and write a new file with the next number",
                   m->name, STR_ARG(name));
}

/* Of two who make it at once PostgreSQL lets one fail, in several ways; then it is there. */
static int make_table(struct work *w, struct err *err)
{
    if (run(w,
            STR("create table if not exists luafn_migrations (number bigint primary key, name text "
                "not null, hash text not null)"),
            NULL, 0) == 0)
        return 0;
    tell(w, NULL, err);
    return run(w, STR("select number from luafn_migrations limit 1"), NULL, 0);
}

/* Goes through all of them. 1: another is at it, too, and they are to be gone through again. */
static int apply_all(const struct migrations *migrations, struct work *w,
                     void (*applied)(void *arg, const struct migration *migration), void *arg,
                     struct err *err)
{
    if (make_table(w, err) != 0)
        return -1;
    for (unsigned i = 0; i < migrations->count; i++) {
        const struct migration *m = &migrations->list[i];
        int before = was_applied(w, m, err);
        if (before < 0)
            return -1;
        enum outcome outcome = before == 0 ? apply(w, m, err) : APPLIED;
        if (outcome != APPLIED)
            return outcome == BY_ANOTHER ? 1 : -1;
        if (before == 0)
            applied(arg, m);
    }
    return 0;
}

int migrations_apply(const struct migrations *migrations, struct sql *sql, uv_loop_t *loop,
                     struct str url, struct str root,
                     void (*applied)(void *arg, const struct migration *migration), void *arg,
                     struct err *err)
{
    struct sql_pool *pool = sql_pool_of(sql, url, root, err);
    int rc = pool != NULL ? 1 : -1;
    while (rc == 1) {
        struct work w = {.loop = loop};
        w.session = sql_session_new(pool, on_done, &w);
        if (w.session == NULL)
            return err_set(err, -1, "out of memory");
        rc = apply_all(migrations, &w, applied, arg, err);
        sql_session_drop(w.session);
    }
    return rc;
}
