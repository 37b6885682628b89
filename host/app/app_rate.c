/* rate_limit: whom a request counts for, and what it is told. The counting is shared/rate.c. */
#include "app/app.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/clock.h"

/* A customer of an internet provider has a whole /64 of IPv6 addresses to call from. */
static struct str network_of(struct str address, struct arena *arena)
{
    struct in6_addr v6;
    char text[INET6_ADDRSTRLEN];
    if (address.len >= sizeof(text))
        return address;
    memcpy(text, address.ptr, address.len);
    text[address.len] = '\0';
    if (inet_pton(AF_INET6, text, &v6) != 1 || IN6_IS_ADDR_V4MAPPED(&v6))
        return address;
    memset(&v6.s6_addr[8], 0, 8);
    if (inet_ntop(AF_INET6, &v6, text, sizeof(text)) == NULL)
        return address;
    return arena_copy(arena, str_from(text));
}

static struct str claim(const struct claims *claims, const char *name)
{
    const json_t *value = json_object_get(claims->json, name);
    return json_is_string(value) ? (struct str){json_string_value(value), json_string_length(value)}
                                 : (struct str){NULL, 0};
}

/* One text for each caller of each function; callers without the claim go by their address. ptr
 * NULL: out of memory. */
static struct str caller_name(struct exchange *ex, const struct function_spec *spec,
                              const struct claims *claims)
{
    struct str id = {NULL, 0};
    const char *kind = spec->rate_limit.by == RATE_BY_SUB ? "sub" : "azp";
    if (claims != NULL && spec->rate_limit.by == RATE_BY_SUB)
        id = claims->subject;
    else if (claims != NULL && spec->rate_limit.by == RATE_BY_AZP)
        id = claim(claims, "azp");
    if (id.len > 0)
        return arena_printf(&ex->arena, "%.*s %s %zu %.*s %.*s", STR_ARG(spec->name), kind,
                            claims->issuer.len, STR_ARG(claims->issuer), STR_ARG(id));
    return arena_printf(&ex->arena, "%.*s ip %.*s", STR_ARG(spec->name),
                        STR_ARG(network_of(ex->req.client_ip, &ex->arena)));
}

static void add_number(struct exchange *ex, struct str name, unsigned value)
{
    struct str text = arena_printf(&ex->arena, "%u", value);
    if (text.ptr == NULL || headers_set(&ex->res.headers, &ex->arena, name, text) != 0)
        ex->res.close = true; /* out of memory: the answer leaves without it */
}

void app_rate_headers(struct exchange *ex)
{
    if (ex->rate_limit == 0)
        return;
    add_number(ex, STR("RateLimit-Limit"), ex->rate_limit);
    add_number(ex, STR("RateLimit-Remaining"), ex->rate_remaining);
    add_number(ex, STR("RateLimit-Reset"), ex->rate_reset);
    if (ex->res.status == 429 && ex->rate_refused)
        add_number(ex, STR("Retry-After"), ex->rate_reset);
}

/* Tells the client where it stands. May it pass? */
static bool judge(struct app *app, struct exchange *ex, const struct rate_limit *limit,
                  struct rate_verdict verdict)
{
    ex->rate_limit = limit->limit;
    ex->rate_remaining = verdict.remaining;
    ex->rate_reset = (unsigned)((verdict.reset_ms + 999) / 1000);
    if (verdict.pass)
        return true;
    ex->rate_refused = true;
    app->page->rate_refused++;
    ex->error_code = "rate_limited";
    exchange_answer_error(ex, 429, STR("rate_limited"),
                          STR("Too many requests; Retry-After says when to come back"));
    return false;
}

static uint64_t window_ms(const struct rate_limit *limit)
{
    return (uint64_t)(limit->window * 1000);
}

static bool count_here(struct app *app, struct exchange *ex, const struct rate_limit *limit,
                       struct str name)
{
    return judge(app, ex, limit,
                 rate_take(app->options.rates, name, limit->limit, window_ms(limit),
                           clock_monotonic_ns() / 1000000));
}

/* ---- counting elsewhere ---- */

/* In the exchange's arena. The store cannot be called back: it is waited for even when the client
 * has left. */
struct rate_wait {
    struct store_request request;
    struct app *app;
    struct exchange *ex; /* held */
    struct function *function;
    app_rate_done *done;
    void *arg;
    bool gone; /* the client is */
};

static void on_gone_while_counting(struct exchange *ex)
{
    struct rate_wait *wait = ex->owner;
    wait->gone = true;
}

/* Without its store each machine counts for itself: a limit that is not exact is better than a
 * function that nobody can call, or that everybody can. */
static void on_counted(struct store_request *request)
{
    struct rate_wait *wait = container_of(request, struct rate_wait, request);
    struct exchange *ex = wait->ex;
    const struct rate_limit *limit = &wait->function->spec->rate_limit;
    const struct rate_verdict verdict = {.pass = request->changed,
                                         .remaining = (unsigned)request->number,
                                         .reset_ms = request->reset_ms};
    wait->function->awaited--;
    ex->on_gone = NULL;
    ex->owner = NULL;
    bool pass = !wait->gone;
    if (pass && request->status == 0)
        pass = judge(wait->app, ex, limit, verdict);
    else if (pass)
        pass = count_here(wait->app, ex, limit, request->key);
    wait->done(wait->arg, pass);
    exchange_release(ex);
}

static void count_there(struct rate_wait *wait, struct str name)
{
    const struct rate_limit *limit = &wait->function->spec->rate_limit;
    wait->request = (struct store_request){.kind = STORE_COUNT,
                                           .key = name,
                                           .ttl_ms = window_ms(limit),
                                           .limit = limit->limit,
                                           .done = on_counted};
    exchange_hold(wait->ex);
    wait->function->awaited++;
    wait->ex->on_gone = on_gone_while_counting;
    wait->ex->owner = wait;
    store_submit(wait->app->store, &wait->request);
}

void app_rate(struct app *app, struct exchange *ex, struct function *function,
              const struct claims *claims, app_rate_done *done, void *arg)
{
    const struct rate_limit *limit = &function->spec->rate_limit;
    if (limit->limit == 0 || app->options.rates == NULL) {
        done(arg, true);
        return;
    }
    bool there = app->store != NULL && store_is_remote(app->store);
    struct str name = caller_name(ex, function->spec, claims);
    struct rate_wait *wait = there ? arena_zalloc(&ex->arena, sizeof(*wait)) : NULL;
    if (name.ptr == NULL || (there && wait == NULL)) {
        exchange_answer_no_memory(ex);
        done(arg, false);
    } else if (there) {
        *wait = (struct rate_wait){
            .app = app, .ex = ex, .function = function, .done = done, .arg = arg};
        count_there(wait, name);
    } else {
        done(arg, count_here(app, ex, limit, name));
    }
}
