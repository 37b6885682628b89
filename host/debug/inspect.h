/* What there is to see of a task that stands: frames, variables, and what expressions come to.
 *
 * Everything is asked from the loop and runs under a small budget of its own, in no request's name:
 * it can call what a script can call, but nothing that waits, and none of it is recorded. What is
 * shown of texts is without secrets (journal/redact.h). Frames and variables have numbers, which
 * are good until the task goes on. */
#pragma once

#include <jansson.h>
#include <lua.h>

#include "base/buf.h"
#include "base/str.h"
#include "run/task.h"

struct inspect_ref;
struct redact;

enum { INSPECT_LOCALS = 256 }; /* more than Lua lets a function have */

/* Where a task stands. */
struct inspect_place {
    struct task *task; /* borrowed */
    lua_State *co;     /* the innermost coroutine, anchored by those around it */
    /* Of its innermost frame as the line hook saw it: between two lines Lua tells the instruction
     * before. `line` 0: it did not stop there. */
    int line;
    const char *names[INSPECT_LOCALS]; /* of local variables, from slot 1; borrowed from Lua */
    unsigned name_count;
    struct redact *redact; /* borrowed */
    unsigned *newest;      /* the newest number that was given, of all places */
    /* filled by what is below */
    struct inspect_ref *refs; /* owned: in the order of their numbers */
    unsigned ref_count, ref_room, frame_count;
};

/* In the line hook of L: notes where it stands. */
void inspect_note(struct inspect_place *place, lua_State *L, lua_Debug *ar);

/* Is that number one of its own? */
bool inspect_knows(const struct inspect_place *place, unsigned id);

/* The task goes on, or goes: no number is good any more. */
void inspect_forget(struct inspect_place *place);

/* A frame, as the caller wants to tell it. */
struct inspect_frame {
    unsigned id;
    const char *name, *source; /* "handler"; Lua's name of the source, with '@' before a file's */
    int line;
};
/* Calls `tell` for at most `count` (0: all) frames from the one at `start` on, the innermost first.
 * How many there are. */
unsigned inspect_frames(struct inspect_place *place, unsigned start, unsigned count,
                        void (*tell)(void *arg, const struct inspect_frame *frame), void *arg);

/* What these give: a variable, a list of them, or a text; NULL with why it is not to be had. */
struct inspect_result {
    json_t *value; /* owned by the caller */
    char why[512];
};

/* The scopes of a frame. */
void inspect_scopes(struct inspect_place *place, unsigned frame, struct inspect_result *out);

/* What is in a scope or a table: `filter` "indexed" or "named", or NULL for both; at most `count`
 * (0: as many as are shown at once) from `start` on. */
void inspect_variables(struct inspect_place *place, unsigned ref, const char *filter,
                       unsigned start, unsigned count, struct inspect_result *out);

/* Sets one of them to what an expression comes to. */
void inspect_set(struct inspect_place *place, unsigned ref, const char *name, struct str text,
                 struct inspect_result *out);

/* What an expression, or statements, come to in that frame (0: the innermost): {result, type,
 * variablesReference}. */
void inspect_evaluate(struct inspect_place *place, unsigned frame, struct str text,
                      struct inspect_result *out);

/* Does the expression hold in the innermost frame? Where it fails it does, and `why` is filled. */
bool inspect_holds(struct inspect_place *place, const char *text, char why[512]);

/* Appends the text with its {expressions} replaced by what they come to. */
void inspect_log(struct inspect_place *place, const char *text, struct buf *out);

/* Is what the task, which has just ended with an error, raised an answer? */
bool inspect_raised_answer(struct task *task);
/* Appends what it raised. */
void inspect_error(struct inspect_place *place, struct buf *out);
