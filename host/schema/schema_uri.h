/* Names of schemas: URIs, and what stands in their fragments. */
#pragma once

#include "base/arena.h"
#include "base/str.h"

/* The reference against the base (RFC 3986 section 5.2), without its fragment, which *fragment has
 * (ptr NULL: there is none), as it was written. `base` has no fragment and may be empty. ptr NULL:
 * out of memory. */
struct str schema_uri_resolve(struct arena *arena, struct str base, struct str reference,
                              struct str *fragment);

/* A fragment without its %XX. ptr NULL: out of memory. */
struct str schema_uri_decode(struct arena *arena, struct str fragment);
