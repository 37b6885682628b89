/* Reading `auth`: policies and verifiers. Texts of a verifier's faults are those of the original
 * (serverless-jwt). */
#include <assert.h>
#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "auth/nonce.h"
#include "base/limits.h"
#include "lua/lazy.h"
#include "options/options.h"
#include "options/options_auth.h"
#include "options/options_webhook.h"

enum { OWN_KEYS_MAX = 8 }; /* of those who add to a verifier's */

static const char *const verifier_keys[] = {
    "issuer",     "audience",      "algorithms",      "jwks_uri", "secret",
    "public_key", "require_exp",   "clock_tolerance", "backend",  "profile",
    "dpop",       "introspection", "audience_claim",  "mtls",     NULL};

int options_check_verifier_keys(struct options_reader *r, const char *const *own)
{
    const char *known[sizeof(verifier_keys) / sizeof(verifier_keys[0]) + OWN_KEYS_MAX];
    unsigned count = 0;
    for (; *own != NULL; own++) {
        assert(count < OWN_KEYS_MAX);
        known[count++] = *own;
    }
    memcpy(known + count, verifier_keys, sizeof(verifier_keys)); /* with the NULL at its end */
    return options_check_keys(r, known);
}

/* What the original's typeof would say of this value. */
static const char *type_text(lua_State *L, int index)
{
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        return "undefined";
    case LUA_TTABLE:
        return "object";
    case LUA_TLIGHTUSERDATA: /* json.null */
        return "object";
    default:
        return luaL_typename(L, index);
    }
}

static bool is_http_url(struct str s)
{
    return str_starts_with(s, STR("http://")) || str_starts_with(s, STR("https://"));
}

static int read_issuer(struct options_reader *r, struct str *out)
{
    lua_pushstring(r->L, "issuer");
    if (lua_rawget(r->L, -2) != LUA_TSTRING) {
        int rc = options_fault(r, "issuer", "Expected 'issuer' to be string, got '%s'",
                               type_text(r->L, -1));
        lua_pop(r->L, 1);
        return rc;
    }
    lua_pop(r->L, 1);
    int rc = options_str(r, "issuer", out);
    if (rc == 0 && out->len == 0)
        rc = options_fault(r, "issuer", "Expected 'issuer' to be a valid string, got ''");
    if (rc == 0 && !is_http_url(*out))
        rc = options_fault(r, "issuer", "Expected 'issuer' to be a valid http(s) uri, got '%.*s'",
                           STR_ARG(*out));
    return rc;
}

/* A text, or, beyond the original, a non-empty list of texts. */
static int read_audience(struct options_reader *r, struct verifier *verifier)
{
    lua_State *L = r->L;
    lua_pushstring(L, "audience");
    int type = lua_rawget(L, -2);
    lazy_make_plain(L, -1);
    bool list = type == LUA_TTABLE && lua_rawlen(L, -1) > 0;
    for (lua_Integer i = 1; list && i <= (lua_Integer)lua_rawlen(L, -1); i++) {
        list = lua_rawgeti(L, -1, i) == LUA_TSTRING && lua_rawlen(L, -1) > 0;
        lua_pop(L, 1);
    }
    const char *shown = type_text(L, -1);
    lua_pop(L, 1);
    if (type != LUA_TSTRING && !list)
        return options_fault(r, "audience", "Expected 'audience' to be string, got '%s'", shown);
    int rc = options_str_list(r, "audience", &verifier->audiences, &verifier->audience_count);
    if (rc == 0 && verifier->audiences[0].len == 0)
        rc = options_fault(r, "audience", "Expected 'audience' to be a valid string, got ''");
    return rc;
}

/* Can any token have something there? Below what RFC 7519 makes a text, a number or a list there is
 * nothing, and no member of a path is nameless. A URL is no path, though it has dots. */
static int check_claim_path(struct options_reader *r, const char *key, struct str path)
{
    static const char *const flat[] = {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope"};
    struct str rest = path, part, first = {path.ptr, str_find(path, '.')};
    if (first.len == path.len || str_find_text(path, STR("://")) < path.len)
        return 0;
    for (size_t i = 0; i < sizeof(flat) / sizeof(flat[0]); i++)
        if (str_eq(first, str_from(flat[i])))
            return options_fault(r, key, "no token has '%.*s': there is nothing below `%s`",
                                 STR_ARG(path), flat[i]);
    while (str_split_next(&rest, '.', &part))
        if (part.len == 0)
            return options_fault(r, key,
                                 "no token has '%.*s': write names with one dot between, as "
                                 "\"realm_access.roles\"",
                                 STR_ARG(path));
    return 0;
}

int options_read_claim_path(struct options_reader *r, const char *key, struct str *out)
{
    int rc = options_str(r, key, out);
    if (rc != 0 || out->ptr == NULL)
        return rc;
    return out->len > 0 ? check_claim_path(r, key, *out)
                        : options_fault(r, key, "must not be empty");
}

static int read_algorithms(struct options_reader *r, struct verifier_spec *out)
{
    struct str *names = NULL;
    unsigned count = 0;
    int rc = options_str_list(r, "algorithms", &names, &count);
    if (rc != 0)
        return rc;
    unsigned bits = 0;
    for (unsigned i = 0; i < count; i++) {
        enum alg alg = alg_parse(names[i]);
        if (alg == ALG_NONE_KNOWN)
            return options_fault(r, "algorithms",
                                 "'%.*s' is not one of RS256 RS384 RS512 PS256 PS384 PS512 "
                                 "ES256 ES384 ES512 EdDSA HS256 HS384 HS512",
                                 STR_ARG(names[i]));
        bits |= ALG_BIT(alg);
    }
    bool has_secret = out->secret.ptr != NULL;
    if (names == NULL)
        bits = has_secret ? ALG_BIT(ALG_HS256) : ALG_DEFAULT;
    if (bits == 0)
        return options_fault(r, "algorithms", "must name at least one algorithm");
    if (((bits & ALG_HMAC) != 0 && !has_secret) || ((bits & ~ALG_HMAC) != 0 && has_secret))
        return options_fault(r, "algorithms",
                             "HS256, HS384 and HS512 go with `secret`, the others with keys");
    out->verifier.algorithms = bits;
    return 0;
}

/* RFC 7518 section 3.2: a secret is no shorter than the hash. */
static int check_secret(struct options_reader *r, const struct verifier_spec *spec)
{
    for (enum alg alg = ALG_HS256; spec->secret.ptr != NULL && alg <= ALG_HS512; alg++) {
        size_t least = alg_hash_size(alg);
        if ((spec->verifier.algorithms & ALG_BIT(alg)) != 0 && spec->secret.len < least)
            return options_fault(r, "secret",
                                 "has %zu bytes; %s needs at least %zu "
                                 "(RFC 7518 section 3.2: no shorter than the hash)",
                                 spec->secret.len, alg_name(alg), least);
    }
    return 0;
}

static int read_choices(struct options_reader *r, struct verifier *verifier)
{
    struct str backend = STR("openssl"), profile = STR("any");
    int rc = options_str(r, "backend", &backend);
    if (rc == 0)
        rc = options_str(r, "profile", &profile);
    if (rc != 0)
        return rc;
    if (!str_eq(backend, STR("openssl")) && !str_eq(backend, STR("libjwt")))
        return options_fault(r, "backend", "must be \"openssl\" or \"libjwt\"");
    if (!str_eq(profile, STR("any")) && !str_eq(profile, STR("at+jwt")))
        return options_fault(r, "profile", "must be \"any\" or \"at+jwt\"");
    verifier->backend = str_eq(backend, STR("libjwt")) ? KEY_BACKEND_LIBJWT : KEY_BACKEND_OPENSSL;
    verifier->profile = str_eq(profile, STR("at+jwt")) ? PROFILE_AT_JWT : PROFILE_ANY;
    return 0;
}

/* introspection = { url =, client_id =, client_secret =, cache = } */
static int read_introspection(struct options_reader *r, struct introspection_spec *out)
{
    static const char *const keys[] = {"url", "client_id", "client_secret", "cache", NULL};
    if (!options_get(r, "introspection"))
        return 0;
    if (!lua_istable(r->L, -1)) {
        lua_pop(r->L, 1);
        return options_fault(r, "introspection",
                             "must be a table: { url =, client_id =, client_secret = }");
    }
    size_t before = options_enter(r, "introspection", 0);
    options_check_keys(r, keys);
    options_str(r, "url", &out->url);
    if (r->rc == 0 && !is_http_url(out->url))
        options_fault(r, "url", "must be an http(s) URL");
    options_str(r, "client_id", &out->client_id);
    options_str(r, "client_secret", &out->client_secret);
    if (r->rc == 0 && (out->client_id.len == 0 || out->client_secret.len == 0))
        options_fault(r, out->client_id.len == 0 ? "client_id" : "client_secret",
                      "is missing: the endpoint must know who asks");
    out->cache = 60;
    options_seconds(r, "cache", 1, 3600, &out->cache);
    options_leave(r, before);
    lua_pop(r->L, 1);
    return r->rc;
}

/* nonce = true | false | SECRET */
static int read_nonce(struct options_reader *r, struct dpop *out)
{
    bool wanted = false;
    if (!options_get(r, "nonce"))
        return 0;
    bool named = lua_type(r->L, -1) == LUA_TSTRING;
    lua_pop(r->L, 1);
    int rc =
        named ? options_str(r, "nonce", &out->nonce_secret) : options_bool(r, "nonce", &wanted);
    if (rc == 0 && named && out->nonce_secret.len < NONCE_SECRET_MIN)
        rc = options_fault(r, "nonce",
                           "has %zu bytes; a secret for several machines has %d at least, and for "
                           "one machine `true` will do",
                           out->nonce_secret.len, NONCE_SECRET_MIN);
    out->nonce = named || wanted ? DPOP_NONCE_ON : DPOP_NONCE_OFF;
    return rc;
}

/* dpop = { optional =, origin =, nonce = } at the top of the stack; pops it. */
static int read_dpop_table(struct options_reader *r, struct dpop *out)
{
    static const char *const keys[] = {"optional", "origin", "nonce", NULL};
    bool optional = false;
    size_t before = options_enter(r, "dpop", 0);
    options_check_keys(r, keys);
    options_bool(r, "optional", &optional);
    options_str(r, "origin", &out->origin);
    read_nonce(r, out);
    if (r->rc == 0 && out->origin.ptr != NULL && !is_http_url(out->origin))
        options_fault(r, "origin", "must be as \"https://api.example\"");
    options_leave(r, before);
    lua_pop(r->L, 1);
    out->mode = optional ? DPOP_OPTIONAL : DPOP_REQUIRED;
    return r->rc;
}

/* dpop = true | false | "optional" | { ... } */
static int read_dpop(struct options_reader *r, struct dpop *out)
{
    if (!options_get(r, "dpop"))
        return 0;
    if (lua_istable(r->L, -1))
        return read_dpop_table(r, out);
    int type = lua_type(r->L, -1);
    bool yes = lua_toboolean(r->L, -1);
    bool optional = type == LUA_TSTRING && strcmp(lua_tostring(r->L, -1), "optional") == 0;
    lua_pop(r->L, 1);
    if (type != LUA_TBOOLEAN && !optional)
        return options_fault(r, "dpop", "must be true, false, \"optional\", or a table");
    out->mode = optional ? DPOP_OPTIONAL : yes ? DPOP_REQUIRED : DPOP_OFF;
    return 0;
}

/* mtls = true | false */
static int read_mtls(struct options_reader *r, enum mtls_mode *out)
{
    bool required = false;
    if (!options_get(r, "mtls"))
        return 0;
    lua_pop(r->L, 1);
    int rc = options_bool(r, "mtls", &required);
    *out = required ? MTLS_REQUIRED : MTLS_OFF;
    return rc;
}

/* Where an issuer's OpenID configuration is follows from its name (OpenID Connect Discovery 1.0
 * section 4), so that must be the issuer's alone. */
static int check_discovery(struct options_reader *r, const struct verifier_spec *spec)
{
    struct str issuer = spec->verifier.issuer;
    size_t known = str_find_text(issuer, STR("/.well-known/"));
    size_t query = str_find(issuer, '?'), fragment = str_find(issuer, '#');
    size_t end = query < fragment ? query : fragment;
    if (spec->jwks_uri.ptr != NULL || spec->secret.ptr != NULL || spec->public_key.ptr != NULL)
        return 0;
    if (known < issuer.len)
        return options_fault(r, "issuer",
                             "is the place of a document of '%.*s'; write the issuer itself, as it "
                             "stands in the tokens' `iss`",
                             (int)known, issuer.ptr);
    if (end < issuer.len)
        return options_fault(r, "issuer",
                             "has '%.*s', and no issuer has a query or a fragment: write what "
                             "stands in the tokens' `iss`, and where the keys are as `jwks_uri`",
                             (int)(issuer.len - end), issuer.ptr + end);
    return 0;
}

int options_read_verifier(struct options_reader *r, struct verifier_spec *out)
{
    memset(out, 0, sizeof(*out));
    keyset_source_init(&out->own_keys);
    verify_setup(&out->verifier);
    if (r->rc != 0 || read_issuer(r, &out->verifier.issuer) != 0 ||
        read_audience(r, &out->verifier) != 0)
        return r->rc;
    options_read_claim_path(r, "audience_claim", &out->verifier.audience_claim);
    options_str(r, "jwks_uri", &out->jwks_uri);
    if (r->rc == 0 && out->jwks_uri.ptr != NULL && !is_http_url(out->jwks_uri))
        options_fault(r, "jwks_uri", "must be an http(s) URL");
    options_str(r, "secret", &out->secret);
    options_str(r, "public_key", &out->public_key);
    read_algorithms(r, out);
    check_secret(r, out);
    check_discovery(r, out);
    options_bool(r, "require_exp", &out->verifier.require_exp);
    options_seconds(r, "clock_tolerance", 0, 300, &out->verifier.clock_tolerance);
    read_dpop(r, &out->verifier.dpop);
    read_mtls(r, &out->verifier.mtls);
    read_introspection(r, &out->introspection);
    return read_choices(r, &out->verifier);
}

/* ---- policies ---- */

static const char *const policy_keys[] = {
    "scope",      "role",     "claims",  "namespace",     "issuer",         "audience",
    "algorithms", "jwks_uri", "secret",  "public_key",    "require_exp",    "clock_tolerance",
    "backend",    "profile",  "dpop",    "introspection", "audience_claim", "role_path",
    "acr",        "max_age",  "webhook", "mtls",          "login",          NULL};

/* scope = "a" | { any = {...} } | { all = {...} } | { "a", "b" } (all) */
static int read_scope(struct options_reader *r, struct policy *policy)
{
    if (!options_get(r, "scope"))
        return 0;
    bool nested = lua_istable(r->L, -1) && lua_rawlen(r->L, -1) == 0;
    if (!nested) {
        lua_pop(r->L, 1);
        int rc = options_str_list(r, "scope", &policy->scopes, &policy->scope_count);
        if (rc == 0 && policy->scope_count == 0)
            rc = options_fault(r, "scope", "must name at least one scope");
        return rc;
    }
    static const char *const keys[] = {"any", "all", NULL};
    size_t before = options_enter(r, "scope", 0);
    options_check_keys(r, keys);
    options_str_list(r, "any", &policy->scopes, &policy->scope_count);
    policy->scope_any = policy->scope_count > 0;
    if (r->rc == 0 && policy->scope_any && options_get(r, "all"))
        options_fault(r, "all", "cannot be given together with `any`");
    else
        options_str_list(r, "all", &policy->scopes, &policy->scope_count);
    if (r->rc == 0 && policy->scope_count == 0)
        options_fault(r, NULL,
                      "must name at least one scope: { any = {\"a\", \"b\"} } or { all = {...} }");
    options_leave(r, before);
    lua_settop(r->L, lua_gettop(r->L) - 1);
    return r->rc;
}

static json_t *claim_value(lua_State *L, bool in_list);

static json_t *claim_list(lua_State *L)
{
    lazy_make_plain(L, -1);
    json_t *list = lua_rawlen(L, -1) > 0 && options_is_list(L) ? json_array() : NULL;
    for (lua_Integer i = 1; list != NULL && i <= (lua_Integer)lua_rawlen(L, -1); i++) {
        lua_rawgeti(L, -1, i);
        if (json_array_append_new(list, claim_value(L, true)) != 0) {
            json_decref(list);
            list = NULL;
        }
        lua_pop(L, 1);
    }
    return list;
}

/* The value at the top of the stack as JSON: a text, number, boolean, or a list of those. NULL for
 * anything else. */
static json_t *claim_value(lua_State *L, bool in_list)
{
    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
        return json_stringn(lua_tostring(L, -1), lua_rawlen(L, -1));
    case LUA_TBOOLEAN:
        return json_boolean(lua_toboolean(L, -1));
    case LUA_TNUMBER:
        return lua_isinteger(L, -1) ? json_integer(lua_tointeger(L, -1))
                                    : json_real(lua_tonumber(L, -1));
    case LUA_TTABLE:
        return in_list ? NULL : claim_list(L);
    default:
        return NULL;
    }
}

/* claims = { tenant = "a", level = 3 }: the member is at the top of the stack; pops it. */
static int read_claims(struct options_reader *r, struct policy *policy)
{
    if (!options_get(r, "claims"))
        return 0;
    lua_State *L = r->L;
    if (!lua_istable(L, -1))
        return options_fault(r, "claims", "must be a table of claim = value");
    policy->claims = json_object();
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING ||
            json_object_set_new(policy->claims, lua_tostring(L, -2), claim_value(L, false)) != 0)
            return options_fault(r, "claims",
                                 "values must be texts, numbers, booleans, or lists of those");
        struct str name = {lua_tostring(L, -2), lua_rawlen(L, -2)};
        int rc = check_claim_path(r, "claims", name);
        if (rc != 0)
            return rc;
    }
    lua_pop(L, 1);
    return 0;
}

/* A rule without content (an unset variable with `or ""`) must not read as no rule. */
static int check_words(struct options_reader *r, const struct policy *policy)
{
    if (policy->role.ptr != NULL && policy->role.len == 0)
        return options_fault(r, "role", "must not be empty");
    for (unsigned i = 0; i < policy->scope_count; i++) {
        struct str scope = policy->scopes[i];
        size_t blank = str_find(scope, ' ');
        if (scope.len == 0)
            return options_fault(r, "scope", "must not be empty");
        if (blank < scope.len)
            return options_fault(r, "scope",
                                 "'%.*s': one scope has no blank; write { \"%.*s\", \"...\" } for "
                                 "all of them, { any = { ... } } for one",
                                 STR_ARG(scope), (int)blank, scope.ptr);
    }
    return 0;
}

/* acr = "mfa" | { "mfa", "otp" }, max_age = 300 */
static int read_sign_in(struct options_reader *r, struct policy *policy)
{
    int rc = options_str_list(r, "acr", &policy->acr, &policy->acr_count);
    for (unsigned i = 0; rc == 0 && i < policy->acr_count; i++) {
        if (!policy_is_scope_text(policy->acr[i]) ||
            str_find(policy->acr[i], ' ') < policy->acr[i].len)
            rc = options_fault(r, "acr",
                               "'%.*s': a class has a name without blanks; write { \"a\", \"b\" } "
                               "where either will do",
                               STR_ARG(policy->acr[i]));
    }
    return rc == 0 ? options_seconds(r, "max_age", 1, LIMIT_SIGN_IN_AGE, &policy->max_age) : rc;
}

/* `webhook = false` is none, and no reason to go on as if nothing had been said. */
static bool has_webhook(struct options_reader *r)
{
    bool has = options_get(r, "webhook");
    if (has)
        lua_pop(r->L, 1);
    return has;
}

static int read_policy_table(struct options_reader *r, struct policy *policy)
{
    if (has_webhook(r))
        return options_read_webhook(r, policy);
    options_check_keys(r, policy_keys);
    read_scope(r, policy);
    options_str(r, "role", &policy->role);
    options_bool(r, "login", &policy->login);
    check_words(r, policy);
    read_claims(r, policy);
    read_sign_in(r, policy);
    options_str(r, "namespace", &policy->namespace);
    options_read_claim_path(r, "role_path", &policy->role_path);
    read_dpop(r, &policy->dpop);
    read_mtls(r, &policy->mtls);
    if (r->rc != 0)
        return r->rc;
    for (const char *const *key = verifier_keys; *key != NULL; key++) {
        if (strcmp(*key, "dpop") == 0 || strcmp(*key, "mtls") == 0 || !options_get(r, *key))
            continue; /* alone, it is about the deployment's issuers */
        lua_pop(r->L, 1);
        policy->own = arena_zalloc(r->arena, sizeof(*policy->own));
        if (policy->own == NULL)
            return options_no_memory(r);
        policy->own_count = 1;
        return options_read_verifier(r, policy->own);
    }
    return 0;
}

int options_read_policy(struct options_reader *r, struct policy *policy)
{
    if (!options_get(r, "auth"))
        return 0;
    *policy = (struct policy){.kind = POLICY_TOKEN};
    int rc = 0;
    if (lua_istable(r->L, -1)) {
        size_t before = options_enter(r, "auth", 0);
        rc = read_policy_table(r, policy);
        options_leave(r, before);
    } else if (lua_type(r->L, -1) == LUA_TSTRING && strcmp(lua_tostring(r->L, -1), "public") == 0) {
        policy->kind = POLICY_PUBLIC;
    } else if (!lua_isboolean(r->L, -1) || !lua_toboolean(r->L, -1)) {
        rc = options_fault(
            r, "auth", "must be true, \"public\", or a table such as { scope = \"read:shows\" }");
    }
    if (rc == 0)
        lua_pop(r->L, 1);
    return rc;
}
