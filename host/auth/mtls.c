/* Tokens that are bound to certificates: see mtls.h. */
#include "auth/mtls.h"

#include <string.h>

#include "auth/base64url.h"
#include "shared/digest.h"

static const json_t *thumbprint_of(const json_t *claims)
{
    return json_object_get(json_object_get(claims, "cnf"), "x5t#S256");
}

bool mtls_is_bound(const json_t *claims)
{
    return thumbprint_of(claims) != NULL;
}

/* RFC 8705 section 3.1: of the certificate's DER, in base64url without padding. */
const char *mtls_refusal(const json_t *claims, struct str certificate)
{
    enum { HASH_TEXT = 43 };
    unsigned char hash[DIGEST_BYTES], said[BASE64URL_DECODED_MAX(HASH_TEXT)];
    const json_t *text = thumbprint_of(claims);
    struct str bound = {json_string_value(text), json_string_length(text)};
    size_t len = 0;
    if (text == NULL)
        return "The token is not bound to a certificate";
    if (certificate.len == 0)
        return MTLS_NEEDED;
    digest_sha256(certificate, hash);
    bool same = bound.len == HASH_TEXT && base64url_decode(bound, said, &len) == 0 &&
                len == sizeof(hash) && memcmp(said, hash, len) == 0;
    return same ? NULL : "The token is bound to another certificate";
}
