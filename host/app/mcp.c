/* The address of the tools: who may come, and with what. */
#include "app/mcp_internal.h"
#include "client/client_rules.h"

/* ---- the head ---- */

/* "http://127.0.0.1:8080" -> "127.0.0.1", "[::1]:8080" -> "::1" */
static bool is_loopback(struct str host)
{
    char name[256];
    size_t scheme = str_find_text(host, STR("://"));
    host = scheme < host.len ? str_skip(host, scheme + 3) : host;
    bool bracketed = host.len > 0 && host.ptr[0] == '[';
    host = bracketed ? str_skip(host, 1) : host;
    host.len = str_find(host, bracketed ? ']' : ':');
    if (host.len >= sizeof(name))
        return false;
    memcpy(name, host.ptr, host.len);
    name[host.len] = '\0';
    return client_host_is_loopback(name);
}

/* Is the page one of the host's own? Where functions.lua does not say who that is, the request's
 * word counts; but not on the way over loopback, where a page from elsewhere may have come under a
 * name that it points here (DNS rebinding). */
static bool is_own_origin(const struct config *config, const struct exchange *ex, struct str origin)
{
    const struct request *req = &ex->req;
    struct str own = config->resource;
    if (own.len > 0)
        return str_starts_with(own, origin) &&
               (own.len == origin.len || own.ptr[origin.len] == '/');
    if (!is_loopback(req->host) && is_loopback(req->client_ip))
        return false;
    return str_starts_with(origin, req->scheme) &&
           str_starts_with(str_skip(origin, req->scheme.len), STR("://")) &&
           str_eq_nocase(str_skip(origin, req->scheme.len + 3), req->host);
}

static bool is_listed_origin(const struct cors *cors, struct str origin)
{
    for (unsigned i = 0; i < cors->origin_count; i++) {
        if (str_eq(cors->origins[i], STR("*")) || str_eq(cors->origins[i], origin))
            return true;
    }
    return false;
}

/* Programs send none; a page that does must be one that may be here. */
static bool may_come_from(const struct config *config, const struct exchange *ex)
{
    bool many;
    const struct str *origin = headers_get_single(&ex->req.headers, STR("origin"), &many);
    return !many && (origin == NULL || is_listed_origin(&config->cors, *origin) ||
                     is_own_origin(config, ex, *origin));
}

static bool is_json(const struct exchange *ex)
{
    bool many;
    const struct str *type = headers_get_single(&ex->req.headers, STR("content-type"), &many);
    return type != NULL && str_eq_nocase(str_trim((struct str){type->ptr, str_find(*type, ';')}),
                                         STR("application/json"));
}

bool mcp_refuses(const struct deployment *d, struct exchange *ex)
{
    const struct config *config = d->config;
    if (cors_preflight(&config->cors, ex, METHOD_BIT(METHOD_POST) | METHOD_BIT(METHOD_GET))) {
        exchange_answer(ex);
        return true;
    }
    if (!may_come_from(config, ex)) {
        ex->error_code = "foreign_origin";
        exchange_answer_error(ex, 403, STR("foreign_origin"),
                              STR("Pages of this origin may not call tools here"));
        return true;
    }
    if (ex->req.method != METHOD_POST) {
        ex->error_code = "method_not_allowed";
        if (response_set_error(&ex->res, &ex->arena, 405, STR("method_not_allowed"),
                               STR("Tools are called by POST")) != 0 ||
            headers_add(&ex->res.headers, &ex->arena, STR("Allow"), STR("POST")) != 0)
            ex->res.status = 405;
        exchange_answer(ex);
        return true;
    }
    if (is_json(ex))
        return false;
    ex->error_code = "unsupported_media_type";
    exchange_answer_error(ex, 415, STR("unsupported_media_type"),
                          STR("The body should be application/json"));
    return true;
}

/* Does it say the same? How long that takes tells nothing of where it does not. */
static bool is_same(struct str given, struct str wanted)
{
    volatile unsigned char differs = 0;
    for (size_t i = 0; given.len == wanted.len && i < wanted.len; i++)
        differs = (unsigned char)(differs | (given.ptr[i] ^ wanted.ptr[i]));
    return given.len == wanted.len && differs == 0;
}

bool mcp_refuses_token(struct str token, struct exchange *ex)
{
    bool many;
    const struct str *given = headers_get_single(&ex->req.headers, STR("authorization"), &many);
    bool bears = given != NULL && given->len > 7 &&
                 str_eq_nocase((struct str){given->ptr, 7}, STR("Bearer "));
    if (bears && !many && is_same(str_trim(str_skip(*given, 7)), token))
        return false;
    bool none = given == NULL && !many;
    ex->error_code = none ? "missing_token" : "invalid_token";
    if (response_set_error(&ex->res, &ex->arena, 401, str_from(ex->error_code),
                           STR("The tools of dev want the token that it told when it started: "
                               "Authorization: Bearer, and what is in .luafn/dev-mcp-token")) !=
            0 ||
        headers_add(&ex->res.headers, &ex->arena, STR("WWW-Authenticate"),
                    none ? STR("Bearer realm=\"luafn dev\"")
                         : STR("Bearer realm=\"luafn dev\", error=\"invalid_token\"")) != 0)
        ex->res = (struct response){.status = 401};
    exchange_answer(ex);
    return true;
}

void mcp_expose_headers(struct exchange *ex)
{
    if (headers_get(&ex->req.headers, STR("origin")) != NULL &&
        headers_set(&ex->res.headers, &ex->arena, STR("Access-Control-Expose-Headers"),
                    STR("WWW-Authenticate, DPoP-Nonce, Retry-After, MCP-Protocol-Version")) != 0)
        ex->res.close = true; /* out of memory: the answer leaves without it */
}

/* ---- the gate ---- */

static const struct policy *policy_of(const struct function *function, enum mcp_place place)
{
    return mcp_has(place, function->spec) ? &function->spec->policy : NULL;
}

static bool wants(const struct policy *policy, struct str scope)
{
    for (unsigned i = 0; i < policy->scope_count; i++) {
        if (str_eq(policy->scopes[i], scope))
            return !policy->scope_any;
    }
    return false;
}

/* Those of `first` that each of the others wants as well. */
static bool common_scopes(const struct deployment *d, enum mcp_place place,
                          const struct policy *first, struct arena *arena, struct policy *gate)
{
    gate->scopes = arena_alloc(arena, (first->scope_count + 1) * sizeof(*gate->scopes));
    if (gate->scopes == NULL)
        return false;
    for (unsigned n = 0; n < first->scope_count; n++) {
        bool all = true;
        for (unsigned i = 0; all && i < d->function_count; i++) {
            const struct policy *policy = policy_of(d->functions[i], place);
            all = policy == NULL || wants(policy, first->scopes[n]);
        }
        if (all)
            gate->scopes[gate->scope_count++] = first->scopes[n];
    }
    return true;
}

bool mcp_gate(const struct deployment *d, enum mcp_place place, struct exchange *ex, double now,
              struct policy *gate)
{
    const struct policy *first = NULL, *chosen = NULL;
    bool open = false, signs_in = headers_get(&ex->req.headers, STR("authorization")) != NULL;
    for (unsigned i = 0; i < d->function_count; i++) {
        const struct policy *policy = policy_of(d->functions[i], place);
        bool closed = policy != NULL && policy->kind == POLICY_TOKEN;
        open = open || (policy != NULL && !closed);
        if (closed && first == NULL)
            first = policy;
        if (closed && chosen == NULL && signs_in && policy_knows_token(policy, ex, now))
            chosen = policy;
    }
    *gate = (struct policy){.kind = POLICY_PUBLIC};
    if (first == NULL || (open && !signs_in))
        return true;
    chosen = chosen != NULL ? chosen : first;
    *gate = (struct policy){.kind = POLICY_TOKEN,
                            .namespace = chosen->namespace,
                            .dpop = chosen->dpop,
                            .verifiers = chosen->verifiers,
                            .verifier_count = chosen->verifier_count};
    return common_scopes(d, place, first, &ex->arena, gate);
}

bool mcp_listens_to(const struct policy *gate, struct exchange *ex, double now)
{
    return gate->kind != POLICY_TOKEN || policy_knows_token(gate, ex, now);
}

/* ---- challenges ---- */

static bool has_word(struct str words, struct str wanted)
{
    struct str word;
    while (str_split_next(&words, ' ', &word)) {
        if (str_eq(word, wanted))
            return true;
    }
    return false;
}

/* Is it among the caller's, as this policy sees them? */
static bool has_scope(const struct policy *policy, struct str *scope, struct exchange *ex,
                      double now)
{
    struct policy alone = {.kind = POLICY_TOKEN,
                           .namespace = policy->namespace,
                           .dpop = policy->dpop,
                           .verifiers = policy->verifiers,
                           .verifier_count = policy->verifier_count,
                           .scopes = scope,
                           .scope_count = 1};
    return policy_may(&alone, ex, now);
}

static struct str add_scopes(const struct deployment *d, struct exchange *ex, double now,
                             struct str scopes)
{
    for (unsigned i = 0; i < d->function_count; i++) {
        const struct policy *policy = policy_of(d->functions[i], MCP_FUNCTIONS);
        for (unsigned n = 0; policy != NULL && n < policy->scope_count; n++) {
            struct str *scope = &policy->scopes[n];
            if (!has_word(scopes, *scope) && has_scope(policy, scope, ex, now))
                scopes = arena_printf(&ex->arena, "%.*s %.*s", STR_ARG(scopes), STR_ARG(*scope));
        }
    }
    return scopes;
}

void mcp_widen_challenge(const struct deployment *d, struct exchange *ex, double now)
{
    struct headers *headers = &ex->res.headers;
    for (uint32_t i = 0; ex->res.status == 403 && i < headers->len; i++) {
        struct str value = headers->items[i].value;
        size_t at = str_find_text(value, STR("scope=\""));
        if (!str_eq_nocase(headers->items[i].name, STR("www-authenticate")) || at == value.len)
            continue;
        struct str before = {value.ptr, at + strlen("scope=\"")},
                   rest = str_skip(value, before.len);
        struct str named = {rest.ptr, str_find(rest, '"')};
        struct str all = add_scopes(d, ex, now, named);
        if (policy_is_scope_text(all))
            all = arena_printf(&ex->arena, "%.*s%.*s%.*s", STR_ARG(before), STR_ARG(all),
                               STR_ARG(str_skip(rest, named.len)));
        if (all.ptr != NULL && all.len >= value.len)
            headers->items[i].value = all;
    }
}
