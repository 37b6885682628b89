/* Tokens that say nothing themselves: somebody else knows about them (RFC 7662). This is what a
 * verifier asks; issuer/introspection.h answers. */
#pragma once

#include "base/str.h"

struct claims;

enum opaque_state {
    OPAQUE_UNKNOWN, /* to be asked for */
    OPAQUE_ACTIVE,
    OPAQUE_INACTIVE
};

struct opaque_source {
    /* What is known now; *claims (borrowed, valid until the loop turns) for OPAQUE_ACTIVE. */
    enum opaque_state (*find)(struct opaque_source *source, struct str token,
                              struct claims **claims);
};
