/* Verified tokens: a hash table with chains, and two lists in order of use, the warm ones and,
 * less recently used than any of those, the cold ones.
 *
 * Whoever sends tokens chooses them, so they are hashed under a key that is drawn at the first use:
 * nobody can aim at a chain, nor at a slot of the table of bad tokens, which keeps 128 bits of hash
 * in place of the token. */
#include "auth/token_cache.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/siphash.h"
#include "base/list.h"
#include "base/limits.h"

enum { BAD_SLOTS = 256, FIRST_BUCKETS = 256, WARM_SHARE = 8 };

struct entry {
    struct list used;   /* in cache.warm or cache.cold */
    struct entry *next; /* in the chain */
    uint64_t hash;
    struct claims *claims; /* warm: a reference. NULL: cold */
    char *text;            /* warm: the token, owned */
    uint32_t source, generation;
    uint32_t warmth; /* warm: what text and claims count for */
    uint16_t text_len, header_len, claims_len, signature_len;
    uint8_t alg, type; /* enum alg, enum claims_type */
    char bytes[];      /* the token's parts, decoded */
};

struct bad {
    struct siphash hash;
    uint32_t source, generation;
    bool taken;
};

static struct {
    bool ready; /* `key` is drawn, `warm` and `cold` are lists */
    uint64_t key[2];
    size_t max_bytes;
    struct entry **buckets; /* owned; NULL before the first entry */
    size_t bucket_count;    /* a power of two */
    struct list warm, cold; /* the most recent first */
    struct entry *last;   /* found last, warm: a request asks for its policy, then for its script */
    struct entry *newest; /* added last; NULL: it is gone */
    struct claims *newest_claims; /* its own: a reference */
    struct token_cache_stats stats;
    struct bad bad[BAD_SLOTS];
} cache = {.max_bytes = LIMIT_TOKEN_CACHE_BYTES};

/* Without randomness there is no cache. */
static bool is_on(void)
{
    if (!cache.ready && cache.max_bytes > 0 &&
        getrandom(cache.key, sizeof(cache.key), 0) == (ssize_t)sizeof(cache.key)) {
        list_init(&cache.warm);
        list_init(&cache.cold);
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

static size_t decoded_len(const struct entry *e)
{
    return (size_t)e->header_len + e->claims_len + e->signature_len;
}

static size_t cold_bytes(const struct entry *e)
{
    return sizeof(*e) + decoded_len(e);
}

/* A cold entry has no text. But each token has one spelling only, so the same bytes in parts of the
 * same length are the same text. */
static bool decodes_to(struct str text, const struct entry *e)
{
    struct token token;
    return token_decode(text, &token) == 0 && token.header_text.len == e->header_len &&
           token.claims_text.len == e->claims_len && token.signature.len == e->signature_len &&
           memcmp(token.bytes, e->bytes, decoded_len(e)) == 0;
}

static bool is_of(const struct entry *e, struct str text)
{
    return e->claims != NULL ? str_eq((struct str){e->text, e->text_len}, text)
                             : e->text_len == text.len && decodes_to(text, e);
}

/* ---- the table ---- */

static struct entry **bucket_of(uint64_t hash)
{
    return &cache.buckets[hash & (cache.bucket_count - 1)];
}

/* The link that leads to the token's entry, or to NULL at the chain's end. */
static struct entry **find(struct siphash hash, struct str text)
{
    struct entry **link = bucket_of(hash.low);
    for (; *link != NULL; link = &(*link)->next) {
        if ((*link)->hash == hash.low && is_of(*link, text))
            break;
    }
    return link;
}

static struct entry **link_of(const struct entry *e)
{
    struct entry **link = bucket_of(e->hash);
    while (*link != e) {
        assert(*link != NULL); /* what is in a list of use is in its bucket's chain */
        link = &(*link)->next;
    }
    return link;
}

static void rehash(struct list *list)
{
    list_each(node, list)
    {
        struct entry *e = container_of(node, struct entry, used);
        struct entry **bucket = bucket_of(e->hash);
        e->next = *bucket;
        *bucket = e;
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
    rehash(&cache.warm);
    rehash(&cache.cold);
    return true;
}

/* ---- warm and cold ---- */

/* list_push puts a node before another one: before the first is the front. */
static void put_first(struct list *list, struct entry *e)
{
    list_remove(&e->used);
    list_push(list->next, &e->used);
}

static void cool(struct entry *e)
{
    if (e->claims == NULL)
        return;
    cache.stats.bytes -= e->warmth;
    cache.stats.warm_bytes -= e->warmth;
    claims_unref(e->claims);
    free(e->text);
    e->claims = NULL;
    e->text = NULL;
    if (cache.last == e)
        cache.last = NULL;
    put_first(&cache.cold, e);
}

/* NULL: none is. */
static void set_newest(struct entry *e, struct claims *claims)
{
    claims_unref(cache.newest_claims);
    cache.newest = e;
    cache.newest_claims = e != NULL ? claims_ref(claims) : NULL;
}

static void unlink_entry(struct entry **link)
{
    struct entry *e = *link;
    *link = e->next;
    cool(e);
    if (cache.newest == e)
        set_newest(NULL, NULL);
    list_remove(&e->used);
    cache.stats.bytes -= cold_bytes(e);
    cache.stats.entries--;
    free(e);
}

static struct entry *oldest(const struct list *list)
{
    return container_of(list->prev, struct entry, used);
}

/* Cools what exceeds the warm share, but for the one used last. Evicts until there are no more than
 * `bytes`. */
static void trim(size_t bytes)
{
    while (cache.stats.warm_bytes > cache.max_bytes / WARM_SHARE &&
           cache.warm.prev != cache.warm.next)
        cool(oldest(&cache.warm));
    while (cache.stats.bytes > bytes) {
        unlink_entry(link_of(oldest(list_is_empty(&cache.cold) ? &cache.warm : &cache.cold)));
        cache.stats.evictions++;
    }
}

/* Of a cold entry. False when out of memory, or when that is more than the cache may hold. */
static bool warm_with(struct entry *e, struct str text, struct claims *claims)
{
    size_t warmth = text.len + claims_bytes(claims);
    char *copy = cold_bytes(e) + warmth <= cache.max_bytes ? malloc(text.len) : NULL;
    if (copy == NULL)
        return false;
    memcpy(copy, text.ptr, text.len);
    e->text = copy;
    e->claims = claims_ref(claims);
    e->warmth = (uint32_t)warmth;
    cache.stats.bytes += warmth;
    cache.stats.warm_bytes += warmth;
    put_first(&cache.warm, e);
    trim(cache.max_bytes);
    return true;
}

static bool warm(struct entry *e, struct str text)
{
    json_t *json;
    if (e == cache.newest)
        return warm_with(e, text, cache.newest_claims);
    struct str claims_text = {e->bytes + e->header_len, e->claims_len};
    if (token_read_claims(claims_text, &json) != 0)
        return false;
    struct claims *claims =
        claims_new(json, claims_text, (enum alg)e->alg, (enum claims_type)e->type);
    bool done = claims != NULL && warm_with(e, text, claims);
    claims_unref(claims);
    return done;
}

/* Cold, in no chain and no list. NULL when out of memory. */
static struct entry *entry_new(const struct token *token, const struct key_source *source,
                               const struct claims *claims)
{
    size_t len = token->header_text.len + token->claims_text.len + token->signature.len;
    struct entry *e = malloc(sizeof(*e) + len);
    if (e == NULL)
        return NULL;
    *e = (struct entry){.source = source->id,
                        .generation = source->generation,
                        .text_len = (uint16_t)token->text.len,
                        .header_len = (uint16_t)token->header_text.len,
                        .claims_len = (uint16_t)token->claims_text.len,
                        .signature_len = (uint16_t)token->signature.len,
                        .alg = (uint8_t)claims->alg,
                        .type = (uint8_t)claims->type};
    memcpy(e->bytes, token->bytes, len);
    list_init(&e->used);
    return e;
}

static void insert(struct entry *e)
{
    struct entry **bucket = bucket_of(e->hash);
    e->next = *bucket;
    *bucket = e;
    cache.stats.bytes += cold_bytes(e);
    cache.stats.entries++;
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

static bool is_current(const struct entry *e, const struct key_source *source)
{
    return e != NULL && e->source == source->id && e->generation == source->generation;
}

static struct claims *hit(struct entry *e)
{
    put_first(&cache.warm, e);
    cache.last = e;
    cache.stats.hits++;
    return e->claims;
}

struct claims *token_cache_find(struct str token, const struct key_source *source, bool *bad)
{
    *bad = false;
    if (!is_on())
        return NULL;
    if (is_current(cache.last, source) && is_of(cache.last, token)) /* before anything is hashed */
        return hit(cache.last);
    struct siphash tail = hash_of(token);
    struct entry **link = cache.buckets != NULL ? find(tail, token) : NULL;
    struct entry *e = link != NULL ? *link : NULL;
    if (e != NULL && e->source == source->id && e->generation != source->generation) {
        unlink_entry(link);
        e = NULL;
    }
    if (e != NULL && e->source == source->id && (e->claims != NULL || warm(e, token)))
        return hit(e);
    *bad = is_bad(tail, token, source);
    cache.stats.negative_hits += *bad;
    cache.stats.misses += !*bad;
    return NULL;
}

struct claims *token_cache_again(uint64_t serial, const struct key_source *source)
{
    if (is_current(cache.last, source) && cache.last->claims->serial == serial)
        return hit(cache.last);
    if (!is_current(cache.newest, source) || cache.newest_claims->serial != serial)
        return NULL;
    cache.stats.hits++;
    return cache.newest_claims;
}

void token_cache_add(const struct token *token, const struct key_source *source,
                     struct claims *claims)
{
    if (!is_on() || !make_room())
        return;
    struct siphash hash = hash_of(token->text);
    struct entry **before = find(hash, token->text);
    if (*before != NULL)
        unlink_entry(before);
    struct entry *e = entry_new(token, source, claims);
    if (e == NULL)
        return;
    e->hash = hash.low;
    insert(e);
    put_first(&cache.cold, e);
    set_newest(e, claims);
    trim(cache.max_bytes);
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

static void clear(struct list *list)
{
    while (!list_is_empty(list))
        unlink_entry(link_of(oldest(list)));
}

void token_cache_clear(void)
{
    if (cache.ready) {
        clear(&cache.warm);
        clear(&cache.cold);
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
        trim(max_bytes);
}

struct token_cache_stats token_cache_stats(void)
{
    return cache.stats;
}
