/* luafn replay: a recorded request, once more, on the scripts as they are now.
 *
 * The request goes straight to its function in an app without a port: who may call it was judged
 * when it was recorded, and its claims are in the record. What it asks of the outside is answered
 * from the record (journal/replayer.h); nothing is sent or stored. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "bindings/bindings.h"
#include "cli/cli.h"
#include "cli/dev_place.h"
#include "cli/local.h"
#include "cli/replay_compare.h"
#include "cli/replay_test.h"
#include "journal/journal_reader.h"
#include "journal/replayer.h"
#include "lua/seed.h"
#include "lua/told.h"
#include "run/invocation.h"

struct replay {
    const char *config_file, *id, *against;
    bool test, json;
    char folder[4096];
    double newest;
    char *line;                /* owned */
    json_t *record;            /* owned */
    struct journal *journal;   /* owned */
    struct replayer *replayer; /* owned */
    struct claims *claims;     /* the call's from when it is sent */
};

/* ---- the record ---- */

/* Of a repeated id the newest counts. */
static bool find(void *arg, struct str line)
{
    struct replay *r = arg;
    if (!journal_is_record(line, str_from(r->id)))
        return true;
    char *copy = strndup(line.ptr, line.len);
    json_t *record = copy != NULL ? json_loadb(copy, line.len, JSON_ALLOW_NUL, NULL) : NULL;
    double time = json_number_value(json_object_get(record, "time"));
    if (record != NULL && (r->record == NULL || time > r->newest)) {
        json_decref(r->record);
        free(r->line);
        r->record = json_incref(record);
        r->line = copy;
        r->newest = time;
        copy = NULL;
    }
    json_decref(record);
    free(copy);
    return true;
}

static int read_record(struct replay *r)
{
    int rc = journal_read(r->folder, find, r);
    if (rc == -ENOMEM)
        return cli_fault("out of memory");
    if (r->record == NULL)
        return cli_fault("no record in %s has the id %s; `luafn journal` lists those there are",
                         r->folder, r->id);
    if (json_object_get(r->record, "start_us") != NULL)
        return 0;
    const char *error = json_string_value(json_object_get(r->record, "error"));
    return cli_fault("no handler ran for %s%s%s: there is nothing to run again", r->id,
                     error != NULL ? ", which was refused: " : "", error != NULL ? error : "");
}

static const char *member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

/* ---- the request ---- */

/* "[env:NAME]" is the present value of that variable again. */
static void expand(const struct config *config, struct str text, struct buf *out)
{
    static const struct str mark = {"[env:", 5};
    size_t at;
    while ((at = str_find_text(text, mark)) < text.len) {
        struct str rest = str_skip(text, at + mark.len);
        size_t end = str_find(rest, ']');
        char name[256];
        snprintf(name, sizeof(name), "%.*s", (int)(end < 255 ? end : 255), rest.ptr);
        const char *value = end < rest.len ? env_get(config->env, name) : NULL;
        buf_add(out, text.ptr, value != NULL ? at : at + mark.len);
        if (value != NULL)
            buf_add_str(out, str_from(value));
        text = value != NULL ? str_skip(rest, end + 1) : rest;
    }
    buf_add_str(out, text);
}

static int out_of_memory(void)
{
    return cli_fault("out of memory");
}

static int add_headers(const struct config *config, struct local_call *call, const json_t *request)
{
    const json_t *list = json_object_get(request, "headers"), *pair;
    size_t i;
    int rc = 0;
    call->ex->req.headers.len = 0;
    json_array_foreach(list, i, pair)
    {
        const json_t *name = json_array_get(pair, 0), *value = json_array_get(pair, 1);
        struct buf text = BUF_INIT;
        struct err err;
        expand(config, (struct str){json_string_value(value), json_string_length(value)}, &text);
        if (rc == 0 && json_is_string(name) && !buf_failed(&text))
            rc = local_add_header(call, str_from(json_string_value(name)), buf_str(&text), &err);
        buf_free(&text);
    }
    return rc == 0 ? 0 : cli_fault("a header of the record cannot be read");
}

static int set_body(const struct config *config, struct local_call *call, const json_t *body)
{
    struct request *req = &call->ex->req;
    struct buf text = BUF_INIT, plain = BUF_INIT;
    int rc = 0;
    if (json_object_get(body, "cut") != NULL)
        return cli_fault("the request's body was too long to be kept: it cannot be run again");
    if (body == NULL || !told_read_text(body, &text))
        return 0;
    expand(config, buf_str(&text), &plain);
    req->body = arena_copy(&call->ex->arena, buf_str(&plain));
    if (buf_failed(&plain) || req->body.ptr == NULL)
        rc = out_of_memory();
    buf_free(&text);
    buf_free(&plain);
    return rc;
}

static int make_request(struct replay *r, const struct config *config, struct local_call *call)
{
    const json_t *request = json_object_get(r->record, "request");
    struct request *req = &call->ex->req;
    struct arena *arena = &call->ex->arena;
    struct err err;
    if (request_method_parse(str_from(member(r->record, "method")), &req->method) != 0 ||
        local_set_target(call, str_from(member(r->record, "target")), &err) != 0)
        return cli_fault("the request of the record cannot be made: it was not kept whole");
    req->method_name = str_from(request_method_name(req->method));
    req->host = arena_copy(arena, str_from(member(request, "host")));
    req->client_ip = arena_copy(arena, str_from(member(request, "ip")));
    req->scheme = strcmp(member(request, "scheme"), "https") == 0 ? STR("https") : STR("http");
    int rc = add_headers(config, call, request);
    return rc != 0 ? rc : set_body(config, call, json_object_get(request, "body"));
}

static int make_claims(struct replay *r)
{
    const json_t *claims = json_object_get(r->record, "claims");
    char *text = claims != NULL ? json_dumps(claims, JSON_COMPACT) : NULL;
    if (text == NULL)
        return claims == NULL ? 0 : out_of_memory();
    r->claims = claims_new(json_deep_copy(claims), str_from(text), ALG_RS256, false);
    free(text);
    return r->claims != NULL ? 0 : out_of_memory();
}

/* ---- the run ---- */

/* Nothing can end any more: it was ended from outside when it was recorded, or a call is lacking.
 */
static bool end_as_recorded(struct replay *r, struct local_call *call)
{
    const char *error = member(r->record, "error");
    bool timeout = strcmp(error, "timeout") == 0;
    if ((!timeout && strcmp(error, "cancelled") != 0) || call->answered || call->ex->owner == NULL)
        return false;
    invocation_cancel(call->ex->owner, timeout ? BUDGET_TIMEOUT : BUDGET_CANCELLED);
    return true;
}

/* Turns of the loop in which nothing happened; tasks that burn time take one each. */
enum { QUIET_TURNS = 3 };

static void drive(struct replay *r, struct local *local, struct local_call *call)
{
    unsigned quiet = 0;
    while (!call->answered || !app_is_idle(&local->app)) {
        uv_run(&local->loop, UV_RUN_NOWAIT);
        if (replayer_step(r->replayer)) {
            quiet = 0;
            continue;
        }
        if (task_queue_is_busy() || ++quiet < QUIET_TURNS)
            continue;
        if (!end_as_recorded(r, call) && !replayer_skip(r->replayer))
            uv_run(&local->loop, UV_RUN_ONCE);
        quiet = 0;
    }
}

static int write_test(const struct replay *r, const struct function *function)
{
    struct str script = function->base->script;
    size_t slash = script.len;
    while (slash > 0 && script.ptr[slash - 1] != '/')
        slash--;
    if (slash == 0)
        return cli_fault("the script of %s is inside the program", member(r->record, "function"));
    return replay_test_write(r->config_file, (struct str){script.ptr, slash - 1},
                             str_from(r->line));
}

static int run_again(struct replay *r, struct local *local, struct local_call *call)
{
    struct app *app = &local->app;
    struct function *function =
        deployment_find(app->current, str_from(member(r->record, "function")));
    if (function == NULL)
        return cli_fault("there is no function %s any more", member(r->record, "function"));
    if (function->current == NULL)
        return cli_fault("%s", function->error.text);
    if (r->test)
        return write_test(r, function);
    int rc = make_request(r, app->current->config, call);
    if (rc == 0)
        rc = make_claims(r);
    if (rc != 0)
        return rc;
    call->local = local;
    call->ex->state = EXCHANGE_WORKING;
    exchange_identify(call->ex);
    snprintf(call->ex->request_id, sizeof(call->ex->request_id), "%s", r->id);
    replayer_listen(r->replayer, call->ex);
    app_call_recorded(app, function, call->ex, r->claims);
    r->claims = NULL;
    drive(r, local, call);
    return replay_compare(r->record, r->replayer, call, r->json);
}

static int open_replayer(struct replay *r, const struct config *config)
{
    const struct journal_rules rules = {.on = true};
    r->journal = journal_new(r->folder, 0, 1);
    if (r->journal == NULL ||
        journal_set_rules(r->journal, &rules, config->redact, config->redact_count) != 0)
        return out_of_memory();
    r->replayer = replayer_new(r->record, r->journal);
    return r->replayer != NULL ? 0 : out_of_memory();
}

static int replay(struct replay *r)
{
    struct local local;
    struct local_call call = {.ex = NULL};
    int rc = read_record(r);
    if (rc != 0)
        return rc;
    const char *const instead[] = {member(r->record, "function"), r->against, NULL};
    const struct local_options options = {.config_file = r->config_file,
                                          .bindings = bindings,
                                          .instead = r->against != NULL ? instead : NULL};
    seed_set((unsigned)json_integer_value(json_object_get(r->record, "seed")));
    log_setup(LOG_FORMAT_TEXT, LOG_WARN);
    rc = local_open(&local, &options);
    log_setup(LOG_FORMAT_NONE, LOG_ERROR);
    clock_set(json_number_value(json_object_get(r->record, "time")));
    if (rc == 0)
        rc = open_replayer(r, local.app.current->config);
    if (rc == 0)
        rc = local_call_new(&call) == 0 ? run_again(r, &local, &call) : out_of_memory();
    local_call_free(&call);
    clock_reset();
    local_close(&local);
    return rc;
}

static int run(int argc, char **argv)
{
    static struct replay r = {.config_file = "functions.lua"};
    const struct option options[] = {{"--config", OPTION_TEXT, &r.config_file},
                                     {"--against", OPTION_TEXT, &r.against},
                                     {"--test", OPTION_FLAG, &r.test},
                                     {"--json", OPTION_FLAG, &r.json},
                                     {NULL, OPTION_FLAG, NULL}};
    char against[4096];
    int rc = cli_parse(&command_replay, argc, argv, options, &r.id, 1, NULL);
    if (rc != 0)
        return rc;
    if (r.id == NULL)
        return cli_usage(&command_replay, "an id is missing; `luafn journal` lists them");
    if (r.against != NULL && realpath(r.against, against) == NULL)
        return cli_fault("%s cannot be read: %s", r.against, strerror(errno));
    if (r.against != NULL)
        r.against = against;
    if (cli_state_path(r.config_file, "journal", r.folder, sizeof(r.folder)) != 0)
        return cli_fault("the path of %s is too long", r.config_file);
    rc = replay(&r);
    claims_unref(r.claims);
    replayer_free(r.replayer);
    journal_free(r.journal);
    json_decref(r.record);
    free(r.line);
    return rc;
}

const struct command command_replay = {"replay", run};
