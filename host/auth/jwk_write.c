/* Keys as JSON Web Keys, and their thumbprints. */
#include "auth/key_internal.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <stdlib.h>

#include "auth/base64url.h"

/* jwk[name] = base64url(bytes) */
static bool set_octets(json_t *jwk, const char *name, const void *bytes, size_t len)
{
    struct buf text = BUF_INIT;
    json_t *value = NULL;
    base64url_encode(bytes, len, &text);
    if (!buf_failed(&text))
        value = json_stringn(text.data, text.len);
    buf_free(&text);
    return json_object_set_new(jwk, name, value) == 0;
}

/* `size` 0: as short as can be. */
static bool set_number(json_t *jwk, const char *name, const struct key *key, const char *param,
                       size_t size)
{
    BIGNUM *number = NULL;
    unsigned char *bytes = NULL;
    bool ok = EVP_PKEY_get_bn_param(key->pkey, param, &number) == 1;
    if (ok && size == 0)
        size = (size_t)BN_num_bytes(number);
    ok = ok && (bytes = malloc(size)) != NULL && BN_bn2binpad(number, bytes, (int)size) >= 0 &&
         set_octets(jwk, name, bytes, size);
    free(bytes);
    BN_free(number);
    return ok;
}

static bool set_curve(json_t *jwk, const struct key *key)
{
    return json_object_set_new(jwk, "crv", json_string(key->curve->name)) == 0;
}

static bool set_okp(json_t *jwk, const struct key *key)
{
    unsigned char bytes[57];
    size_t len = sizeof(bytes);
    return EVP_PKEY_get_raw_public_key(key->pkey, bytes, &len) == 1 &&
           set_octets(jwk, "x", bytes, len);
}

static bool set_required(json_t *jwk, const struct key *key)
{
    static const char *const kty[] = {"oct", "RSA", "EC", "OKP"};
    if (json_object_set_new(jwk, "kty", json_string(kty[key->kind])) != 0)
        return false;
    switch (key->kind) {
    case KEY_RSA:
        return set_number(jwk, "n", key, OSSL_PKEY_PARAM_RSA_N, 0) &&
               set_number(jwk, "e", key, OSSL_PKEY_PARAM_RSA_E, 0);
    case KEY_EC:
        return set_curve(jwk, key) &&
               set_number(jwk, "x", key, OSSL_PKEY_PARAM_EC_PUB_X, key->curve->size) &&
               set_number(jwk, "y", key, OSSL_PKEY_PARAM_EC_PUB_Y, key->curve->size);
    case KEY_OKP:
        return set_curve(jwk, key) && set_okp(jwk, key);
    case KEY_OCT:
        return set_octets(jwk, "k", key->secret, key->secret_len);
    }
    return false;
}

/* Exactly the members that RFC 7638 section 3.2 hashes. */
static json_t *required_members(const struct key *key)
{
    json_t *jwk = json_object();
    if (jwk == NULL || set_required(jwk, key))
        return jwk;
    key_openssl_failure(0);
    json_decref(jwk);
    return NULL;
}

json_t *jwk_write_key(const struct key *key, enum alg alg)
{
    json_t *jwk;
    if (key->kind == KEY_OCT || !key_fits(key, alg))
        return NULL;
    jwk = required_members(key);
    if (jwk == NULL || json_object_set_new(jwk, "use", json_string("sig")) != 0 ||
        json_object_set_new(jwk, "alg", json_string(alg_name(alg))) != 0 ||
        (key->kid.len > 0 &&
         json_object_set_new(jwk, "kid", json_stringn(key->kid.ptr, key->kid.len)) != 0)) {
        json_decref(jwk);
        return NULL;
    }
    return jwk;
}

int jwk_write_thumbprint(const struct key *key, struct buf *out)
{
    char text[4096]; /* json_dumps() leaves out what it has no memory for */
    json_t *jwk = required_members(key);
    size_t size = 0, len = 0;
    unsigned char hash[EVP_MAX_MD_SIZE];
    if (jwk != NULL)
        size = json_dumpb(jwk, text, sizeof(text), JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(jwk);
    if (size == 0 || size > sizeof(text)) /* a secret may be that long, a public key cannot */
        return size == 0 ? -ENOMEM : -EINVAL;
    if (EVP_Q_digest(NULL, "SHA256", NULL, text, size, hash, &len) != 1)
        return key_openssl_failure(-ENOMEM);
    base64url_encode(hash, len, out);
    return buf_failed(out) ? -ENOMEM : 0;
}
