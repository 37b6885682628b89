/* For the files of mcp*.c. */
#pragma once

#include <jansson.h>

#include "app/mcp.h"
#include "run/tool_call.h"
#include "schema/schema.h"

/* Errors of JSON-RPC, and of the protocol. */
enum {
    MCP_PARSE_ERROR = -32700,
    MCP_INVALID_REQUEST = -32600,
    MCP_UNKNOWN_METHOD = -32601,
    MCP_INVALID_PARAMS = -32602,
    MCP_HEADER_MISMATCH = -32020,
    MCP_UNKNOWN_VERSION = -32022
};

enum mcp_method { MCP_NOTIFICATION, MCP_INITIALIZE, MCP_PING, MCP_DISCOVER, MCP_LIST, MCP_CALL };

#define MCP_META "io.modelcontextprotocol/"

struct mcp_message {
    struct exchange *ex; /* borrowed: the message is in its arena */
    enum mcp_place place;
    enum mcp_method method;
    bool modern;               /* of the newer era */
    struct str id;             /* as it came: JSON */
    struct str version;        /* of an initialize: the one that is answered */
    struct str server;         /* {"name":...,"version":...} */
    struct function *function; /* of a call; borrowed, until it was judged */
    struct tool_call tool;
    const json_t *arguments; /* borrowed from the body's tree, which ends with the arena */

    /* While its handler runs: */
    struct exchange *inner;    /* borrowed: that of the handler; NULL: it has answered */
    struct str progress_token; /* JSON; empty: nobody wants to know */
    double progress;           /* the last one that was told */
    bool streams;              /* some was: the answer is a stream of events */
    struct str result;         /* members of the result, by mcp_result.c; empty: none yet */
};

/* The versions that a message of either era may name, the newest first; NULL at the end. */
extern const char *const mcp_modern_versions[];
extern const char *const mcp_legacy_versions[];

/* What the server at that place says of itself. */
const struct mcp_spec *mcp_spec_of(const struct deployment *d, enum mcp_place place);

/* Is the function one of the place's tools? */
static inline bool mcp_has(enum mcp_place place, const struct function_spec *spec)
{
    return spec->tool != NULL && spec->is_dev == (place == MCP_OWN);
}

/* Each answers. `data` (JSON) may be empty. */
void mcp_answer_error(struct mcp_message *message, int status, int code, struct str text,
                      struct str data);
/* `members`: of the result, without its braces; taken over and freed. */
void mcp_answer_result(struct mcp_message *message, struct buf *members);
void mcp_answer_nothing(struct exchange *ex); /* 202 */

/* Appends members of a result: a text, or an error's. */
void mcp_add_text(struct buf *members, struct str text, bool is_error);

/* What does not fit, in words: an error's text. */
void mcp_add_misfit(struct buf *members, const char *what, const struct schema_errors *errors);

/* mcp_result.c: what a handler returned, as members in message->result. */
void mcp_read_result(lua_State *L, int index, struct tool_call *tool);
