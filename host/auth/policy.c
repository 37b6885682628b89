/* The judgement: from a request to a verdict, and from the verdict to who may pass. */
#include "auth/policy_internal.h"

/* ---- the request ---- */

static uint64_t known_claims(const struct credentials *given)
{
    return given->note != NULL ? given->note->claims : 0;
}

/* The text after the scheme and one blank; ptr NULL when it is another one or there is more. */
static struct str after_scheme(struct str header, struct str scheme)
{
    struct str none = {NULL, 0};
    if (header.len < scheme.len || !str_eq_nocase((struct str){header.ptr, scheme.len}, scheme))
        return none;
    struct str rest = str_skip(header, scheme.len);
    return str_find(rest, ' ') == rest.len ? rest : none;
}

/* Two headers are two opinions about who is calling: neither is picked. */
static int read_credentials(const struct policy *policy, const struct exchange *ex,
                            struct credentials *given, struct verdict *verdict)
{
    struct str both = STR("");
    bool many;
    const struct str *header = headers_get_single(&ex->req.headers, STR("authorization"), &many);
    if (many)
        header = &both;
    *given = (struct credentials){.token = {NULL, 0}};
    if (header != NULL && policy_dpop(policy) >= DPOP_OPTIONAL) {
        given->token = after_scheme(*header, STR("DPoP "));
        given->dpop = given->token.ptr != NULL;
    }
    if (given->dpop)
        return 0;
    /* it may have been made from a session: then it is no part of the head */
    given->note = header != NULL ? request_note_of(&ex->req, *header) : NULL;
    if (known_claims(given) == 0)
        return verify_read_header(header, &given->token, verdict);
    given->token = str_skip(*header, VERIFY_SCHEME_BYTES);
    return 0;
}

static void verify(const struct policy *policy, const struct credentials *given, double now,
                   bool keys_final, struct arena *arena, struct verdict *verdict)
{
    verify_token_again(policy->verifiers, policy->verifier_count, given->token, known_claims(given),
                       now, keys_final, arena, verdict);
    if (verdict->status == VERIFY_OK && given->note != NULL)
        given->note->claims = verdict->claims->serial;
}

/* ---- open functions ---- */

/* On an open function a token is welcome, not needed: whatever is wrong with it goes unsaid. One
 * that needs a proof or a certificate is not looked at. */
static enum policy_result check_open(const struct policy *policy, struct exchange *ex, double now,
                                     struct verdict *verdict)
{
    struct credentials given;
    if (policy->verifier_count > 0 && read_credentials(policy, ex, &given, verdict) == 0 &&
        !given.dpop)
        verify(policy, &given, now, true, &ex->arena, verdict);
    if (verdict->status == VERIFY_OK && !mtls_is_needed(verdict->verifier->mtls, verdict->claims) &&
        !dpop_refuses_bearer(verdict->verifier->dpop.mode, verdict->claims->json)) {
        ex->sub_hash = verdict->claims->subject_hash;
        return POLICY_ALLOW;
    }
    claims_unref(verdict->claims);
    *verdict = (struct verdict){.status = VERIFY_REFUSED};
    return POLICY_ALLOW;
}

/* ---- webhooks ---- */

static enum policy_result deny_webhook(struct exchange *ex, enum webhook_result why)
{
    struct verdict verdict = {.status = VERIFY_REFUSED};
    if (why == WEBHOOK_MEMORY)
        return policy_deny_memory(ex, &verdict);
    enum policy_result result =
        why == WEBHOOK_STALE
            ? policy_deny(ex, &verdict, 401, "stale_signature",
                          STR("The signature's timestamp is not near the present time"))
            : policy_deny(ex, &verdict, 401, "invalid_signature",
                          STR("The request is not signed as this function expects it"));
    if (policy_challenge(&ex->res, &ex->arena, "Signature", STR(""), STR(""), STR("")) != 0)
        policy_answer_nothing(ex);
    return result;
}

static enum policy_result check_webhook_head(const struct policy *policy, struct exchange *ex)
{
    enum webhook_result result = webhook_check_head(policy->webhook, &ex->req);
    return result == WEBHOOK_GOOD ? POLICY_NEEDS_BODY : deny_webhook(ex, result);
}

enum policy_result policy_check_body(const struct policy *policy, struct exchange *ex, double now,
                                     struct webhook_delivery *delivery)
{
    enum webhook_result result =
        webhook_check(policy->webhook, &ex->req, &ex->arena, now, delivery);
    return result == WEBHOOK_GOOD ? POLICY_ALLOW : deny_webhook(ex, result);
}

/* ---- all of it ---- */

static enum policy_result check_rules(const struct policy *policy, struct exchange *ex, double now,
                                      struct verdict *verdict, const json_t *claims)
{
    struct arena *arena = &ex->arena;
    bool has_acr = policy_has_acr(policy, claims);
    if (!has_acr || !policy_is_recent(policy, claims, now, verdict->verifier->clock_tolerance))
        return policy_deny_sign_in(policy, ex, verdict, has_acr);
    const struct str *scope = policy_missing_scope(policy, claims);
    if (scope != NULL)
        return policy_deny_access(policy, ex, verdict,
                                  arena_printf(arena,
                                               "Token does not contain the required '%.*s' scope",
                                               STR_ARG(*scope)),
                                  policy_scopes(policy, arena, " "));
    if (policy->role.len > 0 && !claims_have_role(claims, policy->role_path, policy->role))
        return policy_deny_access(
            policy, ex, verdict,
            arena_printf(arena, "User does not have the '%.*s' role", STR_ARG(policy->role)),
            STR(""));
    const char *name = policy_wrong_claim(policy, claims);
    if (name != NULL)
        return policy_deny_access(
            policy, ex, verdict,
            arena_printf(arena, "Token does not contain the required '%s' claim", name), STR(""));
    return POLICY_ALLOW;
}

static enum policy_result check_claims(const struct policy *policy, struct exchange *ex, double now,
                                       struct verdict *verdict)
{
    json_t *claims = claims_plain(verdict->claims, policy->namespace);
    if (claims == NULL)
        return policy_deny_memory(ex, verdict);
    enum policy_result result = check_rules(policy, ex, now, verdict, claims);
    json_decref(claims);
    return result;
}

enum policy_result policy_check(const struct policy *policy, struct exchange *ex, double now,
                                bool keys_final, struct verdict *verdict)
{
    *verdict = (struct verdict){.status = VERIFY_REFUSED};
    if (policy->kind != POLICY_TOKEN)
        return policy->kind == POLICY_WEBHOOK ? check_webhook_head(policy, ex)
                                              : check_open(policy, ex, now, verdict);
    struct credentials given;
    if (read_credentials(policy, ex, &given, verdict) != 0)
        return policy_deny_token(policy, ex, verdict, STR(""));
    verify(policy, &given, now, keys_final, &ex->arena, verdict);
    if (verdict->status == VERIFY_NEEDS_KEY)
        return POLICY_NEEDS_KEY;
    if (verdict->status != VERIFY_OK)
        return policy_deny_token(policy, ex, verdict, STR("invalid_token"));
    ex->sub_hash = verdict->claims->subject_hash;
    enum policy_result result = policy_check_possession(policy, ex, now, &given, verdict);
    return result == POLICY_ALLOW ? check_claims(policy, ex, now, verdict) : result;
}

/* ---- without an answer ---- */

bool policy_may(const struct policy *policy, struct exchange *ex, double now)
{
    struct credentials given;
    struct verdict verdict = {.status = VERIFY_REFUSED};
    if (policy->kind != POLICY_TOKEN)
        return policy->kind != POLICY_WEBHOOK;
    if (read_credentials(policy, ex, &given, &verdict) != 0)
        return false;
    verify(policy, &given, now, true, &ex->arena, &verdict);
    if (verdict.status != VERIFY_OK)
        return false;
    json_t *claims = policy_may_come_so(policy, &given, &verdict)
                         ? claims_plain(verdict.claims, policy->namespace)
                         : NULL;
    bool may = claims != NULL &&
               policy_meets_rules(policy, now, verdict.verifier->clock_tolerance, claims);
    json_decref(claims);
    claims_unref(verdict.claims);
    return may;
}

bool policy_knows_token(const struct policy *policy, struct exchange *ex, double now)
{
    struct credentials given;
    struct verdict verdict = {.status = VERIFY_REFUSED};
    if (read_credentials(policy, ex, &given, &verdict) != 0)
        return false;
    verify(policy, &given, now, false, &ex->arena, &verdict);
    claims_unref(verdict.claims);
    return verdict.status != VERIFY_REFUSED;
}
