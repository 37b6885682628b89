/* What a debugger is told of this app: its functions, and where their files are. */
#include "app/app.h"

#include "base/log.h"
#include "debug/dap_server.h"

struct visit {
    void (*visit)(void *arg, struct function *function);
    void *arg;
};

static void visit_deployment(const struct deployment *d, const struct visit *visit)
{
    for (unsigned i = 0; d != NULL && i < d->function_count; i++)
        visit->visit(visit->arg, d->functions[i]);
}

static void each_function(void *arg, void (*fn)(void *fn_arg, struct function *function),
                          void *fn_arg)
{
    const struct app *app = arg;
    const struct visit visit = {fn, fn_arg};
    visit_deployment(app->current, &visit);
    for (const struct deployment *d = app->retired; d != NULL; d = d->retired_next)
        visit_deployment(d, &visit);
}

static struct str root(void *arg)
{
    const struct app *app = arg;
    return app->current->config->folder;
}

struct dap_options app_debug_options(struct app *app, struct str token)
{
    return (struct dap_options){
        .token = token, .each_function = each_function, .root = root, .arg = app};
}

void app_debug_open(struct app *app)
{
    const struct dap_options options = app_debug_options(app, app->options.debug_token);
    if (options.token.len == 0)
        return;
    app->debug = dap_server_new(app->loop, app->options.debug_fd, &options);
    if (app->debug == NULL)
        log_message(LOG_ERROR, "out of memory: no debugger can attach");
}

void app_debug_close(struct app *app)
{
    dap_server_close(app->debug);
    app->debug = NULL;
}
