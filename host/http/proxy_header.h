/* The PROXY protocol, versions 1 and 2: what a proxy sends in front of a connection that it passes
 * on, before TLS and HTTP. Pure bytes, no sockets. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

struct proxy_header {
    char ip[46]; /* of the client, in the form of a peer's address; "": the socket's own counts */
    bool secure; /* the client speaks TLS with the proxy */
};

/* Reads the header at the beginning of what a connection has sent so far. Returns its length; 0:
 * more of it has to come; -EPROTO: this is none, or a bad one. What is longer than
 * LIMIT_PROXY_HEADER is bad, and so is another transport than a stream. */
long proxy_header_read(struct str bytes, struct proxy_header *out)
    __attribute__((warn_unused_result));
