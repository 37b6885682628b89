/* A table of revocations of its own for each test. */
#pragma once

#include "unit.h"

#include <sys/mman.h>

#include "shared/revocations.h"

static struct revocation_table *revocations_table;

static int revocations_set_up(void **state)
{
    (void)state;
    revocations_table = mmap(NULL, sizeof(*revocations_table), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(revocations_table, MAP_FAILED);
    assert_int_equal(revocations_init(revocations_table), 0);
    revocations_share(revocations_table);
    return 0;
}

static int revocations_tear_down(void **state)
{
    (void)state;
    munmap(revocations_table, sizeof(*revocations_table));
    revocations_share(NULL);
    return 0;
}
