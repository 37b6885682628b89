/* Environment variables of functions. */
#include "config/env.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "lua/origin.h"

struct variable {
    char *name;  /* owned */
    char *value; /* owned */
    bool from_file;
};

struct env {
    struct variable *list; /* owned; in order of precedence: the first of a name counts */
    size_t count, cap;
};

extern char **environ;

static const char *const *usual_names(bool dev)
{
    static const char *const dev_files[] = {".env.development.local", ".env.local",
                                            ".env.development", ".env", NULL};
    static const char *const serve_files[] = {".env.local", ".env", NULL};
    return dev ? dev_files : serve_files;
}

static struct variable *find(const struct env *env, const char *name)
{
    for (size_t i = 0; i < env->count; i++) {
        if (strcmp(env->list[i].name, name) == 0)
            return &env->list[i];
    }
    return NULL;
}

static int add(struct env *env, struct str name, struct str value, bool from_file)
{
    if (env->count == env->cap) {
        size_t cap = env->cap > 0 ? env->cap * 2 : 64;
        struct variable *list = realloc(env->list, cap * sizeof(*list));
        if (list == NULL)
            return -ENOMEM;
        env->list = list;
        env->cap = cap;
    }
    struct variable v = {strndup(name.ptr, name.len),
                         strndup(value.ptr != NULL ? value.ptr : "", value.len), from_file};
    if (v.name == NULL || v.value == NULL) {
        free(v.name);
        free(v.value);
        return -ENOMEM;
    }
    env->list[env->count++] = v;
    return 0;
}

static int add_process(struct env *env)
{
    for (char **entry = environ; *entry != NULL; entry++) {
        struct str text = str_from(*entry);
        size_t equals = str_find(text, '=');
        if (equals == text.len || equals == 0)
            continue;
        int rc = add(env, (struct str){text.ptr, equals}, str_skip(text, equals + 1), false);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- dotenv ---- */

struct parser {
    struct str rest;
    size_t first; /* index of the file's first variable */
    unsigned line;
    const char *file;
    struct err *err;
};

static int fault(struct parser *p, const char *what)
{
    return err_set(p->err, -EINVAL, "%s:%u: %s; write NAME=value", p->file, p->line, what);
}

static void skip_line(struct parser *p)
{
    size_t end = str_find(p->rest, '\n');
    p->rest = str_skip(p->rest, end < p->rest.len ? end + 1 : end);
    p->line++;
}

static char peek(const struct parser *p)
{
    return p->rest.len > 0 ? p->rest.ptr[0] : '\n';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void skip_blanks(struct parser *p)
{
    while (is_blank(peek(p)))
        p->rest = str_skip(p->rest, 1);
}

static void skip_export(struct parser *p)
{
    struct str word = STR("export");
    if (str_starts_with(p->rest, word) && p->rest.len > word.len && is_blank(p->rest.ptr[word.len]))
        p->rest = str_skip(p->rest, word.len);
    skip_blanks(p);
}

/* NAME=, or NAME: and a blank. */
static int read_name(struct parser *p, struct str *name)
{
    size_t len = 0;
    while (len < p->rest.len &&
           (isalnum((unsigned char)p->rest.ptr[len]) || strchr("_.-", p->rest.ptr[len]) != NULL))
        len++;
    *name = (struct str){p->rest.ptr, len};
    p->rest = str_skip(p->rest, len);
    bool colon = p->rest.len > 1 && p->rest.ptr[0] == ':' && is_blank(p->rest.ptr[1]);
    if (!colon)
        skip_blanks(p);
    if (len == 0 || (peek(p) != '=' && !colon))
        return fault(p, len == 0 ? "a variable's name was expected"
                                 : "`=` was expected after the name");
    p->rest = str_skip(p->rest, 1);
    skip_blanks(p);
    return 0;
}

/* May a value end before this text? Only blanks and a comment are left of the line. */
static bool ends_line(struct str text)
{
    size_t i = 0;
    while (i < text.len && is_blank(text.ptr[i]))
        i++;
    return i == text.len || text.ptr[i] == '\n' || text.ptr[i] == '#';
}

/* Where the value at the front ends: at the first quote without a backslash before it; where that
 * cannot be, at the last one with one, or else at the line's last byte, with quotes in between. 0
 * when none of these is there; *reason says why. */
static size_t closing_quote(struct str text, const char **reason)
{
    char quote = text.ptr[0];
    size_t i = 1;
    while (i < text.len && text.ptr[i] != quote)
        i += text.ptr[i] == '\\' && i + 1 < text.len && text.ptr[i + 1] == quote ? 2 : 1;
    *reason = i < text.len ? "there is text after the closing quote" : "the quote is never closed";
    for (i = i < text.len ? i : text.len - 1; i > 0; i--) {
        if (text.ptr[i] == quote && ends_line(str_skip(text, i + 1)))
            return i;
    }
    struct str line = {text.ptr, str_find(text, '\n')};
    line.len = str_find(line, '#');
    while (is_blank(line.ptr[line.len - 1]))
        line.len--;
    return line.ptr[line.len - 1] == quote ? line.len - 1 : 0;
}

/* A backslash means something before n and r only. */
static void add_escaped(struct buf *value, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char next = text.ptr[i] == '\\' && i + 1 < text.len ? text.ptr[i + 1] : '\0';
        bool known = next == 'n' || next == 'r';
        char plain = text.ptr[i];
        buf_add_char(value, next == 'n' ? '\n' : next == 'r' ? '\r' : plain);
        i += known;
    }
}

static int read_quoted(struct parser *p, struct buf *value)
{
    const char *reason;
    size_t end = closing_quote(p->rest, &reason);
    if (end == 0)
        return fault(p, reason);
    struct str text = {p->rest.ptr + 1, end - 1};
    if (peek(p) == '"')
        add_escaped(value, text);
    else
        buf_add_str(value, text);
    for (size_t i = 0; i < text.len; i++)
        p->line += text.ptr[i] == '\n';
    p->rest = str_skip(p->rest, end + 1);
    skip_line(p);
    return 0;
}

static void read_plain(struct parser *p, struct buf *value)
{
    struct str text = {p->rest.ptr, str_find(p->rest, '\n')};
    text.len = str_find(text, '#');
    buf_add_str(value, str_trim(text));
    skip_line(p);
}

/* Of two in one file the last counts. */
static int put(struct env *env, const struct parser *p, struct str name, struct str value)
{
    for (size_t i = p->first; i < env->count; i++) {
        struct variable *v = &env->list[i];
        if (!str_eq(str_from(v->name), name))
            continue;
        char *copy = strndup(value.ptr != NULL ? value.ptr : "", value.len);
        if (copy == NULL)
            return -ENOMEM;
        free(v->value);
        v->value = copy;
        return 0;
    }
    return add(env, name, value, true);
}

static int parse(struct env *env, struct parser *p)
{
    while (p->rest.len > 0) {
        skip_blanks(p);
        if (peek(p) == '#' || peek(p) == '\n') {
            skip_line(p);
            continue;
        }
        struct str name;
        struct buf value = BUF_INIT;
        skip_export(p);
        int rc = read_name(p, &name);
        if (rc == 0 && p->rest.len > 0 && strchr("\"'`", peek(p)) != NULL)
            rc = read_quoted(p, &value);
        else if (rc == 0)
            read_plain(p, &value);
        if (rc == 0)
            rc = buf_failed(&value) ? -ENOMEM : put(env, p, name, buf_str(&value));
        buf_free(&value);
        if (rc != 0)
            return rc == -ENOMEM ? err_set(p->err, rc, "out of memory") : rc;
    }
    return 0;
}

/* Line ends of other systems become line feeds, also within quotes. */
static void unify_line_ends(struct buf *text)
{
    size_t to = 0;
    for (size_t from = 0; from < text->len; from++) {
        char c = text->data[from];
        bool pair = c == '\r' && from + 1 < text->len && text->data[from + 1] == '\n';
        if (!pair)
            text->data[to++] = c == '\r' ? '\n' : c;
    }
    text->len = to;
}

static int load_file(struct env *env, struct origin *origin, const char *folder, const char *name,
                     struct err *err)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    struct buf content = BUF_INIT;
    struct err reason;
    int rc = origin_read(origin, path, &content, &reason);
    if (rc == -ENOENT) {
        buf_free(&content);
        return 0;
    }
    if (rc != 0)
        err_set(err, rc, "%s: %s", name, reason.text);
    unify_line_ends(&content);
    struct parser p = {buf_str(&content), env->count, 1, name, err};
    if (str_starts_with(p.rest, STR("\xef\xbb\xbf"))) /* a mark of UTF-8 */
        p.rest = str_skip(p.rest, 3);
    if (rc == 0)
        rc = parse(env, &p);
    buf_free(&content);
    return rc;
}

struct env *env_load(const char *folder, bool dev, struct err *err)
{
    struct origin *origin = origin_new(NULL);
    struct env *env = NULL;
    if (origin != NULL)
        env = env_load_files(origin, folder, dev, NULL, err);
    else
        err_set(err, -ENOMEM, "out of memory");
    origin_unref(origin);
    return env;
}

struct env *env_load_files(struct origin *origin, const char *folder, bool dev,
                           const char *const *names, struct err *err)
{
    struct env *env = calloc(1, sizeof(*env));
    if (env == NULL || add_process(env) != 0) {
        err_set(err, -ENOMEM, "out of memory");
        env_free(env);
        return NULL;
    }
    for (const char *const *name = names != NULL ? names : usual_names(dev); *name != NULL;
         name++) {
        if (load_file(env, origin, folder, *name, err) != 0) {
            env_free(env);
            return NULL;
        }
    }
    return env;
}

void env_free(struct env *env)
{
    if (env == NULL)
        return;
    for (size_t i = 0; i < env->count; i++) {
        free(env->list[i].name);
        free(env->list[i].value);
    }
    free(env->list);
    free(env);
}

int env_set_default(struct env *env, const char *name, const char *value)
{
    return find(env, name) != NULL ? 0 : add(env, str_from(name), str_from(value), true);
}

int env_set_lowest(struct env *env, const char *name, const char *value, bool shown)
{
    return find(env, name) != NULL ? 0 : add(env, str_from(name), str_from(value), shown);
}

int env_set(struct env *env, const char *name, const char *value)
{
    struct variable *v = find(env, name);
    if (v == NULL)
        return add(env, str_from(name), str_from(value), true);
    char *copy = strdup(value);
    if (copy == NULL)
        return -ENOMEM;
    free(v->value);
    v->value = copy;
    return 0;
}

const char *env_get(const struct env *env, const char *name)
{
    const struct variable *v = find(env, name);
    return v != NULL ? v->value : NULL;
}

bool env_is_from_file(const struct env *env, const char *name)
{
    for (size_t i = 0; i < env->count; i++) {
        if (env->list[i].from_file && strcmp(env->list[i].name, name) == 0)
            return true;
    }
    return false;
}

void env_each(const struct env *env, bool files_only,
              void (*fn)(void *arg, const char *name, const char *value), void *arg)
{
    for (size_t i = 0; i < env->count; i++) {
        const struct variable *v = &env->list[i];
        if (find(env, v->name) == v && (!files_only || env_is_from_file(env, v->name)))
            fn(arg, v->name, v->value);
    }
}
