/* The one place where an outcome becomes a response: a handler's result, its error, the end of its
 * budget, or no run at all.
 *
 * Result tables follow Netlify's (docs/scripting.md has the table); a result that cannot be sent is
 * a 500 whose text says why. */
#pragma once

#include <lua.h>

#include "http/exchange.h"
#include "lua/budget.h"
#include "options/spec.h"

/* Reads the handler's result at `index` into ex->res; a body that is a function makes it streamed.
 * Runs in the coroutine: raises when out of
 * memory. [-0, +0] */
void outcome_read_result(lua_State *L, int index, struct exchange *ex);

/* Was what the handler raised an answer, a table with a numeric statusCode? Then it is read as a
 * result, and true: nothing failed. Not one whose body is a function, which nobody is left to run,
 * nor where a stream has begun. `L` and `co` as for outcome_set_error. */
bool outcome_take_raised(lua_State *L, lua_State *co, struct exchange *ex);

/* Calls `fn` with `arg` and a copy of the value on top of `co`, protected; an error is dropped. */
void outcome_call_with_raised(lua_State *L, lua_State *co, lua_CFunction fn, void *arg);

/* Logs what went wrong in the exchange's run; `more`, if there is any, under that key. */
void outcome_log(const struct exchange *ex, const char *message, struct str error, const char *key,
                 struct str more);

/* The setters below leave the response of a stream that has begun as it is. */

/* The handler raised: 502 with errorType and errorMessage, and in `dev` a trace. `co` is the ended
 * coroutine, its error on top; `L` is the state's main thread, for protected work. Logs the error
 * with its position. */
void outcome_set_error(lua_State *L, lua_State *co, bool dev, struct exchange *ex);

/* "scripts/me.lua:3: boom" -> "boom": positions belong to the log, also those of errors that were
 * caught and put into others. `out` has room for the message; the result lies there. */
struct str outcome_without_positions(struct str message, char *out);

/* The budget ended: 504 for the wall clock, 500 for processor time and memory, 503 for a cancelled
 * run. Names limit and knob; in the log, and in `dev` in the answer, `place` (budget_place or
 * NULL).
 */
void outcome_set_limit(enum budget_end end, const struct function_spec *spec, const char *place,
                       bool dev, struct exchange *ex);

/* No run: 503 no_free_slot with Retry-After. */
void outcome_set_no_slot(const struct function_spec *spec, struct exchange *ex);

/* Its runs hung workers: 503 function_suspended. */
void outcome_set_suspended(struct exchange *ex);

/* It loaded while the request waited, and says itself who may call it: 503 loading. */
void outcome_set_loading(struct exchange *ex);

/* The function has never loaded: 500 with errorType LoadError; the reason in `dev` only. */
void outcome_set_not_loaded(const char *reason, bool dev, struct exchange *ex);
