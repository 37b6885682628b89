/* The libjwt backend, for the libjwt 1.10 of Debian 12: HS, RS and ES.
 *
 * jwt_decode() returning 0 does not say that a signature was checked. It returns 0 for an empty key
 * and when it could not copy the key (algorithm "none" then), takes whatever algorithm the header
 * names with whatever key it was given, refuses a `typ` that is not JWT (so RFC 9068 tokens) and a
 * payload that is not JSON, and skips characters that are not base64. Hence:
 *
 *  - the key is bound to kind, curve, size and algorithm before (key.c), and is never empty;
 *  - the token is put together here, from an input of two base64url segments and a signature that
 *    is encoded here, so it has one spelling, and is at most LIMIT_TOKEN_BYTES long (libjwt has it
 *    on the stack);
 *  - good is: rc 0, an object, and jwt_get_alg() is the algorithm that was asked for;
 *  - an input that libjwt cannot judge, whatever its signature, is -ENOTSUP. The caller then uses
 *    the OpenSSL backend, which judges every input. */
#include "auth/key_internal.h"

#include <errno.h>
#include <jwt.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <strings.h>

#include "auth/base64url.h"
#include "json/dump.h"
#include "json/strict.h"
#include "base/limits.h"

static jwt_alg_t jwt_alg_of(enum alg alg)
{
    static const jwt_alg_t table[ALG_COUNT] = {
        [ALG_HS256] = JWT_ALG_HS256, [ALG_HS384] = JWT_ALG_HS384, [ALG_HS512] = JWT_ALG_HS512,
        [ALG_RS256] = JWT_ALG_RS256, [ALG_RS384] = JWT_ALG_RS384, [ALG_RS512] = JWT_ALG_RS512,
        [ALG_ES256] = JWT_ALG_ES256, [ALG_ES384] = JWT_ALG_ES384, [ALG_ES512] = JWT_ALG_ES512,
    };
    return table[alg]; /* JWT_ALG_NONE for what libjwt does not know */
}

/* ---- keys as libjwt wants them ---- */

/* PEM as an own allocation, or ptr NULL. */
static struct str pem_of(EVP_PKEY *pkey, bool private)
{
    BIO *bio = BIO_new(private ? BIO_s_secmem() : BIO_s_mem());
    struct str pem = {NULL, 0};
    char *text = NULL, *copy = NULL;
    long len = 0;
    if (bio != NULL &&
        (private ? PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL)
                 : PEM_write_bio_PUBKEY(bio, pkey)) == 1)
        len = BIO_get_mem_data(bio, &text);
    if (len > 0 && (copy = malloc((size_t)len)) != NULL) {
        memcpy(copy, text, (size_t)len);
        pem = (struct str){copy, (size_t)len};
    }
    BIO_free(bio);
    ERR_clear_error();
    return pem;
}

static struct str secret_of(const struct key *key)
{
    return (struct str){(const char *)key->secret, key->secret_len};
}

/* Borrowed from the key; ptr NULL when out of memory. */
static struct str verification_key(struct key *key)
{
    if (key->kind == KEY_OCT)
        return secret_of(key);
    if (key->public_pem.ptr == NULL)
        key->public_pem = pem_of(key->pkey, false);
    return key->public_pem;
}

/* ---- what libjwt can judge ---- */

/* Two segments that are not empty, of the alphabet alone. */
static bool is_signing_input(struct str input)
{
    size_t dot = str_find(input, '.');
    if (dot == 0 || dot + 1 >= input.len)
        return false;
    for (size_t i = 0; i < input.len; i++) {
        char c = input.ptr[i];
        bool allowed = str_is_alnum(c) || c == '-' || c == '_';
        if (!allowed && i != dot)
            return false;
    }
    return true;
}

static json_t *segment_object(struct str segment)
{
    unsigned char bytes[BASE64URL_DECODED_MAX(LIMIT_TOKEN_BYTES)];
    size_t len;
    json_t *value;
    if (segment.len > LIMIT_TOKEN_BYTES || base64url_decode(segment, bytes, &len) != 0)
        return NULL;
    value = strict_json_load((struct str){(const char *)bytes, len}, NULL);
    if (!json_is_object(value)) {
        json_decref(value);
        return NULL;
    }
    return value;
}

/* Could a good signature over this input have been found good? Asked after a refusal only. */
static bool can_judge(struct str input, enum alg alg)
{
    size_t dot = str_find(input, '.');
    json_t *header = segment_object((struct str){input.ptr, dot});
    json_t *payload = segment_object(str_skip(input, dot + 1));
    const char *name = json_string_value(json_object_get(header, "alg"));
    const char *typ = json_string_value(json_object_get(header, "typ"));
    bool can = header != NULL && payload != NULL && name != NULL &&
               strcmp(name, alg_name(alg)) == 0 && (typ == NULL || strcasecmp(typ, "JWT") == 0);
    json_decref(header);
    json_decref(payload);
    return can;
}

static int judge_with(struct str pem, enum alg alg, const char *token)
{
    jwt_t *jwt = NULL;
    ERR_clear_error();
    errno = 0;
    int rc = jwt_decode(&jwt, token, (const unsigned char *)pem.ptr, (int)pem.len);
    /* To libjwt, want of memory is mostly a bad signature; malloc and OpenSSL have left word. */
    bool starved = errno == ENOMEM;
    starved |= key_openssl_wanted_memory();
    bool good = rc == 0 && jwt != NULL && jwt_get_alg(jwt) == jwt_alg_of(alg);
    jwt_free(jwt);
    if (good)
        return 0;
    /* 0 with another algorithm: the copy of the key failed. */
    return rc == 0 || rc == ENOMEM || starved ? -ENOMEM : -EBADMSG;
}

int key_libjwt_verify(struct key *key, enum alg alg, struct str input, struct str signature)
{
    struct buf token = BUF_INIT;
    struct str pem;
    int rc = -ENOMEM;
    if (jwt_alg_of(alg) == JWT_ALG_NONE || input.len > LIMIT_TOKEN_BYTES ||
        !is_signing_input(input))
        return -ENOTSUP;
    pem = verification_key(key);
    buf_add_str(&token, input);
    buf_add_char(&token, '.');
    base64url_encode(signature.ptr, signature.len, &token);
    buf_add_char(&token, '\0');
    if (!buf_failed(&token) && pem.ptr != NULL && pem.len > 0 && pem.len <= INT_MAX)
        rc = judge_with(pem, alg, token.data);
    buf_free(&token);
    if (rc != 0 && !can_judge(input, alg))
        rc = -ENOTSUP;
    return rc;
}

/* ---- signing ---- */

static int fill(jwt_t *jwt, enum alg alg, struct str pem, const json_t *header, const char *claims)
{
    char *text = dump_json_text(header, JSON_COMPACT);
    int rc = text != NULL ? jwt_add_headers_json(jwt, text) : ENOMEM;
    free(text);
    if (rc == 0)
        rc = jwt_add_grants_json(jwt, claims);
    if (rc == 0)
        rc = jwt_set_alg(jwt, jwt_alg_of(alg), (const unsigned char *)pem.ptr, (int)pem.len);
    return rc;
}

static int sign_with(struct str pem, enum alg alg, const json_t *header, const char *claims,
                     struct buf *out)
{
    jwt_t *jwt = NULL;
    char *token = NULL;
    int rc = jwt_new(&jwt);
    if (rc == 0)
        rc = fill(jwt, alg, pem, header, claims);
    if (rc == 0 && jwt_get_alg(jwt) == jwt_alg_of(alg))
        token = jwt_encode_str(jwt);
    if (token != NULL)
        buf_add_str(out, str_from(token));
    free(token);
    jwt_free(jwt);
    ERR_clear_error();
    return token != NULL && !buf_failed(out) ? 0 : -ENOMEM;
}

int key_libjwt_sign(struct key *key, enum alg alg, const json_t *header, struct str claims_json,
                    struct buf *out)
{
    struct buf claims = BUF_INIT;
    const char *typ = json_string_value(json_object_get(header, "typ"));
    struct str pem;
    int rc = -ENOMEM;
    /* libjwt writes "typ":"JWT" over whatever there is */
    if (jwt_alg_of(alg) == JWT_ALG_NONE || claims_json.len > LIMIT_TOKEN_BYTES || typ == NULL ||
        strcmp(typ, "JWT") != 0)
        return -ENOTSUP;
    pem = key->kind == KEY_OCT ? secret_of(key) : pem_of(key->pkey, true);
    buf_add_str(&claims, claims_json);
    buf_add_char(&claims, '\0');
    if (!buf_failed(&claims) && pem.ptr != NULL)
        rc = sign_with(pem, alg, header, claims.data, out);
    buf_free(&claims);
    if (key->kind != KEY_OCT && pem.ptr != NULL) {
        OPENSSL_cleanse((char *)(uintptr_t)pem.ptr, pem.len);
        free((char *)(uintptr_t)pem.ptr);
    }
    return rc;
}
