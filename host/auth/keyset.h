/* A set of keys, and the place where a verifier finds the current one.
 *
 * Sets are immutable and refcounted. net/issuer replaces the set of its key source when the
 * provider's changes; a static set (secret, PEM) never changes. */
#ifndef LUAFN_AUTH_KEYSET_H
#define LUAFN_AUTH_KEYSET_H

#include <stdint.h>

#include "auth/key.h"

struct keyset;

/* From the text of a JWK Set. Keys that cannot be used are skipped and counted; -EINVAL when the
 * text is not a JWK set, -ENOENT when no usable key is in it (`err` has the texts of
 * serverless-jwt.md 1.5). Strict JSON: no duplicate members, at most LIMIT_JWKS_BYTES and
 * LIMIT_JWKS_KEYS. Two keys of the same kid that differ: both are skipped, also where one of them
 * could not be used and is not for encryption. A shared secret (oct) in
 * a set with public keys is skipped: it was published. */
int keyset_parse(struct str json, struct keyset **out, struct err *err)
    __attribute__((warn_unused_result));
/* A set of one key, with a reference of its own; NULL when out of memory. */
struct keyset *keyset_of(struct key *key);

struct keyset *keyset_ref(struct keyset *set);
void keyset_unref(struct keyset *set);

unsigned keyset_size(const struct keyset *set);
/* Keys of the text that could not be used. */
unsigned keyset_skipped(const struct keyset *set);
/* The i-th usable key; borrowed from the set. */
struct key *keyset_at(const struct keyset *set, unsigned index);
/* The key of that kid, or NULL. A set of one key without kid, made by keyset_of, matches any kid.
 * Borrowed from the set. */
struct key *keyset_find(const struct keyset *set, struct str kid);
/* Same keys in both? */
bool keyset_equal(const struct keyset *a, const struct keyset *b);

/* Where keys come from. One per issuer and worker; verifiers borrow it. */
struct key_source {
    struct keyset *keys; /* owned; NULL while there has never been a set */
    uint32_t id;         /* unique in the process */
    uint32_t generation; /* grows by one each time `keys` changes; cached verdicts of older ones are
                            void */
};

void key_source_init(struct key_source *source);
/* Takes its own reference. No-op (same generation) when the keys are the same. */
void key_source_set(struct key_source *source, struct keyset *set);
void key_source_clear(struct key_source *source);

#endif
