/* Per-request memory: allocate freely, free once.
 *
 * An arena hands out memory by moving a pointer; everything goes when the arena is reset. What must
 * be undone besides (a reference, a file) is registered with arena_defer and runs, last first, at
 * the reset. One chunk is kept over resets; of several the next is as large as all of them, where
 * that is not large. So a steady load allocates nothing, and who takes long holds hardly more than
 * he needs. */
#pragma once

#include <stdalign.h>
#include <stddef.h>

#include "base/str.h"

enum { ARENA_KEPT = 16 * 1024 }; /* bytes at most, over a reset */

struct arena_chunk;
struct arena_cleanup;

struct arena {
    char *next; /* free space of the current chunk */
    char *end;
    struct arena_chunk *chunks;     /* owned; the newest first */
    struct arena_cleanup *cleanups; /* in arena memory; the newest first */
    size_t total;                   /* bytes of all chunks */
    size_t first;                   /* while there is none: what was needed last time */
};

/* Takes no memory yet. */
void arena_init(struct arena *arena);
/* The same; its first chunk has `bytes`, for those who know what they need: of each block its size,
 * rounded up as by arena_size. */
void arena_init_with(struct arena *arena, size_t bytes);

/* Runs the cleanups and frees all memory, but for a chunk that was enough. */
void arena_reset(struct arena *arena);

/* Runs the cleanups and frees everything; the arena may be used again. */
void arena_free(struct arena *arena);

/* What a block of so many bytes takes. */
static inline size_t arena_size(size_t size)
{
    return (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
}

/* `size` bytes aligned for any type, not cleared; NULL when out of memory. */
void *arena_alloc(struct arena *arena, size_t size);

/* The same, cleared. */
void *arena_zalloc(struct arena *arena, size_t size);

/* A NUL-terminated copy; the slice does not count the NUL. ptr is NULL when out of memory. */
struct str arena_copy(struct arena *arena, struct str s);
/* The same, with ASCII's letters in lower case. */
struct str arena_lower(struct arena *arena, struct str s);

/* printf into the arena; ptr is NULL when out of memory. */
struct str arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Calls fn(arg) at the next reset. 0 or -ENOMEM; after -ENOMEM fn was not registered. */
int arena_defer(struct arena *arena, void (*fn)(void *arg), void *arg)
    __attribute__((warn_unused_result));
