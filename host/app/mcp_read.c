/* A body as a message: JSON-RPC, the era, the headers that must agree with it, the method. */
#include <errno.h>
#include <math.h>

#include "app/mcp_internal.h"
#include "base/base64.h"
#include "json/strict.h"

static struct str text_of(const json_t *value)
{
    return (struct str){json_string_value(value), json_string_length(value)};
}

static bool is_listed(const char *const *versions, struct str version)
{
    for (; *versions != NULL; versions++) {
        if (str_eq(str_from(*versions), version))
            return true;
    }
    return false;
}

/* Each of these answers and returns false. */
static bool refuse(struct mcp_message *message, int status, int code, const char *text)
{
    mcp_answer_error(message, status, code, str_from(text), STR(""));
    return false;
}

static bool refuse_memory(struct mcp_message *message)
{
    exchange_answer_no_memory(message->ex);
    return false;
}

/* ---- JSON-RPC ---- */

static void drop_tree(void *root)
{
    json_decref(root);
}

/* NULL: it was answered. What is JSON but none that is taken is no error of parsing. */
static const json_t *parse(struct mcp_message *message)
{
    struct exchange *ex = message->ex;
    const char *why = NULL;
    json_t *root =
        strict_json_load_wide(ex->req.body, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    int error = errno;
    if (root != NULL && arena_defer(&ex->arena, drop_tree, root) == 0)
        return root;
    json_decref(root);
    if (root != NULL || error == ENOMEM) {
        refuse_memory(message);
        return NULL;
    }
    json_t *any = strict_json_watched(ex->req.body, JSON_DECODE_ANY, NULL);
    refuse(message, 400, any != NULL ? MCP_INVALID_REQUEST : MCP_PARSE_ERROR,
           any != NULL ? "The body must be a JSON-RPC request, not nested too deep" : why);
    json_decref(any);
    return NULL;
}

/* Keeps it as the JSON that it was. */
static bool keep_json(struct mcp_message *message, const json_t *value, struct str *out)
{
    const size_t flags = JSON_COMPACT | JSON_ENCODE_ANY;
    size_t len = json_dumpb(value, NULL, 0, flags);
    char *text = len > 0 ? arena_alloc(&message->ex->arena, len) : NULL;
    if (text == NULL || json_dumpb(value, text, len, flags) != len)
        return refuse_memory(message);
    *out = (struct str){text, len};
    return true;
}

static bool is_name(const json_t *value)
{
    return json_is_string(value) || json_is_integer(value);
}

/* The other side's answer to a question that only servers of sessions ask. */
static bool take_response(struct mcp_message *message, const struct str *version)
{
    if (version != NULL && !is_listed(mcp_legacy_versions, *version))
        return refuse(message, 400, MCP_INVALID_REQUEST, "No answer is waited for here");
    mcp_answer_nothing(message->ex);
    return false;
}

static bool read_frame(struct mcp_message *message, const json_t *root, const struct str *version)
{
    const json_t *id = json_object_get(root, "id");
    if (json_is_array(root))
        return refuse(message, 400, MCP_INVALID_REQUEST, "Each message needs a request of its own");
    if (is_name(id) && !keep_json(message, id, &message->id))
        return false;
    if (!str_eq(text_of(json_object_get(root, "jsonrpc")), STR("2.0")))
        return refuse(message, 400, MCP_INVALID_REQUEST, "`jsonrpc` must be \"2.0\"");
    bool is_response =
        json_object_get(root, "method") == NULL &&
        (json_object_get(root, "result") != NULL) != (json_object_get(root, "error") != NULL);
    if (is_response)
        return take_response(message, version);
    if (!json_is_string(json_object_get(root, "method")))
        return refuse(message, 400, MCP_INVALID_REQUEST, "`method` must be a text");
    if (id != NULL && !is_name(id))
        return refuse(message, 400, MCP_INVALID_REQUEST, "`id` must be a text or a whole number");
    return true;
}

/* ---- headers that repeat the body ---- */

static const struct str *header_of(const struct mcp_message *message, const char *name)
{
    bool many;
    const struct str *value = headers_get_single(&message->ex->req.headers, str_from(name), &many);
    static const struct str several = {"", 0};
    return many ? &several : value;
}

/* "=?base64?...?=" or the text itself. False: that is no base64. */
static bool decode(struct arena *arena, struct str value, struct str *out)
{
    const struct str before = STR("=?base64?"), after = STR("?=");
    *out = value;
    if (value.len < before.len + after.len || !str_starts_with(value, before) ||
        !str_ends_with(value, after))
        return true;
    struct str text = {value.ptr + before.len, value.len - before.len - after.len};
    char *bytes = arena_alloc(arena, BASE64_DECODED_MAX(text.len));
    ptrdiff_t len =
        bytes != NULL && text.len % 4 == 0 ? base64_decode(text, BASE64_STANDARD, bytes, NULL) : -1;
    *out = (struct str){bytes, len >= 0 ? (size_t)len : 0};
    return len >= 0;
}

static bool mismatch(struct mcp_message *message, const char *name)
{
    struct str text =
        arena_printf(&message->ex->arena, "The header %s must say the same as the body", name);
    mcp_answer_error(message, 400, MCP_HEADER_MISMATCH, text, STR(""));
    return false;
}

static bool header_says(struct mcp_message *message, const char *name, struct str wanted)
{
    const struct str *value = header_of(message, name);
    struct str decoded;
    return value != NULL && decode(&message->ex->arena, str_trim(*value), &decoded) &&
           str_eq(decoded, wanted);
}

/* An argument as its header says it. */
static bool repeats(struct mcp_message *message, const json_t *argument, struct str value)
{
    struct str decoded;
    if (!decode(&message->ex->arena, str_trim(value), &decoded))
        return false;
    if (json_is_boolean(argument))
        return str_eq(decoded, json_is_true(argument) ? STR("true") : STR("false"));
    if (!json_is_number(argument))
        return json_is_string(argument) && str_eq(decoded, text_of(argument));
    char text[32], *end;
    if (decoded.len == 0 || decoded.len >= sizeof(text))
        return false;
    memcpy(text, decoded.ptr, decoded.len);
    text[decoded.len] = '\0';
    double number = strtod(text, &end);
    return *end == '\0' && (str_is_alnum(text[0]) || text[0] == '-') && isfinite(number) &&
           !(number < json_number_value(argument)) && !(number > json_number_value(argument));
}

static bool check_parameter(struct mcp_message *message, const struct tool_header *header)
{
    const json_t *argument = message->arguments;
    struct str name = arena_printf(&message->ex->arena, "mcp-param-%.*s", STR_ARG(header->name));
    if (name.ptr == NULL)
        return refuse_memory(message);
    for (unsigned i = 0; i < header->depth; i++)
        argument = json_object_get(argument, header->path[i]);
    const struct str *value = header_of(message, name.ptr);
    bool none = argument == NULL || json_is_null(argument);
    bool good = none ? value == NULL : value != NULL && repeats(message, argument, *value);
    return good || mismatch(message, name.ptr);
}

/* ---- methods ---- */

static bool refuse_method(struct mcp_message *message, struct str method)
{
    struct str text = arena_printf(&message->ex->arena, "There is no method %.*s here",
                                   method.len > 100 ? 100 : (int)method.len, method.ptr);
    mcp_answer_error(message, message->modern ? 404 : 200, MCP_UNKNOWN_METHOD, text, STR(""));
    return false;
}

static bool find_method(struct mcp_message *message, struct str name)
{
    static const struct {
        const char *name;
        enum mcp_method method;
        bool legacy, modern;
    } methods[] = {
        {"tools/call", MCP_CALL, true, true},
        {"tools/list", MCP_LIST, true, true},
        {"server/discover", MCP_DISCOVER, false, true},
        {"initialize", MCP_INITIALIZE, true, false},
        {"ping", MCP_PING, true, false},
    };
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (!str_eq(str_from(methods[i].name), name))
            continue;
        message->method = methods[i].method;
        return (message->modern ? methods[i].modern : methods[i].legacy) ||
               refuse_method(message, name);
    }
    return refuse_method(message, name);
}

static struct function *find_tool(const struct deployment *d, enum mcp_place place, struct str name)
{
    for (unsigned i = 0; i < d->function_count; i++) {
        const struct function_spec *spec = d->functions[i]->spec;
        if (mcp_has(place, spec) && str_eq(spec->tool->name, name))
            return d->functions[i];
    }
    return NULL;
}

static bool read_arguments(struct mcp_message *message, const json_t *params)
{
    json_t *arguments = json_object_get(params, "arguments");
    const json_t *token = json_object_get(json_object_get(params, "_meta"), "progressToken");
    if (arguments == NULL) {
        arguments = json_object();
        if (arguments == NULL || arena_defer(&message->ex->arena, drop_tree, arguments) != 0) {
            json_decref(arguments);
            return refuse_memory(message);
        }
    }
    if (!json_is_object(arguments))
        return refuse(message, 200, MCP_INVALID_PARAMS, "`arguments` must be an object");
    message->arguments = arguments;
    return keep_json(message, arguments, &message->tool.arguments) &&
           (!is_name(token) || keep_json(message, token, &message->progress_token));
}

static bool read_call(struct mcp_message *message, const struct deployment *d, const json_t *params)
{
    const json_t *name = json_object_get(params, "name");
    if (!json_is_string(name))
        return refuse(message, 200, MCP_INVALID_PARAMS, "`name` of the tool must be a text");
    message->function = find_tool(d, message->place, text_of(name));
    if (message->function == NULL) {
        struct str text =
            arena_printf(&message->ex->arena, "Unknown tool: %.*s",
                         (int)(json_string_length(name) > 100 ? 100 : json_string_length(name)),
                         json_string_value(name));
        mcp_answer_error(message, 200, MCP_INVALID_PARAMS, text, STR(""));
        return false;
    }
    message->tool.name = text_of(name);
    if (!read_arguments(message, params))
        return false;
    const struct tool_spec *tool = message->function->spec->tool;
    for (unsigned i = 0; message->modern && i < tool->header_count; i++) {
        if (!check_parameter(message, &tool->headers[i]))
            return false;
    }
    return true;
}

/* ---- the era ---- */

static bool refuse_version(struct mcp_message *message, struct str version)
{
    struct buf data = BUF_INIT;
    buf_add_str(&data, STR("{\"supported\":["));
    for (const char *const *v = mcp_modern_versions; *v != NULL; v++)
        buf_printf(&data, "\"%s\",", *v);
    for (const char *const *v = mcp_legacy_versions; *v != NULL; v++)
        buf_printf(&data, "%s\"%s\"", v == mcp_legacy_versions ? "" : ",", *v);
    buf_add_str(&data, STR("],\"requested\":"));
    buf_add_json(&data, version);
    buf_add_char(&data, '}');
    if (buf_failed(&data))
        refuse_memory(message);
    else
        mcp_answer_error(message, 400, MCP_UNKNOWN_VERSION, STR("Unsupported protocol version"),
                         buf_str(&data));
    buf_free(&data);
    return false;
}

static bool check_modern(struct mcp_message *message, const json_t *params, struct str method)
{
    const json_t *meta = json_object_get(params, "_meta");
    const json_t *version = json_object_get(meta, MCP_META "protocolVersion");
    if (!json_is_string(version) ||
        !json_is_object(json_object_get(meta, MCP_META "clientCapabilities")))
        return refuse(message, 400, MCP_INVALID_PARAMS,
                      "`_meta` must have " MCP_META "protocolVersion and " MCP_META
                      "clientCapabilities");
    const struct str *header = header_of(message, "mcp-protocol-version");
    if (header == NULL || !str_eq(str_trim(*header), text_of(version)))
        return mismatch(message, "MCP-Protocol-Version");
    if (!is_listed(mcp_modern_versions, text_of(version)))
        return refuse_version(message, text_of(version));
    header = header_of(message, "mcp-method");
    if (header == NULL || !str_eq(str_trim(*header), method))
        return mismatch(message, "Mcp-Method");
    return !str_eq(method, STR("tools/call")) ||
           header_says(message, "mcp-name", text_of(json_object_get(params, "name"))) ||
           mismatch(message, "Mcp-Name");
}

static bool check_params(struct mcp_message *message, const json_t *params)
{
    return params == NULL || json_is_object(params) ||
           refuse(message, message->modern ? 400 : 200, MCP_INVALID_PARAMS,
                  "`params` must be an object");
}

static bool read_request(struct mcp_message *message, const struct deployment *d,
                         const json_t *root, const struct str *version)
{
    const json_t *params = json_object_get(root, "params");
    struct str method = text_of(json_object_get(root, "method"));
    const json_t *named =
        json_object_get(json_object_get(params, "_meta"), MCP_META "protocolVersion");
    message->modern =
        named != NULL || (version != NULL && !is_listed(mcp_legacy_versions, str_trim(*version)));
    if (!check_params(message, params) ||
        (message->modern && !check_modern(message, params, method)) ||
        !find_method(message, method))
        return false;
    if (message->method == MCP_INITIALIZE) {
        struct str asked = text_of(json_object_get(params, "protocolVersion"));
        message->version =
            is_listed(mcp_legacy_versions, asked) ? asked : str_from(mcp_legacy_versions[0]);
    }
    if (message->method == MCP_LIST && json_object_get(params, "cursor") != NULL)
        return refuse(message, 200, MCP_INVALID_PARAMS, "There is no page of that cursor");
    return message->method != MCP_CALL || read_call(message, d, params);
}

/* {"name":...,"version":...}, kept: the configuration may be gone when the handler ends. */
static bool keep_server(struct mcp_message *message, const struct mcp_spec *spec)
{
    struct buf text = BUF_INIT;
    buf_add_str(&text, STR("{\"name\":"));
    buf_add_json(&text, spec->name);
    buf_add_str(&text, STR(",\"version\":"));
    buf_add_json(&text, spec->version);
    buf_add_char(&text, '}');
    if (!buf_failed(&text))
        message->server = arena_copy(&message->ex->arena, buf_str(&text));
    buf_free(&text);
    return message->server.ptr != NULL || refuse_memory(message);
}

struct mcp_message *mcp_read(const struct deployment *d, enum mcp_place place, struct exchange *ex)
{
    struct mcp_message *message = arena_zalloc(&ex->arena, sizeof(*message));
    if (message == NULL) {
        exchange_answer_no_memory(ex);
        return NULL;
    }
    message->ex = ex;
    message->place = place;
    message->id = STR("null");
    const struct str *version = header_of(message, "mcp-protocol-version");
    const json_t *root = parse(message);
    if (root == NULL || !read_frame(message, root, version) ||
        !keep_server(message, mcp_spec_of(d, place)))
        return NULL;
    if (json_object_get(root, "id") == NULL) {
        message->method = MCP_NOTIFICATION;
        return message;
    }
    return read_request(message, d, root, version) ? message : NULL;
}

struct function *mcp_target(const struct mcp_message *message)
{
    return message->method == MCP_CALL ? message->function : NULL;
}
