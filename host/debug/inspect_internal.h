/* What the parts of debug/inspect.h share. Functions that get a lua_State may raise in it: they run
 * below inspect_run(). */
#pragma once

#include "debug/inspect.h"

enum inspect_kind { REF_FRAME, REF_LOCALS, REF_UPVALUES, REF_EVENT, REF_TABLE };

struct inspect_ref {
    unsigned id;
    enum inspect_kind kind;
    unsigned frame; /* its place in `refs`: frames come first there */
    lua_State *co;  /* REF_FRAME */
    int level;      /* ... in it */
    int anchor;     /* REF_TABLE: in the registry */
};

/* What the environment of an expression knows of the frame. */
struct inspect_scope {
    struct inspect_place *place; /* NULL: it has ended; a function that it made may be called yet */
    struct inspect_ref frame;
};

/* What is asked: the light userdata that the functions get. */
struct inspect_asking {
    struct inspect_place *place;
    struct inspect_ref ref; /* a copy: they move */
    struct inspect_result *out;
    struct str text;
    const char *name, *filter;
    unsigned start, count;
    struct buf *log;
    bool is_value; /* the text must be an expression */
    bool holds;
    struct buf scratch; /* owned by inspect_run() */
};

/* Calls fn(arg) in the state of the task; false: `why` says what went wrong. */
bool inspect_protect(struct inspect_place *place, lua_CFunction fn, void *arg, char *why,
                     size_t size);
/* Calls fn(asking); where it fails there is no value, and asking->out says why. */
void inspect_run(struct inspect_asking *asking, lua_CFunction fn);
/* Pushes a struct inspect_scope of the frame, which inspect_run() ends. */
void inspect_push_scope(lua_State *L, const struct inspect_asking *asking);

/* The one of that number, or NULL. */
const struct inspect_ref *inspect_find(const struct inspect_place *place, unsigned id);
/* A frame; 0: the innermost. NULL: there is none of that number. */
const struct inspect_ref *inspect_find_frame(struct inspect_place *place, unsigned id);
/* A new one, good until the next; NULL: there is no room for more. */
struct inspect_ref *inspect_add_ref(struct inspect_place *place, enum inspect_kind kind,
                                    unsigned frame);
/* Is it the one that the line hook saw? */
bool inspect_is_innermost(const struct inspect_place *place, const struct inspect_ref *frame);

/* Pushes the value of a local variable, and says its name; NULL: there is none at that slot. */
const char *inspect_push_local(lua_State *L, const struct inspect_place *place,
                               const struct inspect_ref *frame, int slot);
/* Pushes the function that runs there. */
void inspect_push_function(lua_State *L, const struct inspect_ref *frame);

/* At most `max` bytes, not cut in the middle of a character. */
struct str inspect_cut(struct str s, size_t max);
/* A key as it is written in Lua: name, ["two words"], [1]. */
void inspect_add_key(lua_State *L, int index, const struct inspect_place *place, struct buf *out);
/* Of the value on top, which a table of a lazy or sealed kind is replaced in by its members. */
void inspect_add_value(lua_State *L, const struct inspect_place *place, struct buf *out);
/* The name of the key on top, which lives in the state until it is popped: [-0, +1] */
const char *inspect_push_name(lua_State *L, struct inspect_asking *asking);
/* {name, type, variablesReference, [text_key]: text} of the value on top, which is popped. `name`
 * NULL: it has none. */
json_t *inspect_pop_variable(lua_State *L, struct inspect_asking *asking, const char *name,
                             const char *text_key);
