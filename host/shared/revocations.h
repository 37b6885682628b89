/* Tokens that were revoked before their end, known to all workers at once.
 *
 * A revocation is a name and two times. The name stands for (issuer, `sub` | `sid` | `jti`) and is
 * a hash, as are those that the store keeps (store/revoked.h), so that no user's name lies there.
 * All that were read from the store, or were made here, lie in a table of fixed size in shared
 * memory; what asks on each request is one number, which changes when something is added. In front
 * of the table are bits of all names in it: who was not revoked is found to be so without it.
 *
 * Nothing that still counts is dropped: a table that is full takes no more. Readers take no lock.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/str.h"
#include "shared/lock.h"

enum revocation_kind { REVOCATION_SUB, REVOCATION_SID, REVOCATION_JTI, REVOCATION_KINDS };

enum {
    REVOCATION_BYTES = 16, /* of one in the store */
    REVOCATION_POSITION = 40,
    REVOCATION_SLOTS = LIMIT_REVOCATIONS / 2 * 3,
    REVOCATION_BITS = 1 << 24
};

#define REVOCATION_ALWAYS UINT32_MAX /* `before`: whenever the token was issued */

/* Times in seconds since 1970. */
struct revocation {
    uint64_t name;
    uint32_t before; /* tokens issued then or earlier */
    uint32_t until;  /* none of those lives longer */
};

struct revocation_slot {
    _Atomic uint64_t name;  /* 0: free, as from here on to the next that is not */
    _Atomic uint64_t times; /* `before` in the upper half, `until` in the lower */
};

struct revocation_table {
    struct shared_lock lock;     /* of who adds */
    _Atomic uint64_t generation; /* 0: nothing was ever revoked */
    _Atomic uint64_t live;       /* entries, with those that ended since they were last counted */
    _Atomic uint64_t added, refused;    /* since the host was started: entries, tokens */
    uint32_t counted;                   /* when `live` was */
    char position[REVOCATION_POSITION]; /* up to where the store's were read; empty: not at all */
    _Atomic uint64_t bits[REVOCATION_BITS / 64];
    struct revocation_slot slots[REVOCATION_SLOTS];
};

/* 0 or a negative errno. */
int revocations_init(struct revocation_table *table) __attribute__((warn_unused_result));

/* From now on this process uses that one: borrowed. Without this call it has one of its own, from
 * when it first adds. */
void revocations_share(struct revocation_table *table);

/* The halves of a name, which is one ^ the other. An issuer that is empty stands for any. */
uint64_t revocations_issuer(struct str issuer);
uint64_t revocations_id(enum revocation_kind kind, struct str id);

/* Of what is to be revoked from `now` on: its end is when the last token that can be meant ends. */
struct revocation revocations_make(enum revocation_kind kind, struct str issuer, struct str id,
                                   uint32_t before, double now);

/* As the store keeps it: numbers with their lowest byte first, `until` last. */
void revocations_write(const struct revocation *revocation, char out[REVOCATION_BYTES]);
struct revocation revocations_read(const char bytes[REVOCATION_BYTES]);

/* All workers know it when this returns. Of the same name the later times count. 0, -ENOSPC when
 * LIMIT_REVOCATIONS are there already, or -ENOMEM. */
int revocations_add(const struct revocation *revocation, double now)
    __attribute__((warn_unused_result));

/* Does one of that name mean a token issued then? */
bool revocations_match(uint64_t name, double issued, double now);

/* Where that number is which all requests ask for; revocations_generation reads it. */
extern const _Atomic uint64_t *revocations_counter;

/* Changes with each one that is added. 0: there never was one. UINT64_MAX: nobody knows yet. */
static inline uint64_t revocations_generation(void)
{
    return atomic_load_explicit(revocations_counter, memory_order_acquire);
}

/* A token was refused. */
void revocations_count_refused(void);

/* What the store has is yet to be read by this process: until then nobody can tell who was revoked.
 */
void revocations_expect(bool yes);

/* Up to where the store's entries have been read, by any worker: REVOCATION_POSITION bytes, ends
 * with a NUL; empty: not at all. A longer one is not kept. `any`: there were entries, so it is
 * asked from now on, whether they still count or not. */
void revocations_position(char out[REVOCATION_POSITION]);
void revocations_set_position(struct str position, bool any);

struct revocation_stats {
    uint64_t live, added, refused;
};
struct revocation_stats revocations_stats(void);
