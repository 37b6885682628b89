/* Scheduled functions: a timer for the next due time, and the request that nobody sent.
 *
 * Every worker keeps time; the board (schedule.h) says who of them has the run, or, where machines
 * share a store, that does (app_due.c). */
#include "app/app.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "options/cron.h"
#include "app/schedule.h"

/* The worker looks each second anyway, whatever the clock does; the timer is for being on time. */
enum { NEAR_SECONDS = 2 };

/* A run on its way; in the exchange's arena. */
struct run {
    struct exchange *ex;
    struct schedule_slot *slot;
    struct app_due *taken; /* of the store; NULL: of the board */
    struct str function, due;
};

/* ---- the request ---- */

static struct exchange *make_exchange(const struct app *app, const struct function_spec *spec,
                                      int64_t due)
{
    struct exchange *ex = exchange_new(NULL, NULL);
    if (ex == NULL)
        return NULL;
    ex->state = EXCHANGE_WORKING;
    ex->req.path = arena_printf(&ex->arena, "%.*s/%.*s", STR_ARG(app->current->config->prefix),
                                STR_ARG(spec->name));
    ex->req.target = ex->req.path;
    ex->req.host = STR("localhost");
    ex->req.scheme = STR("http");
    ex->req.client_ip = STR("127.0.0.1");
    ex->req.version_minor = 1;
    if (ex->req.path.ptr == NULL || schedule_request(ex, spec->cron, due) != 0) {
        exchange_release(ex);
        return NULL;
    }
    exchange_identify(ex);
    return ex;
}

/* ---- the run ---- */

static void log_run(enum log_level level, const char *message, struct str function, struct str due)
{
    struct log_line line;
    log_begin(&line, level, message);
    log_str(&line, "function", function);
    log_str(&line, "due", due);
    log_end(&line);
}

static void end_turn(struct schedule_slot *slot, struct app_due *taken)
{
    if (taken != NULL)
        app_due_ended(taken);
    else
        schedule_release(slot);
}

/* When the exchange goes: the handler and what it left for later have ended. */
static void on_run_end(void *arg)
{
    struct run *run = arg;
    uint64_t ns = clock_monotonic_ns() - run->ex->started_ns;
    int status = run->ex->res.status;
    end_turn(run->slot, run->taken);
    struct log_line line;
    log_begin(&line, status < 400 ? LOG_INFO : LOG_ERROR, "scheduled run ended");
    log_str(&line, "function", run->function);
    log_int(&line, "generation", run->ex->generation);
    log_str(&line, "request_id", str_from(run->ex->request_id));
    log_str(&line, "due", run->due);
    log_int(&line, "status", status);
    log_decimal(&line, "ms", (ns + 50000) / 100000, 1);
    log_end(&line);
}

static void start_run(struct app *app, struct function *function, const struct schedule_turn *turn,
                      struct app_due *taken)
{
    const struct function_spec *spec = function->spec;
    struct exchange *ex = make_exchange(app, spec, turn->due);
    struct run *run = ex != NULL ? arena_zalloc(&ex->arena, sizeof(*run)) : NULL;
    if (run == NULL || arena_defer(&ex->arena, on_run_end, run) != 0) {
        log_message(LOG_ERROR, "out of memory: the scheduled function %.*s is not run",
                    STR_ARG(spec->name));
        end_turn(turn->slot, taken);
        if (ex != NULL)
            exchange_release(ex);
        return;
    }
    *run = (struct run){.ex = ex,
                        .slot = turn->slot,
                        .taken = taken,
                        .function = arena_copy(&ex->arena, spec->name),
                        .due = schedule_iso_time(&ex->arena, turn->due)};
    app_call_scheduled(app, function, ex);
    exchange_release(ex);
}

/* Everything of this function that is due. */
static void run_due(struct app *app, struct function *function, int64_t now)
{
    struct schedule_turn turn;
    for (;;) {
        const struct function_spec *spec = function->spec; /* a run may bring another generation */
        if (spec->cron == NULL)
            return;
        enum schedule_verdict verdict =
            schedule_take(app->board, spec->name, spec->schedule, spec->cron, now, &turn);
        if (verdict == SCHEDULE_WAIT)
            return;
        if (verdict == SCHEDULE_FULL) {
            schedule_tell_full(spec->name, &function->unscheduled);
            return;
        }
        if (verdict == SCHEDULE_SET_BACK) {
            log_message(LOG_WARN, "the clock was set back: the schedule of %.*s goes by it",
                        STR_ARG(spec->name));
            continue;
        }
        char text[SCHEDULE_TIME_BYTES];
        struct str shown = schedule_write_time(turn.due, text);
        app->page->schedule_missed += turn.missed;
        app->page->schedule_runs += verdict == SCHEDULE_RUN;
        app->page->schedule_skipped += verdict == SCHEDULE_OVERLAP;
        if (turn.missed)
            log_run(LOG_WARN, "scheduled runs before this one were missed", spec->name, shown);
        if (verdict == SCHEDULE_RUN)
            start_run(app, function, &turn, NULL);
        else
            log_run(LOG_WARN, "scheduled run skipped: the one before has not ended", spec->name,
                    shown);
    }
}

/* ---- the timer ---- */

static void on_timer(uv_timer_t *timer)
{
    app_schedule_update(timer->data);
}

/* What is due of it now. */
static void look_at(struct app *app, struct function *function, double now)
{
    if (app_is_fleet(app))
        app_due_look(app, function);
    else
        run_due(app, function, (int64_t)now);
}

void app_schedule_update(struct app *app)
{
    if (app->board == NULL || app->current == NULL || app->draining)
        return;
    bool is_fleet = app_is_fleet(app);
    double now = is_fleet ? app_due_now(app) : clock_now();
    int64_t wake = (int64_t)now + NEAR_SECONDS;
    bool is_near = false;
    for (unsigned i = 0; i < app->current->function_count; i++) {
        struct function *function = app->current->functions[i];
        if (function->current == NULL || function->spec->cron == NULL)
            continue;
        look_at(app, function, now);
        int64_t next = now > 0 ? cron_next(function->spec->cron, (int64_t)now) : wake;
        is_near = is_near || next < wake;
        wake = next < wake ? next : wake;
    }
    if (is_fleet)
        app_due_sweep(app, false);
    uv_timer_stop(&app->schedule_timer);
    /* The loop's clock may lag behind the system's: better a millisecond late than early. */
    uv_update_time(app->loop);
    if (is_near)
        uv_timer_start(&app->schedule_timer, on_timer, (uint64_t)(((double)wake - now) * 1000) + 2,
                       0);
}

int app_schedule_open(struct app *app)
{
    app->board = app->options.board != NULL ? app->options.board : board_new();
    uv_timer_init(app->loop, &app->schedule_timer);
    app->schedule_timer.data = app;
    app->due.start = start_run;
    app->due.look = app_schedule_update;
    return app->board != NULL ? 0 : -ENOMEM;
}

void app_schedule_close(struct app *app)
{
    if (app->schedule_timer.loop != NULL) /* else app_init did not come so far */
        uv_close((uv_handle_t *)&app->schedule_timer, NULL);
}
