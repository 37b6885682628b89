/* A malloc that fails when it is told to: `countdown` allocations from now, alone or with all that
 * follow (from_then_on); then it has `struck`. Sanitizers and valgrind have their own: see
 * owns_malloc. */
#pragma once

#include <stdbool.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OWN_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OWN_MALLOC 0
#else
#define OWN_MALLOC 1
#endif
#else
#define OWN_MALLOC 1
#endif

/* 0: no fault is planned. Compilers know malloc, and that theirs reads none of this. */
static volatile unsigned long countdown;
static volatile bool from_then_on, struck;

static inline bool fails_now(void)
{
    if (countdown == 0 || --countdown > 0)
        return false;
    struck = true;
    if (from_then_on)
        countdown = 1;
    return true;
}

#if OWN_MALLOC
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *old);

void *malloc(size_t size)
{
    return fails_now() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return fails_now() ? NULL : __libc_realloc(old, size);
}

void free(void *old)
{
    __libc_free(old);
}
#endif

/* Is the malloc above the one that is called? valgrind puts its own in the place of every other. */
static inline bool owns_malloc(void)
{
    void *(*volatile as_others_call_it)(size_t) = malloc; /* the one above could be inlined */
    countdown = 1;
    void *volatile got = as_others_call_it(1);
    countdown = 0;
    free(got);
    return got == NULL;
}
