/* The host's identities towards other APIs. */
#include "config/config_outbound.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const char *const known[] = {
    "hosts",     "token_url", "client_id",          "client_secret", "client_auth", "private_key",
    "algorithm", "key_id",    "assertion_audience", "grant",         "scope",       "audience",
    "resource",  NULL};

/* The token goes to whoever a pattern matches, so it names somebody. */
static int read_hosts(struct options_reader *r, struct outbound_spec *spec)
{
    options_str_list(r, "hosts", &spec->hosts, &spec->host_count);
    if (r->rc == 0 && spec->host_count == 0)
        return options_fault(r, "hosts",
                             "must name the hosts that the token is for, as "
                             "{ \"api.example\" }");
    for (unsigned i = 0; r->rc == 0 && i < spec->host_count; i++) {
        struct str host = spec->hosts[i];
        if (host.len == 0 || host.ptr[0] == ':' || str_find(host, '/') < host.len ||
            str_find(host, ' ') < host.len)
            return options_fault(r, "hosts",
                                 "'%.*s' is no host; write \"api.example\", or "
                                 "\"api.example:8443\" for one port alone",
                                 STR_ARG(host));
        if (str_eq(host, STR("*")) || str_starts_with(host, STR("*:")))
            return options_fault(r, "hosts",
                                 "'%.*s' would send the token to anybody; name the hosts",
                                 STR_ARG(host));
        for (size_t at = 0; at < host.len; at++) /* hosts are compared in lower case */
            if (host.ptr[at] >= 'A' && host.ptr[at] <= 'Z')
                spec->hosts[i] = host = arena_lower(r->arena, host);
        if (host.ptr == NULL)
            return options_no_memory(r);
    }
    return r->rc;
}

static void on_key_end(void *arg)
{
    key_unref(arg);
}

static int choose_alg(struct options_reader *r, struct outbound_spec *spec, struct str name)
{
    static const enum alg usual[] = {ALG_RS256, ALG_ES256, ALG_ES384, ALG_ES512, ALG_EDDSA};
    spec->alg = name.len > 0 ? alg_parse(name) : ALG_NONE_KNOWN;
    for (size_t i = 0; name.len == 0 && i < sizeof(usual) / sizeof(usual[0]); i++)
        if (spec->alg == ALG_NONE_KNOWN && key_fits(spec->key, usual[i]))
            spec->alg = usual[i];
    if (spec->alg == ALG_NONE_KNOWN || !key_fits(spec->key, spec->alg))
        return options_fault(r, "algorithm", "'%.*s' does not fit the private key", STR_ARG(name));
    return 0;
}

static int read_key(struct options_reader *r, struct outbound_spec *spec)
{
    struct str name = {"", 0}, kid = {"", 0};
    struct err reason;
    if (options_str(r, "algorithm", &name) != 0 || options_str(r, "key_id", &kid) != 0 ||
        options_str(r, "assertion_audience", &spec->assertion_audience) != 0)
        return r->rc;
    if (spec->private_key.ptr == NULL) {
        if (name.len > 0 || kid.len > 0 || spec->assertion_audience.len > 0)
            return options_fault(
                r, NULL, "algorithm, key_id and assertion_audience belong to a private_key");
        return 0;
    }
    if (key_from_pem(spec->private_key, &spec->key, &reason) != 0)
        return options_fault(r, "private_key", "must be the PEM text of a private key: %s",
                             reason.text);
    if (arena_defer(r->arena, on_key_end, spec->key) != 0) {
        key_unref(spec->key);
        return options_no_memory(r);
    }
    if (!key_can_sign(spec->key))
        return options_fault(r, "private_key", "is a public key, which signs nothing");
    if (kid.len > 0)
        key_set_kid(spec->key, kid);
    return choose_alg(r, spec, name);
}

static int read_client(struct options_reader *r, struct outbound_spec *spec)
{
    struct str way = STR("basic");
    options_str(r, "client_id", &spec->client_id);
    options_str(r, "client_secret", &spec->client_secret);
    options_str(r, "private_key", &spec->private_key);
    if (options_str(r, "client_auth", &way) != 0)
        return r->rc;
    if (spec->client_id.len == 0)
        return options_fault(r, "client_id", "is missing: as whom the host asks for tokens");
    if ((spec->client_secret.len > 0) == (spec->private_key.len > 0))
        return options_fault(r, NULL,
                             "needs either client_secret = env.NAME or private_key = env.NAME, and "
                             "that variable must be set");
    spec->in_body = str_eq(way, STR("post"));
    if (!spec->in_body && !str_eq(way, STR("basic")))
        return options_fault(r, "client_auth", "must be \"basic\" or \"post\"");
    if (spec->client_secret.len == 0)
        spec->client_secret.ptr = NULL;
    if (spec->private_key.len == 0)
        spec->private_key.ptr = NULL;
    return read_key(r, spec);
}

static int read_grant(struct options_reader *r, struct outbound_spec *spec)
{
    struct str grant = STR("client_credentials");
    options_str(r, "scope", &spec->scope);
    options_str(r, "audience", &spec->audience);
    options_str(r, "resource", &spec->resource);
    if (options_str(r, "grant", &grant) != 0)
        return r->rc;
    if (str_eq(grant, STR("token_exchange")))
        spec->grant = OUTBOUND_TOKEN_EXCHANGE;
    else if (!str_eq(grant, STR("client_credentials")))
        return options_fault(r, "grant",
                             "must be \"client_credentials\" (as the host) or \"token_exchange\" "
                             "(for the caller), not '%.*s'",
                             STR_ARG(grant));
    return 0;
}

static int read_identity(struct options_reader *r, struct outbound_spec *spec)
{
    if (!lua_istable(r->L, -1))
        return options_fault(r, NULL, "must be a table, not a %s", luaL_typename(r->L, -1));
    options_check_keys(r, known);
    options_str(r, "token_url", &spec->token_url);
    if (r->rc == 0 && spec->token_url.len == 0)
        return options_fault(r, "token_url", "is missing: the token endpoint of the provider");
    if (r->rc == 0)
        r->rc = read_hosts(r, spec);
    if (r->rc == 0)
        r->rc = read_client(r, spec);
    if (r->rc == 0)
        r->rc = read_grant(r, spec);
    return r->rc;
}

static int by_name(const void *a, const void *b)
{
    const struct outbound_spec *x = a, *y = b;
    return strcmp(x->name.ptr, y->name.ptr);
}

int config_read_outbound(struct options_reader *r, struct config *config)
{
    lua_State *L = r->L;
    unsigned count = 0;
    if (!options_get(r, "outbound"))
        return 0;
    if (!lua_istable(L, -1))
        return options_fault(r, "outbound", "must be a table, not a %s", luaL_typename(L, -1));
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1))
        count++;
    config->outbound = arena_zalloc(r->arena, (count + 1) * sizeof(*config->outbound));
    if (config->outbound == NULL)
        return options_no_memory(r);
    size_t before = options_enter(r, "outbound", 0);
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        struct outbound_spec *spec = &config->outbound[config->outbound_count];
        if (lua_type(L, -2) != LUA_TSTRING)
            return options_fault(r, NULL, "must be a table of name = { hosts = ... }");
        spec->name = arena_copy(r->arena, (struct str){lua_tostring(L, -2), lua_rawlen(L, -2)});
        if (spec->name.ptr == NULL)
            return options_no_memory(r);
        size_t outer = options_enter(r, spec->name.ptr, 0);
        int rc = read_identity(r, spec);
        options_leave(r, outer);
        if (rc != 0)
            return rc;
        config->outbound_count++;
    }
    options_leave(r, before);
    qsort(config->outbound, config->outbound_count, sizeof(*config->outbound), by_name);
    return 0;
}

bool config_is_outbound_secret(const struct config *config, const char *text)
{
    for (unsigned i = 0; i < config->outbound_count; i++) {
        const struct outbound_spec *spec = &config->outbound[i];
        if (str_eq(spec->client_secret.ptr != NULL ? spec->client_secret : spec->private_key,
                   str_from(text)))
            return true;
    }
    return false;
}
