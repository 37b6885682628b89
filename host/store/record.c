/* How keys and values lie in the embedded store's file. Numbers are in the machine's own order, as
 * LMDB's are; those that are sorted by are big-endian. */
#include "store/record.h"

#include "base/siphash.h"

struct head {
    uint64_t checksum; /* of the stored key and of everything behind this field */
    uint64_t expires_ms;
    uint16_t key_len; /* of the whole key, which follows; 0: the stored key has it */
    uint8_t type;
    uint8_t unused[5]; /* zero */
};

enum { SPACE_BYTES = 4 };
_Static_assert(SPACE_BYTES + RECORD_KEY_SHARED + sizeof(struct siphash) == RECORD_KEY_BYTES,
               "the parts of a long key");

static bool is_long(struct str key)
{
    return key.len >= RECORD_KEY_BYTES - SPACE_BYTES;
}

void record_key_make(struct record_key *out, const uint64_t seed[2], uint32_t space, struct str key)
{
    unsigned char *p = out->bytes;
    for (int shift = 24; shift >= 0; shift -= 8)
        *p++ = (unsigned char)(space >> shift);
    if (!is_long(key)) {
        if (key.len > 0)
            memcpy(p, key.ptr, key.len);
        out->len = SPACE_BYTES + key.len;
        return;
    }
    struct siphash hash = siphash(seed, key);
    memcpy(p, key.ptr, RECORD_KEY_SHARED);
    memcpy(p + RECORD_KEY_SHARED, &hash, sizeof(hash));
    out->len = RECORD_KEY_BYTES;
}

struct str record_key_text(struct str stored_key, const struct record *record)
{
    return record->key.len > 0 ? record->key : str_skip(stored_key, SPACE_BYTES);
}

static uint64_t checksum(const uint64_t seed[2], struct str stored_key, struct str stored)
{
    const size_t skip = sizeof(((struct head *)NULL)->checksum);
    return siphash(seed, str_skip(stored, skip)).low ^ siphash(seed, stored_key).high;
}

size_t record_size(struct str key, size_t value_bytes)
{
    return sizeof(struct head) + (is_long(key) ? key.len : 0) + value_bytes;
}

void record_write(void *out, const uint64_t seed[2], const struct record_key *stored_key,
                  struct str key, struct store_value value, uint64_t expires_ms)
{
    struct head head = {.expires_ms = expires_ms, .type = (uint8_t)value.type};
    char *p = (char *)out + sizeof(head);
    if (is_long(key)) {
        head.key_len = (uint16_t)key.len;
        memcpy(p, key.ptr, key.len);
        p += key.len;
    }
    if (value.bytes.len > 0)
        memcpy(p, value.bytes.ptr, value.bytes.len);
    memcpy(out, &head, sizeof(head));
    const struct str stored = {out, record_size(key, value.bytes.len)};
    head.checksum =
        checksum(seed, (struct str){(const char *)stored_key->bytes, stored_key->len}, stored);
    memcpy(out, &head, sizeof(head));
}

int record_peek(struct str stored_key, struct str stored, struct record *out)
{
    struct head head;
    if (stored.len < sizeof(head) || stored_key.len <= SPACE_BYTES)
        return STORE_DAMAGED;
    memcpy(&head, stored.ptr, sizeof(head));
    struct str rest = str_skip(stored, sizeof(head));
    bool has_key = stored_key.len == RECORD_KEY_BYTES;
    if (has_key != (head.key_len > 0) || head.key_len > rest.len ||
        (head.type != STORE_TEXT && head.type != STORE_JSON))
        return STORE_DAMAGED;
    *out = (struct record){.expires_ms = head.expires_ms,
                           .type = (enum store_type)head.type,
                           .key = {rest.ptr, head.key_len},
                           .bytes = str_skip(rest, head.key_len)};
    return 0;
}

int record_read(struct str stored_key, struct str stored, const uint64_t seed[2],
                struct record *out)
{
    uint64_t sum;
    if (record_peek(stored_key, stored, out) != 0)
        return STORE_DAMAGED;
    memcpy(&sum, stored.ptr, sizeof(sum));
    return sum == checksum(seed, stored_key, stored) ? 0 : STORE_DAMAGED;
}
