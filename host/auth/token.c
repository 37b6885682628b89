/* Taking a compact JWS apart. Each part is decoded and read as plain JSON; what is not that is
 * scanned for depth and only then given to jansson. The order puts the cheap refusals first: three
 * parts that decode come before any JSON. */
#include "auth/token.h"

#include <errno.h>
#include <stdbool.h>

#include "json/plain.h"
#include "json/strict.h"

/* Splits at exactly two dots. A token with ten thousand of them costs three searches. */
static bool split(struct str text, struct str part[3])
{
    size_t first = str_find(text, '.');
    if (first == text.len)
        return false;
    struct str rest = str_skip(text, first + 1);
    size_t second = str_find(rest, '.');
    if (second == rest.len)
        return false;
    part[0] = (struct str){text.ptr, first};
    part[1] = (struct str){rest.ptr, second};
    part[2] = str_skip(rest, second + 1);
    return part[0].len > 0 && part[1].len > 0 && str_find(part[2], '.') == part[2].len;
}

static int parse_json(struct str text, size_t flags, json_t **out)
{
    *out = plain_json_load(text);
    if (*out == NULL)
        *out = strict_json_load_wide(text, flags | JSON_REJECT_DUPLICATES, NULL);
    return *out != NULL ? 0 : -errno;
}

/* Decodes to `at`, behind what is there, and moves it on. */
static bool decode(struct str part, char **at, struct str *out)
{
    size_t len;
    if (base64url_decode(part, *at, &len) != 0)
        return false;
    *out = (struct str){*at, len};
    *at += len;
    return true;
}

int token_decode(struct str text, struct token *token)
{
    struct str part[3];
    char *at = token->bytes;
    token->header = NULL;
    token->claims = NULL;
    if (text.len > LIMIT_TOKEN_BYTES || !split(text, part))
        return -EINVAL;
    token->text = text;
    token->signing_input = (struct str){text.ptr, part[0].len + 1 + part[1].len};
    bool good = decode(part[0], &at, &token->header_text) &&
                decode(part[1], &at, &token->claims_text) &&
                decode(part[2], &at, &token->signature);
    return good ? 0 : -EINVAL;
}

int token_read_claims(struct str text, json_t **claims)
{
    int rc = parse_json(text, 0, claims);
    if (rc != 0 || json_is_object(*claims))
        return rc;
    json_decref(*claims);
    *claims = NULL;
    return -EINVAL;
}

int token_parse(struct str text, struct token *token)
{
    int rc = token_decode(text, token);
    if (rc == 0)
        rc = parse_json(token->header_text, JSON_DECODE_ANY, &token->header);
    if (rc == 0 && json_is_null(token->header))
        rc = -EINVAL;
    if (rc == 0)
        rc = token_read_claims(token->claims_text, &token->claims);
    if (rc != 0)
        token_clear(token);
    return rc;
}

void token_clear(struct token *token)
{
    json_decref(token->header);
    json_decref(token->claims);
    token->header = NULL;
    token->claims = NULL;
}
