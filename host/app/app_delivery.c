/* Deliveries of webhooks: one that has been answered 2xx is not run again, nor one that runs.
 *
 * All workers of a machine know each other's by a table (shared/delivery.h). With a store that many
 * machines share it has the last word: there the same delivery is a key that is set while it runs,
 * renewed, and set to "done" at its end. Without that store each machine knows its own. */
#include "app/app.h"

#include <stdlib.h>

#include "base/clock.h"

/* No function's `kv` can be that. */
#define SPACE ((struct str){"\0deliveries", sizeof("\0deliveries") - 1})
#define DONE  STR("done")

enum { RENEW_SECONDS = 2 };

/* One that runs, from when it was begun until the store knows its end. */
struct delivery {
    struct list node; /* in app->deliveries while it runs */
    struct app *app;
    struct delivery_run run; /* in the table */
    double until;            /* the time to which it is remembered */
    bool settled, good;      /* the run has ended; well */
    /* The store's part, one request at a time: */
    struct store_request request;
    bool asking, shared; /* a request is under way; the key there is ours */
    unsigned age;        /* seconds since it was renewed */
    char token[27];      /* the key's value while this runs */
    /* While it is asked whether this may run: */
    struct exchange *ex; /* held; NULL: not any more */
    struct function *function;
    app_rate_done *done;
    void *arg;
    bool gone; /* the client is */
    size_t key_len;
    char key[];
};

static uint64_t now_ms(void)
{
    return clock_monotonic_ns() / 1000000;
}

static uint64_t lease_ms(void)
{
    return (uint64_t)(LIMIT_DELIVERY_LEASE * 1000);
}

static uint64_t keep_ms(const struct delivery *delivery)
{
    double left = delivery->until - clock_now();
    return left > 1 ? (uint64_t)(left * 1000) : 1000;
}

/* ---- answers to those that are not run ---- */

static void count_repeat(const struct exchange *ex)
{
    const struct app *app = ex->app;
    app->page->repeats++;
}

static void answer_done(struct exchange *ex)
{
    count_repeat(ex);
    ex->res.status = 200;
    ex->res.body = (struct str){NULL, 0};
    exchange_answer(ex);
}

static void answer_later(struct exchange *ex, const char *code, struct str text)
{
    struct str seconds = arena_printf(&ex->arena, "%d", LIMIT_DELIVERY_RETRY);
    ex->error_code = code;
    if (seconds.ptr == NULL ||
        headers_set(&ex->res.headers, &ex->arena, STR("Retry-After"), seconds) != 0)
        ex->res.close = true; /* out of memory: the answer leaves without it */
    exchange_answer_error(ex, 503, str_from(code), text);
}

static void answer_running(struct exchange *ex)
{
    count_repeat(ex);
    answer_later(ex, "delivery_running", STR("This delivery is being worked on"));
}

static void answer_no_memory(struct exchange *ex)
{
    exchange_answer_no_memory(ex);
}

/* ---- the store's part ---- */

static void on_stored(struct store_request *request);

/* An empty value or expectation: the key is not there. `delivery` may be gone afterwards. */
static void ask(struct delivery *delivery, enum store_kind kind, struct str expected,
                struct str value, uint64_t ttl_ms)
{
    delivery->request = (struct store_request){
        .kind = kind,
        .space = SPACE,
        .key = {delivery->key, delivery->key_len},
        .expected = {expected.len > 0 ? STORE_TEXT : STORE_ABSENT, expected},
        .value = {value.len > 0 ? STORE_TEXT : STORE_ABSENT, value},
        .ttl_ms = ttl_ms,
        .done = on_stored,
    };
    delivery->asking = true;
    store_submit(delivery->app->store, &delivery->request);
}

/* ---- the end of a run ---- */

static void end_here(struct delivery *delivery)
{
    list_remove(&delivery->node);
    delivery->settled = true;
    delivery_end(delivery->app->options.deliveries, &delivery->run,
                 delivery->good ? keep_ms(delivery) : 0, now_ms());
}

/* Tells the store, if it must know, and ends the delivery. */
static void leave(struct delivery *delivery)
{
    if (!delivery->shared) {
        free(delivery);
        return;
    }
    delivery->shared = false;
    if (delivery->good)
        ask(delivery, STORE_SET, STR(""), DONE, keep_ms(delivery));
    else
        ask(delivery, STORE_CAS, str_from(delivery->token), STR(""), 0);
}

static void on_settled(struct exchange *ex, bool good)
{
    struct delivery *delivery = ex->settling;
    delivery->good = good;
    end_here(delivery);
    if (!delivery->asking)
        leave(delivery);
}

/* ---- the beginning of one ---- */

static void pass(struct delivery *delivery, struct exchange *ex)
{
    app_rate_done *done = delivery->done;
    void *arg = delivery->arg;
    list_push(&delivery->app->deliveries, &delivery->node);
    ex->settling = delivery;
    ex->on_settled = on_settled;
    done(arg, true);
}

static void on_gone_while_asking(struct exchange *ex)
{
    struct delivery *delivery = ex->owner;
    delivery->gone = true;
}

static void refuse(struct delivery *delivery, struct exchange *ex)
{
    if (!delivery->gone && delivery->good)
        answer_done(ex);
    else if (!delivery->gone)
        answer_running(ex);
    delivery->done(delivery->arg, false);
    end_here(delivery);
    leave(delivery);
}

/* The store has said whether anybody else has it. Where it cannot be asked, each machine knows its
 * own: a delivery that may be run twice is better than one that is lost. */
static void on_begun(struct delivery *delivery)
{
    struct exchange *ex = delivery->ex;
    struct store_request *request = &delivery->request;
    bool answered = request->status == 0;
    if (request->kind == STORE_CAS && answered && !request->changed) {
        ask(delivery, STORE_GET, STR(""), STR(""), 0);
        return;
    }
    delivery->shared = request->kind == STORE_CAS && answered;
    bool refused = request->kind == STORE_GET && answered;
    delivery->good = refused && str_eq(buf_str(&request->out), DONE);
    buf_free(&request->out);
    delivery->function->awaited--;
    delivery->ex = NULL;
    ex->on_gone = NULL;
    ex->owner = NULL;
    if (refused || delivery->gone)
        refuse(delivery, ex);
    else
        pass(delivery, ex);
    exchange_release(ex);
}

static void on_stored(struct store_request *request)
{
    struct delivery *delivery = container_of(request, struct delivery, request);
    delivery->asking = false;
    if (delivery->ex != NULL)
        on_begun(delivery);
    else if (delivery->settled)
        leave(delivery);
}

static void ask_others(struct delivery *delivery, struct exchange *ex, struct function *function)
{
    exchange_make_id(delivery->token);
    delivery->ex = ex;
    delivery->function = function;
    exchange_hold(ex);
    function->awaited++;
    ex->on_gone = on_gone_while_asking;
    ex->owner = delivery;
    ask(delivery, STORE_CAS, STR(""), str_from(delivery->token), lease_ms());
}

static struct delivery *new_delivery(struct app *app, struct str name, double until)
{
    struct delivery *delivery = calloc(1, sizeof(*delivery) + name.len);
    if (delivery == NULL)
        return NULL;
    list_init(&delivery->node);
    delivery->app = app;
    delivery->until = until;
    delivery->key_len = name.len;
    memcpy(delivery->key, name.ptr, name.len);
    return delivery;
}

/* Somebody else has it, or had it, or there is no place for it. */
static void answer_unrun(struct exchange *ex, enum delivery_result result)
{
    if (result == DELIVERY_DONE)
        answer_done(ex);
    else if (result == DELIVERY_RUNNING)
        answer_running(ex);
    else
        answer_later(ex, "too_many_deliveries", STR("More deliveries than can be remembered"));
}

void app_delivery(struct app *app, struct exchange *ex, struct function *function,
                  const struct webhook_delivery *webhook, app_rate_done *done, void *arg)
{
    if (app->options.deliveries == NULL) {
        done(arg, true);
        return;
    }
    const struct function_spec *spec = function->spec;
    struct str name = arena_printf(&ex->arena, "%.*s %s %.*s", STR_ARG(spec->name),
                                   spec->policy.webhook->name, STR_ARG(webhook->id));
    struct delivery *delivery = name.ptr != NULL ? new_delivery(app, name, webhook->until) : NULL;
    if (delivery == NULL) {
        answer_no_memory(ex);
        done(arg, false);
        return;
    }
    delivery->done = done;
    delivery->arg = arg;
    enum delivery_result result =
        delivery_begin(app->options.deliveries, name, lease_ms(), now_ms(), &delivery->run);
    if (result != DELIVERY_NEW) {
        free(delivery);
        answer_unrun(ex, result);
        done(arg, false);
    } else if (app->store != NULL && store_is_remote(app->store)) {
        ask_others(delivery, ex, function);
    } else {
        pass(delivery, ex);
    }
}

void app_delivery_renew(struct app *app)
{
    list_each(node, &app->deliveries)
    {
        struct delivery *delivery = container_of(node, struct delivery, node);
        delivery_renew(app->options.deliveries, &delivery->run, lease_ms(), now_ms());
        if (++delivery->age < RENEW_SECONDS || delivery->asking || !delivery->shared)
            continue;
        delivery->age = 0;
        ask(delivery, STORE_CAS, str_from(delivery->token), str_from(delivery->token), lease_ms());
    }
}
