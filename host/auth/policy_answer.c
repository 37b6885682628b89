/* What who may not pass is told: status, code, and what would do instead. */
#include <errno.h>
#include <math.h>

#include "auth/policy_internal.h"
#include "base/limits.h"

#define REALM "luafn"

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

void policy_answer_nothing(struct exchange *ex)
{
    ex->error_code = VERIFY_CODE_MEMORY;
    ex->res = (struct response){.status = 500};
}

enum policy_result policy_deny(struct exchange *ex, struct verdict *verdict, int status,
                               const char *code, struct str text)
{
    claims_unref(verdict->claims);
    verdict->claims = NULL;
    ex->error_code = code;
    if (response_set_error(&ex->res, &ex->arena, status, str_from(code), text) != 0)
        policy_answer_nothing(ex);
    return POLICY_DENY;
}

enum policy_result policy_deny_memory(struct exchange *ex, struct verdict *verdict)
{
    return policy_deny(ex, verdict, 500, VERIFY_CODE_MEMORY, STR("Out of memory"));
}

static bool came_with_proof(const struct exchange *ex)
{
    const struct str *header = headers_get(&ex->req.headers, STR("authorization"));
    return header != NULL && header->len > 5 &&
           str_eq_nocase((struct str){header->ptr, 5}, STR("DPoP "));
}

void policy_challenge_with(const struct policy *policy, struct exchange *ex, struct str error,
                           struct str more, struct str scope, bool of_both)
{
    enum dpop_mode mode = policy_dpop(policy);
    bool of_proof =
        str_eq(error, STR("invalid_dpop_proof")) || str_eq(error, STR(POLICY_USE_NONCE));
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
        policy_answer_nothing(ex);
}

static void challenge(const struct policy *policy, struct exchange *ex, struct str error,
                      struct str scope)
{
    policy_challenge_with(policy, ex, error, STR(""), scope, false);
}

static void answer_unavailable(struct exchange *ex, const char *code, struct str text)
{
    ex->error_code = code;
    struct str seconds = arena_printf(&ex->arena, "%.0f", ceil(LIMIT_KEYS_RETRY));
    if (seconds.ptr == NULL ||
        response_set_error(&ex->res, &ex->arena, 503, str_from(code), text) != 0 ||
        headers_set(&ex->res.headers, &ex->arena, STR("Retry-After"), seconds) != 0)
        policy_answer_nothing(ex);
}

/* Where no token was understood there is nothing to complain of, only to ask for. */
enum policy_result policy_deny_token(const struct policy *policy, struct exchange *ex,
                                     struct verdict *verdict, struct str error)
{
    if (strcmp(verdict->code, VERIFY_CODE_MEMORY) == 0)
        return policy_deny_memory(ex, verdict);
    if (strcmp(verdict->code, VERIFY_CODE_UNKNOWN) == 0) {
        answer_unavailable(ex, VERIFY_CODE_UNKNOWN, verdict->text);
        return POLICY_DENY;
    }
    enum policy_result result = policy_deny(ex, verdict, 401, verdict->code, verdict->text);
    challenge(policy, ex, error, policy_scopes(policy, &ex->arena, " "));
    return result;
}

enum policy_result policy_deny_access(const struct policy *policy, struct exchange *ex,
                                      struct verdict *verdict, struct str text, struct str scope)
{
    if (text.ptr == NULL || scope.ptr == NULL)
        return policy_deny_memory(ex, verdict);
    enum policy_result result = policy_deny(ex, verdict, 403, "access_denied", text);
    challenge(policy, ex, STR("insufficient_scope"), scope);
    return result;
}

void policy_keys_unavailable(struct exchange *ex)
{
    answer_unavailable(ex, "keys_unavailable",
                       STR("The keys of the token's issuer cannot be had at the moment"));
}

/* Appends `name="a b"`. */
static void add_list(struct buf *buf, const char *name, const struct str *items, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        buf_printf(buf, i == 0 ? ", %s=\"%.*s" : "%s%.*s", i == 0 ? name : " ", STR_ARG(items[i]));
    buf_add_str(buf, count > 0 ? STR("\"") : STR(""));
}

enum policy_result policy_deny_sign_in(const struct policy *policy, struct exchange *ex,
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
        return policy_deny_memory(ex, verdict);
    enum policy_result result = policy_deny(ex, verdict, 401, code,
                                            has_acr ? STR("The user signed in too long ago")
                                                    : STR("The user has to sign in another way"));
    policy_challenge_with(policy, ex, str_from(code), copy, policy_scopes(policy, &ex->arena, " "),
                          false);
    return result;
}
