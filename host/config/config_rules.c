/* The lists of rules in functions.lua: redirects and headers. */
#include "config/config_internal.h"

#include <lauxlib.h>

/* The text at the top of the stack, or a list of texts, joined as in a header. ptr NULL: it is
 * neither, or there is no memory. */
static struct str take_value(struct options_reader *r)
{
    lua_State *L = r->L;
    struct str all = {NULL, 0};
    if (lua_type(L, -1) == LUA_TSTRING)
        return arena_copy(r->arena, (struct str){lua_tostring(L, -1), lua_rawlen(L, -1)});
    lua_Integer count = lua_istable(L, -1) ? (lua_Integer)lua_rawlen(L, -1) : 0;
    for (lua_Integer i = 1; i <= count; i++) {
        bool is_text = lua_rawgeti(L, -1, i) == LUA_TSTRING;
        struct str one = {lua_tostring(L, -1), is_text ? lua_rawlen(L, -1) : 0};
        all = !is_text ? (struct str){NULL, 0}
                       : arena_printf(r->arena, "%.*s%s%.*s", STR_ARG(all), i > 1 ? ", " : "",
                                      STR_ARG(one));
        lua_pop(L, 1);
        if (all.ptr == NULL)
            return all;
    }
    return all;
}

/* name = "value" pairs of the member `key`. */
static int read_pairs(struct options_reader *r, const char *key, struct redirect_pair **out,
                      unsigned *count)
{
    if (!options_get(r, key))
        return 0;
    int rc = config_must_be_table(r, key);
    if (rc != 0)
        return rc;
    lua_State *L = r->L;
    unsigned n = 0;
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1))
        n++;
    struct redirect_pair *pairs = arena_zalloc(r->arena, (n + 1) * sizeof(*pairs));
    if (pairs == NULL)
        return config_out_of_memory(r);
    *count = 0;
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        struct redirect_pair *pair = &pairs[(*count)++];
        pair->value = take_value(r);
        if (lua_type(L, -2) != LUA_TSTRING || pair->value.ptr == NULL)
            return options_fault(r, key, "must be a table of name = \"text\", or a list of texts");
        pair->name = arena_copy(r->arena, (struct str){lua_tostring(L, -2), lua_rawlen(L, -2)});
        if (pair->name.ptr == NULL)
            return config_out_of_memory(r);
    }
    *out = pairs;
    lua_pop(L, 1);
    return 0;
}

static int read_redirect(struct options_reader *r, void *item)
{
    struct redirect_rule *rule = item;
    static const char *const keys[] = {"from",  "to",         "status",  "force",
                                       "query", "conditions", "headers", NULL};
    unsigned status = 301;
    rule->to = (struct str){"", 0};
    int rc = options_check_keys(r, keys);
    if (rc == 0)
        rc = options_str(r, "from", &rule->from);
    if (rc == 0)
        rc = options_str(r, "to", &rule->to);
    if (rc == 0)
        rc = options_count(r, "status", 200, 599, &status);
    rule->status = (int)status;
    if (rc == 0)
        rc = options_bool(r, "force", &rule->force);
    if (rc == 0)
        rc = read_pairs(r, "query", &rule->query, &rule->query_count);
    if (rc == 0)
        rc = read_pairs(r, "conditions", &rule->conditions, &rule->condition_count);
    if (rc == 0)
        rc = read_pairs(r, "headers", &rule->headers, &rule->header_count);
    struct err err;
    if (rc == 0 && redirect_check(rule, &err) != 0)
        rc = options_fault(r, NULL, "%s", err.text);
    return rc;
}

static int read_header_rule(struct options_reader *r, void *item)
{
    struct header_rule *rule = item;
    static const char *const keys[] = {"for", "values", NULL};
    struct redirect_pair *pairs = NULL;
    int rc = options_check_keys(r, keys);
    if (rc == 0)
        rc = options_str(r, "for", &rule->path);
    if (rc == 0)
        rc = read_pairs(r, "values", &pairs, &rule->value_count);
    if (rc != 0)
        return rc;
    rule->values = arena_zalloc(r->arena, (rule->value_count + 1) * sizeof(*rule->values));
    if (rule->values == NULL)
        return config_out_of_memory(r);
    for (unsigned i = 0; pairs != NULL && i < rule->value_count; i++)
        rule->values[i] = (struct header){pairs[i].name, pairs[i].value};
    struct err err;
    return header_rule_check(rule, &err) == 0 ? 0 : options_fault(r, NULL, "%s", err.text);
}

/* Reads the list member `key`: items of `size` bytes, one by `read`. */
static int read_list(struct options_reader *r, const char *key, size_t size,
                     int (*read)(struct options_reader *r, void *item), void **out, unsigned *count)
{
    if (!options_get(r, key))
        return 0;
    int rc = config_must_be_table(r, key);
    if (rc == 0)
        rc = options_check_list(r, key, "{ { ... }, { ... } }");
    if (rc != 0)
        return rc;
    unsigned n = (unsigned)lua_rawlen(r->L, -1);
    char *items = arena_zalloc(r->arena, (n + 1) * size);
    if (items == NULL)
        return config_out_of_memory(r);
    for (unsigned i = 0; rc == 0 && i < n; i++) {
        size_t before = options_enter(r, key, 0);
        options_enter(r, NULL, i + 1);
        lua_rawgeti(r->L, -1, (lua_Integer)i + 1);
        rc = config_must_be_table(r, NULL);
        if (rc == 0)
            rc = read(r, items + i * size);
        lua_pop(r->L, 1);
        options_leave(r, before);
    }
    *out = items;
    *count = n;
    lua_pop(r->L, 1);
    return rc;
}

int config_read_redirects(struct options_reader *r, struct config *config)
{
    return read_list(r, "redirects", sizeof(*config->redirects), read_redirect,
                     (void **)&config->redirects, &config->redirect_count);
}

int config_read_headers(struct options_reader *r, struct config *config)
{
    return read_list(r, "headers", sizeof(*config->headers), read_header_rule,
                     (void **)&config->headers, &config->header_count);
}
