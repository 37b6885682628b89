/* What time it is: the system's clock, or one that a test sets.
 *
 * For the whole process and one thread. Only `luafn test` and unit tests set it; what measures how
 * long something takes uses the monotonic clock instead. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Seconds since 1970, with a fraction. */
double clock_now(void);

/* Nanoseconds of CLOCK_MONOTONIC, whatever a test has set: how long something takes. */
uint64_t clock_monotonic_ns(void);

/* From here on the clock stands at `seconds` and moves by clock_advance alone. */
void clock_set(double seconds);
/* Only after clock_set. */
void clock_advance(double seconds);
bool clock_is_set(void);
/* The system's clock again. */
void clock_reset(void);
