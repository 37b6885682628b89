/* Jobs: background calls, and what scripts send to functions. They lie in the store until they have
 * run; each worker takes what it can begin, and tells the store how that ended.
 *
 * A job is its worker's until then: who dies with one leaves it to the others (store/job_owner.h).
 * So each runs at least once. Workers ask for jobs each second, and when they know that there may
 * be some: one was sent here, one has ended here. */
#include "app/app.h"

#include <stdio.h>
#include <stdlib.h>

#include "app/job_request.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/job.h"

enum { BACK_MS = 1000 /* for one that could not begin */ };

/* One that runs here, until the store knows how it ended. */
struct job_run {
    struct list node; /* in app->queue.runs */
    struct app *app;
    struct exchange *ex; /* borrowed, while it runs */
    uint64_t began_ns;
    struct job_call call; /* its texts are below */
    unsigned retry_count;
    double retry[LIMIT_QUEUE_RETRIES];
    struct store_request request; /* of its end */
    bool ended, asking;           /* that is to be told; it is being told */
    char id[JOB_ID_BYTES + 1];
    char key[LIMIT_KV_KEY_BYTES], function[LIMIT_KV_SPACE_NAME + 1];
    char reason[LIMIT_QUEUE_REASON];
};

/* ---- the end of a run ---- */

static void on_told(struct store_request *request);

static void free_run(struct job_run *run)
{
    list_remove(&run->node);
    run->app->queue.run_count--;
    free(run);
}

static void tell(struct job_run *run)
{
    run->asking = true;
    store_submit(run->app->store, &run->request);
}

/* What the store could not be told now it is told later: the job stays this worker's until then. */
static void on_told(struct store_request *request)
{
    struct job_run *run = container_of(request, struct job_run, request);
    struct app *app = run->app;
    run->asking = false;
    if (request->status != 0 && app->queue.open) {
        app->queue.untold = true;
        return;
    }
    if (request->status == 0 && !request->changed)
        app->page->jobs_lost++;
    free_run(run);
    app_queue_update(app);
}

static void end_run(struct job_run *run, enum job_end how, double pause, struct str reason)
{
    snprintf(run->reason, sizeof(run->reason), "%.*s", STR_ARG(reason));
    run->request = (struct store_request){.kind = STORE_JOB_END,
                                          .id = str_from(run->id),
                                          .owner = &run->app->queue.owner,
                                          .space = str_from(run->function),
                                          .by = how,
                                          .ttl_ms = (uint64_t)(pause * 1000),
                                          .value = {STORE_TEXT, str_from(run->reason)},
                                          .done = on_told};
    run->ended = true;
    if (run->app->queue.open)
        tell(run);
    else
        free_run(run); /* the host ends, and the next one finds it */
}

static void log_run(const struct job_run *run, int status, enum job_end how)
{
    static const char *const messages[] = {
        [JOB_END_DONE] = "job ended",
        [JOB_END_AGAIN] = "job failed: it is tried again",
        [JOB_END_BACK] = "job could not begin: it waits",
        [JOB_END_DEAD] = "job failed for good: it is a dead letter",
    };
    uint64_t ns = clock_monotonic_ns() - run->began_ns;
    struct log_line line;
    log_begin(&line, how == JOB_END_DONE || how == JOB_END_BACK ? LOG_INFO : LOG_ERROR,
              messages[how]);
    log_str(&line, "function", str_from(run->function));
    log_int(&line, "generation", run->ex->generation);
    log_str(&line, "request_id", str_from(run->ex->request_id));
    log_str(&line, "job", str_from(run->id));
    log_int(&line, "attempt", run->call.attempt);
    log_int(&line, "status", status);
    log_decimal(&line, "ms", (ns + 50000) / 100000, 1);
    log_end(&line);
}

/* When the exchange goes: the handler and what it left for later have ended. */
static void on_run_end(void *arg)
{
    struct job_run *run = arg;
    const struct response *res = &run->ex->res;
    struct worker_metrics *page = run->app->page;
    bool cancelled = run->ex->error_code != NULL && strcmp(run->ex->error_code, "cancelled") == 0;
    bool failed = res->status >= 500;
    bool last = run->call.attempt > run->retry_count;
    enum job_end how = !run->call.began || cancelled ? JOB_END_BACK
                       : !failed                     ? JOB_END_DONE
                       : last                        ? JOB_END_DEAD
                                                     : JOB_END_AGAIN;
    double pause = how == JOB_END_AGAIN  ? run->retry[run->call.attempt - 1]
                   : how == JOB_END_BACK ? BACK_MS / 1000.0
                                         : 0;
    page->jobs_done += how == JOB_END_DONE;
    page->jobs_failed += failed && how != JOB_END_BACK;
    page->jobs_dead += how == JOB_END_DEAD;
    log_run(run, res->status, how);
    char reason[LIMIT_QUEUE_REASON];
    snprintf(reason, sizeof(reason), "%d %.*s", res->status, STR_ARG(res->body));
    end_run(run, how, pause, str_from(reason));
}

/* `spec` NULL: there is no such function. */
static struct job_run *new_run(struct app *app, const struct function_spec *spec,
                               struct str function, struct str id, struct str key, unsigned attempt)
{
    struct job_run *run = calloc(1, sizeof(*run));
    if (run == NULL)
        return NULL;
    run->app = app;
    run->call = (struct job_call){
        .id = {run->id, JOB_ID_BYTES}, .key = {run->key, key.len}, .attempt = attempt};
    memcpy(run->id, id.ptr, JOB_ID_BYTES);
    memcpy(run->key, key.ptr, key.len);
    snprintf(run->function, sizeof(run->function), "%.*s", STR_ARG(function));
    if (spec != NULL) {
        run->retry_count = spec->retry_count;
        memcpy(run->retry, spec->retry, spec->retry_count * sizeof(*run->retry));
    }
    list_push(&app->queue.runs, &run->node);
    app->queue.run_count++;
    return run;
}

struct job_call *app_queue_follow(struct job_run *run, struct exchange *ex)
{
    run->ex = ex;
    run->began_ns = clock_monotonic_ns();
    if (ex != NULL && arena_defer(&ex->arena, on_run_end, run) == 0)
        return &run->call;
    log_message(LOG_ERROR, "out of memory: job %s waits", run->id);
    end_run(run, JOB_END_BACK, BACK_MS / 1000.0, STR(""));
    return NULL;
}

/* ---- running what was taken ---- */

static struct exchange *make_exchange(const struct app *app, const struct job *job,
                                      struct job_request *request, int *rc)
{
    struct exchange *ex = exchange_new(NULL, NULL);
    *rc = -ENOMEM;
    if (ex == NULL)
        return NULL;
    ex->state = EXCHANGE_WORKING;
    *rc = job_request_read(job->payload, ex, request);
    if (*rc == 0 && request->path.ptr == NULL) {
        ex->req.path = arena_printf(&ex->arena, "%.*s/%.*s", STR_ARG(app->current->config->prefix),
                                    STR_ARG(job->function));
        ex->req.target = request->path = ex->req.path;
        *rc = ex->req.path.ptr != NULL ? 0 : -ENOMEM;
    }
    if (*rc == 0)
        return ex;
    claims_unref(request->claims);
    exchange_release(ex);
    return NULL;
}

static void start_job(struct app *app, const struct job *job)
{
    struct function *function = deployment_find(app->current, job->function);
    struct job_request request;
    int rc = 0;
    bool foreign = job->key.len > LIMIT_KV_KEY_BYTES;
    struct job_run *run = new_run(app, function != NULL ? function->spec : NULL, job->function,
                                  job->id, foreign ? STR("") : job->key, job->attempt + 1);
    if (run == NULL) {
        log_message(LOG_ERROR, "out of memory: job %.*s is lost until this worker ends",
                    STR_ARG(job->id));
        return;
    }
    if (function == NULL) { /* a reload has taken it away meanwhile */
        end_run(run, JOB_END_BACK, BACK_MS / 1000.0, STR(""));
        return;
    }
    struct exchange *ex = foreign ? NULL : make_exchange(app, job, &request, &rc);
    if (foreign || (ex == NULL && rc == -EINVAL)) {
        app->page->jobs_dead++;
        end_run(run, JOB_END_DEAD, 0, str_from(JOB_FOREIGN));
        return;
    }
    if (app_queue_follow(run, ex) == NULL) {
        if (ex != NULL) {
            claims_unref(request.claims);
            exchange_release(ex);
        }
        return;
    }
    char id[sizeof(ex->request_id)];
    memcpy(id, ex->request_id, sizeof(id));
    exchange_identify(ex);
    if (id[0] != '\0')
        memcpy(ex->request_id, id, sizeof(id));
    app->queue.run(app, function, ex, &run->call, request.path, request.claims, request.token);
    exchange_release(ex);
}

static void on_taken(struct store_request *request)
{
    struct app *app = container_of(request, struct app, queue.take);
    struct app_queue *queue = &app->queue;
    struct str rest = buf_str(&request->out);
    struct job job;
    unsigned count = 0;
    queue->taking = false;
    if (request->status == 0)
        queue->owner.unsure -= queue->owner.unsure > 0;
    else if (request->status != STORE_UNREACHABLE) /* then nothing has changed */
        queue->owner.unsure = JOB_OWNER_UNSURE;
    while (request->status == 0 && queue->open && job_next(&rest, &job)) {
        start_job(app, &job);
        count++;
    }
    buf_free(&request->out);
    if (app->options.metrics != NULL && request->status == 0 && request->number >= 0) {
        app->options.metrics->jobs_waiting = (uint64_t)request->number;
        app->options.metrics->jobs_dead = (uint64_t)request->dead;
    }
    /* A store that cannot be reached says so at once, each time: it is told later who is gone. */
    if (queue->again || count > 0 || (request->status == 0 && queue->owner.gone_count > 0))
        app_queue_update(app);
}

/* The ids of the jobs that run here, for a store that may have given more than has come. */
static bool write_runs(const struct app_queue *queue, struct buf *out)
{
    buf_clear(out);
    list_each(node, &queue->runs)
    {
        buf_add_str(out, str_from(container_of(node, struct job_run, node)->id));
        buf_add_char(out, ' ');
    }
    return !buf_failed(out);
}

/* What could begin here; all of its functions, also those that have no room. */
static bool write_wants(const struct app *app, unsigned room, struct buf *out)
{
    buf_clear(out);
    for (unsigned i = 0; i < app->current->function_count; i++) {
        const struct function *function = app->current->functions[i];
        const struct job_want want = {.function = function->base->name,
                                      .room = room > 0 ? function_room(function) : 0,
                                      .most = function->spec->concurrency};
        job_add_want(out, &want);
    }
    return !buf_failed(out);
}

/* So that whoever dies meanwhile leaves no run to be repeated: as soon as there is a reason to ask
 * the store for anything, and before that. */
static void tell_again(struct app *app)
{
    if (!app->queue.untold)
        return;
    app->queue.untold = false;
    for (struct list *node = app->queue.runs.next, *next; node != &app->queue.runs; node = next) {
        struct job_run *run = container_of(node, struct job_run, node);
        next = node->next;
        if (run->ended && !run->asking)
            tell(run);
    }
}

void app_queue_update(struct app *app)
{
    struct app_queue *queue = &app->queue;
    tell_again(app);
    queue->again = queue->taking;
    if (!queue->open || queue->taking || app->current == NULL || !app->ready)
        return;
    unsigned room = queue->run_count < LIMIT_QUEUE_RUNS ? LIMIT_QUEUE_RUNS - queue->run_count : 0;
    if (app->draining)
        room = 0;
    if (!write_wants(app, room, &queue->wants) ||
        (queue->owner.unsure > 0 && !write_runs(queue, &queue->known)))
        return;
    queue->take =
        (struct store_request){.kind = STORE_JOB_TAKE,
                               .owner = &queue->owner,
                               .value = {STORE_TEXT, buf_str(&queue->wants)},
                               .after = buf_str(&queue->known),
                               .by = (int64_t)(LIMIT_QUEUE_UNREAD * 1000),
                               .ttl_ms = LIMIT_QUEUE_LEASE,
                               .limit = room < LIMIT_QUEUE_TAKEN ? room : LIMIT_QUEUE_TAKEN,
                               .number = -1,
                               .done = on_taken};
    queue->taking = true;
    store_submit(app->store, &queue->take);
}

/* ---- background calls ---- */

/* One that is being stored. */
struct storing {
    struct store_request request;
    struct app *app;
    struct exchange *ex; /* held */
    struct function *function;
    struct job_run *run; /* in case it begins here */
    struct buf payload;
    app_queue_done *done;
    void *arg;
};

static void on_stored(struct store_request *request)
{
    struct storing *s = container_of(request, struct storing, request);
    struct job_run *run = s->run;
    int status = request->status;
    s->function->awaited--;
    if (status ==
        STORE_LOST) { /* its caller is told that it is not promised, so it is not to run */
        s->app->queue.owner.unsure = JOB_OWNER_UNSURE;
        end_run(run, JOB_END_DONE, 0, STR(""));
        run = NULL;
    } else if (status != 0 || request->number == 0) {
        free_run(run);
        run = NULL;
    }
    s->done(s->arg, status, run);
    if (status == 0 && run == NULL)
        app_queue_update(s->app);
    exchange_release(s->ex);
    buf_free(&s->payload);
    free(s);
}

static struct storing *new_storing(struct app *app, struct exchange *ex, struct function *function)
{
    char id[JOB_ID_BYTES + 1];
    struct storing *s = calloc(1, sizeof(*s));
    exchange_make_id(id);
    if (s != NULL)
        s->run = new_run(app, function->spec, function->base->name, str_from(id), STR(""), 1);
    if (s == NULL || s->run == NULL) {
        free(s);
        return NULL;
    }
    s->app = app;
    s->ex = ex;
    s->function = function;
    return s;
}

void app_queue_call(struct app *app, struct exchange *ex, struct function *function,
                    const struct claims *claims, struct str token, app_queue_done *done, void *arg)
{
    const struct function_spec *spec = function->spec;
    struct storing *s = app->queue.open ? new_storing(app, ex, function) : NULL;
    if (s != NULL)
        job_request_write(&s->payload, ex, ex->req.path, claims, token);
    if (s == NULL || buf_failed(&s->payload)) {
        if (s != NULL) {
            free_run(s->run);
            buf_free(&s->payload);
            free(s);
        }
        done(arg, app->queue.open ? -ENOMEM : -EIO, NULL);
        return;
    }
    s->done = done;
    s->arg = arg;
    s->request = (struct store_request){.kind = STORE_JOB_ADD,
                                        .space = function->base->name,
                                        .id = str_from(s->run->id),
                                        .owner = &app->queue.owner,
                                        .value = {STORE_TEXT, buf_str(&s->payload)},
                                        .by = function_room(function) > 0 ? spec->concurrency : 0,
                                        .limit = spec->concurrency + spec->queue,
                                        .done = on_stored};
    exchange_hold(ex);
    function->awaited++;
    store_submit(app->store, &s->request);
}

/* ---- the beginning and the end of the host ---- */

void app_queue_open(struct app *app, app_queue_run *run)
{
    char file[4096];
    struct err err;
    const char *beside = app->options.kv_file;
    if (app->queue.open || app->store == NULL || app->options.direct)
        return;
    snprintf(file, sizeof(file), "%s-workers", beside != NULL ? beside : "");
    if (job_owner_open(&app->queue.owner, beside != NULL ? file : NULL, &err) != 0) {
        log_message(LOG_ERROR, "the queue cannot be worked on: %s", err.text);
        return;
    }
    app->queue.run = run;
    app->queue.open = true;
}

void app_queue_close(struct app *app)
{
    if (!app->queue.open)
        return;
    app->queue.open = false;
    for (struct list *node = app->queue.runs.next, *next; node != &app->queue.runs; node = next) {
        struct job_run *run = container_of(node, struct job_run, node);
        next = node->next;
        if (run->ended && !run->asking)
            free_run(run);
    }
    job_owner_close(&app->queue.owner);
}
