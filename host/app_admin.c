/* /_luafn/live, ready, metrics, routes: for those who operate the host. On the admin listener, and
 * in `dev` on the same one. */
#include "app.h"

#include <stdio.h>

#include "auth/cache.h"
#include "base/log.h"
#include "openapi.h"
#include "routes.h"

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

static void add_faults(struct app *app, struct buf *body)
{
    const char *separator = "";
    buf_add_str(body, STR(",\"faults\":["));
    if (app->config_error.text[0] != '\0') {
        buf_add_json(body, str_from(app->config_error.text));
        separator = ",";
    }
    for (unsigned i = 0; app->current != NULL && i < app->current->function_count; i++) {
        const struct function *function = app->current->functions[i];
        if (!function->failed)
            continue;
        buf_add_str(body, str_from(separator));
        buf_add_json(body, str_from(function->error.text));
        separator = ",";
    }
    buf_add_char(body, ']');
}

static void answer_ready(struct app *app, struct exchange *ex)
{
    bool keys = issuers_ready(app->issuers);
    bool ready = app->ready && keys && !app->draining;
    struct buf body = BUF_INIT;
    buf_printf(&body, "{\"ready\":%s,\"functions\":%s,\"keys\":%s,\"draining\":%s",
               ready ? "true" : "false", app->ready ? "true" : "false", keys ? "true" : "false",
               app->draining ? "true" : "false");
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
        openapi_write(app->current, &body);
    answer_text(ex, app->current != NULL ? 200 : 503, STR("application/json"), &body);
}

/* ---- metrics, in Prometheus' text format ---- */

static void add_metric(struct buf *out, const char *name, const char *type, const char *help,
                       uint64_t value)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", name, help, name, type, name,
               (unsigned long long)value);
}

static void add_durations(const struct app *app, struct buf *out)
{
    uint64_t sum = 0;
    buf_add_str(
        out, STR("# HELP luafn_request_duration_seconds From the complete request to the answer.\n"
                 "# TYPE luafn_request_duration_seconds histogram\n"));
    for (unsigned i = 0; i < 11; i++) {
        sum += app->duration_buckets[i];
        buf_printf(out, "luafn_request_duration_seconds_bucket{le=\"%g\"} %llu\n",
                   app_duration_limits[i], (unsigned long long)sum);
    }
    sum += app->duration_buckets[11];
    buf_printf(
        out,
        "luafn_request_duration_seconds_bucket{le=\"+Inf\"} %llu\nluafn_request_duration_seconds_sum %.6f\n"
        "luafn_request_duration_seconds_count %llu\n",
        (unsigned long long)sum, (double)app->duration_sum_us / 1e6, (unsigned long long)sum);
}

static void add_functions(const struct app *app, struct buf *out)
{
    static const struct {
        const char *name, *type, *help;
        size_t offset;
    } metrics[] = {
        {"luafn_function_requests_total", "counter", "Requests that reached the function.",
         offsetof(struct function_counters, requests)},
        {"luafn_function_errors_total", "counter", "Runs that ended in an error or at a limit.",
         offsetof(struct function_counters, errors)},
        {"luafn_function_timeouts_total", "counter", "Runs past their wall clock.",
         offsetof(struct function_counters, timeouts)},
        {"luafn_function_cpu_limits_total", "counter", "Runs past their processor time.",
         offsetof(struct function_counters, cpu_limits)},
        {"luafn_function_memory_limits_total", "counter", "Runs out of memory.",
         offsetof(struct function_counters, memory_limits)},
        {"luafn_function_no_slot_total", "counter", "Requests refused for want of a slot.",
         offsetof(struct function_counters, no_slot)},
        {"luafn_function_loads_total", "counter", "Successful loads.",
         offsetof(struct function_counters, loads)},
        {"luafn_function_rollbacks_total", "counter", "Generations taken back.",
         offsetof(struct function_counters, rollbacks)},
        {"luafn_function_load_failures_total", "counter", "Failed loads.",
         offsetof(struct function_counters, load_failures)},
        {"luafn_function_cpu_nanoseconds_total", "counter",
         "Processor time of runs that were measured.", offsetof(struct function_counters, cpu_ns)},
    };
    for (size_t m = 0; m < sizeof(metrics) / sizeof(metrics[0]); m++) {
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", metrics[m].name, metrics[m].help,
                   metrics[m].name, metrics[m].type);
        for (unsigned i = 0; i < app->current->function_count; i++) {
            const struct function *f = app->current->functions[i];
            const uint64_t *value =
                (const uint64_t *)(const void *)((const char *)&f->counters + metrics[m].offset);
            buf_printf(out, "%s{function=\"%.*s\"} %llu\n", metrics[m].name, STR_ARG(f->spec->name),
                       (unsigned long long)*value);
        }
    }
    buf_add_str(
        out,
        STR("# HELP luafn_function_generation Which version serves.\n# TYPE luafn_function_generation gauge\n"));
    for (unsigned i = 0; i < app->current->function_count; i++)
        buf_printf(out, "luafn_function_generation{function=\"%.*s\"} %u\n",
                   STR_ARG(app->current->functions[i]->spec->name),
                   app->current->functions[i]->generation);
    buf_add_str(
        out,
        STR("# HELP luafn_function_memory_bytes Lua memory of the instance.\n# TYPE luafn_function_memory_bytes gauge\n"));
    for (unsigned i = 0; i < app->current->function_count; i++) {
        const struct instance *instance = app->current->functions[i]->current;
        buf_printf(out, "luafn_function_memory_bytes{function=\"%.*s\"} %zu\n",
                   STR_ARG(app->current->functions[i]->spec->name),
                   instance != NULL ? instance->vm->used : 0);
    }
}

static void add_issuer(struct issuer *issuer, void *arg)
{
    struct buf *out = arg;
    struct issuer_stats stats;
    issuer_stats(issuer, &stats);
    buf_printf(out, "luafn_keys_age_seconds{issuer=\"%.*s\"} %.0f\n", STR_ARG(stats.url),
               stats.keys_age);
}

static void answer_metrics(struct app *app, struct exchange *ex)
{
    struct buf out = BUF_INIT;
    struct server_stats server = server_stats(app->server);
    struct token_cache_stats cache = token_cache_stats();
    buf_add_str(
        &out,
        STR("# HELP luafn_responses_total Answers by first digit of the status.\n# TYPE luafn_responses_total counter\n"));
    for (int digit = 1; digit <= 5; digit++)
        buf_printf(&out, "luafn_responses_total{class=\"%dxx\"} %llu\n", digit,
                   (unsigned long long)app->responses[digit]);
    add_metric(&out, "luafn_requests_total", "counter", "Requests answered or given up.",
               app->requests);
    add_metric(&out, "luafn_connections", "gauge", "Open connections.", server.open);
    add_metric(&out, "luafn_connections_accepted_total", "counter", "Connections accepted.",
               server.accepted);
    add_metric(&out, "luafn_connections_refused_total", "counter", "Connections over the limit.",
               server.refused);
    add_metric(&out, "luafn_connection_timeouts_total", "counter", "Connections past a timeout.",
               server.timeouts);
    add_metric(&out, "luafn_malformed_requests_total", "counter", "Requests refused by the parser.",
               server.parse_errors);
    add_metric(&out, "luafn_auth_refused_total", "counter", "401 and 403 of policies.",
               app->auth_refused);
    add_metric(&out, "luafn_rate_limited_total", "counter", "429 of rate_limit.",
               app->rate_refused);
    add_metric(&out, "luafn_keys_unavailable_total", "counter", "503 for want of keys.",
               app->keys_unavailable);
    add_metric(&out, "luafn_token_cache_hits_total", "counter",
               "Tokens whose signature was known to be good.", cache.hits);
    add_metric(&out, "luafn_token_cache_misses_total", "counter",
               "Tokens that were not in the cache.", cache.misses);
    add_metric(&out, "luafn_token_cache_bytes", "gauge", "Memory of the token cache.", cache.bytes);
    add_metric(&out, "luafn_config_reloads_total", "counter",
               "Configurations swapped in after the first.", app->reloads);
    add_metric(&out, "luafn_log_dropped_total", "counter", "Log lines that could not be written.",
               log_dropped());
    add_durations(app, &out);
    if (app->current != NULL)
        add_functions(app, &out);
    buf_add_str(
        &out,
        STR("# HELP luafn_keys_age_seconds Age of the key set; -1: none.\n# TYPE luafn_keys_age_seconds gauge\n"));
    issuers_each(app->issuers, add_issuer, &out);
    answer_text(ex, 200, STR("text/plain; version=0.0.4; charset=utf-8"), &out);
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
    if (!app->options.dev && !exchange_is_admin(ex))
        return false;
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (str_eq(path, pages[i].path)) {
            pages[i].answer(app, ex);
            return true;
        }
    }
    return false;
}
