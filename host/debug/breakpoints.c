/* Lines where scripts shall stand. Where there is code is told by share/lines.lua. */
#include "debug/breakpoints.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "lua/own_script.h"
#include "lua/script.h"

static void free_source(struct breakpoints *all, struct breakpoint_source *source)
{
    all->count -= source->count;
    for (unsigned i = 0; i < source->count; i++) {
        free(source->list[i].condition);
        free(source->list[i].log);
    }
    free(source->list);
    buf_free(&source->text);
    free(source->path);
    free(source->name);
    free(source);
}

void breakpoints_clear(struct breakpoints *all)
{
    struct breakpoint_source *source = all->sources;
    while (source != NULL) {
        struct breakpoint_source *next = source->next;
        free_source(all, source);
        source = next;
    }
    *all = (struct breakpoints){.newest = all->newest};
}

static struct breakpoint_source *find_source(const struct breakpoints *all, const char *name)
{
    struct breakpoint_source *source = all->sources;
    while (source != NULL && strcmp(source->name, name) != 0)
        source = source->next;
    return source;
}

/* Takes the one of that name off. */
static void drop_source(struct breakpoints *all, const char *name)
{
    struct breakpoint_source **link = &all->sources;
    while (*link != NULL && strcmp((*link)->name, name) != 0)
        link = &(*link)->next;
    struct breakpoint_source *source = *link;
    if (source == NULL)
        return;
    *link = source->next;
    free_source(all, source);
}

bool breakpoints_has(const struct breakpoints *all, const char *name)
{
    return find_source(all, name) != NULL;
}

struct breakpoint *breakpoints_find(const struct breakpoints *all, const char *name, int line)
{
    const struct breakpoint_source *source = find_source(all, name);
    for (unsigned i = 0; source != NULL && i < source->count; i++) {
        if (source->list[i].line == line && source->list[i].wrong == NULL)
            return &source->list[i];
    }
    return NULL;
}

struct breakpoint *breakpoints_by_id(const struct breakpoints *all, unsigned id)
{
    for (const struct breakpoint_source *source = all->sources; source != NULL;
         source = source->next) {
        for (unsigned i = 0; i < source->count; i++) {
            if (source->list[i].id == id)
                return &source->list[i];
        }
    }
    return NULL;
}

void breakpoints_begin(struct breakpoints *all)
{
    for (struct breakpoint_source *source = all->sources; source != NULL; source = source->next) {
        for (unsigned i = 0; i < source->count; i++)
            source->list[i].hits = 0;
    }
}

bool breakpoints_hit(struct breakpoint *b)
{
    b->hits++;
    switch (b->rule) {
    case HITS_IS:
        return b->hits == b->count;
    case HITS_FROM:
        return b->hits >= b->count;
    case HITS_ABOVE:
        return b->hits > b->count;
    case HITS_EVERY:
        return b->hits % b->count == 0;
    default:
        return true;
    }
}

/* ---- lines with code ---- */

struct lines {
    struct breakpoint_source *source; /* whose lines are moved to where there is code */
    int last;
    bool compiles;
};

/* stack: { [line] = true } */
static void find_line(lua_State *L, struct breakpoint *b, int last)
{
    b->verified = false;
    b->line = b->asked;
    b->message = b->wrong != NULL ? b->wrong : "there is no code here or below";
    for (int line = b->asked; !b->verified && b->wrong == NULL && line <= last; line++) {
        b->verified = lua_rawgeti(L, -1, line) != LUA_TNIL;
        lua_pop(L, 1);
        if (b->verified)
            b->line = line;
    }
    if (b->verified)
        b->message = NULL;
}

/* stack: the script, which returns a function: (text) -> { [line] = true }, the last of them */
static void find_lines(lua_State *L, void *arg)
{
    struct lines *lines = arg;
    lua_call(L, 0, 1);
    lua_pushlstring(L, lines->source->text.data, lines->source->text.len);
    lua_call(L, 1, 2);
    lines->compiles = lua_istable(L, -2);
    lines->last = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    for (unsigned i = 0; lines->compiles && i < lines->source->count; i++)
        find_line(L, &lines->source->list[i], lines->last);
}

/* In source->text. NULL, or why there are none: then nothing is changed. */
static const char *find_places(struct breakpoint_source *source)
{
    struct err err;
    struct lines lines = {.source = source};
    if (own_script_run("share/lines.lua", find_lines, &lines, &err) != 0)
        return "out of memory";
    return lines.compiles ? NULL : "this file does not compile";
}

static const char not_readable[] = "this file cannot be read where luafn runs";

static void verify_none(struct breakpoint_source *source, const char *why)
{
    for (unsigned i = 0; i < source->count; i++) {
        struct breakpoint *b = &source->list[i];
        b->verified = false;
        b->line = b->asked;
        b->message = b->wrong != NULL ? b->wrong : why;
    }
}

static void verify(struct breakpoint_source *source)
{
    struct err err;
    const char *why =
        script_read(source->path, &source->text, &err) != 0 ? not_readable : find_places(source);
    if (why != NULL)
        verify_none(source, why);
}

/* Has the file another text than it had? Then that is its text now; *there: it is there. */
static bool has_changed(struct breakpoint_source *source, bool *there)
{
    struct buf text = BUF_INIT;
    struct err err;
    *there = script_read(source->path, &text, &err) == 0;
    bool same = str_eq(buf_str(&text), buf_str(&source->text));
    if (same) {
        buf_free(&text);
        return false;
    }
    buf_free(&source->text);
    source->text = text;
    return true;
}

/* ---- what a client asks for ---- */

static const char *member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL && *text != '\0' ? text : NULL;
}

/* "5", "== 5", ">= 5", "> 5", "% 5" */
static bool read_hits(const char *text, struct breakpoint *b)
{
    struct str s = str_trim(str_from(text));
    static const struct {
        struct str sign;
        enum hits rule;
    } signs[] = {{{"==", 2}, HITS_IS},   {{"=", 1}, HITS_IS},    {{">=", 2}, HITS_FROM},
                 {{">", 1}, HITS_ABOVE}, {{"%", 1}, HITS_EVERY}, {{"", 0}, HITS_IS}};
    for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
        if (!str_starts_with(s, signs[i].sign))
            continue;
        b->rule = signs[i].rule;
        return str_to_u64(str_trim(str_skip(s, signs[i].sign.len)), UINT32_MAX, &b->count) == 0 &&
               b->count > 0;
    }
    return false;
}

static bool copy(const char *text, char **out)
{
    *out = text != NULL ? strdup(text) : NULL;
    return text == NULL || *out != NULL;
}

static int read_one(struct breakpoints *all, const json_t *wanted, struct breakpoint *b)
{
    const char *hits = member(wanted, "hitCondition");
    json_int_t line = json_integer_value(json_object_get(wanted, "line"));
    b->id = ++all->newest;
    b->asked = line > 0 && line < LIMIT_SCRIPT_BYTES ? (int)line : 1;
    if (hits != NULL && !read_hits(hits, b))
        b->wrong = "a hit condition is N, == N, >= N, > N or % N";
    return copy(member(wanted, "condition"), &b->condition) &&
                   copy(member(wanted, "logMessage"), &b->log)
               ? 0
               : -ENOMEM;
}

static int read_all(struct breakpoints *all, struct breakpoint_source *source, const json_t *wanted)
{
    const json_t *one;
    size_t i, count = json_array_size(wanted);
    int rc = 0;
    source->list = calloc(count + 1, sizeof(*source->list));
    if (source->list == NULL)
        return -ENOMEM;
    json_array_foreach(wanted, i, one)
    {
        source->count++;
        all->count++;
        if (rc == 0)
            rc = read_one(all, one, &source->list[i]);
    }
    return rc;
}

json_t *breakpoints_json(const struct breakpoint *b)
{
    json_t *one =
        json_pack("{s:i,s:b,s:i}", "id", (int)b->id, "verified", b->verified, "line", b->line);
    if (one != NULL && b->message != NULL)
        (void)json_object_set_new(one, "message", json_string(b->message));
    return one;
}

static int tell(const struct breakpoint_source *source, json_t *answer)
{
    for (unsigned i = 0; i < source->count; i++) {
        json_t *one = breakpoints_json(&source->list[i]);
        if (one == NULL || json_array_append_new(answer, one) != 0)
            return -ENOMEM;
    }
    return 0;
}

static void note_lines(struct breakpoints *all)
{
    memset(all->lines, 0, sizeof(all->lines));
    for (const struct breakpoint_source *source = all->sources; source != NULL;
         source = source->next) {
        for (unsigned i = 0; i < source->count; i++) {
            unsigned bit = (unsigned)source->list[i].line % 1024;
            if (source->list[i].wrong == NULL)
                all->lines[bit / 64] |= (uint64_t)1 << bit % 64;
        }
    }
}

int breakpoints_set(struct breakpoints *all, const char *name, const char *path,
                    const json_t *wanted, json_t *answer, const char **why)
{
    drop_source(all, name);
    note_lines(all);
    if (json_array_size(wanted) == 0)
        return 0;
    if (all->count + json_array_size(wanted) > LIMIT_DEBUG_BREAKPOINTS) {
        *why = "too many breakpoints";
        return -EINVAL;
    }
    struct breakpoint_source *source = calloc(1, sizeof(*source));
    if (source == NULL)
        return -ENOMEM;
    source->name = strdup(name);
    source->path = strdup(path);
    int rc = source->name != NULL && source->path != NULL ? read_all(all, source, wanted) : -ENOMEM;
    if (rc == 0)
        verify(source);
    if (rc == 0)
        rc = tell(source, answer);
    if (rc != 0) {
        free_source(all, source);
        return rc;
    }
    source->next = all->sources;
    all->sources = source;
    note_lines(all);
    return 0;
}

static bool verify_again(struct breakpoint_source *source,
                         void (*changed)(void *arg, const struct breakpoint *breakpoint,
                                         const char *name),
                         void *arg)
{
    bool there;
    struct breakpoint *before = calloc(source->count, sizeof(*before));
    if (before == NULL || !has_changed(source, &there)) {
        free(before);
        return false;
    }
    memcpy(before, source->list, source->count * sizeof(*before));
    if (there)
        (void)find_places(source);
    else
        verify_none(source, not_readable);
    for (unsigned i = 0; i < source->count; i++) {
        const struct breakpoint *now = &source->list[i];
        if (now->line != before[i].line || now->message != before[i].message)
            changed(arg, now, source->name);
    }
    free(before);
    return true;
}

void breakpoints_verify(struct breakpoints *all,
                        void (*changed)(void *arg, const struct breakpoint *breakpoint,
                                        const char *name),
                        void *arg)
{
    bool any = false;
    for (struct breakpoint_source *source = all->sources; source != NULL; source = source->next)
        any = verify_again(source, changed, arg) || any;
    if (any)
        note_lines(all);
}
