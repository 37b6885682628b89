/* What time it is. */
#include "base/clock.h"

#include <time.h>

static bool is_set;
static double set_to;

double clock_now(void)
{
    if (is_set)
        return set_to;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

uint64_t clock_monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void clock_set(double seconds)
{
    is_set = true;
    set_to = seconds;
}

void clock_advance(double seconds)
{
    set_to += seconds;
}

bool clock_is_set(void)
{
    return is_set;
}

void clock_reset(void)
{
    is_set = false;
}
