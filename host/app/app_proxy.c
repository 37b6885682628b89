/* Rewrites to another host: the request goes there, its answer comes back as ours.
 *
 * Where it goes is written in the configuration, never in the request (redirect_check refuses
 * placeholders in the host), so that host may be a private one. Redirects of the other side are
 * passed on, not followed.
 *
 * The body passes in pieces, as it comes and as it is coded; the other side waits while the client
 * does not read. */
#include "app/app.h"

#include <errno.h>

#include "base/limits.h"
#include "base/log.h"
#include "client/client_rules.h"

/* One call; in the exchange's arena, which it holds. */
struct proxy {
    struct list node; /* in app->proxies */
    struct app *app;
    struct exchange *ex;
    struct client_call *call; /* NULL while it begins */
    struct str target;
    struct headers *headers;
    struct str host; /* what the call may reach */
    bool answered;   /* the head has gone on */
    bool asked;      /* for a piece of the request's body */
    bool in_read;    /* libcurl waits for the answer to that */
};

static void leave(struct proxy *proxy)
{
    list_remove(&proxy->node);
    proxy->app->proxy_count--;
    if (proxy->asked)
        exchange_stop_reading(proxy->ex);
    proxy->ex->on_gone = NULL;
    proxy->ex->on_drained = NULL;
    proxy->ex->owner = NULL;
}

static void on_gone(struct exchange *ex)
{
    struct proxy *proxy = ex->owner;
    if (proxy->call != NULL)
        client_cancel(proxy->call);
    leave(proxy);
    exchange_release(ex);
}

void app_proxy_close(struct app *app)
{
    list_each(node, &app->proxies) on_gone(container_of(node, struct proxy, node)->ex);
}

/* ---- there ---- */

static bool is_hop_by_hop(struct str name)
{
    static const char *const names[] = {"connection", "keep-alive", "proxy-connection", "te",
                                        "trailer",    "upgrade",    "transfer-encoding"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (str_eq_nocase(name, str_from(names[i])))
            return true;
    }
    return false;
}

/* Is the field among those that Connection names? */
static bool is_named(struct str name, const struct header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct str names = headers[i].value, one;
        if (!str_eq_nocase(headers[i].name, STR("connection")))
            continue;
        while (str_split_next(&names, ',', &one)) {
            if (str_eq_nocase(str_trim(one), name))
                return true;
        }
    }
    return false;
}

/* Fields that the one side says to the other, not to the one behind (RFC 9110 7.6.1). Of a
 * request's the client leaves out all but the named ones by itself. */
static bool ends_here(struct str name, const struct header *headers, size_t count)
{
    return is_hop_by_hop(name) || is_named(name, headers, count);
}

/* What the client sent, and who it is. The rule is the configuration's, which may be replaced while
 * the body comes. NULL when out of memory. */
static struct headers *forwarded(struct exchange *ex, const struct redirect_rule *rule)
{
    struct arena *arena = &ex->arena;
    struct headers *out = arena_zalloc(arena, sizeof(*out));
    bool ok = out != NULL;
    for (uint32_t i = 0; ok && i < ex->req.headers.len; i++) {
        const struct header *h = &ex->req.headers.items[i];
        if (!client_header_is_left_out(h->name) &&
            !is_named(h->name, ex->req.headers.items, ex->req.headers.len) &&
            !str_eq(h->name, STR("forwarded")) && !str_starts_with(h->name, STR("x-forwarded-")))
            ok = headers_add(out, arena, h->name, h->value) == 0;
    }
    for (unsigned i = 0; ok && i < rule->header_count; i++) {
        struct str name = arena_copy(arena, rule->headers[i].name);
        struct str value = arena_copy(arena, rule->headers[i].value);
        ok = name.ptr != NULL && value.ptr != NULL && headers_set(out, arena, name, value) == 0;
    }
    ok = ok && headers_add(out, arena, STR("x-forwarded-for"), ex->req.client_ip) == 0 &&
         headers_add(out, arena, STR("x-forwarded-host"), ex->req.host) == 0 &&
         headers_add(out, arena, STR("x-forwarded-proto"), ex->req.scheme) == 0;
    return ok ? out : NULL;
}

/* ---- and back ---- */

static void answer_failure(struct exchange *ex, int error)
{
    ex->res = (struct response){0};
    if (error == -ETIMEDOUT)
        exchange_answer_error(ex, 504, STR("proxy_timeout"),
                              STR("The host behind this path does not answer"));
    else
        exchange_answer_error(ex, 502, STR("proxy_failed"),
                              STR("The host behind this path cannot be reached"));
}

/* The length that the other side names, where it names one. */
static void take_length(struct response *to, const struct client_response *from)
{
    for (unsigned i = 0; i < from->header_count; i++) {
        const struct header *h = &from->headers[i];
        uint64_t length = 0;
        if (str_eq(h->name, STR("transfer-encoding"))) {
            to->sized = false;
            return;
        }
        if (!str_eq(h->name, STR("content-length")))
            continue;
        to->sized =
            str_to_u64(h->value, INT64_MAX, &length) == 0 && (!to->sized || to->size == length);
        to->size = length;
    }
}

static bool take_head(struct exchange *ex, const struct client_response *res)
{
    struct arena *arena = &ex->arena;
    bool ok = true;
    ex->res = (struct response){.status = (int)res->status, .streamed = true};
    take_length(&ex->res, res);
    for (unsigned i = 0; ok && i < res->header_count; i++) {
        const struct header *h = &res->headers[i];
        if (ends_here(h->name, res->headers, res->header_count) || response_is_framing(h->name) ||
            !header_name_is_valid(h->name) || !header_value_is_valid(h->value))
            continue;
        struct str name = arena_copy(arena, h->name), value = arena_copy(arena, h->value);
        ok = name.ptr != NULL && value.ptr != NULL &&
             headers_add(&ex->res.headers, arena, name, value) == 0;
    }
    return ok;
}

static void on_drained(struct exchange *ex);

/* Passes on what has come, unless the client has enough to read. */
static void pass(struct proxy *proxy)
{
    struct exchange *ex = proxy->ex;
    struct str bytes = client_stream_bytes(proxy->call);
    if (bytes.len == 0 || ex->on_drained != NULL)
        return;
    bool full = exchange_stream_write(ex, bytes) > LIMIT_STREAM_BYTES / 2;
    if (exchange_is_complete(ex)) { /* it broke, for want of memory: nobody takes the rest */
        on_gone(ex);
        return;
    }
    if (full)
        ex->on_drained = on_drained;
    client_stream_take(proxy->call);
}

static void on_drained(struct exchange *ex)
{
    pass(ex->owner);
}

/* An answer that cannot be had: because of the client's own body, or of the other side. */
static void fail(struct proxy *proxy, int error)
{
    struct exchange *ex = proxy->ex;
    leave(proxy);
    if (exchange_body_fault(ex) != NULL)
        exchange_refuse(ex, exchange_body_fault(ex));
    else
        answer_failure(ex, error);
    exchange_release(ex);
}

static void on_stream(void *arg)
{
    struct proxy *proxy = arg;
    struct client_response res;
    if (proxy->answered) {
        pass(proxy);
        return;
    }
    if (!client_stream_head(proxy->call, &res) || !take_head(proxy->ex, &res)) {
        client_cancel(proxy->call);
        fail(proxy, -ENOMEM);
        return;
    }
    proxy->answered = true;
    exchange_answer(proxy->ex);
    pass(proxy);
}

/* The host alone: what a rule or a client put into the rest of the URL may be a secret. */
static void log_failure(const struct proxy *proxy, const struct client_response *res)
{
    struct log_line line;
    log_begin(&line, LOG_WARN, "a rewrite failed");
    log_str(&line, "host", proxy->host);
    log_str(&line, "request_id", str_from(proxy->ex->request_id));
    bool told = res->error_text != NULL && res->error_text[0] != '\0';
    log_str(&line, "error", told ? str_from(res->error_text) : STR("no answer that can be read"));
    log_end(&line);
}

static void on_done(void *arg, const struct client_response *res)
{
    struct proxy *proxy = arg;
    struct exchange *ex = proxy->ex;
    bool failed = res->error != 0 || !proxy->answered;
    if (failed && exchange_body_fault(ex) == NULL && log_wants(LOG_WARN))
        log_failure(proxy, res);
    if (!proxy->answered) {
        fail(proxy, res->error != 0 ? res->error : -EIO);
        return;
    }
    leave(proxy);
    exchange_stream_write(ex, res->body);
    if (res->error == 0) {
        exchange_stream_end(ex);
    } else {
        const struct http_fault *fault = exchange_body_fault(ex);
        ex->error_code = fault != NULL              ? fault->code
                         : res->error == -ETIMEDOUT ? "proxy_timeout"
                                                    : "proxy_failed";
        exchange_stream_abort(ex);
    }
    exchange_release(ex);
}

/* The host of the target, as the client compares it. */
static struct str host_of(struct str target, struct arena *arena)
{
    struct client_url url;
    struct err err;
    int rc = client_parse_url(target, &url, &err);
    return rc == 0 ? arena_copy(arena, str_from(url.host)) : (struct str){NULL, 0};
}

static void answer_busy(struct exchange *ex)
{
    if (headers_set(&ex->res.headers, &ex->arena, STR("Retry-After"), STR("1")) != 0)
        ex->res.close = true;
    exchange_answer_error(ex, 503, STR("too_many_requests"),
                          STR("Too many requests wait for the host behind this path"));
}

/* ---- the request's body, where it has not come yet ---- */

static void on_piece(struct exchange *ex)
{
    struct proxy *proxy = ex->owner;
    proxy->asked = false;
    if (!proxy->in_read)
        client_body_ready(proxy->call);
}

static long read_body(void *arg, char *out, size_t size)
{
    struct proxy *proxy = arg;
    struct exchange *ex = proxy->ex;
    struct str piece = exchange_piece(ex);
    if (piece.len == 0 && exchange_body_fault(ex) == NULL && !ex->body->complete && !proxy->asked) {
        proxy->asked = proxy->in_read = true;
        exchange_read_piece(ex, on_piece);
        proxy->in_read = false;
        piece = exchange_piece(ex);
    }
    if (piece.len == 0 && exchange_body_fault(ex) != NULL)
        return CLIENT_BODY_BROKEN;
    if (piece.len == 0)
        return ex->body->complete ? CLIENT_BODY_END : 0;
    size_t len = piece.len < size ? piece.len : size;
    memcpy(out, piece.ptr, len);
    exchange_take_piece(ex, len);
    return (long)len;
}

static void call(struct proxy *proxy)
{
    struct exchange *ex = proxy->ex;
    bool whole = exchange_has_body_whole(ex);
    const struct client_request req = {
        .method = str_from(request_method_name(ex->req.method)),
        .url = proxy->target,
        .headers = proxy->headers->items,
        .header_count = proxy->headers->len,
        .body = ex->req.body.len > 0 ? ex->req.body : (struct str){NULL, 0},
        .read_body = whole ? NULL : read_body,
        .body_arg = proxy,
        .body_size = whole || ex->body->announced == BODY_UNSIZED ? CLIENT_BODY_UNSIZED
                                                                  : ex->body->announced,
        .timeout = LIMIT_PROXY_TIMEOUT,
        .rules = {.hosts = &proxy->host, .host_count = 1},
        .on_stream = on_stream,
    };
    struct err err;
    int rc = client_start(proxy->app->client, &req, on_done, proxy, &proxy->call, &err);
    if (rc != 0)
        fail(proxy, rc);
}

void app_proxy(struct app *app, struct exchange *ex, const struct redirect_rule *rule,
               struct str target)
{
    struct proxy *proxy = arena_zalloc(&ex->arena, sizeof(*proxy));
    struct headers *headers = proxy != NULL ? forwarded(ex, rule) : NULL;
    target.len = str_find(target, '#');
    struct str copy = arena_copy(&ex->arena, target);
    struct str host = copy.ptr != NULL ? host_of(copy, &ex->arena) : copy;
    if (headers == NULL || host.ptr == NULL) {
        answer_failure(ex, -ENOMEM);
        return;
    }
    if (app->proxy_count >= LIMIT_PROXY_CALLS) {
        answer_busy(ex);
        return;
    }
    const struct http_fault *fault = exchange_limit_body(ex, app->current->config->body_limit);
    if (fault != NULL) {
        exchange_refuse(ex, fault);
        return;
    }
    *proxy = (struct proxy){.app = app, .ex = ex, .target = copy, .headers = headers, .host = host};
    app->proxy_count++;
    list_push(&app->proxies, &proxy->node);
    exchange_hold(ex);
    ex->on_gone = on_gone;
    ex->owner = proxy;
    call(proxy);
}
