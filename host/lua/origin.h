/* What something was made from: each file that was read or looked for, with its bytes; each
 * folder's names; where each link led.
 *
 * Loading asks an origin instead of the disk. The origin asks the disk, once for each name, and
 * notes the answer; or it answers out of an earlier origin what is known there, so that the same is
 * made again whatever has become of the files. At most LIMIT_ORIGIN_NOTES are noted; more is as if
 * memory were out. Scripts may look for names that callers choose: of what is not there
 * LIMIT_ORIGIN_ABSENT are noted, and beyond that the disk is asked each time. Equal texts are in
 * memory once. For one thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum origin_kind {
    ORIGIN_FILE,   /* its text */
    ORIGIN_LOOK,   /* is it a file? present or not, without its text */
    ORIGIN_FOLDER, /* its functions, as script_folder_list has them */
    ORIGIN_LINK    /* the path behind it, as of realpath */
};

struct origin_text; /* counted */

struct origin_note {
    enum origin_kind kind;
    char *path; /* owned */
    uint64_t path_hash;
    struct origin_text *text; /* NULL: it was not there, or could not be read */
    int error;                /* negative errno, where there is no text */
};

struct origin {
    unsigned refs;
    struct origin *earlier; /* reference; NULL: the disk is asked */
    struct origin_note *list;
    unsigned count, absent;     /* ... without a text */
    struct origin_note unnoted; /* the latest answer that was not noted; without a path */
};

/* NULL when out of memory. `earlier` may be NULL. */
struct origin *origin_new(struct origin *earlier);
/* The earlier one is not asked any more: what it knew and was not asked for is taken over. 0 or
 * -ENOMEM. */
int origin_settle(struct origin *origin) __attribute__((warn_unused_result));
struct origin *origin_ref(struct origin *origin); /* may be NULL */
void origin_unref(struct origin *origin);         /* may be NULL */

/* As script_read, through the origin; appends. */
int origin_read(struct origin *origin, const char *path, struct buf *out, struct err *err)
    __attribute__((warn_unused_result));
/* Is there such a file? */
bool origin_is_file(struct origin *origin, const char *path);
/* As realpath: 0 or a negative errno. */
int origin_resolve(struct origin *origin, const char *path, char out[4096])
    __attribute__((warn_unused_result));
/* As script_folder_list; borrowed. 0 or a negative errno. */
int origin_functions(struct origin *origin, const char *folder, struct str *out)
    __attribute__((warn_unused_result));

/* Notes what was found elsewhere. `text` NULL: it is not there. 0 or -ENOMEM. */
int origin_add(struct origin *origin, enum origin_kind kind, const char *path,
               const struct str *text, int error) __attribute__((warn_unused_result));

struct str origin_text_str(const struct origin_text *text);

/* One number for the texts of all files, in the order in which they were asked for. */
uint64_t origin_hash(const struct origin *origin);
/* Would the disk answer differently now? What was merely looked for and was there is another's
 * concern: whoever reads it sees what becomes of it. */
bool origin_changed(const struct origin *origin);
