/* One access line a request, and what it counts. */
#include "app/app.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "journal/hook.h"
#include "run/tidy.h"

/* Without the query, which may hold secrets. */
static struct str path_of(const struct exchange *ex)
{
    return (struct str){ex->req.target.ptr, str_find(ex->req.target, '?')};
}

static void log_text(const struct exchange *ex, double ms)
{
    struct log_line line;
    log_begin_access(&line);
    buf_printf(&line.buf, " %.*s %.*s ", STR_ARG(ex->req.method_name), STR_ARG(path_of(ex)));
    log_status(&line, ex->res.status);
    buf_printf(&line.buf, " %.1f ms", ms);
    if (ex->function != NULL)
        buf_printf(&line.buf, "  %s@%u", ex->function, ex->generation);
    if (ex->error_code != NULL)
        buf_printf(&line.buf, "  %s", ex->error_code);
    buf_printf(&line.buf, "  %s", ex->request_id);
    log_end(&line);
}

/* Of `dev` itself: its pages, its issuer. */
static bool is_own(const struct app *app, const struct exchange *ex)
{
    return app->options.dev &&
           (str_starts_with(ex->req.path, STR("/_luafn/")) ||
            (ex->function != NULL && str_starts_with(str_from(ex->function), STR("luafn-dev-"))));
}

static void log_access(const struct app *app, const struct exchange *ex, uint64_t ns)
{
    if (log_format() == LOG_FORMAT_NONE)
        return;
    if (log_format() == LOG_FORMAT_TEXT) {
        if (!is_own(app, ex)) /* people read what their own functions do */
            log_text(ex, (double)ns / 1e6);
        return;
    }
    struct log_line line;
    log_begin_access(&line);
    log_str(&line, "request_id", str_from(ex->request_id));
    log_str(&line, "method", ex->req.method_name);
    log_str(&line, "path", path_of(ex));
    log_int(&line, "status", ex->res.status);
    log_int(&line, "bytes", (int64_t)ex->bytes_sent);
    log_decimal(&line, "ms", (ns + 500) / 1000, 3);
    if (ex->function != NULL) {
        log_str(&line, "function", str_from(ex->function));
        log_int(&line, "generation", ex->generation);
    }
    if (ex->error_code != NULL)
        log_str(&line, "error", str_from(ex->error_code));
    if (ex->sub_hash != 0) {
        char hash[20];
        snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)ex->sub_hash);
        log_str(&line, "sub_hash", str_from(hash));
    }
    if (ex->traceparent.len > 0)
        log_str(&line, "traceparent", ex->traceparent);
    log_str(&line, "ip", ex->req.client_ip);
    log_end(&line);
}

void app_finished(void *arg, struct exchange *ex)
{
    struct app *app = arg;
    uint64_t ns = clock_monotonic_ns() - ex->started_ns;
    hook_moment(ex->hook, HOOK_SENT);
    metrics_add_duration(&app->page->durations, ns);
    if (ex->durations != NULL)
        metrics_add_duration(ex->durations, ns);
    app->page->requests++;
    int digit = ex->res.status / 100;
    app->page->responses[digit >= 1 && digit <= 5 ? digit : 0]++;
    log_access(app, ex, ns);
    /* What malloc keeps of large bodies, and of pieces that waited for slow readers, is given back
     * a moment later. */
    tidy_after_free(ex->arena.total + ex->req.body.len + ex->res.body.len + ex->bytes_sent);
}
