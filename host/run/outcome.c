/* Errors and limits as responses. Results of handlers are in outcome_result.c. */
#include "lua/lazy.h"
#include "run/outcome.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/limits.h"
#include "journal/hook.h"
#include "lua/vm.h"

#define DESCRIBE_CPU_NS (20 * 1000 * 1000ull)

enum { MESSAGE_MAX = 4096, NAME_MAX_SHOWN = 128 };

/* {"errorType":...,"errorMessage":...[,"trace":[...]]} */
static void set_error_body(struct exchange *ex, int status, struct str type, struct str message,
                           struct str trace)
{
    if (ex->state > EXCHANGE_WORKING)
        return; /* the head of a stream is out, or about to be */
    ex->res.streamed = false;
    struct buf body = BUF_INIT;
    buf_add_str(&body, STR("{\"errorType\":"));
    buf_add_json(&body, type);
    buf_add_str(&body, STR(",\"errorMessage\":"));
    buf_add_json(&body, message);
    if (trace.len > 0) {
        buf_add_str(&body, STR(",\"trace\":["));
        struct str line;
        for (bool first = true; str_split_next(&trace, '\n', &line); first = false) {
            if (!first)
                buf_add_char(&body, ',');
            buf_add_json(&body, str_trim(line));
        }
        buf_add_char(&body, ']');
    }
    buf_add_char(&body, '}');
    struct str copy =
        buf_failed(&body) ? (struct str){NULL, 0} : arena_copy(&ex->arena, buf_str(&body));
    buf_free(&body);
    ex->res.headers.len = 0;
    if (copy.ptr == NULL ||
        response_set_body(&ex->res, &ex->arena, status, STR("application/json"), copy) != 0 ||
        headers_add(&ex->res.headers, &ex->arena, STR("X-Content-Type-Options"), STR("nosniff")) !=
            0) {
        ex->res.status = status;
        ex->res.body = (struct str){NULL, 0};
    }
}

void outcome_log(const struct exchange *ex, const char *message, struct str error, const char *key,
                 struct str more)
{
    struct log_line line;
    if (ex->hook != NULL && hook_replays(ex->hook))
        return; /* whoever runs it again tells of it */
    log_begin(&line, LOG_ERROR, message);
    if (ex->function != NULL)
        log_str(&line, "function", str_from(ex->function));
    log_int(&line, "generation", ex->generation);
    log_str(&line, "request_id", str_from(ex->request_id));
    log_str(&line, "error", error);
    if (more.len > 0)
        log_str(&line, key, more);
    log_end(&line);
}

static void tell_fault(struct exchange *ex, struct str type, struct str message, struct str trace)
{
    const struct hook_fault fault = {type, message, trace};
    if (ex->hook != NULL)
        ex->hook->type->fault(ex->hook, &fault);
}

/* ---- a raised error ---- */

void outcome_call_with_raised(lua_State *L, lua_State *co, lua_CFunction fn, void *arg)
{
    if (!lua_checkstack(L, 3) || lua_gettop(co) == 0)
        return;
    lua_pushcfunction(L, fn);
    lua_pushlightuserdata(L, arg);
    lua_pushvalue(co, -1);
    lua_xmove(co, L, 1);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK)
        lua_pop(L, 1);
}

struct description {
    struct str type, message, trace; /* in the arena */
    lua_State *co;
    struct exchange *ex;
    bool dev;
};

static struct str copy_text(struct exchange *ex, lua_State *L, int index)
{
    struct str text;
    text.ptr = lua_tolstring(L, index, &text.len);
    if (text.len > MESSAGE_MAX)
        text.len = MESSAGE_MAX;
    return arena_copy(&ex->arena, text);
}

/* The text of a member of the error table at index 2, if it is one. Raw: no metamethods of the
 * script run here. */
static bool get_member(lua_State *L, const char *name, struct description *d, struct str *out)
{
    lazy_make_plain(L, 2);
    lua_pushstring(L, name);
    if (lua_rawget(L, 2) == LUA_TSTRING)
        *out = copy_text(d->ex, L, -1);
    lua_pop(L, 1);
    return out->ptr != NULL;
}

/* What __tostring of the table at index 2 makes of it. It is the script's code: it runs in a
 * coroutine of its own, which may be dropped, for a moment of processor time. */
static void describe_by_tostring(lua_State *L, struct description *d)
{
    if (luaL_getmetafield(L, 2, "__tostring") == LUA_TNIL)
        return;
    struct vm *vm = vm_of(L);
    struct budget grace = {.cpu_limit_ns = DESCRIBE_CPU_NS}, *before = vm->budget;
    lua_State *co = lua_newthread(L);
    lua_insert(L, -2);
    lua_pushvalue(L, 2);
    lua_xmove(L, co, 2);
    vm->budget = &grace;
    budget_enter(&grace, co);
    int status = lua_pcall(co, 1, 1, 0);
    budget_leave(&grace);
    vm->budget = before;
    if (status == LUA_OK && lua_type(co, -1) == LUA_TSTRING)
        d->message = copy_text(d->ex, co, -1);
    lua_pop(L, 1);
}

static void describe_table(lua_State *L, struct description *d)
{
    if (!get_member(L, "errorType", d, &d->type) && !get_member(L, "name", d, &d->type))
        (void)get_member(L, "code", d, &d->type);
    if (!get_member(L, "errorMessage", d, &d->message) && !get_member(L, "message", d, &d->message))
        describe_by_tostring(L, d);
    if (d->message.ptr == NULL)
        d->message = STR("(the handler raised a table without a `message`)");
}

/* (description, error value). */
static int l_describe(lua_State *L)
{
    struct description *d = lua_touserdata(L, 1);
    switch (lua_type(L, 2)) {
    case LUA_TSTRING:
        d->message = copy_text(d->ex, L, 2);
        break;
    case LUA_TNUMBER:
    case LUA_TBOOLEAN:
        luaL_tolstring(L, 2, NULL);
        d->message = copy_text(d->ex, L, -1);
        break;
    case LUA_TTABLE:
        describe_table(L, d);
        break;
    default:
        lua_pushfstring(L, "(the handler raised a %s value)", luaL_typename(L, 2));
        d->message = copy_text(d->ex, L, -1);
    }
    luaL_traceback(L, d->co, NULL, 0);
    d->trace = copy_text(d->ex, L, -1);
    return 0;
}

/* The length of ":12:" and the blanks behind it, or of ":12"; 0 when there is no line number. */
static size_t line_number_length(struct str text)
{
    size_t end = 1;
    while (end < text.len && text.ptr[end] >= '0' && text.ptr[end] <= '9')
        end++;
    if (text.len == 0 || text.ptr[0] != ':' || end == 1)
        return 0;
    if (end < text.len && text.ptr[end] == ':')
        end++;
    while (end < text.len && text.ptr[end] == ' ')
        end++;
    return end;
}

/* Where the name of a chunk begins that ends at `end` of text: scripts/me.lua, [string "text"]. Lua
 * shortens such names to 60 characters. */
static size_t chunk_name_start(struct str text, size_t end)
{
    size_t start = end, least = end > NAME_MAX_SHOWN ? end - NAME_MAX_SHOWN : 0;
    if (text.ptr[end - 1] == ']') {
        while (start > least) {
            if (str_starts_with(str_skip(text, --start), STR("[string \"")))
                return start;
        }
        return end;
    }
    if (!str_ends_with((struct str){text.ptr, end}, STR(".lua")))
        return end;
    while (start > least && strchr(" \t\n\"'()<>", text.ptr[start - 1]) == NULL)
        start--;
    return start;
}

struct str outcome_without_positions(struct str message, char *out)
{
    size_t len = 0, taken = 0;
    for (size_t i = 1; i < message.len; i++) {
        size_t skipped = line_number_length(str_skip(message, i));
        size_t start = skipped > 0 ? chunk_name_start(message, i) : i;
        if (start == i || start < taken)
            continue;
        memcpy(out + len, message.ptr + taken, start - taken);
        len += start - taken;
        taken = i + skipped;
        i = taken;
    }
    memcpy(out + len, message.ptr + taken, message.len - taken);
    return (struct str){out, len + message.len - taken};
}

void outcome_set_error(lua_State *L, lua_State *co, bool dev, struct exchange *ex)
{
    struct description d = {.type = {NULL, 0}, .co = co, .ex = ex, .dev = dev};
    outcome_call_with_raised(L, co, l_describe, &d);
    if (d.message.ptr == NULL)
        d.message = STR("out of memory");
    if (d.type.ptr == NULL)
        d.type = STR("Error");
    outcome_log(ex, "handler raised", d.message, "trace", d.trace);
    tell_fault(ex, d.type, d.message, d.trace);
    ex->error_code = "handler_error";
    char shown[MESSAGE_MAX];
    set_error_body(ex, 502, d.type, outcome_without_positions(d.message, shown),
                   dev ? d.trace : (struct str){NULL, 0});
}

/* ---- limits ---- */

static bool is_cut(const struct exchange *ex)
{
    return ex->until_ns > ex->started_ns && clock_monotonic_ns() >= ex->until_ns;
}

void outcome_set_limit(enum budget_end end, const struct function_spec *spec, const char *place,
                       bool dev, struct exchange *ex)
{
    char text[256];
    const char *type;
    int status = 500;
    switch (end) {
    case BUDGET_TIMEOUT:
        status = 504;
        type = "TimeoutError";
        ex->error_code = "timeout";
        snprintf(text, sizeof(text), "Task timed out after %.2f seconds (limit: %s)",
                 is_cut(ex) ? (double)(ex->until_ns - ex->started_ns) / 1e9 : spec->timeout,
                 is_cut(ex) ? "who called waits no longer" : "`timeout` of this function");
        break;
    case BUDGET_CPU:
        type = "CpuLimitExceeded";
        ex->error_code = "cpu_limit";
        snprintf(
            text, sizeof(text),
            "The handler used up its %g seconds of processor time (limit: `cpu` of this function)",
            spec->cpu);
        break;
    case BUDGET_STALL:
        type = "CpuLimitExceeded";
        ex->error_code = "cpu_limit";
        snprintf(
            text, sizeof(text),
            "The handler used %d ms of processor time in a row where it cannot be suspended: in "
            "a metamethod that a library function calls (limit: fixed; see also `cpu`)",
            LIMIT_STALL_MS);
        break;
    case BUDGET_MEMORY:
        type = "MemoryLimitExceeded";
        ex->error_code = "memory_limit";
        snprintf(
            text, sizeof(text),
            "The handler needs more than its %zu bytes of memory (limit: `memory` of this function)",
            spec->memory);
        break;
    default:
        status = 503;
        type = "Cancelled";
        ex->error_code = "cancelled";
        snprintf(text, sizeof(text), "The run was ended before it finished");
    }
    if (end != BUDGET_CANCELLED)
        outcome_log(ex, "handler passed a limit", str_from(text), "at", str_from(place));
    tell_fault(ex, str_from(type), str_from(text), str_from(place));
    set_error_body(ex, status, str_from(type), str_from(text), str_from(dev ? place : NULL));
}

static void set_unavailable(struct exchange *ex, const char *code, const char *text,
                            struct str retry_after)
{
    ex->error_code = code;
    if (response_set_error(&ex->res, &ex->arena, 503, str_from(code),
                           arena_copy(&ex->arena, str_from(text))) != 0 ||
        headers_add(&ex->res.headers, &ex->arena, STR("Retry-After"), retry_after) != 0)
        ex->res.status = 503;
}

void outcome_set_no_slot(const struct function_spec *spec, struct exchange *ex)
{
    char text[256];
    snprintf(
        text, sizeof(text),
        "%u requests run and %u wait in this function already (limits: `concurrency`, `queue`)",
        spec->concurrency, spec->queue);
    set_unavailable(ex, "no_free_slot", text, STR("1"));
}

void outcome_set_suspended(struct exchange *ex)
{
    set_unavailable(
        ex, "function_suspended",
        "This function hung the host again and again; it is off until its script changes",
        STR("60"));
}

void outcome_set_loading(struct exchange *ex)
{
    set_unavailable(ex, "loading", "This function was still loading when the request came",
                    STR("1"));
}

void outcome_set_not_loaded(const char *reason, bool dev, struct exchange *ex)
{
    ex->error_code = "not_loaded";
    set_error_body(ex, 500, STR("LoadError"),
                   dev ? str_from(reason)
                       : STR("The function could not be loaded; the log says why"),
                   (struct str){NULL, 0});
}
