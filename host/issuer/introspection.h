/* Asking a provider about opaque tokens (RFC 7662), and remembering its answers.
 *
 * One an endpoint and worker, beside the issuers. Whoever asks for a token that is being asked for
 * waits for that answer; at most LIMIT_INTROSPECTIONS are under way. An answer is good for the time
 * that the configuration says, never past its `exp`; "not active" for LIMIT_INTROSPECTION_INACTIVE.
 * Of the token only a keyed hash is kept. */
#ifndef LUAFN_ISSUER_INTROSPECTION_H
#define LUAFN_ISSUER_INTROSPECTION_H

#include "auth/verify.h"
#include "issuer/issuer.h"

/* The one for that endpoint and client, made on first use; lives as long as `issuers`. NULL with
 * err: no memory, or a URL that is neither https nor on loopback. Asks nothing yet. */
struct opaque_source *introspection_get(struct issuers *issuers,
                                        const struct introspection_spec *spec, struct err *err);

/* Asks. 1: `wait` is queued, done() will come, answered or not. 0: nothing to wait for; too many
 * are waiting, or the endpoint failed a moment ago. */
int introspection_want(struct opaque_source *source, struct str token, struct issuer_wait *wait);

/* For issuers_free: no callback comes after the first; the second frees. */
void introspections_stop(struct issuers *issuers);
void introspections_free(struct issuers *issuers);

#endif
