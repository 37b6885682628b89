/* What a policy asks for, of claims and of a caller; the same in words. */
#include "auth/policy_internal.h"

enum dpop_mode policy_dpop(const struct policy *policy)
{
    bool all = policy->verifier_count > 0, any = false;
    if (policy->dpop.mode != DPOP_UNSET)
        return policy->dpop.mode;
    for (unsigned i = 0; i < policy->verifier_count; i++) {
        enum dpop_mode mode = policy->verifiers[i].dpop.mode;
        all = all && mode == DPOP_REQUIRED;
        any = any || mode >= DPOP_OPTIONAL;
    }
    return all ? DPOP_REQUIRED : any ? DPOP_OPTIONAL : DPOP_OFF;
}

bool policy_needs_cert(const struct policy *policy)
{
    bool all = policy->verifier_count > 0;
    for (unsigned i = 0; i < policy->verifier_count; i++)
        all = all && policy->verifiers[i].mtls == MTLS_REQUIRED;
    return policy->mtls != MTLS_UNSET ? policy->mtls == MTLS_REQUIRED : all;
}

struct str policy_scopes(const struct policy *policy, struct arena *arena, const char *between)
{
    struct str all = policy->scope_count > 0 ? policy->scopes[0] : STR("");
    for (unsigned i = 1; i < policy->scope_count && all.ptr != NULL; i++)
        all = arena_printf(arena, "%.*s%s%.*s", STR_ARG(all), between, STR_ARG(policy->scopes[i]));
    return all;
}

const struct str *policy_missing_scope(const struct policy *policy, const json_t *claims)
{
    const struct str *missing = NULL;
    for (unsigned i = 0; i < policy->scope_count; i++) {
        bool has = claims_have_scope(claims, policy->scopes[i]);
        if (has && policy->scope_any)
            return NULL;
        if (!has && missing == NULL)
            missing = &policy->scopes[i];
    }
    return missing;
}

const char *policy_wrong_claim(const struct policy *policy, const json_t *claims)
{
    const char *name;
    json_t *wanted;
    json_object_foreach(policy->claims, name, wanted)
    {
        if (!claims_match(claims_at(claims, str_from(name)), wanted))
            return name;
    }
    return NULL;
}

bool policy_has_acr(const struct policy *policy, const json_t *claims)
{
    const json_t *acr = json_object_get(claims, "acr");
    struct str given = {json_string_value(acr), json_string_length(acr)};
    for (unsigned i = 0; given.ptr != NULL && i < policy->acr_count; i++) {
        if (str_eq(given, policy->acr[i]))
            return true;
    }
    return policy->acr_count == 0;
}

bool policy_is_recent(const struct policy *policy, const json_t *claims, double now,
                      double tolerance)
{
    const json_t *time = json_object_get(claims, "auth_time");
    double age = now - json_number_value(time);
    return policy->max_age == 0 ||
           (json_is_number(time) && age >= -tolerance - 1 && age <= policy->max_age + tolerance);
}

bool policy_meets_rules(const struct policy *policy, double now, double tolerance,
                        const json_t *claims)
{
    return policy_has_acr(policy, claims) && policy_is_recent(policy, claims, now, tolerance) &&
           policy_missing_scope(policy, claims) == NULL &&
           (policy->role.len == 0 || claims_have_role(claims, policy->role_path, policy->role)) &&
           policy_wrong_claim(policy, claims) == NULL;
}

static void add_rule(struct buf *buf, const char *kind, struct str what)
{
    buf_printf(buf, "%s%s %.*s", buf->len > 0 ? ", " : "", kind, STR_ARG(what));
}

struct str policy_text(const struct policy *policy, struct arena *arena)
{
    if (policy->kind == POLICY_WEBHOOK)
        return arena_printf(arena, "webhook %s", policy->webhook->name);
    if (policy->kind != POLICY_TOKEN)
        return policy->kind == POLICY_PUBLIC ? STR("public") : STR("open");
    struct buf buf = BUF_INIT;
    struct str scopes = policy_scopes(policy, arena, policy->scope_any ? "|" : " ");
    if (policy->login)
        buf_add_str(&buf, STR("login"));
    if (scopes.len > 0)
        add_rule(&buf, "scope", scopes);
    if (policy->role.len > 0)
        add_rule(&buf, "role", policy->role);
    for (unsigned i = 0; i < policy->acr_count; i++)
        add_rule(&buf, i == 0 ? "acr" : "or", policy->acr[i]);
    if (policy->max_age > 0)
        buf_printf(&buf, "%ssigned in %.0f s ago at most", buf.len > 0 ? ", " : "",
                   policy->max_age);
    const char *name;
    json_t *wanted;
    json_object_foreach(policy->claims, name, wanted) add_rule(&buf, "claim", str_from(name));
    if (policy_dpop(policy) >= DPOP_OPTIONAL)
        add_rule(&buf, "dpop",
                 policy_dpop(policy) == DPOP_REQUIRED ? STR("required") : STR("optional"));
    if (policy_needs_cert(policy))
        add_rule(&buf, "certificate", STR("required"));
    bool failed = scopes.ptr == NULL || buf_failed(&buf);
    struct str text = failed         ? (struct str){NULL, 0}
                      : buf.len == 0 ? STR("token")
                                     : arena_copy(arena, buf_str(&buf));
    buf_free(&buf);
    return text;
}
