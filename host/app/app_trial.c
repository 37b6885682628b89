/* replay_before_reload: a new version of a function runs the last recorded requests of the one that
 * serves, before it takes its place, without touching the outside. One that now fails, where it
 * went well before, keeps it out.
 *
 * The newest records are looked for by a thread. Then each has a fresh state of its own, made from
 * what the version was made from, and a turn of the loop for each thing that it waits for: other
 * requests go on meanwhile. What cannot be told from a record (another call than the recorded ones,
 * a body that was not kept) is left out, and so is a request that fails on the version that serves
 * just as well, as it does where the handler needs what was redacted. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "http/target.h"
#include "journal/journal_reader.h"
#include "json/strict.h"
#include "lua/seed.h"
#include "run/rerun.h"

enum { LOOK_MS = 2, SHOWN = 160 };

/* What a thread works on; outlives a trial that is cancelled. */
struct reading {
    uv_work_t work;
    struct trial *trial; /* NULL: nobody waits any more */
    char *folder, *function;
    char **lines; /* owned, with the texts; the newest first */
    unsigned count, wanted;
};

struct trial {
    struct list node;
    struct app *app;
    struct function *function;   /* borrowed, with the version in function->loading */
    struct services services[2]; /* of the new version, and of the one that serves, without all
                                    that is outside */
    struct reading *reading;     /* owned, once it has read */
    bool reads;
    unsigned next;
    uint64_t until_ns;
    unsigned same, other, left_out;
    char first[SHOWN]; /* the first that is answered otherwise, and in what */

    /* Of the request that is run now. */
    json_t *record;            /* owned; NULL: none */
    bool before;               /* ... on the version that serves */
    bool loaded;               /* `instance` has */
    struct instance *instance; /* a reference */
    struct function *runner;   /* owned: serves that alone; NULL: not yet */
    struct router *router;     /* owned */
    struct rerun run;
    int status;        /* on the new version, where it failed there */
    char fault[SHOWN]; /* ... and why */
};

/* ---- the records ---- */

/* Members of a record are written in this order: record.c. */
static bool is_wanted(struct str line, const char *function)
{
    static const struct str status = {",\"status\":", 10}, name = {",\"function\":\"", 13};
    size_t at = str_find_text(line, status);
    if (!journal_is_readable(line) || at == line.len)
        return false;
    struct str rest = str_skip(line, at + status.len);
    bool went_well = rest.len > 4 && rest.ptr[0] >= '2' && rest.ptr[0] <= '4';
    rest = str_skip(rest, rest.len > 3 ? 3 : rest.len);
    if (!went_well || !str_starts_with(rest, name))
        return false;
    rest = str_skip(rest, name.len);
    struct str wanted = str_from(function);
    return str_starts_with(rest, wanted) && rest.len > wanted.len && rest.ptr[wanted.len] == '"' &&
           str_find_text(rest, STR(",\"start_us\":")) < rest.len;
}

static bool on_line(void *arg, struct str line)
{
    struct reading *reading = arg;
    if (is_wanted(line, reading->function) &&
        (reading->lines[reading->count] = strndup(line.ptr, line.len)) != NULL)
        reading->count++;
    return reading->count < reading->wanted;
}

static void on_work(uv_work_t *work)
{
    struct reading *reading = container_of(work, struct reading, work);
    (void)!journal_read(reading->folder, on_line, reading); /* without a folder there are none */
}

static void free_reading(struct reading *reading)
{
    if (reading == NULL)
        return;
    for (unsigned i = 0; i < reading->count; i++)
        free(reading->lines[i]);
    free(reading->lines);
    free(reading->folder);
    free(reading->function);
    free(reading);
}

static void on_worked(uv_work_t *work, int status)
{
    struct reading *reading = container_of(work, struct reading, work);
    (void)status; /* never cancelled */
    if (reading->trial == NULL)
        free_reading(reading);
    else
        reading->trial->reads = false;
}

static struct reading *read_records(struct app *app, const struct function *function,
                                    unsigned wanted)
{
    struct reading *reading = calloc(1, sizeof(*reading));
    if (reading == NULL)
        return NULL;
    reading->wanted = wanted;
    reading->lines = calloc(wanted, sizeof(*reading->lines));
    reading->folder = strdup(app->options.journal_folder);
    reading->function = strndup(function->base->name.ptr, function->base->name.len);
    if (reading->lines != NULL && reading->folder != NULL && reading->function != NULL &&
        uv_queue_work(app->loop, &reading->work, on_work, on_worked) == 0)
        return reading;
    free_reading(reading);
    return NULL;
}

/* ---- one request on one version ---- */

static void end_run(struct trial *t)
{
    if (t->instance != NULL && t->instance->state == INSTANCE_LOADING)
        instance_cancel_load(t->instance);
    if (t->runner != NULL) {
        function_cancel_all(t->runner);
        rerun_close(&t->run);
        function_free(t->runner);
        t->runner = NULL;
    }
    router_free(t->router);
    t->router = NULL;
    instance_unref(t->instance);
    t->instance = NULL;
}

static void end_record(struct trial *t)
{
    end_run(t);
    json_decref(t->record);
    t->record = NULL;
}

static void leave_out(struct trial *t)
{
    t->left_out++;
    end_record(t);
}

static void on_loaded(struct instance *instance, void *arg)
{
    struct trial *t = arg;
    (void)instance;
    t->loaded = true;
}

/* Whose version serves: its own, or in a new deployment the one of the deployment before. */
static struct function *serving(const struct trial *t)
{
    struct function *function = t->function;
    struct function *before = function->current == NULL
                                  ? deployment_find(t->app->current, function->base->name)
                                  : function;
    return before != NULL && before->current != NULL ? before : function;
}

/* A fresh state: what earlier requests left in one is not in their records. */
static void load(struct trial *t)
{
    struct function *function = t->before ? serving(t) : t->function;
    struct origin *origin = !t->before                  ? t->function->loading->origin
                            : function->current != NULL ? function->current->origin
                                                        : function->served;
    t->loaded = false;
    seed_set((unsigned)json_integer_value(json_object_get(t->record, "seed")));
    t->instance = instance_load(function->base, &t->services[t->before], function->bindings, origin,
                                on_loaded, t);
    seed_set(0);
    if (t->instance == NULL)
        leave_out(t);
}

static bool leads_to(const struct router *router, const struct exchange *ex, struct str path,
                     struct str name)
{
    struct route_match match;
    return router_match(router, ex->req.method, path, &match) == ROUTE_FOUND &&
           str_eq(((struct function *)match.target)->base->name, name);
}

/* The request's address is not this version's any more. */
static bool has_moved(const struct trial *t)
{
    struct exchange *ex = t->run.ex;
    struct str path, name = t->function->base->name;
    return target_normalize_path(&ex->arena, ex->req.path, &path) != 0 ||
           (leads_to(t->app->current->router, ex, path, name) &&
            !leads_to(t->router, ex, path, name));
}

static bool make_runner(struct trial *t, struct err *err)
{
    struct function *function = t->before ? serving(t) : t->function;
    const struct services *services = &t->services[t->before];
    if (t->instance->state != INSTANCE_READY || instance_read_options(t->instance, err) != 0 ||
        (function->prepare != NULL && function->prepare(function, t->instance, err) != 0))
        return false;
    t->router = router_new();
    t->runner = function_new(function->base, services, function->bindings, NULL);
    if (t->runner == NULL)
        return false;
    function_hold(t->runner, t->instance);
    const struct deployment *d = function->owner;
    return rerun_open(&t->run, t->record, t->app->journal, services, err) == 0 &&
           t->router != NULL && deployment_add_routes(t->router, d->config, t->runner, err) == 0;
}

static void call(struct trial *t)
{
    struct err err;
    if (!make_runner(t, &err) || (!t->before && has_moved(t))) {
        leave_out(t);
        return;
    }
    struct claims *claims = t->run.claims;
    t->run.claims = NULL;
    app_call_recorded(t->app, t->before ? t->app->current->router : t->router, t->runner, t->run.ex,
                      claims, t->run.is_job ? &t->run.job : NULL);
}

/* ---- what came of it ---- */

static void differs(void *arg, const char *what, const char *was, const char *is)
{
    struct trial *t = arg;
    t->other++;
    if (t->first[0] == '\0')
        snprintf(t->first, sizeof(t->first), "%s: %s was %.40s, is %.40s",
                 json_string_value(json_object_get(t->record, "id")), what, was, is);
}

static void compare(struct trial *t)
{
    unsigned before = t->other;
    rerun_compare(&t->run, differs, t);
    t->same += t->other == before;
    t->other = t->other > before ? before + 1 : before;
}

static void note_failure(struct trial *t)
{
    struct str fault = replayer_fault(t->run.replayer);
    t->status = t->run.ex->res.status;
    snprintf(t->fault, sizeof(t->fault), "%.*s", STR_ARG(fault.ptr != NULL ? fault : STR("?")));
    end_run(t);
    t->before = true;
    load(t);
}

static void end_trial(struct trial *t, const struct err *why);

static void refuse(struct trial *t)
{
    const json_t *r = t->record;
    struct err err;
    err_set(
        &err, 0,
        "%.*s: it is answered with %d, which was answered with %d: %s %.*s (`luafn replay %s`): "
        "%s",
        STR_ARG(t->function->base->name), t->status,
        (int)json_integer_value(json_object_get(r, "status")),
        json_string_value(json_object_get(r, "method")), SHOWN,
        json_string_value(json_object_get(r, "target")),
        json_string_value(json_object_get(r, "id")), t->fault);
    end_trial(t, &err);
}

static void judge(struct trial *t)
{
    bool failed = t->run.ex->res.status >= 500;
    if (replayer_divergence(t->run.replayer).len > 0 || (t->before && failed)) {
        leave_out(t);
    } else if (t->before) {
        refuse(t);
    } else if (failed) {
        note_failure(t);
    } else {
        compare(t);
        end_record(t);
    }
}

/* ---- the whole ---- */

static void free_trial(struct trial *t)
{
    end_record(t);
    list_remove(&t->node);
    if (t->reads)
        t->reading->trial = NULL; /* the thread's, from here on */
    else
        free_reading(t->reading);
    free(t);
}

static void tell(const struct trial *t)
{
    struct log_line line;
    if (t->same + t->other + t->left_out == 0 || !log_wants(LOG_INFO))
        return;
    log_begin(&line, LOG_INFO, "recorded requests run again");
    log_str(&line, "function", t->function->base->name);
    log_int(&line, "same", t->same);
    log_int(&line, "other", t->other);
    log_int(&line, "left_out", t->left_out);
    if (t->first[0] != '\0')
        log_str(&line, "first", str_from(t->first));
    log_end(&line);
}

static void end_trial(struct trial *t, const struct err *why)
{
    struct function *function = t->function;
    if (why == NULL)
        tell(t);
    free_trial(t);
    function_settle(function, why);
}

static void start(struct trial *t)
{
    const char *line = t->reading->lines[t->next++];
    t->before = false;
    t->record = strict_json_watched(str_from(line), JSON_ALLOW_NUL, NULL);
    if (t->record == NULL)
        leave_out(t);
    else
        load(t);
}

/* True: there is more to be done at once. */
static bool step(struct trial *t)
{
    if (t->reads)
        return false;
    if (t->record == NULL && t->next < t->reading->count && clock_monotonic_ns() < t->until_ns) {
        start(t);
    } else if (t->record == NULL) {
        t->left_out += t->reading->count - t->next;
        end_trial(t, NULL);
    } else if (t->runner == NULL) {
        if (!t->loaded)
            return false;
        call(t);
    } else {
        enum rerun_turn turn = rerun_turn(&t->run, t->runner);
        if (turn == RERUN_OVER)
            judge(t);
        return turn == RERUN_MOVED || turn == RERUN_OVER;
    }
    return true;
}

static void on_turn(uv_timer_t *timer)
{
    struct app *app = container_of(timer, struct app, trials.timer);
    if (list_is_empty(&app->trials.waiting))
        return;
    bool more = step(container_of(app->trials.waiting.next, struct trial, node));
    if (!list_is_empty(&app->trials.waiting))
        uv_timer_start(timer, on_turn, more ? 0 : LOOK_MS, 0);
}

/* A replay needs nothing of what is taken away: where it asks for that, it ends. */
static struct services inside(const struct services *services)
{
    struct services out = *services;
    out.silent = true;
    out.client = NULL;
    out.store = NULL;
    out.sql = NULL;
    out.channels = NULL;
    out.metrics = NULL;
    out.number = NULL;
    out.job_sent = NULL;
    out.trials = NULL;
    return out;
}

static bool begin(void *arg, struct function *function, struct instance *instance)
{
    struct app *app = arg;
    const struct deployment *d = function->owner;
    (void)instance;
    if (app->journal == NULL || app->draining)
        return false;
    struct trial *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return false;
    t->reading = read_records(app, function, d->config->replay_before_reload);
    if (t->reading == NULL) {
        free(t);
        return false;
    }
    t->reading->trial = t;
    t->reads = true;
    t->app = app;
    t->function = function;
    t->services[false] = inside(function->services);
    t->services[true] = inside(serving(t)->services);
    t->until_ns = clock_monotonic_ns() + LIMIT_TRIAL_SECONDS * 1000000000ull;
    list_push(&app->trials.waiting, &t->node);
    if (!app->trials.open)
        uv_timer_init(app->loop, &app->trials.timer);
    app->trials.open = true;
    uv_timer_start(&app->trials.timer, on_turn, LOOK_MS, 0);
    return true;
}

static void cancel(void *arg, struct function *function)
{
    struct app *app = arg;
    list_each(node, &app->trials.waiting)
    {
        struct trial *t = container_of(node, struct trial, node);
        if (t->function == function) {
            free_trial(t);
            return;
        }
    }
}

const struct function_trials app_trials = {.begin = begin, .cancel = cancel};

void app_trial_init(struct app *app)
{
    list_init(&app->trials.waiting);
}

void app_trial_close(struct app *app)
{
    if (app->trials.open)
        uv_close((uv_handle_t *)&app->trials.timer, NULL);
    app->trials.open = false;
}
