/* Lua 5.4's patterns, matched by steps that look at the budget.
 *
 * Backtracking makes some patterns exponential; a C function that runs one cannot be stopped from
 * outside. This matcher has the behaviour of Lua's own, to the texts of the errors, and ends when
 * the budget does. */
#ifndef LUAFN_RUN_PATTERN_H
#define LUAFN_RUN_PATTERN_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

enum { PATTERN_CAPTURES = 32, PATTERN_DEPTH = 200 };

struct pattern_capture {
    const char *start;
    ptrdiff_t len; /* or CAPTURE_OPEN, CAPTURE_POSITION of pattern.c */
};

/* One subject and one pattern; both texts stay on L's stack (borrowed). */
struct pattern {
    lua_State *L;
    const char *subject, *subject_end;
    const char *text, *text_end; /* of the pattern, without the anchor */
    int depth;                   /* nested attempts left */
    unsigned steps;              /* since the last look at the budget */
    unsigned level;              /* captures, open ones too */
    struct pattern_capture captures[PATTERN_CAPTURES];
};

void pattern_init(struct pattern *pattern, lua_State *L, const char *subject, size_t subject_len,
                  const char *text, size_t text_len);

/* The end of the match that begins at `at`, or NULL. Raises on a malformed pattern, and when the
 * budget has ended. */
const char *pattern_match(struct pattern *pattern, const char *at);

/* Pushes capture `index` of the match start..end; index 0 without any captures is the match. */
void pattern_push_capture(struct pattern *pattern, unsigned index, const char *start,
                          const char *end);

/* Pushes all captures, or the whole match when there are none and `start` is not NULL. Returns how
 * many. */
int pattern_push_captures(struct pattern *pattern, const char *start, const char *end);

/* Is this text the same as a pattern and as itself? */
bool pattern_is_plain(const char *text, size_t len);

/* The first `needle` in `text`, or NULL; looks at the budget. */
const char *pattern_find_plain(lua_State *L, const char *text, size_t len, const char *needle,
                               size_t needle_len);

#endif
