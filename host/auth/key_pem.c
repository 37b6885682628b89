/* Keys from and to PEM, and new ones. */
#include "auth/key_internal.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

#include "base/limits.h"

/* One decoded block; OpenSSL's allocations. */
struct block {
    char *name;
    char *header;
    unsigned char *data;
    long len;
};

static void block_free(struct block *block)
{
    OPENSSL_free(block->name);
    OPENSSL_free(block->header);
    OPENSSL_free(block->data);
    *block = (struct block){0};
}

/* The first block that can be a key: `openssl ecparam -genkey` writes the curve before it. Reading
 * the blocks by hand keeps OpenSSL from ever asking a terminal for a passphrase. */
static int read_block(struct str pem, struct block *block)
{
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    int rc = bio != NULL ? -EAGAIN : -ENOMEM;
    while (rc == -EAGAIN) {
        if (PEM_read_bio(bio, &block->name, &block->header, &block->data, &block->len) != 1)
            rc = key_openssl_failure(-EINVAL);
        else if (strcmp(block->name, "EC PARAMETERS") != 0)
            rc = 0;
        else
            block_free(block);
    }
    BIO_free(bio);
    return rc;
}

static EVP_PKEY *certificate_key(const unsigned char *der, long len)
{
    X509 *certificate = d2i_X509(NULL, &der, len);
    EVP_PKEY *pkey = certificate != NULL ? X509_get_pubkey(certificate) : NULL;
    X509_free(certificate);
    return pkey;
}

static EVP_PKEY *decode(const struct block *block, bool *is_private)
{
    const unsigned char *der = block->data;
    size_t len = strlen(block->name), suffix = strlen("PRIVATE KEY");
    *is_private = len >= suffix && strcmp(block->name + len - suffix, "PRIVATE KEY") == 0;
    if (*is_private)
        return d2i_AutoPrivateKey(NULL, &der, block->len);
    if (strcmp(block->name, "PUBLIC KEY") == 0)
        return d2i_PUBKEY(NULL, &der, block->len);
    if (strcmp(block->name, "RSA PUBLIC KEY") == 0)
        return d2i_PublicKey(EVP_PKEY_RSA, NULL, &der, block->len);
    if (strcmp(block->name, "CERTIFICATE") == 0)
        return certificate_key(block->data, block->len);
    return NULL;
}

static int key_from_block(const struct block *block, struct key **out, struct err *err)
{
    EVP_PKEY *pkey;
    bool is_private;
    int rc;
    if (strstr(block->name, "ENCRYPTED") != NULL || strstr(block->header, "ENCRYPTED") != NULL)
        return err_set(err, -EINVAL, "encrypted private keys are not supported");
    pkey = decode(block, &is_private);
    if (pkey == NULL) {
        rc = key_openssl_failure(-EINVAL);
        return err_set(err, rc, "the PEM block \"%.64s\" holds no key that can be read",
                       block->name);
    }
    ERR_clear_error(); /* formats that were tried and did not fit */
    return key_adopt(pkey, is_private, out, err);
}

int key_from_pem(struct str pem, struct key **out, struct err *err)
{
    struct block block = {0};
    int rc;
    *out = NULL;
    if (pem.len > LIMIT_JWKS_BYTES)
        return err_set(err, -EINVAL, "a key file over %d bytes", LIMIT_JWKS_BYTES);
    rc = pem.len > 0 ? read_block(pem, &block) : -EINVAL;
    if (rc == 0)
        rc = key_from_block(&block, out, err);
    else
        err_set(err, rc, rc == -ENOMEM ? "out of memory" : "not a PEM key");
    if (block.data != NULL)
        OPENSSL_cleanse(block.data, (size_t)block.len);
    block_free(&block);
    return rc;
}

int key_to_pem(const struct key *key, struct buf *out)
{
    BIO *bio;
    char *text = NULL;
    long len = 0;
    int rc;
    if (key->pkey == NULL || !key->can_sign)
        return -EINVAL;
    bio = BIO_new(BIO_s_secmem());
    if (bio != NULL &&
        PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL) == 1)
        len = BIO_get_mem_data(bio, &text);
    if (len > 0)
        buf_add(out, text, (size_t)len);
    rc = len <= 0 || buf_failed(out) ? key_openssl_failure(-ENOMEM) : 0;
    BIO_free(bio);
    return rc;
}

int key_to_public_pem(const struct key *key, struct buf *out)
{
    char *text = NULL;
    long len = 0;
    if (key->pkey == NULL)
        return -EINVAL;
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio != NULL && PEM_write_bio_PUBKEY(bio, key->pkey) == 1)
        len = BIO_get_mem_data(bio, &text);
    if (len > 0)
        buf_add(out, text, (size_t)len);
    int rc = len <= 0 || buf_failed(out) ? key_openssl_failure(-ENOMEM) : 0;
    BIO_free(bio);
    return rc;
}

static int generate_secret(enum alg alg, struct key **out, struct err *err)
{
    unsigned char secret[EVP_MAX_MD_SIZE];
    size_t len = alg_hash_size(alg);
    int rc = -ENOMEM;
    if (RAND_bytes(secret, (int)len) == 1)
        rc = key_from_secret((struct str){(const char *)secret, len}, out, err);
    else
        key_openssl_failure(rc);
    OPENSSL_cleanse(secret, sizeof(secret));
    return rc;
}

static EVP_PKEY *generate_pkey(enum alg alg)
{
    switch (alg) {
    case ALG_ES256:
        return EVP_EC_gen("P-256");
    case ALG_ES384:
        return EVP_EC_gen("P-384");
    case ALG_ES512:
        return EVP_EC_gen("P-521");
    case ALG_EDDSA:
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    default:
        return EVP_RSA_gen((unsigned)LIMIT_RSA_BITS_MIN);
    }
}

int key_generate(enum alg alg, struct key **out, struct err *err)
{
    EVP_PKEY *pkey;
    *out = NULL;
    if (alg <= ALG_NONE_KNOWN || alg >= ALG_COUNT)
        return err_set(err, -EINVAL, "no such algorithm");
    if ((ALG_BIT(alg) & ALG_HMAC) != 0)
        return generate_secret(alg, out, err);
    pkey = generate_pkey(alg);
    if (pkey == NULL)
        return err_set(err, key_openssl_failure(-ENOMEM), "no %s key could be made", alg_name(alg));
    return key_adopt(pkey, true, out, err);
}
