/* Checking a proof, in the order of RFC 9449 section 4.3; the first failure wins. */
#include "auth/dpop.h"

#include <errno.h>
#include <math.h>

#include "auth/key.h"
#include "auth/nonce.h"
#include "shared/digest.h"
#include "shared/replay.h"
#include "auth/token.h"
#include "base/limits.h"

static struct str text_member(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return (struct str){json_string_value(value), json_string_length(value)};
}

static struct str bound_to(const json_t *claims)
{
    return text_member(json_object_get(claims, "cnf"), "jkt");
}

bool dpop_is_bound(const json_t *claims)
{
    return json_object_get(json_object_get(claims, "cnf"), "jkt") != NULL;
}

bool dpop_refuses_bearer(enum dpop_mode mode, const json_t *claims)
{
    return mode == DPOP_REQUIRED || (mode == DPOP_OPTIONAL && dpop_is_bound(claims));
}

/* ---- the URL ---- */

/* Host and port, without the port that the scheme implies. */
static struct str plain_authority(struct str scheme, struct str authority)
{
    struct str port = str_eq_nocase(scheme, STR("https")) ? STR(":443") : STR(":80");
    if (str_ends_with(authority, port))
        authority.len -= port.len;
    return authority;
}

/* Takes "scheme://authority" off the front. */
static bool take_origin(struct str *url, struct str *scheme, struct str *authority)
{
    size_t colon = str_find(*url, ':');
    *scheme = (struct str){url->ptr, colon};
    struct str rest = str_skip(*url, colon < url->len ? colon + 1 : colon);
    if (!str_starts_with(rest, STR("//")))
        return false;
    rest = str_skip(rest, 2);
    size_t end = 0;
    while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?' && rest.ptr[end] != '#')
        end++;
    *authority = plain_authority(*scheme, (struct str){rest.ptr, end});
    *url = str_skip(rest, end);
    return true;
}

/* Query and fragment do not count (section 4.3, point 9). */
static bool is_for_url(const struct dpop_request *req, struct str htu)
{
    struct str scheme, authority;
    struct str own_scheme = req->scheme, own_authority = plain_authority(req->scheme, req->host);
    struct str origin = req->origin;
    if (!take_origin(&htu, &scheme, &authority))
        return false;
    if (origin.len > 0 && !take_origin(&origin, &own_scheme, &own_authority))
        return false;
    size_t end = str_find(htu, '?');
    size_t fragment = str_find(htu, '#');
    htu.len = end < fragment ? end : fragment;
    if (htu.len == 0)
        htu = STR("/");
    return authority.len > 0 && str_eq_nocase(scheme, own_scheme) &&
           str_eq_nocase(authority, own_authority) && str_eq(htu, req->path);
}

/* ---- the parts of a proof ---- */

static const char *wrong_header(const json_t *header)
{
    static const char *const private_members[] = {"d",  "p",   "q", "dp", "dq",
                                                  "qi", "oth", "k", NULL};
    if (!json_is_object(header) || !str_eq_nocase(text_member(header, "typ"), STR("dpop+jwt")))
        return "The proof's 'typ' is not 'dpop+jwt'";
    if (json_object_get(header, "crit") != NULL || json_object_get(header, "b64") != NULL)
        return "The proof uses extensions, which are not supported";
    const json_t *jwk = json_object_get(header, "jwk");
    if (!json_is_object(jwk))
        return "The proof has no 'jwk'";
    for (const char *const *name = private_members; *name != NULL; name++) {
        if (json_object_get(jwk, *name) != NULL)
            return "The proof's 'jwk' is not a public key";
    }
    return NULL;
}

static bool is_for_token(struct str ath, struct str token)
{
    unsigned char hash[DIGEST_BYTES];
    digest_sha256(token, hash);
    unsigned char said[BASE64URL_DECODED_MAX(64)];
    size_t len;
    return ath.ptr != NULL && ath.len <= 64 && base64url_decode(ath, said, &len) == 0 &&
           len == sizeof(hash) && memcmp(said, hash, len) == 0;
}

static const char *wrong_claims(const struct dpop_request *req, const json_t *claims)
{
    const json_t *iat = json_object_get(claims, "iat");
    double made = json_is_number(iat) ? json_number_value(iat) : (double)NAN;
    struct str jti = text_member(claims, "jti");
    if (jti.len == 0 || jti.len > LIMIT_DPOP_JTI_BYTES)
        return "The proof's 'jti' is no identifier";
    if (!str_eq(text_member(claims, "htm"), req->method))
        return "The proof's 'htm' is not the method of this request";
    if (!is_for_url(req, text_member(claims, "htu")))
        return "The proof's 'htu' is not the URL of this request";
    if (!(made >= req->now - LIMIT_DPOP_AGE - req->tolerance &&
          made <= req->now + LIMIT_DPOP_AHEAD + req->tolerance))
        return "The proof's 'iat' is not near the present time";
    if (!is_for_token(text_member(claims, "ath"), req->token))
        return "The proof's 'ath' is not the hash of the token";
    return NULL;
}

/* 0 and the key's thumbprint; -EINVAL: not signed by the key that it brings. */
static int check_signature(const struct token *proof, struct buf *thumbprint)
{
    struct key *key = NULL;
    struct err err;
    enum alg alg = alg_parse(text_member(proof->header, "alg"));
    if (alg == ALG_NONE_KNOWN || (ALG_BIT(alg) & ALG_HMAC) != 0 || proof->signature.len == 0)
        return -EINVAL;
    int rc = jwk_read_key(json_object_get(proof->header, "jwk"), &key, &err);
    if (rc != 0)
        return rc == -ENOMEM ? rc : -EINVAL;
    rc = key_fits(key, alg)
             ? key_verify(key, KEY_BACKEND_OPENSSL, alg, proof->signing_input, proof->signature)
             : -EINVAL;
    if (rc == 0)
        rc = jwk_write_thumbprint(key, thumbprint);
    key_unref(key);
    if (rc == 0 && buf_failed(thumbprint))
        rc = -ENOMEM;
    return rc == 0 || rc == -ENOMEM ? rc : -EINVAL;
}

/* ---- all of it ---- */

static enum dpop_result remember(const struct dpop_request *req, struct str thumbprint,
                                 const json_t *claims, struct exchange_once *once, const char **why)
{
    enum nonce_age age = req->nonce_secret.len == 0 ? NONCE_NEWEST
                                                    : nonce_judge(req->nonce_secret, req->now,
                                                                  text_member(claims, "nonce"));
    if (age == NONCE_NONE)
        return DPOP_NO_NONCE;
    const json_t *iat = json_object_get(claims, "iat");
    once->state = ONCE_HERE;
    once->until = json_number_value(iat) + LIMIT_DPOP_AGE + req->tolerance;
    switch (
        replay_admit(thumbprint, text_member(claims, "jti"), req->now, once->until, once->name)) {
    case REPLAY_NEW:
        return age == NONCE_OLDER ? DPOP_GOOD_RENEW : DPOP_GOOD;
    case REPLAY_SEEN:
        *why = DPOP_USED;
        return DPOP_BAD_PROOF;
    default:
        return DPOP_BUSY;
    }
}

static enum dpop_result check_parsed(const struct dpop_request *req, const json_t *claims,
                                     const struct token *proof, struct buf *thumbprint,
                                     struct exchange_once *once, const char **why)
{
    *why = wrong_header(proof->header);
    if (*why == NULL)
        *why = wrong_claims(req, proof->claims);
    if (*why != NULL)
        return DPOP_BAD_PROOF;
    int rc = check_signature(proof, thumbprint);
    if (rc == -ENOMEM)
        return DPOP_MEMORY;
    if (rc != 0) {
        *why = "The proof is not signed by its 'jwk'";
        return DPOP_BAD_PROOF;
    }
    struct str jkt = bound_to(claims);
    if (jkt.ptr == NULL || !str_eq(jkt, buf_str(thumbprint)))
        return DPOP_OTHER_KEY;
    return remember(req, buf_str(thumbprint), proof->claims, once, why);
}

enum dpop_result dpop_check(const struct dpop_request *req, const json_t *claims, struct str proof,
                            struct exchange_once *once, const char **why)
{
    struct token token;
    struct buf thumbprint = BUF_INIT;
    int rc = token_parse(proof, &token);
    if (rc == -ENOMEM)
        return DPOP_MEMORY;
    *why = "The proof is not a JWT";
    if (rc != 0)
        return DPOP_BAD_PROOF;
    enum dpop_result result = check_parsed(req, claims, &token, &thumbprint, once, why);
    buf_free(&thumbprint);
    token_clear(&token);
    return result;
}
