/* Events of Lambda become requests, and answers become what Lambda passes on. */
#include "cli/lambda_event.h"

#include <errno.h>

#include "base/base64.h"
#include "http/response.h"
#include "json/strict.h"

static int out_of_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "out of memory");
}

static struct str text_of(const json_t *value)
{
    const char *text = json_string_value(value); /* NULL: it is none */
    return text != NULL ? (struct str){text, json_string_length(value)} : (struct str){NULL, 0};
}

static struct str text_at(const json_t *object, const char *name)
{
    return text_of(json_object_get(object, name));
}

static const json_t *context_of(const struct lambda_event *event)
{
    return json_object_get(event->root, "requestContext");
}

/* ---- which one is it? ---- */

static enum lambda_form form_of(const json_t *root)
{
    const json_t *first = json_array_get(json_object_get(root, "Records"), 0);
    const json_t *http = json_object_get(json_object_get(root, "requestContext"), "http");
    if (str_eq(text_at(first, "eventSource"), STR("aws:sqs")))
        return LAMBDA_QUEUE;
    if (text_at(http, "method").len > 0 && text_at(root, "rawPath").ptr != NULL)
        return LAMBDA_HTTP_2;
    if (text_at(root, "httpMethod").len > 0 && text_at(root, "path").ptr != NULL)
        return LAMBDA_HTTP_1;
    return LAMBDA_UNKNOWN;
}

void lambda_event_read(struct lambda_event *event, struct str text)
{
    event->root = strict_json_watched(text, JSON_ALLOW_NUL, NULL);
    event->form = event->root != NULL ? form_of(event->root) : LAMBDA_UNKNOWN;
}

void lambda_event_free(struct lambda_event *event)
{
    json_decref(event->root);
    event->root = NULL;
}

/* ---- the address ---- */

static bool is_escape(struct str s)
{
    return s.len >= 3 && str_hex_value(s.ptr[1]) >= 0 && str_hex_value(s.ptr[2]) >= 0;
}

static void add_escaped(struct buf *out, char c)
{
    buf_printf(out, "%%%02X", (unsigned char)c);
}

/* HTTP APIs give a path with its escapes resolved, function URLs as it was sent: what cannot stand
 * in a path as it is, is escaped again. */
static void add_path(struct buf *out, struct str path)
{
    for (size_t i = 0; i < path.len; i++) {
        unsigned char c = (unsigned char)path.ptr[i];
        bool odd = c <= ' ' || c >= 127 || c == '?' || c == '#' || c == '"' || c == '<' ||
                   c == '>' || c == '\\' || (c == '%' && !is_escape(str_skip(path, i)));
        if (odd)
            add_escaped(out, path.ptr[i]);
        else
            buf_add_char(out, path.ptr[i]);
    }
}

static void add_part(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (str_is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~')
            buf_add_char(out, c);
        else
            add_escaped(out, c);
    }
}

/* A REST API tells what it has decoded, a load balancer what was sent. */
static void add_pair(struct buf *out, bool encoded, struct str name, struct str value)
{
    buf_add_char(out, str_find(buf_str(out), '?') == out->len ? '?' : '&');
    if (encoded)
        buf_add_str(out, name);
    else
        add_part(out, name);
    buf_add_char(out, '=');
    if (encoded)
        buf_add_str(out, value);
    else
        add_part(out, value);
}

static void add_query_1(const struct lambda_event *event, struct buf *out)
{
    const json_t *lists = json_object_get(event->root, "multiValueQueryStringParameters");
    json_t *from = json_object_get(event->root, "queryStringParameters"), *value;
    bool encoded = json_object_get(context_of(event), "elb") != NULL;
    const char *name;
    if (json_is_object(lists))
        from = json_object_get(event->root, "multiValueQueryStringParameters");
    json_object_foreach(from, name, value)
    {
        if (!json_is_array(value))
            add_pair(out, encoded, str_from(name), text_of(value));
        for (size_t i = 0; i < json_array_size(value); i++)
            add_pair(out, encoded, str_from(name), text_of(json_array_get(value, i)));
    }
}

/* "/prod/shows" of the stage "prod" is "/shows", as with the API's own domain. */
static struct str below_stage(const struct lambda_event *event, struct str path)
{
    struct str stage = text_at(context_of(event), "stage");
    struct str rest = path.len > 0 ? str_skip(path, 1) : path;
    if (stage.len == 0 || str_eq(stage, STR("$default")) || !str_starts_with(rest, stage))
        return path;
    rest = str_skip(rest, stage.len);
    if (rest.len == 0)
        return STR("/");
    return rest.ptr[0] == '/' ? rest : path;
}

static int set_target(const struct lambda_event *event, struct local_call *call, struct err *err)
{
    struct buf target = BUF_INIT;
    struct str query = text_at(event->root, "rawQueryString");
    if (event->form == LAMBDA_HTTP_2)
        add_path(&target, below_stage(event, text_at(event->root, "rawPath")));
    else
        add_path(&target, text_at(event->root, "path"));
    if (event->form == LAMBDA_HTTP_1)
        add_query_1(event, &target);
    else if (query.len > 0)
        buf_add_char(&target, '?');
    if (event->form == LAMBDA_HTTP_2)
        buf_add_str(&target, query);
    int rc =
        buf_failed(&target) ? out_of_memory(err) : local_set_target(call, buf_str(&target), err);
    buf_free(&target);
    return rc;
}

/* ---- headers ---- */

static int add_header(struct local_call *call, struct str name, const json_t *value,
                      struct err *err)
{
    if (str_eq_nocase(name, STR("host"))) {
        struct str host = arena_copy(&call->ex->arena, text_of(value));
        call->ex->req.host = host;
        return host.ptr != NULL &&
                       headers_set(&call->ex->req.headers, &call->ex->arena, STR("host"), host) == 0
                   ? 0
                   : out_of_memory(err);
    }
    return local_add_header(call, name, text_of(value), err);
}

static int add_headers(const struct lambda_event *event, struct local_call *call, struct err *err)
{
    const json_t *lists = json_object_get(event->root, "multiValueHeaders");
    json_t *from = json_object_get(event->root, "headers"), *value;
    const char *name;
    int rc = 0;
    if (event->form == LAMBDA_HTTP_1 && json_is_object(lists))
        from = json_object_get(event->root, "multiValueHeaders");
    json_object_foreach(from, name, value)
    {
        if (!json_is_array(value) && rc == 0)
            rc = add_header(call, str_from(name), value, err);
        for (size_t i = 0; rc == 0 && i < json_array_size(value); i++)
            rc = add_header(call, str_from(name), json_array_get(value, i), err);
    }
    return rc;
}

/* Payload 2.0 has them apart. */
static int add_cookies(const struct lambda_event *event, struct local_call *call, struct err *err)
{
    const json_t *cookies = json_object_get(event->root, "cookies");
    struct buf all = BUF_INIT;
    for (size_t i = 0; i < json_array_size(cookies); i++) {
        buf_add_str(&all, i > 0 ? STR("; ") : STR(""));
        buf_add_str(&all, text_of(json_array_get(cookies, i)));
    }
    int rc = buf_failed(&all) ? out_of_memory(err) : 0;
    if (rc == 0 && all.len > 0)
        rc = local_add_header(call, STR("cookie"), buf_str(&all), err);
    buf_free(&all);
    return rc;
}

/* ---- body ---- */

static int set_body(const struct lambda_event *event, struct local_call *call, struct err *err)
{
    struct request *req = &call->ex->req;
    struct arena *arena = &call->ex->arena;
    struct str text = text_at(event->root, "body");
    if (text.ptr == NULL)
        return 0;
    if (json_is_true(json_object_get(event->root, "isBase64Encoded"))) {
        char *bytes = arena_alloc(arena, BASE64_DECODED_MAX(text.len));
        ptrdiff_t len = bytes != NULL ? base64_decode(text, BASE64_STANDARD, bytes, NULL) : 0;
        if (bytes == NULL)
            return out_of_memory(err);
        if (len < 0)
            return err_set(err, -EINVAL, "the body is not the base64 that it is said to be");
        req->body = (struct str){bytes, (size_t)len};
    } else {
        req->body = arena_copy(arena, text);
    }
    struct str length = arena_printf(arena, "%zu", req->body.len);
    return req->body.ptr != NULL && length.ptr != NULL &&
                   headers_set(&req->headers, arena, STR("content-length"), length) == 0
               ? 0
               : out_of_memory(err);
}

/* ---- the request ---- */

static int set_method(const struct lambda_event *event, struct request *req, struct err *err)
{
    const json_t *http = json_object_get(context_of(event), "http");
    struct str name =
        event->form == LAMBDA_HTTP_2 ? text_at(http, "method") : text_at(event->root, "httpMethod");
    if (request_method_parse(name, &req->method) != 0)
        return err_set(err, -EINVAL, "'%.*s' is not one of GET HEAD POST PUT PATCH DELETE OPTIONS",
                       STR_ARG(name));
    req->method_name = str_from(request_method_name(req->method));
    return 0;
}

static int set_peer(const struct lambda_event *event, struct local_call *call, struct err *err)
{
    const json_t *context = context_of(event);
    const json_t *http = json_object_get(context, "http");
    struct request *req = &call->ex->req;
    struct str ip = event->form == LAMBDA_HTTP_2
                        ? text_at(http, "sourceIp")
                        : text_at(json_object_get(context, "identity"), "sourceIp");
    req->scheme = STR("https");
    if (ip.len > 0)
        req->client_ip = arena_copy(&call->ex->arena, ip);
    return req->client_ip.ptr != NULL ? 0 : out_of_memory(err);
}

int lambda_event_request(const struct lambda_event *event, struct local_call *call, struct err *err)
{
    int rc = set_method(event, &call->ex->req, err);
    if (rc == 0)
        rc = set_peer(event, call, err);
    if (rc == 0)
        rc = set_target(event, call, err);
    if (rc == 0)
        rc = add_headers(event, call, err);
    if (rc == 0)
        rc = add_cookies(event, call, err);
    return rc == 0 ? set_body(event, call, err) : rc;
}

/* ---- the answer ---- */

static bool is_cookie(struct str name)
{
    return str_eq_nocase(name, STR("set-cookie"));
}

/* Was a field of that name before this one? */
static bool is_again(const struct headers *headers, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++) {
        if (str_eq_nocase(headers->items[i].name, headers->items[index].name))
            return true;
    }
    return false;
}

/* Each name once; its values as a list, or in one text. `all`: cookies, too. */
static void add_fields(const struct headers *headers, bool lists, bool all, struct buf *out)
{
    bool first = true;
    for (uint32_t i = 0; i < headers->len; i++) {
        struct str name = headers->items[i].name;
        if (is_again(headers, i) || response_is_framing(name) || (is_cookie(name) && !all))
            continue;
        struct buf joined = BUF_INIT;
        buf_add_str(out, first ? STR("") : STR(","));
        first = false;
        buf_add_json(out, name);
        buf_add_str(out, lists ? STR(":[") : STR(":"));
        for (uint32_t k = i; k < headers->len; k++) {
            if (!str_eq_nocase(headers->items[k].name, name))
                continue;
            if (lists && k > i)
                buf_add_char(out, ',');
            if (lists)
                buf_add_json(out, headers->items[k].value);
            buf_add_str(&joined, k > i ? STR(", ") : STR(""));
            buf_add_str(&joined, headers->items[k].value);
        }
        if (!lists)
            buf_add_json(out, buf_str(&joined));
        buf_add_str(out, lists ? STR("]") : STR(""));
        out->failed |= buf_failed(&joined);
        buf_free(&joined);
    }
}

static void add_set_cookies(const struct headers *headers, struct buf *out)
{
    bool first = true;
    buf_add_str(out, STR(",\"cookies\":["));
    for (uint32_t i = 0; i < headers->len; i++) {
        if (!is_cookie(headers->items[i].name))
            continue;
        buf_add_str(out, first ? STR("") : STR(","));
        first = false;
        buf_add_json(out, headers->items[i].value);
    }
    buf_add_char(out, ']');
}

/* Text as it is; anything else in base64. */
static void add_body(struct str body, struct buf *out)
{
    if (str_is_utf8(body)) {
        buf_add_str(out, STR(",\"isBase64Encoded\":false,\"body\":"));
        buf_add_json(out, body);
        return;
    }
    buf_add_str(out, STR(",\"isBase64Encoded\":true,\"body\":\""));
    if (buf_reserve(out, BASE64_ENCODED_MAX(body.len)) == 0)
        out->len += base64_encode(body, BASE64_STANDARD, out->data + out->len);
    buf_add_char(out, '"');
}

void lambda_event_answer(const struct lambda_event *event, struct local_call *call, bool head_only,
                         struct buf *out)
{
    struct response *res = &call->ex->res;
    bool lists = event->form == LAMBDA_HTTP_1 &&
                 json_is_object(json_object_get(event->root, "multiValueHeaders"));
    bool apart = event->form == LAMBDA_HTTP_2 || head_only;
    response_mend(res, &call->ex->arena);
    buf_printf(out, "{\"statusCode\":%d,\"%s\":{", res->status,
               lists && !head_only ? "multiValueHeaders" : "headers");
    add_fields(&res->headers, lists && !head_only, !apart, out);
    buf_add_char(out, '}');
    if (apart)
        add_set_cookies(&res->headers, out);
    if (!head_only)
        add_body(exchange_sends_body(call->ex) ? local_body(call) : STR(""), out);
    buf_add_char(out, '}');
}

/* ---- queues ---- */

size_t lambda_event_records(const struct lambda_event *event)
{
    return json_array_size(json_object_get(event->root, "Records"));
}

int lambda_event_record(const struct lambda_event *event, size_t index, struct lambda_record *out)
{
    const json_t *record = json_array_get(json_object_get(event->root, "Records"), index);
    const json_t *attributes = json_object_get(record, "attributes");
    struct str arn = text_at(record, "eventSourceARN"), part = {NULL, 0};
    uint64_t received = 1;
    if (str_to_u64(text_at(attributes, "ApproximateReceiveCount"), UINT32_MAX, &received) != 0)
        received = 1;
    *out =
        (struct lambda_record){.id = text_at(record, "messageId"), .body = text_at(record, "body")};
    while (str_split_next(&arn, ':', &part))
        out->queue = part;
    out->attempt = (unsigned)received;
    out->ordered = str_ends_with(out->queue, STR(".fifo"));
    out->queue.len -= out->ordered ? sizeof(".fifo") - 1 : 0;
    return out->id.len > 0 && out->body.ptr != NULL ? 0 : -EINVAL;
}

int lambda_event_job(const struct lambda_record *record, struct local_call *call, struct str prefix,
                     struct str function)
{
    struct request *req = &call->ex->req;
    struct arena *arena = &call->ex->arena;
    struct err err;
    req->method = METHOD_POST;
    req->method_name = STR("POST");
    struct str path = arena_printf(arena, "%.*s/%.*s", STR_ARG(prefix), STR_ARG(function));
    bool ok = path.ptr != NULL && local_set_target(call, path, &err) == 0 &&
              local_set_body(call, record->body) == 0 &&
              headers_add(&req->headers, arena, STR("user-agent"), STR("luafn lambda")) == 0 &&
              headers_add(&req->headers, arena, STR("x-nf-event"), STR("queue")) == 0;
    return ok ? 0 : -ENOMEM;
}
