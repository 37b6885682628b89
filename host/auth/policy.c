/* From a verdict to an answer: who may pass, and what the others are told. */
#include "auth/policy.h"

#include <errno.h>
#include <math.h>

#include "auth/nonce.h"
#include "base/limits.h"
#include "shared/nonce_secret.h"

#define REALM          "luafn"
#define USE_DPOP_NONCE "use_dpop_nonce"

/* ---- answers ---- */

bool policy_is_scope_text(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c < ' ' || c > '~' || c == '"' || c == '\\')
            return false;
    }
    return s.len > 0;
}

int policy_challenge(struct response *res, struct arena *arena, const char *scheme,
                     struct str error, struct str more, struct str scope)
{
    struct str value = arena_printf(arena, "%s realm=\"" REALM "\"", scheme);
    if (value.ptr != NULL && error.len > 0)
        value = arena_printf(arena, "%.*s, error=\"%.*s\"", STR_ARG(value), STR_ARG(error));
    if (value.ptr != NULL && more.len > 0)
        value = arena_printf(arena, "%.*s%.*s", STR_ARG(value), STR_ARG(more));
    if (value.ptr != NULL && policy_is_scope_text(scope))
        value = arena_printf(arena, "%.*s, scope=\"%.*s\"", STR_ARG(value), STR_ARG(scope));
    if (value.ptr == NULL)
        return -ENOMEM;
    return headers_add(&res->headers, arena, STR("WWW-Authenticate"), value);
}

/* The last resort: nothing but a status, which needs no memory. */
static void answer_nothing(struct exchange *ex)
{
    ex->error_code = VERIFY_CODE_MEMORY;
    ex->res = (struct response){.status = 500};
}

static enum policy_result deny(struct exchange *ex, struct verdict *verdict, int status,
                               const char *code, struct str text)
{
    claims_unref(verdict->claims);
    verdict->claims = NULL;
    ex->error_code = code;
    if (response_set_error(&ex->res, &ex->arena, status, str_from(code), text) != 0)
        answer_nothing(ex);
    return POLICY_DENY;
}

static enum policy_result deny_memory(struct exchange *ex, struct verdict *verdict)
{
    return deny(ex, verdict, 500, VERIFY_CODE_MEMORY, STR("Out of memory"));
}

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

static bool came_with_proof(const struct exchange *ex)
{
    const struct str *header = headers_get(&ex->req.headers, STR("authorization"));
    return header != NULL && header->len > 5 &&
           str_eq_nocase((struct str){header->ptr, 5}, STR("DPoP "));
}

/* A line for each scheme that would do. The error is that of the scheme by which the token came, so
 * the other's line has none (RFC 9449 section 7.1), unless it is `of_both`: who brings a bound
 * token as a bearer is told so in both (7.2). */
static void challenge_with(const struct policy *policy, struct exchange *ex, struct str error,
                           struct str more, struct str scope, bool of_both)
{
    enum dpop_mode mode = policy_dpop(policy);
    bool of_proof = str_eq(error, STR("invalid_dpop_proof")) || str_eq(error, STR(USE_DPOP_NONCE));
    bool by_proof = of_proof || came_with_proof(ex);
    int rc = 0;
    if (mode != DPOP_REQUIRED)
        rc = policy_challenge(&ex->res, &ex->arena, "Bearer", by_proof ? STR("") : error, more,
                              scope);
    if (rc == 0 && mode >= DPOP_OPTIONAL) {
        struct str algs = arena_printf(&ex->arena, ", algs=\"" DPOP_ALGS "\"%.*s", STR_ARG(more));
        bool told = by_proof || of_both || mode == DPOP_REQUIRED;
        rc = algs.ptr == NULL ? -ENOMEM
                              : policy_challenge(&ex->res, &ex->arena, "DPoP",
                                                 told ? error : STR(""), algs, scope);
    }
    if (rc != 0)
        answer_nothing(ex);
}

static void challenge(const struct policy *policy, struct exchange *ex, struct str error,
                      struct str scope)
{
    challenge_with(policy, ex, error, STR(""), scope, false);
}

/* All that the call needs, or of which any would do. */
static struct str join_scopes(const struct policy *policy, struct arena *arena, const char *between)
{
    struct str all = policy->scope_count > 0 ? policy->scopes[0] : STR("");
    for (unsigned i = 1; i < policy->scope_count && all.ptr != NULL; i++)
        all = arena_printf(arena, "%.*s%s%.*s", STR_ARG(all), between, STR_ARG(policy->scopes[i]));
    return all;
}

static void answer_unavailable(struct exchange *ex, const char *code, struct str text)
{
    ex->error_code = code;
    struct str seconds = arena_printf(&ex->arena, "%.0f", ceil(LIMIT_KEYS_RETRY));
    if (seconds.ptr == NULL ||
        response_set_error(&ex->res, &ex->arena, 503, str_from(code), text) != 0 ||
        headers_set(&ex->res.headers, &ex->arena, STR("Retry-After"), seconds) != 0)
        answer_nothing(ex);
}

/* 401. Where no token was understood there is nothing to complain of, only to ask for. */
static enum policy_result deny_token(const struct policy *policy, struct exchange *ex,
                                     struct verdict *verdict, struct str error)
{
    if (strcmp(verdict->code, VERIFY_CODE_MEMORY) == 0)
        return deny_memory(ex, verdict);
    if (strcmp(verdict->code, VERIFY_CODE_UNKNOWN) == 0) {
        answer_unavailable(ex, VERIFY_CODE_UNKNOWN, verdict->text);
        return POLICY_DENY;
    }
    enum policy_result result = deny(ex, verdict, 401, verdict->code, verdict->text);
    challenge(policy, ex, error, join_scopes(policy, &ex->arena, " "));
    return result;
}

/* 403. `scope` empty: the challenge names none. */
static enum policy_result deny_access(const struct policy *policy, struct exchange *ex,
                                      struct verdict *verdict, struct str text, struct str scope)
{
    if (text.ptr == NULL || scope.ptr == NULL)
        return deny_memory(ex, verdict);
    enum policy_result result = deny(ex, verdict, 403, "access_denied", text);
    challenge(policy, ex, STR("insufficient_scope"), scope);
    return result;
}

void policy_keys_unavailable(struct exchange *ex)
{
    answer_unavailable(ex, "keys_unavailable",
                       STR("The keys of the token's issuer cannot be had at the moment"));
}

/* ---- rules ---- */

/* The scope to name in the refusal: the first that is missing, or with `any`, when all are missing,
 * the first. NULL when the scopes suffice. */
static const struct str *missing_scope(const struct policy *policy, const json_t *claims)
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

/* The name of the first claim that is not as the policy wants it, or NULL. */
static const char *wrong_claim(const struct policy *policy, const json_t *claims)
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

/* Appends `name="a b"`. */
static void add_list(struct buf *buf, const char *name, const struct str *items, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        buf_printf(buf, i == 0 ? ", %s=\"%.*s" : "%s%.*s", i == 0 ? name : " ", STR_ARG(items[i]));
    buf_add_str(buf, count > 0 ? STR("\"") : STR(""));
}

/* RFC 9470 section 3: all that a new sign-in has to bring, so that there is but one. */
static enum policy_result deny_sign_in(const struct policy *policy, struct exchange *ex,
                                       struct verdict *verdict, bool has_acr)
{
    static const char *const code = "insufficient_user_authentication";
    struct buf more = BUF_INIT;
    add_list(&more, "acr_values", policy->acr, policy->acr_count);
    if (policy->max_age > 0)
        buf_printf(&more, ", max_age=\"%.0f\"", policy->max_age);
    struct str copy =
        buf_failed(&more) ? (struct str){NULL, 0} : arena_copy(&ex->arena, buf_str(&more));
    buf_free(&more);
    if (copy.ptr == NULL)
        return deny_memory(ex, verdict);
    enum policy_result result = deny(ex, verdict, 401, code,
                                     has_acr ? STR("The user signed in too long ago")
                                             : STR("The user has to sign in another way"));
    challenge_with(policy, ex, str_from(code), copy, join_scopes(policy, &ex->arena, " "), false);
    return result;
}

static enum policy_result check_rules(const struct policy *policy, struct exchange *ex, double now,
                                      struct verdict *verdict, const json_t *claims)
{
    struct arena *arena = &ex->arena;
    bool has_acr = policy_has_acr(policy, claims);
    if (!has_acr || !policy_is_recent(policy, claims, now, verdict->verifier->clock_tolerance))
        return deny_sign_in(policy, ex, verdict, has_acr);
    const struct str *scope = missing_scope(policy, claims);
    if (scope != NULL)
        return deny_access(policy, ex, verdict,
                           arena_printf(arena, "Token does not contain the required '%.*s' scope",
                                        STR_ARG(*scope)),
                           join_scopes(policy, arena, " "));
    if (policy->role.len > 0 && !claims_have_role(claims, policy->role_path, policy->role))
        return deny_access(
            policy, ex, verdict,
            arena_printf(arena, "User does not have the '%.*s' role", STR_ARG(policy->role)),
            STR(""));
    const char *name = wrong_claim(policy, claims);
    if (name != NULL)
        return deny_access(
            policy, ex, verdict,
            arena_printf(arena, "Token does not contain the required '%s' claim", name), STR(""));
    return POLICY_ALLOW;
}

static enum policy_result check_claims(const struct policy *policy, struct exchange *ex, double now,
                                       struct verdict *verdict)
{
    json_t *claims = claims_plain(verdict->claims, policy->namespace);
    if (claims == NULL)
        return deny_memory(ex, verdict);
    enum policy_result result = check_rules(policy, ex, now, verdict, claims);
    json_decref(claims);
    return result;
}

/* ---- the request ---- */

/* What came in `Authorization`. */
struct credentials {
    struct str token;
    struct request_note *note; /* of the head that it came in; NULL: there is none */
    bool dpop;                 /* by the scheme of that name; else Bearer */
};

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

/* ---- proof of possession ---- */

static enum policy_result deny_proof(const struct policy *policy, struct exchange *ex,
                                     struct verdict *verdict, const char *code, const char *text)
{
    bool of_proof = strcmp(code, "invalid_dpop_proof") == 0 || strcmp(code, USE_DPOP_NONCE) == 0;
    const char *error = of_proof ? code : "invalid_token";
    enum policy_result result = deny(ex, verdict, 401, code, str_from(text));
    challenge_with(policy, ex, str_from(error), STR(""), join_scopes(policy, &ex->arena, " "),
                   true);
    return result;
}

static enum policy_result deny_busy(struct exchange *ex, struct verdict *verdict)
{
    enum policy_result result = deny(ex, verdict, 503, "too_many_proofs",
                                     STR("More proofs of possession than can be remembered"));
    if (headers_set(&ex->res.headers, &ex->arena, STR("Retry-After"), STR("1")) != 0)
        answer_nothing(ex);
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
               ? deny_proof(policy, ex, verdict, USE_DPOP_NONCE,
                            "The proof has to name the nonce of this answer's DPoP-Nonce")
               : deny_memory(ex, verdict);
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
        return deny_memory(ex, verdict);
    if (proof != NULL && headers_count(&ex->req.headers, STR("dpop")) == 1)
        result = dpop_check(&req, verdict->claims->json, *proof, once, &why);
    ex->once = result == DPOP_GOOD || result == DPOP_GOOD_RENEW ? once : NULL;
    switch (result) {
    case DPOP_GOOD:
        return POLICY_ALLOW;
    case DPOP_GOOD_RENEW:
        return give_nonce(ex, req.nonce_secret, now) ? POLICY_ALLOW : deny_memory(ex, verdict);
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
        return deny_memory(ex, verdict);
    }
}

static enum policy_result check_possession(const struct policy *policy, struct exchange *ex,
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
        return deny_memory(ex, &verdict);
    enum policy_result result =
        why == WEBHOOK_STALE ? deny(ex, &verdict, 401, "stale_signature",
                                    STR("The signature's timestamp is not near the present time"))
                             : deny(ex, &verdict, 401, "invalid_signature",
                                    STR("The request is not signed as this function expects it"));
    if (policy_challenge(&ex->res, &ex->arena, "Signature", STR(""), STR(""), STR("")) != 0)
        answer_nothing(ex);
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

enum policy_result policy_check(const struct policy *policy, struct exchange *ex, double now,
                                bool keys_final, struct verdict *verdict)
{
    *verdict = (struct verdict){.status = VERIFY_REFUSED};
    if (policy->kind != POLICY_TOKEN)
        return policy->kind == POLICY_WEBHOOK ? check_webhook_head(policy, ex)
                                              : check_open(policy, ex, now, verdict);
    struct credentials given;
    if (read_credentials(policy, ex, &given, verdict) != 0)
        return deny_token(policy, ex, verdict, STR(""));
    verify(policy, &given, now, keys_final, &ex->arena, verdict);
    if (verdict->status == VERIFY_NEEDS_KEY)
        return POLICY_NEEDS_KEY;
    if (verdict->status != VERIFY_OK)
        return deny_token(policy, ex, verdict, STR("invalid_token"));
    ex->sub_hash = verdict->claims->subject_hash;
    enum policy_result result = check_possession(policy, ex, now, &given, verdict);
    return result == POLICY_ALLOW ? check_claims(policy, ex, now, verdict) : result;
}

/* ---- without an answer ---- */

static bool meets_rules(const struct policy *policy, double now, double tolerance,
                        const json_t *claims)
{
    return policy_has_acr(policy, claims) && policy_is_recent(policy, claims, now, tolerance) &&
           missing_scope(policy, claims) == NULL &&
           (policy->role.len == 0 || claims_have_role(claims, policy->role_path, policy->role)) &&
           wrong_claim(policy, claims) == NULL;
}

/* As check_possession, but for the proof itself. */
static bool may_come_so(const struct policy *policy, const struct credentials *given,
                        const struct verdict *verdict)
{
    enum dpop_mode mode =
        policy->dpop.mode != DPOP_UNSET ? policy->dpop.mode : verdict->verifier->dpop.mode;
    return given->dpop ? mode >= DPOP_OPTIONAL : !dpop_refuses_bearer(mode, verdict->claims->json);
}

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
    json_t *claims = may_come_so(policy, &given, &verdict)
                         ? claims_plain(verdict.claims, policy->namespace)
                         : NULL;
    bool may =
        claims != NULL && meets_rules(policy, now, verdict.verifier->clock_tolerance, claims);
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

/* ---- for people ---- */

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
    struct str scopes = join_scopes(policy, arena, policy->scope_any ? "|" : " ");
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
