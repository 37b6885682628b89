/* What scripts ask of the host is told to who listens (journal/hook.h).
 *
 *     struct hook *hook = told_hook(L);
 *     if (hook != NULL) {
 *         struct buf *text = hook_text(hook);
 *         ...                                      the arguments as JSON, by redact_add_text
 *         call = told_begin(L, hook, "kv.get");
 *     }
 *     ...                                          what was asked for
 *     if (hook != NULL)
 *         told_end(hook, call);                    with the answer in hook_text(hook)
 *
 * Nothing here raises. */
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
unsigned told_begin(lua_State *L, struct hook *hook, const char *name);
/* It ends, with what is in the scratch buffer. */
void told_end(struct hook *hook, unsigned call);

/* A number that the host gives without any waiting, as the time: called with who listens. */
double told_number(lua_State *L, struct hook *hook, const char *name, double value);

/* The time that scripts see. */
double told_now(lua_State *L);

/* A variable that was read: its name, and a hash of its value (NULL: it has none). */
void told_env(lua_State *L, struct hook *hook, const char *name, const char *value);

/* The same for random bytes, which are written down as Base64. */
void told_bytes(lua_State *L, struct hook *hook, const char *name, char *bytes, size_t len);
