/* A worker: one process, one event loop, one app. */
#include "process/worker.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/log.h"
#include "base/limits.h"
#include "process/keeper.h"
#include "process/listener.h"
#include "lua/budget.h"

enum { HEARTBEAT_MS = 250, SWEEP_MS = 1000, SETTLE_MS = 10, SIGNALS = 3 };

struct worker {
    uv_loop_t loop;
    struct app app;
    const struct worker_options *options;
    uv_timer_t heartbeat, sweep, drain_timer;
    uv_prepare_t flush; /* writes access lines before the loop waits */
    uv_signal_t signals[SIGNALS];
    unsigned handles;      /* of the above; all are closed at the end */
    unsigned reload_begun; /* the newest that was asked for when it last looked at the files */
    bool reload_due;       /* before it listened to signals */
    bool stopping;
    bool drained; /* no client is left */
    bool closing;
    int status;
};

static void close_all(struct worker *worker);
static void on_drain_timeout(uv_timer_t *timer);

/* ---- stopping ---- */

/* Every client has its answer; background and scheduled runs may go on until the time is over. */
static void on_drained(void *arg)
{
    struct worker *worker = arg;
    worker->drained = true;
    if (app_is_idle(&worker->app))
        close_all(worker);
}

/* What waited in the queues of the sockets has been taken by now. */
static void on_looked(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    uv_timer_start(&worker->drain_timer, on_drain_timeout,
                   (uint64_t)(worker->options->drain * 1000), 0);
    app_drain(&worker->app, on_drained, worker);
}

/* Nobody else comes; after one more turn the queues are empty. */
static void on_settled(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    const struct worker_options *o = worker->options;
    bool last = atomic_load(&o->slot->last) == 1;
    for (unsigned i = 0; last && i < o->listen_count; i++) {
        int rc = listener_end(o->listen_fds[i]);
        if (rc != 0)
            log_message(LOG_WARN, "who connects in this moment may be reset, not refused: %s",
                        strerror(-rc));
    }
    uv_timer_start(timer, on_looked, 1, 0);
}

static void on_drain_timeout(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    log_message(LOG_WARN, "drain time is over; ending what still runs");
    close_all(worker);
}

static void stop(struct worker *worker)
{
    if (worker->app.server == NULL) {
        close_all(worker);
        return;
    }
    worker->stopping = true;
    app_announce_drain(&worker->app);
    uv_timer_start(&worker->drain_timer, on_settled, SETTLE_MS, 0);
}

/* All but the heart, which beats for as long as something else is open: what ends slowly is no hung
 * loop. */
static void close_all(struct worker *worker)
{
    if (worker->closing)
        return;
    worker->closing = true;
    app_close(&worker->app);
    uv_unref((uv_handle_t *)&worker->heartbeat);
    uv_close((uv_handle_t *)&worker->sweep, NULL);
    uv_close((uv_handle_t *)&worker->drain_timer, NULL);
    uv_close((uv_handle_t *)&worker->flush, NULL);
    for (unsigned i = 0; i < SIGNALS; i++)
        uv_close((uv_handle_t *)&worker->signals[i], NULL);
}

/* ---- the loop's own handles ---- */

static void reload(struct worker *worker)
{
    worker->reload_begun = atomic_load(&worker->options->slot->reload_asked);
    app_reload(&worker->app);
}

static void on_heartbeat(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    struct worker_slot *slot = worker->options->slot;
    atomic_store(&slot->heartbeat_ns, uv_hrtime());
    if (worker->reload_due && !worker->stopping &&
        worker->reload_begun != atomic_load(&slot->reload_asked))
        reload(worker);
    worker->reload_due = false;
}

static void apply_suspension(struct worker *worker, struct suspension *s)
{
    struct deployment *d = worker->app.current;
    struct function *function = d != NULL ? deployment_find(d, str_from(s->name)) : NULL;
    if (function == NULL)
        return;
    uint64_t now = function->tried, none = 0;
    atomic_compare_exchange_strong(&s->content, &none, now);
    bool suspended = atomic_load(&s->content) == now;
    if (!suspended)
        atomic_store(&s->active, 0);
    function->suspended = suspended;
}

static void apply_suspensions(struct worker *worker)
{
    struct suspension *list = worker->options->suspensions->list;
    for (unsigned i = 0; i < LIMIT_SUSPENSIONS; i++) {
        if (atomic_load(&list[i].active))
            apply_suspension(worker, &list[i]);
    }
}

/* Somebody else opens the file anew; one worker after the other, so that some serve. */
static void check_store(struct worker *worker)
{
    const struct worker_options *o = worker->options;
    if (worker->stopping || worker->app.store == NULL || !store_is_lost(worker->app.store) ||
        !shared_lock_try(&o->table->leave))
        return;
    log_message(LOG_WARN,
                "the file of kv is another one now, or damaged: this worker makes room for "
                "one that opens it");
    worker->status = WORKER_EXIT_STORE;
    atomic_store(&o->slot->ready, 0);
    stop(worker);
}

static void on_sweep(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    app_sweep(&worker->app);
    app_publish_gauges(&worker->app);
    if (worker->app.server != NULL)
        worker->app.keep_due |= server_refresh(worker->app.server);
    app_schedule_update(&worker->app);
    app_delivery_renew(&worker->app);
    app_queue_update(&worker->app);
    if (worker->drained && app_is_idle(&worker->app))
        close_all(worker);
    check_store(worker);
    apply_suspensions(worker);
}

/* Who takes this worker's place begins with what it serves now. Workers serve the same: one gives
 * it away. */
static void keep(struct worker *worker)
{
    _Atomic uint64_t *known = &worker->options->table->kept;
    struct buf text = BUF_INIT;
    worker->app.keep_due = false;
    if (!kept_write(&worker->app, &text)) {
        log_message(LOG_ERROR, "out of memory: a worker that is replaced begins with less");
        buf_free(&text);
        return;
    }
    uint64_t hash = str_hash(buf_str(&text));
    if (atomic_load(known) != hash) {
        int rc = keeper_give(worker->options->keep_fd, buf_str(&text));
        if (rc == 0)
            atomic_store(known, hash);
        worker->app.keep_due = rc == -EAGAIN; /* the supervisor is behind */
    }
    buf_free(&text);
}

/* Not while it loads, or is to: what it serves then may be older than what another has given
 * already. A reload has come to its end when whoever takes this worker's place has it, too. */
static void keep_what_is_new(struct worker *worker)
{
    struct worker_slot *slot = worker->options->slot;
    const struct app *app = &worker->app;
    bool news = app->keep_due || atomic_load(&slot->reload_ended) != worker->reload_begun;
    if (!news || !app->ready || app->loading != NULL || worker->stopping ||
        worker->reload_begun != atomic_load(&slot->reload_asked))
        return;
    if (app->keep_due)
        keep(worker);
    if (!app->keep_due)
        atomic_store(&slot->reload_ended, worker->reload_begun);
}

static void on_flush(uv_prepare_t *prepare)
{
    struct worker *worker = prepare->data;
    keep_what_is_new(worker);
    log_flush();
    app_publish(&worker->app);
}

static void on_signal(uv_signal_t *handle, int signal)
{
    struct worker *worker = handle->data;
    if (signal == SIGHUP) {
        reload(worker);
    } else if (signal == SIGTERM && !worker->stopping) {
        /* A terminal's ^C and a group's SIGTERM come twice: the supervisor counts, and kills. */
        stop(worker);
    }
}

static void open_handles(struct worker *worker)
{
    static const int numbers[SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    uv_loop_t *loop = &worker->loop;
    uv_timer_init(loop, &worker->heartbeat);
    uv_timer_init(loop, &worker->sweep);
    uv_timer_init(loop, &worker->drain_timer);
    uv_prepare_init(loop, &worker->flush);
    worker->flush.data = worker;
    worker->heartbeat.data = worker->sweep.data = worker->drain_timer.data = worker;
    uv_timer_start(&worker->heartbeat, on_heartbeat, 0, HEARTBEAT_MS);
    uv_timer_start(&worker->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    uv_prepare_start(&worker->flush, on_flush);
    for (unsigned i = 0; i < SIGNALS; i++) {
        uv_signal_init(loop, &worker->signals[i]);
        worker->signals[i].data = worker;
        uv_signal_start(&worker->signals[i], on_signal, numbers[i]);
    }
}

/* ---- starting ---- */

enum server_door worker_door(const struct worker_options *options, unsigned i)
{
    bool last = i + 1 == options->listen_count;
    return options->redirects && last ? SERVER_REDIRECT : SERVER_PUBLIC;
}

/* The server owns them from here on: when it stops accepting, nobody in this process does. */
static int listen_all(struct worker *worker)
{
    const struct worker_options *o = worker->options;
    for (unsigned i = 0; i < o->listen_count; i++) {
        int rc = server_listen_fd(worker->app.server, o->listen_fds[i], worker_door(o, i));
        if (rc != 0)
            return rc;
    }
    return o->admin_fd >= 0 ? server_listen_fd(worker->app.server, o->admin_fd, SERVER_ADMIN) : 0;
}

static void on_ready(struct app *app, int status)
{
    struct worker *worker = container_of(app, struct worker, app);
    int rc = status == 0 ? app_make_server(app) : 0;
    apply_suspensions(worker);
    if (status == 0 && rc == 0)
        rc = listen_all(worker);
    if (rc != 0)
        log_message(LOG_ERROR, "cannot listen: %s", uv_strerror(rc));
    if (status != 0 || rc != 0) {
        worker->status = status != 0 ? WORKER_EXIT_CONFIG : WORKER_EXIT_FAILED;
        stop(worker);
    } else {
        app_schedule_update(app);
        app_queue_update(app);
        app_publish_gauges(app);
        keep_what_is_new(worker); /* before anybody can know that this one serves */
        atomic_store(&worker->options->slot->ready, 1);
        worker->reload_due = workers_reload_is_due(worker->options->slot);
    }
}

bool worker_confine(const struct confine *limits)
{
    struct err err;
    bool files = true;
    if (limits != NULL && confine_process(limits, &files, &err) != 0) {
        log_message(LOG_ERROR, "--sandbox: %s", err.text);
        return false;
    }
    if (!files)
        log_message(LOG_WARN, "--sandbox: this kernel has no Landlock; only system calls are "
                              "confined");
    return true;
}

int worker_run(const struct worker_options *options)
{
    static struct worker worker;
    memset(&worker, 0, sizeof(worker));
    worker.options = options;
    worker.reload_begun = atomic_load(&options->slot->reload_ended);
    signal(SIGPIPE, SIG_IGN);
    if (!worker_confine(options->confine)) /* before there is a second thread */
        return WORKER_EXIT_FAILED;
    if (uv_loop_init(&worker.loop) != 0 || budget_start() != 0) {
        log_message(LOG_ERROR, "cannot start a worker: out of memory or descriptors");
        return WORKER_EXIT_FAILED;
    }
    open_handles(&worker);
    if (app_init(&worker.app, &worker.loop, &options->app, on_ready) != 0) {
        log_message(LOG_ERROR, "cannot start a worker: out of memory");
        worker.status = WORKER_EXIT_FAILED;
        close_all(&worker);
    }
    uv_run(&worker.loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&worker.heartbeat, NULL);
    uv_run(&worker.loop, UV_RUN_DEFAULT);
    app_free(&worker.app);
    if (uv_loop_close(&worker.loop) != 0 && worker.status == WORKER_EXIT_OK)
        log_message(LOG_WARN, "a handle was left open at the end");
    budget_stop();
    log_flush();
    return worker.status;
}
