/* One loaded configuration: its functions, routes and issuers. */
#include "app/deployment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/kept.h"
#include "app/resource.h"
#include "base/log.h"
#include "config/config_login.h"
#include "config/config_outbound.h"
#include "issuer/issuer_link.h"

/* ---- what functions see of the environment ---- */

/* The host's own, towards others and for sessions: whatever a function's `env` lists. */
static bool is_secret(const struct config *config, const char *value)
{
    return config_is_outbound_secret(config, value) || config_is_login_secret(config, value);
}

static const char *get_env(void *arg, const char *name)
{
    const struct config *config = arg;
    const char *value = env_get(config->env, name);
    return value == NULL || is_secret(config, value) ? NULL : value;
}

struct env_walk {
    const struct config *config;
    void (*fn)(void *arg, const char *name, const char *value);
    void *arg;
};

static void on_variable(void *arg, const char *name, const char *value)
{
    const struct env_walk *walk = arg;
    if (!is_secret(walk->config, value))
        walk->fn(walk->arg, name, value);
}

static void each_env(void *arg, void (*fn)(void *, const char *, const char *), void *fn_arg)
{
    struct env_walk walk = {arg, fn, fn_arg};
    env_each(walk.config->env, false, on_variable, &walk);
}

static bool env_is_default(void *arg, const char *name)
{
    const struct config *config = arg;
    if (strcmp(name, "KV_URL") == 0)
        return false; /* a password of the host's, unless the function names it */
    return config->dev || env_is_from_file(config->env, name);
}

/* ---- verifiers ---- */

/* Links the specs and makes the array that verify_token wants, in the arena of `links` (NULL: out
 * of memory). `path` is that of the first one in functions.lua. */
static struct verifier *link_all(struct deployment *d, struct issuer_links *links, const char *path,
                                 struct verifier_spec *specs, unsigned count, struct err *err)
{
    struct verifier *list =
        links != NULL ? arena_zalloc(links->arena, (count + 1) * sizeof(*list)) : NULL;
    if (list == NULL) {
        err_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    for (unsigned i = 0; i < count; i++) {
        struct err reason;
        if (issuer_link(d->services.issuers, links, true, &specs[i], &reason) != 0) {
            config_fault(d->config, err, path, "%s", reason.text);
            return NULL;
        }
        list[i] = specs[i].verifier;
    }
    return list;
}

/* What a policy is of: a function, or (NULL) what is at a pattern; "" is the host. */
struct guarded {
    const struct function_spec *function;
    struct str pattern;
};

static struct str *audiences_of(const struct config *config, const struct guarded *guarded,
                                struct arena *arena, unsigned *count)
{
    return guarded->function != NULL
               ? resource_audiences(config, guarded->function, arena, count)
               : resource_audiences_at(config, guarded->pattern, arena, count);
}

/* Where `audience` is "resource": the host, and of it what is guarded. A list of its own, if `list`
 * is somebody else's. */
static int name_resource(struct deployment *d, struct arena *arena, const char *path,
                         const struct verifier_spec *specs, unsigned count,
                         const struct guarded *guarded, const struct verifier **list,
                         struct err *err)
{
    struct verifier *own = NULL;
    for (unsigned i = 0; i < count; i++) {
        if (specs[i].verifier.audience_count != 1 ||
            !str_eq(specs[i].verifier.audiences[0], STR("resource")))
            continue;
        if (d->config->resource.len == 0)
            return config_fault(
                d->config, err, path,
                "`audience` is \"resource\", so functions.lua has to say which that is, and not "
                "whoever asks: write auth = { resource = \"https://api.example\", ... }");
        if (own == NULL && (own = arena_alloc(arena, count * sizeof(*own))) != NULL)
            memcpy(own, *list, count * sizeof(*own));
        if (own != NULL)
            own[i].audiences = audiences_of(d->config, guarded, arena, &own[i].audience_count);
        if (own == NULL || own[i].audiences == NULL)
            return err_set(err, -ENOMEM, "out of memory");
    }
    *list = own != NULL ? own : *list;
    return 0;
}

/* The deployment's verifiers, unless the policy has its own. `path` is its place in functions.lua.
 */
static int link_policy(struct deployment *d, struct issuer_links *links, struct policy *policy,
                       const char *path, const struct guarded *guarded, struct err *err)
{
    policy->verifiers = d->services.verifiers;
    policy->verifier_count = d->services.verifier_count;
    if (policy->namespace.len == 0)
        policy->namespace = d->config->claim_namespace;
    if (policy->role_path.len == 0)
        policy->role_path = d->config->claim_roles;
    if (policy->login && (policy->own_count > 0 || !d->config->login.on))
        return config_fault(
            d->config, err, path, "lets browsers sign in, but %s",
            policy->own_count > 0
                ? "has an issuer of its own, and they do so at that of functions.lua's `auth`"
                : "functions.lua does not say how: write auth = { issuer =, audience =, login = { "
                  "client_id =, client_secret =, secret = env.SESSION_SECRET } }");
    if (policy->own_count > 0) {
        policy->verifiers = link_all(d, links, path, policy->own, policy->own_count, err);
        policy->verifier_count = policy->own_count;
    }
    if (policy->verifiers == NULL ||
        name_resource(d, links->arena, path,
                      policy->own_count > 0 ? policy->own : d->config->issuers,
                      policy->verifier_count, guarded, &policy->verifiers, err) != 0)
        return -EINVAL;
    if (policy->kind == POLICY_TOKEN && policy->verifier_count == 0)
        return config_fault(
            d->config, err, path,
            "asks for a token, but functions.lua has no issuer; write auth = { issuer = \"https://...\", "
            "audience = \"...\" }");
    return 0;
}

static int link_function(struct deployment *d, struct issuer_links *links,
                         struct function_spec *spec, struct err *err)
{
    char path[256];
    const struct guarded guarded = {.function = spec};
    snprintf(path, sizeof(path), "functions.%.*s.auth", STR_ARG(spec->name));
    return link_policy(d, links, &spec->policy, path, &guarded, err);
}

static int link_protect(struct deployment *d, struct err *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < d->config->protect_count; i++) {
        char path[64];
        struct config_protect *rule = &d->config->protect[i];
        const struct guarded guarded = {.pattern = rule->path};
        snprintf(path, sizeof(path), "protect[%u].auth", i + 1);
        rc = link_policy(d, d->links, &rule->policy, path, &guarded, err);
    }
    return rc;
}

/* ---- identities towards others ---- */

static int link_outbound(struct deployment *d, struct err *err)
{
    struct config *config = d->config;
    for (unsigned i = 0; i < config->outbound_count; i++) {
        struct outbound_spec *spec = &config->outbound[i];
        char path[256];
        struct err reason;
        snprintf(path, sizeof(path), "outbound.%.*s.token_url", STR_ARG(spec->name));
        if (issuer_link_outbound(d->services.issuers, d->links, spec, &reason) != 0)
            return config_fault(config, err, path, "%s", reason.text);
    }
    d->services.outbound = config->outbound;
    d->services.outbound_count = config->outbound_count;
    return 0;
}

/* ---- routes ---- */

/* Those paths of `auth` come before functions: one of the same path would never be called. */
static int check_taken(const struct config *config, struct str path, struct err *err)
{
    if (config_is_login_path(config, path))
        return err_set(err, -EINVAL, "at '%.*s' browsers sign in or out", STR_ARG(path));
    for (unsigned i = 0; i < config->issuer_count; i++) {
        const struct config_revocation *own = &config->revocations[i];
        if (str_eq(own->logout_path, path) || str_eq(own->events_path, path))
            return err_set(err, -EINVAL, "'%.*s' is that of auth.revocation", STR_ARG(path));
    }
    return 0;
}

int deployment_add_routes(struct router *router, const struct config *config,
                          struct function *function, struct err *err)
{
    const struct function_spec *spec = function->spec;
    if (spec->cron != NULL && !config->dev)
        return 0; /* nobody calls it */
    for (unsigned i = 0; i < spec->path_count; i++) {
        int rc = check_taken(config, spec->paths[i], err);
        if (rc == 0)
            rc = router_add(router, spec->paths[i], spec->methods, function, err);
        if (rc != 0)
            return rc;
    }
    if (spec->path_count > 0 || spec->tool != NULL)
        return 0;
    char pattern[512];
    snprintf(pattern, sizeof(pattern), "%.*s/%.*s", STR_ARG(config->prefix), STR_ARG(spec->name));
    int rc = router_add(router, str_from(pattern), spec->methods, function, err);
    if (rc != 0)
        return rc;
    snprintf(pattern, sizeof(pattern), "%.*s/%.*s/*", STR_ARG(config->prefix), STR_ARG(spec->name));
    return router_add(router, str_from(pattern), spec->methods, function, err);
}

static int exclude(struct router *router, const struct function *function, struct err *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < function->spec->excluded_count; i++)
        rc = router_exclude(router, function->spec->excluded[i], function, err);
    return rc;
}

/* Tools have their own address, which is nobody else's. */
static int check_tools(struct deployment *d, struct err *err)
{
    bool serves = d->config->mcp.given;
    for (unsigned i = 0; i < d->function_count; i++)
        serves = serves || (d->functions[i]->spec->tool != NULL && !d->functions[i]->spec->is_dev);
    for (unsigned i = 0; serves && i < d->function_count; i++) {
        const struct function_spec *spec = d->functions[i]->spec;
        char path[256];
        snprintf(path, sizeof(path), "functions.%.*s.path", STR_ARG(spec->name));
        for (unsigned n = 0; n < spec->path_count; n++) {
            if (str_eq(spec->paths[n], d->config->mcp.path))
                return config_fault(d->config, err, path,
                                    "'%.*s' is where tools are called; write another path here, "
                                    "or mcp = { path = \"/tools\" }",
                                    STR_ARG(spec->paths[n]));
        }
    }
    d->serves_tools = serves;
    return 0;
}

int deployment_build_routes(struct deployment *d, struct err *err)
{
    if (check_tools(d, err) != 0)
        return -EINVAL;
    struct router *router = router_new();
    if (router == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    for (unsigned i = 0; i < d->function_count; i++) {
        struct err reason;
        int rc = deployment_add_routes(router, d->config, d->functions[i], &reason);
        if (rc == 0)
            rc = exclude(router, d->functions[i], &reason);
        if (rc != 0) {
            char path[256];
            snprintf(path, sizeof(path), "functions.%.*s.path",
                     STR_ARG(d->functions[i]->spec->name));
            const struct function *other = rc == -EEXIST ? router_taken_by(router) : NULL;
            if (other == d->functions[i])
                config_fault(d->config, err, path, "%s of the same function", reason.text);
            else
                config_fault(d->config, err, path, "%s%s%s", reason.text,
                             other != NULL ? " of function " : "",
                             other != NULL ? other->spec->name.ptr : "");
            router_free(router);
            return rc;
        }
    }
    router_free(d->router);
    d->router = router;
    return 0;
}

/* ---- loading ---- */

/* A new instance may have said something else about itself, and its policy ends with it. */
static int on_prepare(struct function *function, struct instance *instance, struct err *err)
{
    if (instance->links == NULL)
        instance->links = issuer_links_new(&instance->arena);
    return link_function(function->owner, instance->links, &instance->spec, err);
}

static void on_function_loaded(struct function *function)
{
    struct deployment *d = function->owner;
    if (d->changed != NULL)
        d->changed(d->loaded_arg);
    struct err err;
    if (!function->failed && d->loading == 0 && deployment_build_routes(d, &err) != 0) {
        function->failed = true;
        function->error = err;
        log_message(LOG_ERROR, "%s; the routes before stay", err.text);
    }
    if (!function->first_load_done) {
        function->first_load_done = true;
        if (--d->loading == 0)
            d->loaded(d, d->loaded_arg);
    }
}

static int make_functions(struct deployment *d, const struct binding *bindings,
                          const struct deployment *before, const struct kept *kept, struct err *err)
{
    struct config *config = d->config;
    d->functions = calloc(config->function_count + 1, sizeof(struct function *));
    for (unsigned i = 0; d->functions != NULL && i < config->function_count; i++) {
        struct function_spec *spec = &config->functions[i];
        if (link_function(d, d->links, spec, err) != 0)
            return -EINVAL;
        struct function *function =
            function_new(spec, &d->services, bindings,
                         before != NULL ? deployment_find(before, spec->name) : NULL);
        if (function == NULL)
            break;
        const struct kept_function *known = kept_find(kept, spec->name);
        if (known != NULL)
            function_begin_with(function, known->origin, known->content, known->generation);
        function->on_loaded = on_function_loaded;
        function->prepare = on_prepare;
        function->owner = d;
        d->functions[d->function_count++] = function;
    }
    return d->function_count == config->function_count && d->functions != NULL
               ? 0
               : err_set(err, -ENOMEM, "out of memory");
}

static bool has_function(void *arg, struct str name)
{
    return deployment_find(arg, name) != NULL;
}

struct deployment *deployment_new(struct config *config, const struct services *services,
                                  const struct binding *bindings, const struct deployment *before,
                                  const struct kept *kept,
                                  void (*loaded)(struct deployment *, void *), void *arg,
                                  struct err *err)
{
    struct deployment *d = calloc(1, sizeof(*d));
    if (d == NULL) {
        config_free(config);
        err_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    d->config = config;
    d->loaded = loaded;
    d->loaded_arg = arg;
    d->services = *services;
    d->services.number_arg = d;
    d->services.has_function = has_function;
    d->services.has_function_arg = d;
    d->services.getenv = get_env;
    d->services.each_env = each_env;
    d->services.env_is_default = env_is_default;
    d->services.env_arg = config;
    d->services.verifier_count = config->issuer_count;
    const struct guarded host = {.pattern = STR("")};
    d->services.claim_namespace = config->claim_namespace;
    d->services.role_path = config->claim_roles;
    d->links = issuer_links_new(&config->arena);
    d->services.verifiers =
        link_all(d, d->links, "auth.issuer", config->issuers, config->issuer_count, err);
    d->site = (struct static_site){.folder = config->publish.len > 0 ? config->publish.ptr : NULL};
    if (d->services.verifiers == NULL || link_outbound(d, err) != 0 ||
        name_resource(d, d->links->arena, "auth.audience", config->issuers, config->issuer_count,
                      &host, &d->services.verifiers, err) != 0 ||
        link_protect(d, err) != 0 || make_functions(d, bindings, before, kept, err) != 0 ||
        deployment_build_routes(d, err) != 0) {
        deployment_free(d);
        return NULL;
    }
    d->loading = d->function_count + 1; /* one of our own: `loaded` is not called from within */
    for (unsigned i = 0; i < d->function_count; i++)
        function_load(d->functions[i]);
    d->loading--;
    return d;
}

/* ---- questions ---- */

const struct function *deployment_first_failed(const struct deployment *d)
{
    for (unsigned i = 0; i < d->function_count; i++) {
        if (d->functions[i]->failed)
            return d->functions[i];
    }
    return NULL;
}

struct function *deployment_find(const struct deployment *d, struct str name)
{
    for (unsigned i = 0; i < d->function_count; i++) {
        if (str_eq(d->functions[i]->spec->name, name))
            return d->functions[i];
    }
    return NULL;
}

const struct function *deployment_first_lost(const struct deployment *d,
                                             const struct deployment *before)
{
    for (unsigned i = 0; before != NULL && i < d->function_count; i++) {
        const struct function *old = deployment_find(before, d->functions[i]->spec->name);
        if (d->functions[i]->current == NULL && old != NULL && old->current != NULL)
            return d->functions[i];
    }
    return NULL;
}

bool deployment_is_idle(const struct deployment *d)
{
    if (d->awaited > 0)
        return false;
    for (unsigned i = 0; i < d->function_count; i++) {
        if (!function_is_idle(d->functions[i]))
            return false;
    }
    return true;
}

void deployment_free(struct deployment *d)
{
    if (d == NULL)
        return;
    for (unsigned i = 0; i < d->function_count; i++)
        function_free(d->functions[i]);
    free(d->functions);
    router_free(d->router);
    config_free(d->config);
    free(d);
}
