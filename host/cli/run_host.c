/* What `serve` and `dev` share. */
#include "cli/run_host.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "bindings/bindings.h"
#include "base/limits.h"
#include "net/tls.h"
#include "run/budget.h"

static int read_log(const struct command *command, const char *text, bool dev)
{
    enum log_format format = dev && isatty(STDOUT_FILENO) ? LOG_FORMAT_TEXT : LOG_FORMAT_JSON;
    if (text != NULL && strcmp(text, "json") == 0)
        format = LOG_FORMAT_JSON;
    else if (text != NULL && strcmp(text, "text") == 0)
        format = LOG_FORMAT_TEXT;
    else if (text != NULL && strcmp(text, "none") == 0)
        format = LOG_FORMAT_NONE;
    else if (text != NULL)
        return cli_usage(command, "--log is json, text or none, not '%s'", text);
    log_setup(format, LOG_INFO);
    return 0;
}

static int read_workers(const struct command *command, const char *text, bool dev, unsigned *out)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t count = dev ? 1 : cores > 0 ? (uint64_t)cores : 1;
    if (text != NULL && (str_to_u64(str_from(text), 256, &count) != 0 || count == 0))
        return cli_usage(command, "--workers is a number from 1 to 256, not '%s'", text);
    *out = (unsigned)count;
    return 0;
}

/* A certificate that does not load is told before any process is made. */
static int read_tls(const struct command *command, const struct run_host *r,
                    struct app_options *app)
{
    if ((r->tls_cert != NULL) != (r->tls_key != NULL))
        return cli_usage(command, "--tls-cert and --tls-key belong together");
    app->tls_cert = r->tls_cert;
    app->tls_key = r->tls_key;
    if (r->tls_cert == NULL)
        return 0;
    struct err err;
    struct tls *tls = tls_new(r->tls_cert, r->tls_key, &err);
    tls_free(tls);
    return tls != NULL ? 0 : cli_fault("%s", err.text);
}

int run_host_read(const struct command *command, const struct run_host *r, bool dev,
                  struct run_host_plan *plan)
{
    struct worker_options *worker = &plan->supervisor.worker;
    worker->drain = LIMIT_DRAIN;
    worker->admin_fd = -1;
    worker->app = (struct app_options){
        .config_file = r->config_file, .dev = dev, .watch = dev || r->watch, .bindings = bindings};
    if (r->drain != NULL &&
        (str_to_seconds(str_from(r->drain), &worker->drain) != 0 || worker->drain < 0))
        return cli_usage(command, "--drain is a time such as 30s, not '%s'", r->drain);
    int rc = read_log(command, r->log, dev);
    if (rc == 0)
        rc = read_workers(command, r->workers, dev, &plan->supervisor.workers);
    if (rc == 0)
        rc = read_tls(command, r, &worker->app);
    return rc;
}

const char *run_host_scheme(const struct run_host_plan *plan)
{
    return plan->supervisor.worker.app.tls_cert != NULL ? "https" : "http";
}

int run_host_bind(const struct command *command, const struct option_list *addresses,
                  struct run_host_plan *plan)
{
    struct err err;
    for (unsigned i = 0; i < addresses->count; i++) {
        int rc = supervisor_bind(addresses->items[i], run_host_scheme(plan),
                                 &plan->listeners[plan->listener_count], &err);
        if (rc != 0)
            return rc == -EINVAL ? cli_usage(command, "%s", err.text) : cli_fault("%s", err.text);
        plan->listener_count++;
    }
    return 0;
}

/* What the workers keep beside functions.lua. 0 or an exit status. */
static int prepare_state(struct run_host_plan *plan)
{
    struct app_options *app = &plan->supervisor.worker.app;
    struct err err;
    char folder[sizeof(plan->kv_file) - sizeof("/kv.mdb")];
    if (cli_state_folder(app->config_file, "keys", plan->keys_folder, sizeof(plan->keys_folder)) !=
            0 ||
        cli_state_folder(app->config_file, NULL, folder, sizeof(folder)) != 0) {
        log_message(LOG_WARN,
                    "the folder .luafn cannot be written: keys will not outlive a restart, and "
                    "there is no kv");
        return 0;
    }
    app->state_folder = plan->keys_folder;
    snprintf(plan->kv_file, sizeof(plan->kv_file), "%s/kv.mdb", folder);
    if (store_check(plan->kv_file, &err) != 0)
        return cli_fault("%s", err.text);
    app->kv_file = plan->kv_file;
    return 0;
}

int run_host_go(struct run_host_plan *plan)
{
    struct app_options *app = &plan->supervisor.worker.app;
    const struct config_options options = {app->config_file, app->dev, app->defaults};
    struct err err;
    if (budget_start() != 0)
        return cli_fault("no timers are left on this machine");
    struct config *config = config_load(&options, &err);
    budget_stop();
    if (config == NULL)
        return cli_fault("%s", err.text);
    config_free(config);
    int rc = prepare_state(plan);
    return rc == 0 ? supervisor_run(&plan->supervisor, plan->listeners, plan->listener_count) : rc;
}
