/* Answers of JSON-RPC, and those that need no handler. */
#include "app/mcp_internal.h"

const char *const mcp_modern_versions[] = {"2026-07-28", NULL};
const char *const mcp_legacy_versions[] = {"2025-11-25", "2025-06-18", "2025-03-26", NULL};

#define OWN_INSTRUCTIONS                                                                           \
    "What a luafn host in development serves, and what became of it. After a change to a script: " \
    "`generations` tells whether it is live, `faults` what does not load and what failed last, "   \
    "`invoke` calls a function and gives its answer, logs and fault, `request` one request whole."

/* ---- the frame ---- */

/* Sends the JSON in `body`, which is freed: whole, or as the last event of a stream. */
static void send_json(struct mcp_message *message, int status, struct buf *body)
{
    struct exchange *ex = message->ex;
    if (message->streams) {
        buf_add_str(body, STR("\n\n"));
        if (buf_failed(body)) {
            exchange_stream_abort(ex);
        } else {
            exchange_stream_write(ex, buf_str(body));
            exchange_stream_end(ex);
        }
        buf_free(body);
        return;
    }
    struct str copy =
        buf_failed(body) ? (struct str){NULL, 0} : arena_copy(&ex->arena, buf_str(body));
    buf_free(body);
    ex->res = (struct response){.status = 500};
    if (copy.ptr == NULL ||
        response_set_body(&ex->res, &ex->arena, status, STR("application/json"), copy) != 0 ||
        headers_add(&ex->res.headers, &ex->arena, STR("Cache-Control"), STR("no-store")) != 0 ||
        headers_add(&ex->res.headers, &ex->arena, STR("X-Content-Type-Options"), STR("nosniff")) !=
            0)
        ex->res = (struct response){.status = 500};
    exchange_answer(ex);
}

static struct buf begin(const struct mcp_message *message)
{
    struct buf body = BUF_INIT;
    if (message->streams)
        buf_add_str(&body, STR("event: message\ndata: "));
    buf_add_str(&body, STR("{\"jsonrpc\":\"2.0\",\"id\":"));
    buf_add_str(&body, message->id);
    return body;
}

void mcp_answer_error(struct mcp_message *message, int status, int code, struct str text,
                      struct str data)
{
    struct buf body = begin(message);
    buf_printf(&body, ",\"error\":{\"code\":%d,\"message\":", code);
    buf_add_json(&body, text);
    if (data.len > 0)
        buf_printf(&body, ",\"data\":%.*s", STR_ARG(data));
    buf_add_str(&body, STR("}}"));
    message->ex->error_code = "tool_protocol";
    send_json(message, status, &body);
}

void mcp_answer_result(struct mcp_message *message, struct buf *members)
{
    struct buf body = begin(message);
    buf_add_str(&body, STR(",\"result\":{"));
    buf_add_str(&body, buf_str(members));
    if (message->modern) {
        buf_printf(&body, "%s\"resultType\":\"complete\",\"_meta\":{\"" MCP_META "serverInfo\":",
                   members->len > 0 ? "," : "");
        buf_add_str(&body, message->server);
        buf_add_char(&body, '}');
    }
    buf_add_str(&body, STR("}}"));
    body.failed = body.failed || buf_failed(members);
    buf_free(members);
    send_json(message, 200, &body);
}

void mcp_answer_nothing(struct exchange *ex)
{
    ex->res = (struct response){.status = 202};
    exchange_answer(ex);
}

void mcp_add_text(struct buf *members, struct str text, bool is_error)
{
    buf_add_str(members, STR("\"content\":[{\"type\":\"text\",\"text\":"));
    buf_add_json(members, text);
    buf_add_str(members, is_error ? STR("}],\"isError\":true") : STR("}]"));
}

void mcp_add_misfit(struct buf *members, const char *what, const struct schema_errors *errors)
{
    struct buf text = BUF_INIT;
    buf_add_str(&text, str_from(what));
    for (unsigned i = 0; i < errors->count; i++)
        buf_printf(&text, "\n%.*s%s%.*s", STR_ARG(errors->list[i].path),
                   errors->list[i].path.len > 0 ? ": " : "", STR_ARG(errors->list[i].message));
    mcp_add_text(members, buf_str(&text), true);
    members->failed = members->failed || buf_failed(&text);
    buf_free(&text);
}

/* ---- what is asked of the server itself ---- */

const struct mcp_spec *mcp_spec_of(const struct deployment *d, enum mcp_place place)
{
    static const struct mcp_spec own = {
        .name = {"luafn-dev", 9},
        .version = {LUAFN_VERSION, sizeof(LUAFN_VERSION) - 1},
        .instructions = {OWN_INSTRUCTIONS, sizeof(OWN_INSTRUCTIONS) - 1},
        .list_all = true};
    return place == MCP_OWN ? &own : &d->config->mcp;
}

static void add_instructions(struct buf *out, const struct mcp_spec *spec)
{
    if (spec->instructions.len == 0)
        return;
    buf_add_str(out, STR(",\"instructions\":"));
    buf_add_json(out, spec->instructions);
}

static void add_versions(struct buf *out, const char *const *versions)
{
    for (; *versions != NULL; versions++)
        buf_printf(out, "%s\"%s\"", out->data[out->len - 1] == '[' ? "" : ",", *versions);
}

/* Whose tools these are depends on who asks, and on what was loaded last: nobody keeps them. */
static const char uncached[] = ",\"ttlMs\":0,\"cacheScope\":\"private\"";

static void add_discovery(struct buf *out, const struct mcp_spec *spec)
{
    buf_add_str(out, STR("\"supportedVersions\":["));
    if (!buf_failed(out))
        add_versions(out, mcp_modern_versions);
    if (!buf_failed(out))
        add_versions(out, mcp_legacy_versions);
    buf_add_str(out, STR("],\"capabilities\":{\"tools\":{}}"));
    add_instructions(out, spec);
    buf_add_str(out, str_from(uncached));
}

static void add_introduction(struct buf *out, const struct mcp_message *message,
                             const struct mcp_spec *spec)
{
    buf_printf(out, "\"protocolVersion\":\"%.*s\",\"capabilities\":{\"tools\":{}},\"serverInfo\":",
               STR_ARG(message->version));
    buf_add_str(out, message->server);
    add_instructions(out, spec);
}

static void add_tools(struct buf *out, const struct deployment *d,
                      const struct mcp_message *message, double now)
{
    unsigned count = 0;
    buf_add_str(out, STR("\"tools\":["));
    for (unsigned i = 0; i < d->function_count; i++) {
        const struct function_spec *spec = d->functions[i]->spec;
        if (!mcp_has(message->place, spec) || !(mcp_spec_of(d, message->place)->list_all ||
                                                policy_may(&spec->policy, message->ex, now)))
            continue;
        buf_add_str(out, count++ > 0 ? STR(",") : STR(""));
        buf_add_str(out, spec->tool->text);
    }
    buf_add_char(out, ']');
    if (message->modern)
        buf_add_str(out, str_from(uncached));
}

void mcp_answer(const struct deployment *d, struct mcp_message *message, double now)
{
    struct buf members = BUF_INIT;
    switch (message->method) {
    case MCP_NOTIFICATION:
        mcp_answer_nothing(message->ex);
        return;
    case MCP_DISCOVER:
        add_discovery(&members, mcp_spec_of(d, message->place));
        break;
    case MCP_INITIALIZE:
        add_introduction(&members, message, mcp_spec_of(d, message->place));
        break;
    case MCP_LIST:
        add_tools(&members, d, message, now);
        break;
    default: /* ping */
        break;
    }
    mcp_answer_result(message, &members);
}
