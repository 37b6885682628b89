/* A set of keys, and the place where a verifier finds the current one.
 *
 * Sets are immutable and refcounted. net/issuer replaces the set of its key source when the
 * provider's changes; a static set (secret, PEM) never changes. */
#pragma once

#include <stdint.h>

#include "auth/key.h"

struct keyset;

/* From the text of a JWK Set, read as json/provider.h does. -EINVAL when it is none, or over
 * LIMIT_JWKS_BYTES; -ENOENT when no usable key is in it (`err` has the texts of the original,
 * and what is wrong with the keys).
 *
 * One odd key costs none of the others. Left out is one that cannot be used, a shared secret (oct)
 * among public keys (it was published), and what is past LIMIT_JWKS_KEYS. A kid may stand for
 * several keys of different algorithms (RFC 7517 section 4.5), and for one key that is there for
 * each algorithm; where two different keys of a kid are for the same algorithm, neither is used for
 * it. */
int keyset_parse(struct str json, struct keyset **out, struct err *err)
    __attribute__((warn_unused_result));
/* A set of one key, with a reference of its own; NULL when out of memory. */
struct keyset *keyset_of(struct key *key);

struct keyset *keyset_ref(struct keyset *set);
void keyset_unref(struct keyset *set);

unsigned keyset_size(const struct keyset *set);
/* Keys of the text that could not be used. */
unsigned keyset_skipped(const struct keyset *set);
/* Which and why, a line each: "'k1': the member n is missing or empty"; not on those that are for
 * something else than signatures. Borrowed from the set. */
struct str keyset_notes(const struct keyset *set);
/* The i-th usable key; borrowed from the set. */
struct key *keyset_at(const struct keyset *set, unsigned index);
/* The key of that kid, one that fits `alg` where there is one, or NULL. A set of one key without
 * kid, made by keyset_of, matches any kid. Borrowed from the set. */
struct key *keyset_find(const struct keyset *set, struct str kid, enum alg alg);
/* Same keys in both? */
bool keyset_equal(const struct keyset *a, const struct keyset *b);

/* Where keys come from. One per issuer and worker; verifiers borrow it. */
struct key_source {
    struct keyset *keys; /* owned; NULL while there has never been a set */
    uint32_t id;         /* unique in the process */
    uint32_t generation; /* grows by one each time `keys` changes; cached verdicts of older ones are
                            void */
};

void keyset_source_init(struct key_source *source);
/* Takes its own reference. The generation stays when the keys are the same. */
void keyset_source_set(struct key_source *source, struct keyset *set);
void keyset_source_clear(struct key_source *source);
