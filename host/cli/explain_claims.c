/* Rows about times, profile, scopes, role and claims. */
#include <math.h>

#include "auth/shown.h"
#include "base/limits.h"
#include "cli/explain_internal.h"

/* 0000-01-01T00:00:00Z; as in auth/verify.c. */
static const double DATE_MIN = -62167219200.0;

/* ---- times ---- */

static bool is_date(const json_t *value)
{
    double seconds = json_number_value(value);
    return json_is_number(value) && seconds >= DATE_MIN && seconds <= LIMIT_DATE_MAX;
}

static struct str describe_distance(const struct explain *e, double seconds)
{
    double away = floor(fabs(seconds));
    if (away == 0)
        return STR("now");
    return arena_printf(e->arena, "%.0f s %s", away, seconds < 0 ? "ago" : "from now");
}

/* "2026-01-02T03:04:05.000Z, 300 s ago", or what stands there instead of a date. */
static struct str describe_time(const struct explain *e, const json_t *value)
{
    if (!is_date(value))
        return explain_value(e->arena, value);
    double seconds = json_number_value(value);
    struct shown shown;
    struct str distance = describe_distance(e, seconds - e->now);
    return arena_printf(e->arena, "%.*s, %.*s", STR_ARG(shown_date(&shown, seconds)),
                        STR_ARG(distance));
}

static struct str expect_time(const struct explain *e, const char *text)
{
    struct shown shown;
    struct str now = shown_date(&shown, e->now);
    double tolerance = e->verifier->clock_tolerance;
    return tolerance > 0
               ? arena_printf(e->arena, "%s %.*s, give or take %g s", text, STR_ARG(now), tolerance)
               : arena_printf(e->arena, "%s %.*s", text, STR_ARG(now));
}

void explain_add_times(struct explain *e, const json_t *claims, bool needs_exp)
{
    const json_t *nbf = json_object_get(claims, "nbf");
    const json_t *exp = json_object_get(claims, "exp");
    const json_t *iat = json_object_get(claims, "iat");
    double tolerance = e->verifier->clock_tolerance;
    if (nbf != NULL)
        explain_add(e, "nbf",
                    explain_if(is_date(nbf) && json_number_value(nbf) <= e->now + tolerance),
                    expect_time(e, "not after"), describe_time(e, nbf));
    bool current =
        exp == NULL ? !needs_exp : is_date(exp) && e->now < json_number_value(exp) + tolerance;
    if (exp != NULL || needs_exp)
        explain_add(e, "exp", explain_if(current), expect_time(e, "after"), describe_time(e, exp));
    if (json_is_number(iat) && json_number_value(iat) > e->now)
        explain_add(
            e, "iat", EXPLAIN_NOTE, STR("in the past; not checked"),
            arena_printf(e->arena, "%.*s: is a clock wrong?", STR_ARG(describe_time(e, iat))));
    else if (iat != NULL)
        explain_add(e, "iat", json_is_number(iat) ? EXPLAIN_NOTE : EXPLAIN_FAIL,
                    json_is_number(iat) ? STR("not checked") : STR("a number"),
                    describe_time(e, iat));
}

/* ---- profile ---- */

void explain_add_profile(struct explain *e, const struct token *token)
{
    static const char *const required[] = {"exp", "sub", "client_id", "iat", "jti"};
    const json_t *typ = json_object_get(token->header, "typ");
    struct str text = {json_string_value(typ), json_string_length(typ)};
    if (e->verifier->profile != PROFILE_AT_JWT)
        return;
    explain_add(e, "typ",
                explain_if(str_eq_nocase(text, STR("at+jwt")) ||
                           str_eq_nocase(text, STR("application/at+jwt"))),
                STR("\"at+jwt\""), explain_value(e->arena, typ));
    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
        const json_t *value = json_object_get(token->claims, required[i]);
        if (value == NULL)
            explain_add(e, required[i], EXPLAIN_FAIL, STR("required by RFC 9068"), STR("none"));
    }
}

/* ---- proof of possession ---- */

bool explain_needs_proof(struct explain *e, const json_t *claims)
{
    if (e->verifier == NULL || claims == NULL)
        return false;
    e->dpop = e->policy->dpop.mode != DPOP_UNSET ? e->policy->dpop.mode : e->verifier->dpop.mode;
    e->needs_proof = dpop_refuses_bearer(e->dpop, claims) && dpop_is_bound(claims);
    return e->needs_proof;
}

static void add_proof(struct explain *e, const json_t *claims)
{
    const json_t *key = json_object_get(json_object_get(claims, "cnf"), "jkt");
    if (dpop_refuses_bearer(e->dpop, claims))
        explain_add(e, "dpop", explain_if(dpop_is_bound(claims)),
                    STR("bound to a key (cnf.jkt), which signs a proof"),
                    explain_value(e->arena, key));
    else if (e->dpop == DPOP_OPTIONAL)
        explain_add(e, "dpop", EXPLAIN_NOTE, STR("a proof where it is bound to a key"),
                    STR("not bound: a bearer token"));
}

/* ---- the route's rules ---- */

static struct str all_scopes(const struct explain *e, const json_t *claims)
{
    static const char *const members[] = {"scope", "scp", "permissions"};
    struct str found = STR("");
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        const json_t *value = json_object_get(claims, members[i]);
        if (value != NULL)
            found =
                arena_printf(e->arena, "%.*s%s%s %.*s", STR_ARG(found), found.len > 0 ? ", " : "",
                             members[i], STR_ARG(explain_value(e->arena, value)));
    }
    return found.len > 0 ? found : STR("none");
}

static void add_scopes(struct explain *e, const json_t *claims)
{
    const struct policy *policy = e->policy;
    struct str any = STR(""), found = all_scopes(e, claims);
    bool has_any = false;
    for (unsigned i = 0; i < policy->scope_count; i++) {
        struct str name = explain_text(e->arena, policy->scopes[i]);
        bool has = claims_have_scope(claims, policy->scopes[i]);
        if (!policy->scope_any)
            explain_add(e, "scope", explain_if(has), name, found);
        any =
            arena_printf(e->arena, "%.*s%s%.*s", STR_ARG(any), i > 0 ? " or " : "", STR_ARG(name));
        has_any = has_any || has;
    }
    if (policy->scope_any && policy->scope_count > 0)
        explain_add(e, "scope", explain_if(has_any), any, found);
}

static void add_claims(struct explain *e, const json_t *claims)
{
    const char *name;
    json_t *wanted;
    json_object_foreach(e->policy->claims, name, wanted)
    {
        const json_t *value = claims_at(claims, str_from(name));
        explain_add(e, "claim", explain_if(claims_match(value, wanted)),
                    arena_printf(e->arena, "%s: %s%.*s", name,
                                 json_is_array(wanted) ? "one of " : "",
                                 STR_ARG(explain_value(e->arena, wanted))),
                    explain_value(e->arena, value));
    }
}

static void add_role(struct explain *e, const json_t *claims)
{
    const struct policy *policy = e->policy;
    struct str expected = explain_text(e->arena, policy->role);
    if (policy->role_path.len > 0)
        expected = arena_printf(e->arena, "%.*s in %.*s", STR_ARG(expected),
                                STR_ARG(explain_text(e->arena, policy->role_path)));
    explain_add(e, "role", explain_if(claims_have_role(claims, policy->role_path, policy->role)),
                expected, explain_value(e->arena, claims_roles(claims, policy->role_path)));
}

void explain_add_rules(struct explain *e, const json_t *all)
{
    const struct policy *policy = e->policy;
    json_t *claims = claims_without_namespace(policy->namespace, all);
    if (claims == NULL)
        return;
    add_proof(e, all);
    add_scopes(e, claims);
    if (policy->role.len > 0)
        add_role(e, claims);
    add_claims(e, claims);
    json_decref(claims);
}
