/* From a verdict to an answer: who may pass, and what the others are told. */
#include "auth/policy.h"

#include <errno.h>
#include <math.h>

#include "base/limits.h"

#define REALM "luafn"

/* ---- answers ---- */

/* RFC 6749 section 3.3: what a scope may consist of, and the space between two. */
static bool is_scope_text(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c < ' ' || c > '~' || c == '"' || c == '\\')
            return false;
    }
    return s.len > 0;
}

int policy_challenge(struct response *res, struct arena *arena, struct str error, struct str scope)
{
    struct str value = STR("Bearer realm=\"" REALM "\"");
    if (error.len > 0)
        value = arena_printf(arena, "%.*s, error=\"%.*s\"", STR_ARG(value), STR_ARG(error));
    if (value.ptr != NULL && is_scope_text(scope))
        value = arena_printf(arena, "%.*s, scope=\"%.*s\"", STR_ARG(value), STR_ARG(scope));
    if (value.ptr == NULL)
        return -ENOMEM;
    return headers_set(&res->headers, arena, STR("WWW-Authenticate"), value);
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

static void challenge(struct exchange *ex, struct str error, struct str scope)
{
    if (policy_challenge(&ex->res, &ex->arena, error, scope) != 0)
        answer_nothing(ex);
}

/* 401. Where no token was understood there is nothing to complain of, only to ask for. */
static enum policy_result deny_token(struct exchange *ex, struct verdict *verdict, struct str error)
{
    if (strcmp(verdict->code, VERIFY_CODE_MEMORY) == 0)
        return deny_memory(ex, verdict);
    enum policy_result result = deny(ex, verdict, 401, verdict->code, verdict->text);
    challenge(ex, error, STR(""));
    return result;
}

/* 403. `scope` empty: the challenge names none. */
static enum policy_result deny_access(struct exchange *ex, struct verdict *verdict, struct str text,
                                      struct str scope)
{
    if (text.ptr == NULL || scope.ptr == NULL)
        return deny_memory(ex, verdict);
    enum policy_result result = deny(ex, verdict, 403, "access_denied", text);
    challenge(ex, STR("insufficient_scope"), scope);
    return result;
}

void policy_keys_unavailable(struct exchange *ex)
{
    ex->error_code = "keys_unavailable";
    struct str seconds = arena_printf(&ex->arena, "%.0f", ceil(LIMIT_KEYS_RETRY));
    if (seconds.ptr == NULL ||
        response_set_error(&ex->res, &ex->arena, 503, STR("keys_unavailable"),
                           STR("The keys of the token's issuer cannot be had at the moment")) ||
        headers_set(&ex->res.headers, &ex->arena, STR("Retry-After"), seconds) != 0)
        answer_nothing(ex);
}

/* ---- rules ---- */

static struct str join_scopes(const struct policy *policy, struct arena *arena, const char *between)
{
    struct str all = policy->scope_count > 0 ? policy->scopes[0] : STR("");
    for (unsigned i = 1; i < policy->scope_count && all.ptr != NULL; i++)
        all = arena_printf(arena, "%.*s%s%.*s", STR_ARG(all), between, STR_ARG(policy->scopes[i]));
    return all;
}

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

static bool is_or_has(const json_t *value, const json_t *wanted)
{
    if (value != NULL && json_equal(value, wanted))
        return true;
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (json_equal(json_array_get(value, i), wanted))
            return true;
    }
    return false;
}

/* The name of the first claim that is not as the policy wants it, or NULL. */
static const char *wrong_claim(const struct policy *policy, const json_t *claims)
{
    const char *name;
    json_t *wanted;
    json_object_foreach(policy->claims, name, wanted)
    {
        if (!is_or_has(json_object_get(claims, name), wanted))
            return name;
    }
    return NULL;
}

static enum policy_result check_rules(const struct policy *policy, struct exchange *ex,
                                      struct verdict *verdict, const json_t *claims)
{
    struct arena *arena = &ex->arena;
    const struct str *scope = missing_scope(policy, claims);
    if (scope != NULL)
        return deny_access(ex, verdict,
                           arena_printf(arena, "Token does not contain the required '%.*s' scope",
                                        STR_ARG(*scope)),
                           join_scopes(policy, arena, " "));
    if (policy->role.len > 0 && !claims_have_role(claims, policy->role))
        return deny_access(
            ex, verdict,
            arena_printf(arena, "User does not have the '%.*s' role", STR_ARG(policy->role)),
            STR(""));
    const char *name = wrong_claim(policy, claims);
    if (name != NULL)
        return deny_access(
            ex, verdict,
            arena_printf(arena, "Token does not contain the required '%s' claim", name), STR(""));
    return POLICY_ALLOW;
}

static enum policy_result check_claims(const struct policy *policy, struct exchange *ex,
                                       struct verdict *verdict)
{
    json_t *claims = claims_plain(verdict->claims, policy->namespace);
    if (claims == NULL)
        return deny_memory(ex, verdict);
    enum policy_result result = check_rules(policy, ex, verdict, claims);
    json_decref(claims);
    return result;
}

/* ---- the request ---- */

/* Two headers are two opinions about who is calling: neither is picked. */
static int read_token(const struct exchange *ex, struct str *token, struct verdict *verdict)
{
    const struct headers *headers = &ex->req.headers;
    struct str both = STR("");
    const struct str *header = headers_get(headers, STR("authorization"));
    if (headers_count(headers, STR("authorization")) > 1)
        header = &both;
    return token_from_header(header, token, verdict);
}

/* On an open function a token is welcome, not needed: whatever is wrong with it goes unsaid. */
static enum policy_result check_open(const struct policy *policy, struct exchange *ex, double now,
                                     struct verdict *verdict)
{
    struct str token;
    if (policy->verifier_count > 0 && read_token(ex, &token, verdict) == 0)
        token_verify(policy->verifiers, policy->verifier_count, token, now, true, &ex->arena,
                     verdict);
    if (verdict->status == VERIFY_OK)
        ex->sub_hash = verdict->claims->subject_hash;
    else
        *verdict = (struct verdict){.status = VERIFY_REFUSED};
    return POLICY_ALLOW;
}

enum policy_result policy_check(const struct policy *policy, struct exchange *ex, double now,
                                bool keys_final, struct verdict *verdict)
{
    *verdict = (struct verdict){.status = VERIFY_REFUSED};
    if (policy->kind != POLICY_TOKEN)
        return check_open(policy, ex, now, verdict);
    struct str token;
    if (read_token(ex, &token, verdict) != 0)
        return deny_token(ex, verdict, STR(""));
    token_verify(policy->verifiers, policy->verifier_count, token, now, keys_final, &ex->arena,
                 verdict);
    if (verdict->status == VERIFY_NEEDS_KEY)
        return POLICY_NEEDS_KEY;
    if (verdict->status != VERIFY_OK)
        return deny_token(ex, verdict, STR("invalid_token"));
    ex->sub_hash = verdict->claims->subject_hash;
    return check_claims(policy, ex, verdict);
}

/* ---- for people ---- */

static void add_rule(struct buf *buf, const char *kind, struct str what)
{
    buf_printf(buf, "%s%s %.*s", buf->len > 0 ? ", " : "", kind, STR_ARG(what));
}

struct str policy_text(const struct policy *policy, struct arena *arena)
{
    if (policy->kind != POLICY_TOKEN)
        return policy->kind == POLICY_PUBLIC ? STR("public") : STR("open");
    struct buf buf = BUF_INIT;
    struct str scopes = join_scopes(policy, arena, policy->scope_any ? "|" : " ");
    if (scopes.len > 0)
        add_rule(&buf, "scope", scopes);
    if (policy->role.len > 0)
        add_rule(&buf, "role", policy->role);
    const char *name;
    json_t *wanted;
    json_object_foreach(policy->claims, name, wanted) add_rule(&buf, "claim", str_from(name));
    bool failed = scopes.ptr == NULL || buf_failed(&buf);
    struct str text = failed         ? (struct str){NULL, 0}
                      : buf.len == 0 ? STR("token")
                                     : arena_copy(arena, buf_str(&buf));
    buf_free(&buf);
    return text;
}
