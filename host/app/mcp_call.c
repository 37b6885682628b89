/* A handler runs for a tool's call: it has an exchange of its own, whose answer becomes the
 * message's. So all that holds for functions holds for tools. */
#include <errno.h>

#include "app/mcp_internal.h"
#include "base/limits.h"
#include "json/strict.h"

/* ---- progress ---- */

static bool takes_events(const struct exchange *ex)
{
    const struct headers *headers = &ex->req.headers;
    for (uint32_t i = 0; i < headers->len; i++) {
        if (str_eq(headers->items[i].name, STR("accept")) &&
            str_find_text(headers->items[i].value, STR("text/event-stream")) <
                headers->items[i].value.len)
            return true;
    }
    return false;
}

/* The first progress is the moment to answer in pieces; a proxy is not to collect them. */
static bool begin_stream(struct mcp_message *message)
{
    static const struct header fields[] = {
        {{"Content-Type", 12}, {"text/event-stream", 17}},
        {{"Cache-Control", 13}, {"no-store", 8}},
        {{"X-Accel-Buffering", 17}, {"no", 2}},
        {{"X-Content-Type-Options", 22}, {"nosniff", 7}},
    };
    struct exchange *ex = message->ex;
    ex->res = (struct response){.status = 200};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (headers_add(&ex->res.headers, &ex->arena, fields[i].name, fields[i].value) != 0)
            return false;
    }
    ex->res.streamed = true;
    ex->generation = message->inner->generation;
    message->streams = true;
    exchange_answer(ex);
    return true;
}

static void add_number(struct buf *out, const char *name, double value)
{
    buf_printf(out, ",\"%s\":", name);
    buf_add_float(out, value);
}

static bool tell_progress(struct tool_call *tool, const struct tool_progress *progress)
{
    struct mcp_message *message = container_of(tool, struct mcp_message, tool);
    struct exchange *ex = message->ex;
    if (message->progress_token.len == 0 || message->inner == NULL || ex->conn == NULL ||
        !(progress->done > message->progress) || !takes_events(ex))
        return false;
    if (message->streams && exchange_stream_write(ex, STR("")) > LIMIT_STREAM_BYTES)
        return false; /* it does not read: the next one tells more */
    if (!message->streams && !begin_stream(message))
        return false;
    message->progress = progress->done;
    struct buf event = BUF_INIT;
    buf_add_str(&event, STR("event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":"
                            "\"notifications/progress\",\"params\":{\"progressToken\":"));
    buf_add_str(&event, message->progress_token);
    add_number(&event, "progress", progress->done);
    if (progress->has_total)
        add_number(&event, "total", progress->total);
    if (progress->text.ptr != NULL) {
        buf_add_str(&event, STR(",\"message\":"));
        buf_add_json(&event, progress->text);
    }
    buf_add_str(&event, STR("}}\n\n"));
    bool told = !buf_failed(&event);
    if (told)
        exchange_stream_write(ex, buf_str(&event));
    buf_free(&event);
    return told;
}

/* ---- the end ---- */

/* The handler did not run: HTTP says why, to this message as to any request. */
static void pass_on(struct mcp_message *message, const struct response *from)
{
    struct exchange *ex = message->ex;
    struct response *to = &ex->res;
    *to = (struct response){.status = from->status, .close = from->close};
    to->body = arena_copy(&ex->arena, from->body);
    for (uint32_t i = 0; i < from->headers.len; i++) {
        struct str name = arena_copy(&ex->arena, from->headers.items[i].name);
        struct str value = arena_copy(&ex->arena, from->headers.items[i].value);
        if (name.ptr == NULL || value.ptr == NULL ||
            headers_add(&to->headers, &ex->arena, name, value) != 0)
            to->status = 500;
    }
    exchange_answer(ex);
}

/* What a program can read of an answer: of the host's own errors the message alone. */
static struct str text_of(const json_t *error, const struct response *res)
{
    const json_t *text = json_object_get(error, "errorMessage");
    return json_is_string(text) ? (struct str){json_string_value(text), json_string_length(text)}
                                : res->body;
}

/* An answer of HTTP as a result: what the handler returned as one, or raised. */
static void answer_with(struct mcp_message *message, const struct response *res)
{
    struct buf members = BUF_INIT;
    json_t *error = res->status >= 500 ? strict_json_load(res->body, NULL) : NULL;
    mcp_add_text(&members, text_of(error, res), res->status >= 400);
    json_decref(error);
    mcp_answer_result(message, &members);
}

static void on_answer(struct exchange *inner)
{
    struct mcp_message *message = inner->conn;
    struct exchange *ex = message->ex;
    message->inner = NULL;
    ex->on_gone = NULL;
    ex->owner = NULL;
    ex->generation = inner->generation;
    ex->error_code = inner->error_code;
    if (!message->tool.began) {
        pass_on(message, &inner->res);
    } else if (message->result.ptr == NULL) {
        answer_with(message, &inner->res);
    } else {
        struct buf members = BUF_INIT;
        buf_add_str(&members, message->result);
        mcp_answer_result(message, &members);
    }
}

/* Whoever leaves wants no result: the handler ends as any whose client is gone. */
static void on_gone(struct exchange *ex)
{
    struct mcp_message *message = ex->owner;
    struct exchange *inner = message->inner;
    message->inner = NULL;
    ex->owner = NULL;
    if (inner != NULL)
        exchange_detach(inner);
}

static void release(void *ex)
{
    exchange_release(ex);
}

/* Who calls can mend them: no fault of the protocol, but a result. */
static bool check_arguments(struct mcp_message *message, const struct tool_spec *tool)
{
    struct schema_errors errors;
    struct buf members = BUF_INIT;
    int rc =
        schema_check(tool->input, message->arguments, SCHEMA_JSON, &message->ex->arena, &errors);
    if (rc == 0)
        return true;
    message->ex->error_code = rc == -ENOMEM ? "out_of_memory" : "invalid_input";
    if (rc == -ENOMEM)
        members.failed = true;
    else
        mcp_add_misfit(&members, "The arguments do not fit the tool's input schema:", &errors);
    mcp_answer_result(message, &members);
    return false;
}

struct exchange *mcp_begin(struct mcp_message *message, const struct function_spec *spec)
{
    static const struct exchange_sink sink = {.answer = on_answer};
    struct exchange *ex = message->ex;
    if (spec->tool == NULL) { /* it was one a moment ago */
        mcp_answer_error(message, 200, MCP_INVALID_PARAMS, STR("There is no such tool any more"),
                         STR(""));
        return NULL;
    }
    if (!check_arguments(message, spec->tool))
        return NULL;
    struct exchange *inner = exchange_new(&sink, message);
    if (inner == NULL) {
        exchange_answer_no_memory(ex);
        return NULL;
    }
    exchange_hold(ex); /* its arena holds the request's texts, and the message */
    if (arena_defer(&inner->arena, release, ex) != 0) {
        exchange_release(ex);
        exchange_release(inner);
        exchange_answer_no_memory(ex);
        return NULL;
    }
    inner->req = ex->req;
    inner->function = ex->function;
    inner->started_ns = ex->started_ns;
    inner->traceparent = ex->traceparent;
    inner->sub_hash = ex->sub_hash;
    inner->hook = ex->hook; /* which lives as long as the request */
    memcpy(inner->request_id, ex->request_id, sizeof(inner->request_id));
    inner->state = EXCHANGE_WORKING;
    message->inner = inner;
    message->progress = -1; /* the first one may be 0 */
    message->tool.read_result = mcp_read_result;
    message->tool.progress = tell_progress;
    ex->on_gone = on_gone;
    ex->owner = message;
    ex->ends_with_peer = true;
    return inner;
}

struct tool_call *mcp_tool(struct mcp_message *message)
{
    return &message->tool;
}
