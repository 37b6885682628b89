/* luafn test: finds the tests and runs them. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "app/watch.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/test_internal.h"
#include "lua/script.h"

enum { FILES_MAX = 4096, DEPTH_MAX = 32 };

struct files {
    const char *suffix; /* of those that are looked for */
    bool own;           /* none of folders below that have a functions.lua of their own */
    char **list;        /* owned, as its texts */
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

static bool is_deployment(const char *folder)
{
    char path[4200];
    snprintf(path, sizeof(path), "%s/functions.lua", folder);
    return file_exists(path);
}

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
        return files->own && is_deployment(path) ? 0 : find_files(files, path, depth + 1);
    return str_ends_with(str_from(name), str_from(files->suffix)) ? add_file(files, path) : 0;
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

/* Of functions.lua. */
static void find_root(const char *config_file, char *folder, size_t size)
{
    const char *slash = strrchr(config_file, '/');
    int len = slash == NULL ? 1 : slash == config_file ? 1 : (int)(slash - config_file);
    snprintf(folder, size, "%.*s", len, slash == NULL ? "." : config_file);
}

/* A folder means the tests below it. */
static int add_word(struct files *files, const char *word)
{
    struct stat st;
    if (stat(word, &st) != 0 || !S_ISDIR(st.st_mode))
        return add_file(files, word);
    unsigned before = files->count;
    char folder[4096];
    snprintf(folder, sizeof(folder), "%s", word);
    for (size_t len = strlen(folder); len > 1 && folder[len - 1] == '/'; len--)
        folder[len - 1] = '\0';
    int rc = find_files(files, folder, 0);
    if (rc == 0 && files->count == before)
        rc = cli_fault("there is no *_test.lua below %s; `luafn new NAME` writes a first one",
                       folder);
    return rc;
}

static int add_words(struct files *files, const char *config_file, const char *const *words,
                     int count)
{
    char root[4096];
    find_root(config_file, root, sizeof(root));
    int rc = count == 0 ? add_word(files, root) : 0;
    for (int i = 0; rc == 0 && i < count; i++)
        rc = add_word(files, words[i]);
    return rc;
}

/* ---- waiting for a change ---- */

struct waiting {
    uv_loop_t loop;
    const char *root;
    uint64_t before;
};

/* One number for the content of all scripts and variables below functions.lua's folder. */
static uint64_t content_of(const char *root, struct watch *watch)
{
    static const char *const suffixes[] = {".lua", ".env", ".toml", ".sql"};
    uint64_t hash = 0;
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        struct files files = {.suffix = suffixes[i]};
        (void)find_files(&files, root, 0);
        for (unsigned k = 0; k < files.count; k++) {
            hash = hash * 1099511628211u +
                   (script_hash(files.list[k]) ^ str_hash(str_from(files.list[k])));
            if (watch != NULL)
                watch_add_file(watch, files.list[k]);
        }
        free_files(&files);
    }
    return hash;
}

static void on_change(void *arg)
{
    struct waiting *w = arg;
    if (content_of(w->root, NULL) != w->before)
        uv_stop(&w->loop);
}

/* 0 when something has changed since `before`, or EXIT_FAULT. */
static int wait_for_change(const char *root, uint64_t before)
{
    struct waiting w = {.root = root, .before = before};
    if (uv_loop_init(&w.loop) != 0)
        return cli_fault("out of memory");
    struct watch *watch = watch_new(&w.loop, on_change, &w);
    if (watch == NULL)
        return cli_fault("out of memory");
    if (content_of(root, watch) == before)
        uv_run(&w.loop, UV_RUN_DEFAULT);
    watch_free(watch);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    uv_loop_close(&w.loop);
    return 0;
}

/* ---- the command ---- */

/* A configuration that does not load, or a misnamed migration, is said once, not once a test. */
static int check_config(const char *config_file, struct migrations *migrations)
{
    static const char *const defaults[] = {"JWT_ISSUER", "http://localhost:8888/", "JWT_AUDIENCE",
                                           "https://api", NULL};
    const struct config_options options = {config_file, true, defaults, NULL, NULL};
    struct err err;
    struct config *config = config_load(&options, &err);
    if (config == NULL)
        return cli_fault("%s", err.text);
    unsigned faults = migrations_read(config->folder, migrations);
    config_free(config);
    return faults == 0 ? 0 : EXIT_FAULT;
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

struct outputs {
    const char *junit, *lcov;
    bool coverage;
};

/* Finds the tests anew and runs them. */
static int run_all(struct test_options *o, const char *const *words, int count,
                   const struct outputs *outputs)
{
    struct files files = {.suffix = "_test.lua", .own = true};
    struct migrations migrations = {.count = 0};
    o->migrations = &migrations;
    int rc = check_config(o->config_file, &migrations);
    if (rc == 0)
        rc = add_words(&files, o->config_file, words, count);
    if (rc == 0) {
        if (outputs->coverage)
            test_cover_open(o->config_file);
        rc = run_files(o, &files, outputs->junit);
        if (outputs->coverage && test_cover_close(outputs->lcov) != 0)
            rc = EXIT_FAULT;
    }
    free_files(&files);
    migrations_free(&migrations);
    o->migrations = NULL;
    return rc;
}

static int run(int argc, char **argv)
{
    struct test_options o = {.config_file = "functions.lua", .timeout = LIMIT_FN_TIMEOUT};
    struct outputs outputs = {.lcov = "lcov.info"};
    const char *timeout = NULL, *words[64];
    bool watch = false;
    const struct option options[] = {
        {"--junit", OPTION_TEXT, &outputs.junit},  {"--coverage", OPTION_FLAG, &outputs.coverage},
        {"--lcov", OPTION_TEXT, &outputs.lcov},    {"--timeout", OPTION_TEXT, &timeout},
        {"--filter", OPTION_TEXT, &o.filter},      {"--watch", OPTION_FLAG, &watch},
        {"--config", OPTION_TEXT, &o.config_file}, {NULL, OPTION_FLAG, NULL}};
    int count = 0;
    int rc = cli_parse(&command_test, argc, argv, options, words, 64, &count);
    if (rc == 0 && timeout != NULL &&
        (str_to_seconds(str_from(timeout), &o.timeout) != 0 ||
         !(o.timeout >= 0.01 && o.timeout <= 900)))
        rc = cli_usage(&command_test, "--timeout is a time from 0.01 to 900 seconds, not '%s'",
                       timeout);
    char root[4096];
    find_root(o.config_file, root, sizeof(root));
    uint64_t content = watch ? content_of(root, NULL) : 0;
    if (rc == 0)
        rc = run_all(&o, words, count, &outputs);
    while (watch && rc != EXIT_USAGE && wait_for_change(root, content) == 0) {
        content = content_of(root, NULL);
        rc = run_all(&o, words, count, &outputs);
    }
    return rc;
}

const struct command command_test = {"test", run};
