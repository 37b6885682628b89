/* What is said to a token endpoint, and what it says (RFC 6749 4.4 and 5, RFC 8693, RFC 7523). Pure
 * text, no network. */
#pragma once

#include "auth/outbound_spec.h"
#include "base/buf.h"
#include "client/client.h"

/* The form, and the value of Authorization (left empty where the client is named in the form).
 * `subject`: the caller's token, of an exchange. A signed assertion is a new one each time. 0 or a
 * negative errno with the reason. */
int outbound_request_write(const struct outbound_spec *spec, struct str subject, double now,
                           struct buf *form, struct buf *authorization, struct err *err)
    __attribute__((warn_unused_result));

enum outbound_verdict {
    OUTBOUND_GIVEN,
    OUTBOUND_REFUSED,        /* until somebody changes something */
    OUTBOUND_REFUSED_CALLER, /* ... for this caller */
    OUTBOUND_FAILED          /* later it may be better */
};

struct outbound_answer {
    struct buf value;   /* owned: of Authorization, with its NUL; GIVEN */
    double life;        /* seconds; 0: not said, or not to be used again; GIVEN */
    double retry_after; /* seconds that the answer asks for; FAILED */
    char trouble[160];  /* what is wrong with it, in our words: nothing of the answer is in it but
                           an error code; otherwise */
};

enum outbound_verdict outbound_answer_read(const struct outbound_spec *spec,
                                           const struct client_response *res,
                                           struct outbound_answer *answer);
