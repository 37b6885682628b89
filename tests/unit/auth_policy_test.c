/* Policies: who passes, and the whole answer that the others get. */
#include "auth_fixture.h"

#include "auth/policy.h"

static struct {
    struct key *k1, *k3;
    struct key_source source, empty;
    struct verifier verifier, keyless;
} fx;

static int set_up(void **state)
{
    (void)state;
    fx.k1 = auth_rsa(RSA_A, "k1");
    fx.k3 = auth_rsa(RSA_C, "k1");
    struct keyset *set = auth_keyset(&fx.k1, 1, ALG_RS256);
    keyset_source_init(&fx.source);
    keyset_source_init(&fx.empty);
    keyset_source_set(&fx.source, set);
    keyset_unref(set);
    fx.verifier = auth_verifier(&fx.source);
    fx.keyless = auth_verifier(&fx.empty);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    token_cache_clear();
    keyset_source_clear(&fx.source);
    key_unref(fx.k1);
    key_unref(fx.k3);
    return 0;
}

/* One request and what became of it. */
struct
try {
    struct exchange ex;
    struct verdict verdict;
    enum policy_result result;
};

static void begin(struct try *t)
{
    memset(t, 0, sizeof(*t));
    arena_init(&t->ex.arena);
}

static void add_header(struct try *t, const char *value)
{
    assert_int_equal(
        headers_add(&t->ex.req.headers, &t->ex.arena, STR("authorization"), str_from(value)), 0);
}

static void check(struct try *t, const struct policy *policy)
{
    t->result = policy_check(policy, &t->ex, NOW, true, &t->verdict);
    assert_int_equal(t->verdict.claims != NULL,
                     t->result == POLICY_ALLOW && t->verdict.status == VERIFY_OK);
}

static void end(struct try *t)
{
    claims_unref(t->verdict.claims);
    arena_free(&t->ex.arena);
}

static void try_header(struct try *t, const struct policy *policy, const char *header)
{
    begin(t);
    if (header != NULL)
        add_header(t, header);
    check(t, policy);
}

/* With a token of these claims, signed by `key`. */
static void try_claims(struct try *t, const struct policy *policy, struct key *key,
                       const char *claims)
{
    char *token = auth_token(key, ALG_RS256, GOOD_HEADER, claims);
    char header[8192];
    snprintf(header, sizeof(header), "Bearer %s", token);
    begin(t);
    add_header(t, arena_copy(&t->ex.arena, str_from(header)).ptr);
    check(t, policy);
    free(token);
}

static const char *header_of(const struct try *t, const char *name)
{
    const struct str *value = headers_get(&t->ex.res.headers, str_from(name));
    static char text[512];
    if (value == NULL)
        return "";
    snprintf(text, sizeof(text), "%.*s", STR_ARG(*value));
    return text;
}

static void assert_denied(struct try *t, int status, const char *code, const char *text,
                          const char *challenge)
{
    assert_int_equal(t->result, POLICY_DENY);
    assert_int_equal(t->ex.res.status, status);
    assert_string_equal(t->ex.error_code, code);
    assert_string_equal(header_of(t, "Content-Type"), "application/json");
    assert_string_equal(header_of(t, "WWW-Authenticate"), challenge);
    json_t *body = json_loadb(t->ex.res.body.ptr, t->ex.res.body.len, 0, NULL);
    json_t *wanted = json_pack("{s:s,s:s}", "error", code, "error_description", text);
    if (!json_equal(body, wanted))
        fail_msg("%.*s", STR_ARG(t->ex.res.body));
    json_decref(body);
    json_decref(wanted);
    end(t);
}

static void assert_allowed(struct try *t)
{
    if (t->result != POLICY_ALLOW)
        fail_msg("denied: %.*s", STR_ARG(t->ex.res.body));
    assert_int_equal(t->ex.res.status, 0);
    end(t);
}

#define REALM         "Bearer realm=\"luafn\""
#define INVALID_TOKEN REALM ", error=\"invalid_token\""
#define INSUFFICIENT  REALM ", error=\"insufficient_scope\""

static struct policy token_policy(void)
{
    return (struct policy){.kind = POLICY_TOKEN, .verifiers = &fx.verifier, .verifier_count = 1};
}

static void asks_for_a_token(void **state)
{
    (void)state;
    static const char unsupported[] = "Unsupported format for the Authorization header";
    struct policy policy = token_policy();
    struct try t;
    try_header(&t, &policy, NULL);
    assert_denied(&t, 401, "invalid_header", "The Authorization header is missing or empty", REALM);
    try_header(&t, &policy, "Basic abc");
    assert_denied(&t, 401, "invalid_header", unsupported, REALM);
    try_header(&t, &policy, "Bearer a b");
    assert_denied(&t, 401, "invalid_header", unsupported, REALM);
    try_header(&t, &policy, "Bearer abc");
    assert_denied(&t, 401, "jwt_invalid", "Invalid token provided", INVALID_TOKEN);
    try_claims(&t, &policy, fx.k3, GOOD_CLAIMS);
    assert_denied(&t, 401, "jwt_invalid", "invalid signature", INVALID_TOKEN);
    try_claims(&t, &policy, fx.k1, GOOD_CLAIMS);
    assert_int_equal(t.ex.sub_hash, str_hash(STR("auth0|1")));
    assert_allowed(&t);
}

/* What a token says may be repeated in the body, escaped; never in a header. */
static void repeats_nothing_in_headers(void **state)
{
    (void)state;
    struct policy policy = token_policy();
    struct try t;
    try_claims(&t, &policy, fx.k1, "{\"iss\":\"a\\\"\\r\\nX-Evil: 1\"}");
    assert_string_equal(header_of(&t, "WWW-Authenticate"), INVALID_TOKEN);
    assert_null(memchr(t.ex.res.body.ptr, '\n', t.ex.res.body.len));
    assert_denied(&t, 401, "jwt_invalid", "Invalid issuer (iss) provided, got 'a\"\r\nX-Evil: 1'",
                  INVALID_TOKEN);
}

static void picks_none_of_two_headers(void **state)
{
    (void)state;
    struct policy policy = token_policy();
    char *token = auth_token(fx.k1, ALG_RS256, GOOD_HEADER, GOOD_CLAIMS);
    char header[2048];
    snprintf(header, sizeof(header), "Bearer %s", token);
    struct try t;
    begin(&t);
    add_header(&t, header);
    add_header(&t, header);
    check(&t, &policy);
    assert_denied(&t, 401, "invalid_header", "Unsupported format for the Authorization header",
                  REALM);
    begin(&t);
    add_header(&t, header);
    check(&t, &policy);
    assert_allowed(&t);
    begin(&t); /* a token in the query is not looked at */
    t.ex.req.query = arena_printf(&t.ex.arena, "access_token=%s", token);
    check(&t, &policy);
    assert_denied(&t, 401, "invalid_header", "The Authorization header is missing or empty", REALM);
    free(token);
}

static void judges_scopes(void **state)
{
    (void)state;
    static struct str scopes[] = {{"read:shows", 10}, {"write:shows", 11}};
    static const struct {
        unsigned count;
        bool any;
        const char *claims, *missing, *listed; /* NULL: allowed */
    } cases[] = {
        {1, false, CLAIMS_WITH(",\"scope\":\"a read:shows\""), NULL, NULL},
        {1, false, CLAIMS_WITH(",\"permissions\":[\"read:shows\"]"), NULL, NULL},
        {1, false, GOOD_CLAIMS, "read:shows", "read:shows"},
        {1, false, CLAIMS_WITH(",\"scope\":\"read:shows2\""), "read:shows", "read:shows"},
        {2, false, CLAIMS_WITH(",\"scope\":\"write:shows read:shows\""), NULL, NULL},
        {2, false, CLAIMS_WITH(",\"scope\":\"read:shows\""), "write:shows",
         "read:shows write:shows"},
        {2, false, GOOD_CLAIMS, "read:shows", "read:shows write:shows"},
        {2, true, CLAIMS_WITH(",\"scope\":\"write:shows\""), NULL, NULL},
        {2, true, CLAIMS_WITH(",\"scope\":\"x\""), "read:shows", "read:shows write:shows"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct policy policy = token_policy();
        policy.scopes = scopes;
        policy.scope_count = cases[i].count;
        policy.scope_any = cases[i].any;
        struct try t;
        try_claims(&t, &policy, fx.k1, cases[i].claims);
        if (cases[i].missing == NULL) {
            assert_allowed(&t);
            continue;
        }
        char text[128], challenge[128];
        snprintf(text, sizeof(text), "Token does not contain the required '%s' scope",
                 cases[i].missing);
        snprintf(challenge, sizeof(challenge), INSUFFICIENT ", scope=\"%s\"", cases[i].listed);
        assert_denied(&t, 403, "access_denied", text, challenge);
    }
}

static void judges_roles_and_claims(void **state)
{
    (void)state;
    struct policy policy = token_policy();
    struct try t;
    policy.role = STR("admin");
    try_claims(&t, &policy, fx.k1, CLAIMS_WITH(",\"roles\":[\"admin\"]"));
    assert_allowed(&t);
    try_claims(&t, &policy, fx.k1, CLAIMS_WITH(",\"roles\":[\"user\"]"));
    assert_denied(&t, 403, "access_denied", "User does not have the 'admin' role", INSUFFICIENT);
    policy.role = STR("");
    policy.claims = json_pack("{s:s,s:i}", "tier", "gold", "level", 3);
    try_claims(&t, &policy, fx.k1, CLAIMS_WITH(",\"tier\":\"gold\",\"level\":3"));
    assert_allowed(&t);
    try_claims(&t, &policy, fx.k1, CLAIMS_WITH(",\"tier\":[\"free\",\"gold\"],\"level\":[3]"));
    assert_allowed(&t);
    try_claims(&t, &policy, fx.k1, CLAIMS_WITH(",\"tier\":\"golden\",\"level\":3"));
    assert_denied(&t, 403, "access_denied", "Token does not contain the required 'tier' claim",
                  INSUFFICIENT);
    try_claims(&t, &policy, fx.k1, CLAIMS_WITH(",\"tier\":\"gold\",\"level\":\"3\""));
    assert_denied(&t, 403, "access_denied", "Token does not contain the required 'level' claim",
                  INSUFFICIENT);
    try_claims(&t, &policy, fx.k1, CLAIMS_WITH(",\"tier\":\"gold\""));
    assert_denied(&t, 403, "access_denied", "Token does not contain the required 'level' claim",
                  INSUFFICIENT);
    json_decref(policy.claims);
}

static void strips_the_namespace_first(void **state)
{
    (void)state;
    static struct str scope = {"read:shows", 10};
    struct policy policy = token_policy();
    struct try t;
    policy.namespace = STR("https://ns/");
    policy.role = STR("admin");
    try_claims(&t, &policy, fx.k1, CLAIMS_WITH(",\"https://ns/roles\":[\"admin\"]"));
    assert_allowed(&t);
    try_claims(&t, &policy, fx.k1, CLAIMS_WITH(",\"https://other/roles\":[\"admin\"]"));
    assert_denied(&t, 403, "access_denied", "User does not have the 'admin' role", INSUFFICIENT);
    policy.role = STR("");
    policy.scopes = &scope;
    policy.scope_count = 1;
    try_claims(&t, &policy, fx.k1, CLAIMS_WITH(",\"https://ns/scope\":\"read:shows\""));
    assert_allowed(&t);
    try_claims(&t, &policy, fx.k1,
               CLAIMS_WITH(",\"scope\":\"a\",\"https://ns/scope\":\"read:shows\""));
    assert_denied(&t, 403, "access_denied",
                  "Token does not contain the required 'read:shows' scope",
                  INSUFFICIENT ", scope=\"read:shows\"");
}

/* No token opens a webhook, and no head does: its body has to be judged. */
static void judges_the_body_of_webhooks(void **state)
{
    (void)state;
    static const char *const challenge = "Signature realm=\"luafn\"";
    struct webhook_secret secret = {.key = STR("a secret")};
    struct webhook webhook = *webhook_find(STR("slack"));
    struct policy policy = token_policy();
    policy.kind = POLICY_WEBHOOK;
    policy.webhook = &webhook;
    webhook.secrets = &secret;
    webhook.secret_count = 1;
    webhook.tolerance = 300;
    struct try t;
    try_claims(&t, &policy, fx.k1, GOOD_CLAIMS);
    assert_denied(&t, 401, "invalid_signature",
                  "The request is not signed as this function expects it", challenge);
    for (int wrong = 0; wrong <= 2; wrong++) {
        struct webhook_delivery delivery;
        begin(&t);
        t.ex.req.body = STR("a body");
        assert_int_equal(
            webhook_sign(&webhook, &t.ex.req, &t.ex.arena, wrong == 1 ? NOW - 301 : NOW, STR("id")),
            0);
        check(&t, &policy);
        assert_int_equal(t.result, POLICY_NEEDS_BODY);
        t.ex.req.body = wrong == 2 ? STR("A body") : t.ex.req.body;
        t.result = policy_check_body(&policy, &t.ex, NOW, &delivery);
        if (wrong == 0)
            assert_allowed(&t);
        else if (wrong == 1)
            assert_denied(&t, 401, "stale_signature",
                          "The signature's timestamp is not near the present time", challenge);
        else
            assert_denied(&t, 401, "invalid_signature",
                          "The request is not signed as this function expects it", challenge);
    }
}

static void leaves_open_functions_open(void **state)
{
    (void)state;
    static const enum policy_kind kinds[] = {POLICY_UNSET, POLICY_PUBLIC};
    for (size_t i = 0; i < 2; i++) {
        struct policy policy = token_policy();
        policy.kind = kinds[i];
        struct try t;
        try_header(&t, &policy, NULL);
        assert_allowed(&t);
        try_header(&t, &policy, "Basic abc");
        assert_allowed(&t);
        try_claims(&t, &policy, fx.k3, GOOD_CLAIMS);
        assert_null(t.verdict.claims);
        assert_allowed(&t);
        try_claims(&t, &policy, fx.k1, GOOD_CLAIMS);
        assert_non_null(t.verdict.claims);
        assert_allowed(&t);
        policy.verifiers = &fx.keyless; /* nothing is fetched for it */
        try_claims(&t, &policy, fx.k1, GOOD_CLAIMS);
        assert_null(t.verdict.claims);
        assert_allowed(&t);
        policy.verifier_count = 0;
        try_claims(&t, &policy, fx.k1, GOOD_CLAIMS);
        assert_allowed(&t);
    }
}

static void asks_for_keys(void **state)
{
    (void)state;
    struct policy policy = token_policy();
    struct try t;
    policy.verifiers = &fx.keyless;
    try_claims(&t, &policy, fx.k1, GOOD_CLAIMS);
    assert_int_equal(t.result, POLICY_NEEDS_KEY);
    assert_true(str_eq(t.verdict.kid, STR("k1")) && t.verdict.verifier == &fx.keyless);
    policy_keys_unavailable(&t.ex);
    assert_int_equal(t.ex.res.status, 503);
    assert_string_equal(t.ex.error_code, "keys_unavailable");
    assert_string_equal(header_of(&t, "Retry-After"), "5");
    assert_string_equal(header_of(&t, "WWW-Authenticate"), "");
    json_t *body = json_loadb(t.ex.res.body.ptr, t.ex.res.body.len, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(body, "error")), "keys_unavailable");
    assert_null(memmem(t.ex.res.body.ptr, t.ex.res.body.len, "http", 4));
    json_decref(body);
    end(&t);
}

static void challenges_with_scope_text_only(void **state)
{
    (void)state;
    static const struct {
        const char *error, *scope, *value;
    } cases[] = {
        {"", "", REALM},
        {"e", "", REALM ", error=\"e\""},
        {"e", "a b:c", REALM ", error=\"e\", scope=\"a b:c\""},
        {"e", "a\"b", REALM ", error=\"e\""},
        {"e", "a\\b", REALM ", error=\"e\""},
        {"e", "a\r\nb", REALM ", error=\"e\""},
        {"e", "\xc3\xab", REALM ", error=\"e\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct try t;
        begin(&t);
        assert_int_equal(policy_challenge(&t.ex.res, &t.ex.arena, "Bearer",
                                          str_from(cases[i].error), STR(""),
                                          str_from(cases[i].scope)),
                         0);
        assert_string_equal(header_of(&t, "WWW-Authenticate"), cases[i].value);
        end(&t);
    }
}

static void says_itself_in_one_line(void **state)
{
    (void)state;
    static struct str scopes[] = {{"a", 1}, {"b", 1}};
    json_t *claims = json_pack("{s:s,s:i}", "tier", "gold", "level", 3);
    const struct {
        struct policy policy;
        const char *text;
    } cases[] = {
        {{.kind = POLICY_UNSET}, "open"},
        {{.kind = POLICY_PUBLIC}, "public"},
        {{.kind = POLICY_WEBHOOK, .webhook = webhook_find(STR("github"))}, "webhook github"},
        {{.kind = POLICY_TOKEN}, "token"},
        {{.kind = POLICY_TOKEN, .scopes = scopes, .scope_count = 1}, "scope a"},
        {{.kind = POLICY_TOKEN, .scopes = scopes, .scope_count = 2}, "scope a b"},
        {{.kind = POLICY_TOKEN,
          .scopes = scopes,
          .scope_count = 2,
          .scope_any = true,
          .role = {"admin", 5}},
         "scope a|b, role admin"},
        {{.kind = POLICY_TOKEN, .claims = claims}, "claim tier, claim level"},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_true(str_eq(policy_text(&cases[i].policy, &arena), str_from(cases[i].text)));
    arena_free(&arena);
    json_decref(claims);
}

/* jansson's n-th allocation fails, and only that one (it may then go on with half a text), or all
 * after it. */
static long allocations_left = -1;
static bool for_good;

static void *failing_malloc(size_t size)
{
    if (for_good && allocations_left == 0)
        return NULL;
    if (allocations_left >= 0 && allocations_left-- == 0)
        return NULL;
    return malloc(size);
}

/* Without memory a request is refused: with the right answer or a 500, never let through for lack
 * of the claim that it would have been refused for. */
static void fails_closed_without_memory(void **state)
{
    (void)state;
    struct policy policy = token_policy();
    policy.namespace = STR("n/");
    policy.role = STR("administrators");
    static const char *const claims[] = {CLAIMS_WITH(",\"n/roles\":\"administrators-in-training\""),
                                         CLAIMS_WITH(",\"n/roles\":\"administrators\"")};
    for (size_t i = 0; i < 4; i++) {
        size_t good = i % 2;
        for_good = i >= 2;
        char *token = auth_token(fx.k1, ALG_RS256, GOOD_HEADER, claims[good]);
        char header[2048];
        snprintf(header, sizeof(header), "Bearer %s", token);
        unsigned allowed = 0, starved = 0;
        for (long n = 0; n < 80; n++) {
            struct try t;
            token_cache_clear();
            begin(&t);
            add_header(&t, header);
            allocations_left = n;
            t.result = policy_check(&policy, &t.ex, NOW, true, &t.verdict);
            allocations_left = -1;
            allowed += t.result == POLICY_ALLOW;
            starved += t.result == POLICY_DENY && t.ex.res.status == 500;
            assert_true(t.result == POLICY_ALLOW || t.ex.res.status == 500 ||
                        (!good && t.ex.res.status == 403));
            end(&t);
        }
        assert_true(starved > (for_good ? 20 : 5));
        assert_int_equal(allowed > 0, good);
        free(token);
    }
}

/* ---- a head that came before ---- */

/* A request whose header is `value`, with that note of its head. */
static void try_noted(struct try *t, const char *value, struct request_note *note, double now)
{
    struct policy policy = token_policy();
    begin(t);
    add_header(t, value);
    t->ex.req.note = note;
    t->result = policy_check(&policy, &t->ex, now, true, &t->verdict);
}

static char *header_for(struct key *key, const char *claims)
{
    char *token = auth_token(key, ALG_RS256, GOOD_HEADER, claims), *header = malloc(2048);
    snprintf(header, 2048, "Bearer %s", token);
    free(token);
    return header;
}

/* Its token is not read again, but judged. */
static void judges_what_it_knows(void **state)
{
    (void)state;
    char *header = header_for(fx.k1, GOOD_CLAIMS);
    struct request_note note = {.head = str_from(header)};
    struct try t;
    token_cache_setup(1024 * 1024);
    for (int i = 0; i < 3; i++) {
        try_noted(&t, header, &note, NOW);
        assert_int_equal(note.claims, t.verdict.claims->serial);
        assert_allowed(&t);
    }
    try_noted(&t, header, &note, NOW + 1e6);
    assert_string_equal(t.ex.error_code, "jwt_expired");
    end(&t);

    note.claims += 1000; /* nobody's: as if they had been driven out */
    try_noted(&t, header, &note, NOW);
    assert_int_equal(note.claims, t.verdict.claims->serial);
    assert_allowed(&t);

    struct keyset *old = keyset_ref(fx.source.keys), *other = auth_keyset(&fx.k3, 1, ALG_RS256);
    keyset_source_set(&fx.source, other);
    try_noted(&t, header, &note, NOW);
    assert_int_equal(t.result, POLICY_DENY);
    end(&t);
    keyset_source_set(&fx.source, old);
    keyset_unref(other);
    keyset_unref(old);
    free(header);
}

/* A header that is no part of the head, since it was made from a session, has a token of its own.
 */
static void reads_what_is_not_of_the_head(void **state)
{
    (void)state;
    char *header = header_for(fx.k1, GOOD_CLAIMS);
    char *own = header_for(fx.k1, CLAIMS_WITH(",\"mine\":true"));
    char *bad = header_for(fx.k3, CLAIMS_WITH(",\"mine\":true"));
    struct request_note note = {.head = str_from(header)};
    struct try t;
    token_cache_setup(1024 * 1024);
    try_noted(&t, header, &note, NOW);
    uint64_t serial = t.verdict.claims->serial;
    assert_allowed(&t);
    for (int i = 0; i < 2; i++) {
        try_noted(&t, own, &note, NOW);
        assert_non_null(json_object_get(t.verdict.claims->json, "mine"));
        assert_allowed(&t);
        assert_int_equal(note.claims, serial);
        try_noted(&t, bad, &note, NOW);
        assert_int_equal(t.result, POLICY_DENY);
        end(&t);
        try_noted(&t, "Basic eDp5", &note, NOW);
        assert_string_equal(t.ex.error_code, "invalid_header");
        end(&t);
    }
    free(bad);
    free(own);
    free(header);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_for_a_token),
        cmocka_unit_test(repeats_nothing_in_headers),
        cmocka_unit_test(picks_none_of_two_headers),
        cmocka_unit_test(judges_scopes),
        cmocka_unit_test(judges_roles_and_claims),
        cmocka_unit_test(strips_the_namespace_first),
        cmocka_unit_test(judges_the_body_of_webhooks),
        cmocka_unit_test(leaves_open_functions_open),
        cmocka_unit_test(asks_for_keys),
        cmocka_unit_test(challenges_with_scope_text_only),
        cmocka_unit_test(says_itself_in_one_line),
        cmocka_unit_test(fails_closed_without_memory),
        cmocka_unit_test(judges_what_it_knows),
        cmocka_unit_test(reads_what_is_not_of_the_head),
    };
    json_set_alloc_funcs(failing_malloc, free);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
