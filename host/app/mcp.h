/* Functions as tools for agents: the Model Context Protocol over one address, by POST.
 *
 * Each message is whole and stands by itself: there are no sessions, in neither of the protocol's
 * two eras (2026-07-28, where each request names its version; 2025-11-25 and before, with
 * `initialize`). What a caller may do is judged as everywhere: a tool's call by its function's
 * policy, all else by what its tools have in common (the gate). 401, 403, 413, 429 and 503 are
 * answers of HTTP; what becomes of a handler is a result, with `isError` where it failed. */
#pragma once

#include "app/deployment.h"
#include "http/exchange.h"

/* Where the tools of `dev` itself are. */
#define MCP_OWN_PATH STR("/_luafn/dev/mcp")

/* Whose tools: those of the deployment's functions, at `mcp.path`, or those that `dev` brings
 * itself (function_spec.is_dev), whose callers have the token of that very `dev`. */
enum mcp_place { MCP_FUNCTIONS, MCP_OWN };

/* A message that is to be answered; in the exchange's arena. */
struct mcp_message;

/* Do tools live at this path? */
static inline bool mcp_is_at(const struct deployment *d, struct str path)
{
    return d->serves_tools && str_eq(path, d->config->mcp.path);
}

/* Answers what needs no body: methods but POST, origins and types of content that are not wanted.
 * True when it did. */
bool mcp_refuses(const struct deployment *d, struct exchange *ex);

/* Of MCP_OWN: answers 401 to who does not bring this token. True when it did. */
bool mcp_refuses_token(struct str token, struct exchange *ex);

/* A page may read of an answer what its client goes by. */
void mcp_expose_headers(struct exchange *ex);

/* What everybody needs who is not just calling a tool: a token of an issuer of one of the tools,
 * with the scopes that all of them want; nothing, where one is open and no token came. Borrows from
 * the deployment. False: out of memory. */
bool mcp_gate(const struct deployment *d, enum mcp_place place, struct exchange *ex, double now,
              struct policy *gate);

/* May somebody with this request's headers send a body at all? */
bool mcp_listens_to(const struct policy *gate, struct exchange *ex, double now);

/* Reads the request's body. NULL: it was answered. */
struct mcp_message *mcp_read(const struct deployment *d, enum mcp_place place, struct exchange *ex);

/* The function whose tool is called; NULL: none is. */
struct function *mcp_target(const struct mcp_message *message);

/* Answers a message that calls no tool; its sender has passed the gate. */
void mcp_answer(const struct deployment *d, struct mcp_message *message, double now);

/* The refusal in ex->res also names the scopes that the caller has and that tools here want:
 * clients ask for what a challenge names, and for nothing else. Where there is no memory it stays
 * as it is. */
void mcp_widen_challenge(const struct deployment *d, struct exchange *ex, double now);

/* Of a call that was let in: the exchange for its handler, whose answer becomes the message's; one
 * reference, the caller's. NULL: it was answered, as its arguments do not fit. */
struct exchange *mcp_begin(struct mcp_message *message, const struct function_spec *spec);
struct tool_call *mcp_tool(struct mcp_message *message);
