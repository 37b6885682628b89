/* What `luafn dev` says when it is ready: three lines that a function of the program writes
 * (scripts/dev/greeting.lua), and where the dashboard is. The token is told here alone. */
#include "app/app.h"

#include <stdio.h>
#include <string.h>

/* Where it was told that it is, whatever .env makes of it. */
static const char *find_home(const struct app *app)
{
    const char *const *value = app->options.defaults;
    while (value != NULL && value[0] != NULL && strcmp(value[0], "URL") != 0)
        value += 2;
    return value != NULL && value[0] != NULL ? value[1] : NULL;
}

/* Instead of a client: to whoever started it. */
static void on_greeting(struct exchange *ex, bool good)
{
    const struct app *app = ex->app;
    const char *home = find_home(app);
    if (home == NULL || app->draining)
        return;
    fprintf(stderr,
            "%.*sdashboard   %s/_luafn/dev/ (tools for whoever writes functions: "
            "%s/_luafn/dev/mcp, Authorization: Bearer %.*s)\n",
            STR_ARG(good ? ex->res.body : STR("")), home, home, STR_ARG(app->options.own_token));
}

void app_greet(struct app *app)
{
    struct function *function = deployment_find(app->current, STR("luafn-dev-greeting"));
    struct exchange *ex = function != NULL ? exchange_new(NULL, NULL) : NULL;
    if (ex == NULL)
        return;
    ex->state = EXCHANGE_WORKING;
    ex->app = app;
    ex->on_settled = on_greeting;
    ex->req.method = METHOD_GET;
    ex->req.method_name = STR("GET");
    ex->req.path = ex->req.target = STR("/_luafn/dev/greeting");
    ex->req.host = STR("localhost");
    ex->req.scheme = STR("http");
    ex->req.client_ip = STR("127.0.0.1");
    ex->req.version_minor = 1;
    exchange_identify(ex);
    app_call_scheduled(app, function, ex);
    exchange_release(ex);
}
