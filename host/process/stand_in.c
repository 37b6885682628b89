/* Who answers while no worker serves. */
#include "process/stand_in.h"

#include <signal.h>

#include "app/kept.h"
#include "base/log.h"
#include "server/tls.h"

enum { SIGNALS = 2, LOOK_MS = 10 };

struct stand_in {
    uv_loop_t loop;
    uv_signal_t signals[SIGNALS];
    uv_timer_t look; /* whether a worker serves */
    const struct worker_table *table;
    struct server *server;
    bool ending;
};

/* /_luafn/live stays true: the process lives. */
static void on_request(void *arg, struct exchange *ex)
{
    (void)arg;
    ex->res.close = true;
    if (ex->admin && str_eq(ex->req.path, STR("/_luafn/live"))) {
        ex->res.status = 200;
        exchange_answer(ex);
        return;
    }
    (void)!headers_add(&ex->res.headers, &ex->arena, STR("Retry-After"), STR("1"));
    exchange_answer_error(ex, 503, STR("unavailable"),
                          STR("The service cannot answer at the moment"));
}

/* Whoever it is: all that is said to him is that nobody serves. */
static bool trusts(void *arg, struct str peer)
{
    (void)arg;
    (void)peer;
    return true;
}

static void on_closed(void *arg)
{
    struct stand_in *s = arg;
    server_free(s->server);
    s->server = NULL;
}

static void on_drained(void *arg)
{
    struct stand_in *s = arg;
    server_close(s->server, on_closed, s);
}

static void end(struct stand_in *s)
{
    if (s->ending)
        return;
    s->ending = true;
    for (unsigned i = 0; i < SIGNALS; i++)
        uv_close((uv_handle_t *)&s->signals[i], NULL);
    uv_close((uv_handle_t *)&s->look, NULL);
    server_drain(s->server, on_drained, s);
}

static void on_signal(uv_signal_t *handle, int signal)
{
    (void)signal;
    end(handle->data);
}

static bool somebody_serves(const struct worker_table *table)
{
    bool serves = false;
    for (unsigned i = 0; i < LIMIT_WORKERS; i++)
        serves |= atomic_load(&table->slots[i].ready) == 1;
    return serves;
}

static void on_look(uv_timer_t *timer)
{
    struct stand_in *s = timer->data;
    if (somebody_serves(s->table))
        end(s);
}

static int listen_all(struct stand_in *s, const struct worker_options *o)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < o->listen_count; i++)
        rc = server_listen_fd(s->server, o->listen_fds[i], worker_door(o, i));
    return rc == 0 && o->admin_fd >= 0 ? server_listen_fd(s->server, o->admin_fd, SERVER_ADMIN)
                                       : rc;
}

/* With the certificates that were last served, where the files are no good. */
static int use_tls(struct stand_in *s, const struct app_options *o)
{
    struct err err;
    if (o->tls_count == 0)
        return 0;
    const struct kept *kept = o->kept;
    struct tls *tls = tls_new(o->tls, o->tls_count, kept != NULL ? kept->certificates : NULL,
                              kept != NULL ? kept->certificate_count : 0, o->tls_client_ca, &err);
    return tls != NULL ? server_use_tls(s->server, tls) : UV_EINVAL;
}

int stand_in_run(const struct worker_options *options)
{
    static struct stand_in s;
    static const int numbers[SIGNALS] = {SIGTERM, SIGINT};
    const struct server_handlers handlers = {
        .on_request = on_request,
        .trusts = options->app.proxy_protocol ? trusts : NULL,
        .arg = &s,
    };
    struct server_limits limits;
    server_limits_init(&limits);
    signal(SIGPIPE, SIG_IGN);
    if (somebody_serves(options->table))
        return WORKER_EXIT_OK;
    if (!worker_confine(options->confine) || uv_loop_init(&s.loop) != 0)
        return WORKER_EXIT_FAILED;
    s.server = server_new(&s.loop, &handlers, &limits);
    if (s.server == NULL || use_tls(&s, &options->app) != 0 || listen_all(&s, options) != 0) {
        log_message(LOG_ERROR, "cannot answer in the place of a worker");
        return WORKER_EXIT_FAILED;
    }
    for (unsigned i = 0; i < SIGNALS; i++) {
        uv_signal_init(&s.loop, &s.signals[i]);
        s.signals[i].data = &s;
        uv_signal_start(&s.signals[i], on_signal, numbers[i]);
    }
    s.table = options->table;
    uv_timer_init(&s.loop, &s.look);
    s.look.data = &s;
    uv_timer_start(&s.look, on_look, LOOK_MS, LOOK_MS);
    uv_run(&s.loop, UV_RUN_DEFAULT);
    return WORKER_EXIT_OK;
}
