/* What fetch tells who listens (lua/told.h): request, answer, the pieces of a stream. */
#pragma once

#include "bindings/fetch_options.h"
#include "lua/told.h"

unsigned lx_fetch_told_begin(lua_State *L, struct hook *hook, const struct fetch_request *fetch);
/* `body` with ptr NULL: it is a stream's. */
void fetch_told_answer(struct hook *hook, unsigned call, long status, struct str url,
                       const struct header *headers, unsigned count, struct str body);
void fetch_told_error(struct hook *hook, unsigned call, const char *text);
