/* What scripts ask of the host is told to who listens (journal/hook.h), or, where a recorded
 * request runs again, had from him.
 *
 *     struct hook *hook = told_hook(L);
 *     if (hook != NULL) {
 *         struct buf *text = hook_text(hook);
 *         ...                                      the arguments as JSON, by redact_add_text
 *         call = lx_told_begin(L, hook, "kv.get");
 *         if (hook_replays(hook))
 *             return await_recorded(L, op, call);  its end has lx_told_recorded
 *     }
 *     ...                                          what was asked for
 *     if (hook != NULL)
 *         told_end(hook, call);                    with the answer in hook_text(hook)
 *
 * Where the run is not the recorded one any more its budget ends, and these raise. */
#pragma once

#include <lua.h>

#include "journal/hook.h"
#include "lua/vm.h"

/* Who listens to what runs in this state now, or NULL. */
static inline struct hook *told_hook(lua_State *L)
{
    return vm_of(L)->hook;
}

/* A call begins, with what is in the scratch buffer as its arguments. */
unsigned lx_told_begin(lua_State *L, struct hook *hook, const char *name);
/* The recorded answer of a call. */
const json_t *lx_told_recorded(lua_State *L, struct hook *hook, unsigned call);
/* A text of the record, as redact_add_text wrote it, into `out`. False: it is none. */
bool told_read_text(const json_t *value, struct buf *out);
/* It ends, with what is in the scratch buffer. */
void told_end(struct hook *hook, unsigned call);

/* A call that asks for nothing and was given a text; without one (ptr NULL) `otherwise`, which is
 * JSON. */
void lx_told_text(lua_State *L, struct hook *hook, const char *name, struct str text,
                  struct str otherwise);

/* A number that the host gives without any waiting, as the time: called with who listens. */
double lx_told_number(lua_State *L, struct hook *hook, const char *name, double value);

/* The time that scripts see. */
double lx_told_now(lua_State *L);

/* A variable that was read: its name, and a hash of its value (NULL: it has none). */
void lx_told_env(lua_State *L, struct hook *hook, const char *name, const char *value);

/* The same for random bytes, which are written down as Base64. */
void lx_told_bytes(lua_State *L, struct hook *hook, const char *name, char *bytes, size_t len);
