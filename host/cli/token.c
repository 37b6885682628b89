/* luafn token: a token from the dev issuer's key, for curl and for tests. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/dev_key.h"
#include "cli/dev_place.h"
#include "config/env.h"
#include "json/dump.h"
#include "json/strict.h"

struct token_options {
    const char *config_file, *subject, *scope, *expires, *algorithm, *issuer, *secret, *type;
    struct option_list audiences, claims;
    bool key_set;
};

/* ---- claims ---- */

static json_t *random_id(void)
{
    unsigned char bytes[16];
    char text[2 * sizeof(bytes) + 1];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return NULL;
    str_write_hex(bytes, sizeof(bytes), text);
    return json_string(text);
}

static json_t *audience_of(const struct option_list *list, const char *otherwise)
{
    if (list->count <= 1)
        return json_string(list->count == 1 ? list->items[0] : otherwise);
    json_t *array = json_array();
    for (unsigned i = 0; i < list->count; i++) {
        if (array == NULL || json_array_append_new(array, json_string(list->items[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* "name=json". What it sets wins over everything else; null is a value like any other. */
static int add_claim(json_t *claims, const char *text)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text)
        return cli_usage(&command_token, "--claim is NAME=JSON, not '%s'", text);
    size_t len = (size_t)(equals - text);
    json_t *value =
        strict_json_watched(str_from(equals + 1), JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    if (value == NULL)
        return cli_usage(
            &command_token,
            "the value of --claim %.*s is not JSON (a text is written '%.*s=\"text\"')", (int)len,
            text, (int)len, text);
    char name[256];
    if (len >= sizeof(name)) {
        json_decref(value);
        return cli_usage(&command_token, "the name of a --claim is longer than 255 bytes");
    }
    memcpy(name, text, len);
    name[len] = '\0';
    if (json_object_set_new(claims, name, value) != 0)
        return cli_usage(&command_token, "'%s' cannot be a claim: it is not UTF-8", name);
    return 0;
}

static int read_lifetime(const char *text, double *seconds)
{
    *seconds = 3600;
    if (text != NULL && (str_to_seconds(str_from(text), seconds) != 0 || fabs(*seconds) > 1e11))
        return cli_usage(&command_token, "--expires is a time such as 1h or -10m, not '%s'", text);
    return 0;
}

static bool set_member(json_t *claims, const char *name, json_t *value)
{
    return json_object_set_new(claims, name, value) == 0;
}

static int fill_claims(const struct token_options *o, const struct env *env, double lifetime,
                       json_t *claims)
{
    json_int_t now = (json_int_t)time(NULL);
    const char *issuer = o->issuer != NULL ? o->issuer : env_get(env, "JWT_ISSUER");
    bool ok = set_member(claims, "iss", json_string(issuer)) &&
              set_member(claims, "aud", audience_of(&o->audiences, env_get(env, "JWT_AUDIENCE"))) &&
              set_member(claims, "sub", json_string(o->subject)) &&
              set_member(claims, "iat", json_integer(now)) &&
              set_member(claims, "exp", json_integer(now + (json_int_t)floor(lifetime))) &&
              set_member(claims, "azp", json_string("luafn-demo")) &&
              (o->scope == NULL || set_member(claims, "scope", json_string(o->scope))) &&
              set_member(claims, "jti", random_id());
    if (!ok)
        return cli_usage(&command_token, "a name, an audience or a scope is not UTF-8");
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < o->claims.count; i++)
        rc = add_claim(claims, o->claims.items[i]);
    return rc;
}

/* ---- the key ---- */

static int find_key(const struct token_options *o, enum alg alg, struct key **key)
{
    struct err err;
    if ((ALG_BIT(alg) & ALG_HMAC) == 0) {
        if (o->secret != NULL)
            return cli_usage(&command_token, "--secret goes with --alg HS256, HS384 or HS512");
        return dev_key_get(o->config_file, alg, key, &err) == 0
                   ? 0
                   : cli_fault("the dev issuer's key cannot be made: %s", err.text);
    }
    if (o->secret == NULL)
        return cli_usage(&command_token, "--alg %s needs --secret TEXT", o->algorithm);
    if (key_from_secret(str_from(o->secret), key, &err) != 0)
        return cli_usage(&command_token, "%s", err.text);
    if (key_fits(*key, alg))
        return 0;
    key_unref(*key);
    return cli_usage(&command_token, "--alg %s needs a --secret of at least %zu bytes",
                     o->algorithm, alg_hash_size(alg));
}

static int print_token(struct key *key, enum alg alg, const char *type, const json_t *claims)
{
    struct err err = {.text = "out of memory"};
    struct buf out = BUF_INIT;
    json_t *header = type != NULL ? json_pack("{s:s}", "typ", type) : NULL;
    char *text = dump_json_text(claims, JSON_COMPACT);
    int rc = text == NULL || (type != NULL && header == NULL) ? -1 : 0;
    if (rc == 0)
        rc = key_sign(key, alg, header, str_from(text), &out, &err);
    if (rc == 0)
        printf("%.*s\n", STR_ARG(buf_str(&out)));
    free(text);
    json_decref(header);
    buf_free(&out);
    return rc == 0 ? EXIT_GOOD : cli_fault("no token can be made: %s", err.text);
}

static int make_token(const struct token_options *o, enum alg alg, const struct env *env)
{
    double lifetime = 0;
    struct key *key = NULL;
    json_t *claims = json_object();
    int rc = claims != NULL ? read_lifetime(o->expires, &lifetime) : cli_fault("out of memory");
    if (rc == 0)
        rc = fill_claims(o, env, lifetime, claims);
    if (rc == 0)
        rc = find_key(o, alg, &key);
    if (rc == 0) {
        rc = print_token(key, alg, o->type, claims);
        key_unref(key);
    }
    json_decref(claims);
    return rc;
}

static int print_key_set(const char *config_file)
{
    struct buf out = BUF_INIT;
    int rc = dev_key_write_set(config_file, &out);
    if (rc == 0)
        cli_write(buf_str(&out));
    buf_free(&out);
    return rc == 0 ? EXIT_GOOD : cli_fault("out of memory");
}

/* ---- the command ---- */

static struct env *load_env(const char *config_file, struct err *err)
{
    char folder[4096] = ".";
    const char *slash = strrchr(config_file, '/');
    if (slash != NULL)
        snprintf(folder, sizeof(folder), "%.*s", (int)(slash - config_file) + 1, config_file);
    struct env *env = env_load(folder, true, err);
    for (const char *const *d = dev_place_defaults(config_file); env != NULL && d[0] != NULL;
         d += 2) {
        if (env_set_default(env, d[0], d[1]) != 0) {
            err_set(err, 0, "out of memory");
            env_free(env);
            return NULL;
        }
    }
    return env;
}

static int run(int argc, char **argv)
{
    struct token_options o = {
        .config_file = "functions.lua", .subject = "auth0|dev", .algorithm = "RS256"};
    const struct option options[] = {
        {"--sub", OPTION_TEXT, &o.subject},        {"--scope", OPTION_TEXT, &o.scope},
        {"--aud", OPTION_LIST, &o.audiences},      {"--claim", OPTION_LIST, &o.claims},
        {"--expires", OPTION_TEXT, &o.expires},    {"--alg", OPTION_TEXT, &o.algorithm},
        {"--issuer", OPTION_TEXT, &o.issuer},      {"--secret", OPTION_TEXT, &o.secret},
        {"--typ", OPTION_TEXT, &o.type},           {"--jwks", OPTION_FLAG, &o.key_set},
        {"--config", OPTION_TEXT, &o.config_file}, {NULL, OPTION_FLAG, NULL}};
    int rc = cli_parse(&command_token, argc, argv, options, NULL, 0, NULL);
    if (rc != 0)
        return rc;
    if (o.key_set)
        return print_key_set(o.config_file);
    enum alg alg = alg_parse(str_from(o.algorithm));
    if (alg == ALG_NONE_KNOWN)
        return cli_usage(
            &command_token,
            "--alg is one of RS, PS, ES or HS with 256, 384 or 512, or EdDSA, not '%s'",
            o.algorithm);
    struct err err;
    struct env *env = load_env(o.config_file, &err);
    if (env == NULL)
        return cli_fault("%s", err.text);
    rc = make_token(&o, alg, env);
    env_free(env);
    return rc;
}

const struct command command_token = {"token", run};
