/* Tokens that were revoked: by which claims and times, for cached ones too, and what is no access
 * token. */
#include "auth_fixture.h"

#include <stdio.h>

#include "base/limits.h"
#include "shared/revocations.h"

static struct {
    struct key *key;
    struct keyset *set;
    struct key_source source;
    struct arena arena;
} fx;

static int set_up(void **state)
{
    (void)state;
    fx.key = auth_rsa(RSA_A, "k1");
    fx.set = auth_keyset((struct key *[]){fx.key}, 1, ALG_RS256);
    keyset_source_init(&fx.source);
    keyset_source_set(&fx.source, fx.set);
    arena_init(&fx.arena);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    token_cache_clear();
    arena_free(&fx.arena);
    keyset_source_clear(&fx.source);
    keyset_unref(fx.set);
    key_unref(fx.key);
    return 0;
}

static void revoke(enum revocation_kind kind, const char *issuer, const char *id, uint32_t before)
{
    struct revocation r = revocations_make(kind, str_from(issuer), str_from(id), before, NOW);
    assert_int_equal(revocations_add(&r, NOW), 0);
}

/* The text of the refusal; NULL: let in. */
static const char *judge_with(enum profile profile, const char *header, const char *claims,
                              double now)
{
    static char text[256];
    struct verdict verdict;
    struct verifier verifier = auth_verifier(&fx.source);
    verifier.profile = profile;
    verifier.require_exp = strstr(claims, "\"exp\"") != NULL;
    char *token = auth_token(fx.key, ALG_RS256, header, claims);
    verify_token(&verifier, 1, str_from(token), now, true, &fx.arena, &verdict);
    free(token);
    if (verdict.status == VERIFY_OK) {
        claims_unref(verdict.claims);
        return NULL;
    }
    snprintf(text, sizeof(text), "%s: %.*s", verdict.code, STR_ARG(verdict.text));
    return text;
}

static const char *judge(const char *claims)
{
    return judge_with(PROFILE_ANY, GOOD_HEADER, claims, NOW);
}

#define REVOKED_TEXT "jwt_invalid: The provided token was revoked"

static void assert_cases(const char *const revoked[], const char *const good[])
{
    for (unsigned i = 0; revoked[i] != NULL; i++) {
        assert_string_equal(judge(revoked[i]), REVOKED_TEXT);
        assert_string_equal(judge(revoked[i]), REVOKED_TEXT); /* cached by now */
    }
    for (unsigned i = 0; good[i] != NULL; i++) {
        assert_null(judge(good[i]));
        assert_null(judge(good[i]));
    }
}

static void judges_each_name(void **state)
{
    (void)state;
    static const char *const revoked[] = {CLAIMS_WITH(",\"jti\":\"j1\""),
                                          CLAIMS_WITH(",\"sid\":\"s1\""),
                                          CLAIMS_WITH(",\"sid\":\"any\""), NULL};
    static const char *const good[] = {CLAIMS_WITH(",\"jti\":\"s1\",\"sid\":\"j1\""),
                                       CLAIMS_WITH(",\"jti\":\"other\""),
                                       CLAIMS_WITH(",\"jti\":1,\"sid\":[\"s1\"]"), NULL};
    for (unsigned i = 0; revoked[i] != NULL; i++)
        assert_null(judge(revoked[i]));
    revoke(REVOCATION_JTI, ISSUER, "j1", REVOCATION_ALWAYS);
    revoke(REVOCATION_SID, ISSUER, "s1", REVOCATION_ALWAYS);
    revoke(REVOCATION_SID, "", "any", REVOCATION_ALWAYS);
    revoke(REVOCATION_JTI, "http://other/", "other", REVOCATION_ALWAYS);
    assert_cases(revoked, good);
}

#define OF_USER(members)                                                                           \
    "{\"iss\":\"" ISSUER "\",\"aud\":\"" AUDIENCE "\",\"sub\":\"u\",\"exp\":1700003600" members "}"

/* NOW is 1700000000; what is revoked is of 1699999000 and before. */
static void judges_by_sign_in(void **state)
{
    (void)state;
    static const char *const revoked[] = {OF_USER(",\"iat\":1699999000"),
                                          OF_USER(",\"iat\":1699999000.9"),
                                          OF_USER(",\"iat\":1699998000"),
                                          OF_USER(""),
                                          OF_USER(",\"iat\":1699999900,\"auth_time\":1699999000"),
                                          NULL};
    static const char *const good[] = {OF_USER(",\"iat\":1699999001"),
                                       OF_USER(",\"iat\":1699999900,\"auth_time\":1699999001"),
                                       OF_USER(",\"iat\":1699999900,\"auth_time\":\"1\""), NULL};
    revoke(REVOCATION_SUB, ISSUER, "u", 1699999000);
    assert_cases(revoked, good);
}

static void refuses_what_outlives_a_revocation(void **state)
{
    (void)state;
    const char *too_old = "jwt_invalid: The provided token is older than revocations are kept";
    assert_true(1697408000 + LIMIT_REVOCATION_LIFE == NOW);
    revoke(REVOCATION_JTI, ISSUER, "another", REVOCATION_ALWAYS);
    assert_null(judge("{\"iss\":\"" ISSUER "\",\"aud\":\"" AUDIENCE "\",\"exp\":1702592000}"));
    assert_string_equal(
        judge("{\"iss\":\"" ISSUER "\",\"aud\":\"" AUDIENCE "\",\"exp\":1702592001}"), too_old);
    assert_string_equal(judge("{\"iss\":\"" ISSUER "\",\"aud\":\"" AUDIENCE "\"}"), too_old);
    const char *month = "{\"iss\":\"" ISSUER "\",\"aud\":\"" AUDIENCE
                        "\",\"sub\":\"m\",\"iat\":1697408000,\"exp\":1700003600}";
    assert_null(judge(month));
    assert_string_equal(judge_with(PROFILE_ANY, GOOD_HEADER, month, NOW + 1), too_old);
}

static void knows_when_it_knows_nothing(void **state)
{
    (void)state;
    revocations_expect(true);
    assert_string_equal(judge(GOOD_CLAIMS), "revocations_unavailable: It is not known yet which "
                                            "tokens were revoked");
    revocations_expect(false);
    assert_null(judge(GOOD_CLAIMS));
}

#define HEADER_OF(typ) "{\"alg\":\"RS256\",\"typ\":\"" typ "\",\"kid\":\"k1\"}"
#define LOGOUT_EVENT   ",\"events\":{\"" CLAIMS_LOGOUT_EVENT "\":{}}"

static void takes_no_event_for_an_access_token(void **state)
{
    (void)state;
    const char *refused = "jwt_invalid: The provided token is an event, not an access token";
    static const char *const types[] = {
        HEADER_OF("logout+jwt"), HEADER_OF("Application/LOGOUT+jwt"), HEADER_OF("secevent+jwt")};
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned again = 0; again < 2; again++)
            assert_string_equal(judge_with(PROFILE_ANY, types[i], GOOD_CLAIMS, NOW), refused);
    }
    assert_string_equal(judge(CLAIMS_WITH(LOGOUT_EVENT)), refused);
    assert_null(judge(CLAIMS_WITH(",\"events\":{\"other\":{}}")));
    assert_null(judge_with(PROFILE_LOGOUT_TOKEN, types[0], GOOD_CLAIMS, NOW));
    assert_null(judge_with(PROFILE_EVENT, types[2], GOOD_CLAIMS, NOW));
    assert_string_equal(judge_with(PROFILE_EVENT, types[0], GOOD_CLAIMS, NOW), refused);
    /* An event does not end, and is none of what was revoked. */
    revoke(REVOCATION_SUB, ISSUER, "auth0|1", (uint32_t)NOW);
    assert_null(judge_with(PROFILE_EVENT, types[2], GOOD_CLAIMS, NOW + 1e6));
    assert_null(judge_with(PROFILE_LOGOUT_TOKEN, types[0], GOOD_CLAIMS, NOW));
    assert_non_null(judge_with(PROFILE_LOGOUT_TOKEN, types[0], GOOD_CLAIMS, NOW + 1e6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_each_name),
        cmocka_unit_test(judges_by_sign_in),
        cmocka_unit_test(refuses_what_outlives_a_revocation),
        cmocka_unit_test(knows_when_it_knows_nothing),
        cmocka_unit_test(takes_no_event_for_an_access_token),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
