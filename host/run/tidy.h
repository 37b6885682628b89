/* Gives memory back that runs have left behind.
 *
 * A run that was ended, or waits, leaves garbage which Lua would collect only while the function
 * allocates on; and what a state frees, malloc keeps. Both are seen to a moment later, in small
 * pieces. */
#pragma once

#include <uv.h>

struct instance;

enum { TIDY_WORTH = 64 * 1024 }; /* bytes for which the allocators' trim is worth the trouble */

/* Before the first run and after the last one on this loop. Without, the others do nothing. */
void tidy_open(uv_loop_t *loop);
void tidy_close(void);

/* After the last of its runs, and when one begins to wait: has the instance grown beyond what it
 * needs, by what it needed before? Then it is collected soon. Borrowed: whoever frees it takes it
 * out of the list (instance->tidying). */
void tidy_instance(struct instance *instance);

/* So much was freed at once, or is about to be. */
void tidy_after_free(size_t bytes);
