/* Reading a journal's folder, in any process: what is there, and what comes. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "journal/journal_files.h"

/* A record's line, without its end. False: no more are wanted. */
typedef bool journal_line(void *arg, struct str line);

/* The lines of all files, the newest file and line first. 0, or a negative errno: -ENOENT, there is
 * no such folder. A file that goes meanwhile has no lines. */
int journal_read(const char *folder, journal_line *fn, void *arg)
    __attribute__((warn_unused_result));

/* Is it the line of the record with that id? */
bool journal_is_record(struct str line, struct str id);

/* A line that is there but no record of this version's is what is left of one that was cut off, or
 * was written by another luafn. */
bool journal_is_readable(struct str line);

struct journal_follower {
    const char *folder;        /* borrowed */
    struct journal_files seen; /* with the size that was read */
    struct buf text;           /* owned; scratch */
};

/* From now on: what is there already is passed over. 0 or a negative errno; a folder that is not
 * there yet may come. */
int journal_follow(struct journal_follower *follower, const char *folder)
    __attribute__((warn_unused_result));
/* The whole lines that came since the last call, the oldest of each file first. */
void journal_follow_next(struct journal_follower *follower, journal_line *fn, void *arg);
void journal_follow_end(struct journal_follower *follower);
