/* The program as `luafn pack` has written it, with a deployment in its own file: what is in it is
 * unpacked for the time of the process, and served from there. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* Has this program a deployment in its file? Looks at the end of the file, once. */
bool unpack_is_needed(void);

/* Checks the archive and unpacks it, the first time, into a folder of our own in $TMPDIR (/tmp);
 * from then on the place (base/place.h) is the current folder. *config_file, static, is what
 * `--config` would name. The folder goes when this process ends; where it was killed, with the next
 * start of a packed deployment. 0 or a negative errno with the reason. */
int unpack_open(const char **config_file, struct err *err) __attribute__((warn_unused_result));

/* Makes them that user's, who has to read them and to remove them. 0 or a negative errno; 0 where
 * nothing is unpacked. */
int unpack_give(uid_t uid, gid_t gid) __attribute__((warn_unused_result));
