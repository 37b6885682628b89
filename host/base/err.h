/* Messages for people.
 *
 * Functions that can fail return 0 or a negative errno; where a person must read why, the caller
 * passes a `struct err`, which the failing function fills. Text carries its position
 * ("functions.lua:12: ..."), is cut at the end of the struct, and is always NUL-terminated. */
#pragma once

struct err {
    char text[1024];
};

/* Fills the text; `err` may be NULL. Returns `code`, so that a failure is one statement:
 * return err_set(err, -EINVAL, "..."). */
int err_set(struct err *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __clang_analyzer__
/* It does not see into err.c and would follow every failure on as a success, too. */
#define err_set(err, code, ...) ((void)(err_set)((err), 0, __VA_ARGS__), (code))
#endif
