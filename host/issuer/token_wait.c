/* One door to the two who fetch. */
#include "issuer/token_wait.h"

#include "issuer/introspection.h"

static struct issuer *issuer_of(struct issuers *issuers, const struct verdict *verdict)
{
    return issuers != NULL ? issuers_by_source(issuers, verdict->verifier->keys) : NULL;
}

int token_want(struct issuers *issuers, const struct verdict *verdict, struct issuer_wait *wait)
{
    if (verdict->opaque)
        return introspection_want(verdict->verifier->opaque, verdict->kid, wait);
    struct issuer *issuer = issuer_of(issuers, verdict);
    return issuer != NULL ? issuer_want(issuer, verdict->kid, wait) : 0;
}

bool token_is_settled(struct issuers *issuers, const struct verdict *verdict)
{
    const struct issuer *issuer = issuer_of(issuers, verdict);
    return !verdict->opaque && (issuer == NULL || !issuer_is_failing(issuer));
}
