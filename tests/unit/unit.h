/* What every unit test includes: cmocka with the headers it wants before itself. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

/* LUAFN_SLOW=N: time limits of tests count N times (valgrind, sanitizers, busy machines). */
static inline double slowness(void)
{
    const char *text = getenv("LUAFN_SLOW");
    double factor = text != NULL ? atof(text) : 1;
    return factor > 1 ? factor : 1;
}

/* The same numbers in every run of a test program. */
static inline unsigned next_random(void)
{
    static uint64_t seed = 88172645463325252u;
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 32);
}
