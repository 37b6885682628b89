/* netlify.toml: [[redirects]] and [[headers]]. A rule that is no good is told and left out. */
#include "config/config_toml.h"

#include <errno.h>
#include <string.h>

#include "config/toml.h"
#include "config/config_site.h"
#include "http/rule_file.h"

#define FILE_NAME "netlify.toml"

/* ---- parts that both have ---- */

static unsigned count_items(const struct toml *list)
{
    unsigned count = 0;
    for (const struct toml *node = list != NULL ? list->first : NULL; node != NULL;
         node = node->next)
        count++;
    return count;
}

/* A text; a list of them joined; a number or a switch in its words. ptr NULL: none of these. */
static struct str as_text(struct arena *arena, const struct toml *node)
{
    struct str all = {NULL, 0};
    if (node->type == TOML_TEXT)
        return node->text;
    if (node->type == TOML_INTEGER)
        return arena_printf(arena, "%lld", (long long)node->integer);
    if (node->type == TOML_BOOLEAN)
        return node->boolean ? STR("true") : STR("false");
    for (const struct toml *item = node->type == TOML_ARRAY ? node->first : NULL; item != NULL;
         item = item->next) {
        if (item->type != TOML_TEXT)
            return (struct str){NULL, 0};
        all = all.ptr == NULL
                  ? item->text
                  : arena_printf(arena, "%.*s, %.*s", STR_ARG(all), STR_ARG(item->text));
        if (all.ptr == NULL)
            return all;
    }
    return all;
}

/* name = value members of a table. False: one is no text. */
static bool read_pairs(struct arena *arena, const struct toml *table, struct redirect_pair **pairs,
                       unsigned *count)
{
    if (table == NULL)
        return true;
    *pairs = arena_zalloc(arena, (count_items(table) + 1) * sizeof(**pairs));
    if (*pairs == NULL || table->type != TOML_TABLE)
        return false;
    for (const struct toml *node = table->first; node != NULL; node = node->next) {
        struct str value = as_text(arena, node);
        if (value.ptr == NULL)
            return false;
        (*pairs)[(*count)++] = (struct redirect_pair){node->key, value};
    }
    return true;
}

/* Warns of a key that means nothing, once over all items of the list. */
static void warn_unknown(struct config *config, const struct toml *list, const struct toml *item,
                         const char *const *known)
{
    for (const struct toml *node = item->first; node != NULL; node = node->next) {
        bool told = false;
        for (unsigned i = 0; known[i] != NULL; i++)
            told = told || str_eq(node->key, str_from(known[i]));
        for (const struct toml *before = list->first; before != item; before = before->next)
            told = told || toml_get(before, node->key) != NULL;
        if (!told)
            config_add_note(config, false, FILE_NAME, node->line,
                            "%.*s.%.*s has no meaning here and is ignored", STR_ARG(list->key),
                            STR_ARG(node->key));
    }
}

/* The list of that name, or NULL. */
static const struct toml *find_list(struct config *config, struct str name)
{
    const struct toml *list = toml_get(config->toml, name);
    if (list == NULL || list->type == TOML_ARRAY)
        return list;
    config_add_note(config, true, FILE_NAME, list->line, "%.*s must be a list: write [[%.*s]]",
                    STR_ARG(name), STR_ARG(name));
    return NULL;
}

/* Reads a table into one rule of zeroes. What is wrong, or NULL. */
typedef const char *(*read_fn)(struct arena *arena, const struct toml *item, void *rule,
                               struct err *err);

/* Each table of the list into one of `rules`, of `size` bytes; how many are good. The others are
 * told. */
static unsigned read_items(struct config *config, const struct toml *list, const char *const *known,
                           read_fn read, void *rules, size_t size)
{
    unsigned count = 0;
    for (const struct toml *item = list != NULL ? list->first : NULL; item != NULL;
         item = item->next) {
        struct err err;
        void *rule = (char *)rules + count * size;
        memset(rule, 0, size);
        const char *fault = item->type == TOML_TABLE ? read(&config->arena, item, rule, &err)
                                                     : "each item is a table of its own";
        warn_unknown(config, list, item, known);
        if (fault != NULL)
            config_add_note(config, true, FILE_NAME, item->line, "%.*s: %s", STR_ARG(list->key),
                            fault);
        else
            count++;
    }
    return count;
}

/* ---- [[redirects]] ---- */

static const struct toml *either(const struct toml *table, const char *name, const char *other)
{
    const struct toml *node = toml_get(table, str_from(name));
    return node != NULL ? node : toml_get(table, str_from(other));
}

static const char *read_texts(struct arena *arena, const struct toml *item,
                              struct redirect_rule *rule)
{
    const struct toml *from = either(item, "from", "origin");
    const struct toml *to = either(item, "to", "destination");
    const struct toml *query = toml_get(item, STR("query"));
    if (query == NULL)
        query = either(item, "params", "parameters");
    if (from == NULL || from->type != TOML_TEXT)
        return "'from' is missing: a path such as \"/old\"";
    if (to != NULL && to->type != TOML_TEXT)
        return "'to' must be a text such as \"/new\"";
    rule->from = from->text;
    rule->to = to != NULL ? to->text : STR("");
    if (!read_pairs(arena, query, &rule->query, &rule->query_count))
        return "'query' must be a table of texts: { id = \":id\" }";
    if (!read_pairs(arena, toml_get(item, STR("conditions")), &rule->conditions,
                    &rule->condition_count))
        return "'conditions' must be a table of texts or lists of texts: { Country = [\"at\", \"de\"] }";
    if (!read_pairs(arena, toml_get(item, STR("headers")), &rule->headers, &rule->header_count))
        return "'headers' must be a table of texts: { X-From = \"here\" }";
    return NULL;
}

static const char *read_redirect(struct arena *arena, const struct toml *item, void *out,
                                 struct err *err)
{
    struct redirect_rule *rule = out;
    const struct toml *status = toml_get(item, STR("status"));
    const struct toml *force = toml_get(item, STR("force"));
    rule->status = 301;
    if (status != NULL && status->type == TOML_INTEGER && status->integer >= 100 &&
        status->integer <= 999)
        rule->status = (int)status->integer;
    else if (status != NULL &&
             (status->type != TOML_TEXT || !rule_status(status->text, &rule->status, &rule->force)))
        return "'status' must be a number such as 301";
    if (force != NULL && force->type != TOML_BOOLEAN)
        return "'force' must be true or false";
    rule->force = rule->force || (force != NULL && force->boolean);
    const char *fault = read_texts(arena, item, rule);
    if (fault == NULL && redirect_check(rule, err) != 0)
        fault = err->text;
    return fault;
}

int config_toml_redirects(struct config *config)
{
    static const char *const known[] = {"from",       "origin",     "to",      "destination",
                                        "status",     "force",      "query",   "params",
                                        "parameters", "conditions", "headers", NULL};
    const struct toml *list = find_list(config, STR("redirects"));
    const struct toml *path = toml_get(toml_get(config->toml, STR("dev")), STR("jwtRolePath"));
    if (path != NULL && path->type == TOML_TEXT)
        config->role_path = path->text;
    else if (path != NULL)
        config_add_note(config, true, FILE_NAME, path->line, "dev.jwtRolePath must be a text");
    struct redirect_rule *rules =
        arena_zalloc(&config->arena, (count_items(list) + 1) * sizeof(*rules));
    if (rules == NULL)
        return -ENOMEM;
    unsigned count = read_items(config, list, known, read_redirect, rules, sizeof(*rules));
    return config_add_redirects(config, FILE_NAME, rules, count);
}

/* ---- [[headers]] ---- */

/* A value over several lines, as Netlify writes lists of them: each line break is a space. */
static struct str one_line(struct arena *arena, struct str text)
{
    struct str all = {"", 0}, line;
    text = str_trim(text);
    if (str_find(text, '\n') == text.len)
        return text;
    while (all.ptr != NULL && str_split_next(&text, '\n', &line)) {
        line = str_trim(line);
        if (line.len > 0)
            all = arena_printf(arena, "%.*s%s%.*s", STR_ARG(all), all.len > 0 ? " " : "",
                               STR_ARG(line));
    }
    return all;
}

static const char *read_header(struct arena *arena, const struct toml *item, void *out,
                               struct err *err)
{
    struct header_rule *rule = out;
    const struct toml *path = toml_get(item, STR("for"));
    struct redirect_pair *pairs = NULL;
    if (path == NULL || path->type != TOML_TEXT)
        return "'for' is missing: a path such as \"/*\"";
    rule->path = path->text;
    unsigned count = 0;
    if (!read_pairs(arena, toml_get(item, STR("values")), &pairs, &count))
        return "'values' must be a table of texts or lists of texts: { X-Frame-Options = \"DENY\" }";
    rule->values = arena_zalloc(arena, (count + 1) * sizeof(*rule->values));
    if (rule->values == NULL)
        return "out of memory";
    for (unsigned i = 0; i < count; i++) {
        struct str value = one_line(arena, pairs[i].value);
        if (value.ptr == NULL)
            return "out of memory";
        rule->values[rule->value_count++] = (struct header){pairs[i].name, value};
    }
    return header_rule_check(rule, err) != 0 ? err->text : NULL;
}

int config_toml_headers(struct config *config)
{
    static const char *const known[] = {"for", "values", NULL};
    const struct toml *list = find_list(config, STR("headers"));
    struct header_rule *rules =
        arena_zalloc(&config->arena, (count_items(list) + 1) * sizeof(*rules));
    if (rules == NULL)
        return -ENOMEM;
    unsigned count = read_items(config, list, known, read_header, rules, sizeof(*rules));
    return config_add_headers(config, rules, count);
}
