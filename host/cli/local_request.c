/* Requests made by hand: where they lead, and who sends them. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cli/dev_key.h"
#include "cli/local.h"
#include "http/target.h"
#include "json/dump.h"

static int out_of_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "out of memory");
}

/* ---- pieces ---- */

int local_set_target(struct local_call *call, struct str target, struct err *err)
{
    return request_set_target(&call->ex->req, &call->ex->arena, target, err);
}

int local_add_header(struct local_call *call, struct str name, struct str value, struct err *err)
{
    return request_add_header(&call->ex->req, &call->ex->arena, name, value, err);
}

int local_set_body(struct local_call *call, struct str body)
{
    struct request *req = &call->ex->req;
    struct arena *arena = &call->ex->arena;
    bool json = body.len > 0 && (body.ptr[0] == '{' || body.ptr[0] == '[');
    req->body = arena_copy(arena, body);
    struct str length = arena_printf(arena, "%zu", body.len);
    if (req->body.ptr == NULL || length.ptr == NULL ||
        headers_set(&req->headers, arena, STR("content-length"), length) != 0)
        return -ENOMEM;
    if (headers_get(&req->headers, STR("content-type")) != NULL)
        return 0;
    return headers_add(&req->headers, arena, STR("content-type"),
                       json ? STR("application/json") : STR("text/plain; charset=utf-8"));
}

/* ---- where to ---- */

static int set_method(struct local_call *call, const struct function *function, struct str name,
                      struct err *err)
{
    unsigned allowed = function->spec->methods;
    enum http_method method = METHOD_GET;
    if (name.len > 0) {
        if (request_method_parse(name, &method) != 0)
            return err_set(err, -EINVAL,
                           "'%.*s' is not one of GET HEAD POST PUT PATCH DELETE OPTIONS",
                           STR_ARG(name));
    } else if (call->ex->req.body.ptr != NULL && (allowed & METHOD_BIT(METHOD_POST)) != 0) {
        method = METHOD_POST;
    } else {
        while ((allowed & METHOD_BIT(method)) == 0)
            method++;
    }
    call->ex->req.method = method;
    call->ex->req.method_name = str_from(request_method_name(method));
    return 0;
}

/* "/api/shows/:id?" means "/api/shows", too; "/api/shows/:id" means nothing by itself. */
static bool plain_path(struct str pattern, struct str *out)
{
    size_t colon = str_find(pattern, ':'), star = str_find(pattern, '*');
    *out = pattern;
    if (colon < pattern.len && !str_ends_with(pattern, STR("?")))
        return false;
    size_t end = colon < star ? colon : star;
    if (end < pattern.len)
        out->len = end > 1 ? end - 1 : 1;
    return str_find(*out, ':') == out->len;
}

static int default_target(struct local *local, struct local_call *call,
                          const struct function *function, struct err *err)
{
    const struct function_spec *spec = function->spec;
    struct str path;
    if (spec->path_count == 0) {
        path = arena_printf(&call->ex->arena, "%.*s/%.*s",
                            STR_ARG(local->app.current->config->prefix), STR_ARG(spec->name));
        return path.ptr != NULL ? local_set_target(call, path, err) : out_of_memory(err);
    }
    for (unsigned i = 0; i < spec->path_count; i++) {
        if (plain_path(spec->paths[i], &path))
            return local_set_target(call, path, err);
    }
    return err_set(err, -EINVAL, "%.*s is at %.*s: say which path is meant", STR_ARG(spec->name),
                   STR_ARG(spec->paths[0]));
}

/* A tool that has no address of its own is called as a client would: the body is its arguments. */
static int aim_at_tool(const struct local *local, struct local_call *call,
                       const struct function_spec *spec, struct err *err)
{
    struct request *req = &call->ex->req;
    struct str arguments = req->body.len > 0 ? req->body : STR("{}");
    struct str body = arena_printf(&call->ex->arena,
                                   "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\","
                                   "\"params\":{\"name\":\"%.*s\",\"arguments\":%.*s}}",
                                   STR_ARG(spec->name), STR_ARG(arguments));
    if (body.ptr == NULL || local_set_body(call, body) != 0)
        return out_of_memory(err);
    req->method = METHOD_POST;
    req->method_name = STR("POST");
    return local_set_target(call, local->app.current->config->mcp.path, err);
}

/* Would the host bring this path to the function? The method is its own business: 405. */
static int check_target(struct local *local, struct local_call *call,
                        const struct function *function, struct err *err)
{
    const struct request *req = &call->ex->req;
    const struct function_spec *spec = function->spec;
    struct route_match match;
    struct str path;
    if (target_normalize_path(&call->ex->arena, req->path, &path) != 0)
        return err_set(err, -EINVAL, "the path '%.*s' cannot be resolved", STR_ARG(req->path));
    enum route_result result = router_match(local->app.current->router, req->method, path, &match);
    if (result == ROUTE_WRONG_METHOD || (result == ROUTE_FOUND && match.target == function))
        return 0;
    if (spec->path_count > 0)
        return err_set(err, -EINVAL, "the path '%.*s' does not lead to %.*s, which is at %.*s",
                       STR_ARG(req->path), STR_ARG(spec->name), STR_ARG(spec->paths[0]));
    return err_set(err, -EINVAL, "the path '%.*s' does not lead to %.*s, which is at %.*s/%.*s",
                   STR_ARG(req->path), STR_ARG(spec->name),
                   STR_ARG(local->app.current->config->prefix), STR_ARG(spec->name));
}

static int no_such_function(const struct deployment *d, struct str name, struct err *err)
{
    const char *near = NULL;
    unsigned best = 4;
    for (unsigned i = 0; i < d->function_count; i++) {
        unsigned distance = str_distance(d->functions[i]->spec->name, name);
        if (distance < best && !d->functions[i]->spec->is_dev) {
            best = distance;
            near = d->functions[i]->spec->name.ptr;
        }
    }
    if (near != NULL)
        return err_set(err, -ENOENT, "there is no function '%.*s'; did you mean %s?", STR_ARG(name),
                       near);
    return err_set(err, -ENOENT, "there is no function '%.*s'; `luafn routes` lists them",
                   STR_ARG(name));
}

int local_aim(struct local *local, struct local_call *call, struct str name, struct str method,
              struct str target, struct function **out, struct err *err)
{
    struct function *function = deployment_find(local->app.current, name);
    if (function == NULL)
        return no_such_function(local->app.current, name, err);
    if (function->failed)
        return err_set(err, -EINVAL, "%s", function->error.text);
    *out = function;
    if (function->spec->tool != NULL && function->spec->path_count == 0 && target.len == 0)
        return aim_at_tool(local, call, function->spec, err);
    int rc = set_method(call, function, method, err);
    if (rc == 0)
        rc = target.len > 0 ? local_set_target(call, target, err)
                            : default_target(local, call, function, err);
    return rc == 0 ? check_target(local, call, function, err) : rc;
}

/* ---- who ---- */

static bool set_default(json_t *claims, const char *name, json_t *value)
{
    if (json_object_get(claims, name) == NULL)
        return json_object_set_new(claims, name, value) == 0;
    json_decref(value);
    return true;
}

static json_t *text_of(struct str s)
{
    return json_stringn(s.ptr != NULL ? s.ptr : "", s.len);
}

static int add_defaults(struct local *local, const struct verifier *verifier, json_t *claims,
                        struct err *err)
{
    const struct env *env = local->app.current->config->env;
    struct str issuer = str_from(env_get(env, "JWT_ISSUER"));
    struct str audience = str_from(env_get(env, "JWT_AUDIENCE"));
    const char *audience_claim = "aud";
    json_int_t now = (json_int_t)floor(clock_now());
    if (verifier != NULL) {
        issuer = verifier->issuer;
        audience = verifier->audience_count > 0 ? verifier->audiences[0] : audience;
        if (verifier->audience_claim.len > 0)
            audience_claim = verifier->audience_claim.ptr; /* a copy, which ends in NUL */
    }
    return set_default(claims, "iss", text_of(issuer)) &&
                   set_default(claims, audience_claim, text_of(audience)) &&
                   set_default(claims, "iat", json_integer(now)) &&
                   set_default(claims, "exp", json_integer(now + 3600))
               ? 0
               : err_set(err, -EINVAL, "a claim is not UTF-8");
}

/* The algorithm that this key and the verifier have in common. */
static enum alg common_alg(const struct key *key, unsigned allowed)
{
    for (unsigned alg = 1; alg < ALG_COUNT; alg++) {
        if ((allowed & ALG_BIT(alg)) != 0 && key_fits(key, (enum alg)alg))
            return (enum alg)alg;
    }
    return ALG_NONE_KNOWN;
}

/* The issuer's place is taken by the dev key; one that has no RS256 gets a key of its kind. */
static int trust_other(struct local *local, unsigned allowed, struct err *err)
{
    for (unsigned alg = ALG_RS256; alg < ALG_COUNT; alg++) {
        struct key *key = NULL;
        if ((allowed & ALG_BIT(alg)) == 0 || (ALG_BIT(alg) & ALG_HMAC) != 0)
            continue;
        int rc = dev_key_get(local->config_file, (enum alg)alg, &key, err);
        struct keyset *set = rc == 0 ? keyset_of(key) : NULL;
        if (set == NULL) {
            key_unref(key);
            return rc != 0 ? rc : out_of_memory(err);
        }
        issuers_trust(local->app.issuers, set);
        keyset_unref(local->trusted);
        key_unref(local->key);
        local->trusted = set;
        local->key = key;
        return 0;
    }
    return err_set(err, -EINVAL, "the issuer accepts no algorithm that can be signed here");
}

/* Borrowed. A shared secret signs as well as it checks; a public key of one's own does not. */
static struct key *find_key(struct local *local, const struct verifier *verifier, enum alg *alg,
                            struct err *err)
{
    unsigned allowed = verifier != NULL ? verifier->algorithms : ALG_DEFAULT;
    if (verifier != NULL && issuers_by_source(local->app.issuers, verifier->keys) == NULL) {
        struct key *own = verifier->keys->keys != NULL ? keyset_at(verifier->keys->keys, 0) : NULL;
        *alg = own != NULL && key_can_sign(own) ? common_alg(own, allowed) : ALG_NONE_KNOWN;
        if (*alg == ALG_NONE_KNOWN)
            err_set(err, -EINVAL,
                    "the issuer %.*s has a `public_key` of its own, for which nobody here can sign",
                    STR_ARG(verifier->issuer));
        return *alg != ALG_NONE_KNOWN ? own : NULL;
    }
    *alg = common_alg(local->key, allowed);
    if (*alg == ALG_NONE_KNOWN && trust_other(local, allowed, err) != 0)
        return NULL;
    *alg = common_alg(local->key, allowed);
    return local->key;
}

int local_token(struct local *local, const struct function *function, json_t *claims,
                struct buf *out, struct err *err)
{
    const struct services *services = &local->app.current->services;
    const struct verifier *verifier = services->verifier_count > 0 ? services->verifiers : NULL;
    if (function != NULL && function->spec->policy.verifier_count > 0)
        verifier = function->spec->policy.verifiers;
    enum alg alg = ALG_RS256;
    struct key *key = NULL;
    int rc = claims != NULL ? add_defaults(local, verifier, claims, err) : out_of_memory(err);
    if (rc == 0 && (key = find_key(local, verifier, &alg, err)) == NULL)
        rc = -EINVAL;
    char *text = rc == 0 ? dump_json_text(claims, JSON_COMPACT) : NULL;
    if (rc == 0)
        rc = text != NULL ? key_sign(key, alg, NULL, str_from(text), out, err) : out_of_memory(err);
    free(text);
    json_decref(claims);
    return rc;
}

int local_sign(struct local_call *call, const struct function *function, struct err *err)
{
    const struct webhook *webhook = function->spec->policy.webhook;
    struct exchange *ex = call->ex;
    if (webhook == NULL)
        return err_set(err, -EINVAL,
                       "the function %.*s is no webhook: its `auth` asks for no signature",
                       STR_ARG(function->spec->name));
    char own[27];
    exchange_make_id(own);
    struct str name = webhook->names[0].id, fresh = arena_copy(&ex->arena, str_from(own));
    const struct str *given = name.len > 0 ? headers_get(&ex->req.headers, name) : NULL;
    if (fresh.ptr == NULL)
        return out_of_memory(err);
    int rc =
        webhook_sign(webhook, &ex->req, &ex->arena, clock_now(), given != NULL ? *given : fresh);
    if (rc == -ENOTSUP && webhook->kind == WEBHOOK_TWILIO)
        return err_set(
            err, rc, "twilio signs forms, and other bodies by ?bodySHA256=HASH in the path alone");
    if (rc == -ENOTSUP)
        return err_set(err, rc, "the first secret is a public key, which signs nothing");
    return rc == 0 ? 0 : out_of_memory(err);
}

int local_sign_in(struct local *local, struct local_call *call, const struct function *function,
                  json_t *claims, struct err *err)
{
    struct buf value = BUF_INIT;
    buf_add_str(&value, STR("Bearer "));
    int rc = local_token(local, function, claims, &value, err);
    if (rc == 0)
        rc = local_add_header(call, STR("authorization"), buf_str(&value), err);
    buf_free(&value);
    return rc;
}
