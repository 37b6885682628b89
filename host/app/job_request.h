/* What a job carries: the request that its handler gets.
 *
 * A value that was sent is its JSON. A background call is its whole request, with the claims of the
 * token that let it in: nobody is judged again when it runs. Lengths are in the machine's own
 * order: who writes and who reads are of one kind. */
#pragma once

#include "auth/claims.h"
#include "http/exchange.h"

/* A background call into `out`, which fails as a buf does. */
void job_request_write(struct buf *out, const struct exchange *ex, struct str path,
                       const struct claims *claims, struct str token);

/* What was read; slices of the exchange's arena. */
struct job_request {
    struct str path;       /* event.path; ptr NULL of a value: the function's own */
    struct claims *claims; /* owned by the caller; NULL: none */
    struct str token;
};

/* Fills ex->req and ex->request_id. -EINVAL: another version wrote it, or nobody; -ENOMEM. */
int job_request_read(struct str payload, struct exchange *ex, struct job_request *out)
    __attribute__((warn_unused_result));
