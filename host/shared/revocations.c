/* Open addressing with linear probing. An entry that has ended stays where it is, since others may
 * lie behind it, until another takes its place, or until all are counted when the table seems full.
 *
 * Names are hashes of 64 bits without a key, since machines share them: whoever could choose the
 * name of a token well enough to meet a revoked one would have his own refused. */
#include "shared/revocations.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "shared/digest.h"

enum { COUNT_AGAIN = 60 /* seconds between two counts */, BIT_SHIFT = 40 };
_Static_assert((REVOCATION_KINDS + 1) * sizeof(uint64_t) == DIGEST_BYTES, "its parts");
_Static_assert((uint64_t)1 << (64 - BIT_SHIFT) == REVOCATION_BITS, "a bit for each value of 24");

static struct revocation_table *table;
static bool is_unknown;
static const _Atomic uint64_t none = 0, unknown = UINT64_MAX;
const _Atomic uint64_t *revocations_counter = &none;

static void choose_counter(void)
{
    revocations_counter = is_unknown ? &unknown : table != NULL ? &table->generation : &none;
}

int revocations_init(struct revocation_table *t)
{
    return shared_lock_init(&t->lock);
}

void revocations_share(struct revocation_table *shared)
{
    table = shared;
    choose_counter();
}

static int need_table(void)
{
    if (table != NULL)
        return 0;
    void *memory =
        mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -ENOMEM;
    table = memory;
    choose_counter();
    return revocations_init(table);
}

/* ---- names ---- */

/* Of the text's digest a part for each use, so that they have nothing to do with each other. */
static uint64_t hash(struct str text, unsigned part)
{
    unsigned char digest[DIGEST_BYTES];
    uint64_t value = 0;
    digest_sha256(text, digest);
    for (unsigned i = 0; i < sizeof(value); i++)
        value = value << 8 | digest[part * sizeof(value) + i];
    return value;
}

uint64_t revocations_issuer(struct str issuer)
{
    return issuer.len > 0 ? hash(issuer, REVOCATION_KINDS) : 0;
}

uint64_t revocations_id(enum revocation_kind kind, struct str id)
{
    return hash(id, kind);
}

struct revocation revocations_make(enum revocation_kind kind, struct str issuer, struct str id,
                                   uint32_t before, double now)
{
    uint64_t name = revocations_issuer(issuer) ^ revocations_id(kind, id);
    return (struct revocation){
        .name = name, .before = before, .until = (uint32_t)(now + LIMIT_REVOCATION_LIFE)};
}

static void write_number(char *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        out[i] = (char)(value >> (8 * i));
}

static uint64_t read_number(const char *bytes, unsigned count)
{
    uint64_t value = 0;
    for (unsigned i = count; i > 0; i--)
        value = value << 8 | (unsigned char)bytes[i - 1];
    return value;
}

void revocations_write(const struct revocation *r, char out[REVOCATION_BYTES])
{
    write_number(out, r->name, 8);
    write_number(out + 8, r->before, 4);
    write_number(out + 12, r->until, 4);
}

struct revocation revocations_read(const char bytes[REVOCATION_BYTES])
{
    return (struct revocation){.name = read_number(bytes, 8),
                               .before = (uint32_t)read_number(bytes + 8, 4),
                               .until = (uint32_t)read_number(bytes + 12, 4)};
}

/* ---- the table ---- */

static size_t slot_of(uint64_t name)
{
    return (size_t)((name & UINT32_MAX) * REVOCATION_SLOTS >> 32);
}

static size_t next_slot(size_t i)
{
    return i + 1 < REVOCATION_SLOTS ? i + 1 : 0;
}

/* A name is never 0, which marks a free slot. */
static uint64_t named(uint64_t name)
{
    return name != 0 ? name : 1;
}

static bool has_ended(uint64_t times, uint32_t now)
{
    return (uint32_t)times < now;
}

static void set_bit(uint64_t name)
{
    atomic_fetch_or(&table->bits[name >> BIT_SHIFT >> 6], (uint64_t)1 << (name >> BIT_SHIFT & 63));
}

static bool has_bit(uint64_t name)
{
    uint64_t word =
        atomic_load_explicit(&table->bits[name >> BIT_SHIFT >> 6], memory_order_relaxed);
    return (word >> (name >> BIT_SHIFT & 63) & 1) != 0;
}

/* Counts what lives, from the end to the beginning: an ended one with nothing behind it is free. */
static void count_live(uint32_t now)
{
    uint64_t live = 0;
    bool free_behind = table->slots[0].name == 0;
    for (size_t i = REVOCATION_SLOTS; i > 0; i--) {
        struct revocation_slot *slot = &table->slots[i - 1];
        bool ended = slot->name != 0 && has_ended(slot->times, now);
        if (ended && free_behind)
            slot->name = 0;
        free_behind = slot->name == 0;
        live += !free_behind && !ended;
    }
    table->live = live;
    table->counted = now;
}

/* Later times are what both want. */
static uint64_t join(uint64_t a, uint64_t b)
{
    uint64_t before = a >> 32 > b >> 32 ? a >> 32 : b >> 32;
    uint64_t until = (uint32_t)a > (uint32_t)b ? (uint32_t)a : (uint32_t)b;
    return before << 32 | until;
}

/* Where that name is, or where it may be put; `ended`: one has to leave for it. */
static struct revocation_slot *find_place(uint64_t name, uint32_t now, bool *there)
{
    struct revocation_slot *place = NULL;
    for (size_t i = slot_of(name);; i = next_slot(i)) {
        struct revocation_slot *slot = &table->slots[i];
        *there = slot->name == name;
        if (*there)
            return slot;
        if (place == NULL && (slot->name == 0 || has_ended(slot->times, now)))
            place = slot;
        if (slot->name == 0)
            return place;
    }
}

/* The times first: who finds the name finds them, too. 1: it said so already. */
static int put(uint64_t name, uint64_t times, uint32_t now)
{
    bool there;
    struct revocation_slot *slot = find_place(name, now, &there);
    if (there) {
        uint64_t both = join(slot->times, times);
        bool same = both == slot->times;
        slot->times = both;
        return same;
    }
    if (table->live >= LIMIT_REVOCATIONS && now >= table->counted + COUNT_AGAIN) {
        count_live(now);
        slot = find_place(name, now, &there);
    }
    if (table->live >= LIMIT_REVOCATIONS)
        return -ENOSPC;
    slot->times = times;
    slot->name = name;
    table->live++;
    return 0;
}

int revocations_add(const struct revocation *r, double now)
{
    int rc = need_table();
    if (rc != 0)
        return rc;
    uint64_t name = named(r->name);
    shared_lock_take(&table->lock);
    rc = put(name, (uint64_t)r->before << 32 | r->until, (uint32_t)now);
    if (rc == 0)
        set_bit(name);
    table->added += rc == 0;
    shared_lock_give(&table->lock);
    if (rc == 0)
        atomic_fetch_add(&table->generation, 1);
    return rc < 0 ? rc : 0;
}

bool revocations_match(uint64_t name, double issued, double now)
{
    name = named(name);
    if (table == NULL || !has_bit(name))
        return false;
    for (size_t i = slot_of(name);; i = next_slot(i)) {
        const struct revocation_slot *slot = &table->slots[i];
        uint64_t found = atomic_load_explicit(&slot->name, memory_order_acquire);
        uint64_t times = atomic_load_explicit(&slot->times, memory_order_relaxed);
        uint32_t before = (uint32_t)(times >> 32);
        if (found == name)
            return !has_ended(times, (uint32_t)now) &&
                   (before == REVOCATION_ALWAYS || !(issued > before));
        if (found == 0)
            return false;
    }
}

void revocations_count_refused(void)
{
    if (table != NULL)
        atomic_fetch_add_explicit(&table->refused, 1, memory_order_relaxed);
}

void revocations_expect(bool yes)
{
    is_unknown = yes;
    choose_counter();
}

/* ---- the store ---- */

void revocations_position(char out[REVOCATION_POSITION])
{
    memset(out, 0, REVOCATION_POSITION);
    if (table == NULL)
        return;
    shared_lock_take(&table->lock);
    memcpy(out, table->position, REVOCATION_POSITION);
    shared_lock_give(&table->lock);
}

void revocations_set_position(struct str position, bool any)
{
    if (position.len >= REVOCATION_POSITION || need_table() != 0)
        return;
    shared_lock_take(&table->lock);
    memset(table->position, 0, REVOCATION_POSITION);
    memcpy(table->position, position.ptr, position.len);
    shared_lock_give(&table->lock);
    uint64_t never = 0;
    if (any)
        atomic_compare_exchange_strong(&table->generation, &never, 1);
}

struct revocation_stats revocations_stats(void)
{
    return table != NULL ? (struct revocation_stats){table->live, table->added, table->refused}
                         : (struct revocation_stats){0};
}
