/* What a token says, judged by what a verifier wants: its algorithm, whom it comes from and is for,
 * its times, its profile. */
#include <math.h>

#include "auth/cache.h"
#include "auth/shown.h"
#include "auth/verify_internal.h"
#include "base/limits.h"

/* 0000-01-01T00:00:00Z; with LIMIT_DATE_MAX, the dates that print with four digits of year. */
static const double DATE_MIN = -62167219200.0;

/* ---- before the signature: algorithm, header, issuer, audience ---- */

/* With an unknown issuer the algorithm must at least be allowed for somebody: the original
 * complains of the algorithm first. */
static bool check_algorithm(struct check *check, const json_t *header)
{
    unsigned allowed = check->verifier != NULL ? check->verifier->algorithms : 0;
    for (unsigned i = 0; check->verifier == NULL && i < check->count; i++)
        allowed |= check->verifiers[i].algorithms;
    enum alg alg = check->claims->alg;
    if (alg != ALG_NONE_KNOWN && (allowed & ALG_BIT(alg)) != 0)
        return true;
    struct shown shown;
    struct str got = header != NULL ? shown_value(&shown, json_object_get(header, "alg"))
                                    : str_from(alg_name(alg));
    return refuse_value(check, "jwt_invalid", "Invalid 'alg' provided, got", got);
}

/* Extensions change what is signed or how, so one that is not understood is a refusal (RFC 7515
 * section 4.1.11); `b64` has no place in a JWT (RFC 7797 section 7). Members that bring their own
 * key (jwk, jku, x5u, x5c) are never read. */
static bool check_extensions(struct check *check, const json_t *header)
{
    if (json_object_get(header, "crit") != NULL)
        return refuse(check, STR("Invalid 'crit' provided, extensions are not supported"));
    if (json_object_get(header, "b64") != NULL)
        return refuse(check, STR("Invalid 'b64' provided, extensions are not supported"));
    return true;
}

bool check_issuer(struct check *check)
{
    if (check->verifier != NULL)
        return true;
    struct shown shown;
    struct str got = shown_value(&shown, json_object_get(check->claims->json, "iss"));
    return refuse_value(check, "jwt_invalid", "Invalid issuer (iss) provided, got", got);
}

static bool is_audience(const struct verifier *verifier, const json_t *value)
{
    struct str text = {json_string_value(value), json_string_length(value)};
    for (unsigned i = 0; text.ptr != NULL && i < verifier->audience_count; i++) {
        if (str_eq(text, verifier->audiences[i]))
            return true;
    }
    return false;
}

const json_t *check_audience_of(const struct check *check)
{
    struct str claim = check->verifier->audience_claim;
    return claim.len > 0 ? claims_at(check->claims->json, claim) : check->claims->audience;
}

bool check_audience(struct check *check)
{
    const json_t *aud = check_audience_of(check);
    struct str claim = check->verifier->audience_claim;
    if (is_audience(check->verifier, aud))
        return true;
    for (size_t i = 0; i < json_array_size(aud); i++) {
        if (is_audience(check->verifier, json_array_get(aud, i)))
            return true;
    }
    struct shown shown;
    struct str got = shown_audience(&shown, aud);
    if (claim.len == 0)
        return refuse_value(check, "jwt_invalid", "Invalid audience (aud) provided, got", got);
    struct str text = arena_printf(check->arena, "Invalid audience (%.*s) provided, got '%.*s'",
                                   STR_ARG(claim), STR_ARG(got));
    return text.ptr != NULL ? refuse(check, text) : refuse_memory(check);
}

/* `header` is NULL for a cached token, whose header passed check_extensions. */
bool check_addressee(struct check *check, const json_t *header)
{
    return check_algorithm(check, header) && (header == NULL || check_extensions(check, header)) &&
           check_issuer(check) && check_audience(check);
}

/* ---- after the signature: times, profile ---- */

static bool is_date(double seconds)
{
    return seconds >= DATE_MIN && seconds <= LIMIT_DATE_MAX; /* false for NaN */
}

bool check_not_before(struct check *check)
{
    const struct claims *claims = check->claims;
    if (!claims->has_not_before)
        return true;
    if (!is_date(claims->not_before))
        return refuse(check, STR("invalid nbf value"));
    if (claims->not_before <= check->now + check->verifier->clock_tolerance)
        return true;
    struct shown shown;
    return refuse_value(check, "jwt_invalid", "The provided token cannot be used before",
                        shown_date(&shown, claims->not_before));
}

bool check_expires(struct check *check)
{
    const struct claims *claims = check->claims;
    if (isnan(claims->expires) && !check->verifier->require_exp &&
        json_object_get(claims->json, "exp") == NULL)
        return true;
    if (!is_date(claims->expires))
        return refuse(check, STR("invalid exp value"));
    if (check->now < claims->expires + check->verifier->clock_tolerance)
        return true;
    token_cache_remove(check->token);
    struct shown shown;
    return refuse_value(check, "jwt_expired", "The provided token expired at",
                        shown_date(&shown, claims->expires));
}

/* A NumericDate (RFC 7519 section 4.1.6), which is not held against the clock. */
bool check_issued_at(struct check *check)
{
    return !check->claims->odd_issued_at || refuse(check, STR("invalid iat value"));
}

/* RFC 9068 sections 2.1 and 2.2; iss and aud have been judged by now. */
bool check_profile(struct check *check)
{
    static const char *const required[] = {"exp", "sub", "client_id", "iat", "jti"};
    if (check->verifier->profile != PROFILE_AT_JWT)
        return true;
    if (!check->claims->at_jwt)
        return refuse(check, STR("Invalid 'typ' provided, expected 'at+jwt'"));
    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
        if (json_object_get(check->claims->json, required[i]) == NULL)
            return refuse_value(check, "jwt_invalid", "The provided token does not contain",
                                str_from(required[i]));
    }
    return true;
}
