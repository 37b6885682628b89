/* Looking a token up among those that were revoked. */
#include "auth/revoked.h"

#include <math.h>

#include "base/limits.h"

static const char *const names[REVOCATION_KINDS] = {
    [REVOCATION_SUB] = "sub", [REVOCATION_SID] = "sid", [REVOCATION_JTI] = "jti"};

static double number_of(const json_t *claims, const char *name)
{
    const json_t *value = json_object_get(claims, name);
    return json_is_number(value) ? floor(json_number_value(value)) : (double)NAN;
}

static void make_marks(struct claims *claims, struct str issuer)
{
    struct claims_marks *marks = &claims->marks;
    marks->issuer = revocations_issuer(issuer);
    for (unsigned kind = 0; kind < REVOCATION_KINDS; kind++) {
        const json_t *value = json_object_get(claims->json, names[kind]);
        struct str id = {json_string_value(value), json_string_length(value)};
        marks->ids[kind] = id.len > 0 ? revocations_id((enum revocation_kind)kind, id) : 0;
    }
    double signed_in = number_of(claims->json, "auth_time");
    marks->issued = number_of(claims->json, "iat");
    marks->since = isnan(signed_in) ? marks->issued : signed_in;
    marks->made = true;
}

static bool is_revoked(const struct claims_marks *marks, double now)
{
    for (unsigned kind = 0; kind < REVOCATION_KINDS; kind++) {
        uint64_t id = marks->ids[kind];
        if (id != 0 && (revocations_match(id, marks->since, now) ||
                        revocations_match(id ^ marks->issuer, marks->since, now)))
            return true;
    }
    return false;
}

static bool is_too_old(const struct claims *claims, double now)
{
    double issued = claims->marks.issued;
    return isnan(issued) ? !(claims->expires - now <= LIMIT_REVOCATION_LIFE)
                         : now - issued > LIMIT_REVOCATION_LIFE;
}

enum revoked_result revoked_look_closely(struct claims *claims, struct str issuer, double now,
                                         bool answered, uint64_t generation)
{
    if (generation == UINT64_MAX)
        return REVOKED_UNKNOWN;
    if (!claims->marks.made)
        make_marks(claims, issuer);
    if (!answered && is_too_old(claims, now)) {
        revocations_count_refused();
        return REVOKED_TOO_OLD;
    }
    if (claims->marks.judged == generation)
        return REVOKED_NOT;
    if (is_revoked(&claims->marks, now)) {
        revocations_count_refused();
        return REVOKED;
    }
    claims->marks.judged = generation;
    return REVOKED_NOT;
}
