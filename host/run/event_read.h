/* What a handler asks of its event: the request's JSON, form, cookies and query as tables.
 *
 * What cannot be read raises an answer (see outcome_take_raised): 400 with `invalid_json` or
 * `invalid_form`, 413 `too_large` past LIMIT_FORM_FIELDS, 415 `unsupported_media_type` for a body
 * of another kind. All raise an error where the request that runs has been answered, and those of
 * the body where it comes as a stream. */
#pragma once

#include <lua.h>

struct invocation;
struct multipart_reader;

/* The request that runs. Raises where it has been answered. */
struct invocation *lx_event_invocation(lua_State *L);
/* Raises {"error":code,"error_description":...} of the text on top, as an answer. */
int lx_event_refuse(lua_State *L, int status, const char *code);
/* 415: `wanted` says what the body should be. */
int lx_event_refuse_type(lua_State *L, const char *wanted);

/* What is wrong with a form: the reader's fault, or that it has no end. */
int lx_event_refuse_form(lua_State *L, const struct multipart_reader *reader);

/* event:json() -> value */
int l_event_json(lua_State *L);
/* event:form([{ lists = true }]) -> name to text, or to { filename, type, size, data }; of several
 * the first, or with `lists` all, in lists */
int l_event_form(lua_State *L);
/* event:cookies() -> name to text; of several the first (RFC 6265 section 5.4: the nearest path) */
int l_event_cookies(lua_State *L);
/* event:query() -> name to text, or to a list of those where it is repeated; where the function has
 * a `query`, as that has read it */
int l_event_query(lua_State *L);
