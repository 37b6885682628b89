/* /_luafn/live, ready, routes (and metrics, in app_metrics.c; journal, in app_journal.c): for those
 * who operate the host. On the admin listener, and in `dev` on the same one. */
#include "app/app.h"

#include "app/routes.h"

static void answer_text(struct exchange *ex, int status, struct str type, struct buf *body)
{
    struct str copy =
        buf_failed(body) ? (struct str){NULL, 0} : arena_copy(&ex->arena, buf_str(body));
    buf_free(body);
    if (copy.ptr == NULL || response_set_body(&ex->res, &ex->arena, status, type, copy) != 0 ||
        headers_add(&ex->res.headers, &ex->arena, STR("Cache-Control"), STR("no-store")) != 0)
        ex->res = (struct response){.status = 500};
    exchange_answer(ex);
}

static void answer_live(struct app *app, struct exchange *ex)
{
    (void)app;
    struct buf body = BUF_INIT;
    buf_add_str(&body, STR("{\"status\":\"live\"}"));
    answer_text(ex, 200, STR("application/json"), &body);
}

static void answer_metrics(struct app *app, struct exchange *ex)
{
    struct buf body = BUF_INIT;
    bool written = app_write_metrics(app, &body);
    answer_text(ex, written ? 200 : 500, STR("text/plain; version=0.0.4; charset=utf-8"), &body);
}

/* ---- ready: the whole host's state ---- */

/* Connections go to any worker that listens: the host is ready when one does, and none of those
 * that do lacks keys. One that has been replaced a moment ago is no fault. */
struct readiness {
    uint64_t workers, serving, keyless, draining;
};

static struct readiness look_around(struct app *app)
{
    struct metrics *metrics = app->options.metrics;
    app_publish(app);
    app_publish_gauges(app);
    struct readiness r = {.workers = 1};
    if (metrics != NULL)
        r.workers = metrics->workers;
    for (uint64_t i = 0; i < (metrics != NULL ? metrics->page_count : 1); i++) {
        const struct worker_metrics *page = metrics != NULL ? &metrics->pages[i] : app->page;
        r.serving += page->gauges.serving;
        r.keyless += page->gauges.keyless;
        r.draining += page->gauges.draining;
    }
    return r;
}

static void add_fault(struct buf *body, struct str text)
{
    if (body->data[body->len - 1] != '[')
        buf_add_char(body, ',');
    buf_add_json(body, text);
}

/* Why there are no keys, or which of them go unused. */
static void add_issuer(struct issuer *issuer, void *arg)
{
    struct buf *body = arg;
    struct issuer_stats stats;
    struct err err;
    issuer_stats(issuer, &stats);
    if (stats.keys_age < 0 && stats.last_error[0] != '\0') {
        err_set(&err, 0, "issuer %.*s: %s", STR_ARG(stats.url), stats.last_error);
        add_fault(body, str_from(err.text));
    }
    struct str notes = stats.notes, line;
    while (str_split_next(&notes, '\n', &line) && line.len > 0) {
        err_set(&err, 0, "issuer %.*s: a key is left out: %.*s", STR_ARG(stats.url), STR_ARG(line));
        add_fault(body, str_from(err.text));
    }
}

static void add_faults(struct app *app, struct buf *body)
{
    buf_add_str(body, STR(",\"faults\":["));
    if (buf_failed(body))
        return;
    if (app->config_error.text[0] != '\0')
        add_fault(body, str_from(app->config_error.text));
    for (unsigned i = 0; app->current != NULL && i < app->current->function_count; i++) {
        if (app->current->functions[i]->failed)
            add_fault(body, str_from(app->current->functions[i]->error.text));
    }
    if (app->issuers != NULL)
        issuers_each(app->issuers, add_issuer, body);
    buf_add_char(body, ']');
}

static void answer_ready(struct app *app, struct exchange *ex)
{
    struct readiness r = look_around(app);
    bool loaded = r.serving > 0, keys = r.keyless == 0,
         draining = loaded && r.serving <= r.draining;
    bool ready = loaded && keys && !draining;
    struct buf body = BUF_INIT;
    buf_printf(&body,
               "{\"ready\":%s,\"functions\":%s,\"keys\":%s,\"draining\":%s,"
               "\"workers\":%llu,\"serving\":%llu",
               ready ? "true" : "false", loaded ? "true" : "false", keys ? "true" : "false",
               draining ? "true" : "false", (unsigned long long)r.workers,
               (unsigned long long)(r.serving - r.draining));
    add_faults(app, &body);
    buf_add_char(&body, '}');
    answer_text(ex, ready ? 200 : 503, STR("application/json"), &body);
}

static void answer_routes(struct app *app, struct exchange *ex)
{
    struct buf body = BUF_INIT;
    if (app->current != NULL)
        routes_write_json(app->current, &body);
    answer_text(ex, app->current != NULL ? 200 : 503, STR("application/json"), &body);
}

static void answer_openapi(struct app *app, struct exchange *ex)
{
    struct buf body = BUF_INIT;
    if (app->current != NULL)
        routes_write_openapi(app->current, &body);
    answer_text(ex, app->current != NULL ? 200 : 503, STR("application/json"), &body);
}

bool app_admin(struct app *app, struct exchange *ex, struct str path)
{
    static const struct {
        struct str path;
        void (*answer)(struct app *app, struct exchange *ex);
    } pages[] = {
        {{"/_luafn/live", 12}, answer_live},
        {{"/_luafn/ready", 13}, answer_ready},
        {{"/_luafn/metrics", 15}, answer_metrics},
        {{"/_luafn/routes", 14}, answer_routes},
        {{"/_luafn/openapi.json", 20}, answer_openapi},
    };
    if (!app->options.dev && !ex->admin)
        return false;
    ex->decorate = app_dev_decorate;
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (str_eq(path, pages[i].path)) {
            pages[i].answer(app, ex);
            return true;
        }
    }
    return app_journal(app, ex, path) || (app->options.dev && app_dev(app, ex, path));
}
