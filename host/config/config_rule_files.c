/* The files of a Netlify site: _redirects, _headers, and the rules of netlify.toml among them. */
#include "config/config_rule_files.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "config/config_site.h"
#include "config/config_toml.h"
#include "http/rule_file.h"
#include "lua/script.h"

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
    struct reading reading = {config, script_display_name(path, config->folder)};
    int rc = origin_read(config->origin, path, &text, &err);
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

/* Rules of one host come before those of any, as at Netlify: a rule for everything would hide them.
 */
static int put_hosts_first(struct config *config)
{
    unsigned count = config->redirect_count, next = 0;
    struct redirect_rule *sorted = arena_alloc(&config->arena, (count + 1) * sizeof(*sorted));
    if (sorted == NULL)
        return -ENOMEM;
    for (int any_host = 0; any_host < 2; any_host++) {
        for (unsigned i = 0; i < count; i++) {
            if (str_starts_with(config->redirects[i].from, STR("/")) == (any_host != 0))
                sorted[next++] = config->redirects[i];
        }
    }
    config->redirects = sorted;
    return 0;
}

int config_rule_files_read(struct config *config)
{
    int rc = config_toml_headers(config);
    bool apart = config->publish.len > 0 && !str_eq(config->publish, config->real_folder);
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
    if (rc == 0)
        rc = put_hosts_first(config);
    if (config->role_path.len == 0)
        config->role_path = STR("app_metadata.authorization.roles");
    for (unsigned i = 0; i < config->redirect_count; i++)
        config->asks_role = config->asks_role || redirect_asks_role(&config->redirects[i]);
    return rc;
}
