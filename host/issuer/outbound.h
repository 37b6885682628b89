/* The host's own tokens for other APIs: asked for once, kept, and lent to calls, whose scripts
 * never see them.
 *
 * One an identity and worker, beside the issuers; deployments use them by their links. Who needs a
 * token while it is being asked for waits for that one. A token is kept until shortly before it
 * ends, and is asked for anew in the background before that; one whose life is not said serves
 * those who wait for it. After a failure nobody asks for a while (longer each time, or as long as
 * the endpoint wants) and a token that is still good is used on; after a refusal for
 * LIMIT_OUTBOUND_REFUSED. Exchanged tokens are kept for each caller, at most LIMIT_OUTBOUND_CALLERS
 * of them, never past the end of the caller's own token. */
#pragma once

#include "auth/outbound_spec.h"
#include "issuer/issuer.h"

/* The one of that identity, made when there is none; lives as an issuer does. NULL with err. Asks
 * nothing yet. */
struct outbound *outbound_get(struct issuers *issuers, const struct outbound_spec *spec,
                              struct err *err);
/* As issuer_use and issuer_leave. */
void outbound_use(struct outbound *outbound);
void outbound_leave(struct outbound *outbound);

/* May a token be fetched from that URL: https, or http on loopback? 0 or -EINVAL with the reason.
 */
int outbound_check(const struct outbound_spec *spec, struct err *err)
    __attribute__((warn_unused_result));

/* A call's loan, to be given to client_start as `credential`. */
struct outbound_loan {
    struct client_credential credential;
    struct outbound *from;
    struct str subject; /* the caller's verified token; empty where none is exchanged */
    double expires;     /* of that, seconds since 1970; NaN: not known */
};
void outbound_loan_init(struct outbound_loan *loan, struct outbound *from, struct str subject,
                        double expires);

/* Token requests of all identities so far, and those that brought no token. */
void outbound_count(const struct issuers *issuers, uint64_t *requests, uint64_t *failures);

/* For issuers_free: no callback comes after the first; the second frees what has no user. */
void outbounds_stop(struct issuers *issuers);
void outbounds_free(struct issuers *issuers);
