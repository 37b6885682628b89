/* Checking tokens, over both backends: known attacks, each beside a twin that differs in the
 * attacked feature only, then several issuers, profiles, rotation, and want of memory. */
#include "auth_fixture.h"

#include <errno.h>

#include <openssl/crypto.h>

#include "base/limits.h"

static struct {
    struct key *k1, *k2, *k3, *p256, *p384, *ed, *secret; /* k3 is in no set */
    struct keyset *set;
    struct key_source source;
    struct arena arena;
} fx;

static int set_up(void **state)
{
    (void)state;
    fx.k1 = auth_rsa(RSA_A, "k1");
    fx.k2 = auth_rsa(RSA_B, "k2");
    fx.k3 = auth_rsa(RSA_C, "k1");
    fx.p256 = auth_key(ALG_ES256, "k1");
    fx.p384 = auth_key(ALG_ES384, "k1");
    fx.ed = auth_key(ALG_EDDSA, "k1");
    fx.secret = auth_key(ALG_HS512, NULL);
    fx.set = auth_keyset((struct key *[]){fx.k1, fx.k2}, 2, ALG_RS256);
    keyset_source_init(&fx.source);
    keyset_source_set(&fx.source, fx.set);
    arena_init(&fx.arena);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    token_cache_clear();
    arena_free(&fx.arena);
    keyset_source_clear(&fx.source);
    keyset_unref(fx.set);
    struct key *keys[] = {fx.k1, fx.k2, fx.k3, fx.p256, fx.p384, fx.ed, fx.secret};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        key_unref(keys[i]);
    return 0;
}

/* The verdict on `token`; its claims are dropped at once. */
static struct verdict judge(const struct verifier *verifiers, unsigned count, struct str token)
{
    struct verdict verdict;
    verify_token(verifiers, count, token, NOW, true, &fx.arena, &verdict);
    if (verdict.status == VERIFY_OK) {
        assert_true(verdict.claims->refs >= 1 && json_is_object(verdict.claims->json));
        claims_unref(verdict.claims);
    } else {
        assert_null(verdict.claims);
    }
    return verdict;
}

static void assert_ok(struct verdict verdict)
{
    if (verdict.status != VERIFY_OK)
        fail_msg("refused: %s %.*s", verdict.code, STR_ARG(verdict.text));
}

static void assert_refused(struct verdict verdict, const char *code, const char *text)
{
    if (verdict.status != VERIFY_REFUSED || strcmp(verdict.code, code) != 0 ||
        !str_eq(verdict.text, str_from(text)))
        fail_msg("not '%s' but status %d, '%s', '%.*s'", text, (int)verdict.status,
                 verdict.status == VERIFY_REFUSED ? verdict.code : "", STR_ARG(verdict.text));
    assert_true(str_is_utf8(verdict.text));
}

/* Each token is judged twice by each backend: new, and when it may be in the cache. */
static void judge_all(struct verifier verifier, struct str token, const char *code,
                      const char *text)
{
    static const enum key_backend backends[] = {KEY_BACKEND_OPENSSL, KEY_BACKEND_LIBJWT};
    for (size_t i = 0; i < 4; i++) {
        if (i % 2 == 0)
            token_cache_clear();
        verifier.backend = backends[i / 2];
        struct verdict verdict = judge(&verifier, 1, token);
        if (code == NULL)
            assert_ok(verdict);
        else
            assert_refused(verdict, code, text);
    }
    arena_reset(&fx.arena);
}

#define NO_KEY "error in secret or public key callback: Unable to find key "
#define BAD_KID                                                                                    \
    "error in secret or public key callback: The provided token does not contain a valid 'kid' claim, got "
#define IN_JWKS    " in the JSON Web Key Set"
#define RS(rest)   "{\"alg\":\"RS256\"" rest "}"
#define K1(rest)   RS(",\"kid\":\"k1\"" rest)
#define BAD_TOKEN  "Invalid token provided"
#define BAD_ALG(a) "Invalid 'alg' provided, got '" a "'"
#define BAD_EXT(e) "Invalid '" e "' provided, extensions are not supported"

static void judges_headers(void **state)
{
    (void)state;
    static const struct {
        const char *header, *text; /* NULL: good */
    } cases[] = {
        {GOOD_HEADER, NULL},
        {"{\"alg\":\"RS256\",\"kid\":\"k2\"}", "invalid signature"},
        {"{\"alg\":\"none\",\"kid\":\"k1\"}", BAD_ALG("none")},
        {"{\"alg\":\"None\",\"kid\":\"k1\"}", BAD_ALG("None")},
        {"{\"alg\":\"none \",\"kid\":\"k1\"}", BAD_ALG("none ")},
        {"{\"alg\":\"rs256\",\"kid\":\"k1\"}", BAD_ALG("rs256")},
        {"{\"alg\":\"RS256 \",\"kid\":\"k1\"}", BAD_ALG("RS256 ")},
        {"{\"alg\":[\"RS256\"],\"kid\":\"k1\"}", BAD_ALG("RS256")},
        {"{\"alg\":256,\"kid\":\"k1\"}", BAD_ALG("256")},
        {"{\"alg\":null,\"kid\":\"k1\"}", BAD_ALG("null")},
        {"{\"kid\":\"k1\"}", BAD_ALG("undefined")},
        {"[]", BAD_ALG("undefined")},
        {K1(",\"typ\":\"jwt\""), NULL},
        {K1(",\"typ\":\"at+jwt\""), NULL},
        {K1(",\"typ\":\"dpop+jwt\""), NULL},
        {K1(",\"typ\":5"), NULL},
        {K1(",\"cty\":\"JWT\""), NULL},
        {K1(",\"crit\":[]"), BAD_EXT("crit")},
        {K1(",\"crit\":\"x\""), BAD_EXT("crit")},
        {K1(",\"crit\":null"), BAD_EXT("crit")},
        {K1(",\"crit\":[\"exp\"],\"exp\":1"), BAD_EXT("crit")},
        {K1(",\"crit\":[\"b64\"],\"b64\":false"), BAD_EXT("crit")},
        {K1(",\"b64\":false"), BAD_EXT("b64")},
        {K1(",\"b64\":true"), BAD_EXT("b64")},
        {K1(",\"jku\":\"http://127.0.0.1:1/\",\"x5u\":\"http://127.0.0.1:1/\",\"x5c\":[\"AA==\"]"),
         NULL},
        {K1(",\"kid\":\"k1\""), BAD_TOKEN},
        {K1(",\"alg\":\"RS256\""), BAD_TOKEN},
        {RS(""), BAD_KID "'undefined'"},
        {RS(",\"kid\":5"), BAD_KID "'number'"},
        {RS(",\"kid\":[]"), BAD_KID "'object'"},
        {RS(",\"kid\":null"), BAD_KID "'object'"},
        {RS(",\"kid\":true"), BAD_KID "'boolean'"},
        {RS(",\"kid\":\"\""), NO_KEY "''" IN_JWKS},
        {RS(",\"kid\":\"K1\""), NO_KEY "'K1'" IN_JWKS},
        {RS(",\"kid\":\"../../dev/null\""), NO_KEY "'../../dev/null'" IN_JWKS},
        {RS(",\"kid\":\"'--\""), NO_KEY "''--'" IN_JWKS},
        {RS(",\"kid\":\"k1\\u0000\""), BAD_TOKEN},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *token = auth_token(fx.k1, ALG_RS256, cases[i].header, GOOD_CLAIMS);
        judge_all(auth_verifier(&fx.source), str_from(token),
                  cases[i].text != NULL ? "jwt_invalid" : NULL, cases[i].text);
        free(token);
    }
}

/* Claims of a good header and signature. */
static void judge_claims(struct verifier verifier, const char *claims, const char *code,
                         const char *text)
{
    char *token = auth_token(fx.k1, ALG_RS256, GOOD_HEADER, claims);
    judge_all(verifier, str_from(token), code, text);
    free(token);
}

#define BAD_ISS(i)  "Invalid issuer (iss) provided, got '" i "'"
#define ISS_OF(i)   "{\"iss\":" i ",\"aud\":\"" AUDIENCE "\",\"exp\":1700003600}"
#define BAD_AUD(a)  "Invalid audience (aud) provided, got '" a "'"
#define AUD_OF(a)   "{\"iss\":\"" ISSUER "\",\"aud\":" a ",\"exp\":1700003600}"
#define TIMES_OF(t) "{\"iss\":\"" ISSUER "\",\"aud\":\"" AUDIENCE "\"" t "}"
#define LATER       "The provided token cannot be used before "
#define EXPIRED     "The provided token expired at "

struct claims_case {
    const char *claims, *code, *text; /* NULL: good */
};

static const struct claims_case addressees[] = {
    {ISS_OF("\"" ISSUER "\""), NULL, NULL},
    {AUD_OF("\"" AUDIENCE "\""), NULL, NULL},
    {ISS_OF("\"http://127.0.0.1:9\""), "jwt_invalid", BAD_ISS("http://127.0.0.1:9")},
    {ISS_OF("\"" ISSUER "/\""), "jwt_invalid", BAD_ISS(ISSUER "/")},
    {ISS_OF("\"HTTP://127.0.0.1:9/\""), "jwt_invalid", BAD_ISS("HTTP://127.0.0.1:9/")},
    {ISS_OF("[\"" ISSUER "\"]"), "jwt_invalid", BAD_ISS(ISSUER)},
    {ISS_OF("null"), "jwt_invalid", BAD_ISS("null")},
    {ISS_OF("5"), "jwt_invalid", BAD_ISS("5")},
    {ISS_OF("{}"), "jwt_invalid", BAD_ISS("[object Object]")},
    {"{\"aud\":\"" AUDIENCE "\",\"exp\":1700003600}", "jwt_invalid", BAD_ISS("undefined")},
    {"{}", "jwt_invalid", BAD_ISS("undefined")},
    {"[]", "jwt_invalid", BAD_TOKEN},
    {AUD_OF("[\"" AUDIENCE "\",\"x\"]"), NULL, NULL},
    {AUD_OF("[5,null,\"" AUDIENCE "\"]"), NULL, NULL},
    {AUD_OF("[\"x\",\"y\"]"), "jwt_invalid", BAD_AUD("x, y")},
    {AUD_OF("[[\"" AUDIENCE "\"]]"), "jwt_invalid", BAD_AUD(AUDIENCE)},
    {AUD_OF("[]"), "jwt_invalid", BAD_AUD("")},
    {AUD_OF("null"), "jwt_invalid", BAD_AUD("")},
    {AUD_OF("5"), "jwt_invalid", BAD_AUD("5")},
    {AUD_OF("{\"x\":\"" AUDIENCE "\"}"), "jwt_invalid", BAD_AUD("[object Object]")},
    {AUD_OF("\"" AUDIENCE "/x\""), "jwt_invalid", BAD_AUD(AUDIENCE "/x")},
    {AUD_OF("\"" AUDIENCE " x\""), "jwt_invalid", BAD_AUD(AUDIENCE " x")},
    {"{\"iss\":\"" ISSUER "\",\"exp\":1700003600}", "jwt_invalid", BAD_AUD("")},
    {"{\"iss\":\"x\",\"aud\":\"x\",\"exp\":5}", "jwt_invalid", BAD_ISS("x")},
    {"{\"iss\":\"" ISSUER "\",\"aud\":\"x\",\"exp\":5}", "jwt_invalid", BAD_AUD("x")},
};

static const struct claims_case times[] = {
    {TIMES_OF(",\"exp\":1700000001"), NULL, NULL},
    {TIMES_OF(",\"exp\":1700000000.5"), NULL, NULL},
    {TIMES_OF(",\"exp\":253402300799"), NULL, NULL},
    {TIMES_OF(""), "jwt_invalid", "invalid exp value"},
    {TIMES_OF(",\"exp\":\"1700003600\""), "jwt_invalid", "invalid exp value"},
    {TIMES_OF(",\"exp\":null"), "jwt_invalid", "invalid exp value"},
    {TIMES_OF(",\"exp\":true"), "jwt_invalid", "invalid exp value"},
    {TIMES_OF(",\"exp\":[1700003600]"), "jwt_invalid", "invalid exp value"},
    {TIMES_OF(",\"exp\":253402300800"), "jwt_invalid", "invalid exp value"},
    {TIMES_OF(",\"exp\":1e300"), "jwt_invalid", "invalid exp value"},
    {TIMES_OF(",\"exp\":-1e20"), "jwt_invalid", "invalid exp value"},
    {TIMES_OF(",\"exp\":9223372036854775807"), "jwt_invalid", "invalid exp value"},
    {TIMES_OF(",\"exp\":1e400"), "jwt_invalid", BAD_TOKEN},
    {TIMES_OF(",\"exp\":5,\"exp\":1700003600"), "jwt_invalid", BAD_TOKEN},
    {TIMES_OF(",\"exp\":1700003600,\"exp\":5"), "jwt_invalid", BAD_TOKEN},
    {TIMES_OF(",\"exp\":1700000000"), "jwt_expired", EXPIRED "'2023-11-14T22:13:20.000Z'"},
    {TIMES_OF(",\"exp\":1699999999.25"), "jwt_expired", EXPIRED "'2023-11-14T22:13:19.250Z'"},
    {TIMES_OF(",\"exp\":0"), "jwt_expired", EXPIRED "'1970-01-01T00:00:00.000Z'"},
    {TIMES_OF(",\"exp\":-1"), "jwt_expired", EXPIRED "'1969-12-31T23:59:59.000Z'"},
    {CLAIMS_WITH(",\"nbf\":1700000000"), NULL, NULL},
    {CLAIMS_WITH(",\"nbf\":0"), NULL, NULL},
    {CLAIMS_WITH(",\"nbf\":1700000005"), "jwt_invalid", LATER "'2023-11-14T22:13:25.000Z'"},
    {CLAIMS_WITH(",\"nbf\":1700000000.5"), "jwt_invalid", LATER "'2023-11-14T22:13:20.500Z'"},
    {CLAIMS_WITH(",\"nbf\":\"9999999999\""), "jwt_invalid", "invalid nbf value"},
    {CLAIMS_WITH(",\"nbf\":null"), "jwt_invalid", "invalid nbf value"},
    {CLAIMS_WITH(",\"nbf\":true"), "jwt_invalid", "invalid nbf value"},
    {CLAIMS_WITH(",\"nbf\":9223372036854775807"), "jwt_invalid", "invalid nbf value"},
    {CLAIMS_WITH(",\"nbf\":100000000000000000000"), "jwt_invalid", "invalid nbf value"},
    {TIMES_OF(",\"exp\":5,\"nbf\":1700000005"), "jwt_invalid", LATER "'2023-11-14T22:13:25.000Z'"},
    {"{\"iss\":\"" ISSUER "\",\"aud\":\"" AUDIENCE "\",\"exp\":1700003600,\"iat\":1800000000}",
     NULL, NULL},
    {TIMES_OF(",\"exp\":1700003600,\"iat\":0"), NULL, NULL},
    {TIMES_OF(",\"exp\":1700003600,\"iat\":-1.5"), NULL, NULL},
    {TIMES_OF(",\"exp\":1700003600,\"iat\":100000000000000000000"), NULL, NULL},
    {TIMES_OF(",\"exp\":1700003600,\"iat\":\"abc\""), "jwt_invalid", "invalid iat value"},
    {TIMES_OF(",\"exp\":1700003600,\"iat\":\"1700000000\""), "jwt_invalid", "invalid iat value"},
    {TIMES_OF(",\"exp\":1700003600,\"iat\":null"), "jwt_invalid", "invalid iat value"},
    {TIMES_OF(",\"exp\":1700003600,\"iat\":true"), "jwt_invalid", "invalid iat value"},
    {TIMES_OF(",\"exp\":1700003600,\"iat\":[1700000000]"), "jwt_invalid", "invalid iat value"},
    {TIMES_OF(",\"exp\":1700003600,\"iat\":{}"), "jwt_invalid", "invalid iat value"},
    {CLAIMS_WITH(",\"n\":12345678901234567890"), NULL, NULL},
    {CLAIMS_WITH(",\"__proto__\":{\"x\":1}"), NULL, NULL},
};

static void judges_addressees(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(addressees) / sizeof(addressees[0]); i++)
        judge_claims(auth_verifier(&fx.source), addressees[i].claims, addressees[i].code,
                     addressees[i].text);
}

/* Where another claim stands for `aud`, it alone is looked at. */
static void judges_the_claim_that_is_named(void **state)
{
    static const struct {
        const char *claim, *more, *text; /* NULL: good */
    } cases[] = {
        {"client_id", ",\"client_id\":\"" AUDIENCE "\"", NULL},
        {"client_id", ",\"client_id\":[\"x\",\"" AUDIENCE "\"]", NULL},
        {"client_id", ",\"client_id\":\"" AUDIENCE "\",\"aud\":\"other\"", NULL},
        {"client_id", ",\"client_id\":\"x\",\"aud\":\"" AUDIENCE "\"",
         "Invalid audience (client_id) provided, got 'x'"},
        {"client_id", ",\"aud\":\"" AUDIENCE "\"", "Invalid audience (client_id) provided, got ''"},
        {"client_id", ",\"client_id\":{}",
         "Invalid audience (client_id) provided, got "
         "'[object Object]'"},
        {"app.id", ",\"app\":{\"id\":\"" AUDIENCE "\"}", NULL},
        {"app.id", ",\"app\":\"" AUDIENCE "\"", "Invalid audience (app.id) provided, got ''"},
        {"", ",\"client_id\":\"" AUDIENCE "\"", BAD_AUD("")},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct verifier verifier = auth_verifier(&fx.source);
        char claims[400];
        verifier.audience_claim = str_from(cases[i].claim);
        snprintf(claims, sizeof(claims), "{\"iss\":\"" ISSUER "\",\"exp\":1700003600%s}",
                 cases[i].more);
        judge_claims(verifier, claims, cases[i].text != NULL ? "jwt_invalid" : NULL, cases[i].text);
    }
}

static void judges_times(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
        judge_claims(auth_verifier(&fx.source), times[i].claims, times[i].code, times[i].text);
}

static void tolerates_as_configured(void **state)
{
    (void)state;
    struct verifier verifier = auth_verifier(&fx.source);
    verifier.clock_tolerance = 5;
    judge_claims(verifier, TIMES_OF(",\"exp\":1699999996"), NULL, NULL);
    judge_claims(verifier, TIMES_OF(",\"exp\":1699999995"), "jwt_expired",
                 EXPIRED "'2023-11-14T22:13:15.000Z'");
    judge_claims(verifier, CLAIMS_WITH(",\"nbf\":1700000005"), NULL, NULL);
    judge_claims(verifier, CLAIMS_WITH(",\"nbf\":1700000006"), "jwt_invalid",
                 LATER "'2023-11-14T22:13:26.000Z'");
    verifier.require_exp = false;
    judge_claims(verifier, TIMES_OF(""), NULL, NULL);
    judge_claims(verifier, TIMES_OF(",\"exp\":null"), "jwt_invalid", "invalid exp value");
    judge_claims(verifier, TIMES_OF(",\"exp\":1e300"), "jwt_invalid", "invalid exp value");
}

static void refuses_long_texts_shortly(void **state)
{
    (void)state;
    char iss[3000] = {0}, claims[4000];
    memset(iss, 'x', sizeof(iss) - 1);
    snprintf(claims, sizeof(claims), "{\"iss\":\"%s\"}", iss);
    char *token = auth_token(fx.k1, ALG_RS256, GOOD_HEADER, claims);
    struct verifier verifier = auth_verifier(&fx.source);
    struct verdict verdict = judge(&verifier, 1, str_from(token));
    assert_string_equal(verdict.code, "jwt_invalid");
    assert_true(verdict.text.len > 256 && verdict.text.len < 400);
    free(token);
}

/* ---- signatures ---- */

enum { SIGNATURE_CHARS = 342 }; /* RSA-2048 */

static void judges_signatures(void **state)
{
    (void)state;
    struct verifier verifier = auth_verifier(&fx.source);
    char *good = auth_token(fx.k1, ALG_RS256, GOOD_HEADER, GOOD_CLAIMS);
    char *foreign = auth_token(fx.k3, ALG_RS256, GOOD_HEADER, GOOD_CLAIMS);
    char *unsigned_token = auth_token(NULL, ALG_RS256, GOOD_HEADER, GOOD_CLAIMS);
    char *other = auth_token(fx.k1, ALG_RS256, GOOD_HEADER, CLAIMS_WITH(",\"scope\":\"admin\""));
    size_t len = strlen(good), start = len - SIGNATURE_CHARS;
    judge_all(verifier, str_from(good), NULL, NULL);
    judge_all(verifier, str_from(foreign), "jwt_invalid", "invalid signature");
    judge_all(verifier, str_from(unsigned_token), "jwt_invalid", "jwt signature is required");
    judge_all(verifier, (struct str){good, start + 340}, "jwt_invalid", "invalid signature");
    judge_all(verifier, (struct str){good, start + 4}, "jwt_invalid", "invalid signature");
    char *longer = malloc(len + 5);
    snprintf(longer, len + 5, "%.*sAAAA%s", (int)start, good, good + start);
    judge_all(verifier, str_from(longer), "jwt_invalid", "invalid signature");
    memcpy(other + strlen(other) - SIGNATURE_CHARS, good + start, SIGNATURE_CHARS);
    judge_all(verifier, str_from(other), "jwt_invalid", "invalid signature");
    good[len - 1]++; /* the same bytes, but for an unused bit */
    judge_all(verifier, str_from(good), "jwt_invalid", BAD_TOKEN);
    good[len - 1]--;
    good[start] = good[start] == 'A' ? 'B' : 'A';
    judge_all(verifier, str_from(good), "jwt_invalid", "invalid signature");
    free(good);
    free(foreign);
    free(unsigned_token);
    free(other);
    free(longer);
}

/* The attacker's own key in the header is not even read. */
static void ignores_embedded_keys(void **state)
{
    (void)state;
    json_t *jwk = jwk_write_key(fx.k3, ALG_RS256);
    json_t *header = json_pack("{s:s,s:s,s:o}", "alg", "RS256", "kid", "k1", "jwk", jwk);
    char *text = json_dumps(header, JSON_COMPACT);
    char *bad = auth_token(fx.k3, ALG_RS256, text, GOOD_CLAIMS);
    char *twin = auth_token(fx.k1, ALG_RS256, text, GOOD_CLAIMS);
    judge_all(auth_verifier(&fx.source), str_from(bad), "jwt_invalid", "invalid signature");
    judge_all(auth_verifier(&fx.source), str_from(twin), NULL, NULL);
    free(bad);
    free(twin);
    free(text);
    json_decref(header);
}

/* Every public text of the RSA key, used as a shared secret. */
static void refuses_public_keys_as_secrets(void **state)
{
    (void)state;
    struct buf pem = BUF_INIT;
    json_t *jwk = jwk_write_key(fx.k1, ALG_RS256);
    char *json = json_dumps(jwk, JSON_COMPACT);
    const char *n = json_string_value(json_object_get(jwk, "n"));
    assert_int_equal(key_to_pem(fx.k1, &pem), 0);
    struct str secrets[] = {buf_str(&pem), str_from(json), str_from(n)};
    struct verifier verifier = auth_verifier(&fx.source);
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        struct key *key;
        assert_int_equal(key_from_secret(secrets[i], &key, NULL), 0);
        char *hs = auth_token(key, ALG_HS256, "{\"alg\":\"HS256\",\"kid\":\"k1\"}", GOOD_CLAIMS);
        char *rs = auth_token(key, ALG_HS256, GOOD_HEADER, GOOD_CLAIMS);
        verifier.algorithms = ALG_DEFAULT;
        judge_all(verifier, str_from(hs), "jwt_invalid", BAD_ALG("HS256"));
        judge_all(verifier, str_from(rs), "jwt_invalid", "invalid signature");
        verifier.algorithms = ALG_DEFAULT | ALG_HMAC; /* a careless list changes nothing */
        judge_all(verifier, str_from(hs), "jwt_invalid", "invalid signature");
        free(hs);
        free(rs);
        key_unref(key);
    }
    free(json);
    json_decref(jwk);
    buf_free(&pem);
}

/* Keys and algorithms: all that fit, and neighbours that do not. */
static void binds_algorithms_to_keys(void **state)
{
    (void)state;
    const struct {
        struct key *key;
        enum alg pinned, used;
        bool good;
    } cases[] = {
        {fx.p256, ALG_ES256, ALG_ES256, true}, {fx.p384, ALG_ES384, ALG_ES384, true},
        {fx.ed, ALG_EDDSA, ALG_EDDSA, true},   {fx.k1, ALG_RS256, ALG_RS256, true},
        {fx.k1, ALG_PS256, ALG_PS256, true},   {fx.k1, ALG_RS512, ALG_RS512, true},
        {fx.k1, ALG_RS256, ALG_RS512, false},  {fx.k1, ALG_RS256, ALG_PS256, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct key_source source;
        keyset_source_init(&source);
        struct keyset *set = auth_keyset((struct key *[]){cases[i].key}, 1, cases[i].pinned);
        keyset_source_set(&source, set);
        keyset_unref(set);
        struct verifier verifier = auth_verifier(&source);
        char header[64];
        snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"k1\"}",
                 alg_name(cases[i].used));
        char *token = auth_token(cases[i].key, cases[i].used, header, GOOD_CLAIMS);
        verifier.algorithms = ALG_BIT(cases[i].used) | ALG_BIT(cases[i].pinned);
        judge_all(verifier, str_from(token), cases[i].good ? NULL : "jwt_invalid",
                  "invalid signature");
        free(token);
        keyset_source_clear(&source);
    }
}

/* What an attacker writes under an ES256 header for a P-384 key, and forged forms of ES256. */
static void refuses_forged_es256(void **state)
{
    (void)state;
    static const char header[] = "{\"alg\":\"ES256\",\"kid\":\"k1\"}";
    struct key_source source;
    keyset_source_init(&source);
    struct keyset *set = auth_keyset((struct key *[]){fx.p384}, 1, ALG_ES384);
    keyset_source_set(&source, set);
    keyset_unref(set);
    struct verifier verifier = auth_verifier(&source);
    verifier.algorithms = ALG_BIT(ALG_ES256) | ALG_BIT(ALG_ES384);
    char *token = auth_token(fx.p256, ALG_ES256, header, GOOD_CLAIMS);
    judge_all(verifier, str_from(token), "jwt_invalid", "invalid signature");
    set = auth_keyset((struct key *[]){fx.p256}, 1, ALG_ES256);
    keyset_source_set(&source, set);
    keyset_unref(set);
    judge_all(verifier, str_from(token), NULL, NULL);
    /* r = s = 0 in 64 bytes, then a byte more and a byte less. */
    struct str part = {token, strlen(token) - 86};
    static const size_t lengths[] = {64, 65, 63, 72};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        unsigned char zero[72] = {0};
        struct buf forged = BUF_INIT;
        buf_add_str(&forged, part);
        base64url_encode(zero, lengths[i], &forged);
        judge_all(verifier, buf_str(&forged), "jwt_invalid", "invalid signature");
        buf_free(&forged);
    }
    free(token);
    keyset_source_clear(&source);
}

static void takes_a_secret_without_kid(void **state)
{
    (void)state;
    struct key_source source;
    keyset_source_init(&source);
    struct keyset *set = keyset_of(fx.secret);
    keyset_source_set(&source, set);
    keyset_unref(set);
    struct verifier verifier = auth_verifier(&source);
    verifier.algorithms = ALG_BIT(ALG_HS256);
    char *token = auth_token(fx.secret, ALG_HS256, "{\"alg\":\"HS256\"}", GOOD_CLAIMS);
    char *named =
        auth_token(fx.secret, ALG_HS256, "{\"alg\":\"HS256\",\"kid\":\"x\"}", GOOD_CLAIMS);
    char *odd = auth_token(fx.secret, ALG_HS256, "{\"alg\":\"HS256\",\"kid\":5}", GOOD_CLAIMS);
    judge_all(verifier, str_from(token), NULL, NULL);
    judge_all(verifier, str_from(named), NULL, NULL);
    judge_all(verifier, str_from(odd), "jwt_invalid", BAD_KID "'number'");
    char *last = token + strlen(token) - 2; /* to another letter of base64url */
    *last = *last == 'A' ? 'B' : 'A';
    judge_all(verifier, str_from(token), "jwt_invalid", "invalid signature");
    free(token);
    free(named);
    free(odd);
    keyset_source_clear(&source);
}

/* ---- keys that are not there, rotation, several issuers ---- */

static void asks_for_keys(void **state)
{
    (void)state;
    struct key_source source;
    keyset_source_init(&source);
    struct verifier verifier = auth_verifier(&source);
    struct verdict verdict;
    char *token = auth_token(fx.k2, ALG_RS256, "{\"alg\":\"RS256\",\"kid\":\"k2\"}", GOOD_CLAIMS);
    for (int final = 0; final < 2; final++) { /* without any set it is never a refusal */
        verify_token(&verifier, 1, str_from(token), NOW, final != 0, &fx.arena, &verdict);
        assert_int_equal(verdict.status, VERIFY_NEEDS_KEY);
        assert_true(str_eq(verdict.kid, STR("k2")) && verdict.verifier == &verifier);
    }
    struct keyset *one = auth_keyset(&fx.k1, 1, ALG_RS256);
    keyset_source_set(&source, one);
    verify_token(&verifier, 1, str_from(token), NOW, false, &fx.arena, &verdict);
    assert_int_equal(verdict.status, VERIFY_NEEDS_KEY);
    assert_refused(judge(&verifier, 1, str_from(token)), "jwt_invalid", NO_KEY "'k2'" IN_JWKS);
    keyset_source_set(&source, fx.set); /* the key appears, */
    assert_ok(judge(&verifier, 1, str_from(token)));
    assert_ok(judge(&verifier, 1, str_from(token)));
    keyset_source_set(&source, one); /* and goes again, with what it vouched for */
    assert_refused(judge(&verifier, 1, str_from(token)), "jwt_invalid", NO_KEY "'k2'" IN_JWKS);
    keyset_unref(one);
    keyset_source_clear(&source);
    free(token);
}

/* Tokens that would be refused anyway cause no fetch. */
static void asks_for_no_key_in_vain(void **state)
{
    (void)state;
    struct key_source source;
    keyset_source_init(&source);
    struct verifier verifier = auth_verifier(&source);
    char kid[400], header[512];
    memset(kid, 'k', sizeof(kid));
    snprintf(header, sizeof(header), "{\"alg\":\"RS256\",\"kid\":\"%.300s\"}", kid);
    const struct {
        const char *header, *claims;
    } cases[] = {{header, GOOD_CLAIMS},          {"{\"alg\":\"none\",\"kid\":\"a\"}", GOOD_CLAIMS},
                 {RS(""), GOOD_CLAIMS},          {K1(",\"crit\":[\"x\"]"), GOOD_CLAIMS},
                 {GOOD_HEADER, ISS_OF("\"x\"")}, {GOOD_HEADER, AUD_OF("\"x\"")}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct verdict verdict;
        char *token = auth_token(fx.k1, ALG_RS256, cases[i].header, cases[i].claims);
        verify_token(&verifier, 1, str_from(token), NOW, false, &fx.arena, &verdict);
        assert_int_equal(verdict.status, VERIFY_REFUSED);
        free(token);
    }
    keyset_source_clear(&source);
}

/* A key speaks for its own issuer only, an audience and an algorithm belong to theirs, also when
 * the token is in the cache. */
static void keeps_issuers_apart(void **state)
{
    (void)state;
    struct key_source other;
    keyset_source_init(&other);
    struct keyset *set = auth_keyset(&fx.k3, 1, ALG_RS256);
    keyset_source_set(&other, set);
    keyset_unref(set);
    struct str audience = STR("b");
    struct verifier both[2] = {auth_verifier(&fx.source), auth_verifier(&other)};
    both[1].issuer = STR("https://b/");
    both[1].audiences = &audience;
    static const char b_claims[] = "{\"iss\":\"https://b/\",\"aud\":\"b\",\"exp\":1700003600}";
    char *a = auth_token(fx.k1, ALG_RS256, GOOD_HEADER, GOOD_CLAIMS);
    char *b = auth_token(fx.k3, ALG_RS256, GOOD_HEADER, b_claims);
    char *crossed = auth_token(fx.k1, ALG_RS256, GOOD_HEADER, b_claims);
    for (int i = 0; i < 3; i++) {
        struct verdict verdict = judge(both, 2, str_from(a));
        assert_ok(verdict);
        assert_true(verdict.verifier == &both[0]);
        verdict = judge(both, 2, str_from(b));
        assert_ok(verdict);
        assert_true(verdict.verifier == &both[1]);
        assert_refused(judge(both, 2, str_from(crossed)), "jwt_invalid", "invalid signature");
        assert_refused(judge(&both[0], 1, str_from(b)), "jwt_invalid", BAD_ISS("https://b/"));
    }
    both[1].audiences = auth_audiences;
    assert_refused(judge(both, 2, str_from(b)), "jwt_invalid", BAD_AUD("b"));
    both[1].algorithms = ALG_BIT(ALG_ES256);
    assert_refused(judge(both, 2, str_from(b)), "jwt_invalid", BAD_ALG("RS256"));
    assert_refused(judge(both, 0, str_from(a)), "jwt_invalid", BAD_ALG("RS256"));
    free(a);
    free(b);
    free(crossed);
    keyset_source_clear(&other);
}

/* ---- the profile of RFC 9068 ---- */

#define AT_CLAIMS(rest)                                                                            \
    "{\"iss\":\"" ISSUER "\",\"aud\":\"" AUDIENCE "\",\"exp\":1700003600,\"sub\":\"s\","           \
    "\"client_id\":\"c\",\"iat\":1" rest "}"

static void holds_to_the_profile(void **state)
{
    (void)state;
    static const struct {
        const char *header, *claims, *text;
    } cases[] = {
        {K1(",\"typ\":\"at+jwt\""), AT_CLAIMS(",\"jti\":\"j\""), NULL},
        {K1(",\"typ\":\"application/AT+JWT\""), AT_CLAIMS(",\"jti\":\"j\""), NULL},
        {K1(",\"typ\":\"JWT\""), AT_CLAIMS(",\"jti\":\"j\""),
         "Invalid 'typ' provided, expected 'at+jwt'"},
        {K1(""), AT_CLAIMS(",\"jti\":\"j\""), "Invalid 'typ' provided, expected 'at+jwt'"},
        {K1(",\"typ\":\"at+jwt\""), AT_CLAIMS(""), "The provided token does not contain 'jti'"},
        {K1(",\"typ\":\"at+jwt\""), CLAIMS_WITH(",\"jti\":\"j\""),
         "The provided token does not contain 'client_id'"},
    };
    struct verifier verifier = auth_verifier(&fx.source);
    verifier.profile = PROFILE_AT_JWT;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *token = auth_token(fx.k1, ALG_RS256, cases[i].header, cases[i].claims);
        judge_all(verifier, str_from(token), cases[i].text != NULL ? "jwt_invalid" : NULL,
                  cases[i].text);
        judge_all(auth_verifier(&fx.source), str_from(token), NULL, NULL);
        free(token);
    }
}

/* ---- odd input ---- */

static void survives_no_token(void **state)
{
    (void)state;
    struct verifier verifier = auth_verifier(&fx.source);
    static char big[64 * 1024];
    memset(big, 'e', sizeof(big));
    assert_refused(judge(&verifier, 1, (struct str){NULL, 0}), "jwt_missing", "No token provided");
    assert_refused(judge(&verifier, 1, STR("")), "jwt_invalid", BAD_TOKEN);
    assert_refused(judge(&verifier, 1, (struct str){big, sizeof(big)}), "jwt_invalid", BAD_TOKEN);
}

static void reads_headers(void **state)
{
    (void)state;
    static const char missing[] = "The Authorization header is missing or empty";
    static const char unsupported[] = "Unsupported format for the Authorization header";
    static const struct {
        const char *header, *token, *text;
    } cases[] = {
        {"Bearer x", "x", NULL},
        {"bearer x", "x", NULL},
        {"BEARER x", "x", NULL},
        {"Bearer ", "", NULL},
        {NULL, NULL, missing},
        {"", NULL, unsupported},
        {"Bearer", NULL, unsupported},
        {"Bearer\tx", NULL, unsupported},
        {"Bearer  x", NULL, unsupported},
        {" Bearer x", NULL, unsupported},
        {"Bearer x ", NULL, unsupported},
        {"Bearer a b", NULL, unsupported},
        {"Bearer x, Bearer x", NULL, unsupported},
        {"Basic abc", NULL, unsupported},
        {"Bearerx y", NULL, unsupported},
        {"x", NULL, unsupported},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str header = str_from(cases[i].header), token = STR("untouched");
        struct verdict verdict = {0};
        int rc = verify_read_header(cases[i].header != NULL ? &header : NULL, &token, &verdict);
        assert_int_equal(rc, cases[i].text != NULL ? -EINVAL : 0);
        if (rc == 0)
            assert_true(str_eq(token, str_from(cases[i].token)));
        else
            assert_refused(verdict, "invalid_header", cases[i].text);
    }
}

/* ---- want of memory ---- */

static struct {
    bool armed;
    long left; /* allocations that still succeed */
} memory;

static bool memory_fails(void)
{
    return memory.armed && memory.left-- <= 0;
}

static void *failing_malloc(size_t size)
{
    return memory_fails() ? NULL : malloc(size);
}

static void *openssl_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return failing_malloc(size);
}

static void *openssl_realloc(void *p, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return memory_fails() ? NULL : realloc(p, size);
}

static void openssl_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    free(p);
}

/* Judges `token` with the n-th allocation of jansson and OpenSSL failing, and all after it, for
 * each n (where all is slow, each 7th) until nothing fails any more. Returns how often the verdict
 * was good. */
static unsigned sweep(struct verifier *verifier, struct str token, long *sites)
{
    unsigned good = 0;
    bool failed = true;
    for (*sites = 0; failed; *sites += slowness() < 10 ? 1 : 7) {
        token_cache_clear();
        arena_reset(&fx.arena);
        struct verdict verdict;
        memory.left = *sites;
        memory.armed = true;
        verify_token(verifier, 1, token, NOW, true, &fx.arena, &verdict);
        failed = memory.left < 0;
        memory.armed = false;
        good += verdict.status == VERIFY_OK;
        if (verdict.status == VERIFY_OK)
            claims_unref(verdict.claims);
        else
            assert_int_equal(verdict.status, VERIFY_REFUSED);
        assert_true(*sites < 5000);
    }
    return good;
}

static void fails_closed_without_memory(void **state)
{
    (void)state;
    char *good = auth_token(fx.k1, ALG_RS256, GOOD_HEADER, GOOD_CLAIMS);
    char *forged = auth_token(fx.k3, ALG_RS256, GOOD_HEADER, GOOD_CLAIMS);
    char *none = auth_token(NULL, ALG_RS256, "{\"alg\":\"none\",\"kid\":\"k1\"}", GOOD_CLAIMS);
    char *expired = auth_token(fx.k1, ALG_RS256, GOOD_HEADER, TIMES_OF(",\"exp\":5"));
    static const enum key_backend backends[] = {KEY_BACKEND_OPENSSL, KEY_BACKEND_LIBJWT};
    for (size_t i = 0; i < 2; i++) {
        struct verifier verifier = auth_verifier(&fx.source);
        verifier.backend = backends[i];
        long sites;
        assert_int_equal(sweep(&verifier, str_from(forged), &sites), 0);
        assert_int_equal(sweep(&verifier, str_from(none), &sites), 0);
        assert_true(sites > 10);
    }
    struct verifier verifier = auth_verifier(&fx.source);
    long sites;
    assert_int_equal(sweep(&verifier, str_from(expired), &sites), 0);
    assert_true(sweep(&verifier, str_from(good), &sites) >= 1); /* the twin, in the end */
    free(good);
    free(forged);
    free(none);
    free(expired);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_headers),
        cmocka_unit_test(judges_addressees),
        cmocka_unit_test(judges_the_claim_that_is_named),
        cmocka_unit_test(judges_times),
        cmocka_unit_test(tolerates_as_configured),
        cmocka_unit_test(refuses_long_texts_shortly),
        cmocka_unit_test(judges_signatures),
        cmocka_unit_test(ignores_embedded_keys),
        cmocka_unit_test(refuses_public_keys_as_secrets),
        cmocka_unit_test(binds_algorithms_to_keys),
        cmocka_unit_test(refuses_forged_es256),
        cmocka_unit_test(takes_a_secret_without_kid),
        cmocka_unit_test(asks_for_keys),
        cmocka_unit_test(asks_for_no_key_in_vain),
        cmocka_unit_test(keeps_issuers_apart),
        cmocka_unit_test(holds_to_the_profile),
        cmocka_unit_test(survives_no_token),
        cmocka_unit_test(reads_headers),
        cmocka_unit_test(fails_closed_without_memory),
    };
    if (CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) != 1)
        return 1;
    json_set_alloc_funcs(failing_malloc, free);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
