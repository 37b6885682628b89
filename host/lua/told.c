/* Telling of host calls. */
#include "lua/told.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/limits.h"

enum { LEVELS = 8, PLACE_MAX = 256 };

/* Where the innermost function of the script stands, into `out`. */
static struct str place_of(lua_State *L, char *out)
{
    lua_Debug ar;
    for (int level = 0; level < LEVELS && lua_getstack(L, level, &ar); level++) {
        if (lua_getinfo(L, "Sl", &ar) && ar.currentline > 0) {
            int len = snprintf(out, PLACE_MAX, "%s:%d", ar.short_src, ar.currentline);
            return (struct str){out, len < PLACE_MAX ? (size_t)len : PLACE_MAX - 1};
        }
    }
    return (struct str){"", 0};
}

/* What this run was to show is shown: no pcall of the script goes on after it. */
static unsigned lx_diverge(lua_State *L)
{
    struct budget *budget = vm_of(L)->budget;
    if (budget->end == BUDGET_RUNNING)
        budget->end = BUDGET_CANCELLED;
    luaL_error(L, "this run is not the recorded one any more");
}

unsigned lx_told_begin(lua_State *L, struct hook *hook, const char *name)
{
    char place[PLACE_MAX];
    const struct hook_call call = {.name = name,
                                   .arguments = buf_str(&hook->text),
                                   .place = place_of(L, place),
                                   .task = hook->task};
    unsigned number = hook->type->begin(hook, &call);
    return number > 0 ? number : lx_diverge(L);
}

const json_t *lx_told_recorded(lua_State *L, struct hook *hook, unsigned call)
{
    const json_t *answer = hook->type->recorded(hook, call);
    if (answer == NULL)
        lx_diverge(L);
    return answer;
}

bool told_read_text(const json_t *value, struct buf *out)
{
    const json_t *coded = json_object_get(value, "base64");
    if (json_is_string(value)) {
        buf_add(out, json_string_value(value), json_string_length(value));
        return true;
    }
    const struct str text = {json_string_value(coded), json_string_length(coded)};
    if (text.ptr == NULL || buf_reserve(out, BASE64_DECODED_MAX(text.len)) != 0)
        return false;
    ptrdiff_t len = base64_decode(text, BASE64_STANDARD, out->data + out->len, NULL);
    out->len += len > 0 ? (size_t)len : 0;
    return len >= 0;
}

void told_end(struct hook *hook, unsigned call)
{
    hook->type->end(hook, call, buf_str(&hook->text));
}

void lx_told_text(lua_State *L, struct hook *hook, const char *name, struct str text,
                  struct str otherwise)
{
    hook_text(hook);
    unsigned call = lx_told_begin(L, hook, name);
    struct buf *out = hook_text(hook);
    if (text.ptr != NULL)
        redact_add_text(hook->redact, text, LIMIT_JOURNAL_TEXT, out);
    else
        buf_add_str(out, otherwise);
    told_end(hook, call);
}

double lx_told_number(lua_State *L, struct hook *hook, const char *name, double value)
{
    hook_text(hook);
    unsigned call = lx_told_begin(L, hook, name);
    if (hook_replays(hook))
        value = json_number_value(lx_told_recorded(L, hook, call));
    buf_printf(hook_text(hook), "%.17g", value);
    told_end(hook, call);
    return value;
}

double lx_told_now(lua_State *L)
{
    struct hook *hook = told_hook(L);
    double now = clock_now();
    return hook == NULL ? now : lx_told_number(L, hook, "time", now);
}

void lx_told_bytes(lua_State *L, struct hook *hook, const char *name, char *bytes, size_t len)
{
    struct buf *text = hook_text(hook);
    buf_printf(text, "%zu", len);
    unsigned call = lx_told_begin(L, hook, name);
    if (hook_replays(hook)) {
        const json_t *answer = lx_told_recorded(L, hook, call);
        const struct str coded = {json_string_value(answer), json_string_length(answer)};
        text = hook_text(hook);
        if (buf_reserve(text, BASE64_DECODED_MAX(coded.len)) == 0 &&
            base64_decode(coded, BASE64_STANDARD, text->data, NULL) == (ptrdiff_t)len)
            memcpy(bytes, text->data, len);
    }
    buf_add_char(hook_text(hook), '"');
    if (buf_reserve(text, BASE64_ENCODED_MAX(len)) == 0)
        text->len +=
            base64_encode((struct str){bytes, len}, BASE64_STANDARD, text->data + text->len);
    buf_add_char(text, '"');
    told_end(hook, call);
}

/* Is it that JSON text, of a string or null? */
static bool same_text(const json_t *value, struct str json)
{
    if (!json_is_string(value))
        return str_eq(json, STR("null"));
    return json.len == json_string_length(value) + 2 &&
           memcmp(json.ptr + 1, json_string_value(value), json.len - 2) == 0;
}

void lx_told_env(lua_State *L, struct hook *hook, const char *name, const char *value)
{
    buf_add_json(hook_text(hook), str_from(name));
    unsigned call = lx_told_begin(L, hook, "env");
    struct buf *text = hook_text(hook);
    if (value != NULL)
        buf_printf(text, "\"%016llx\"",
                   (unsigned long long)hook->type->hash(hook, str_from(value)));
    else
        buf_add_str(text, STR("null"));
    if (hook_replays(hook) && !same_text(lx_told_recorded(L, hook, call), buf_str(text)))
        hook->type->other_env(hook, name);
    told_end(hook, call);
}
