/* The files of a Netlify site: _redirects, _headers. */
#include "config/config_site.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/limits.h"
#include "config/config_toml.h"
#include "http/rule_file.h"
#include "lua/script.h"

/* ---- notes and files ---- */

void config_add_note(struct config *config, bool fault, const char *file, unsigned line,
                     const char *format, ...)
{
    char message[768];
    struct arena *arena = &config->arena;
    if (config->notes == NULL)
        config->notes = arena_zalloc(arena, (LIMIT_CONFIG_NOTES + 1) * sizeof(*config->notes));
    if (config->notes == NULL || config->note_count > LIMIT_CONFIG_NOTES)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    struct config_note note = {.fault = fault};
    if (config->note_count == LIMIT_CONFIG_NOTES)
        note.text = STR("more of the same; they are not told");
    else if (line > 0)
        note.text = arena_printf(arena, "%s:%u: %s", file, line, message);
    else
        note.text = arena_printf(arena, "%s: %s", file, message);
    if (note.text.ptr != NULL)
        config->notes[config->note_count++] = note;
}

void config_add_file(struct config *config, const char *path)
{
    for (unsigned i = 0; i < config->file_count; i++) {
        if (str_eq(config->files[i].path, str_from(path)))
            return;
    }
    struct str copy = arena_copy(&config->arena, str_from(path));
    if (copy.ptr != NULL && config->file_count < CONFIG_FILES_MAX)
        config->files[config->file_count++] = (struct config_file){copy, script_hash(path)};
}

uint64_t config_site_hash(const struct config *config, bool now)
{
    uint64_t hash = 0;
    for (unsigned i = 0; i < config->file_count; i++) {
        const struct config_file *file = &config->files[i];
        hash = hash * 1099511628211u + (now ? script_hash(file->path.ptr) : file->hash);
    }
    return hash;
}

/* ---- rules ---- */

static bool is_known(const struct config *config, const struct redirect_rule *rule)
{
    for (unsigned i = 0; i < config->redirect_count; i++) {
        if (redirect_equal(&config->redirects[i], rule))
            return true;
    }
    return false;
}

int config_add_redirects(struct config *config, const char *file, const struct redirect_rule *rules,
                         unsigned count)
{
    unsigned before = config->redirect_count;
    if (count == 0)
        return 0;
    struct redirect_rule *all =
        arena_zalloc(&config->arena, ((size_t)before + count) * sizeof(*all));
    if (all == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < before; i++)
        all[i] = config->redirects[i];
    config->redirects = all;
    for (unsigned i = 0; i < count; i++) {
        if (is_known(config, &rules[i]))
            continue;
        if (config->redirect_count == LIMIT_SITE_RULES) {
            config_add_note(config, true, file, 0,
                            "there are more than %d redirects; the rest is left out",
                            LIMIT_SITE_RULES);
            break;
        }
        all[config->redirect_count++] = rules[i];
    }
    return 0;
}

int config_add_headers(struct config *config, const struct header_rule *rules, unsigned count)
{
    if (count == 0)
        return 0;
    unsigned before = config->header_count;
    struct header_rule *all = arena_zalloc(&config->arena, ((size_t)before + count) * sizeof(*all));
    if (all == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < count; i++)
        all[i] = rules[i];
    for (unsigned i = 0; i < before; i++)
        all[count + i] = config->headers[i];
    config->headers = all;
    config->header_count = before + count;
    return 0;
}

/* ---- _redirects and _headers ---- */

struct reading {
    struct config *config;
    const char *file; /* as messages show it */
};

static void on_fault(void *arg, unsigned line, const char *what)
{
    struct reading *reading = arg;
    config_add_note(reading->config, true, reading->file, line, "%s", what);
}

/* One of the two in that folder, if it is there. */
static int read_file(struct config *config, struct str folder, bool redirects)
{
    char path[PATH_MAX];
    struct buf text = BUF_INIT;
    struct err err;
    snprintf(path, sizeof(path), "%.*s/%s", STR_ARG(folder), redirects ? "_redirects" : "_headers");
    config_add_file(config, path);
    struct reading reading = {config, script_display_name(path, config->folder)};
    int rc = script_read(path, &text, &err);
    if (rc != 0) {
        buf_free(&text);
        if (rc != -ENOENT)
            config_add_note(config, true, reading.file, 0, "%s", err.text);
        return 0;
    }
    const struct rule_file file = {
        .arena = &config->arena, .text = buf_str(&text), .fault = on_fault, .arg = &reading};
    unsigned count = 0;
    if (redirects) {
        struct redirect_rule *rules;
        rc = rule_file_redirects(&file, &rules, &count);
        if (rc == 0)
            rc = config_add_redirects(config, reading.file, rules, count);
    } else {
        struct header_rule *rules;
        rc = rule_file_headers(&file, &rules, &count);
        if (rc == 0)
            rc = config_add_headers(config, rules, count);
    }
    buf_free(&text);
    return rc;
}

int config_read_site(struct config *config)
{
    int rc = config_toml_headers(config);
    bool apart = config->publish.len > 0 && !str_eq(config->publish, config->folder);
    if (rc == 0 && apart)
        rc = read_file(config, config->publish, true);
    if (rc == 0)
        rc = read_file(config, config->folder, true);
    if (rc == 0)
        rc = config_toml_redirects(config);
    if (rc == 0)
        rc = read_file(config, config->folder, false); /* the last that is put before ... */
    if (rc == 0 && apart)
        rc = read_file(config, config->publish, false); /* ... comes first, and loses */
    if (config->role_path.len == 0)
        config->role_path = STR("app_metadata.authorization.roles");
    for (unsigned i = 0; i < config->redirect_count; i++)
        config->asks_role = config->asks_role || redirect_asks_role(&config->redirects[i]);
    return rc;
}
