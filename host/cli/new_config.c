/* functions.lua, as `luafn new` reads and edits it: by its lines, and only where the result loads.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/new_internal.h"
#include "config/config.h"
#include "lua/script.h"

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

/* Where scripts go, if the configuration takes them by folder. */
static void note_folder(struct new_function *f, struct str folder)
{
    while (str_starts_with(folder, STR("./")))
        folder = str_skip(folder, 2);
    while (folder.len > 1 && folder.ptr[folder.len - 1] == '/')
        folder.len--;
    f->by_folder = folder.len > 0 && folder.ptr[0] != '/';
    if (f->by_folder)
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
bool new_config_insert(const struct new_function *f, struct buf *out)
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
    const struct config_options options = {file, true, defaults, NULL, NULL};
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
    int rc = stat(f->config_file, &st) == 0 ? file_create(fresh, text, 0666) : -errno;
    if (rc != 0)
        return rc;
    rc = is_good(fresh, f->name) ? 0 : -EINVAL;
    if (rc == 0 && (chmod(fresh, st.st_mode & 0777) != 0 || rename(fresh, f->config_file) != 0))
        rc = -errno;
    if (rc != 0)
        unlink(fresh);
    return rc;
}

/* The first function may have been a public one: then the issuer that share/templates/functions.lua
 * names is still a comment. */
static void switch_on_issuer(struct new_function *f, struct buf *text)
{
    static const char line[] = "-- auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE, ";
    if (!f->template->needs_auth || f->has_auth)
        return;
    char *at = memmem(text->data, text->len, line, sizeof(line) - 1);
    if (at == NULL)
        return;
    memmove(at, at + 3, text->len - (size_t)(at + 3 - text->data));
    text->len -= 3;
    f->has_auth = true;
}

static void tell_entry(const struct new_function *f)
{
    struct buf entry = BUF_INIT;
    add_entry(f, &entry);
    printf("add this to `functions` in %s:\n    %.*s\n", f->config_file, STR_ARG(buf_str(&entry)));
    buf_free(&entry);
}

void new_config_add(struct new_function *f)
{
    struct buf text = BUF_INIT;
    bool had_auth = f->has_auth;
    if (f->by_folder) {
        printf("every script of %s/ is a function: nothing is to be added\n", f->folder);
        return;
    }
    bool inserted = new_config_insert(f, &text);
    if (inserted)
        switch_on_issuer(f, &text);
    if (inserted && replace_config(f, buf_str(&text)) == 0) {
        printf("added %s%s to %s\n", f->name, f->has_auth != had_auth ? ", and the issuer," : "",
               f->config_file);
    } else {
        f->has_auth = had_auth;
        tell_entry(f);
    }
    buf_free(&text);
}

/* A netlify.toml stands for the functions.lua that is not there. */
static bool has_toml_alone(const struct new_function *f)
{
    char toml[4200];
    return !file_exists(f->config_file) &&
           cli_beside(f->config_file, "netlify.toml", toml, sizeof(toml)) == 0 && file_exists(toml);
}

int new_config_read(struct new_function *f)
{
    struct err err;
    bool toml_alone = has_toml_alone(f);
    if (!toml_alone && !file_exists(f->config_file))
        return 0;
    struct config *config = load(f->config_file, &err);
    if (config == NULL)
        return cli_fault("%s", err.text);
    bool taken = has_function(config, f->name);
    f->has_auth = config->issuer_count > 0;
    note_folder(f, config->functions_folder);
    if (toml_alone && config->functions_folder.len == 0)
        note_folder(f, STR("netlify/functions"));
    config_free(config);
    if (taken)
        return cli_fault("%s has a function %s already", f->config_file, f->name);
    if (toml_alone)
        return 0;
    if (script_read(f->config_file, &f->config, &err) != 0)
        return cli_fault("%s %s", f->config_file, err.text);
    return 0;
}
