/* Media types of files. */
#ifndef LUAFN_HTTP_CONTENT_TYPE_H
#define LUAFN_HTTP_CONTENT_TYPE_H

#include "base/str.h"

/* By the ending of a name, in any case; application/octet-stream when unknown. Static. */
struct str content_type_of(struct str name);

#endif
