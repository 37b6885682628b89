/* The app's life: loading a configuration, swapping it in, draining, closing. */
#include "app/app.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app/kept.h"
#include "auth/token_cache.h"
#include "base/clock.h"
#include "base/log.h"
#include "channel/channel.h"
#include "debug/dap_server.h"
#include "http/packed.h"
#include "journal/journal.h"
#include "otlp/otlp.h"
#include "server/tls.h"
#include "run/invocation.h"
#include "run/task.h"
#include "sql/sql.h"

enum { RETRY_MS = 500, RETRY_SHIFT_MAX = 6 };

static void on_deployment_loaded(struct deployment *deployment, void *arg);
static void watch_files(struct app *app);
/* Reloads what has changed on disk: a script, or the whole configuration. */
static void check_files(struct app *app)
{
    struct deployment *d = app->current;
    app_sweep(app);
    if (origin_changed(app->tried) || origin_changed(app->refused)) {
        app_reload(app);
        watch_files(app);
        return;
    }
    for (unsigned i = 0; d != NULL && i < d->function_count; i++) {
        struct function *function = d->functions[i];
        if (function->loading == NULL && origin_changed(function->origin))
            function_load(function);
    }
    watch_files(app);
}

static void on_files_changed(void *arg);
static void on_revocations_known(struct app *app);

/* What was read before this process was made; NULL: it has to be read. */
static struct config *take_config(struct app *app)
{
    struct config *config = app->options.config;
    app->options.config = NULL;
    if (config != NULL && origin_changed(config->origin)) {
        config_free(config);
        return NULL;
    }
    if (config != NULL)
        app->tried = origin_ref(config->origin);
    return config;
}

static struct config *load_config(struct app *app, const struct kept *kept, struct err *err)
{
    origin_unref(app->tried);
    app->tried = NULL;
    const struct config_options options = {.file = app->options.config_file,
                                           .dev = app->options.dev,
                                           .defaults = app->options.defaults,
                                           .earlier = kept != NULL ? kept->config : NULL,
                                           .seen = &app->tried};
    struct config *config = take_config(app);
    if (config == NULL)
        config = config_load(&options, err);
    const char *const *instead = app->options.instead;
    for (unsigned i = 0; config != NULL && instead != NULL && i < config->function_count; i++) {
        if (str_eq(config->functions[i].name, str_from(instead[0])))
            config->functions[i].script = str_from(instead[1]);
    }
    for (const char *const *own = app->options.own_functions;
         config != NULL && own != NULL && own[0] != NULL; own += 2) {
        struct function_spec *spec =
            config_add_function(config, str_from(own[0]), str_from(own[1]));
        if (spec == NULL) {
            err_set(err, -ENOMEM, "out of memory");
            config_free(config);
            return NULL;
        }
        spec->is_dev = true;
    }
    return config;
}

/* A version is its files and the configuration that they were loaded under. */
static unsigned number_version(void *arg, struct str name, uint64_t content, unsigned current)
{
    const struct deployment *d = arg;
    const struct app *app = d->loaded_arg;
    return generations_number(app->options.generations, name, content ^ d->config->hash, current);
}

static void tell_notes(const struct config *config)
{
    for (unsigned i = 0; i < config->note_count; i++)
        log_message(config->notes[i].fault ? LOG_ERROR : LOG_WARN, "%.*s",
                    STR_ARG(config->notes[i].text));
}

/* Without it the host still serves: what uses kv raises. Its place is that of the first
 * configuration which loads, for as long as the program runs. */
static void open_store(struct app *app, const struct config *config)
{
    static const struct redis_address none;
    struct err err;
    const struct redis_address *address = app->options.kv_local ? &none : &config->kv_address;
    if (app->store != NULL) {
        if (app->options.tell_notes && memcmp(&app->store_address, address, sizeof(*address)) != 0)
            log_message(LOG_WARN, "KV_URL has changed: a restart takes it up");
        return;
    }
    app->store_address = *address;
    if (address->place_count > 0) {
        app->store = store_connect(app->loop, &app->store_address);
        channel_hub_use(app->channels, app->store);
        if (app->store != NULL)
            issuers_use_store(app->issuers, app->store, str_from(app->store_address.password));
    } else if (app->options.kv_file != NULL) {
        app->store = store_open(app->loop, app->options.kv_file, &err);
        if (app->store == NULL)
            log_message(LOG_ERROR, "%s", err.text);
    }
}

static void forget_kept(struct app *app)
{
    kept_free(app->options.kept);
    app->options.kept = NULL;
}

/* The first deployment has loaded, and what was revoked before is known, where it can be. */
static void tell_ready(struct app *app)
{
    if (!app->ready || !app->reader.is_settled || app->ready_told)
        return;
    app->ready_told = true;
    if (app->options.own_functions != NULL && !app->options.replaces)
        app_greet(app);
    app->on_ready(app, 0);
    forget_kept(app);
}

static void on_revocations_known(struct app *app)
{
    tell_ready(app);
}

static void on_job_sent(void *arg)
{
    app_queue_update(arg);
}

void app_reload(struct app *app)
{
    struct err err;
    app->reload_again = app->loading != NULL;
    if (app->reload_again)
        return; /* when that one has ended */
    const struct kept *kept = app->options.kept;
    app->keep_due = true;
    struct config *config = load_config(app, kept, &err);
    if (config != NULL && app->options.tell_notes)
        tell_notes(config);
    if (config != NULL) {
        open_store(app, config);
        app_queue_open(app, app_call_job);
    }
    if (config != NULL && app->reader.settled == NULL)
        app_revocation_open(app, on_revocations_known);
    const struct services services = {
        .loop = app->loop,
        .client = app->client,
        .issuers = app->issuers,
        .store = app->store,
        .sql = app->sql,
        .channels = app->channels,
        .dev = app->options.dev,
        .metrics = app->options.metrics,
        .page = app->page,
        .running_name = app->options.running_name,
        .number = number_version,
        .job_sent = on_job_sent,
        .job_sent_arg = app,
        .own = &app->own,
        .trials = config != NULL && config->replay_before_reload > 0 ? &app_trials : NULL,
        .trials_arg = app};
    struct deployment *deployment = NULL;
    if (config != NULL)
        deployment = deployment_new(config, &services, app->options.bindings, app->current, kept,
                                    on_deployment_loaded, app, &err);
    if (deployment == NULL) {
        app->config_error = err;
        log_message(LOG_ERROR, "%s", err.text);
        if (kept != NULL) { /* better what is on disk than nothing */
            forget_kept(app);
            app_reload(app);
            return;
        }
        if (!app->ready)
            app->on_ready(app, -EINVAL);
    } else if (deployment->loading > 0) {
        app->loading = deployment;
    } else {
        on_deployment_loaded(deployment, app);
    }
}

/* What served in the worker before and does not load in this one, as its script waits for somebody
 * who does not answer now, is tried again, ever more seldom. */
static void retry_loads(struct app *app)
{
    uint64_t now = uv_now(app->loop);
    for (unsigned i = 0; app->current != NULL && i < app->current->function_count; i++) {
        struct function *function = app->current->functions[i];
        if (function->earlier == NULL || function->current != NULL || function->loading != NULL ||
            now < function->retry_at)
            continue;
        function->retries += function->retries < RETRY_SHIFT_MAX;
        function->retry_at = now + ((uint64_t)RETRY_MS << function->retries);
        function_load(function);
    }
}

void app_sweep(struct app *app)
{
    if (app->store != NULL)
        store_sweep(app->store);
    app_session_sweep(app);
    if (!app->draining)
        retry_loads(app);
    struct deployment **link = &app->retired;
    while (*link != NULL) {
        struct deployment *d = *link;
        if (!deployment_is_idle(d)) {
            link = &d->retired_next;
            continue;
        }
        *link = d->retired_next;
        deployment_free(d);
    }
}

/* Freed by a later sweep: what calls this may be the end of a load of that very deployment. */
bool app_is_idle(struct app *app)
{
    app_sweep(app);
    return list_is_empty(&app->queue.runs) && app_due_is_idle(app) && app->retired == NULL &&
           (app->current == NULL || deployment_is_idle(app->current));
}

/* Their clients connect again, to what follows. */
static void close_websockets(struct deployment *d)
{
    for (unsigned i = 0; d != NULL && i < d->function_count; i++)
        function_close_websockets(d->functions[i], NULL);
}

static void retire(struct app *app, struct deployment *deployment)
{
    if (deployment == NULL)
        return;
    close_websockets(deployment);
    deployment->retired_next = app->retired;
    app->retired = deployment;
}

/* In `serve` a start with a script that does not load is no start; in `dev`, and where a worker
 * takes another's place, the others serve meanwhile. */
static bool refuses_start(const struct app *app, const struct deployment *deployment)
{
    return !app->ready && !app->options.dev && !app->options.replaces &&
           deployment_first_failed(deployment) != NULL;
}

/* A new configuration must not take away what the one before serves well. True when the one before
 * stays. */
static bool keeps_before(struct app *app, struct deployment *deployment)
{
    struct function *lost =
        (struct function *)(uintptr_t)deployment_first_lost(deployment, app->current);
    if (lost == NULL)
        return false;
    app->config_error = lost->error;
    log_message(LOG_ERROR, "%s; the configuration before stays", lost->error.text);
    origin_unref(app->refused);
    app->refused = origin_ref(lost->origin);
    retire(app, deployment);
    return true;
}

/* What was wrong with newer files when the worker before served is so still. */
static void recall_faults(struct app *app, struct deployment *deployment)
{
    const struct kept *kept = app->options.kept;
    err_set(&app->config_error, 0, "%s", kept->config_error.ptr);
    for (unsigned i = 0; i < deployment->function_count; i++) {
        struct function *function = deployment->functions[i];
        const struct kept_function *before = kept_find(kept, function->base->name);
        if (before == NULL || before->error.len == 0 || function->failed)
            continue;
        function->failed = true;
        err_set(&function->error, 0, "%s", before->error.ptr);
    }
}

static void learn_secrets(const struct verifier_spec *list, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        redact_learn(STR(""), list[i].secret);
        redact_learn(STR(""), list[i].introspection.client_secret);
    }
}

/* What the journal must not show: secrets of policies, as functions.lua and the scripts have them.
 */
static void learn_all(const struct deployment *d)
{
    learn_secrets(d->config->issuers, d->config->issuer_count);
    redact_learn(STR(""), d->config->login.client_secret);
    for (unsigned i = 0; i < d->config->login.secret_count; i++)
        redact_learn(STR(""), d->config->login.secrets[i]);
    for (unsigned i = 0; i < d->config->outbound_count; i++) {
        redact_learn(STR(""), d->config->outbound[i].client_secret);
        redact_learn(STR(""), d->config->outbound[i].private_key);
    }
    for (unsigned i = 0; i < d->config->protect_count; i++) {
        const struct policy *policy = &d->config->protect[i].policy;
        learn_secrets(policy->own, policy->own_count);
    }
    for (unsigned i = 0; i < d->function_count; i++) {
        const struct policy *policy = &d->functions[i]->spec->policy;
        learn_secrets(policy->own, policy->own_count);
        for (unsigned k = 0; policy->webhook != NULL && k < policy->webhook->secret_count; k++)
            redact_learn(STR(""), policy->webhook->secrets[k].key);
    }
}

static void on_change(void *arg)
{
    struct app *app = arg;
    app->keep_due = true;
    if ((app->journal != NULL || app->otlp != NULL) && app->current != NULL)
        learn_all(app->current);
    dap_server_reloaded(app->debug);
}

/* What the journal keeps from now on, and what no span shows. */
static void follow_rules(struct app *app, const struct deployment *deployment)
{
    const struct config *config = deployment->config;
    const char *folder = app->options.journal_folder;
    if (app->journal == NULL && config->journal.on && folder != NULL)
        app->journal =
            journal_new(folder, app->options.page,
                        app->options.metrics != NULL ? (unsigned)app->options.metrics->workers : 1);
    if (app->journal != NULL || app->otlp != NULL)
        learn_all(deployment);
    if (app->otlp != NULL)
        app_otlp_follow(app, config);
    if (app->journal == NULL)
        return;
    if (journal_set_rules(app->journal, &config->journal, config->redact, config->redact_count) !=
        0)
        log_message(LOG_ERROR, "out of memory: there is no journal");
}

/* In `dev`, once there are any: what a client of tools must know. */
static void tell_tools(const struct app *app, const struct deployment *deployment)
{
    const char *url = env_get(deployment->config->env, "URL");
    if (!app->options.dev || url == NULL || !deployment->serves_tools ||
        (app->current != NULL && app->current->serves_tools))
        return;
    log_message(LOG_INFO,
                "tools for agents are at %s%.*s; in a client's list of servers: "
                "\"%.*s\": { \"type\": \"http\", \"url\": \"%s%.*s\" }",
                url, STR_ARG(deployment->config->mcp.path), STR_ARG(deployment->config->mcp.name),
                url, STR_ARG(deployment->config->mcp.path));
}

static void take_deployment(struct app *app, struct deployment *deployment)
{
    app->keep_due = true;
    origin_unref(app->refused);
    app->refused = NULL;
    if (keeps_before(app, deployment))
        return;
    struct err err;
    if (refuses_start(app, deployment)) {
        app->config_error = deployment_first_failed(deployment)->error;
        retire(app, deployment);
        app->on_ready(app, -EINVAL);
        return;
    }
    if (deployment_build_routes(deployment, &err) != 0) {
        app->config_error = err;
        log_message(LOG_ERROR, "%s", err.text);
        retire(app, deployment);
        if (!app->ready)
            app->on_ready(app, -EINVAL);
        return;
    }
    app->config_error.text[0] = '\0';
    follow_rules(app, deployment);
    if (app->options.kept != NULL)
        recall_faults(app, deployment);
    tell_tools(app, deployment);
    struct deployment *before = app->current;
    app->current = deployment;
    deployment->changed = on_change;
    app->page->reloads += before != NULL;
    watch_files(app);
    retire(app, before);
    app_revocation_need(app, deployment->config);
    app_fleet_need(app, deployment);
    dap_server_reloaded(app->debug);
    app->ready = true;
    tell_ready(app);
}

/* What changed after the files were read, and was told meanwhile, is in no deployment yet. */
static void on_deployment_loaded(struct deployment *deployment, void *arg)
{
    struct app *app = arg;
    app->loading = NULL;
    take_deployment(app, deployment);
    if (app->reload_again && app->ready && !app->draining)
        app_reload(app);
}

int app_init(struct app *app, uv_loop_t *loop, const struct app_options *options,
             void (*on_ready)(struct app *app, int status))
{
    memset(app, 0, sizeof(*app));
    app->loop = loop;
    app->sql = sql_new(loop, options->sql_trial);
    app->channels = channel_hub_new(loop);
    app->options = *options;
    app_own_init(app);
    app->on_ready = on_ready;
    list_init(&app->proxies);
    list_init(&app->deliveries);
    list_init(&app->queue.runs);
    list_init(&app->due.list);
    list_init(&app->lives);
    app_session_init(app);
    app_trial_init(app);
    app->started_ns = clock_monotonic_ns();
    app->client = client_new(loop);
    app->issuers =
        app->client != NULL ? issuers_new(loop, app->client, options->state_folder) : NULL;
    if (app->issuers == NULL || app->channels == NULL || task_queue_open(loop) != 0)
        return -ENOMEM;
    issuers_trust(app->issuers, options->trusted);
    invocation_pool_open(loop);
    if (app_schedule_open(app) != 0)
        return -ENOMEM;
    if (options->metrics == NULL)
        app->own_page = calloc(1, sizeof(*app->own_page));
    app->page = options->metrics != NULL ? &options->metrics->pages[options->page] : app->own_page;
    if (app->page == NULL)
        return -ENOMEM;
    app->copied = app->page->copies;
    app->watch = options->watch ? watch_new(loop, on_files_changed, app) : NULL;
    app_reload(app);
    return 0;
}

static bool trusts(void *arg, struct str peer)
{
    const struct app *app = arg;
    return forwarded_trusts(&app->current->config->proxies, peer);
}

int app_make_server(struct app *app)
{
    token_cache_setup(app->current->config->token_cache);
    const struct server_handlers handlers = {.on_request = app_on_request,
                                             .on_refused = app_refused,
                                             .on_finished = app_finished,
                                             .trusts = app->options.proxy_protocol ? trusts : NULL,
                                             .arg = app};
    app->server = server_new(app->loop, &handlers, &app->current->config->limits);
    if (app->server == NULL)
        return -ENOMEM;
    task_queue_heed(server_holdings(app->server));
    app_debug_open(app);
    app_otlp_open(app);
    if (app->otlp != NULL)
        learn_all(app->current);
    if (app->options.tls_count == 0)
        return 0;
    struct err err;
    const struct kept *kept = app->options.kept;
    app->tls =
        tls_new(app->options.tls, app->options.tls_count, kept != NULL ? kept->certificates : NULL,
                kept != NULL ? kept->certificate_count : 0, app->options.tls_client_ca, &err);
    if (app->tls == NULL) {
        log_message(LOG_ERROR, "%s", err.text);
        return -EINVAL;
    }
    return server_use_tls(app->server, app->tls);
}

static void watch_origin(struct watch *watch, const struct origin *origin)
{
    for (unsigned i = 0; origin != NULL && i < origin->count; i++) {
        watch_add_file(watch, origin->list[i].path);
        if (origin->list[i].kind == ORIGIN_FOLDER)
            watch_add_folder(watch, origin->list[i].path);
    }
}

/* Everything that the newest configuration and the scripts were made from. */
static void watch_files(struct app *app)
{
    const struct deployment *d = app->current;
    if (app->watch == NULL)
        return;
    watch_origin(app->watch, app->tried);
    watch_origin(app->watch, app->refused);
    for (unsigned i = 0; d != NULL && i < d->function_count; i++)
        watch_origin(app->watch, d->functions[i]->origin);
}

static void on_files_changed(void *arg)
{
    struct app *app = arg;
    if (app->ready && !app->draining)
        check_files(app);
}

/* The last spans are those of the last requests. */
static void on_drained(void *arg)
{
    struct app *app = arg;
    otlp_flush(app->otlp, app->drained, app->drained_arg);
}

void app_announce_drain(struct app *app)
{
    app->draining = true;
    server_announce_drain(app->server);
    app_publish_gauges(app);
}

void app_drain(struct app *app, void (*done)(void *arg), void *arg)
{
    app_announce_drain(app);
    app->drained = done;
    app->drained_arg = arg;
    close_websockets(app->current);
    channel_hub_drain(app->channels);
    app_journal_close(app);
    app_debug_close(app);
    server_drain(app->server, app->otlp != NULL ? on_drained : done, app->otlp != NULL ? app : arg);
}

static void cancel_all(struct deployment *d)
{
    for (unsigned i = 0; d != NULL && i < d->function_count; i++)
        function_cancel_all(d->functions[i]);
}

static void on_server_closed(void *arg)
{
    struct app *app = arg;
    task_queue_heed(NULL);
    server_free(app->server);
    app->server = NULL;
}

void app_close(struct app *app)
{
    app_journal_close(app);
    app_debug_close(app);
    cancel_all(app->current);
    cancel_all(app->loading);
    for (struct deployment *d = app->retired; d != NULL; d = d->retired_next)
        cancel_all(d);
    if (app->server != NULL)
        server_close(app->server, on_server_closed, app);
    app_proxy_close(app);
    watch_free(app->watch);
    app->watch = NULL;
    issuers_free(app->issuers);
    otlp_free(app->otlp);
    app->otlp = NULL;
    client_free(app->client);
    app_revocation_close(app);
    app_fleet_close(app);
    app_trial_close(app);
    channel_hub_close(app->channels);
    app_session_close(app);
    app_queue_close(app);
    if (app->store != NULL)
        store_close(app->store);
    sql_close(app->sql);
    app->sql = NULL;
    app->issuers = NULL;
    app->client = NULL;
    app_schedule_close(app);
    invocation_pool_close();
    task_queue_close();
}

void app_free(struct app *app)
{
    forget_kept(app);
    app_login_free(app);
    app_session_free(app);
    origin_unref(app->refused);
    origin_unref(app->tried);
    config_free(app->options.config);
    deployment_free(app->current);
    deployment_free(app->loading);
    while (app->retired != NULL) {
        struct deployment *d = app->retired;
        app->retired = d->retired_next;
        deployment_free(d);
    }
    app_due_sweep(app, true);
    if (app->options.board == NULL)
        board_free(app->board);
    store_free(app->store);
    channel_hub_free(app->channels);
    buf_free(&app->queue.wants);
    buf_free(&app->queue.known);
    free(app->own_page);
    token_cache_clear();
    exchange_pool_free();
    journal_free(app->journal);
    redact_forget();
    packed_forget();
}
