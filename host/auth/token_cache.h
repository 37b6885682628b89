/* Verified tokens: the verdict on a signature, never a decision.
 *
 * Key: the whole token; value: its claims and the key source and generation whose key checked it.
 * Bounded in bytes, least recently used first out; an entry ends at its token's `exp` and with its
 * key set. Those that came again last are warm: their claims are there. Of the others, the cold
 * ones, the token alone is kept, in an eighth of the memory; its claims are read again when it
 * comes. So tokens that come once drive out no claims, and none are made to be driven out. Tokens
 * that were refused for their signature are kept in a small table of their own, so that good ones
 * cannot be driven out by bad ones. One a process. */
#pragma once

#include "auth/token.h"
#include "auth/verify.h"

struct token_cache_stats {
    uint64_t hits, misses, negative_hits, evictions;
    size_t bytes, entries;
    size_t warm_bytes; /* of `bytes`: what the claims take, at most an eighth of all */
};

/* What it holds beyond `max_bytes` is evicted. 0 bytes switches the cache off. Default:
 * LIMIT_TOKEN_CACHE_BYTES.
 */
void token_cache_setup(size_t max_bytes);
/* The claims of a good token (borrowed, valid until the next call), or NULL; *bad when the
 * signature is known to be bad. Out of memory for the claims of a cold one: NULL. */
struct claims *token_cache_find(struct str token, const struct key_source *source, bool *bad);
/* The same of a token that was found to have the claims of that serial, whose text need not be
 * looked at, where they were found last. NULL: find it by its text. */
struct claims *token_cache_again(uint64_t serial, const struct key_source *source);
/* `token`, decoded, whose `claims` these are; takes its own reference. Out of memory, or larger
 * than the cache: not cached. */
void token_cache_add(const struct token *token, const struct key_source *source,
                     struct claims *claims);
void token_cache_add_bad(struct str token, const struct key_source *source);
/* For a token that has expired. */
void token_cache_remove(struct str token);
void token_cache_clear(void);
struct token_cache_stats token_cache_stats(void);
