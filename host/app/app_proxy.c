/* Rewrites to another host: the request goes there, its answer comes back as ours.
 *
 * Where it goes is written in the configuration, never in the request (redirect_check refuses
 * placeholders in the host), so that host may be a private one. Redirects of the other side are
 * passed on, not followed. */
#include "app/app.h"

#include <errno.h>

#include "base/limits.h"
#include "client/client_rules.h"

/* One call; in the exchange's arena, which it holds. */
struct proxy {
    struct list node; /* in app->proxies */
    struct app *app;
    struct exchange *ex;
    struct client_call *call;
    struct str host; /* what the call may reach */
};

static void leave(struct proxy *proxy)
{
    list_remove(&proxy->node);
    proxy->app->proxy_count--;
    proxy->ex->on_gone = NULL;
    proxy->ex->owner = NULL;
}

static void on_gone(struct exchange *ex)
{
    struct proxy *proxy = ex->owner;
    client_cancel(proxy->call);
    leave(proxy);
    exchange_release(ex);
}

void app_proxy_close(struct app *app)
{
    list_each(node, &app->proxies) on_gone(container_of(node, struct proxy, node)->ex);
}

/* ---- there ---- */

/* Fields that the one side says to the other, not to the one behind (RFC 9110 7.6.1). */
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

/* What the client sent, and who it is. NULL when out of memory. */
static struct headers *forwarded(struct exchange *ex, const struct redirect_rule *rule)
{
    struct arena *arena = &ex->arena;
    struct headers *out = arena_zalloc(arena, sizeof(*out));
    bool ok = out != NULL;
    for (uint32_t i = 0; ok && i < ex->req.headers.len; i++) {
        const struct header *h = &ex->req.headers.items[i];
        if (!is_hop_by_hop(h->name) && !client_header_is_left_out(h->name) &&
            !str_starts_with(h->name, STR("x-forwarded-")))
            ok = headers_add(out, arena, h->name, h->value) == 0;
    }
    for (unsigned i = 0; ok && i < rule->header_count; i++)
        ok = headers_set(out, arena, rule->headers[i].name, rule->headers[i].value) == 0;
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

/* The body is unpacked by now; framing is our own business. */
static bool is_kept(struct str name)
{
    return !is_hop_by_hop(name) && !response_is_framing(name) &&
           !str_eq_nocase(name, STR("content-encoding"));
}

static bool take_answer(struct exchange *ex, const struct client_response *res)
{
    struct arena *arena = &ex->arena;
    ex->res = (struct response){.status = (int)res->status};
    ex->res.body = arena_copy(arena, res->body);
    bool ok = ex->res.body.ptr != NULL;
    for (unsigned i = 0; ok && i < res->header_count; i++) {
        const struct header *h = &res->headers[i];
        if (!is_kept(h->name) || !header_name_is_valid(h->name) || !header_value_is_valid(h->value))
            continue;
        struct str name = arena_copy(arena, h->name), value = arena_copy(arena, h->value);
        ok = name.ptr != NULL && value.ptr != NULL &&
             headers_add(&ex->res.headers, arena, name, value) == 0;
    }
    return ok;
}

static void on_done(void *arg, const struct client_response *res)
{
    struct proxy *proxy = arg;
    struct exchange *ex = proxy->ex;
    leave(proxy);
    if (res->error != 0)
        answer_failure(ex, res->error);
    else if (take_answer(ex, res))
        exchange_answer(ex);
    else
        answer_failure(ex, -ENOMEM);
    exchange_release(ex);
}

/* "https://host:8080/path" -> "host:8080", or without a port "host" */
static struct str host_of(struct str url)
{
    struct str host = str_skip(url, str_find(url, '/') + 2);
    size_t len = 0;
    while (len < host.len && strchr("/?#", host.ptr[len]) == NULL)
        len++;
    return (struct str){host.ptr, len};
}

static void answer_busy(struct exchange *ex)
{
    if (headers_set(&ex->res.headers, &ex->arena, STR("Retry-After"), STR("1")) != 0)
        ex->res.close = true;
    exchange_answer_error(ex, 503, STR("too_many_requests"),
                          STR("Too many requests wait for the host behind this path"));
}

void app_proxy(struct app *app, struct exchange *ex, const struct redirect_rule *rule,
               struct str target)
{
    struct proxy *proxy = arena_zalloc(&ex->arena, sizeof(*proxy));
    struct headers *headers = proxy != NULL ? forwarded(ex, rule) : NULL;
    if (headers == NULL) {
        answer_failure(ex, -ENOMEM);
        return;
    }
    if (app->proxy_count >= LIMIT_PROXY_CALLS) {
        answer_busy(ex);
        return;
    }
    *proxy = (struct proxy){.app = app, .ex = ex, .host = host_of(target)};
    target.len = str_find(target, '#');
    const struct client_request req = {
        .method = str_from(method_name(ex->req.method)),
        .url = target,
        .headers = headers->items,
        .header_count = headers->len,
        .body = ex->req.body.len > 0 ? ex->req.body : (struct str){NULL, 0},
        .timeout = LIMIT_PROXY_TIMEOUT,
        .max_bytes = LIMIT_FETCH_RESPONSE_BYTES,
        .rules = {.hosts = &proxy->host, .host_count = 1},
    };
    struct err err;
    int rc = client_start(app->client, &req, on_done, proxy, &proxy->call, &err);
    if (rc != 0) {
        answer_failure(ex, rc);
        return;
    }
    app->proxy_count++;
    list_push(&app->proxies, &proxy->node);
    exchange_hold(ex);
    ex->on_gone = on_gone;
    ex->owner = proxy;
}
