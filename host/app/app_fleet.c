/* What is one over all machines that share KV_URL beside kv, counts and revocations: what may be
 * used once, and the secret of nonces. */
#include "app/app.h"

#include "base/clock.h"
#include "shared/nonce_secret.h"

enum { AGAIN_MS = 1000 /* after a failure */, RENEW_MS = 60000 };

bool app_is_fleet(const struct app *app)
{
    return app->store != NULL && store_is_remote(app->store);
}

/* ---- what may be used once ---- */

/* In the exchange's arena. */
struct once_wait {
    struct store_request request;
    struct exchange_once *once;
    void (*done)(void *arg);
    void *arg;
};

/* Where the store cannot be asked each machine knows its own. */
static void on_asked(struct store_request *request)
{
    struct once_wait *wait = container_of(request, struct once_wait, request);
    bool seen = request->status == 0 && !request->changed;
    wait->once->state = seen ? ONCE_SEEN : ONCE_NEW;
    wait->done(wait->arg);
}

bool app_once(struct app *app, struct arena *arena, struct exchange_once *once,
              void (*done)(void *arg), void *arg)
{
    if (once == NULL || once->state != ONCE_HERE || !app_is_fleet(app))
        return false;
    struct once_wait *wait = arena_zalloc(arena, sizeof(*wait));
    if (wait == NULL)
        return false; /* as without the store */
    double left = once->until - clock_now();
    wait->once = once;
    wait->done = done;
    wait->arg = arg;
    wait->request = (struct store_request){
        .kind = STORE_ONCE,
        .key = {(const char *)once->name, sizeof(once->name)},
        .ttl_ms = left > 1 ? (uint64_t)(left * 1000) : 1000,
        .done = on_asked,
    };
    store_submit(app->store, &wait->request);
    return true;
}

/* ---- the secret of nonces ---- */

static void ask_secret(uv_timer_t *timer);

static void on_secret(struct store_request *request)
{
    struct app *app = container_of(request, struct app, fleet.request);
    bool known = request->status == 0;
    if (known)
        nonce_secret_adopt(buf_str(&request->out));
    buf_free(&request->out);
    if (app->fleet.open)
        uv_timer_start(&app->fleet.again, ask_secret, known ? RENEW_MS : AGAIN_MS, 0);
}

/* A server that has lost it gets it again from who asks first: nonces that were given stay good. */
static void ask_secret(uv_timer_t *timer)
{
    struct app *app = container_of(timer, struct app, fleet.again);
    app->fleet.request = (struct store_request){
        .kind = STORE_SECRET,
        .key = STR("nonce"),
        .value = {STORE_TEXT, nonce_secret_get()},
        .done = on_secret,
    };
    store_submit(app->store, &app->fleet.request);
}

static bool is_made(const struct dpop *dpop)
{
    return dpop->nonce == DPOP_NONCE_ON && dpop->nonce_secret.len == 0;
}

/* Does it ask for nonces without a secret of its own? */
static bool makes_nonces(const struct deployment *d)
{
    for (unsigned i = 0; i < d->config->issuer_count; i++) {
        if (is_made(&d->config->issuers[i].verifier.dpop))
            return true;
    }
    for (unsigned i = 0; i < d->function_count; i++) {
        if (is_made(&d->functions[i]->spec->policy.dpop))
            return true;
    }
    return false;
}

void app_fleet_need(struct app *app, const struct deployment *deployment)
{
    if (app->fleet.open || !app_is_fleet(app) || !makes_nonces(deployment))
        return;
    app->fleet.open = true;
    uv_timer_init(app->loop, &app->fleet.again);
    ask_secret(&app->fleet.again);
}

void app_fleet_close(struct app *app)
{
    if (!app->fleet.open)
        return;
    app->fleet.open = false;
    uv_close((uv_handle_t *)&app->fleet.again, NULL);
}
