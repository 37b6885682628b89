/* Gives verifiers their keys: the issuer's fetcher, or a key of their own. And keeps those who
 * fetch for as long as somebody has such a verifier. */
#pragma once

#include "auth/outbound_spec.h"
#include "auth/verify.h"
#include "issuer/issuer.h"

/* What a deployment, or an instance, uses: a user of each issuer and introspection, once, for as
 * long as its arena lives. */
struct issuer_links {
    struct arena *arena; /* borrowed */
    struct issuer_use *first;
};

/* In the arena; NULL when out of memory. */
struct issuer_links *issuer_links_new(struct arena *arena);

/* Sets spec->verifier.keys and opaque. With a secret or public key the keys are spec->own_keys;
 * else the issuer's, which is used from here on (`promised`: see issuer_use). `issuers` NULL: only
 * the settings are checked (`luafn check`). 0 or a negative errno with the reason. */
int issuer_link(struct issuers *issuers, struct issuer_links *links, bool promised,
                struct verifier_spec *spec, struct err *err) __attribute__((warn_unused_result));

/* Sets spec->source, which is used from here on; with `issuers` NULL only checks. As above. */
int issuer_link_outbound(struct issuers *issuers, struct issuer_links *links,
                         struct outbound_spec *spec, struct err *err)
    __attribute__((warn_unused_result));
