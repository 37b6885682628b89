/* A deployment as share/routes.lua and share/openapi.lua see it. */
#include "app/routes.h"

#include <time.h>

#include "auth/policy.h"
#include "base/clock.h"
#include "lua/own_script.h"
#include "lua/script.h"
#include "options/cron.h"
#include "schema/schema.h"

struct writing {
    const struct deployment *deployment;
    const char *form; /* what the script takes last */
    struct buf *out;
    struct arena arena; /* of what Lua's errors must not leave behind */
};

/* A member of the table at the top of the stack. `text` without ptr: there was no memory for it. */
static void set_text(lua_State *L, const char *name, struct str text)
{
    if (text.ptr == NULL)
        luaL_error(L, "out of memory");
    lua_pushlstring(L, text.ptr, text.len);
    lua_setfield(L, -2, name);
}

static void set_flag(lua_State *L, const char *name, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

static void set_list(lua_State *L, const char *name, const struct str *texts, unsigned count)
{
    lua_createtable(L, (int)count, 0);
    for (unsigned i = 0; i < count; i++) {
        lua_pushlstring(L, texts[i].ptr, texts[i].len);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, name);
}

static void set_policy(lua_State *L, struct arena *arena, const struct policy *policy)
{
    static const char *const kinds[] = {[POLICY_UNSET] = "unset",
                                        [POLICY_PUBLIC] = "public",
                                        [POLICY_TOKEN] = "token",
                                        [POLICY_WEBHOOK] = "webhook"};
    enum dpop_mode mode = policy_dpop(policy);
    set_text(L, "policy", str_from(kinds[policy->kind]));
    set_text(L, "who", policy_text(policy, arena));
    set_list(L, "scopes", policy->scopes, policy->scope_count);
    set_flag(L, "any", policy->scope_any);
    set_flag(L, "claims", policy->claims != NULL);
    if (policy->role.len > 0)
        set_text(L, "role", policy->role);
    if (mode >= DPOP_OPTIONAL)
        set_text(L, "proof", mode == DPOP_REQUIRED ? STR("required") : STR("optional"));
}

/* The schema as it stands among the document's components: "NAME_input". */
static void set_schema(lua_State *L, struct writing *w, const struct function_spec *spec,
                       const char *name, const struct schema *schema)
{
    struct str place =
        arena_printf(&w->arena, "#/components/schemas/%.*s_%s", STR_ARG(spec->name), name);
    struct buf text = BUF_INIT;
    if (schema == NULL)
        return;
    schema_write_within(&text, schema, place.ptr != NULL ? place : STR("#"));
    struct str copy = {NULL, 0};
    if (!buf_failed(&text) && place.ptr != NULL)
        copy = arena_copy(&w->arena, buf_str(&text));
    buf_free(&text);
    set_text(L, name, copy);
}

/* Names of a query's fields, in order, and which have to be there. */
static void set_fields(lua_State *L, const struct schema *schema)
{
    const json_t *source = schema_source(schema);
    const json_t *required = json_object_get(source, "required");
    const char *name;
    json_t *ignored;
    lua_Integer count = 0;
    lua_newtable(L);
    json_object_foreach(json_object_get(source, "properties"), name, ignored)
    {
        lua_createtable(L, 0, 2);
        set_text(L, "name", str_from(name));
        for (size_t i = 0; i < json_array_size(required); i++) {
            if (strcmp(json_string_value(json_array_get(required, i)), name) == 0)
                set_flag(L, "required", true);
        }
        lua_rawseti(L, -2, ++count);
    }
    lua_setfield(L, -2, "fields");
}

static void set_number(lua_State *L, const char *name, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

static void set_count(lua_State *L, const char *name, size_t value)
{
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

static void set_limits(lua_State *L, const struct function_spec *spec)
{
    set_number(L, "timeout", spec->timeout);
    set_number(L, "cpu", spec->cpu);
    set_count(L, "memory", spec->memory);
    set_count(L, "body", spec->body);
    set_count(L, "concurrency", spec->concurrency);
    set_count(L, "queue", spec->queue);
    set_flag(L, "limited", spec->rate_limit.limit > 0);
}

/* When it runs by itself: "2026-01-02T03:04:05Z", or nothing. */
static void set_schedule(lua_State *L, const struct function_spec *spec)
{
    int64_t at = cron_next(spec->cron, (int64_t)clock_now());
    time_t seconds = (time_t)at;
    struct tm tm;
    char text[32];
    gmtime_r(&seconds, &tm);
    size_t len = at < 0 ? 0 : strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    set_text(L, "schedule", spec->schedule);
    set_text(L, "next_run", (struct str){text, len});
}

static void push_function(lua_State *L, struct writing *w, const struct function *function)
{
    const struct function_spec *spec = function->spec;
    struct str standard = arena_printf(&w->arena, "%.*s/%.*s",
                                       STR_ARG(w->deployment->config->prefix), STR_ARG(spec->name));
    bool named = spec->path_count > 0 || spec->tool != NULL;
    lua_createtable(L, 0, 28);
    set_text(L, "name", spec->name);
    set_text(L, "script", str_from(script_display_name(spec->script.ptr, spec->root)));
    set_list(L, "paths", named ? spec->paths : &standard,
             named ? spec->path_count : standard.ptr != NULL);
    set_count(L, "methods", spec->methods);
    if (spec->tool != NULL && !spec->is_dev)
        set_text(L, "tool", w->deployment->config->mcp.path);
    set_count(L, "generation", function->generation);
    set_flag(L, "background", spec->background);
    set_flag(L, "is_dev", spec->is_dev);
    set_limits(L, spec);
    set_policy(L, &w->arena, &spec->policy);
    if (spec->cron != NULL)
        set_schedule(L, spec);
    set_schema(L, w, spec, "input", spec->input);
    set_schema(L, w, spec, "query", spec->query);
    if (spec->query != NULL)
        set_fields(L, spec->query);
    if (function->failed)
        set_text(L, "error", str_from(function->error.text));
    set_flag(L, "serving", function->current != NULL);
}

static bool asks_provider(const struct config *config)
{
    for (unsigned i = 0; i < config->issuer_count; i++) {
        if (config->issuers[i].introspection.url.len > 0)
            return true;
    }
    return false;
}

static void add_receiver(lua_State *L, struct writing *w, const char *what, struct str path,
                         struct str issuer)
{
    if (path.len == 0)
        return;
    lua_createtable(L, 0, 2);
    set_text(L, "path", path);
    set_text(L, "who", arena_printf(&w->arena, "%s of %.*s", what, STR_ARG(issuer)));
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* The paths of auth.revocation, and those of `protect`. */
static void push_receivers(lua_State *L, struct writing *w)
{
    const struct config *config = w->deployment->config;
    lua_newtable(L);
    for (unsigned i = 0; i < config->protect_count; i++) {
        const struct config_protect *rule = &config->protect[i];
        lua_createtable(L, 0, 3);
        set_text(L, "path", rule->path);
        set_text(L, "who", policy_text(&rule->policy, &w->arena));
        set_flag(L, "site", true);
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    }
    for (unsigned i = 0; i < config->issuer_count; i++) {
        const struct config_revocation *own = &config->revocations[i];
        struct str issuer = config->issuers[i].verifier.issuer;
        add_receiver(L, w, "logout tokens", own->logout_path, issuer);
        add_receiver(L, w, "events", own->events_path, issuer);
    }
}

static void push_deployment(lua_State *L, struct writing *w)
{
    const struct deployment *d = w->deployment;
    const char *url = env_get(d->config->env, "URL");
    lua_createtable(L, 0, 5);
    if (url != NULL)
        set_text(L, "url", str_from(url));
    if (d->config->issuer_count > 0)
        set_text(L, "issuer", d->config->issuers[0].verifier.issuer);
    set_flag(L, "asks_provider", asks_provider(d->config));
    lua_createtable(L, (int)d->function_count, 0);
    for (unsigned i = 0; i < d->function_count; i++) {
        push_function(L, w, d->functions[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "functions");
    push_receivers(L, w);
    lua_setfield(L, -2, "receivers");
}

/* (path, method): the number of the function that answers there, or nil. */
static int l_match(lua_State *L)
{
    const struct deployment *d = lua_touserdata(L, lua_upvalueindex(1));
    struct route_match match;
    struct str path;
    path.ptr = luaL_checklstring(L, 1, &path.len);
    enum http_method method = (enum http_method)luaL_checkinteger(L, 2);
    if (router_match(d->router, method, path, &match) != ROUTE_FOUND)
        return 0;
    for (unsigned i = 0; i < d->function_count; i++) {
        if (d->functions[i] == match.target)
            lua_pushinteger(L, (lua_Integer)i + 1);
    }
    return lua_gettop(L) - 2;
}

static int l_quote(lua_State *L)
{
    static struct buf json;
    struct str text;
    text.ptr = luaL_checklstring(L, 1, &text.len);
    buf_clear(&json);
    buf_add_json(&json, text);
    if (buf_failed(&json))
        return luaL_error(L, "out of memory");
    lua_pushlstring(L, json.data, json.len);
    return 1;
}

/* stack: the script */
static void write_document(lua_State *L, void *arg)
{
    struct writing *w = arg;
    size_t len;
    push_deployment(L, w);
    lua_pushcfunction(L, l_quote);
    lua_pushstring(L, w->form);
    lua_pushlightuserdata(L, (void *)(uintptr_t)w->deployment);
    lua_pushcclosure(L, l_match, 1);
    lua_call(L, 4, 1);
    const char *document = lua_tolstring(L, -1, &len);
    buf_add(w->out, document, len);
}

static void write_with(const char *script, const char *form, const struct deployment *deployment,
                       struct buf *out)
{
    struct writing w = {.deployment = deployment, .form = form, .out = out};
    arena_init(&w.arena);
    if (own_script_run(script, write_document, &w, NULL) != 0)
        out->failed = true;
    arena_free(&w.arena);
}

void routes_write_json(const struct deployment *deployment, struct buf *out)
{
    write_with("share/routes.lua", "json", deployment, out);
}

void routes_write_text(const struct deployment *deployment, struct buf *out)
{
    write_with("share/routes.lua", "text", deployment, out);
}

void routes_write_openapi(const struct deployment *deployment, struct buf *out)
{
    write_with("share/openapi.lua", NULL, deployment, out);
}
