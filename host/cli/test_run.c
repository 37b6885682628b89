/* Running the tests of one file, each in a world of its own. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/test_internal.h"
#include "json/strict.h"

/* A test may try more than a request: processor time, in seconds. */
enum { TEST_CPU = 30 };

/* What test_run_file hands down. */
struct file_run {
    const struct test_options *options;
    const char *file; /* as given */
    char path[4096];  /* absolute */
    char folder[64];  /* of this test's kv and databases; empty: none could be made */
    struct buf
        env; /* owned: variables that are set for this test, "NAME=value", each with its NUL, */
    struct buf old; /* owned: and those of them that were set before */
    void (*report)(void *arg, const struct test_result *result);
    void *arg;
};

/* ---- the world of one test ---- */

static void make_folder(struct file_run *run)
{
    snprintf(run->folder, sizeof(run->folder), "/tmp/luafn-test-XXXXXX");
    if (mkdtemp(run->folder) == NULL)
        run->folder[0] = '\0';
}

static void remove_folder(struct file_run *run)
{
    DIR *dir = run->folder[0] != '\0' ? opendir(run->folder) : NULL;
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir != NULL) {
        closedir(dir);
        rmdir(run->folder);
    }
}

static int open_world(struct file_run *run, struct test_case *test)
{
    const char *const own[] = {TEST_FUNCTION, run->path, NULL};
    char kv_file[128];
    make_folder(run);
    snprintf(kv_file, sizeof(kv_file), "%s/kv.mdb", run->folder);
    const struct local_options options = {.config_file = run->options->config_file,
                                          .trust = true,
                                          .bindings = test_bindings(),
                                          .own_functions = own,
                                          .kv_file = run->folder[0] != '\0' ? kv_file : NULL,
                                          .kv_local = true,
                                          .sql_trial =
                                              run->folder[0] != '\0' ? run->folder : "/dev/null"};
    test_now = test;
    list_init(&test->flights);
    log_setup(LOG_FORMAT_NONE, (enum log_level)(LOG_ERROR + 1)); /* faults are reported below */
    int rc = local_open(&test->local, &options);
    log_setup(LOG_FORMAT_TEXT, LOG_INFO);
    return rc;
}

static void close_world(struct file_run *run, struct test_case *test)
{
    log_setup(LOG_FORMAT_NONE, (enum log_level)(LOG_ERROR + 1));
    local_close(&test->local);
    test_fetch_close(test);
    clock_reset();
    remove_folder(run);
    buf_free(&test->names);
    buf_free(&test->failure);
    buf_free(&test->env);
    test_now = NULL;
}

/* ---- variables that a test wants before anything loads: the process's, which all others yield to
 * ---- */

/* Calls setenv for each "NAME=value". */
static void set_all(const struct buf *list)
{
    for (size_t at = 0; at < list->len; at += strlen(list->data + at) + 1) {
        char name[256];
        const char *one = list->data + at, *equals = strchr(one, '=');
        snprintf(name, sizeof(name), "%.*s", (int)(equals - one), one);
        setenv(name, equals + 1, 1);
    }
}

static void set_env(struct file_run *run)
{
    for (size_t at = 0; at < run->env.len; at += strlen(run->env.data + at) + 1) {
        char name[256];
        const char *one = run->env.data + at;
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(one, "="), one);
        const char *before = getenv(name);
        if (before != NULL)
            buf_printf(&run->old, "%s=%s", name, before);
        if (before != NULL)
            buf_add_char(&run->old, '\0');
    }
    set_all(&run->env);
}

static void reset_env(struct file_run *run)
{
    for (size_t at = 0; at < run->env.len; at += strlen(run->env.data + at) + 1) {
        char name[256];
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(run->env.data + at, "="),
                 run->env.data + at);
        unsetenv(name);
    }
    if (!buf_failed(&run->old))
        set_all(&run->old);
    buf_free(&run->env);
    buf_free(&run->old);
}

/* Only the loaded file says what its tests want: the world begins once more, with that. */
static int open_with_env(struct file_run *run, struct test_case *test)
{
    int rc = open_world(run, test);
    if (rc != 0 || test->env.len == 0)
        return rc;
    run->env = test->env;
    test->env = BUF_INIT;
    close_world(run, test);
    *test = (struct test_case){.index = test->index};
    set_env(run);
    return open_world(run, test);
}

/* ---- one test ---- */

/* The answer of a test's function says how it ended where the test could not say it itself. */
static void judge_answer(struct file_run *run, struct test_case *test,
                         const struct local_call *call)
{
    if (call->ex->res.status == 200 || test->failure.len > 0)
        return;
    struct str body = local_body(call);
    json_t *answer = strict_json_watched(body, 0, NULL);
    const char *type = json_string_value(json_object_get(answer, "errorType"));
    const char *text = json_string_value(json_object_get(answer, "errorMessage"));
    if (call->ex->res.status == 504)
        buf_printf(&test->failure, "did not end within %g s (--timeout)", run->options->timeout);
    else if (type != NULL && strcmp(type, "CpuLimitExceeded") == 0)
        buf_printf(&test->failure, "did not end within %d s of processor time", TEST_CPU);
    else
        buf_printf(&test->failure, "%s", text != NULL ? text : "the test could not be run");
    json_decref(answer);
}

static void on_applied(void *arg, const struct migration *migration)
{
    (void)arg;
    (void)migration;
}

/* The databases that functions list, as they would find them. False: the test has failed. */
static bool make_databases(struct file_run *run, struct test_case *test)
{
    const struct config *config = test->local.app.current->config;
    struct buf names = BUF_INIT;
    struct err err;
    bool made = run->options->migrations->count == 0 ||
                migrations_variables(test->local.app.current, &names);
    for (size_t at = 0; made && at < names.len; at += strlen(names.data + at) + 1) {
        const char *url = env_get(config->env, names.data + at);
        made = url == NULL ||
               migrations_apply(run->options->migrations, test->local.app.sql, &test->local.loop,
                                str_from(url), config->folder, on_applied, NULL, &err) == 0;
        if (!made)
            buf_printf(&test->failure, "%s: %s", names.data + at, err.text);
    }
    buf_free(&names);
    return made;
}

static void run_test(struct file_run *run, struct test_case *test, struct function *function)
{
    struct local_call call;
    struct function_spec *spec = &function->current->spec;
    spec->timeout = run->options->timeout;
    spec->cpu = TEST_CPU;
    if (local_call_new(&call) != 0 || local_set_target(&call, STR("/"), NULL) != 0) {
        buf_add_str(&test->failure, STR("out of memory"));
        return;
    }
    call.ex->req.method_name = STR("GET");
    call.ex->state = EXCHANGE_WORKING;
    call.local = &test->local;
    test_fetch_open(test);
    app_call_scheduled(&test->local.app, function, call.ex);
    local_finish(&test->local);
    judge_answer(run, test, &call);
    local_call_free(&call);
}

static double seconds_now(void)
{
    return (double)clock_monotonic_ns() / 1e9;
}

static const char *name_of(const struct test_case *test, unsigned index)
{
    const char *name = test->names.data;
    for (unsigned i = 1; i < index; i++)
        name += strlen(name) + 1;
    return name;
}

static void report_file(struct file_run *run, const char *text)
{
    const struct test_result result = {
        .file = run->file, .name = "(the file)", .failure = str_from(text)};
    run->report(run->arg, &result);
}

static bool is_wanted(const struct file_run *run, const char *name)
{
    return run->options->filter == NULL || strstr(name, run->options->filter) != NULL;
}

/* Runs test `index`. Returns how many tests the file has, or a negative errno when it does not
 * load. */
static int run_one(struct file_run *run, unsigned index)
{
    struct test_case test = {.index = index};
    double start = seconds_now();
    int rc = open_with_env(run, &test);
    struct function *function =
        rc == 0 ? deployment_find(test.local.app.current, STR(TEST_FUNCTION)) : NULL;
    if (function == NULL || function->failed || buf_failed(&test.names)) {
        report_file(run, function != NULL ? function->error.text : "functions.lua does not load");
        rc = -EINVAL;
    } else if (test.count == 0) {
        report_file(run, "has no test: write test(\"name\", function(t) ... end)");
        rc = -EINVAL;
    } else if (index <= test.count && is_wanted(run, name_of(&test, index))) {
        if (make_databases(run, &test))
            run_test(run, &test, function);
        const struct test_result result = {.file = run->file,
                                           .name = name_of(&test, index),
                                           .passed = test.failure.len == 0,
                                           .failure = buf_str(&test.failure),
                                           .seconds = seconds_now() - start};
        run->report(run->arg, &result);
    }
    if (rc == 0)
        rc = (int)test.count;
    close_world(run, &test);
    reset_env(run);
    return rc;
}

int test_run_file(const struct test_options *options, const char *file,
                  void (*report)(void *arg, const struct test_result *result), void *arg)
{
    struct file_run run = {.options = options,
                           .file = file,
                           .env = BUF_INIT,
                           .old = BUF_INIT,
                           .report = report,
                           .arg = arg};
    if (realpath(file, run.path) == NULL) {
        report_file(&run, "cannot be opened: no such file");
        return EXIT_FAULT;
    }
    int count = 1;
    for (int index = 1; index <= count; index++) {
        count = run_one(&run, (unsigned)index);
        if (count < 0)
            return EXIT_FAULT;
    }
    return 0;
}
