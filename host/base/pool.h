/* Small blocks: what Lua states are made of.
 *
 * A block's owner knows its size, so a block carries none; blocks of one size share pages, so that
 * a page whose last block is freed can go back to the system, whatever else is still in use. The
 * pool is the process' own, for its loop thread alone. Blocks over POOL_BLOCK_MAX are malloc's.
 *
 * In builds for debuggers and sanitizers every block is malloc's: they are to see each of them. */
#pragma once

#include <stddef.h>

enum { POOL_BLOCK_MAX = 512 };

/* A block of `size` bytes (not 0), aligned for any type; NULL when out of memory. */
void *pool_take(size_t size) __attribute__((warn_unused_result));

/* Like realloc for a block of `old_size` bytes that is to have `size` (neither 0). NULL when out of
 * memory: the block is as before then. */
void *pool_resize(void *block, size_t old_size, size_t size) __attribute__((warn_unused_result));

/* `size` is what it was given; block NULL: does nothing. */
void pool_free(void *block, size_t size);

/* Gives the pages without blocks back to the system. */
void pool_trim(void);

/* Bytes of the pages that have blocks, or are kept for them. */
size_t pool_held(void);
