/* Keys and the two ways to check a signature with them.
 *
 * A key is parsed once, bound to its kind, and then used for any number of signatures. Each backend
 * is complete for the algorithms it knows; verdicts must agree. `openssl` knows all of them,
 * `libjwt` HS, RS and ES (Debian's 1.10). Functions are not thread-safe per key; a worker has one
 * thread. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "auth/alg.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* Makes the library ready, before anything else uses it, for this process and those forked from it:
 * what it prepares at its first use and cannot finish, it trips over later. 0 or -ENOMEM. */
int key_start(void) __attribute__((warn_unused_result));

enum key_backend { KEY_BACKEND_OPENSSL, KEY_BACKEND_LIBJWT };

struct key; /* refcounted */

/* From a JWK (RSA, EC, OKP, oct; x5c[0] where n is absent). -ENOTSUP: it is for something else
 * (`use` other than sig, `key_ops` without verify). -EINVAL: RSA under 2048 bits or an even or tiny
 * exponent, a curve that does not fit, a short HMAC key (when its alg is named), a public key that
 * is not on the curve, a certificate of another key. Both with the reason. Numbers may have
 * padding, the standard alphabet of base64, or zeros at the front. Private members are not looked
 * at: only an oct key can sign. */
int jwk_read_key(const json_t *jwk, struct key **out, struct err *err)
    __attribute__((warn_unused_result));
/* From PEM text: public key, certificate, or private key (then it can sign). Never asks for a
 * passphrase. */
int key_from_pem(struct str pem, struct key **out, struct err *err)
    __attribute__((warn_unused_result));
/* From the bytes of a shared secret: at least 32; it fits the HS algorithms whose hash is not
 * longer than it. */
int key_from_secret(struct str secret, struct key **out, struct err *err)
    __attribute__((warn_unused_result));
/* A new private key for `alg` (RS/PS: RSA-2048; ES: its curve; EdDSA: Ed25519; HS: random bytes).
 */
int key_generate(enum alg alg, struct key **out, struct err *err)
    __attribute__((warn_unused_result));

struct key *key_ref(struct key *key);
void key_unref(struct key *key); /* NULL is fine */

struct str key_kid(const struct key *key); /* empty when the JWK had none */
/* Copies; out of memory leaves the key without kid. */
void key_set_kid(struct key *key, struct str kid);
/* May a signature of this algorithm be checked with this key (kind, curve, size, the JWK's alg)? */
bool key_fits(const struct key *key, enum alg alg);
bool key_can_sign(const struct key *key);

/* Checks `signature` (raw bytes as in the token) over `input`. 0: good. -EBADMSG: not good.
 * -ENOTSUP: the backend cannot judge this algorithm or input (libjwt: PS, EdDSA, a `typ` that is
 * not JWT, a payload that is no object); the caller then asks KEY_BACKEND_OPENSSL. -ENOMEM.
 * Anything but 0 is a refusal. */
int key_verify(struct key *key, enum key_backend backend, enum alg alg, struct str input,
               struct str signature) __attribute__((warn_unused_result));

/* A compact JWS over header {alg, typ, kid} and the claims' JSON text, which is signed as it is,
 * appended to `out`. `extra_header` may be NULL; its members replace typ and kid, `alg` in it is
 * refused. 0 or -EINVAL, -ENOMEM with the reason; `out` is as before then. */
int key_sign(struct key *key, enum alg alg, const json_t *extra_header, struct str claims_json,
             struct buf *out, struct err *err) __attribute__((warn_unused_result));

/* The signature alone, as a JWS has it (RFC 7518 section 3), over any bytes; appended to `out`. 0
 * or -EINVAL, -ENOMEM with the reason. */
int key_sign_bytes(struct key *key, enum alg alg, struct str input, struct buf *out,
                   struct err *err) __attribute__((warn_unused_result));

/* The same as key_sign, by the backend that is named; OpenSSL steps in where libjwt cannot (PS,
 * EdDSA, a `typ` other than JWT). libjwt writes the claims anew (equal JSON, members sorted),
 * and 1.10 reads a null pointer when memory runs out meanwhile: for programs that make one token,
 * not for the server. */
int key_sign_with(struct key *key, enum key_backend backend, enum alg alg,
                  const json_t *extra_header, struct str claims_json, struct buf *out,
                  struct err *err) __attribute__((warn_unused_result));

/* OpenSSL's version, static. */
const char *key_library_version(void);

/* PEM of the private key, for the dev issuer's key file. -EINVAL for a public key or a secret. */
int key_to_pem(const struct key *key, struct buf *out);
/* PEM of the public key (SubjectPublicKeyInfo). -EINVAL for a secret. */
int key_to_public_pem(const struct key *key, struct buf *out);
/* Public JWK: kty, use, alg, kid and the public members. New reference, or NULL (also
 * for a secret, which has no public form). */
json_t *jwk_write_key(const struct key *key, enum alg alg);
/* Adds x5c and x5t to the key's JWK: a certificate that the key signs itself, the same each time.
 * -EINVAL for anything but a private RSA key, -ENOMEM. */
int key_add_certificate(const struct key *key, json_t *jwk) __attribute__((warn_unused_result));
/* RFC 7638 thumbprint, base64url SHA-256, appended. */
int jwk_write_thumbprint(const struct key *key, struct buf *out);
