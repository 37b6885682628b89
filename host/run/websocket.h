/* WebSockets: a result with a function `websocket`.
 *
 * The policy has been judged and the handler has run by then. The answer is the 101 (over HTTP/2 a
 * 200); then the function runs in the invocation's coroutine with `ws`, and when it ends so does
 * the connection: 1000, after an error or past a limit 1011. Processor time and `timeout` count
 * anew with each message that it takes, and do not count while it waits for one. Pings, pongs, the
 * closing handshake, the end of the token (1008) and a host or a generation that goes (1001) are
 * handled here. What a client has sent and nobody has taken counts to the function's memory. */
#pragma once

#include <lua.h>

struct invocation;
struct websocket;

/* In the coroutine, with the result at the top of the stack, its headers in inv->ex->res: answers
 * and runs the function, or leaves a refusal in ex->res. `return` it, as lua_callk. */
int lx_websocket_run(lua_State *L, struct invocation *inv);

/* Its clock, which is the invocation's timer (clock_ns), ticks. May end the invocation: the last
 * thing that is done. */
void websocket_tick(struct invocation *inv);

/* The invocation ends: says good-bye with this code, unless that was done. */
void websocket_end(struct invocation *inv, unsigned code);

/* Its host or generation goes: 1001, and no further message. The function is told at a later turn
 * of the loop. Harmless where there is no WebSocket. */
void websocket_go_away(struct invocation *inv);
