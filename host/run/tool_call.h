/* A call of a function as a tool: what its handler gets beside what every request brings, and where
 * its result and its progress go. Who offers tools is app/mcp.c. */
#pragma once

#include <lua.h>

#include "base/str.h"

struct tool_progress {
    double done, total;
    bool has_total;
    struct str text; /* ptr NULL: none */
};

/* In the arena of the exchange that the handler answers. */
struct tool_call {
    struct str name;
    struct str arguments; /* the text of a JSON object */
    bool began;           /* the handler was called: what is answered is its outcome */
    /* Reads what the handler returned, at `index`. In the coroutine: may raise. [-0, +0] */
    void (*read_result)(lua_State *L, int index, struct tool_call *tool);
    /* Sends it on; false: nobody asked for it, or it cannot be taken now. Must not call back. */
    bool (*progress)(struct tool_call *tool, const struct tool_progress *progress);
};

/* event.progress(done [, total [, text]]) -> boolean: does somebody see it? */
int l_tool_call_progress(lua_State *L);
