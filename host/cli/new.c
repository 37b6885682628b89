/* luafn new: a function to begin with, its test, and its place in functions.lua.
 *
 * Nothing that exists is overwritten. functions.lua gets a line only where that is safe: its new
 * text must load, and must have that function; else the person is told what to write. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/embedded.h"
#include "cli/cli.h"
#include "config.h"
#include "run/script.h"

struct template
{
    const char *name;
    bool needs_auth; /* scripts/lib/auth.lua, and issuers in functions.lua */
};

static const struct template templates[] = {
    {"hello", false},      {"protected", true},  {"scope", true},    {"fetch", false},
    {"background", false}, {"scheduled", false}, {"webhook", false}, {NULL, false}};

struct new_function {
    const char *config_file, *name;
    const struct template *template;
    char root[4096];   /* of functions.lua, with the slash; "" for here */
    char folder[4096]; /* of scripts, below it: "scripts" */
    bool by_folder;    /* functions.lua names a folder: nothing is to be added */
    bool has_auth;     /* functions.lua names an issuer */
    struct buf config; /* owned: the text of functions.lua; empty when it is not there */
};

/* ---- files ---- */

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

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

/* A new file; -EEXIST when there is one. */
static int write_file(const char *path, struct str text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd == -1)
        return -errno;
    ssize_t n = write(fd, text.ptr, text.len);
    int rc = n == (ssize_t)text.len ? 0 : -EIO;
    if (close(fd) != 0)
        rc = -errno;
    return rc;
}

static int write_below(const struct new_function *f, const char *relative, struct str text)
{
    char path[8300];
    snprintf(path, sizeof(path), "%s%s", f->root, relative);
    int rc = make_folders(path, strlen(f->root));
    if (rc == 0)
        rc = write_file(path, text);
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
    snprintf(source, sizeof(source), "share/templates/%s%s.lua", f->template->name, suffix);
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
    if (exists(path))
        return 0;
    int rc = fill(f, source, &text);
    if (rc == 0)
        rc = write_below(f, relative, buf_str(&text));
    buf_free(&text);
    return rc;
}

/* ---- functions.lua ---- */

/* The line `functions = {` or `functions = "folder"`, where it stands alone. */
static struct str find_line(struct str text, struct str *value)
{
    struct str line;
    while (str_split_next(&text, '\n', &line)) {
        struct str rest = str_trim(line);
        if (!str_starts_with(rest, STR("functions")))
            continue;
        rest = str_trim(str_skip(rest, 9));
        if (rest.len == 0 || rest.ptr[0] != '=')
            continue;
        *value = str_trim(str_skip(rest, 1));
        return line;
    }
    return (struct str){NULL, 0};
}

static void note_folder(struct new_function *f)
{
    struct str value = {NULL, 0};
    find_line(buf_str(&f->config), &value);
    if (value.len == 0 || (value.ptr[0] != '"' && value.ptr[0] != '\''))
        return;
    struct str folder = str_skip(value, 1);
    folder.len = str_find(folder, value.ptr[0]);
    while (folder.len > 1 && folder.ptr[folder.len - 1] == '/')
        folder.len--;
    if (folder.len == 0 || folder.ptr[0] == '/')
        return;
    f->by_folder = true;
    snprintf(f->folder, sizeof(f->folder), "%.*s", STR_ARG(folder));
}

static bool is_identifier(const char *name)
{
    static const char *const words[] = {"and",   "break", "do",       "else", "elseif", "end",
                                        "false", "for",   "function", "goto", "if",     "in",
                                        "local", "nil",   "not",      "or",   "repeat", "return",
                                        "then",  "true",  "until",    "while"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(name, words[i]) == 0)
            return false;
    }
    return strchr(name, '-') == NULL && !(name[0] >= '0' && name[0] <= '9');
}

static void add_entry(const struct new_function *f, struct buf *out)
{
    if (is_identifier(f->name))
        buf_printf(out, "%s = ", f->name);
    else
        buf_printf(out, "[\"%s\"] = ", f->name);
    buf_printf(out, "{ script = \"%s/%s.lua\" },", f->folder, f->name);
}

/* The text with one line more, if there is a place for it. */
static bool insert_entry(const struct new_function *f, struct buf *out)
{
    struct str value = {NULL, 0}, text = buf_str(&f->config);
    struct str line = find_line(text, &value);
    size_t indent = 0;
    if (line.ptr == NULL || !str_eq(value, STR("{")))
        return false;
    while (line.ptr[indent] == ' ' || line.ptr[indent] == '\t')
        indent++;
    size_t end = (size_t)(line.ptr + line.len - text.ptr) + 1;
    if (end > text.len)
        return false;
    buf_add(out, text.ptr, end);
    buf_add(out, line.ptr, indent);
    buf_add_str(out, STR("  "));
    add_entry(f, out);
    buf_add_char(out, '\n');
    buf_add(out, text.ptr + end, text.len - end);
    return !buf_failed(out);
}

static struct config *load(const char *file, struct err *err)
{
    static const char *const defaults[] = {"JWT_ISSUER", "http://localhost:8888/", "JWT_AUDIENCE",
                                           "https://api", NULL};
    const struct config_options options = {file, true, defaults};
    return config_load(&options, err);
}

static bool has_function(const struct config *config, const char *name)
{
    for (unsigned i = 0; i < config->function_count; i++) {
        if (str_eq(config->functions[i].name, str_from(name)))
            return true;
    }
    return false;
}

/* Tries the new text beside the old one, since paths are relative to it. */
static bool is_good(const char *file, const char *name)
{
    struct config *config = load(file, NULL);
    bool good = config != NULL && has_function(config, name);
    config_free(config);
    return good;
}

static int replace_config(const struct new_function *f, struct str text)
{
    char fresh[4200];
    struct stat st;
    snprintf(fresh, sizeof(fresh), "%s.new", f->config_file);
    int rc = stat(f->config_file, &st) == 0 ? write_file(fresh, text) : -errno;
    if (rc != 0)
        return rc;
    rc = is_good(fresh, f->name) ? 0 : -EINVAL;
    if (rc == 0 && (chmod(fresh, st.st_mode & 0777) != 0 || rename(fresh, f->config_file) != 0))
        rc = -errno;
    if (rc != 0)
        unlink(fresh);
    return rc;
}

static void tell_entry(const struct new_function *f)
{
    struct buf entry = BUF_INIT;
    add_entry(f, &entry);
    printf("add this to `functions` in %s:\n    %.*s\n", f->config_file, STR_ARG(buf_str(&entry)));
    buf_free(&entry);
}

static int add_to_config(const struct new_function *f)
{
    struct buf text = BUF_INIT;
    if (f->by_folder) {
        printf("%s takes every script of %s/: nothing is to be added\n", f->config_file, f->folder);
        return 0;
    }
    if (insert_entry(f, &text) && replace_config(f, buf_str(&text)) == 0)
        printf("added %s to %s\n", f->name, f->config_file);
    else
        tell_entry(f);
    buf_free(&text);
    return 0;
}

/* A first functions.lua, with this function in it. */
static int make_config(struct new_function *f)
{
    struct buf text = BUF_INIT;
    const char *slash = strrchr(f->config_file, '/');
    const char *source = f->template->needs_auth ? "share/templates/functions_auth.lua"
                                                 : "share/templates/functions.lua";
    int rc = fill(f, source, &f->config);
    if (rc == 0 && !insert_entry(f, &text))
        rc = cli_fault("out of memory");
    if (rc == 0)
        rc = write_below(f, slash != NULL ? slash + 1 : f->config_file, buf_str(&text));
    buf_free(&text);
    return rc;
}

static int read_config(struct new_function *f)
{
    struct err err;
    if (!exists(f->config_file))
        return 0;
    struct config *config = load(f->config_file, &err);
    if (config == NULL)
        return cli_fault("%s", err.text);
    bool taken = has_function(config, f->name);
    f->has_auth = config->issuer_count > 0;
    config_free(config);
    if (taken)
        return cli_fault("%s has a function %s already", f->config_file, f->name);
    if (script_read(f->config_file, &f->config, &err) != 0)
        return cli_fault("%s %s", f->config_file, err.text);
    note_folder(f);
    return 0;
}

/* ---- all of it ---- */

static int check_free(const struct new_function *f)
{
    static const char *const suffixes[] = {"", "_test"};
    for (size_t i = 0; i < 2; i++) {
        char path[8300];
        snprintf(path, sizeof(path), "%s%s/%s%s.lua", f->root, f->folder, f->name, suffixes[i]);
        if (exists(path))
            return cli_fault("%s exists already: it is left as it is; choose another name", path);
    }
    return 0;
}

static int make(struct new_function *f)
{
    int rc = read_config(f);
    bool is_first = rc == 0 && !exists(f->config_file);
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
        rc = is_first ? make_config(f) : add_to_config(f);
    if (rc != 0)
        return rc;
    if (!is_first && f->template->needs_auth && !f->has_auth)
        printf(
            "%s names no issuer: add auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE }\n",
            f->config_file);
    const char *option = strcmp(f->config_file, "functions.lua") == 0 ? "" : " --config ";
    printf("next: luafn test%s%s, luafn dev%s%s\n", option, option[0] != '\0' ? f->config_file : "",
           option, option[0] != '\0' ? f->config_file : "");
    return EXIT_GOOD;
}

static const struct template *find_template(const char *name)
{
    for (const struct template *t = templates; t->name != NULL; t++) {
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

const struct command command_new = {
    .name = "new",
    .arguments =
        "NAME [--template hello|protected|scope|fetch|background|scheduled|webhook] [--config FILE]",
    .summary = "Writes a commented function, its test, and its line in functions.lua.",
    .help =
        "\n"
        "  hello       answers everybody (the default)\n"
        "  protected   for who has a token\n"
        "  scope       for tokens with a scope\n"
        "  fetch       asks another API\n"
        "  background  answered at once, works on for up to 15 minutes\n"
        "  scheduled   runs by itself\n"
        "  webhook     checks the sender's signature (HMAC)\n"
        "\n"
        "The function goes to scripts/NAME.lua, its test to scripts/NAME_test.lua; where functions.lua names a folder, there. A\n"
        "missing functions.lua, .env.example and scripts/lib/auth.lua are made, too. What exists is never overwritten.\n"
        "\nExample:\n  luafn new shows --template scope && luafn test\n",
    .run = run,
};
