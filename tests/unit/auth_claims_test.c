/* What a verified token permits: scopes, roles, namespaces; and how long claims live. */
#include "auth_fixture.h"

#include <math.h>

static json_t *parse(const char *text)
{
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(json);
    return json;
}

static void finds_whole_scopes(void **state)
{
    (void)state;
    static const struct {
        const char *claims;
        bool has; /* "read:shows" */
    } cases[] = {
        {"{\"scope\":\"read:shows\"}", true},
        {"{\"scope\":\"openid profile read:shows\"}", true},
        {"{\"scope\":\"read:shows openid\"}", true},
        {"{\"scope\":\"openid  read:shows \"}", true},
        {"{\"scope\":\" read:shows\"}", true},
        {"{\"scope\":[\"read:shows\"]}", true},
        {"{\"scope\":[5,null,{},\"read:shows\"]}", true},
        {"{\"scp\":\"a read:shows\"}", true},
        {"{\"scp\":[\"a\",\"read:shows\"]}", true},
        {"{\"permissions\":[\"read:shows\"]}", true},
        {"{\"scope\":\"a\",\"permissions\":[\"read:shows\"]}", true},
        {"{}", false},
        {"{\"scope\":null}", false},
        {"{\"scope\":\"\"}", false},
        {"{\"scope\":5}", false},
        {"{\"scope\":{}}", false},
        {"{\"scope\":{\"read:shows\":true}}", false},
        {"{\"scope\":\"read:shows2\"}", false},
        {"{\"scope\":\"xread:shows\"}", false},
        {"{\"scope\":\"read:shows-all\"}", false},
        {"{\"scope\":\"READ:SHOWS\"}", false},
        {"{\"scope\":\"openid\\tread:shows\"}", false},
        {"{\"scope\":\"openid\\nread:shows\"}", false},
        {"{\"scope\":\"openid,read:shows\"}", false},
        {"{\"scope\":[\"openid read:shows\"]}", false},
        {"{\"scope\":[[\"read:shows\"]]}", false},
        {"{\"scopes\":\"read:shows\"}", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *claims = parse(cases[i].claims);
        if (claims_have_scope(claims, STR("read:shows")) != cases[i].has)
            fail_msg("%s", cases[i].claims);
        json_decref(claims);
    }
}

/* A member as it stands comes first; then the name is a path. */
static void finds_what_a_path_leads_to(void **state)
{
    static const char claims_text[] =
        "{\"a\":{\"b\":{\"c\":1,\"d.e\":2},\"x\":[{\"y\":9}],\"n\":null,\"t\":\"u\"},"
        "\"a.b\":{\"c\":3,\"f\":{\"g\":4}},\"top.level\":5,\"\":{\"\":6,\"z\":7},"
        "\"https://app.example/roles\":8}";
    static const struct {
        const char *path;
        const char *value; /* NULL: nothing there */
    } cases[] = {
        {"top.level", "5"},
        {"a.b", "{\"c\":3,\"f\":{\"g\":4}}"},
        {"a.b.c", "1"},   /* the shorter name first ... */
        {"a.b.f.g", "4"}, /* ... and the longer one where that leads nowhere */
        {"a.b.d.e", "2"},
        {"a.n", "null"},
        {"https://app.example/roles", "8"},
        {".", "6"},
        {".z", "7"},
        {"", "{\"\":6,\"z\":7}"},
        {"a.x.y", NULL},
        {"a.x.0.y", NULL},
        {"a.t.u", NULL},
        {"a.n.x", NULL},
        {"a.", NULL},
        {"a..b", NULL},
        {"a.b.c.", NULL},
        {"b", NULL},
        {"A.B.C", NULL},
        {"top", NULL},
    };
    json_t *claims = parse(claims_text);
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const json_t *found = claims_at(claims, str_from(cases[i].path));
        json_t *right = cases[i].value != NULL ? parse(cases[i].value) : NULL;
        if ((found != NULL) != (right != NULL) || (found != NULL && !json_equal(found, right)))
            fail_msg("%s", cases[i].path);
        json_decref(right);
    }
    json_decref(claims);
}

static void finds_roles_where_they_are(void **state)
{
    json_t *claims = parse("{\"roles\":[\"plain\"],\"realm_access\":{\"roles\":[\"admin\",\"x\"]},"
                           "\"resource_access\":{\"my.app\":{\"roles\":\"one two\"}}}");
    static const struct {
        const char *path, *role;
        bool has;
    } cases[] = {
        {"", "plain", true},
        {"", "admin", false},
        {"realm_access.roles", "admin", true},
        {"realm_access.roles", "plain", false}, /* there, and nowhere else */
        {"realm_access.roles", "", false},
        {"realm_access", "roles", false},
        {"resource_access.my.app.roles", "two", true},
        {"nowhere.roles", "admin", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (claims_have_role(claims, str_from(cases[i].path), str_from(cases[i].role)) !=
            cases[i].has)
            fail_msg("%s %s", cases[i].path, cases[i].role);
    }
    json_decref(claims);
}

static void finds_no_empty_word(void **state)
{
    (void)state;
    json_t *claims = parse("{\"scope\":\" a  b \",\"roles\":[\"\"]}");
    assert_false(claims_have_scope(claims, STR("")));
    assert_false(claims_have_role(claims, STR(""), STR("")));
    assert_true(claims_have_scope(claims, STR("b")));
    json_decref(claims);
}

static void finds_roles(void **state)
{
    (void)state;
    static const struct {
        const char *claims;
        bool has; /* "admin" */
    } cases[] = {
        {"{\"roles\":\"admin\"}", true},
        {"{\"roles\":\"user admin\"}", true},
        {"{\"roles\":[\"user\",\"admin\"]}", true},
        {"{\"roles\":\"administrator\"}", false},
        {"{\"roles\":{\"admin\":1}}", false},
        {"{\"role\":\"admin\"}", false},
        {"{\"scope\":\"admin\"}", false},
        {"{}", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *claims = parse(cases[i].claims);
        if (claims_have_role(claims, STR(""), STR("admin")) != cases[i].has)
            fail_msg("%s", cases[i].claims);
        json_decref(claims);
    }
}

static void strips_namespaces(void **state)
{
    (void)state;
    static const struct {
        const char *ns, *claims, *plain;
    } cases[] = {
        {"http://ns/", "{\"http://ns/roles\":1,\"sub\":\"x\"}", "{\"roles\":1,\"sub\":\"x\"}"},
        {"a", "{\"aab\":1}", "{\"ab\":1}"},
        {"/x/", "{\"p/x/q\":1}", "{\"pq\":1}"},
        {"", "{\"a\":1}", "{\"a\":1}"},
        {"a", "{\"a\":1}", "{\"\":1}"},
        {"n/", "{\"x\":{\"n/y\":1}}", "{\"x\":{\"n/y\":1}}"},
        {"n/", "{\"roles\":1,\"n/roles\":2}", "{\"roles\":2}"},
        {"n/", "{\"n/roles\":2,\"roles\":1}", "{\"roles\":1}"},
        {"n/", "{}", "{}"},
        /* What the token says of itself is never replaced, whatever the order. */
        {"n/", "{\"sub\":\"a\",\"n/sub\":\"b\"}", "{\"sub\":\"a\"}"},
        {"n/", "{\"n/sub\":\"b\",\"sub\":\"a\"}", "{\"sub\":\"a\"}"},
        {"n/", "{\"exp\":1,\"n/exp\":2}", "{\"exp\":1}"},
        {"n/", "{\"scope\":\"a\",\"n/scope\":\"b\"}", "{\"scope\":\"a\"}"},
        {"n/", "{\"aud\":\"a\",\"sn/ub\":\"b\",\"sub\":\"c\"}", "{\"aud\":\"a\",\"sub\":\"c\"}"},
        {"n/", "{\"n/scope\":\"b\"}", "{\"scope\":\"b\"}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *claims = parse(cases[i].claims), *before = json_deep_copy(claims);
        json_t *wanted = parse(cases[i].plain);
        json_t *plain = claims_without_namespace(str_from(cases[i].ns), claims);
        if (!json_equal(plain, wanted))
            fail_msg("%s without '%s'", cases[i].claims, cases[i].ns);
        assert_true(json_equal(claims, before));
        json_decref(plain);
        json_decref(wanted);
        json_decref(before);
        json_decref(claims);
    }
}

static void keeps_the_stripped_copy(void **state)
{
    (void)state;
    struct claims *claims = claims_new(parse("{\"n/roles\":[\"a\"],\"m/roles\":[\"b\"]}"), STR(""),
                                       ALG_RS256, CLAIMS_ANY);
    json_t *whole = claims_plain(claims, STR(""));
    json_t *first = claims_plain(claims, STR("n/"));
    json_t *second = claims_plain(claims, STR("n/"));
    json_t *other = claims_plain(claims, STR("m/"));
    assert_ptr_equal(whole, claims->json);
    assert_ptr_equal(first, second);
    assert_ptr_not_equal(first, other);
    assert_true(claims_have_role(first, STR(""), STR("a")) &&
                !claims_have_role(first, STR(""), STR("b")));
    assert_true(claims_have_role(other, STR(""), STR("b")) &&
                !claims_have_role(other, STR(""), STR("a")));
    claims_unref(claims);
    assert_true(claims_have_role(first, STR(""), STR("a"))); /* it is a reference of its own */
    json_decref(whole);
    json_decref(first);
    json_decref(second);
    json_decref(other);
}

static void reads_registered_claims(void **state)
{
    (void)state;
    struct claims *claims = claims_new(parse("{\"iss\":\"i\",\"sub\":\"s\",\"exp\":5,\"nbf\":1.5}"),
                                       STR(""), ALG_ES256, true);
    assert_true(str_eq(claims->issuer, STR("i")) && str_eq(claims->subject, STR("s")));
    assert_true(claims->expires == 5 && claims->not_before == 1.5);
    assert_true(claims->subject_hash != 0 && claims->alg == ALG_ES256 &&
                claims->type == CLAIMS_AT_JWT);
    assert_ptr_equal(claims_ref(claims), claims);
    claims_unref(claims);
    assert_true(str_eq(claims->issuer, STR("i")));
    claims_unref(claims);
    claims = claims_new(parse("{\"iss\":[\"i\"],\"sub\":5,\"exp\":\"5\",\"nbf\":null}"), STR(""),
                        ALG_RS256, CLAIMS_ANY);
    assert_null(claims->issuer.ptr);
    assert_true(claims->subject.len == 0 && claims->subject_hash == 0);
    assert_true(isnan(claims->expires) && isnan(claims->not_before));
    claims_unref(claims);
    claims_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_whole_scopes),
        cmocka_unit_test(finds_no_empty_word),
        cmocka_unit_test(finds_roles_where_they_are),
        cmocka_unit_test(finds_what_a_path_leads_to),
        cmocka_unit_test(finds_roles),
        cmocka_unit_test(strips_namespaces),
        cmocka_unit_test(keeps_the_stripped_copy),
        cmocka_unit_test(reads_registered_claims),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
