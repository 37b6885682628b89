/* Is the token its bearer's own: certificate (RFC 8705) and proof of possession (RFC 9449). */
#include "auth/nonce.h"
#include "auth/policy_internal.h"
#include "shared/nonce_secret.h"

static enum policy_result deny_proof(const struct policy *policy, struct exchange *ex,
                                     struct verdict *verdict, const char *code, const char *text)
{
    bool of_proof = strcmp(code, "invalid_dpop_proof") == 0 || strcmp(code, POLICY_USE_NONCE) == 0;
    const char *error = of_proof ? code : "invalid_token";
    enum policy_result result = policy_deny(ex, verdict, 401, code, str_from(text));
    policy_challenge_with(policy, ex, str_from(error), STR(""),
                          policy_scopes(policy, &ex->arena, " "), true);
    return result;
}

static enum policy_result deny_busy(struct exchange *ex, struct verdict *verdict)
{
    enum policy_result result =
        policy_deny(ex, verdict, 503, "too_many_proofs",
                    STR("More proofs of possession than can be remembered"));
    if (headers_set(&ex->res.headers, &ex->arena, STR("Retry-After"), STR("1")) != 0)
        policy_answer_nothing(ex);
    return result;
}

/* Of a function that says nothing about nonces, the issuer's. Empty: none is asked for. */
static struct str nonce_secret(const struct dpop *of_function, const struct dpop *of_issuer)
{
    const struct dpop *says = of_function->nonce != DPOP_NONCE_UNSET ? of_function : of_issuer;
    if (says->nonce != DPOP_NONCE_ON)
        return STR("");
    return says->nonce_secret.len > 0 ? says->nonce_secret : nonce_secret_get();
}

/* The newest leaves with the answer, whatever that will be (RFC 9449 section 8.2). */
static bool give_nonce(struct exchange *ex, struct str secret, double now)
{
    char *nonce = arena_alloc(&ex->arena, NONCE_BYTES);
    if (nonce == NULL || !nonce_write(secret, now, nonce))
        return false;
    ex->dpop_nonce = (struct str){nonce, NONCE_BYTES};
    return true;
}

static enum policy_result deny_nonce(const struct policy *policy, struct exchange *ex, double now,
                                     struct str secret, struct verdict *verdict)
{
    return give_nonce(ex, secret, now)
               ? deny_proof(policy, ex, verdict, POLICY_USE_NONCE,
                            "The proof has to name the nonce of this answer's DPoP-Nonce")
               : policy_deny_memory(ex, verdict);
}

/* It was good; what other machines know of it has been asked meanwhile. */
static enum policy_result check_again(const struct policy *policy, struct exchange *ex,
                                      struct verdict *verdict)
{
    return ex->once->state == ONCE_SEEN
               ? deny_proof(policy, ex, verdict, "invalid_dpop_proof", DPOP_USED)
               : POLICY_ALLOW;
}

static enum policy_result check_proof(const struct policy *policy, struct exchange *ex, double now,
                                      struct str token, struct verdict *verdict)
{
    if (ex->once != NULL && ex->once->state != ONCE_HERE)
        return check_again(policy, ex, verdict);
    const struct str *proof = headers_get(&ex->req.headers, STR("dpop"));
    const struct dpop *of_issuer = &verdict->verifier->dpop;
    struct dpop_request req = {
        .method = ex->req.method_name,
        .scheme = ex->req.scheme,
        .host = ex->req.host,
        .origin = policy->dpop.origin.len > 0 ? policy->dpop.origin : of_issuer->origin,
        .path = ex->req.path,
        .token = token,
        .nonce_secret = nonce_secret(&policy->dpop, of_issuer),
        .now = now,
        .tolerance = verdict->verifier->clock_tolerance,
    };
    const char *why = "One DPoP header is needed";
    enum dpop_result result = DPOP_BAD_PROOF;
    struct exchange_once *once = arena_zalloc(&ex->arena, sizeof(*once));
    if (once == NULL)
        return policy_deny_memory(ex, verdict);
    if (proof != NULL && headers_count(&ex->req.headers, STR("dpop")) == 1)
        result = dpop_check(&req, verdict->claims->json, *proof, once, &why);
    ex->once = result == DPOP_GOOD || result == DPOP_GOOD_RENEW ? once : NULL;
    switch (result) {
    case DPOP_GOOD:
        return POLICY_ALLOW;
    case DPOP_GOOD_RENEW:
        return give_nonce(ex, req.nonce_secret, now) ? POLICY_ALLOW
                                                     : policy_deny_memory(ex, verdict);
    case DPOP_NO_NONCE:
        return deny_nonce(policy, ex, now, req.nonce_secret, verdict);
    case DPOP_BAD_PROOF:
        return deny_proof(policy, ex, verdict, "invalid_dpop_proof", why);
    case DPOP_OTHER_KEY:
        return deny_proof(policy, ex, verdict, "jwt_invalid",
                          "The token is not bound to the key of the proof");
    case DPOP_BUSY:
        return deny_busy(ex, verdict);
    default:
        return policy_deny_memory(ex, verdict);
    }
}

enum policy_result policy_check_possession(const struct policy *policy, struct exchange *ex,
                                           double now, const struct credentials *given,
                                           struct verdict *verdict)
{
    enum dpop_mode mode =
        policy->dpop.mode != DPOP_UNSET ? policy->dpop.mode : verdict->verifier->dpop.mode;
    enum mtls_mode mtls = policy->mtls != MTLS_UNSET ? policy->mtls : verdict->verifier->mtls;
    const char *refusal = mtls_is_needed(mtls, verdict->claims)
                              ? mtls_refusal(verdict->claims->json, ex->req.client_cert)
                              : NULL;
    if (refusal != NULL)
        return deny_proof(policy, ex, verdict, "jwt_invalid", refusal);
    if (!given->dpop && dpop_refuses_bearer(mode, verdict->claims->json))
        return deny_proof(policy, ex, verdict, "jwt_invalid", DPOP_NEEDED);
    if (!given->dpop)
        return POLICY_ALLOW;
    if (mode < DPOP_OPTIONAL)
        return deny_proof(policy, ex, verdict, "invalid_header",
                          "Unsupported format for the Authorization header");
    return check_proof(policy, ex, now, given->token, verdict);
}

bool policy_may_come_so(const struct policy *policy, const struct credentials *given,
                        const struct verdict *verdict)
{
    enum dpop_mode mode =
        policy->dpop.mode != DPOP_UNSET ? policy->dpop.mode : verdict->verifier->dpop.mode;
    return given->dpop ? mode >= DPOP_OPTIONAL : !dpop_refuses_bearer(mode, verdict->claims->json);
}
