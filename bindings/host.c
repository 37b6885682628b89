/* host: what functions of the program itself see of the host that they are part of (struct
 * own_services). Scripts of users have none. */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/limits.h"
#include "bindings/bindings.h"
#include "journal/journal_reader.h"
#include "journal/redact.h"
#include "lua/script.h"
#include "lua/vm.h"
#include "options/spec.h"
#include "run/await.h"

static const struct own_services *lx_own(lua_State *L)
{
    const struct services *services = vm_of(L)->services;
    if (services == NULL || services->own == NULL)
        luaL_error(L, "there is no host here");
    return services->own;
}

/* ---- texts ---- */

/* Where Lua runs out of memory at the push it is freed by the next call. */
static struct buf text;

static int lx_push_text(lua_State *L)
{
    if (buf_failed(&text))
        return luaL_error(L, "out of memory");
    lua_pushlstring(L, text.len > 0 ? text.data : "", text.len);
    buf_free(&text);
    return 1;
}

/* host.state() -> JSON: { config_error =, functions = { { name =, generation =, error = ... } } }
 */
static int l_state(lua_State *L)
{
    const struct own_services *own = lx_own(L);
    buf_free(&text);
    own->write_state(own->arg, &text);
    return lx_push_text(L);
}

/* host.routes() -> JSON, as `luafn routes --json` has it */
static int l_routes(lua_State *L)
{
    const struct own_services *own = lx_own(L);
    buf_free(&text);
    own->write_routes(own->arg, &text);
    return lx_push_text(L);
}

/* host.origin() -> "http://localhost:8888", where this host is */
static int l_origin(lua_State *L)
{
    const struct services *services = vm_of(L)->services;
    lx_own(L);
    const char *issuer = services->getenv(services->env_arg, "LUAFN_DEV_ISSUER");
    size_t len = issuer != NULL ? strlen(issuer) : 0;
    if (len == 0)
        return luaL_error(L, "it is not known where the host is");
    lua_pushlstring(L, issuer, issuer[len - 1] == '/' ? len - 1 : len);
    return 1;
}

/* ---- the journal ---- */

enum { RECORDS_BYTES = 8 * 1024 * 1024 };

struct reading {
    struct str id; /* empty: all */
    bool found;
};

static bool on_line(void *arg, struct str line)
{
    struct reading *reading = arg;
    if (!journal_is_readable(line) ||
        (reading->id.len > 0 && !journal_is_record(line, reading->id)))
        return true;
    buf_add_str(&text, line);
    if (reading->id.len == 0)
        buf_add_char(&text, '\n');
    reading->found = true;
    return reading->id.len == 0 && text.len < RECORDS_BYTES && !buf_failed(&text);
}

/* host.records() -> the newest records, a line of JSON each, the newest first
 * host.record(id) -> that record, or nil */
static int lx_read(lua_State *L, struct str id)
{
    const struct own_services *own = lx_own(L);
    struct reading reading = {.id = id};
    buf_free(&text);
    int rc = own->journal_folder != NULL ? journal_read(own->journal_folder, on_line, &reading) : 0;
    if (id.len == 0 || (rc == 0 && reading.found))
        return lx_push_text(L);
    lua_pushnil(L);
    return 1;
}

static int l_records(lua_State *L)
{
    return lx_read(L, STR(""));
}

static int l_record(lua_State *L)
{
    struct str id;
    id.ptr = luaL_checklstring(L, 1, &id.len);
    luaL_argcheck(L, id.len > 0, 1, "an id expected");
    return lx_read(L, id);
}

/* ---- scripts ---- */

/* Leads down from the folder, to a Lua file, and to nothing that is hidden. */
static bool is_script(struct str path)
{
    struct str rest = path, part;
    bool below = memchr(path.ptr, '\0', path.len) == NULL && str_ends_with(path, STR(".lua"));
    while (below && str_split_next(&rest, '/', &part))
        below = part.len > 0 && part.ptr[0] != '.';
    return below;
}

/* host.source("scripts/me.lua") -> its text as it is now, or nil */
static int l_source(lua_State *L)
{
    struct str name;
    char path[4096];
    name.ptr = luaL_checklstring(L, 1, &name.len);
    const struct function_spec *spec = vm_of(L)->spec;
    lx_own(L);
    buf_free(&text);
    if (!is_script(name) ||
        snprintf(path, sizeof(path), "%.*s/%.*s", STR_ARG(spec->root), STR_ARG(name)) >=
            (int)sizeof(path) ||
        script_read(path, &text, NULL) != 0) {
        buf_free(&text);
        lua_pushnil(L);
        return 1;
    }
    return lx_push_text(L);
}

/* ---- what must not be shown ---- */

enum { HIDDEN_MAX = 512 };

struct hidden {
    const char *names[HIDDEN_MAX], *values[HIDDEN_MAX];
    size_t lengths[HIDDEN_MAX];
    unsigned count;
};

/* Variables that are no secret and stand in what a host says of itself. */
static bool is_plain(const char *name)
{
    static const char *const plain[] = {"PATH",        "HOME",
                                        "PWD",         "OLDPWD",
                                        "SHELL",       "TERM",
                                        "LANG",        "USER",
                                        "TMPDIR",      "LOGNAME",
                                        "HOSTNAME",    "LC_ALL",
                                        "INIT_CWD",    "EDITOR",
                                        "URL",         "_",
                                        "VIRTUAL_ENV", "DEPLOY_URL",
                                        "JWT_ISSUER",  "JWT_AUDIENCE",
                                        "TV_API_URL",  "LUAFN_DEV_ISSUER",
                                        NULL};
    for (const char *const *p = plain; *p != NULL; p++) {
        if (strcmp(name, *p) == 0)
            return true;
    }
    return false;
}

static void on_variable(void *arg, const char *name, const char *value)
{
    struct hidden *hidden = arg;
    size_t len = strlen(value);
    if (len < LIMIT_REDACT_VALUE_MIN || hidden->count == HIDDEN_MAX || is_plain(name))
        return;
    hidden->names[hidden->count] = name;
    hidden->lengths[hidden->count] = len;
    hidden->values[hidden->count++] = value;
}

/* The longest of the values that stand here; its number, or count. */
static unsigned find_hidden(const struct hidden *hidden, struct str rest)
{
    unsigned best = hidden->count;
    for (unsigned i = 0; i < hidden->count; i++) {
        if (hidden->values[i][0] == rest.ptr[0] && hidden->lengths[i] <= rest.len &&
            memcmp(hidden->values[i], rest.ptr, hidden->lengths[i]) == 0 &&
            (best == hidden->count || hidden->lengths[i] > hidden->lengths[best]))
            best = i;
    }
    return best;
}

static void hide(const struct services *services, struct str from, struct buf *out)
{
    static struct hidden hidden;
    hidden.count = 0;
    services->each_env(services->env_arg, on_variable, &hidden);
    while (from.len > 0) {
        unsigned at = find_hidden(&hidden, from);
        if (at == hidden.count) {
            buf_add_char(out, from.ptr[0]);
            from = str_skip(from, 1);
        } else {
            buf_printf(out, "[env:%s]", hidden.names[at]);
            from = str_skip(from, hidden.lengths[at]);
        }
    }
}

/* host.clean(text) -> the text without what the journal does not keep, and without the values of
 * variables that other processes than this one may have read */
static int l_clean(lua_State *L)
{
    const struct own_services *own = lx_own(L);
    struct str from;
    from.ptr = luaL_checklstring(L, 1, &from.len);
    struct buf shown = BUF_INIT;
    struct redact redact = {.names = own->redacted(own->arg)};
    hide(vm_of(L)->services, from, &shown);
    struct str clean =
        buf_failed(&shown) ? (struct str){NULL, 0} : redact_clean(&redact, buf_str(&shown));
    buf_free(&text);
    buf_add_str(&text, clean);
    text.failed = text.failed || clean.ptr == NULL;
    redact_free(&redact);
    buf_free(&shown);
    return lx_push_text(L);
}

/* ---- commands of the program, in a process of their own ---- */

enum { WORDS_MAX = 64, OUTPUT_MAX = 256 * 1024 };

struct child;

struct run_op {
    struct op op;
    struct child *child; /* NULL when it is over */
    int code;            /* its exit status; -1: it was killed */
    struct buf out[2];   /* owned: stdout, stderr */
};

/* Outlives the operation until libuv has closed its handles. */
struct child {
    uv_process_t process;
    uv_pipe_t pipes[3];
    uv_write_t write;
    struct run_op *op; /* borrowed; NULL after cancel */
    unsigned open;     /* handles */
    unsigned awaited;  /* its end, and that of what it writes */
    char *input;       /* owned */
};

static void on_closed(uv_handle_t *handle)
{
    struct child *child = handle->data;
    if (--child->open > 0)
        return;
    free(child->input);
    free(child);
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

static void settle(struct child *child)
{
    struct run_op *op = child->op;
    if (--child->awaited > 0 || op == NULL)
        return;
    op->child = NULL;
    child->op = NULL;
    close_handle((uv_handle_t *)&child->pipes[0]);
    await_op_complete(&op->op);
}

static void on_ended(uv_process_t *process, int64_t status, int signal)
{
    struct child *child = process->data;
    if (child->op != NULL)
        child->op->code = signal == 0 ? (int)status : -1;
    close_handle((uv_handle_t *)process);
    settle(child);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *to)
{
    static char bytes[65536];
    (void)handle;
    (void)suggested;
    *to = uv_buf_init(bytes, sizeof(bytes));
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *from)
{
    struct child *child = stream->data;
    if (len < 0) {
        close_handle((uv_handle_t *)stream);
        settle(child);
        return;
    }
    struct buf *out =
        child->op == NULL ? NULL : &child->op->out[stream == (uv_stream_t *)&child->pipes[2]];
    size_t room = out != NULL && out->len < OUTPUT_MAX ? OUTPUT_MAX - out->len : 0;
    if (room > 0)
        buf_add(out, from->base, (size_t)len < room ? (size_t)len : room);
}

static void on_written(uv_write_t *write, int status)
{
    (void)status; /* who reads nothing of it needs nothing */
    close_handle((uv_handle_t *)write->handle);
}

/* Its process ends, and is waited for; nothing of it is read any more. */
static void cancel_run(struct op *op)
{
    struct run_op *run = container_of(op, struct run_op, op);
    struct child *child = run->child;
    if (child == NULL)
        return;
    run->child = NULL;
    child->op = NULL;
    uv_process_kill(&child->process, SIGKILL);
    for (int i = 0; i < 3; i++)
        close_handle((uv_handle_t *)&child->pipes[i]);
}

static void set_text(lua_State *L, const char *name, const struct buf *from)
{
    lua_pushlstring(L, from->len > 0 ? from->data : "", from->len);
    lua_setfield(L, -2, name);
}

static int finish_run(lua_State *L, struct op *op)
{
    struct run_op *run = container_of(op, struct run_op, op);
    if (buf_failed(&run->out[0]) || buf_failed(&run->out[1]))
        return luaL_error(L, "out of memory");
    lua_createtable(L, 0, 3);
    set_text(L, "out", &run->out[0]);
    set_text(L, "err", &run->out[1]);
    lua_pushinteger(L, run->code);
    lua_setfield(L, -2, "code");
    return 1;
}

static void dispose_run(struct op *op)
{
    struct run_op *run = container_of(op, struct run_op, op);
    buf_free(&run->out[0]);
    buf_free(&run->out[1]);
}

static const struct op_type run_type = {
    .name = "host.run", .cancel = cancel_run, .finish = finish_run, .dispose = dispose_run};

/* 0, or what libuv says. */
static int start(uv_loop_t *loop, struct child *child, const char *program, char **words,
                 size_t input_len)
{
    uv_stdio_container_t stdio[3];
    static const int flags[] = {UV_READABLE_PIPE, UV_WRITABLE_PIPE, UV_WRITABLE_PIPE};
    for (int i = 0; i < 3; i++) {
        uv_pipe_init(loop, &child->pipes[i], 0);
        child->pipes[i].data = child;
        stdio[i].flags = (uv_stdio_flags)(UV_CREATE_PIPE | flags[i]);
        stdio[i].data.stream = (uv_stream_t *)&child->pipes[i];
    }
    child->open = 4;
    child->awaited = 3;
    child->process.data = child;
    const uv_process_options_t options = {
        .file = program, .args = words, .exit_cb = on_ended, .stdio = stdio, .stdio_count = 3};
    int rc = uv_spawn(loop, &child->process, &options);
    if (rc != 0) {
        child->op = NULL;
        close_handle((uv_handle_t *)&child->process);
        for (int i = 0; i < 3; i++)
            close_handle((uv_handle_t *)&child->pipes[i]);
        return rc;
    }
    uv_buf_t input = uv_buf_init(child->input, (unsigned)input_len);
    uv_read_start((uv_stream_t *)&child->pipes[1], on_alloc, on_read);
    uv_read_start((uv_stream_t *)&child->pipes[2], on_alloc, on_read);
    if (uv_write(&child->write, (uv_stream_t *)&child->pipes[0], &input, 1, on_written) != 0)
        close_handle((uv_handle_t *)&child->pipes[0]);
    return 0;
}

/* The list at 1 behind the program's name. Borrowed: the texts stay on the stack. */
static void lx_words(lua_State *L, const struct own_services *own, char **words)
{
    static char name[] = "luafn", config[] = "--config";
    lua_Unsigned count = lua_rawlen(L, 1);
    luaL_checkstack(L, WORDS_MAX, NULL);
    if (count == 0 || count > WORDS_MAX - 4)
        luaL_error(L, "host.run: 1 to %d words expected", WORDS_MAX - 4);
    words[0] = name;
    for (lua_Unsigned i = 1; i <= count; i++) {
        size_t len;
        lua_rawgeti(L, 1, (lua_Integer)i);
        const char *word = luaL_checklstring(L, -1, &len);
        if (strlen(word) != len)
            luaL_error(L, "host.run: a word has a NUL in it");
        words[i] = (char *)(uintptr_t)word;
    }
    words[count + 1] = config;
    words[count + 2] = (char *)(uintptr_t)own->config_file;
    words[count + 3] = NULL;
}

/* host.run({ "explain", "-" } [, input]) -> { code =, out =, err = }: a command of the program, on
 * this host's configuration. Of what it writes OUTPUT_MAX bytes are kept. */
static int l_run(lua_State *L)
{
    const struct own_services *own = lx_own(L);
    char *words[WORDS_MAX];
    struct str input;
    luaL_checktype(L, 1, LUA_TTABLE);
    input.ptr = luaL_optlstring(L, 2, "", &input.len);
    if (own->program == NULL)
        return luaL_error(L, "host.run: the program's file is not known");
    lx_words(L, own, words);
    struct run_op *op = (struct run_op *)await_op_new(L, &run_type, sizeof(*op));
    struct child *child = calloc(1, sizeof(*child));
    char *copy = malloc(input.len + 1);
    if (child == NULL || copy == NULL) {
        free(child);
        free(copy);
        return luaL_error(L, "out of memory");
    }
    memcpy(copy, input.ptr, input.len);
    child->input = copy;
    child->op = op;
    op->child = child;
    int rc = start(vm_of(L)->services->loop, child, own->program, words, input.len);
    if (rc != 0) {
        op->child = NULL;
        return luaL_error(L, "host.run: %s: %s", own->program, uv_strerror(rc));
    }
    return await(L, &op->op);
}

int open_host(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"clean", l_clean},     {"kv", kv_look},      {"origin", l_origin}, {"record", l_record},
        {"records", l_records}, {"routes", l_routes}, {"run", l_run},       {"source", l_source},
        {"state", l_state},     {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
