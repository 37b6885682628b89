/* Lua 5.4's patterns, matched by steps that look at the budget.
 *
 * Backtracking makes some patterns exponential; a C function that runs one cannot be stopped from
 * outside. This matcher has the behaviour of Lua's own, to the texts of the errors, ends when the
 * budget does, and can pause: it keeps the places to come back to in an array. */
#pragma once

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

enum { PATTERN_CAPTURES = 32, PATTERN_DEPTH = 200 };

/* Lengths of captures that have none: not closed yet; a position, "()". */
enum { PATTERN_UNFINISHED = -1, PATTERN_POSITION = -2 };

struct pattern_capture {
    const char *start;
    ptrdiff_t len; /* or one of the two above */
};

/* A place to come back to when what follows does not match. */
struct pattern_choice {
    enum pattern_kind { /* see pattern.c */
                        PATTERN_LONGEST,
                        PATTERN_SHORTEST,
                        PATTERN_OPTIONAL,
                        PATTERN_OPENED,
                        PATTERN_CLOSED,
    } kind;
    unsigned capture;     /* of PATTERN_CLOSED */
    const char *s;        /* in the subject */
    const char *p, *rest; /* the item, and the pattern behind it */
    ptrdiff_t count;      /* of PATTERN_LONGEST: repetitions */
};

enum pattern_end { PATTERN_FAILED, PATTERN_FOUND, PATTERN_PAUSED };

/* One subject and one pattern; both texts stay on L's stack (borrowed). */
struct pattern {
    lua_State *L;
    const char *subject, *subject_end;
    const char *text, *text_end; /* of the pattern, without the anchor */
    const char *start;           /* where the attempt began */
    const char *s, *p;           /* where the walk stands; `s` is the end of what was found */
    unsigned steps;              /* since the last look at the budget */
    bool is_due;                 /* the slice is over */
    bool is_counting;            /* the top choice is still looking for its most repetitions */
    unsigned level;              /* captures, open ones too */
    unsigned depth;              /* choices */
    struct pattern_capture captures[PATTERN_CAPTURES];
    struct pattern_choice choices[PATTERN_DEPTH]; /* last: only those in use are saved */
};

void pattern_init(struct pattern *pattern, lua_State *L, const char *subject, size_t subject_len,
                  const char *text, size_t text_len);

/* Does the pattern match at `at`? Raises on a malformed pattern, and when the budget has ended.
 * PATTERN_PAUSED: the slice is over and L may be suspended; the caller calls pattern_save, then
 * budget_pause. */
enum pattern_end pattern_match(struct pattern *pattern, const char *at);
/* Goes on where it paused. */
enum pattern_end pattern_go_on(struct pattern *pattern);

/* Pushes a userdata with the state of a paused match; takes it from the top of the stack. */
void pattern_save(const struct pattern *pattern);
void pattern_restore(struct pattern *pattern, lua_State *L);

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
