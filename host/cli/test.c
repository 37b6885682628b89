/* luafn test: finds the tests and runs them. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/test_internal.h"

enum { FILES_MAX = 4096, DEPTH_MAX = 32 };

struct files {
    char **list; /* owned, as its texts */
    unsigned count;
};

/* ---- finding ---- */

static int add_file(struct files *files, const char *path)
{
    if (files->count == FILES_MAX)
        return cli_fault("more than %d test files; name those that are meant: luafn test FILE...",
                         FILES_MAX);
    char **list = realloc(files->list, (files->count + 1) * sizeof(*list));
    if (list == NULL)
        return cli_fault("out of memory");
    files->list = list;
    list[files->count] = strdup(path);
    return list[files->count++] != NULL ? 0 : cli_fault("out of memory");
}

static void free_files(struct files *files)
{
    for (unsigned i = 0; i < files->count; i++)
        free(files->list[i]);
    free(files->list);
}

static int find_files(struct files *files, const char *folder, int depth);

static int look_at(struct files *files, const char *folder, const char *name, int depth)
{
    char path[4096];
    struct stat st;
    int len = snprintf(path, sizeof(path), "%s%s%s", strcmp(folder, ".") == 0 ? "" : folder,
                       strcmp(folder, ".") == 0 ? "" : "/", name);
    if (name[0] == '.' || strcmp(name, "node_modules") == 0 || len < 0 ||
        (size_t)len >= sizeof(path) || lstat(path, &st) != 0)
        return 0;
    if (S_ISDIR(st.st_mode))
        return find_files(files, path, depth + 1);
    return str_ends_with(str_from(name), STR("_test.lua")) ? add_file(files, path) : 0;
}

static int find_files(struct files *files, const char *folder, int depth)
{
    struct dirent **entries = NULL;
    int count = depth < DEPTH_MAX ? scandir(folder, &entries, NULL, alphasort) : 0;
    int rc = 0;
    for (int i = 0; i < count; i++) {
        if (rc == 0)
            rc = look_at(files, folder, entries[i]->d_name, depth);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

static int find_all(struct files *files, const char *config_file)
{
    char folder[4096] = ".";
    const char *slash = strrchr(config_file, '/');
    if (slash != NULL)
        snprintf(folder, sizeof(folder), "%.*s", (int)(slash - config_file), config_file);
    int rc = find_files(files, folder[0] != '\0' ? folder : "/", 0);
    if (rc == 0 && files->count == 0)
        rc = cli_fault("there is no *_test.lua below %s; `luafn new NAME` writes a first one",
                       folder);
    return rc;
}

/* ---- the command ---- */

/* A configuration that does not load is said once, not once a test. */
static int check_config(const char *config_file)
{
    static const char *const defaults[] = {"JWT_ISSUER", "http://localhost:8888/", "JWT_AUDIENCE",
                                           "https://api", NULL};
    const struct config_options options = {config_file, true, defaults, NULL};
    struct err err;
    struct config *config = config_load(&options, &err);
    if (config == NULL)
        return cli_fault("%s", err.text);
    config_free(config);
    return 0;
}

static int run_files(const struct test_options *options, const struct files *files,
                     const char *junit)
{
    struct test_report report;
    int rc = test_report_open(&report, junit);
    if (rc != 0)
        return rc;
    for (unsigned i = 0; i < files->count; i++) {
        if (test_run_file(options, files->list[i], test_report_add, &report) != 0)
            rc = EXIT_FAULT;
    }
    if (test_report_close(&report) != 0 || report.failed > 0)
        rc = EXIT_FAULT;
    return rc;
}

static int run(int argc, char **argv)
{
    struct test_options o = {.config_file = "functions.lua", .timeout = LIMIT_FN_TIMEOUT};
    const char *junit = NULL, *timeout = NULL, *lcov = "lcov.info", *words[64];
    bool coverage = false;
    const struct option options[] = {{"--junit", OPTION_TEXT, &junit},
                                     {"--coverage", OPTION_FLAG, &coverage},
                                     {"--lcov", OPTION_TEXT, &lcov},
                                     {"--timeout", OPTION_TEXT, &timeout},
                                     {"--config", OPTION_TEXT, &o.config_file},
                                     {NULL, OPTION_FLAG, NULL}};
    int count = 0;
    int rc = cli_parse(&command_test, argc, argv, options, words, 64, &count);
    if (rc == 0 && timeout != NULL &&
        (str_to_seconds(str_from(timeout), &o.timeout) != 0 ||
         !(o.timeout >= 0.01 && o.timeout <= 900)))
        rc = cli_usage(&command_test, "--timeout is a time from 0.01 to 900 seconds, not '%s'",
                       timeout);
    struct files files = {NULL, 0};
    if (rc == 0)
        rc = check_config(o.config_file);
    for (int i = 0; rc == 0 && i < count; i++)
        rc = add_file(&files, words[i]);
    if (rc == 0 && count == 0)
        rc = find_all(&files, o.config_file);
    if (rc == 0) {
        if (coverage)
            test_cover_open(o.config_file);
        rc = run_files(&o, &files, junit);
        if (coverage && test_cover_close(lcov) != 0)
            rc = EXIT_FAULT;
    }
    free_files(&files);
    return rc;
}

const struct command command_test = {
    .name = "test",
    .arguments =
        "[FILE]... [--coverage] [--lcov FILE] [--junit FILE] [--timeout 10s] [--config FILE]",
    .summary = "Runs the tests of functions in this process, with fake fetch, clock and tokens.",
    .help =
        "\n"
        "  FILE            default every *_test.lua below the folder of functions.lua\n"
        "  --coverage      a table of the lines that have run, and an lcov file\n"
        "  --lcov FILE     where to; default lcov.info\n"
        "  --junit FILE    the results as JUnit XML, too; TAP goes to stdout\n"
        "  --timeout TIME  how long one test may take; default 10s\n"
        "  --config FILE   default functions.lua\n"
        "\n"
        "A test file calls test(\"name\", function(t) ... end). Each test runs in a fresh state, with a kv of its own. In it:\n"
        "  t.invoke(NAME or handler, { method=, path=, query=, headers=, body=, as=, scope=, claims= })\n"
        "                  calls a function as over HTTP: { status, headers, body, json() }\n"
        "  t.fetch(PATTERN, answer)\n"
        "                  answers fetch for URLs like it (*): a table { status=, headers=, body= }, a text, or a\n"
        "                  function of the request; returns the list of calls. What nothing answers fails the test\n"
        "  t.clock(SECONDS)  stops the clock there; sleep moves it\n"
        "  t.token{ sub=, scope=, ... }  a token of the dev issuer\n"
        "  t.env(NAME, TEXT)  sets a variable\n"
        "  t.equal(actual, expected), t.ok(value), t.match(text, pattern), t.raises(f, pattern)\n"
        "Exit status 1 when a test fails.\n"
        "\nExample:\n  luafn test scripts/shows_test.lua --coverage\n",
    .run = run,
};
