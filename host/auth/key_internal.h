/* What the key files share: the struct, and the two backends behind key_verify and key_sign. */
#pragma once

#include <errno.h>
#include <openssl/evp.h>
#include <stdbool.h>

#include "auth/key.h"

enum key_kind { KEY_OCT, KEY_RSA, KEY_EC, KEY_OKP };

/* Made ready at the first use of a key with an algorithm: fetching and setting up costs as much as
 * a verification. */
struct key_slot {
    EVP_MAC_CTX *mac;     /* HS: keyed */
    EVP_MD_CTX *digest;   /* RS, PS, ES: the hash; EdDSA: the whole verification */
    EVP_PKEY_CTX *verify; /* RS, PS, ES: padding and hash set */
};

struct key {
    unsigned refs;
    enum key_kind kind;
    unsigned algs; /* ALG_BIT()s it may be used with; never ALG_NONE_KNOWN's */
    bool can_sign;
    const struct key_curve *curve; /* static; NULL for RSA and oct */
    struct str kid;                /* owned */
    unsigned char *secret;         /* owned; oct only */
    size_t secret_len;
    EVP_PKEY *pkey;        /* owned; NULL for oct */
    struct str public_pem; /* owned; made at the first use of the libjwt backend */
    struct key_slot slots[ALG_COUNT];
};

struct key_curve {
    const char *name;  /* JWK crv */
    const char *group; /* OpenSSL's name of the group, or of the key type for OKP */
    enum key_kind kind;
    enum alg alg;
    size_t size; /* of a coordinate, or of the OKP public key */
    size_t signature_size;
};

/* ---- key.c ---- */

const struct key_curve *key_curve_of(struct str name, enum key_kind kind);
/* Judges a parsed key and wraps it; takes `pkey` over in any case. -EINVAL with the reason. */
int key_adopt(EVP_PKEY *pkey, bool can_sign, struct key **out, struct err *err)
    __attribute__((warn_unused_result));
/* Same material? */
bool key_is_same(const struct key *a, const struct key *b);
/* Same material, kid and algorithms? */
bool key_equal(const struct key *a, const struct key *b);

/* ---- key_openssl.c ---- */

/* Was memory short in what has just failed? Empties OpenSSL's error queue. */
bool key_openssl_wanted_memory(void);

static inline int key_openssl_failure(int otherwise)
{
    return key_openssl_wanted_memory() ? -ENOMEM : otherwise;
}

/* key.c has checked that the key fits and that the signature has the right length. */
int key_openssl_verify(struct key *key, enum alg alg, struct str input, struct str signature)
    __attribute__((warn_unused_result));
/* Appends the raw signature. */
int key_openssl_sign(struct key *key, enum alg alg, struct str input, struct buf *out)
    __attribute__((warn_unused_result));
void key_openssl_forget(struct key *key);

/* ---- key_libjwt.c ---- */

int key_libjwt_verify(struct key *key, enum alg alg, struct str input, struct str signature)
    __attribute__((warn_unused_result));
/* Appends the compact JWS. -ENOTSUP: libjwt does not know the algorithm or cannot do it soundly. */
int key_libjwt_sign(struct key *key, enum alg alg, const json_t *header, struct str claims_json,
                    struct buf *out) __attribute__((warn_unused_result));
