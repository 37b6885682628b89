/* luafn replay: a recorded request, once more, on the scripts as they are now.
 *
 * The request goes straight to its function in an app without a port: who may call it was judged
 * when it was recorded, and its claims are in the record. What it asks of the outside is answered
 * from the record (journal/replayer.h); nothing is sent or stored. Under a debugger it may be made
 * more than once: who goes back gets a whole new app, and the same request again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "bindings/bindings.h"
#include "cli/cli.h"
#include "cli/dev_place.h"
#include "cli/local.h"
#include "cli/replay_compare.h"
#include "cli/replay_debug.h"
#include "cli/replay_test.h"
#include "journal/journal_reader.h"
#include "json/dump.h"
#include "json/strict.h"
#include "lua/seed.h"
#include "run/task.h"

struct replay {
    const char *config_file, *id, *against;
    bool test, json;
    char folder[4096];
    double newest;
    char *line;              /* owned */
    json_t *record;          /* owned */
    struct journal *journal; /* owned */
    struct replay_debug debug;
};

/* ---- the record ---- */

/* Of a repeated id the newest counts. */
static bool find(void *arg, struct str line)
{
    struct replay *r = arg;
    if (!journal_is_record(line, str_from(r->id)))
        return true;
    char *copy = strndup(line.ptr, line.len);
    json_t *record = copy != NULL
                         ? strict_json_watched((struct str){copy, line.len}, JSON_ALLOW_NUL, NULL)
                         : NULL;
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
    struct err err;
    return rerun_check(r->record, &err) == 0 ? 0 : cli_fault("%s", err.text);
}

static const char *member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static int out_of_memory(void)
{
    return cli_fault("out of memory");
}

/* ---- the run ---- */

/* False: it is to be begun anew. */
static bool drive(struct replay *r, struct local *local, struct rerun *run,
                  struct function *function)
{
    enum rerun_turn turn;
    while ((turn = rerun_turn(run, function)) != RERUN_OVER) {
        bool rests = turn == RERUN_BUSY && !task_queue_is_busy() && replay_debug_rest(&r->debug);
        uv_run(&local->loop, turn == RERUN_MOVED || rests ? UV_RUN_NOWAIT : UV_RUN_ONCE);
        if (replay_debug_turn(&r->debug))
            continue;
        function_cancel_all(function);
        return false;
    }
    local_finish(local);
    return true;
}

static void on_difference(void *arg, const char *what, const char *was, const char *is)
{
    (void)what, (void)was, (void)is;
    *(bool *)arg = true;
}

/* It failed, and does not any more: then a test is to say what it is answered with now. */
static bool was_mended(const struct rerun *run)
{
    bool other = false;
    if (json_integer_value(json_object_get(run->record, "status")) < 500 ||
        run->ex->res.status >= 500 || replayer_divergence(run->replayer).len > 0)
        return false;
    rerun_compare(run, on_difference, &other);
    return other;
}

static int mend_record(struct replay *r, const struct rerun *run)
{
    json_t *answer = json_object_get(r->record, "answer");
    json_t *body = rerun_shown_body(run);
    int rc = json_object_set(r->record, "was", json_object_get(r->record, "status")) |
             json_object_set_new(r->record, "status", json_integer(run->ex->res.status)) |
             json_object_set_new(answer, "body", body != NULL ? body : json_null());
    (void)json_object_del(r->record, "fault");
    char *line = rc == 0 ? dump_json_text(r->record, JSON_COMPACT) : NULL;
    if (line == NULL)
        return out_of_memory();
    free(r->line);
    r->line = line;
    return 0;
}

static int write_test(struct replay *r, const struct function *function, const struct rerun *run)
{
    struct str script = function->base->script;
    size_t slash = script.len;
    while (slash > 0 && script.ptr[slash - 1] != '/')
        slash--;
    if (slash == 0)
        return cli_fault("the script of %s is inside the program", member(r->record, "function"));
    int rc = was_mended(run) ? mend_record(r, run) : 0;
    return rc != 0 ? rc
                   : replay_test_write(r->config_file, (struct str){script.ptr, slash - 1},
                                       str_from(r->line));
}

static int run_to_its_end(struct replay *r, struct local *local, struct rerun *run,
                          struct function *function)
{
    struct app *app = &local->app;
    int rc = replay_debug_begin(&r->debug, app, origin_hash(function->origin));
    if (rc != 0)
        return rc;
    app_call_recorded(app, app->current->router, function, run->ex, run->claims,
                      run->is_job ? &run->job : NULL);
    run->claims = NULL;
    if (!drive(r, local, run, function))
        return 0;
    rc = r->test ? write_test(r, function, run) : replay_compare(run, r->json);
    fflush(stdout);
    replay_debug_end(&r->debug, replayer_divergence(run->replayer));
    return rc;
}

static int run_again(struct replay *r, struct local *local)
{
    struct app *app = &local->app;
    struct function *function =
        deployment_find(app->current, str_from(member(r->record, "function")));
    struct rerun run;
    struct err err;
    if (function == NULL)
        return cli_fault("there is no function %s any more", member(r->record, "function"));
    if (function->current == NULL)
        return cli_fault("%s", function->error.text);
    int rc = rerun_open(&run, r->record, r->journal, function->services, &err);
    rc = rc == 0 ? run_to_its_end(r, local, &run, function) : cli_fault("%s", err.text);
    rerun_close(&run);
    return rc;
}

static int open_journal(struct replay *r, const struct config *config)
{
    const struct journal_rules rules = {.on = true};
    r->journal = journal_new(r->folder, 0, 1);
    if (r->journal == NULL ||
        journal_set_rules(r->journal, &rules, config->redact, config->redact_count) != 0)
        return out_of_memory();
    return 0;
}

static int run_once(struct replay *r, struct local *local)
{
    const char *const instead[] = {member(r->record, "function"), r->against, NULL};
    const struct local_options options = {.config_file = r->config_file,
                                          .bindings = bindings,
                                          .instead = r->against != NULL ? instead : NULL};
    log_setup(LOG_FORMAT_TEXT, LOG_WARN);
    int rc = local_open(local, &options);
    log_setup(LOG_FORMAT_NONE, LOG_ERROR);
    clock_set(json_number_value(json_object_get(r->record, "time")));
    if (rc == 0)
        rc = open_journal(r, local->app.current->config);
    if (rc == 0)
        rc = run_again(r, local);
    clock_reset();
    local_close(local);
    journal_free(r->journal);
    r->journal = NULL;
    return rc;
}

static int replay(struct replay *r)
{
    struct local local; /* at one address: a debugger knows it */
    int rc = read_record(r);
    if (rc == 0)
        rc = replay_debug_open(&r->debug, &command_replay, r->config_file);
    seed_set((unsigned)json_integer_value(json_object_get(r->record, "seed")));
    while (rc == 0) {
        rc = run_once(r, &local);
        if (!r->debug.again)
            break;
    }
    replay_debug_close(&r->debug);
    return rc;
}

static int run(int argc, char **argv)
{
    static struct replay r = {.config_file = "functions.lua"};
    const struct option options[] = {{"--config", OPTION_TEXT, &r.config_file},
                                     {"--against", OPTION_TEXT, &r.against},
                                     {"--test", OPTION_FLAG, &r.test},
                                     {"--json", OPTION_FLAG, &r.json},
                                     {"--debug", OPTION_ADDRESS, &r.debug.socket.wanted},
                                     {NULL, OPTION_FLAG, NULL}};
    char against[4096];
    int rc = cli_parse(&command_replay, argc, argv, options, &r.id, 1, NULL);
    if (rc != 0)
        return rc;
    if (r.id == NULL)
        return cli_usage(&command_replay, "an id is missing; `luafn journal` lists them");
    if (r.test && r.debug.socket.wanted != NULL)
        return cli_usage(&command_replay,
                         "--test writes a test and --debug steps: one of them at a time");
    if (r.against != NULL && realpath(r.against, against) == NULL)
        return cli_fault("%s cannot be read: %s", r.against, strerror(errno));
    if (r.against != NULL)
        r.against = against;
    if (cli_state_path(r.config_file, "journal", r.folder, sizeof(r.folder)) != 0)
        return cli_fault("the path of %s is too long", r.config_file);
    rc = replay(&r);
    json_decref(r.record);
    free(r.line);
    return rc;
}

const struct command command_replay = {"replay", run};
