/* Where scripts shall stand, and what is asked before: lines of sources, by the names under which
 * Lua knows them ("scripts/me.lua"). */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/* Which hits stand. */
enum hits { HITS_ANY, HITS_IS, HITS_FROM, HITS_ABOVE, HITS_EVERY };

struct breakpoint {
    unsigned id;
    int asked;       /* line */
    int line;        /* where there is code: at or behind it */
    bool verified;   /* there is */
    char *condition; /* owned; NULL: none. An expression */
    char *log;       /* owned; NULL: it stands. A text with {expressions} that is told instead */
    enum hits rule;
    uint64_t count; /* of the rule */
    uint64_t hits;
    const char *wrong;   /* why it never stands; NULL: nothing */
    const char *message; /* why it is not verified; NULL: it is */
};

struct breakpoint_source {
    struct breakpoint_source *next;
    char *name, *path; /* owned */
    struct buf text;   /* owned: of the file, when lines were last found in it */
    struct breakpoint *list;
    unsigned count;
};

struct breakpoints {
    struct breakpoint_source *sources; /* owned: those that have some */
    unsigned newest;                   /* id */
    unsigned count;                    /* of all */
    uint64_t lines[16];                /* a bit for each line with one, modulo their number */
};

void breakpoints_clear(struct breakpoints *all);

/* Those of this source from now on: `wanted` is the list of setBreakpoints. Lines are found in
 * `path`. What was made of each, in the same order, is appended to `answer` (an array). 0, -EINVAL
 * with why, or -ENOMEM. */
int breakpoints_set(struct breakpoints *all, const char *name, const char *path,
                    const json_t *wanted, json_t *answer, const char **why)
    __attribute__((warn_unused_result));

/* Files may have changed: finds the lines that were asked for anew, and tells of each breakpoint
 * that is elsewhere now, or that there is no place for any more. Of a file that does not compile
 * nothing is told: what was made of it before runs on. */
void breakpoints_verify(struct breakpoints *all,
                        void (*changed)(void *arg, const struct breakpoint *breakpoint,
                                        const char *name),
                        void *arg);

/* {id, verified, line, message}, or NULL: no memory. */
json_t *breakpoints_json(const struct breakpoint *breakpoint);

/* The one of that line, or NULL. */
struct breakpoint *breakpoints_find(const struct breakpoints *all, const char *name, int line);
/* The one of that id, or NULL. */
struct breakpoint *breakpoints_by_id(const struct breakpoints *all, unsigned id);
/* False: no source has one at that line. */
static inline bool breakpoints_may(const struct breakpoints *all, int line)
{
    unsigned bit = (unsigned)line % 1024;
    return (all->lines[bit / 64] >> bit % 64 & 1) != 0;
}
bool breakpoints_has(const struct breakpoints *all, const char *name);

/* A run begins: none was met. */
void breakpoints_begin(struct breakpoints *all);
/* It was met, and its condition holds: counts, and says whether it is its turn. */
bool breakpoints_hit(struct breakpoint *breakpoint);
