/* Verified tokens: a hash table with chains, and a list in order of use.
 *
 * Whoever sends tokens chooses them, so they are hashed under a key that is drawn at the first use:
 * nobody can aim at a chain, nor at a slot of the table of bad tokens, which keeps 128 bits of hash
 * in place of the token. */
#include "auth/cache.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/siphash.h"
#include "base/list.h"
#include "base/limits.h"

enum { BAD_SLOTS = 256, FIRST_BUCKETS = 256 };

struct entry {
    struct list used;   /* in cache.used */
    struct entry *next; /* in the chain */
    struct siphash hash;
    struct claims *claims; /* a reference */
    uint32_t source, generation;
    size_t bytes; /* what it counts for */
    size_t len;
    char token[];
};

struct bad {
    struct siphash hash;
    uint32_t source, generation;
    bool taken;
};

static struct {
    bool ready; /* `key` is drawn, `used` is a list */
    uint64_t key[2];
    size_t max_bytes;
    struct entry **buckets; /* owned; NULL before the first entry */
    size_t bucket_count;    /* a power of two */
    struct list used;       /* the most recent first */
    struct token_cache_stats stats;
    struct bad bad[BAD_SLOTS];
} cache = {.max_bytes = LIMIT_TOKEN_CACHE_BYTES};

/* Without randomness there is no cache. */
static bool is_on(void)
{
    if (!cache.ready && cache.max_bytes > 0 &&
        getrandom(cache.key, sizeof(cache.key), 0) == (ssize_t)sizeof(cache.key)) {
        list_init(&cache.used);
        cache.ready = true;
    }
    return cache.ready && cache.max_bytes > 0;
}

/* Of the end of the token, its signature: two good tokens never share it, and only good ones are in
 * the table. The whole token is compared afterwards. */
static struct siphash hash_of(struct str token)
{
    enum { TAIL = 48 };
    return siphash(cache.key, token.len > TAIL ? str_skip(token, token.len - TAIL) : token);
}

static struct entry **bucket_of(struct siphash hash)
{
    return &cache.buckets[hash.low & (cache.bucket_count - 1)];
}

/* The link that leads to the token's entry, or to NULL at the chain's end. */
static struct entry **find(struct siphash hash, struct str token)
{
    struct entry **link = bucket_of(hash);
    for (; *link != NULL; link = &(*link)->next) {
        const struct entry *e = *link;
        if (e->hash.low == hash.low && str_eq((struct str){e->token, e->len}, token))
            break;
    }
    return link;
}

/* list_push puts a node before another one: before the first is the front. */
static void mark_used(struct entry *e)
{
    list_remove(&e->used);
    list_push(cache.used.next, &e->used);
}

static void unlink_entry(struct entry **link)
{
    struct entry *e = *link;
    assert(e != NULL); /* what is in the list of use is in its bucket's chain */
    *link = e->next;
    list_remove(&e->used);
    cache.stats.bytes -= e->bytes;
    cache.stats.entries--;
    claims_unref(e->claims);
    free(e);
}

static void evict_until(size_t bytes)
{
    while (cache.stats.bytes > bytes) {
        const struct entry *oldest = container_of(cache.used.prev, struct entry, used);
        unlink_entry(find(oldest->hash, (struct str){oldest->token, oldest->len}));
        cache.stats.evictions++;
    }
}

/* More buckets than entries; when memory is short the chains grow longer instead. False: there is
 * no table at all. */
static bool make_room(void)
{
    if (cache.buckets != NULL && cache.stats.entries < cache.bucket_count)
        return true;
    size_t count = cache.buckets != NULL ? cache.bucket_count * 2 : FIRST_BUCKETS;
    struct entry **buckets = calloc(count, sizeof(struct entry *));
    if (buckets == NULL)
        return cache.buckets != NULL;
    free(cache.buckets);
    cache.buckets = buckets;
    cache.bucket_count = count;
    list_each(node, &cache.used)
    {
        struct entry *e = container_of(node, struct entry, used);
        struct entry **bucket = bucket_of(e->hash);
        e->next = *bucket;
        *bucket = e;
    }
    return true;
}

/* What a JSON value takes in memory, near enough for a bound: jansson does not say. */
static size_t json_bytes(const json_t *value)
{
    enum { NODE = 64, OBJECT = 256, MEMBER = 96 };
    if (json_is_string(value))
        return NODE + json_string_length(value);
    size_t sum = NODE;
    for (size_t i = 0; i < json_array_size(value); i++)
        sum += sizeof(json_t *) + json_bytes(json_array_get(value, i));
    if (!json_is_object(value))
        return sum;
    json_t *object = (json_t *)value; /* the iterators want it so; nothing is changed */
    const char *key;
    json_t *member;
    json_object_foreach(object, key, member) sum += MEMBER + strlen(key) + json_bytes(member);
    return sum + OBJECT;
}

/* The top level counts twice, for the copy without a namespace. */
static size_t entry_bytes(struct str token, const struct claims *claims)
{
    return sizeof(struct entry) + token.len + sizeof(struct claims) + 2 * json_bytes(claims->json);
}

/* ---- bad signatures ---- */

/* `tail`: the token's hash_of. The slot keeps a hash of the whole token, which is made only where
 * the slot may be this one's. */
static struct bad *bad_slot(struct siphash tail)
{
    return &cache.bad[tail.low % BAD_SLOTS];
}

static bool is_bad(struct siphash tail, struct str token, const struct key_source *source)
{
    const struct bad *bad = bad_slot(tail);
    if (!bad->taken || bad->source != source->id || bad->generation != source->generation)
        return false;
    struct siphash hash = siphash(cache.key, token);
    return bad->hash.low == hash.low && bad->hash.high == hash.high;
}

/* ---- what others call ---- */

struct claims *token_cache_find(struct str token, const struct key_source *source, bool *bad)
{
    *bad = false;
    if (!is_on())
        return NULL;
    struct siphash tail = hash_of(token);
    struct entry **link = cache.buckets != NULL ? find(tail, token) : NULL;
    struct entry *e = link != NULL ? *link : NULL;
    if (e != NULL && e->source == source->id && e->generation != source->generation) {
        unlink_entry(link);
        e = NULL;
    }
    if (e == NULL || e->source != source->id) {
        *bad = is_bad(tail, token, source);
        cache.stats.negative_hits += *bad;
        cache.stats.misses += !*bad;
        return NULL;
    }
    mark_used(e);
    cache.stats.hits++;
    return e->claims;
}

void token_cache_add(struct str token, const struct key_source *source, struct claims *claims)
{
    size_t bytes = entry_bytes(token, claims);
    if (!is_on() || bytes > cache.max_bytes || !make_room())
        return;
    struct siphash hash = hash_of(token);
    struct entry **before = find(hash, token);
    if (*before != NULL)
        unlink_entry(before);
    struct entry *e = malloc(sizeof(*e) + token.len);
    if (e == NULL)
        return;
    evict_until(cache.max_bytes - bytes);
    *e = (struct entry){.hash = hash,
                        .claims = claims_ref(claims),
                        .source = source->id,
                        .generation = source->generation,
                        .bytes = bytes,
                        .len = token.len};
    memcpy(e->token, token.ptr, token.len);
    struct entry **bucket = bucket_of(e->hash);
    e->next = *bucket;
    *bucket = e;
    list_init(&e->used);
    mark_used(e);
    cache.stats.bytes += bytes;
    cache.stats.entries++;
}

void token_cache_add_bad(struct str token, const struct key_source *source)
{
    if (!is_on())
        return;
    *bad_slot(hash_of(token)) =
        (struct bad){siphash(cache.key, token), source->id, source->generation, true};
}

void token_cache_remove(struct str token)
{
    struct entry **link = is_on() && cache.buckets != NULL ? find(hash_of(token), token) : NULL;
    if (link != NULL && *link != NULL)
        unlink_entry(link);
}

void token_cache_clear(void)
{
    while (cache.ready && !list_is_empty(&cache.used)) {
        const struct entry *e = container_of(cache.used.next, struct entry, used);
        unlink_entry(find(e->hash, (struct str){e->token, e->len}));
    }
    free(cache.buckets);
    cache.buckets = NULL;
    cache.bucket_count = 0;
    memset(cache.bad, 0, sizeof(cache.bad));
}

void token_cache_setup(size_t max_bytes)
{
    cache.max_bytes = max_bytes;
    if (cache.ready)
        evict_until(max_bytes);
}

struct token_cache_stats token_cache_stats(void)
{
    return cache.stats;
}
