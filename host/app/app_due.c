/* Schedules of machines that share a store: each due time is taken there once, by the store's
 * clock.
 *
 * Of a machine's workers one asks: who holds the lock of the schedule's slot on the board, from the
 * question to the answer, or to the end of the run that it brings. What is taken is told to the
 * others by the slot. The store knows which worker runs it, and by the queue that it lives. */
#include "app/app.h"

#include <errno.h>
#include <stdlib.h>

#include "app/schedule.h"
#include "base/clock.h"
#include "base/log.h"

enum { AGAIN_MS = 500 /* after a time was held */ };

/* A schedule in this worker. */
struct app_due {
    struct list node;
    struct app *app;
    struct schedule_slot *slot; /* locked while it asks, runs, or is unsure */
    struct store_request request;
    struct schedule_turn turn;   /* what is asked for; due 0: nothing */
    int64_t run_due;             /* what runs, or ran last */
    uint64_t asked_ns, later_ms; /* the last time; not before */
    bool locked, asking, unsure, running, ended, wanted;
    struct str expression; /* of the two in `name` */
    size_t function_len;
    char name[]; /* FUNCTION EXPRESSION */
};

static struct str function_of(const struct app_due *due)
{
    return (struct str){due->name, due->function_len};
}

/* ---- who asks ---- */

static bool lock(struct app_due *due)
{
    due->locked = due->locked || shared_lock_try(&due->slot->running);
    return due->locked;
}

static void unlock(struct app_due *due)
{
    if (due->locked && !due->asking && !due->unsure && !due->running && !due->ended) {
        due->locked = false;
        schedule_release(due->slot);
    }
}

static struct app_due *new_due(struct app *app, const struct function_spec *spec)
{
    struct str name = spec->name, expression = spec->schedule;
    struct app_due *due = calloc(1, sizeof(*due) + name.len + expression.len + 1);
    if (due == NULL)
        return NULL;
    due->app = app;
    due->function_len = name.len;
    memcpy(due->name, name.ptr, name.len);
    due->name[name.len] = ' ';
    memcpy(due->name + name.len + 1, expression.ptr, expression.len);
    due->expression = (struct str){due->name + name.len + 1, expression.len};
    /* As one text: what the machine alone takes by its own clock is another schedule. */
    struct str whole = {due->name, name.len + 1 + expression.len};
    due->slot = schedule_slot(app->board, whole, STR("store"));
    list_push(&app->due.list, &due->node);
    return due;
}

static bool is_of(const struct app_due *due, const struct function_spec *spec)
{
    return str_eq(function_of(due), spec->name) && str_eq(due->expression, spec->schedule);
}

static struct app_due *find_due(struct app *app, const struct function_spec *spec)
{
    list_each(node, &app->due.list)
    {
        struct app_due *due = container_of(node, struct app_due, node);
        if (is_of(due, spec))
            return due;
    }
    return new_due(app, spec);
}

void app_due_sweep(struct app *app, bool all)
{
    list_each(node, &app->due.list)
    {
        struct app_due *due = container_of(node, struct app_due, node);
        bool wanted = due->wanted;
        due->wanted = false;
        if (!all && (wanted || due->asking || due->running || due->ended))
            continue;
        due->unsure = due->asking = due->running = due->ended = false;
        unlock(due);
        list_remove(&due->node);
        free(due);
    }
}

bool app_due_is_idle(const struct app *app)
{
    list_each(node, &app->due.list)
    {
        const struct app_due *due = container_of(node, struct app_due, node);
        if (due->asking || due->running || due->ended)
            return false;
    }
    return true;
}

/* ---- the store's clock ---- */

double app_due_now(const struct app *app)
{
    const struct app_due_list *list = &app->due;
    if (list->server_ms == 0)
        return 0;
    return (double)list->server_ms / 1000 + (double)(clock_monotonic_ns() - list->heard_ns) / 1e9;
}

/* ---- what is told ---- */

static void tell(enum log_level level, const char *message, const struct app_due *due, int64_t time)
{
    char text[64];
    struct log_line line;
    log_begin(&line, level, message);
    log_str(&line, "function", function_of(due));
    log_str(&line, "due", schedule_write_time(time, text));
    log_end(&line);
}

/* Once, until it can be asked again. */
static void tell_away(struct app *app, int status)
{
    app->page->schedule_unasked++;
    if (app->due.away)
        return;
    app->due.away = true;
    log_message(LOG_WARN, "scheduled functions wait until KV_URL's server knows who runs them: %s",
                store_error_text(status));
}

static void tell_back(struct app *app)
{
    if (app->due.away)
        log_message(LOG_INFO, "scheduled functions go on: KV_URL's server can be asked again");
    app->due.away = false;
}

static void tell_missed(const struct app_due *due, int64_t time)
{
    due->app->page->schedule_missed++;
    tell(LOG_WARN, "scheduled runs before this one were missed", due, time);
}

/* The function with this very schedule; NULL: it went meanwhile. */
static struct function *function_for(const struct app_due *due)
{
    struct app *app = due->app;
    struct function *function =
        app->current != NULL ? deployment_find(app->current, function_of(due)) : NULL;
    return function != NULL && is_of(due, function->spec) ? function : NULL;
}

/* There may be more to take. */
static void look_again(struct app_due *due)
{
    struct function *function = function_for(due);
    if (function != NULL && !due->app->draining)
        app_due_look(due->app, function);
}

/* ---- the end of a run ---- */

static void on_end_told(struct store_request *request)
{
    struct app_due *due = container_of(request, struct app_due, request);
    due->asking = false;
    /* Where it cannot be told now, it is with the next look; who ends lets the lease run out. */
    due->ended = request->status != 0 && request->status != -ECANCELED && !due->app->draining;
    if (request->status == 0 && !request->changed)
        tell(LOG_WARN, "a scheduled run was not known to go on: the next may have run beside it",
             due, due->run_due);
    unlock(due);
    if (request->status == 0)
        look_again(due);
}

static void ask(struct app_due *due, enum store_kind kind, void (*done)(struct store_request *))
{
    due->request.kind = kind;
    due->request.key = (struct str){due->name, due->function_len + 1 + due->expression.len};
    due->request.owner = &due->app->queue.owner;
    due->request.done = done;
    due->asking = true;
    due->asked_ns = clock_monotonic_ns();
    store_submit(due->app->store, &due->request);
}

void app_due_ended(struct app_due *due)
{
    due->running = false;
    due->ended = true;
    due->later_ms = 0;
    if (!due->asking) /* else when that is answered */
        ask(due, STORE_DUE_END, on_end_told);
}

/* ---- taking what is due ---- */

static void start(struct app_due *due)
{
    struct function *function = function_for(due);
    if (due->turn.missed)
        tell_missed(due, due->turn.due);
    due->running = true;
    due->run_due = due->turn.due;
    due->app->page->schedule_runs++;
    if (function != NULL)
        due->app->due.start(due->app, function, &due->turn, due);
    else
        app_due_ended(due);
}

static void skip(struct app_due *due)
{
    due->app->page->schedule_skipped++;
    tell(LOG_WARN, "scheduled run skipped: the one before has not ended", due, due->turn.due);
}

static void take_answer(struct app_due *due, int64_t known, bool was_unsure)
{
    const struct store_request *q = &due->request;
    const struct function *function = function_for(due);
    atomic_store(&due->slot->last, q->number);
    switch (q->verdict) {
    case STORE_DUE_TAKEN:
        start(due);
        break;
    case STORE_DUE_SKIPPED:
        skip(due);
        break;
    case STORE_DUE_HELD:
        due->later_ms = uv_now(due->app->loop) + AGAIN_MS;
        break;
    case STORE_DUE_MADE:
        if (known > 0 && function != NULL && cron_next(function->spec->cron, known) <= q->number)
            tell_missed(due, q->number);
        break;
    default:
        if (was_unsure && q->number >= due->turn.due)
            tell(LOG_WARN, "a scheduled run may have been missed: the reply that gave it was lost",
                 due, due->turn.due);
        break;
    }
}

static void on_answer(struct store_request *request)
{
    struct app_due *due = container_of(request, struct app_due, request);
    struct app *app = due->app;
    bool was_unsure = due->unsure, is_first = app->due.server_ms == 0;
    due->asking = false;
    if (request->status == -ECANCELED)
        return;
    if (request->status != 0) {
        bool takes = due->turn.due > 0 && (request->limit & STORE_DUE_BACK) == 0;
        due->unsure = was_unsure || (request->status == STORE_LOST && takes);
        due->asked_ns = 0;
        tell_away(app, request->status);
    } else {
        due->unsure = false;
        app->due.server_ms = request->reset_ms;
        app->due.heard_ns = clock_monotonic_ns();
        tell_back(app);
        take_answer(due, atomic_load(&due->slot->last), was_unsure);
    }
    if (due->ended && !due->asking)
        ask(due, STORE_DUE_END, on_end_told);
    unlock(due);
    if (is_first && request->status == 0)
        app->due.look(app);
    else if (request->status == 0)
        look_again(due);
}

/* What to ask for. False: nothing now. */
static bool choose(struct app_due *due, const struct cron *cron)
{
    struct store_request *q = &due->request;
    int64_t last = atomic_load(&due->slot->last), now = (int64_t)app_due_now(due->app);
    uint64_t asked_s = (clock_monotonic_ns() - due->asked_ns) / 1000000000;
    unsigned flags = due->running ? STORE_DUE_RUNS : 0;
    if (due->unsure) { /* the same again */
        q->limit = flags | STORE_DUE_AGAIN;
        q->number = last;
        q->by = due->turn.due;
        return true;
    }
    enum schedule_verdict verdict = SCHEDULE_WAIT;
    due->turn = (struct schedule_turn){.slot = due->slot};
    if (last > 0 && now > 0)
        verdict = schedule_judge(cron, last, now, &due->turn);
    if (verdict == SCHEDULE_WAIT && due->asked_ns > 0 && asked_s < LIMIT_SCHEDULE_ASK)
        return false;
    if (verdict == SCHEDULE_SET_BACK) {
        flags |= STORE_DUE_BACK;
        due->turn.due = now;
        log_message(LOG_WARN,
                    "the clock of KV_URL's server was set back: the schedule of %.*s goes by it",
                    STR_ARG(function_of(due)));
    }
    q->limit = flags;
    q->number = last;
    q->by = due->turn.due;
    return true;
}

void app_due_look(struct app *app, struct function *function)
{
    const struct function_spec *spec = function->spec;
    struct app_due *due = find_due(app, spec);
    if (due == NULL) {
        log_message(LOG_ERROR, "out of memory: %.*s is not run", STR_ARG(spec->name));
        return;
    }
    due->wanted = true;
    if (due->slot == NULL) {
        schedule_tell_full(spec->name, &function->unscheduled);
        return;
    }
    if (due->asking || uv_now(app->loop) < due->later_ms || !lock(due))
        return;
    if (due->ended)
        ask(due, STORE_DUE_END, on_end_told);
    else if (choose(due, spec->cron))
        ask(due, STORE_DUE, on_answer);
    else
        unlock(due);
}
