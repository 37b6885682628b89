/* Which lines of the scripts have run.
 *
 * A hook counts lines as they begin. Which lines could run is in the compiled form alone, also for
 * functions that were never made: so a file is compiled and dumped, and the line of each
 * instruction is read from there (the format of Lua 5.4's ldump.c). */
#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/test_internal.h"
#include "lua/budget.h"
#include "lua/chunk.h"
#include "lua/script.h"

enum {
    HEADER_BYTES = 32,
    CONSTANT_FLOAT = 19,
    CONSTANT_INTEGER = 3,
    CONSTANT_SHORT = 4,
    CONSTANT_LONG = 20
};

struct cover_file {
    struct cover_file *next;
    char *name;     /* owned: as error messages show it */
    bool counts;    /* it is a script of the deployment */
    unsigned lines; /* in the arrays, from 1 */
    bool *code;     /* owned: is there something to run? */
    uint64_t *hits; /* owned */
};

static struct {
    char root[4096];    /* with the slash; "" for here */
    const char *config; /* the name of functions.lua, which is no script to be tested */
    struct cover_file *files;
    struct cover_file *last; /* that the hook met */
    bool failed;             /* out of memory */
} cover;

/* ---- which lines could run ---- */

struct reader {
    const unsigned char *at, *end;
    bool failed;
    struct cover_file *file;
};

static unsigned read_byte(struct reader *r)
{
    if (r->at == r->end) {
        r->failed = true;
        return 0;
    }
    return *r->at++;
}

static void skip(struct reader *r, size_t count)
{
    if ((size_t)(r->end - r->at) < count) {
        r->failed = true;
        r->at = r->end;
    } else {
        r->at += count;
    }
}

/* Seven bits a byte, the highest first; the last one is marked. */
static size_t read_size(struct reader *r)
{
    size_t value = 0;
    for (unsigned byte = 0; (byte & 0x80) == 0 && !r->failed;) {
        byte = read_byte(r);
        value = value << 7 | (byte & 0x7f);
    }
    return value;
}

static void skip_text(struct reader *r)
{
    size_t size = read_size(r);
    skip(r, size > 0 ? size - 1 : 0);
}

static void skip_constants(struct reader *r)
{
    for (size_t n = read_size(r); n > 0 && !r->failed; n--) {
        unsigned type = read_byte(r);
        if (type == CONSTANT_FLOAT || type == CONSTANT_INTEGER)
            skip(r, 8);
        else if (type == CONSTANT_SHORT || type == CONSTANT_LONG)
            skip_text(r);
    }
}

/* Not the first instruction of a function with varargs, which has no line of its own, nor the last
 * one, the return that the compiler adds. */
static void read_lines(struct reader *r, size_t line, bool is_vararg)
{
    size_t count = read_size(r);
    const unsigned char *deltas = r->at;
    skip(r, count);
    struct reader absolute = {.at = r->at, .end = r->end};
    for (size_t left = read_size(r); left > 0 && !r->failed; left--) {
        (void)read_size(r);
        (void)read_size(r);
    }
    (void)read_size(&absolute);
    for (size_t i = 0; i < count && !r->failed; i++) {
        if (deltas[i] == 0x80) { /* too far: in the list beside, in the same order */
            (void)read_size(&absolute);
            line = read_size(&absolute);
        } else {
            line = (size_t)((long)line + (signed char)deltas[i]);
        }
        if (!(is_vararg && i == 0) && i + 1 < count && line > 0 && line <= r->file->lines)
            r->file->code[line] = true;
    }
}

/* Functions in functions: as deep as Lua's parser goes (200 levels). */
static void read_function(struct reader *r)
{
    skip_text(r);
    size_t line = read_size(r);
    (void)read_size(r);
    (void)read_byte(r);
    bool is_vararg = read_byte(r) != 0;
    (void)read_byte(r);
    skip(r, 4 * read_size(r));
    skip_constants(r);
    skip(r, 3 * read_size(r));
    for (size_t n = read_size(r); n > 0 && !r->failed; n--)
        read_function(r);
    read_lines(r, line, is_vararg);
    for (size_t n = read_size(r); n > 0 && !r->failed; n--) {
        skip_text(r);
        (void)read_size(r);
        (void)read_size(r);
    }
    for (size_t n = read_size(r); n > 0 && !r->failed; n--)
        skip_text(r);
}

static int on_dump(lua_State *L, const void *bytes, size_t len, void *arg)
{
    (void)L;
    struct buf *out = arg;
    buf_add(out, bytes, len);
    return buf_failed(out);
}

static bool dump(struct str text, struct buf *out)
{
    lua_State *L = luaL_newstate();
    bool ok = L != NULL && luaL_loadbufferx(L, text.ptr, text.len, "=cover", "t") == LUA_OK &&
              lua_dump(L, on_dump, out, 0) == 0;
    if (L != NULL)
        lua_close(L);
    return ok && out->len > HEADER_BYTES && (unsigned char)out->data[4] == 0x54;
}

static bool find_code(struct cover_file *file, struct str text)
{
    struct buf dumped = BUF_INIT;
    file->lines = (unsigned)str_count(text, '\n') + 1;
    file->code = calloc(file->lines + 1, sizeof(*file->code));
    file->hits = calloc(file->lines + 1, sizeof(*file->hits));
    bool ok = file->code != NULL && file->hits != NULL && dump(text, &dumped);
    if (ok) {
        struct reader r = {.at = (const unsigned char *)dumped.data + HEADER_BYTES,
                           .end = (const unsigned char *)dumped.data + dumped.len,
                           .file = file};
        read_function(&r);
        ok = !r.failed;
    }
    buf_free(&dumped);
    return ok;
}

/* ---- counting ---- */

static struct cover_file *add_file(const char *name)
{
    char path[4096 + 256];
    struct buf text = BUF_INIT;
    struct cover_file *file = calloc(1, sizeof(*file));
    char *copy = strdup(name);
    if (file == NULL || copy == NULL) {
        free(file);
        free(copy);
        cover.failed = true;
        return NULL;
    }
    file->name = copy;
    snprintf(path, sizeof(path), "%s%s", cover.root, name);
    if (!str_ends_with(str_from(name), STR("_test.lua")) && strcmp(name, cover.config) != 0 &&
        script_exists(path) && script_read(path, &text, NULL) == 0)
        file->counts = find_code(file, chunk_body(buf_str(&text)));
    buf_free(&text);
    file->next = cover.files;
    cover.files = file;
    return file;
}

static struct cover_file *find_file(const char *name)
{
    if (cover.last != NULL && strcmp(cover.last->name, name) == 0)
        return cover.last;
    struct cover_file *file = cover.files;
    while (file != NULL && strcmp(file->name, name) != 0)
        file = file->next;
    cover.last = file != NULL ? file : add_file(name);
    return cover.last;
}

static void on_line(lua_State *L, lua_Debug *ar)
{
    if (lua_getinfo(L, "Sl", ar) == 0 || ar->source[0] != '@')
        return;
    struct cover_file *file = find_file(ar->source + 1);
    if (file != NULL && file->counts && ar->currentline > 0 &&
        (unsigned)ar->currentline <= file->lines)
        file->hits[ar->currentline]++;
}

void test_cover_open(const char *config_file)
{
    const char *slash = strrchr(config_file, '/');
    if (slash != NULL)
        snprintf(cover.root, sizeof(cover.root), "%.*s", (int)(slash - config_file) + 1,
                 config_file);
    cover.config = slash != NULL ? slash + 1 : config_file;
    budget_line_hook = on_line;
}

/* ---- telling ---- */

static void count(const struct cover_file *file, unsigned *hit, unsigned *total)
{
    *hit = *total = 0;
    for (unsigned i = 1; i <= file->lines; i++) {
        *total += file->code[i];
        *hit += file->code[i] && file->hits[i] > 0;
    }
}

static void print_row(const char *name, unsigned hit, unsigned total)
{
    printf("# %-40s %6u /%6u  %5.1f %%\n", name, hit, total,
           total > 0 ? 100.0 * hit / total : 100.0);
}

static void write_record(FILE *out, const struct cover_file *file)
{
    unsigned hit, total;
    count(file, &hit, &total);
    fprintf(out, "SF:%s%s\n", cover.root, file->name);
    for (unsigned i = 1; i <= file->lines; i++) {
        if (file->code[i])
            fprintf(out, "DA:%u,%llu\n", i, (unsigned long long)file->hits[i]);
    }
    fprintf(out, "LF:%u\nLH:%u\nend_of_record\n", total, hit);
}

/* By name: the order in which tests met them says nothing. */
static void sort_files(void)
{
    struct cover_file *sorted = NULL;
    while (cover.files != NULL) {
        struct cover_file *file = cover.files, **place = &sorted;
        cover.files = file->next;
        while (*place != NULL && strcmp((*place)->name, file->name) < 0)
            place = &(*place)->next;
        file->next = *place;
        *place = file;
    }
    cover.files = sorted;
}

int test_cover_close(const char *lcov_path)
{
    unsigned all_hit = 0, all_total = 0, hit, total;
    budget_line_hook = NULL;
    sort_files();
    FILE *out = fopen(lcov_path, "w");
    if (out == NULL)
        cli_fault("--lcov: %s cannot be written: %s", lcov_path, strerror(errno));
    bool good = out != NULL && !cover.failed;
    while (cover.files != NULL) {
        struct cover_file *file = cover.files;
        if (file->counts) {
            count(file, &hit, &total);
            print_row(file->name, hit, total);
            all_hit += hit;
            all_total += total;
            if (out != NULL)
                write_record(out, file);
        }
        cover.files = file->next;
        free(file->name);
        free(file->code);
        free(file->hits);
        free(file);
    }
    print_row("all", all_hit, all_total);
    cover.last = NULL;
    if (out != NULL && (ferror(out) != 0) + (fclose(out) != 0) > 0)
        good = false;
    return good ? 0 : EXIT_FAULT;
}
