/* POST /_luafn/dev/replay/ID: `luafn replay ID --json` for the dashboard.
 *
 * The run is a process of its own, as that command's always is: it needs a clock and a seed of its
 * own. What it prints is the answer. Only a page of ours can send the field that is asked for:
 * other origins would have to ask first, and nobody answers them. */
#include "app/app.h"

#include <signal.h>
#include <stdlib.h>

#include "base/limits.h"

enum { REPLAY_MS = 30000 };

struct pipe {
    uv_pipe_t handle;
    struct replay_run *run;
    struct buf text;
    char chunk[4096];
};

struct replay_run {
    struct list node; /* in app->replays, until it is answered */
    struct app *app;
    struct exchange *ex; /* reference; NULL: the client has left, or has its answer */
    uv_process_t process;
    uv_timer_t timer;
    struct pipe out, said; /* stdout and stderr */
    bool runs;             /* else its number may be another process's */
    unsigned open;         /* handles */
    unsigned awaited;      /* ends of the process and of both pipes that did not come yet */
};

static void on_closed(uv_handle_t *handle)
{
    struct replay_run *run = handle->data;
    if (--run->open > 0)
        return;
    buf_free(&run->out.text);
    buf_free(&run->said.text);
    free(run);
}

static void close_handle(struct replay_run *run, void *handle)
{
    uv_handle_t *h = handle;
    h->data = run;
    if (!uv_is_closing(h))
        uv_close(h, on_closed);
}

/* It has its answer, or its client has left. */
static struct exchange *let_go(struct replay_run *run)
{
    struct exchange *ex = run->ex;
    run->ex = NULL;
    list_remove(&run->node);
    run->app->replay_count--;
    ex->on_gone = NULL;
    ex->owner = NULL;
    return ex;
}

static void stop(struct replay_run *run)
{
    if (run->runs)
        (void)uv_process_kill(&run->process, SIGKILL);
}

static void on_gone(struct exchange *ex)
{
    struct replay_run *run = ex->owner;
    stop(run);
    exchange_release(let_go(run));
}

static void answer(struct exchange *ex, const struct replay_run *run)
{
    struct str text = buf_str(&run->out.text);
    struct buf body = BUF_INIT;
    if (text.len > 0 && text.ptr[0] == '{') {
        buf_add_str(&body, text);
    } else {
        buf_add_str(&body, STR("{\"fault\":"));
        buf_add_json(&body, run->said.text.len > 0 ? buf_str(&run->said.text)
                                                   : STR("the replay ended without an answer"));
        buf_add_char(&body, '}');
    }
    struct str copy =
        buf_failed(&body) ? (struct str){NULL, 0} : arena_copy(&ex->arena, buf_str(&body));
    buf_free(&body);
    if (copy.ptr == NULL ||
        response_set_body(&ex->res, &ex->arena, 200, STR("application/json"), copy) != 0 ||
        headers_add(&ex->res.headers, &ex->arena, STR("Cache-Control"), STR("no-store")) != 0)
        ex->res = (struct response){.status = 500};
    exchange_answer(ex);
    exchange_release(ex);
}

static void end_of_one(struct replay_run *run)
{
    if (--run->awaited > 0)
        return;
    if (run->ex != NULL)
        answer(let_go(run), run);
    close_handle(run, &run->process);
    close_handle(run, &run->timer);
    close_handle(run, &run->out.handle);
    close_handle(run, &run->said.handle);
}

static void on_ended(uv_process_t *process, int64_t status, int signal)
{
    struct replay_run *run = container_of(process, struct replay_run, process);
    (void)status;
    (void)signal;
    run->runs = false;
    end_of_one(run);
}

static void on_late(uv_timer_t *timer)
{
    stop(container_of(timer, struct replay_run, timer));
}

static void give_room(uv_handle_t *handle, size_t wanted, uv_buf_t *out)
{
    struct pipe *pipe = container_of((uv_pipe_t *)handle, struct pipe, handle);
    (void)wanted;
    *out = uv_buf_init(pipe->chunk, sizeof(pipe->chunk));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *chunk)
{
    struct pipe *pipe = container_of((uv_pipe_t *)stream, struct pipe, handle);
    if (n >= 0) {
        if (pipe->text.len + (size_t)n <= LIMIT_REPLAY_TEXT)
            buf_add(&pipe->text, chunk->base, (size_t)n);
        return;
    }
    (void)uv_read_stop(stream);
    end_of_one(pipe->run);
}

static void open_pipe(struct replay_run *run, struct pipe *pipe, uv_stdio_container_t *out)
{
    pipe->run = run;
    uv_pipe_init(run->app->loop, &pipe->handle, 0);
    out->flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE;
    out->data.stream = (uv_stream_t *)&pipe->handle;
}

/* False: it cannot be started. */
static bool start(struct replay_run *run, const char *id)
{
    const char *args[] = {
        "luafn", "replay", id, "--json", "--config", run->app->options.config_file, NULL};
    uv_stdio_container_t stdio[3] = {{.flags = UV_IGNORE}};
    uv_timer_init(run->app->loop, &run->timer);
    open_pipe(run, &run->out, &stdio[1]);
    open_pipe(run, &run->said, &stdio[2]);
    uv_process_options_t options = {.file = "/proc/self/exe",
                                    .args = (char **)(uintptr_t)args,
                                    .stdio = stdio,
                                    .stdio_count = 3,
                                    .exit_cb = on_ended};
    run->open = 4;
    if (uv_spawn(run->app->loop, &run->process, &options) != 0)
        return false;
    run->runs = true;
    run->awaited = 3;
    uv_timer_start(&run->timer, on_late, REPLAY_MS, 0);
    (void)uv_read_start((uv_stream_t *)&run->out.handle, give_room, on_read);
    (void)uv_read_start((uv_stream_t *)&run->said.handle, give_room, on_read);
    return true;
}

void app_replay(struct app *app, struct exchange *ex, struct str id)
{
    char name[sizeof(ex->request_id)];
    if (ex->req.method != METHOD_POST ||
        headers_get(&ex->req.headers, STR("x-luafn-dev")) == NULL) {
        exchange_answer_error(ex, 403, STR("forbidden"),
                              STR("This is for the dashboard: send POST, with X-Luafn-Dev: 1"));
        return;
    }
    struct replay_run *run =
        app->replay_count < LIMIT_REPLAYS && id.len < sizeof(name) && id.len > 0 && id.ptr[0] != '-'
            ? calloc(1, sizeof(*run))
            : NULL;
    if (run == NULL) {
        exchange_answer_error(ex, 503, STR("busy"), STR("It cannot be run again now"));
        return;
    }
    memcpy(name, id.ptr, id.len);
    name[id.len] = '\0';
    run->app = app;
    run->ex = ex;
    exchange_hold(ex);
    list_push(&app->replays, &run->node);
    app->replay_count++;
    ex->owner = run;
    ex->on_gone = on_gone;
    if (start(run, name))
        return;
    run->awaited = 1;
    end_of_one(run);
}

void app_replay_close(struct app *app)
{
    for (struct list *n = app->replays.next; n != &app->replays; n = n->next)
        stop(container_of(n, struct replay_run, node));
}
