/* Base64 (RFC 4648), strictly: only the canonical text of some bytes is accepted. */
#pragma once

#include <lua.h>
#include <stdbool.h>

#include "base/str.h"

/* Pushes the text; `url`: the URL alphabet without padding. Raises when out of memory. [-0, +1] */
void base64_push(lua_State *L, struct str bytes, bool url);
