/* Per-request memory: a chain of chunks, each as large as all before it, up to a ceiling. */
#include "base/arena.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIRST_CHUNK = 1024, LARGEST_CHUNK = 65536 };

struct arena_chunk {
    struct arena_chunk *older; /* owned */
    size_t size;               /* bytes of data */
    alignas(max_align_t) char data[];
};

struct arena_cleanup {
    struct arena_cleanup *older;
    void (*fn)(void *arg);
    void *arg;
};

void arena_init(struct arena *arena)
{
    *arena = (struct arena){0};
}

void arena_init_with(struct arena *arena, size_t bytes)
{
    *arena = (struct arena){.first = bytes};
}

static void use_chunk(struct arena *arena, struct arena_chunk *chunk)
{
    arena->next = chunk->data;
    arena->end = chunk->data + chunk->size;
}

static void run_cleanups(struct arena *arena)
{
    while (arena->cleanups != NULL) {
        struct arena_cleanup *c = arena->cleanups;
        arena->cleanups = c->older;
        c->fn(c->arg);
    }
}

static void free_chunks(struct arena *arena)
{
    while (arena->chunks != NULL) {
        struct arena_chunk *older = arena->chunks->older;
        free(arena->chunks);
        arena->chunks = older;
    }
}

void arena_reset(struct arena *arena)
{
    run_cleanups(arena);
    if (arena->chunks == NULL)
        return;
    if (arena->chunks->older == NULL && arena->total <= ARENA_KEPT) {
        use_chunk(arena, arena->chunks);
        return;
    }
    free_chunks(arena);
    *arena = (struct arena){.first = arena->total < ARENA_KEPT ? arena->total : ARENA_KEPT};
}

void arena_free(struct arena *arena)
{
    run_cleanups(arena);
    free_chunks(arena);
    arena_init(arena);
}

static struct arena_chunk *add_chunk(struct arena *arena, size_t at_least)
{
    bool is_known = arena->chunks == NULL && arena->first > 0;
    size_t size = is_known ? arena->first : arena->total;
    if (size < FIRST_CHUNK && !is_known)
        size = FIRST_CHUNK;
    if (size > LARGEST_CHUNK)
        size = LARGEST_CHUNK;
    if (size < at_least)
        size = at_least;
    if (size > SIZE_MAX - sizeof(struct arena_chunk))
        return NULL;
    struct arena_chunk *chunk = malloc(sizeof(*chunk) + size);
    if (chunk == NULL)
        return NULL;
    chunk->size = size;
    chunk->older = arena->chunks;
    arena->chunks = chunk;
    arena->total += size;
    use_chunk(arena, chunk);
    return chunk;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size = arena_size(size);
    if (size > (size_t)(arena->end - arena->next) && add_chunk(arena, size) == NULL)
        return NULL;
    void *p = arena->next;
    arena->next += size;
    return p;
}

void *arena_zalloc(struct arena *arena, size_t size)
{
    void *p = arena_alloc(arena, size);
    return p != NULL ? memset(p, 0, size) : NULL;
}

struct str arena_copy(struct arena *arena, struct str s)
{
    char *p = arena_alloc(arena, s.len + 1);
    if (p == NULL)
        return (struct str){NULL, 0};
    if (s.len > 0)
        memcpy(p, s.ptr, s.len);
    p[s.len] = '\0';
    return (struct str){p, s.len};
}

struct str arena_lower(struct arena *arena, struct str s)
{
    struct str copy = arena_copy(arena, s);
    str_lower((char *)(uintptr_t)copy.ptr, copy.len);
    return copy;
}

struct str arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *p = len >= 0 ? arena_alloc(arena, (size_t)len + 1) : NULL;
    if (p == NULL)
        return (struct str){NULL, 0};
    va_start(args, format);
    vsnprintf(p, (size_t)len + 1, format, args);
    va_end(args);
    return (struct str){p, (size_t)len};
}

int arena_defer(struct arena *arena, void (*fn)(void *arg), void *arg)
{
    struct arena_cleanup *c = arena_alloc(arena, sizeof(*c));
    if (c == NULL)
        return -ENOMEM;
    *c = (struct arena_cleanup){arena->cleanups, fn, arg};
    arena->cleanups = c;
    return 0;
}
