/* What `serve` and `dev` share. */
#include "cli/run_host.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/key.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/log_sink.h"
#include "base/place.h"
#include "bindings/bindings.h"
#include "cli/unpack.h"
#include "lua/budget.h"
#include "process/notify.h"
#include "process/upgrade.h"

static int read_level(const struct command *command, const char *text, bool dev,
                      enum log_level *out)
{
    static const char *const names[] = {"debug", "info", "warn", "error", NULL};
    *out = dev ? LOG_DEBUG : LOG_INFO;
    for (unsigned i = 0; text != NULL && names[i] != NULL; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum log_level)i;
            return 0;
        }
    }
    return text == NULL
               ? 0
               : cli_usage(command, "--log-level is debug, info, warn or error, not '%s'", text);
}

static int read_log(const struct command *command, const char *text, const char *level, bool dev)
{
    enum log_level lowest;
    int rc = read_level(command, level, dev, &lowest);
    if (rc != 0)
        return rc;
    enum log_format format = dev && isatty(STDOUT_FILENO) ? LOG_FORMAT_TEXT : LOG_FORMAT_JSON;
    if (text != NULL && strcmp(text, "json") == 0)
        format = LOG_FORMAT_JSON;
    else if (text != NULL && strcmp(text, "text") == 0)
        format = LOG_FORMAT_TEXT;
    else if (text != NULL && strcmp(text, "none") == 0)
        format = LOG_FORMAT_NONE;
    else if (text != NULL)
        return cli_usage(command, "--log is json, text or none, not '%s'", text);
    log_setup(format, lowest);
    log_sink_open();
    return 0;
}

static int read_workers(const struct command *command, const char *text, bool dev, unsigned *out)
{
    long cores = text == NULL && !dev ? sysconf(_SC_NPROCESSORS_ONLN) : 1;
    uint64_t count = cores > 0 ? (uint64_t)cores : 1;
    if (text != NULL && (str_to_u64(str_from(text), 256, &count) != 0 || count == 0))
        return cli_usage(command, "--workers is a number from 1 to 256, not '%s'", text);
    *out = (unsigned)count;
    return 0;
}

/* Once, at the start: workers that are made later need no file for it. */
static int read_client_ca(const struct command *command, const char *file,
                          struct run_host_plan *plan)
{
    struct app_options *app = &plan->supervisor.worker.app;
    struct err err;
    if (file == NULL)
        return 0;
    if (app->tls_count == 0)
        return cli_usage(command, "--tls-client-ca needs --tls-cert and --tls-key");
    int rc = file_read_all(file, 0, LIMIT_PEM_BYTES, &plan->client_ca);
    if (rc != 0)
        return cli_fault("%s: %s", file, strerror(-rc));
    app->tls_client_ca = buf_str(&plan->client_ca);
    return tls_check_ca(file, app->tls_client_ca, &err) == 0 ? 0 : cli_fault("%s", err.text);
}

/* A certificate that does not load is told before any process is made. */
static int read_tls(const struct command *command, const struct run_host *r,
                    struct run_host_plan *plan)
{
    struct app_options *app = &plan->supervisor.worker.app;
    if (r->tls_cert.count != r->tls_key.count)
        return cli_usage(command, "--tls-cert and --tls-key belong together");
    app->tls = plan->tls;
    app->tls_count = r->tls_cert.count;
    for (unsigned i = 0; i < app->tls_count; i++)
        plan->tls[i] = (struct tls_files){r->tls_cert.items[i], r->tls_key.items[i]};
    int rc = read_client_ca(command, r->tls_client_ca, plan);
    if (rc != 0 || app->tls_count == 0)
        return rc;
    struct err err;
    struct tls *tls = tls_new(app->tls, app->tls_count, NULL, 0, app->tls_client_ca, &err);
    tls_free(tls);
    return tls != NULL ? 0 : cli_fault("%s", err.text);
}

int run_host_read(const struct command *command, const struct run_host *r, bool dev,
                  struct run_host_plan *plan)
{
    struct worker_options *worker = &plan->supervisor.worker;
    worker->drain = LIMIT_DRAIN;
    worker->admin_fd = -1;
    plan->sandbox = r->sandbox;
    plan->supervisor.carried_fd = plan->supervisor.ready_fd = -1;
    worker->app = (struct app_options){.config_file = r->config_file,
                                       .dev = dev,
                                       .watch = dev || r->watch,
                                       .proxy_protocol = r->proxy_protocol,
                                       .bindings = bindings};
    if (r->drain != NULL &&
        (str_to_seconds(str_from(r->drain), &worker->drain) != 0 || worker->drain < 0))
        return cli_usage(command, "--drain is a time such as 30s, not '%s'", r->drain);
    int rc = read_log(command, r->log, r->log_level, dev);
    if (rc == 0)
        rc = read_workers(command, r->workers, dev, &plan->supervisor.workers);
    if (rc == 0)
        rc = read_tls(command, r, plan);
    return rc;
}

const char *run_host_scheme(const struct run_host_plan *plan)
{
    return plan->supervisor.worker.app.tls_count > 0 ? "https" : "http";
}

int run_host_refuse(const struct command *command, int rc, const struct err *err)
{
    return rc == -EINVAL ? cli_usage(command, "%s", err->text) : cli_fault("%s", err->text);
}

int run_host_bind(const struct command *command, const struct option_list *addresses,
                  struct run_host_plan *plan)
{
    struct err err;
    for (unsigned i = 0; i < addresses->count; i++) {
        const char *address = addresses->items[i];
        struct listener *to = &plan->listeners[plan->listener_count];
        int rc = listener_names_file(address)
                     ? listener_bind_file("--listen", address, to, &err)
                     : listener_bind("--listen", address, run_host_scheme(plan), to, &err);
        if (rc != 0)
            return run_host_refuse(command, rc, &err);
        plan->listener_count++;
        plan->bound = true;
    }
    return 0;
}

const struct listener *run_host_first(const struct run_host_plan *plan)
{
    for (unsigned i = 0; i < plan->listener_count; i++)
        if (!listener_names_file(plan->listeners[i].url))
            return &plan->listeners[i];
    return NULL;
}

int run_host_give_up(const struct run_host_plan *plan, int rc)
{
    for (unsigned i = 0; plan->bound && i < plan->listener_count; i++)
        listener_remove(&plan->listeners[i]);
    return rc;
}

static int adopt(struct run_host_plan *plan, int fd, const char *name)
{
    struct err err;
    bool admin = strcmp(name, "admin") == 0, redirect = strcmp(name, "redirect") == 0;
    struct listener *to = admin      ? &plan->admin
                          : redirect ? &plan->redirect
                                     : &plan->listeners[plan->listener_count];
    if (!admin && !redirect && plan->listener_count == LISTENER_MAX)
        return cli_fault("more than %d sockets were handed over", LISTENER_MAX);
    if (listener_adopt(fd, admin || redirect ? "http" : run_host_scheme(plan), to, &err) != 0)
        return cli_fault("a socket that was handed over cannot be used: %s", err.text);
    plan->listener_count += !admin && !redirect;
    if (admin)
        plan->supervisor.worker.admin_fd = fd;
    return 0;
}

int run_host_take_over(struct run_host_plan *plan)
{
    struct inherited before;
    struct notify_socket sockets[LISTENER_MAX + 2];
    int rc = 0;
    if (upgrade_inherited(&before)) {
        plan->supervisor.carried_fd = before.carried_fd;
        plan->supervisor.ready_fd = before.ready_fd;
        plan->supervisor.foreign = before.foreign;
        for (unsigned i = 0; rc == 0 && i < before.listen_count; i++)
            rc = adopt(plan, before.listen_fds[i], "");
        if (rc == 0 && before.admin_fd >= 0)
            rc = adopt(plan, before.admin_fd, "admin");
        return rc;
    }
    unsigned count = notify_sockets(sockets, LISTENER_MAX + 2);
    for (unsigned i = 0; rc == 0 && i < count; i++)
        rc = adopt(plan, sockets[i].fd, sockets[i].name);
    plan->supervisor.foreign = plan->listener_count > 0;
    return rc;
}

static void allow_reading(struct run_host_plan *plan, const char *path)
{
    for (unsigned i = 0; i < plan->readable_count; i++) {
        if (strcmp(plan->readable[i], path) == 0)
            return;
    }
    if (plan->readable_count == RUN_HOST_READABLE_MAX)
        return;
    char *copy = plan->readable[plan->readable_count++];
    snprintf(copy, sizeof(plan->readable[0]), "%s", path);
    plan->confine.readable[plan->confine.readable_count++] = copy;
}

/* What the path leads to; `above`: the folder that holds that, unless it is the root, which holds
 * all. */
static void allow_real(struct run_host_plan *plan, const char *path, bool above)
{
    char real[PATH_MAX];
    if (realpath(path, real) == NULL)
        return;
    char *slash = strrchr(real, '/');
    if (above && slash != real)
        *slash = '\0';
    allow_reading(plan, real);
}

static void cut_name(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash == NULL)
        memcpy(path, ".", 2);
    else
        *(slash == path ? slash + 1 : slash) = '\0';
}

/* A folder; and, where it is a link, what lies beside it and beside its target: it may be swapped
 * for another release. */
static void allow_folder(struct run_host_plan *plan, char *folder)
{
    struct stat st;
    allow_real(plan, folder, false);
    if (lstat(folder, &st) != 0 || !S_ISLNK(st.st_mode))
        return;
    allow_real(plan, folder, true);
    cut_name(folder);
    allow_real(plan, folder, false);
}

/* The folder of a file, as it is named and as its links lead. */
static void allow_beside(struct run_host_plan *plan, const char *file)
{
    char folder[PATH_MAX];
    allow_real(plan, file, true);
    snprintf(folder, sizeof(folder), "%s", file);
    cut_name(folder);
    allow_folder(plan, folder);
}

/* What a worker needs of the file system: the deployment, certificates, and `.luafn` to write. */
static void plan_sandbox(struct run_host_plan *plan, const struct config *config)
{
    const struct app_options *app = &plan->supervisor.worker.app;
    struct confine *confine = &plan->confine;
    if (!plan->sandbox)
        return;
    plan->supervisor.worker.confine = confine;
    allow_beside(plan, app->config_file);
    if (place_is_set())
        allow_real(plan, place_of(STR("")).ptr, false);
    const struct redis_address *kv = &config->kv_address;
    const char *const kv_files[] = {kv->ca, kv->cert, kv->key};
    for (unsigned i = 0; i < sizeof(kv_files) / sizeof(kv_files[0]); i++) {
        if (kv_files[i][0] != '\0')
            allow_beside(plan, kv_files[i]);
    }
    if (config->publish_named.len > 0) {
        char folder[PATH_MAX];
        snprintf(folder, sizeof(folder), "%s", config->publish_named.ptr);
        allow_folder(plan, folder);
    }
    for (unsigned i = 0; i < app->tls_count; i++) {
        allow_beside(plan, app->tls[i].cert);
        allow_beside(plan, app->tls[i].key);
    }
    if (cli_state_folder(app->config_file, NULL, plan->state_folder, sizeof(plan->state_folder)) ==
        0)
        confine->writable[confine->writable_count++] = plan->state_folder;
}

int run_host_redirect(const struct command *command, const struct run_host *r,
                      struct run_host_plan *plan)
{
    struct err err;
    bool upgraded = plan->supervisor.ready_fd >= 0;
    if (r->redirect_http == NULL && plan->redirect.fd > 0)
        return cli_usage(command,
                         "a socket named redirect was handed over, which takes the place of "
                         "--redirect-http: give that, too");
    if (r->redirect_http == NULL)
        return 0;
    if (plan->supervisor.worker.app.tls_count == 0)
        return cli_usage(command, "--redirect-http needs --tls-cert and --tls-key");
    if (run_host_first(plan) == NULL)
        return cli_usage(command,
                         "--redirect-http needs a --listen HOST:PORT that it can send clients to");
    if (!upgraded && plan->listener_count == LISTENER_MAX)
        return cli_usage(command, "with --redirect-http there can be %d other addresses at most",
                         LISTENER_MAX - 1);
    unsigned last = upgraded ? plan->listener_count - 1 : plan->listener_count++;
    struct listener *to = &plan->listeners[last];
    plan->supervisor.worker.redirects = true;
    int rc = 0;
    if (plan->redirect.fd > 0)
        *to = plan->redirect;
    else
        rc = upgraded ? listener_adopt(to->fd, "http", to, &err)
                      : listener_bind("--redirect-http", r->redirect_http, "http", to, &err);
    return rc == 0 ? 0 : run_host_refuse(command, rc, &err);
}

/* Who starts as root has made the sockets' files, too, and unpacked what is packed. */
static int give_files(const struct run_host_plan *plan, const char *name)
{
    const struct passwd *user = geteuid() == 0 ? getpwnam(name) : NULL;
    for (unsigned i = 0; user != NULL && plan->bound && i < plan->listener_count; i++) {
        const struct listener *listener = &plan->listeners[i];
        int rc = listener_give(listener, user->pw_uid, user->pw_gid);
        if (rc != 0)
            return cli_fault("%s cannot be given to user %s: %s", listener->url, name,
                             strerror(-rc));
    }
    int rc = user != NULL ? unpack_give(user->pw_uid, user->pw_gid) : 0;
    return rc == 0
               ? 0
               : cli_fault("what is unpacked cannot be given to user %s: %s", name, strerror(-rc));
}

int run_host_drop(const struct run_host *r, const struct run_host_plan *plan)
{
    struct err err;
    if (r->user != NULL && give_files(plan, r->user) != 0)
        return EXIT_FAULT;
    if (r->user == NULL || confine_to_user(r->user, &err) == 0)
        return 0;
    return cli_fault("%s", err.text);
}

/* What the workers keep beside functions.lua; `remote`: kv is elsewhere. */
static void prepare_state(struct run_host_plan *plan, bool remote)
{
    struct app_options *app = &plan->supervisor.worker.app;
    char folder[sizeof(plan->kv_file) - sizeof("/kv.mdb")];
    int rc =
        cli_state_folder(app->config_file, "keys", plan->keys_folder, sizeof(plan->keys_folder));
    if (rc == 0)
        rc = cli_state_folder(app->config_file, NULL, folder, sizeof(folder));
    if (rc != 0) {
        log_message(LOG_WARN,
                    "the folder .luafn beside functions.lua cannot be written: %s; keys will not "
                    "outlive a restart%s",
                    strerror(-rc), remote ? "" : ", and there is no kv");
        return;
    }
    app->state_folder = plan->keys_folder;
    snprintf(plan->journal_folder, sizeof(plan->journal_folder), "%s/journal", folder);
    app->journal_folder = plan->journal_folder;
    snprintf(plan->kv_file, sizeof(plan->kv_file), "%s/kv.mdb", folder);
    app->kv_file = plan->kv_file;
}

/* Once for all workers: a child looks at the store's file (NULL: there is none), and meanwhile
 * OpenSSL, which takes as long, is made ready for them to inherit. 0 or an exit status. */
static int make_ready(const char *kv_file)
{
    struct err err;
    pid_t child = 0;
    int rc = kv_file != NULL ? store_check_begin(kv_file, &child, &err) : 0;
    bool has_keys = key_start() == 0;
    if (rc == 0)
        rc = store_check_wait(kv_file, child, &err);
    if (rc != 0)
        return cli_fault("%s", err.text);
    return has_keys ? 0 : cli_fault("cannot start: out of memory");
}

int run_host_go(struct run_host_plan *plan)
{
    struct app_options *app = &plan->supervisor.worker.app;
    const struct config_options options = {app->config_file, app->dev, app->defaults, NULL, NULL};
    struct err err;
    if (budget_start() != 0)
        return cli_fault("no timers are left: raise `ulimit -i`");
    struct config *config = config_load(&options, &err);
    budget_stop();
    if (config == NULL)
        return run_host_give_up(plan, cli_fault("%s", err.text));
    if (app->proxy_protocol && !forwarded_any(&config->proxies)) {
        config_free(config);
        return run_host_give_up(
            plan, cli_fault("%s: --proxy-protocol needs to know who may speak it: write proxies = "
                            "{ from = { \"10.0.0.0/8\" } }",
                            app->config_file));
    }
    bool remote = config->kv_address.place_count > 0;
    prepare_state(plan, remote);
    int rc = make_ready(remote ? NULL : app->kv_file);
    plan_sandbox(plan, config);
    app->config = config; /* the first workers have it by their birth */
    if (rc == 0 && plan->announce != NULL)
        plan->announce(plan);
    rc = rc == 0 ? supervisor_run(&plan->supervisor, plan->listeners, plan->listener_count)
                 : run_host_give_up(plan, rc);
    config_free(config);
    return rc;
}
