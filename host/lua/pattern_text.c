/* Around the matcher: a match that pauses, captures as values, and texts that need no matcher. */
#include <lauxlib.h>
#include <string.h>

#include "lua/budget.h"
#include "lua/pattern.h"

enum { PLAIN_HEAD = 1024, PLAIN_WINDOW = 256 * 1024 };

static size_t size_in_use(const struct pattern *pattern)
{
    return offsetof(struct pattern, choices) + pattern->depth * sizeof(pattern->choices[0]);
}

void pattern_save(const struct pattern *pattern)
{
    size_t size = size_in_use(pattern);
    memcpy(lua_newuserdatauv(pattern->L, size, 0), pattern, size);
}

void pattern_restore(struct pattern *pattern, lua_State *L)
{
    const struct pattern *saved = lua_touserdata(L, -1);
    memcpy(pattern, saved, size_in_use(saved));
    lua_pop(L, 1);
}

void pattern_push_capture(struct pattern *pattern, unsigned index, const char *start,
                          const char *end)
{
    lua_State *L = pattern->L;
    if (index >= pattern->level) {
        if (index != 0)
            luaL_error(L, "invalid capture index %%%d", (int)index + 1);
        lua_pushlstring(L, start, (size_t)(end - start));
        return;
    }
    const struct pattern_capture *capture = &pattern->captures[index];
    if (capture->len == PATTERN_UNFINISHED)
        luaL_error(L, "unfinished capture");
    if (capture->len == PATTERN_POSITION)
        lua_pushinteger(L, capture->start - pattern->subject + 1);
    else
        lua_pushlstring(L, capture->start, (size_t)capture->len);
}

int pattern_push_captures(struct pattern *pattern, const char *start, const char *end)
{
    unsigned count = pattern->level == 0 && start != NULL ? 1 : pattern->level;
    luaL_checkstack(pattern->L, (int)count, "too many captures");
    for (unsigned i = 0; i < count; i++)
        pattern_push_capture(pattern, i, start, end);
    return (int)count;
}

bool pattern_is_plain(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '\0' && strchr("^$*+?.([%-", text[i]) != NULL)
            return false;
    }
    return true;
}

/* The head of the needle is looked for window by window; where it is found the rest is compared. */
const char *pattern_find_plain(lua_State *L, const char *text, size_t len, const char *needle,
                               size_t needle_len)
{
    size_t head = needle_len < PLAIN_HEAD ? needle_len : PLAIN_HEAD;
    while (len >= needle_len) {
        size_t part = len < PLAIN_WINDOW ? len : PLAIN_WINDOW;
        const char *found = memmem(text, part, needle, head);
        size_t done = part - head + 1; /* no head begins there */
        if (found != NULL) {
            done = (size_t)(found - text);
            if (len - done < needle_len)
                return NULL;
            if (memcmp(found + head, needle + head, needle_len - head) == 0)
                return found;
            done++;
        }
        text += done;
        len -= done;
        budget_step(L);
    }
    return NULL;
}
