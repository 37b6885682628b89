/* A self-signed certificate around an RSA key: what key sets of Auth0 carry as x5c and x5t. Nobody
 * checks it; it is the same for the same key. */
#include "auth/key_internal.h"

#include <errno.h>
#include <openssl/x509.h>

#include "auth/base64url.h"
#include "base/base64.h"

/* The first 8 bytes of a hash over the key: positive, and another one for each key. */
static bool set_serial(X509 *cert, const unsigned char hash[20])
{
    uint64_t serial = 0;
    for (unsigned i = 0; i < 8; i++)
        serial = serial << 8 | hash[i];
    return ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial >> 1 | 1) == 1;
}

static bool fill(X509 *cert, const struct key *key)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    X509_NAME *name = X509_get_subject_name(cert);
    return X509_set_version(cert, 2) == 1 && X509_set_pubkey(cert, key->pkey) == 1 &&
           X509_pubkey_digest(cert, EVP_sha1(), hash, &len) == 1 && set_serial(cert, hash) &&
           ASN1_TIME_set_string_X509(X509_getm_notBefore(cert), "20200101000000Z") == 1 &&
           ASN1_TIME_set_string_X509(X509_getm_notAfter(cert), "20491231235959Z") == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"luafn dev",
                                      -1, -1, 0) == 1 &&
           X509_set_issuer_name(cert, name) == 1 && X509_sign(cert, key->pkey, EVP_sha256()) > 0;
}

/* jwk.x5c = [base64 of the DER], jwk.x5t = base64url of its SHA-1 (RFC 7517 4.7, 4.8) */
static bool set_members(json_t *jwk, const unsigned char *der, size_t len)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    size_t hash_len = 0;
    struct buf x5c = BUF_INIT, x5t = BUF_INIT;
    if (EVP_Q_digest(NULL, "SHA1", NULL, der, len, hash, &hash_len) != 1)
        return false;
    if (buf_reserve(&x5c, BASE64_ENCODED_MAX(len)) == 0)
        x5c.len = base64_encode((struct str){(const char *)der, len}, BASE64_STANDARD, x5c.data);
    base64url_encode(hash, hash_len, &x5t);
    bool ok = !buf_failed(&x5c) && !buf_failed(&x5t) &&
              json_object_set_new(jwk, "x5t", json_stringn(x5t.data, x5t.len)) == 0 &&
              json_object_set_new(jwk, "x5c", json_pack("[s%]", x5c.data, x5c.len)) == 0;
    buf_free(&x5c);
    buf_free(&x5t);
    return ok;
}

int key_add_certificate(const struct key *key, json_t *jwk)
{
    if (key->kind != KEY_RSA || !key->can_sign)
        return -EINVAL;
    X509 *cert = X509_new();
    unsigned char *der = NULL;
    int len = cert != NULL && fill(cert, key) ? i2d_X509(cert, &der) : -1;
    bool ok = len > 0 && set_members(jwk, der, (size_t)len);
    OPENSSL_free(der);
    X509_free(cert);
    return ok ? 0 : key_openssl_failure(-ENOMEM);
}
