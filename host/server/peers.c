/* A hash table with lists for buckets. */
#include "server/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/list.h"
#include "base/siphash.h"

struct peer {
    struct list in_bucket;
    unsigned count;
    char address[46];
};

struct peers {
    uint64_t key[2];
    unsigned each;
    uint64_t mask;
    struct list buckets[];
};

struct peers *peers_new(unsigned each, unsigned all)
{
    uint64_t size = 64;
    while (size < all)
        size *= 2;
    struct peers *peers = malloc(sizeof(*peers) + size * sizeof(peers->buckets[0]));
    if (peers == NULL || getrandom(peers->key, sizeof(peers->key), 0) != sizeof(peers->key)) {
        free(peers);
        return NULL;
    }
    peers->each = each;
    peers->mask = size - 1;
    for (uint64_t i = 0; i < size; i++)
        list_init(&peers->buckets[i]);
    return peers;
}

void peers_free(struct peers *peers)
{
    free(peers);
}

struct peer *peers_join(struct peers *peers, const char *address)
{
    struct list *bucket = &peers->buckets[siphash(peers->key, str_from(address)).low & peers->mask];
    list_each(node, bucket)
    {
        struct peer *peer = container_of(node, struct peer, in_bucket);
        if (strcmp(peer->address, address) != 0)
            continue;
        if (peer->count == peers->each)
            return NULL;
        peer->count++;
        return peer;
    }
    struct peer *peer = malloc(sizeof(*peer));
    if (peer == NULL)
        return NULL;
    peer->count = 1;
    snprintf(peer->address, sizeof(peer->address), "%s", address);
    list_push(bucket, &peer->in_bucket);
    return peer;
}

void peers_leave(struct peer *peer)
{
    if (--peer->count > 0)
        return;
    list_remove(&peer->in_bucket);
    free(peer);
}
