/* An identity of the host towards another API, as functions.lua's `outbound` describes it: where
 * its tokens come from, and the hosts that they are for. Plain data, borrowed from the
 * configuration; issuer/outbound.h gets the tokens. */
#pragma once

#include "auth/key.h"

struct outbound; /* issuer/outbound.h */

enum outbound_grant {
    OUTBOUND_CLIENT_CREDENTIALS, /* RFC 6749 4.4: as the host itself */
    OUTBOUND_TOKEN_EXCHANGE      /* RFC 8693: for the caller, whose verified token is shown */
};

struct outbound_spec {
    struct str name;
    struct str *hosts; /* globs over "host" or "host:port", as of `fetch`; never anybody ("*") */
    unsigned host_count;
    struct str token_url, client_id;
    struct str client_secret;      /* ptr NULL: the key instead */
    bool in_body;                  /* client_secret_post, else client_secret_basic */
    struct str private_key;        /* PEM; RFC 7523 */
    struct key *key;               /* of that; owned by the configuration */
    enum alg alg;                  /* it signs with */
    struct str assertion_audience; /* whom the signed assertion is for; empty: token_url */
    enum outbound_grant grant;
    struct str scope, audience, resource; /* empty: not sent */
    struct outbound *source;              /* set when it is linked; NULL in tools */
};
