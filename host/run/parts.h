/* event:parts(): the parts of a form as the handler asks for them, each read in pieces.
 *
 * Works on the pieces of event:chunks(), so all that is said there holds: with `stream_body` the
 * client waits while nobody asks, and a form of any size takes no more memory than a piece of it.
 * What is no form raises an answer, as event:form does; a body that breaks off raises an error. */
#pragma once

#include <lua.h>

/* event:parts() -> iterator of { name =, filename =, type =, chunks = a method }. A part that was
 * not read is passed over by the next one; it cannot be read after that. */
int l_parts(lua_State *L);
