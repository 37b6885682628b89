/* /_luafn/journal: the records of all workers, for those who operate the host.
 *
 *     GET /_luafn/journal           {"records":[...]}: the newest first, at most JOURNAL_LISTED
 *     GET /_luafn/journal/ID        one record
 *     GET /_luafn/journal/live      server-sent events: a record each as it is written
 *
 * Whoever listens to the last one is an exchange with a timer, which looks at the folder. */
#include "app/app.h"

#include <stdlib.h>

#include "journal/journal.h"
#include "journal/journal_reader.h"

enum { JOURNAL_LISTED = 100, LOOK_MS = 100, ALIVE_LOOKS = 150 };

struct live {
    struct list node; /* in app->lives */
    struct app *app;
    struct exchange *ex; /* reference; NULL: the client has left */
    uv_timer_t timer;
    struct journal_follower follower;
    unsigned quiet; /* looks since something was sent */
    bool waits;     /* for the client to read */
};

static void answer_json(struct exchange *ex, struct buf *body)
{
    struct str copy =
        buf_failed(body) ? (struct str){NULL, 0} : arena_copy(&ex->arena, buf_str(body));
    buf_free(body);
    if (copy.ptr == NULL ||
        response_set_body(&ex->res, &ex->arena, 200, STR("application/json"), copy) != 0 ||
        headers_add(&ex->res.headers, &ex->arena, STR("Cache-Control"), STR("no-store")) != 0)
        ex->res = (struct response){.status = 500};
    exchange_answer(ex);
}

/* ---- what is there ---- */

struct listing {
    struct buf out;
    struct str id; /* empty: all */
    unsigned count;
};

static bool add_record(void *arg, struct str line)
{
    struct listing *l = arg;
    if (!journal_is_readable(line) || (l->id.len > 0 && !journal_is_record(line, l->id)))
        return true;
    if (l->count++ > 0)
        buf_add_char(&l->out, ',');
    buf_add_str(&l->out, line);
    return l->id.len == 0 && l->count < JOURNAL_LISTED;
}

static void answer_list(struct app *app, struct exchange *ex)
{
    struct listing l = {.out = BUF_INIT};
    buf_add_str(&l.out, STR("{\"records\":["));
    if (journal_read(app->options.journal_folder, add_record, &l) != 0)
        l.count = 0; /* there is none yet */
    buf_add_str(&l.out, STR("]}"));
    answer_json(ex, &l.out);
}

static void answer_record(struct app *app, struct exchange *ex, struct str id)
{
    struct listing l = {.out = BUF_INIT, .id = id};
    if (id.len > 0 && journal_read(app->options.journal_folder, add_record, &l) == 0 &&
        l.count > 0) {
        answer_json(ex, &l.out);
        return;
    }
    buf_free(&l.out);
    exchange_answer_error(ex, 404, STR("not_found"), STR("The journal has no record of that id"));
}

/* ---- what comes ---- */

static void on_closed(uv_handle_t *handle)
{
    free(container_of((uv_timer_t *)handle, struct live, timer));
}

static void end_live(struct live *live)
{
    struct exchange *ex = live->ex;
    list_remove(&live->node);
    live->app->live_count--;
    journal_follow_end(&live->follower);
    uv_close((uv_handle_t *)&live->timer, on_closed);
    ex->on_gone = NULL;
    ex->on_drained = NULL;
    ex->owner = NULL;
    exchange_stream_end(ex);
    exchange_release(ex);
}

static void on_gone(struct exchange *ex)
{
    end_live(ex->owner);
}

static void on_drained(struct exchange *ex)
{
    struct live *live = ex->owner;
    live->waits = false;
}

static void write_to(struct live *live, struct str text)
{
    live->quiet = 0;
    if (exchange_stream_write(live->ex, text) <= LIMIT_STREAM_BYTES)
        return;
    live->waits = true;
    live->ex->on_drained = on_drained;
}

static bool send_record(void *arg, struct str line)
{
    struct live *live = arg;
    struct buf event = BUF_INIT;
    if (!journal_is_readable(line))
        return true;
    buf_add_str(&event, STR("data: "));
    buf_add_str(&event, line);
    buf_add_str(&event, STR("\n\n"));
    if (!buf_failed(&event))
        write_to(live, buf_str(&event));
    buf_free(&event);
    return true;
}

/* A comment now and then finds out whether anybody is there. */
static void on_look(uv_timer_t *timer)
{
    struct live *live = container_of(timer, struct live, timer);
    if (live->waits)
        return;
    journal_follow_next(&live->follower, send_record, live);
    if (++live->quiet > ALIVE_LOOKS)
        write_to(live, STR(":\n\n"));
}

static void answer_live(struct app *app, struct exchange *ex)
{
    struct live *live = app->live_count < LIMIT_JOURNAL_LIVE ? calloc(1, sizeof(*live)) : NULL;
    if (live == NULL || journal_follow(&live->follower, app->options.journal_folder) != 0 ||
        headers_add(&ex->res.headers, &ex->arena, STR("Content-Type"), STR("text/event-stream")) !=
            0 ||
        headers_add(&ex->res.headers, &ex->arena, STR("Cache-Control"), STR("no-store")) != 0) {
        free(live);
        exchange_answer_error(ex, 503, STR("busy"), STR("Too many follow the journal already"));
        return;
    }
    live->app = app;
    live->ex = ex;
    exchange_hold(ex);
    list_push(&app->lives, &live->node);
    app->live_count++;
    uv_timer_init(app->loop, &live->timer);
    uv_timer_start(&live->timer, on_look, LOOK_MS, LOOK_MS);
    ex->res.status = 200;
    ex->res.streamed = true;
    ex->owner = live;
    ex->on_gone = on_gone;
    exchange_answer(ex);
    write_to(live, STR(":\n\n"));
}

void app_journal_close(struct app *app)
{
    while (!list_is_empty(&app->lives))
        end_live(container_of(app->lives.next, struct live, node));
}

bool app_journal(struct app *app, struct exchange *ex, struct str path)
{
    static const struct str base = {"/_luafn/journal", 15};
    if (!str_starts_with(path, base))
        return false;
    struct str rest = str_skip(path, base.len);
    if (rest.len > 0 && rest.ptr[0] != '/')
        return false;
    if (app->options.journal_folder == NULL || app->journal == NULL)
        exchange_answer_error(ex, 404, STR("not_found"),
                              STR("There is no journal: functions.lua has no journal = { errors = "
                                  "true }, or .luafn cannot be written"));
    else if (rest.len <= 1)
        answer_list(app, ex);
    else if (str_eq(rest, STR("/live")) && ex->req.method == METHOD_GET)
        answer_live(app, ex);
    else
        answer_record(app, ex, str_skip(rest, 1));
    return true;
}
