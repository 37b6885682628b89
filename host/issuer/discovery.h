/* Where an issuer's key set is: OpenID Connect Discovery 1.0, or RFC 8414. Pure text, no network.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

/* The issuer without one trailing slash + "/.well-known/openid-configuration" (section 4.1). To be
 * freed; NULL when out of memory. */
char *discovery_url(struct str issuer);

/* Where an authorization server that knows no OpenID has the same document (RFC 8414 section 3.1):
 * "/.well-known/oauth-authorization-server" between its host and its path. As above. */
char *discovery_oauth_url(struct str issuer);

/* Reads the document. Its issuer must be the configured one (section 4.3); a trailing slash as the
 * only difference is let through, as several providers write it differently, and *slash tells so.
 * jwks_uri must be an absolute https URL, or http on loopback where the issuer is http itself.
 * 0 and *jwks_uri (to be freed), or a negative errno with the reason. */
int discovery_read(struct str document, struct str issuer, char **jwks_uri, bool *slash,
                   struct err *err) __attribute__((warn_unused_result));

/* Is `url` fit to be an issuer's, or the key set's of an issuer that is http itself
 * (`allow_http`)? 0 or -EINVAL with the reason. */
int discovery_check_url(struct str url, bool allow_http, struct err *err)
    __attribute__((warn_unused_result));
