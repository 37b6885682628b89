/* A set-associative table of 64-bit words: 32 bits of hash, 32 bits of time. A set is a cache line;
 * workers claim a word by compare-and-swap. All look for a place in the same order, so that two who
 * bring the same proof at the same time want the same word, and the one who comes second looks
 * again and finds it taken by its own. */
#include "shared/replay.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "shared/digest.h"

_Static_assert((REPLAY_SETS & (REPLAY_SETS - 1)) == 0, "a power of two");

_Static_assert((int)REPLAY_NAME == (int)DIGEST_BYTES, "a name is a digest");

static struct replay_table *table;

void replay_share(struct replay_table *shared)
{
    table = shared;
}

static bool have_table(void)
{
    if (table != NULL)
        return true;
    void *memory =
        mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    table = memory != MAP_FAILED ? memory : NULL;
    return table != NULL;
}

static void hash(struct str who, struct str id, uint32_t *set, uint32_t *tag, unsigned char *name)
{
    unsigned char digest[DIGEST_BYTES], parts[2 * DIGEST_BYTES];
    digest_sha256(who, parts);
    digest_sha256(id, parts + DIGEST_BYTES);
    digest_sha256((struct str){(const char *)parts, sizeof(parts)}, digest);
    memcpy(set, digest, sizeof(*set));
    memcpy(tag, digest + sizeof(*set), sizeof(*tag));
    *set &= REPLAY_SETS - 1;
    if (name != NULL)
        memcpy(name, digest, REPLAY_NAME);
}

enum replay_result replay_admit(struct str who, struct str id, double now, double until,
                                unsigned char *name)
{
    uint32_t set, tag;
    if (!have_table())
        return REPLAY_FULL;
    hash(who, id, &set, &tag, name);
    uint64_t entry = (uint64_t)tag << 32 | (uint32_t)(until + 1);
    for (;;) {
        _Atomic uint64_t *place = NULL;
        uint64_t old = 0;
        for (unsigned i = 0; i < REPLAY_WAYS; i++) {
            uint64_t word = atomic_load(&table->sets[set][i]);
            bool live = (double)(uint32_t)word >= now;
            if (live && word >> 32 == tag)
                return REPLAY_SEEN;
            if (!live && place == NULL) {
                place = &table->sets[set][i];
                old = word;
            }
        }
        if (place == NULL)
            return REPLAY_FULL;
        if (atomic_compare_exchange_strong(place, &old, entry))
            return REPLAY_NEW;
    }
}
