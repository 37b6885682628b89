/* What the tests of host/auth share: keys, key sets, and tokens made from raw text, good and bad.
 * Every token is at NOW. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "unit.h"
#include "rsa_keys.h"

#include "auth/base64url.h"
#include "auth/token_cache.h"
#include "auth/key_internal.h"
#include "auth/keyset.h"
#include "auth/verify.h"

#define NOW      1700000000.0
#define ISSUER   "http://127.0.0.1:9/"
#define AUDIENCE "https://api/tv-shows"

/* A header and claims that are accepted by `auth_verifier`. */
#define GOOD_HEADER "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"k1\"}"
#define CLAIMS_WITH(members)                                                                       \
    "{\"iss\":\"" ISSUER "\",\"aud\":\"" AUDIENCE "\",\"sub\":\"auth0|1\",\"iat\":1699999990,"     \
    "\"exp\":1700003600" members "}"
#define GOOD_CLAIMS CLAIMS_WITH("")

static inline struct key *auth_key(enum alg alg, const char *kid)
{
    struct key *key = any_key(alg);
    if (kid != NULL)
        key_set_kid(key, str_from(kid));
    return key;
}

static inline struct key *auth_rsa(enum rsa_key n, const char *kid)
{
    struct key *key = rsa_key(n);
    key_set_kid(key, str_from(kid));
    return key;
}

/* A set as an issuer publishes it. */
static inline struct keyset *auth_keyset(struct key **keys, unsigned count, enum alg alg)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < count; i++)
        json_array_append_new(list, jwk_write_key(keys[i], alg));
    json_t *doc = json_pack("{s:o}", "keys", list);
    char *text = json_dumps(doc, 0);
    struct keyset *set = NULL;
    assert_int_equal(keyset_parse(str_from(text), &set, NULL), 0);
    free(text);
    json_decref(doc);
    return set;
}

/* "base64url(header).base64url(payload)". */
static inline void auth_signing_input(struct buf *out, const char *header, const char *payload)
{
    base64url_encode(header, strlen(header), out);
    buf_add_char(out, '.');
    base64url_encode(payload, strlen(payload), out);
}

/* A token from these very texts; `key` NULL leaves the third part empty. Owned by the caller. */
static inline char *auth_token(struct key *key, enum alg alg, const char *header,
                               const char *payload)
{
    struct buf token = BUF_INIT, signature = BUF_INIT;
    auth_signing_input(&token, header, payload);
    if (key != NULL)
        assert_int_equal(key_openssl_sign(key, alg, buf_str(&token), &signature), 0);
    buf_add_char(&token, '.');
    base64url_encode(signature.data, signature.len, &token);
    buf_add_char(&token, '\0');
    assert_false(buf_failed(&token));
    buf_free(&signature);
    return token.data;
}

static struct str auth_audiences[] = {{AUDIENCE, sizeof(AUDIENCE) - 1}};

static inline struct verifier auth_verifier(struct key_source *source)
{
    struct verifier verifier;
    verify_setup(&verifier);
    verifier.issuer = STR(ISSUER);
    verifier.audiences = auth_audiences;
    verifier.audience_count = 1;
    verifier.keys = source;
    return verifier;
}
