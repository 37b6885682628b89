/* Loading a deployment without serving it. */
#include "cli/load.h"

#include "base/log.h"
#include "bindings/bindings.h"
#include "cli/cli.h"
#include "lua/budget.h"
#include "run/task.h"

static void on_loaded(struct deployment *deployment, void *arg)
{
    (void)deployment; /* the loop below looks at deployment->loading */
    (void)arg;
}

struct deployment *load_deployment(const struct load_options *o, unsigned *faults)
{
    const struct config_options options = {o->config_file, o->dev, o->defaults, NULL, NULL};
    static uv_loop_t loops[2];
    static unsigned turn;
    uv_loop_t *loop = &loops[turn++ % 2];
    const struct services services = {.loop = loop, .issuers = o->issuers};
    struct err err;
    struct deployment *deployment = NULL;
    *faults = 0;
    log_setup(LOG_FORMAT_NONE,
              (enum log_level)(LOG_ERROR +
                               1)); /* faults are printed below, in the form that a person wants */
    if (budget_start() != 0) {
        *faults = 1;
        cli_fault("no timers are left: raise `ulimit -i`");
        return NULL;
    }
    if (uv_loop_init(loop) != 0 || task_queue_open(loop) != 0) {
        *faults = 1;
        cli_fault("out of memory");
        return NULL;
    }
    struct config *config = config_load(&options, &err);
    if (config != NULL && o->only != NULL) {
        config_drop_functions(config);
        struct function_spec *spec =
            config_add_function(config, STR("luafn-dev"), str_from(o->only));
        if (spec != NULL)
            spec->is_dev = true;
    }
    if (config != NULL)
        deployment = deployment_new(config, &services, bindings, NULL, NULL, on_loaded, NULL, &err);
    while (deployment != NULL && deployment->loading > 0 && uv_run(loop, UV_RUN_ONCE) != 0)
        continue;
    task_queue_close();
    uv_run(loop, UV_RUN_DEFAULT);
    if (deployment == NULL) {
        cli_fault("%s", err.text);
        *faults = 1;
        return NULL;
    }
    for (unsigned i = 0; i < deployment->function_count; i++) {
        if (!deployment->functions[i]->failed)
            continue;
        cli_fault("%s", deployment->functions[i]->error.text);
        ++*faults;
    }
    if (*faults == 0 && deployment_build_routes(deployment, &err) != 0) {
        cli_fault("%s", err.text);
        ++*faults;
    }
    return deployment;
}

void load_undo(struct deployment *deployment)
{
    uv_loop_t *loop = deployment->services.loop;
    deployment_free(deployment);
    uv_run(loop, UV_RUN_DEFAULT); /* lets the handles close */
    uv_loop_close(loop);
    budget_stop();
}
