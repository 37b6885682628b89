/* luafn new: a function to begin with, its test, and its place in functions.lua.
 *
 * Nothing that exists is overwritten. functions.lua gets a line only where that is safe: its new
 * text must load, and must have that function; else the person is told what to write. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/embedded.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/new_internal.h"

static const struct new_template templates[] = {
    {"hello", false},      {"protected", true},  {"scope", true},    {"fetch", false},
    {"background", false}, {"scheduled", false}, {"webhook", false}, {NULL, false}};

/* ---- files ---- */

/* Folders of `path` that are missing below the root. */
static int make_folders(char *path, size_t from)
{
    for (char *slash = strchr(path + from, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int rc = mkdir(path, 0777) == 0 || errno == EEXIST ? 0 : -errno;
        *slash = '/';
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int write_below(const struct new_function *f, const char *relative, struct str text)
{
    char path[8300];
    snprintf(path, sizeof(path), "%s%s", f->root, relative);
    int rc = make_folders(path, strlen(f->root));
    if (rc == 0)
        rc = file_create(path, text, 0666);
    if (rc != 0)
        return cli_fault("%s cannot be written: %s", path, strerror(-rc));
    printf("wrote %s\n", path);
    return 0;
}

/* ---- templates ---- */

/* The text of a file of the program with @NAME@ and @TEST@ filled in. */
static int fill(const struct new_function *f, const char *file, struct buf *out)
{
    const struct embedded_file *found = embedded_find(file);
    if (found == NULL)
        return cli_fault("%s is not inside this program", file);
    struct str rest = {found->data, found->len};
    while (rest.len > 0) {
        size_t at = str_find(rest, '@');
        buf_add(out, rest.ptr, at);
        rest = str_skip(rest, at);
        if (str_starts_with(rest, STR("@NAME@"))) {
            buf_add_str(out, str_from(f->name));
            rest = str_skip(rest, 6);
        } else if (str_starts_with(rest, STR("@TEST@"))) {
            buf_printf(out, "%s%s/%s_test.lua", f->root, f->folder, f->name);
            rest = str_skip(rest, 6);
        } else if (rest.len > 0) {
            buf_add_char(out, '@');
            rest = str_skip(rest, 1);
        }
    }
    return buf_failed(out) ? cli_fault("out of memory") : 0;
}

static int write_template(const struct new_function *f, const char *suffix)
{
    char source[128], relative[4300];
    struct buf text = BUF_INIT;
    snprintf(source, sizeof(source), "share/templates/%s%s.lua", f->template->name,
             suffix[0] != '\0' ? ".test" : "");
    snprintf(relative, sizeof(relative), "%s/%s%s.lua", f->folder, f->name, suffix);
    int rc = fill(f, source, &text);
    if (rc == 0)
        rc = write_below(f, relative, buf_str(&text));
    buf_free(&text);
    return rc;
}

/* A file of the program as it is, where there is none of that name yet. */
static int write_helper(const struct new_function *f, const char *source, const char *relative)
{
    char path[8300];
    struct buf text = BUF_INIT;
    snprintf(path, sizeof(path), "%s%s", f->root, relative);
    if (file_exists(path))
        return 0;
    int rc = fill(f, source, &text);
    if (rc == 0)
        rc = write_below(f, relative, buf_str(&text));
    buf_free(&text);
    return rc;
}

/* A first functions.lua, with this function in it. */
static int make_config(struct new_function *f)
{
    struct buf text = BUF_INIT;
    const char *slash = strrchr(f->config_file, '/');
    const char *source = f->template->needs_auth ? "share/templates/functions_auth.lua"
                                                 : "share/templates/functions.lua";
    int rc = fill(f, source, &f->config);
    if (rc == 0 && !new_config_insert(f, &text))
        rc = cli_fault("out of memory");
    if (rc == 0)
        rc = write_below(f, slash != NULL ? slash + 1 : f->config_file, buf_str(&text));
    buf_free(&text);
    return rc;
}

/* ---- all of it ---- */

static int check_free(const struct new_function *f)
{
    static const char *const suffixes[] = {"", "_test"};
    for (size_t i = 0; i < 2; i++) {
        char path[8300];
        snprintf(path, sizeof(path), "%s%s/%s%s.lua", f->root, f->folder, f->name, suffixes[i]);
        if (file_exists(path))
            return cli_fault("%s exists already: it is left as it is; choose another name", path);
    }
    return 0;
}

static int make(struct new_function *f)
{
    int rc = new_config_read(f);
    bool is_first = rc == 0 && !f->by_folder && !file_exists(f->config_file);
    if (rc == 0)
        rc = check_free(f);
    if (rc == 0)
        rc = write_template(f, "");
    if (rc == 0)
        rc = write_template(f, "_test");
    char helper[4200];
    snprintf(helper, sizeof(helper), "%s/lib/auth.lua", f->folder);
    if (rc == 0 && f->template->needs_auth)
        rc = write_helper(f, "scripts/lib/auth.lua", helper);
    if (rc == 0)
        rc = write_helper(f, "share/templates/env.example", ".env.example");
    if (rc == 0)
        rc = write_helper(f, "share/templates/gitignore", ".gitignore");
    if (rc == 0)
        rc = write_helper(f, "share/templates/luarc.json", ".luarc.json");
    if (rc == 0)
        rc = is_first ? make_config(f) : 0;
    if (rc != 0)
        return rc;
    if (!is_first)
        new_config_add(f);
    if (!is_first && f->template->needs_auth && !f->has_auth)
        printf(
            "%s names no issuer: add auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE }\n",
            f->config_file);
    const char *option = strcmp(f->config_file, "functions.lua") == 0 ? "" : " --config ";
    printf("next: luafn test%s%s, luafn dev%s%s\n", option, option[0] != '\0' ? f->config_file : "",
           option, option[0] != '\0' ? f->config_file : "");
    return EXIT_GOOD;
}

static const struct new_template *find_template(const char *name)
{
    for (const struct new_template *t = templates; t->name != NULL; t++) {
        if (strcmp(t->name, name) == 0)
            return t;
    }
    return NULL;
}

static bool name_is_good(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= 128 && name[0] != '-' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
               len &&
           !str_ends_with(str_from(name), STR("_test"));
}

static int run(int argc, char **argv)
{
    const char *template = "hello";
    struct new_function f = {.config_file = "functions.lua", .folder = "scripts"};
    const struct option options[] = {{"--template", OPTION_TEXT, &template},
                                     {"--config", OPTION_TEXT, &f.config_file},
                                     {NULL, OPTION_FLAG, NULL}};
    int count = 0;
    int rc = cli_parse(&command_new, argc, argv, options, &f.name, 1, &count);
    if (rc != 0)
        return rc;
    if (count == 0)
        return cli_usage(&command_new, "a name is missing");
    if (!name_is_good(f.name))
        return cli_usage(
            &command_new,
            "'%s' is no name: use letters, digits, '-' and '_', and no _test at the end", f.name);
    f.template = find_template(template);
    if (f.template == NULL)
        return cli_usage(
            &command_new,
            "'%s' is not one of hello, protected, scope, fetch, background, scheduled, webhook",
            template);
    if (strlen(f.config_file) > 4000)
        return cli_usage(&command_new, "the name of --config is too long");
    const char *slash = strrchr(f.config_file, '/');
    if (slash != NULL)
        snprintf(f.root, sizeof(f.root), "%.*s", (int)(slash - f.config_file) + 1, f.config_file);
    rc = make(&f);
    buf_free(&f.config);
    return rc;
}

const struct command command_new = {"new", run};
