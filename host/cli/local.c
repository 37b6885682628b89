/* An app without a port: its life, and the other end of its exchanges. */
#include "cli/local.h"

#include <errno.h>
#include <stdio.h>

#include "base/limits.h"
#include "cli/cli.h"
#include "cli/dev_key.h"
#include "cli/dev_place.h"
#include "lua/budget.h"

/* ---- the app ---- */

static void on_ready(struct app *app, int status)
{
    struct local *local = container_of(app, struct local, app);
    local->ready = true;
    local->status = status;
}

static int make_keys(struct local *local)
{
    struct err err;
    if (dev_key_get(local->config_file, ALG_RS256, &local->key, &err) != 0)
        return cli_fault("the dev issuer's key cannot be made: %s", err.text);
    local->trusted = keyset_of(local->key);
    return local->trusted != NULL ? 0 : cli_fault("out of memory");
}

int local_open(struct local *local, const struct local_options *o)
{
    *local = (struct local){.config_file = o->config_file};
    list_init(&local->turns);
    if (uv_loop_init(&local->loop) != 0)
        return cli_fault("no descriptors are left: raise `ulimit -n`");
    if (budget_start() != 0) {
        uv_loop_close(&local->loop);
        return cli_fault("no timers are left: raise `ulimit -i`");
    }
    uv_timer_init(&local->loop, &local->soon);
    local->is_open = true;
    if (o->trust && make_keys(local) != 0)
        return EXIT_FAULT;
    const struct app_options options = {.config_file = o->config_file,
                                        .dev = !o->serve,
                                        .defaults =
                                            o->serve ? NULL : dev_place_defaults(o->config_file),
                                        .bindings = o->bindings,
                                        .own_functions = o->own_functions,
                                        .instead = o->instead,
                                        .kv_file = o->kv_file,
                                        .kv_local = o->kv_local,
                                        .sql_trial = o->sql_trial,
                                        .rates = o->rates,
                                        .deliveries = o->deliveries,
                                        .direct = !o->serve,
                                        .trusted = local->trusted};
    if (app_init(&local->app, &local->loop, &options, on_ready) != 0)
        return cli_fault("out of memory");
    while (!local->ready && uv_run(&local->loop, UV_RUN_ONCE) != 0)
        continue;
    return local->ready && local->status == 0 ? 0 : EXIT_FAULT;
}

void local_close(struct local *local)
{
    if (!local->is_open)
        return;
    if (local->app.loop != NULL)
        app_close(&local->app);
    uv_close((uv_handle_t *)&local->soon, NULL);
    uv_run(&local->loop, UV_RUN_DEFAULT);
    app_free(&local->app);
    uv_loop_close(&local->loop);
    keyset_unref(local->trusted);
    key_unref(local->key);
    budget_stop();
}

/* ---- calls ---- */

static void on_soon(uv_timer_t *timer);

static void take_turn(struct local *local, struct local_call *call)
{
    list_remove(&call->in_turns);
    list_push(&local->turns, &call->in_turns);
    uv_timer_start(&local->soon, on_soon, 0, 0);
}

static void on_soon(uv_timer_t *timer)
{
    struct local *local = container_of(timer, struct local, soon);
    struct list turns;
    list_init(&turns);
    list_append(&turns, &local->turns);
    while (!list_is_empty(&turns)) {
        struct local_call *call = container_of(turns.next, struct local_call, in_turns);
        list_remove(&call->in_turns);
        if (call->answered)
            call->done(call);
        else
            local_send(local, call);
    }
}

/* The function may be in the middle of its end: who waits is told at the next turn. */
static void on_end(struct local_call *call)
{
    call->answered = true;
    if (call->done != NULL)
        take_turn(call->local, call);
}

/* All of a file: who asks is told of it when it is there. */
static void read_file(struct local_call *call)
{
    struct file_body *file = call->ex->res.file;
    while (exchange_sends_file(call->ex)) {
        size_t count = file->left < LIMIT_FILE_PIECE ? (size_t)file->left : LIMIT_FILE_PIECE;
        if (buf_reserve(&call->streamed, count) != 0 ||
            file_body_read(file, call->streamed.data + call->streamed.len, count) != 0) {
            call->streamed.failed = true;
            return;
        }
        call->streamed.len += count;
    }
}

static void on_answer(struct exchange *ex)
{
    struct local_call *call = ex->conn;
    call->begun = true;
    if (ex->res.streamed)
        return;
    read_file(call);
    on_end(call);
}

static size_t on_stream_write(struct exchange *ex, struct str bytes)
{
    struct local_call *call = ex->conn;
    buf_add_str(&call->streamed, bytes);
    return call->paced ? call->streamed.len - call->taken : 0;
}

static void on_stream_end(struct exchange *ex)
{
    on_end(ex->conn);
}

static void on_stream_abort(struct exchange *ex)
{
    struct local_call *call = ex->conn;
    call->broken = true;
    on_end(call);
}

static const struct exchange_sink sink = {.answer = on_answer,
                                          .stream_write = on_stream_write,
                                          .stream_end = on_stream_end,
                                          .stream_abort = on_stream_abort};

int local_call_new(struct local_call *call)
{
    *call = (struct local_call){.ex = exchange_new(&sink, call)};
    if (call->ex == NULL)
        return -ENOMEM;
    list_init(&call->in_turns);
    struct request *req = &call->ex->req;
    req->scheme = STR("http");
    req->host = STR("localhost");
    req->client_ip = STR("127.0.0.1");
    req->version_minor = 1;
    return local_add_header(call, STR("host"), req->host, NULL);
}

void local_call_free(struct local_call *call)
{
    if (call->ex != NULL) {
        list_remove(&call->in_turns);
        exchange_detach(call->ex);
        exchange_release(call->ex);
    }
    buf_free(&call->streamed);
    call->ex = NULL;
}

struct str local_body(const struct local_call *call)
{
    const struct response *res = &call->ex->res;
    bool whole = !res->streamed && (res->file == NULL || res->file->file == NULL);
    return str_skip(whole ? res->body : buf_str(&call->streamed), call->taken);
}

void local_take(struct local_call *call, size_t count)
{
    struct exchange *ex = call->ex;
    void (*drained)(struct exchange *) = ex->on_drained;
    call->taken += count;
    if (!ex->res.streamed)
        return;
    buf_consume(&call->streamed, call->taken);
    call->taken = 0;
    if (drained == NULL || call->streamed.len > LIMIT_STREAM_BYTES / 2)
        return;
    ex->on_drained = NULL;
    drained(ex);
}

void local_send(struct local *local, struct local_call *call)
{
    call->local = local;
    call->ex->state = EXCHANGE_WORKING;
    exchange_identify(call->ex);
    if (call->id.len > 0 && call->id.len < sizeof(call->ex->request_id))
        snprintf(call->ex->request_id, sizeof(call->ex->request_id), "%.*s", STR_ARG(call->id));
    if (call->job != NULL)
        app_call_job(&local->app, call->function, call->ex, call->job, call->ex->req.path, NULL,
                     (struct str){NULL, 0});
    else if (call->function != NULL)
        app_call_scheduled(&local->app, call->function, call->ex);
    else
        app_on_request(&local->app, call->ex);
}

void local_send_later(struct local *local, struct local_call *call)
{
    take_turn(local, call);
}

void local_finish(struct local *local)
{
    while (!app_is_idle(&local->app) && uv_run(&local->loop, UV_RUN_ONCE) != 0)
        continue;
}
