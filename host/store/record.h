/* How keys and values lie in the embedded store's file.
 *
 * A stored key is the namespace's number and the key. LMDB takes 511 bytes: of a longer key, its
 * beginning and a keyed hash of all of it are stored, and the whole key lies with the value. A
 * record carries a checksum over key and content, so that damage is seen and never served. */
#pragma once

#include "store/store.h"

enum { RECORD_KEY_BYTES = 511, RECORD_KEY_SHARED = 491 /* what is stored of every key as it is */ };

struct record_key {
    size_t len;
    unsigned char bytes[RECORD_KEY_BYTES];
};

struct record {
    uint64_t expires_ms; /* of the wall clock; 0: never */
    enum store_type type;
    struct str key;   /* whole; empty when the stored key has it */
    struct str bytes; /* the value */
};

void record_key_make(struct record_key *out, const uint64_t seed[2], uint32_t space,
                     struct str key);

/* The key that a record is stored under, without the namespace. */
struct str record_key_text(struct str stored_key, const struct record *record);

/* Bytes of the record of this key and value. */
size_t record_size(struct str key, size_t value_bytes);
/* Writes record_size bytes to `out`. */
void record_write(void *out, const uint64_t seed[2], const struct record_key *stored_key,
                  struct str key, struct store_value value, uint64_t expires_ms);

/* Slices of *out point into `stored`. 0, or STORE_DAMAGED. record_read also checks the checksum;
 * record_peek does not look at the value. */
int record_read(struct str stored_key, struct str stored, const uint64_t seed[2],
                struct record *out) __attribute__((warn_unused_result));
int record_peek(struct str stored_key, struct str stored, struct record *out)
    __attribute__((warn_unused_result));

static inline bool record_is_live(const struct record *record, uint64_t now_ms)
{
    return record->expires_ms == 0 || record->expires_ms > now_ms;
}
