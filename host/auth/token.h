/* A compact JWS taken apart, strictly (RFC 7515 section 7.1, RFC 8725).
 *
 * Refused: more than LIMIT_TOKEN_BYTES; anything but three parts of canonical base64url (no
 * padding, no other characters, unused bits zero), of which the third alone may be empty; a header
 * that is not JSON, or null; a payload that is not a JSON object; members that occur twice; nesting
 * over LIMIT_TOKEN_JSON_DEPTH; text that is not UTF-8; the character U+0000, written in any way;
 * numbers that are not finite. Encrypted tokens (five parts) and the JSON serialisation fall out of
 * the same rules. Nothing in a token chooses how it is parsed, and nothing here decides: the
 * signature has not been looked at. */
#pragma once

#include <jansson.h>

#include "auth/base64url.h"
#include "base/str.h"
#include "base/limits.h"

struct token {
    struct str text;          /* the whole; borrowed */
    struct str signing_input; /* "header.payload"; borrowed from the text */
    /* The parts' bytes, one after the other in `bytes`. There is one text that decodes to them. */
    struct str header_text, claims_text, signature; /* the signature may be empty */
    json_t *header; /* owned; usually an object, maybe another JSON value but null */
    json_t *claims; /* owned; an object */
    char bytes[BASE64URL_DECODED_MAX(LIMIT_TOKEN_BYTES) + 6]; /* that macro's 3 spare ones a part */
};

/* 0; then token_clear releases it. -EINVAL: refused. -ENOMEM. After a failure there is nothing to
 * clear. An integer beyond 64 bits becomes the nearest double. */
int token_parse(struct str text, struct token *token) __attribute__((warn_unused_result));

/* The first half of it: the parts and their bytes, whose JSON is not read; nothing to clear. 0 or
 * -EINVAL. */
int token_decode(struct str text, struct token *token) __attribute__((warn_unused_result));

/* The claims from their text. 0 and *claims (owned), -EINVAL or -ENOMEM. */
int token_read_claims(struct str text, json_t **claims) __attribute__((warn_unused_result));

void token_clear(struct token *token);
