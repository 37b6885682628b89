/* The pool of small blocks: what is given out is whole and aligned, and what is freed goes back. */
#include "unit.h"

#include <stdbool.h>
#include <string.h>

#include "base/pool.h"

static const bool POOLED =
#ifdef LUAFN_DEBUG
    false;
#else
    true;
#endif

enum { SLOTS = 3000, STEPS = 400000 };

struct slot {
    unsigned char *block;
    size_t size;
    unsigned char mark;
};

static struct slot slots[SLOTS];

/* Around the pool's limit there are blocks of both kinds. */
static size_t random_size(void)
{
    unsigned kind = next_random() % 10;
    return 1 + next_random() % (kind == 0 ? 4 * POOL_BLOCK_MAX : kind < 4 ? POOL_BLOCK_MAX : 64);
}

static void check(const struct slot *slot, size_t len)
{
    for (size_t i = 0; i < len; i++)
        assert_int_equal(slot->block[i], slot->mark);
}

static void fill(struct slot *slot)
{
    assert_non_null(slot->block);
    assert_int_equal((uintptr_t)slot->block % _Alignof(max_align_t), 0);
    slot->mark = (unsigned char)next_random();
    memset(slot->block, slot->mark, slot->size);
}

static void free_slot(struct slot *slot)
{
    check(slot, slot->size);
    pool_free(slot->block, slot->size);
    *slot = (struct slot){0};
}

/* Each block keeps the bytes that were written to it, whatever happens to the others. */
static void test_blocks_keep_what_is_written(void **state)
{
    (void)state;
    for (unsigned step = 0; step < STEPS; step++) {
        struct slot *slot = &slots[next_random() % SLOTS];
        if (slot->block != NULL && next_random() % 2 == 0) {
            free_slot(slot);
        } else {
            size_t size = random_size();
            size_t kept = slot->size < size ? slot->size : size;
            slot->block =
                slot->block != NULL ? pool_resize(slot->block, slot->size, size) : pool_take(size);
            assert_non_null(slot->block);
            check(slot, kept);
            slot->size = size;
            fill(slot);
        }
        if (step % 50000 == 0)
            pool_trim();
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        if (slots[i].block != NULL)
            free_slot(&slots[i]);
    }
}

/* One page of each size may stay. */
static void test_memory_is_given_back(void **state)
{
    (void)state;
    if (!POOLED)
        skip();
    pool_trim();
    size_t before = pool_held();
    for (unsigned i = 0; i < SLOTS; i++)
        slots[i].block = pool_take(slots[i].size = 1 + i % POOL_BLOCK_MAX);
    assert_true(pool_held() > before + SLOTS * POOL_BLOCK_MAX / 4);
    for (unsigned i = 0; i < SLOTS; i++)
        pool_free(slots[i].block, slots[i].size);
    pool_trim();
    assert_true(pool_held() <= POOL_BLOCK_MAX / 16 * 4096);
    memset(slots, 0, sizeof(slots));
}

/* What a trim took from under a region is there again, and blocks beside it were not touched. */
static void test_use_after_trim(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SLOTS; i++) {
        slots[i].size = 100;
        slots[i].block = pool_take(100);
        fill(&slots[i]);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        if (i % 100 != 7)
            free_slot(&slots[i]);
    }
    pool_trim();
    for (unsigned i = 0; i < SLOTS; i++) {
        if (slots[i].block == NULL) {
            slots[i].size = 100;
            slots[i].block = pool_take(100);
            fill(&slots[i]);
        }
    }
    for (unsigned i = 0; i < SLOTS; i++)
        free_slot(&slots[i]);
    pool_trim();
}

static void test_nothing(void **state)
{
    (void)state;
    pool_free(NULL, 0);
    void *block = pool_take(1);
    assert_non_null(block);
    void *same = pool_resize(block, 1, 1);
    if (POOLED) /* a sanitizer's realloc moves each time */
        assert_ptr_equal(same, block);
    pool_free(same, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_keep_what_is_written),
        cmocka_unit_test(test_memory_is_given_back),
        cmocka_unit_test(test_use_after_trim),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
