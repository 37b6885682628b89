/* Traces, metrics and logs for a collector: who has them sent. */
#include "app/app.h"

#include "base/log.h"
#include "otlp/otlp.h"

static const char *get(const void *arg, const char *name)
{
    return env_get(arg, name);
}

static bool count(void *arg, struct buf *out)
{
    return app_write_metrics(arg, out);
}

/* Figures are the whole host's: one worker sends them. */
static bool sends_metrics(const struct app *app)
{
    const struct metrics *metrics = app->options.metrics;
    return metrics != NULL && metrics->workers > 0 && app->options.page % metrics->workers == 0;
}

void app_otlp_follow(struct app *app, const struct config *config)
{
    if (otlp_set_names(app->otlp, config->redact, config->redact_count) != 0)
        log_message(LOG_ERROR, "out of memory: nothing is sent to the collector any more");
}

void app_otlp_open(struct app *app)
{
    const struct config *config = app->current->config;
    const struct metrics *metrics = app->options.metrics;
    struct otlp_settings settings;
    if (!otlp_settings_read(&settings, get, config->env, STR("luafn"), app->options.tell_notes) ||
        !settings.any) {
        otlp_settings_free(&settings);
        return;
    }
    const struct otlp_options options = {
        .loop = app->loop,
        .client = app->client,
        .instance = metrics != NULL ? metrics->instance : NULL,
        .count = sends_metrics(app) ? count : NULL,
        .arg = app,
        .since_ns = metrics != NULL ? metrics->since_ns : 0,
    };
    app->otlp = otlp_new(&settings, &options);
    if (app->otlp == NULL)
        log_message(LOG_ERROR, "out of memory: nothing is sent to the collector");
    else
        app_otlp_follow(app, config);
}
