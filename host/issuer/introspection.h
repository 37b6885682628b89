/* Asking a provider about opaque tokens (RFC 7662), and remembering its answers.
 *
 * One an endpoint and worker, beside the issuers. Whoever asks for a token that is being asked for
 * waits for that answer; at most LIMIT_INTROSPECTIONS are under way. An answer is good for the time
 * that the configuration says, never past its `exp`; "not active" for LIMIT_INTROSPECTION_INACTIVE.
 * Of the token only a keyed hash is kept.
 *
 * Anybody can send any text as a token, so what one of them brings about concerns that one alone:
 * an answer in the 400s refuses it (once the endpoint has answered us plainly; before, it may mean
 * our credentials), anything else that is no plain answer leaves it unknown for
 * LIMIT_INTROSPECTION_RETRY. Only failures in a row, of connections, time-outs and 5xx, make the
 * endpoint count as down. Refusals are kept apart from answers, so that they drive none out. */
#pragma once

#include "auth/verify.h"
#include "issuer/issuer.h"

/* The one for that endpoint and client, made when there is none; lives as an issuer does. NULL with
 * err: no memory, or a URL that is neither https nor on loopback. Asks nothing yet. */
struct opaque_source *introspection_get(struct issuers *issuers,
                                        const struct introspection_spec *spec, struct err *err);
/* As issuer_use and issuer_leave. */
void introspection_use(struct opaque_source *source);
void introspection_leave(struct opaque_source *source);

/* Asks. 1: `wait` is queued, done() will come, answered or not. 0: nothing to wait for; too many
 * are waiting, or the endpoint, or this token, failed a moment ago. */
int introspection_want(struct opaque_source *source, struct str token, struct issuer_wait *wait);
/* What came last in place of a plain answer; empty: nothing. For logs and `explain`, never for a
 * client. */
const char *introspection_trouble(const struct opaque_source *source);

/* For issuers_free: no callback comes after the first; the second frees what has no user. */
void introspections_stop(struct issuers *issuers);
void introspections_free(struct issuers *issuers);
