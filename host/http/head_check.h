/* What a well-formed head means: target forms, Host, framing of the body, expectations.
 *
 * Ambiguity is refused, never resolved (RFC 9112 sections 3.2, 6 and 11.2): a request that two
 * programs could read differently does not pass. */
#pragma once

#include "base/arena.h"
#include "http/fault.h"
#include "http/request.h"

enum body_framing { BODY_NONE, BODY_LENGTH, BODY_CHUNKED };

struct head_framing {
    enum body_framing body;
    uint64_t length; /* of BODY_LENGTH */
};

/* host [":" port] of RFC 3986, without userinfo, percent-encoding and sub-delimiters? */
bool head_host_is_valid(struct str host);

/* Fills target, path, query, host, keep_alive and expects_continue from target, version_minor and
 * headers (names in lower case). NULL, or why the request is refused. */
const struct http_fault *head_check(struct request *req, struct arena *arena,
                                    struct head_framing *framing)
    __attribute__((warn_unused_result));
