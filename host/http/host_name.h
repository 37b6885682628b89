/* Host names in the one form in which they are compared: lower case, names in other scripts as DNS
 * has them (IDNA 2008 with UTS 46), no dot at the end. */
#pragma once

#include <stddef.h>

#include "base/str.h"

enum { HOST_NAME_SIZE = 256 };

/* "*.Bücher.Example:8080" -> "*.xn--bcher-kva.example:8080", NUL-terminated. A port, the brackets
 * of an address and a leading "*." stay. 0, or -EINVAL: no such name can be, or it is too long. */
int host_name_canonical(struct str name, char out[HOST_NAME_SIZE])
    __attribute__((warn_unused_result));

/* libidn2's version, static. */
const char *host_name_library_version(void);
