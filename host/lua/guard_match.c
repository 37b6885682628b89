/* string.find, match, gmatch and gsub over lua/pattern.c. */
#include <ctype.h>
#include <string.h>

#include "lua/budget.h"
#include "lua/guard_parts.h"
#include "lua/pattern.h"

/* A position counted from the front or, negative, from the back, as an offset; past the end stays
 * past the end. */
static size_t start_offset(lua_Integer position, size_t len)
{
    if (position > 0)
        return (size_t)position - 1;
    if (position == 0 || position < -(lua_Integer)len)
        return 0;
    return len - (size_t)-position;
}

/* ---- find, match --------------------------------------------------------------------------- */

static int push_span(lua_State *L, size_t from, size_t to)
{
    lua_pushinteger(L, (lua_Integer)from + 1);
    lua_pushinteger(L, (lua_Integer)to);
    return 2;
}

static int find_plain(lua_State *L, const char *text, size_t len, size_t from, const char *needle,
                      size_t needle_len)
{
    const char *found = pattern_find_plain(L, text + from, len - from, needle, needle_len);
    if (found == NULL) {
        lua_pushnil(L);
        return 1;
    }
    size_t at = (size_t)(found - text);
    return push_span(L, at, at + needle_len);
}

static int go_on_find(lua_State *L, int status, lua_KContext is_find);

/* The subject's places in turn; `end` is how the attempt at pattern->start ended. */
static int find_from(struct pattern *pattern, enum pattern_end end, bool is_find)
{
    lua_State *L = pattern->L;
    bool is_anchored = pattern->text > lua_tostring(L, 2);
    while (end == PATTERN_FAILED && !is_anchored && pattern->start < pattern->subject_end)
        end = pattern_match(pattern, pattern->start + 1);
    if (end == PATTERN_PAUSED) {
        pattern_save(pattern);
        return budget_pause(L, is_find, go_on_find);
    }
    if (end == PATTERN_FAILED) {
        lua_pushnil(L);
        return 1;
    }
    if (!is_find)
        return pattern_push_captures(pattern, pattern->start, pattern->s);
    push_span(L, (size_t)(pattern->start - pattern->subject),
              (size_t)(pattern->s - pattern->subject));
    return 2 + pattern_push_captures(pattern, NULL, NULL);
}

static int go_on_find(lua_State *L, int status, lua_KContext is_find)
{
    (void)status;
    struct pattern pattern;
    pattern_restore(&pattern, L);
    return find_from(&pattern, pattern_go_on(&pattern), is_find != 0);
}

static int find_pattern(lua_State *L, const char *text, size_t len, size_t from,
                        const char *pattern_text, size_t pattern_len, bool is_find)
{
    struct pattern pattern;
    bool is_anchored = pattern_len > 0 && *pattern_text == '^';
    pattern_init(&pattern, L, text, len, pattern_text + is_anchored, pattern_len - is_anchored);
    return find_from(&pattern, pattern_match(&pattern, text + from), is_find);
}

static int find_or_match(lua_State *L, bool is_find)
{
    size_t len, pattern_len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checklstring(L, 2, &pattern_len);
    size_t from = start_offset(luaL_optinteger(L, 3, 1), len);
    if (from > len) {
        lua_pushnil(L);
        return 1;
    }
    if (is_find && (lua_toboolean(L, 4) || pattern_is_plain(pattern, pattern_len)))
        return find_plain(L, text, len, from, pattern, pattern_len);
    return find_pattern(L, text, len, from, pattern, pattern_len, is_find);
}

static int l_find(lua_State *L)
{
    return find_or_match(L, true);
}

static int l_match(lua_State *L)
{
    return find_or_match(L, false);
}

/* ---- gmatch -------------------------------------------------------------------------------- */

struct gmatch {
    size_t from;  /* where the next match may begin */
    size_t ended; /* where the last one ended; SIZE_MAX: none yet */
};

static int go_on_gmatch(lua_State *L, int status, lua_KContext context);

static int gmatch_from(struct pattern *pattern, enum pattern_end end)
{
    lua_State *L = pattern->L;
    struct gmatch *gmatch = lua_touserdata(L, lua_upvalueindex(3));
    for (;;) {
        if (end == PATTERN_PAUSED) {
            pattern_save(pattern);
            return budget_pause(L, 0, go_on_gmatch);
        }
        size_t ended = (size_t)(pattern->s - pattern->subject);
        if (end == PATTERN_FOUND && ended != gmatch->ended) {
            gmatch->from = gmatch->ended = ended;
            return pattern_push_captures(pattern, pattern->start, pattern->s);
        }
        if (pattern->start >= pattern->subject_end)
            return 0;
        end = pattern_match(pattern, pattern->start + 1);
    }
}

static int go_on_gmatch(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct pattern pattern;
    pattern_restore(&pattern, L);
    return gmatch_from(&pattern, pattern_go_on(&pattern));
}

/* Upvalues: text, pattern, struct gmatch. */
static int l_gmatch_next(lua_State *L)
{
    size_t len, pattern_len;
    const char *text = lua_tolstring(L, lua_upvalueindex(1), &len);
    const char *pattern_text = lua_tolstring(L, lua_upvalueindex(2), &pattern_len);
    const struct gmatch *gmatch = lua_touserdata(L, lua_upvalueindex(3));
    if (gmatch->from > len)
        return 0;
    struct pattern pattern;
    pattern_init(&pattern, L, text, len, pattern_text, pattern_len);
    return gmatch_from(&pattern, pattern_match(&pattern, text + gmatch->from));
}

static int l_gmatch(lua_State *L)
{
    size_t len;
    luaL_checklstring(L, 1, &len);
    luaL_checkstring(L, 2);
    size_t from = start_offset(luaL_optinteger(L, 3, 1), len);
    lua_settop(L, 2);
    struct gmatch *gmatch = lua_newuserdatauv(L, sizeof(*gmatch), 0);
    gmatch->from = from > len ? len + 1 : from;
    gmatch->ended = SIZE_MAX;
    lua_pushcclosure(L, l_gmatch_next, 3);
    return 1;
}

/* ---- gsub ---------------------------------------------------------------------------------- */

/* Stack: text, pattern, replacement, count or nil, result. What a gsub knows lies in the result, a
 * userdata, from the first replacement or pause on: the function that is called for a match may be
 * suspended, and with it the C function that called it. */
enum { TEXT = 1, PATTERN = 2, REPLACEMENT = 3, MOST = 4, RESULT = 5 };
enum { GSUB_PAUSED, GSUB_CALLED };

struct gsub {
    size_t at;         /* the next attempt */
    size_t start, end; /* of the match that is being replaced */
    size_t copied;     /* of the text, into the result */
    size_t ended;      /* where the last match ended; SIZE_MAX: none yet */
    lua_Integer count, most;
    size_t len, capacity;
    char data[];
};

static struct gsub *add(lua_State *L, struct gsub *g, const char *text, size_t len)
{
    if (g->capacity - g->len < len || g->capacity == 0) {
        size_t capacity = g->len + g->len / 2 + len + 128;
        struct gsub *grown = lua_newuserdatauv(L, sizeof(*g) + capacity, 0);
        memcpy(grown, g, sizeof(*g) + g->len);
        grown->capacity = capacity;
        lua_replace(L, RESULT);
        g = grown;
    }
    memcpy(g->data + g->len, text, len);
    g->len += len;
    return g;
}

/* The subject up to the match. */
static struct gsub *add_before(lua_State *L, struct gsub *g)
{
    const char *text = lua_tostring(L, TEXT);
    g = add(L, g, text + g->copied, g->start - g->copied);
    g->copied = g->end;
    return g;
}

/* The replacement text with its %0 to %9. */
static struct gsub *add_template(struct pattern *pattern, struct gsub *g)
{
    lua_State *L = pattern->L;
    g = add_before(L, g);
    size_t len;
    const char *text = lua_tolstring(L, REPLACEMENT, &len);
    const char *text_end = text + len;
    for (const char *mark; (mark = memchr(text, '%', (size_t)(text_end - text))) != NULL;
         text = mark + 2) {
        g = add(L, g, text, (size_t)(mark - text));
        unsigned char kind = mark + 1 < text_end ? (unsigned char)mark[1] : '\0';
        if (kind == '%') {
            g = add(L, g, "%", 1);
        } else if (kind == '0') {
            g = add(L, g, pattern->start, (size_t)(pattern->s - pattern->start));
        } else if (isdigit(kind)) {
            pattern_push_capture(pattern, kind - (unsigned)'1', pattern->start, pattern->s);
            size_t capture_len;
            const char *capture = lua_tolstring(L, -1, &capture_len);
            g = add(L, g, capture, capture_len);
            lua_pop(L, 1);
        } else {
            luaL_error(L, "invalid use of '%%' in replacement string");
        }
    }
    return add(L, g, text, (size_t)(text_end - text));
}

/* What a function or table gave, on top of the stack, for the match; false and nil let it stay. */
static struct gsub *add_value(lua_State *L, struct gsub *g)
{
    if (lua_toboolean(L, -1)) {
        size_t len;
        if (!lua_isstring(L, -1))
            luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
        const char *text = lua_tolstring(L, -1, &len);
        g = add_before(L, g);
        g = add(L, g, text, len);
    }
    lua_pop(L, 1);
    return g;
}

static int go_on_gsub(lua_State *L, int status, lua_KContext context);

static struct gsub *replace(struct pattern *pattern, struct gsub *g)
{
    lua_State *L = pattern->L;
    g->count++;
    g->start = (size_t)(pattern->start - pattern->subject);
    g->at = g->end = g->ended = (size_t)(pattern->s - pattern->subject);
    switch (lua_type(L, REPLACEMENT)) {
    case LUA_TFUNCTION:
        g = add(L, g, "", 0);
        lua_pushvalue(L, REPLACEMENT);
        lua_callk(L, pattern_push_captures(pattern, pattern->start, pattern->s), 1, GSUB_CALLED,
                  go_on_gsub);
        return add_value(L, g);
    case LUA_TTABLE:
        pattern_push_capture(pattern, 0, pattern->start, pattern->s);
        lua_gettable(L, REPLACEMENT);
        return add_value(L, g);
    default:
        return add_template(pattern, g);
    }
}

static int end_gsub(struct pattern *pattern, struct gsub *g)
{
    lua_State *L = pattern->L;
    if (g->copied > 0 || g->len > 0) {
        size_t rest = (size_t)(pattern->subject_end - pattern->subject) - g->copied;
        g = add(L, g, pattern->subject + g->copied, rest);
        lua_pushlstring(L, g->data, g->len);
    } else {
        lua_pushvalue(L, TEXT);
    }
    lua_pushinteger(L, g->count);
    return 2;
}

/* `end` is how the attempt at pattern->start ended. */
static int gsub_from(struct pattern *pattern, struct gsub *g, enum pattern_end end)
{
    bool is_anchored = pattern->text > lua_tostring(pattern->L, PATTERN);
    for (;;) {
        if (end == PATTERN_PAUSED) {
            add(pattern->L, g, "", 0);
            pattern_save(pattern);
            return budget_pause(pattern->L, GSUB_PAUSED, go_on_gsub);
        }
        if (end == PATTERN_FOUND && (size_t)(pattern->s - pattern->subject) != g->ended)
            g = replace(pattern, g);
        else if (pattern->start < pattern->subject_end)
            g->at++;
        else
            break;
        if (is_anchored || g->count >= g->most)
            break;
        end = pattern_match(pattern, pattern->subject + g->at);
    }
    return end_gsub(pattern, g);
}

static void init_pattern(struct pattern *pattern, lua_State *L)
{
    size_t len, pattern_len;
    const char *text = lua_tolstring(L, TEXT, &len);
    const char *pattern_text = lua_tolstring(L, PATTERN, &pattern_len);
    bool is_anchored = pattern_len > 0 && *pattern_text == '^';
    pattern_init(pattern, L, text, len, pattern_text + is_anchored, pattern_len - is_anchored);
}

/* The next attempt, unless there is none: goes on behind the last match. */
static int gsub_next(struct pattern *pattern, struct gsub *g)
{
    bool is_anchored = pattern->text > lua_tostring(pattern->L, PATTERN);
    if (g->count >= g->most || (is_anchored && g->ended != SIZE_MAX))
        return end_gsub(pattern, g);
    return gsub_from(pattern, g, pattern_match(pattern, pattern->subject + g->at));
}

static int go_on_gsub(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    struct pattern pattern;
    struct gsub *g = lua_touserdata(L, RESULT);
    if (context == GSUB_PAUSED) {
        pattern_restore(&pattern, L);
        return gsub_from(&pattern, g, pattern_go_on(&pattern));
    }
    init_pattern(&pattern, L);
    return gsub_next(&pattern, add_value(L, g));
}

static int l_gsub(lua_State *L)
{
    size_t len;
    luaL_checklstring(L, TEXT, &len);
    luaL_checkstring(L, PATTERN);
    int kind = lua_type(L, REPLACEMENT);
    luaL_argexpected(L,
                     kind == LUA_TNUMBER || kind == LUA_TSTRING || kind == LUA_TFUNCTION ||
                         kind == LUA_TTABLE,
                     REPLACEMENT, "string/function/table");
    struct gsub first = {.ended = SIZE_MAX};
    first.most = luaL_optinteger(L, MOST, (lua_Integer)len + 1);
    lua_settop(L, MOST);
    lua_pushnil(L);
    struct pattern pattern;
    init_pattern(&pattern, L);
    return gsub_next(&pattern, &first);
}

static const luaL_Reg functions[] = {
    {"find", l_find}, {"gmatch", l_gmatch}, {"gsub", l_gsub}, {"match", l_match}, {NULL, NULL},
};

void guard_fill_match(lua_State *L)
{
    luaL_setfuncs(L, functions, 0);
}
