/* Pages of blocks, in regions of 64 pages. */
#include "base/pool.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef LUAFN_DEBUG

enum {
    PAGE_BYTES = 4096,
    STEP = 16, /* between two sizes of blocks */
    SIZES = POOL_BLOCK_MAX / STEP,
    REGION_PAGES = 64 /* one bit each */
};

struct region {
    struct region *next;
    char *start;
    uint64_t vacant;  /* pages without blocks */
    uint64_t touched; /* pages that the system has given memory for */
};

/* At the start of each page with blocks of one size. */
struct page {
    _Alignas(STEP) void *free; /* blocks that came back; each holds the address of the next */
    char *fresh;               /* from here on blocks were never given out */
    unsigned left;             /* ... so many */
    unsigned used;             /* blocks given out */
    unsigned index;            /* of the size */
    unsigned place;            /* in the region */
    struct region *region;
    struct page *next, *prev; /* among the pages of this size with room */
};

static struct {
    struct page *open[SIZES]; /* pages with room */
    struct region *regions;
    size_t pages;
} pool;

_Static_assert(sizeof(struct page) % STEP == 0, "blocks are aligned as the page's head ends");

static size_t block_bytes(unsigned index)
{
    return ((size_t)index + 1) * STEP;
}

static unsigned index_of(size_t size)
{
    return (unsigned)((size - 1) / STEP);
}

/* ---- pages ---- */

static struct region *region_new(void)
{
    struct region *region = malloc(sizeof(*region));
    if (region == NULL)
        return NULL;
    void *start = mmap(NULL, (size_t)REGION_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) {
        free(region);
        return NULL;
    }
    *region = (struct region){.next = pool.regions, .start = start, .vacant = UINT64_MAX};
    pool.regions = region;
    return region;
}

/* A page's bit, the lowest first: what is left of a rush gathers at the low end. */
static struct page *take_page(void)
{
    struct region *region = pool.regions;
    while (region != NULL && region->vacant == 0)
        region = region->next;
    if (region == NULL)
        region = region_new();
    if (region == NULL)
        return NULL;
    unsigned place = (unsigned)__builtin_ctzll(region->vacant);
    struct page *page = (struct page *)(void *)(region->start + (size_t)place * PAGE_BYTES);
    region->vacant &= region->vacant - 1;
    region->touched |= UINT64_C(1) << place;
    page->region = region;
    page->place = place;
    pool.pages++;
    return page;
}

static void open_page(struct page *page)
{
    struct page **first = &pool.open[page->index];
    page->prev = NULL;
    page->next = *first;
    if (*first != NULL)
        (*first)->prev = page;
    *first = page;
}

static void close_page(struct page *page)
{
    if (page->prev != NULL)
        page->prev->next = page->next;
    else
        pool.open[page->index] = page->next;
    if (page->next != NULL)
        page->next->prev = page->prev;
}

static struct page *add_page(unsigned index)
{
    struct page *page = take_page();
    if (page == NULL)
        return NULL;
    page->free = NULL;
    page->fresh = (char *)(page + 1);
    page->left = (unsigned)((PAGE_BYTES - sizeof(*page)) / block_bytes(index));
    page->used = 0;
    page->index = index;
    open_page(page);
    return page;
}

/* The last page of a size stays, so that one block that comes and goes does not move pages. */
static void on_page_empty(struct page *page)
{
    if (page->prev == NULL && page->next == NULL)
        return;
    close_page(page);
    page->region->vacant |= UINT64_C(1) << page->place;
    pool.pages--;
}

/* ---- blocks ---- */

static void *take_block(struct page *page)
{
    void *block = page->free;
    if (block != NULL) {
        page->free = *(void **)block;
    } else {
        block = page->fresh;
        page->fresh += block_bytes(page->index);
        page->left--;
    }
    page->used++;
    if (page->free == NULL && page->left == 0)
        close_page(page);
    return block;
}

/* Out of line, so that what nearly always happens saves no registers. */
static void *take_from_new_page(unsigned index) __attribute__((noinline));

static void *take_from_new_page(unsigned index)
{
    struct page *page = add_page(index);
    return page != NULL ? take_block(page) : NULL;
}

static void give_block(void *block)
{
    struct page *page = (struct page *)((uintptr_t)block & ~(uintptr_t)(PAGE_BYTES - 1));
    bool was_full = page->free == NULL && page->left == 0;
    *(void **)block = page->free;
    page->free = block;
    if (was_full)
        open_page(page);
    if (--page->used == 0)
        on_page_empty(page);
}

void *pool_take(size_t size)
{
    if (size > POOL_BLOCK_MAX)
        return malloc(size);
    struct page *page = pool.open[index_of(size)];
    return page != NULL ? take_block(page) : take_from_new_page(index_of(size));
}

void *pool_resize(void *block, size_t old_size, size_t size)
{
    if (old_size > POOL_BLOCK_MAX && size > POOL_BLOCK_MAX)
        return realloc(block, size);
    if (old_size <= POOL_BLOCK_MAX && size <= POOL_BLOCK_MAX &&
        index_of(old_size) == index_of(size))
        return block;
    void *moved = pool_take(size);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, old_size < size ? old_size : size);
    pool_free(block, old_size);
    return moved;
}

void pool_free(void *block, size_t size)
{
    if (size > POOL_BLOCK_MAX)
        free(block);
    else if (block != NULL)
        give_block(block);
}

/* ---- memory that is given back ---- */

static void trim_region(struct region *region)
{
    uint64_t idle = region->vacant & region->touched;
    region->touched &= ~idle;
    while (idle != 0) {
        unsigned from = (unsigned)__builtin_ctzll(idle);
        uint64_t behind = ~(idle >> from); /* the bit that ends the run */
        unsigned run = behind != 0 ? (unsigned)__builtin_ctzll(behind) : REGION_PAGES;
        (void)madvise(region->start + (size_t)from * PAGE_BYTES, (size_t)run * PAGE_BYTES,
                      MADV_DONTNEED);
        idle = run + from < REGION_PAGES ? idle & (UINT64_MAX << (from + run)) : 0;
    }
}

void pool_trim(void)
{
    struct region **link = &pool.regions;
    while (*link != NULL) {
        struct region *region = *link;
        if (region->vacant == UINT64_MAX) {
            *link = region->next;
            munmap(region->start, (size_t)REGION_PAGES * PAGE_BYTES);
            free(region);
        } else {
            trim_region(region);
            link = &region->next;
        }
    }
}

size_t pool_held(void)
{
    return pool.pages * PAGE_BYTES;
}

#else

void *pool_take(size_t size)
{
    return malloc(size);
}

void *pool_resize(void *block, size_t old_size, size_t size)
{
    (void)old_size;
    return realloc(block, size);
}

void pool_free(void *block, size_t size)
{
    (void)size;
    free(block);
}

void pool_trim(void)
{
}

size_t pool_held(void)
{
    return 0;
}

#endif
