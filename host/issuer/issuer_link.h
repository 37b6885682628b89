/* Gives verifiers their keys: the issuer's fetcher, or a key of their own. */
#ifndef LUAFN_ISSUER_ISSUER_LINK_H
#define LUAFN_ISSUER_ISSUER_LINK_H

#include "auth/verify.h"
#include "issuer/issuer.h"

/* Sets spec->verifier.keys. With a secret or public key these are spec->own_keys; else the issuer's
 * (made on first use). `issuers` NULL: only the settings are checked (`luafn check`). 0 or a
 * negative errno with the reason. */
int issuer_link(struct issuers *issuers, struct verifier_spec *spec, struct err *err)
    __attribute__((warn_unused_result));

#endif
