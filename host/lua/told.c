/* Telling of host calls. */
#include "lua/told.h"

#include <lauxlib.h>
#include <stdio.h>

#include "base/base64.h"
#include "base/clock.h"

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

unsigned told_begin(lua_State *L, struct hook *hook, const char *name)
{
    char place[PLACE_MAX];
    const struct hook_call call = {.name = name,
                                   .arguments = buf_str(&hook->text),
                                   .place = place_of(L, place),
                                   .task = hook->task};
    return hook->type->begin(hook, &call);
}

void told_end(struct hook *hook, unsigned call)
{
    hook->type->end(hook, call, buf_str(&hook->text));
}

double told_number(lua_State *L, struct hook *hook, const char *name, double value)
{
    hook_text(hook);
    unsigned call = told_begin(L, hook, name);
    buf_printf(hook_text(hook), "%.17g", value);
    told_end(hook, call);
    return value;
}

double told_now(lua_State *L)
{
    struct hook *hook = told_hook(L);
    double now = clock_now();
    return hook == NULL ? now : told_number(L, hook, "time", now);
}

void told_bytes(lua_State *L, struct hook *hook, const char *name, char *bytes, size_t len)
{
    struct buf *text = hook_text(hook);
    buf_printf(text, "%zu", len);
    unsigned call = told_begin(L, hook, name);
    buf_add_char(hook_text(hook), '"');
    if (buf_reserve(text, BASE64_ENCODED_MAX(len)) == 0)
        text->len +=
            base64_encode((struct str){bytes, len}, BASE64_STANDARD, text->data + text->len);
    buf_add_char(text, '"');
    told_end(hook, call);
}

void told_env(lua_State *L, struct hook *hook, const char *name, const char *value)
{
    buf_add_json(hook_text(hook), str_from(name));
    unsigned call = told_begin(L, hook, "env");
    struct buf *text = hook_text(hook);
    if (value != NULL)
        buf_printf(text, "\"%016llx\"",
                   (unsigned long long)hook->type->hash(hook, str_from(value)));
    else
        buf_add_str(text, STR("null"));
    told_end(hook, call);
}
