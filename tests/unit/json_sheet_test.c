/* Claims as text with places: what is written, what is found, what loses a namespace. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "json/sheet.h"
#include "auth/verify.h"

static json_t *parse(const char *text)
{
    json_t *json = json_loads(text, JSON_ALLOW_NUL, NULL);
    if (json == NULL)
        fail_msg("%s", text);
    return json;
}

/* Index of the member, or -1. */
static int find(const struct sheet *sheet, struct str name)
{
    for (unsigned i = 0; i < sheet->count; i++) {
        if (str_eq(sheet_name(sheet, i), name))
            return (int)i;
    }
    return -1;
}

static struct sheet *sheet_from(const char *text)
{
    json_t *json = parse(text);
    struct sheet *sheet = sheet_new(json, json, STR(""));
    json_decref(json);
    return sheet;
}

static void writes_the_object(void **state)
{
    (void)state;
    static const struct {
        const char *claims, *text; /* NULL: the same */
    } cases[] = {
        {"{}", NULL},
        {"{\"sub\":\"x\"}", NULL},
        {"{ \"b\" : 1,\n \"a\" : [ ] , \"c\": { } }", "{\"b\":1,\"a\":[],\"c\":{}}"},
        {"{\"a\":[1,[true,false,null],{\"b\":\"c\",\"d\":-5}]}", NULL},
        {"{\"n\":9223372036854775807,\"m\":-9223372036854775808}", NULL},
        {"{\"f\":0.1,\"g\":1.0,\"h\":1e300,\"i\":-0.0,\"j\":1700000000.5}",
         "{\"f\":0.1,\"g\":1,\"h\":1e+300,\"i\":-0,\"j\":1700000000.5}"},
        {"{\"s\":\"a\\\"b\\\\c\\/d\\n\\u0000\\u00e9\"}",
         "{\"s\":\"a\\\"b\\\\c/d\\n\\u0000\xc3\xa9\"}"},
        {"{\"\":1}", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sheet *sheet = sheet_from(cases[i].claims);
        assert_non_null(sheet);
        struct str wanted = str_from(cases[i].text != NULL ? cases[i].text : cases[i].claims);
        if (!str_eq(sheet_text(sheet), wanted))
            fail_msg("%.*s, not %s", STR_ARG(sheet_text(sheet)), wanted.ptr);
        assert_int_equal(sheet->bytes, sizeof(struct sheet) +
                                           sheet->count * sizeof(struct sheet_member) +
                                           sheet->text_len);
        free(sheet);
    }
}

static void finds_members(void **state)
{
    (void)state;
    struct sheet *sheet = sheet_from("{\"iss\":\"i\",\"roles\":[\"a\"],\"iat\":5,\"\":null}");
    assert_int_equal(sheet->count, 4);
    assert_true(str_eq(sheet_name(sheet, 1), STR("roles")));
    assert_true(str_eq(sheet_value(sheet, 0), STR("\"i\"")));
    assert_true(str_eq(sheet_value(sheet, 1), STR("[\"a\"]")));
    assert_true(str_eq(sheet_value(sheet, 3), STR("null")));
    assert_int_equal(find(sheet, STR("iat")), 2);
    assert_int_equal(find(sheet, STR("")), 3);
    assert_int_equal(find(sheet, STR("ia")), -1);
    assert_int_equal(find(sheet, STR("iats")), -1);
    free(sheet);
}

static void refuses_what_it_cannot_hold(void **state)
{
    (void)state;
    assert_null(sheet_from("{\"a\\\"b\":1}"));
    assert_null(sheet_from("{\"a\\tb\":1}"));
    json_t *wide = json_object();
    char name[8];
    for (int i = 0; i <= SHEET_MEMBERS; i++) {
        struct sheet *sheet = sheet_new(wide, wide, STR(""));
        assert_non_null(sheet);
        assert_int_equal(sheet->count, i);
        free(sheet);
        snprintf(name, sizeof(name), "m%d", i);
        json_object_set_new(wide, name, json_integer(i));
    }
    assert_null(sheet_new(wide, wide, STR("")));
    json_decref(wide);
}

/* The text of a stripped sheet says where its members are. */
static void check_places(const struct sheet *sheet)
{
    struct str text = sheet_text(sheet);
    json_t *json = json_loadb(text.ptr, text.len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    assert_int_equal(json_object_size(json), sheet->count);
    for (unsigned i = 0; i < sheet->count; i++) {
        struct str name = sheet_name(sheet, i), value = sheet_value(sheet, i);
        json_t *read = json_loadb(value.ptr, value.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_true(json_equal(read, json_object_getn(json, name.ptr, name.len)));
        assert_int_equal(find(sheet, name), i);
        json_decref(read);
    }
    json_decref(json);
}

static void strips_namespaces(void **state)
{
    (void)state;
    static const struct {
        const char *ns, *claims, *text;
        bool has;
    } cases[] = {
        {"http://ns/", "{\"http://ns/roles\":[1],\"sub\":\"x\"}", "{\"sub\":\"x\",\"roles\":[1]}",
         true},
        {"a", "{\"aab\":1}", "{\"ab\":1}", true},
        {"/x/", "{\"p/x/q\":1}", "{\"pq\":1}", true},
        {"a", "{\"a\":1}", "{\"\":1}", true},
        {"n/", "{\"x\":{\"n/y\":1}}", "{\"x\":{\"n/y\":1}}", false},
        {"n/", "{\"roles\":1,\"n/roles\":2}", "{\"roles\":1}", true},
        {"n/", "{\"n/roles\":2,\"roles\":1}", "{\"roles\":1}", true},
        {"n/", "{\"n/a\":2,\"an/\":3,\"b\":4,\"n/c\":5}", "{\"b\":4,\"a\":2,\"c\":5}", true},
        {"n/", "{}", "{}", false},
        {"", "{\"a\":1}", "{\"a\":1}", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sheet *sheet = sheet_from(cases[i].claims);
        const struct sheet *out =
            sheet_map(sheet, &(struct sheet_map){.namespace = str_from(cases[i].ns)});
        assert_non_null(out);
        if (!str_eq(sheet_text(out), str_from(cases[i].text)))
            fail_msg("%s without '%s': %.*s", cases[i].claims, cases[i].ns,
                     STR_ARG(sheet_text(out)));
        assert_int_equal(out != sheet, cases[i].has);
        assert_true(out == sheet || out->serial != sheet->serial);
        check_places(out);
        free(sheet);
    }
}

/* Bytes of a name that are no whole characters: the rest would be no text. */
static void leaves_no_half_characters(void **state)
{
    (void)state;
    struct sheet *sheet = sheet_from("{\"\\u00e9\":1,\"b\":2}");
    assert_null(sheet_map(sheet, &(struct sheet_map){.namespace = STR("\xc3")}));
    assert_ptr_equal(sheet_map(sheet, &(struct sheet_map){.namespace = STR("\xc4")}), sheet);
    const struct sheet *out = sheet_map(sheet, &(struct sheet_map){.namespace = STR("\xc3\xa9")});
    assert_true(str_eq(sheet_text(out), STR("{\"b\":2,\"\":1}")));
    free(sheet);
}

static void makes_lists(void **state)
{
    (void)state;
    static const struct str lists[] = {{"scope", 5}, {"roles", 5}};
    static const struct {
        const char *claims, *text;
    } cases[] = {
        {"{}", "{\"scope\":[],\"roles\":[]}"},
        {"{\"scope\":\"a b\",\"roles\":[\"c d\"],\"e\":\"f g\"}",
         "{\"scope\":[\"a\",\"b\"],\"roles\":[\"c d\"],\"e\":\"f g\"}"},
        {"{\"roles\":\"\",\"scope\":null}", "{\"roles\":[\"\"],\"scope\":[]}"},
        {"{\"roles\":\" a  b\",\"scope\":[]}", "{\"roles\":[\"\",\"a\",\"\",\"b\"],\"scope\":[]}"},
        {"{\"roles\":{\"a\":1},\"scope\":false}", "{\"roles\":[{\"a\":1}],\"scope\":[false]}"},
        {"{\"roles\":\"\\\" \\\\ \\n\",\"scope\":-1.5}",
         "{\"roles\":[\"\\\"\",\"\\\\\",\"\\n\"],\"scope\":[-1.5]}"},
        {"{\"n/roles\":\"a b\",\"scope\":\"c\"}", "{\"scope\":[\"c\"],\"roles\":[\"a\",\"b\"]}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sheet *sheet = sheet_from(cases[i].claims);
        const struct sheet *out = sheet_map(
            sheet, &(struct sheet_map){.namespace = STR("n/"), .lists = lists, .list_count = 2});
        assert_non_null(out);
        if (!str_eq(sheet_text(out), str_from(cases[i].text)))
            fail_msg("%s: %.*s", cases[i].claims, STR_ARG(sheet_text(out)));
        check_places(out);
        free(sheet);
    }
    assert_true(sheet_may_name(STR("https://a/b")) && sheet_may_name(STR("")));
    assert_false(sheet_may_name(STR("a\"b")) || sheet_may_name(STR("\xff")));
}

/* A list that is not there makes one member more. */
static void maps_no_more_than_it_can_hold(void **state)
{
    (void)state;
    static const struct str lists[] = {{"m0", 2}, {"new", 3}};
    json_t *wide = json_object();
    char name[8];
    for (int i = 0; i < SHEET_MEMBERS; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        json_object_set_new(wide, name, json_integer(i));
    }
    struct sheet *sheet = sheet_new(wide, wide, STR(""));
    const struct sheet *out =
        sheet_map(sheet, &(struct sheet_map){.lists = lists, .list_count = 1});
    assert_non_null(out);
    assert_true(str_eq(sheet_value(out, 0), STR("[0]")));
    check_places(out);
    assert_null(sheet_map(sheet, &(struct sheet_map){.lists = lists, .list_count = 2}));
    free(sheet);
    json_decref(wide);
}

static void is_kept_with_the_claims(void **state)
{
    (void)state;
    struct claims *claims =
        claims_new(parse("{\"n/roles\":1,\"m/roles\":2}"), STR(""), ALG_RS256, CLAIMS_ANY);
    const struct sheet *whole = claims_sheet(claims, STR(""));
    const struct sheet *plain = claims_sheet(claims, STR("n/"));
    assert_true(str_eq(sheet_text(whole), STR("{\"n/roles\":1,\"m/roles\":2}")));
    assert_true(str_eq(sheet_text(plain), STR("{\"roles\":1,\"m/roles\":2}")));
    assert_ptr_equal(whole, claims_sheet(claims, STR("")));
    assert_ptr_equal(plain, claims_sheet(claims, STR("n/")));
    uint64_t serial = plain->serial;
    const struct sheet *other = claims_sheet(claims, STR("m/"));
    assert_true(str_eq(sheet_text(other), STR("{\"n/roles\":1,\"roles\":2}")));
    assert_true(other->serial != serial && other->serial != whole->serial);
    claims_unref(claims);
    claims = claims_new(parse("{\"a\\nb\":1}"), STR(""), ALG_RS256, CLAIMS_ANY);
    assert_null(claims_sheet(claims, STR("")));
    assert_null(claims_sheet(claims, STR("")));
    claims_unref(claims);
}

/* Numbers and what is nested stay as the token has them; white space goes, and so do needless
 * escapes of a text, whose words can be told then. */
static void spells_as_the_token_does(void **state)
{
    (void)state;
    static const struct {
        const char *claims, *whole, *plain;
    } cases[] = {
        {"{ \"v\" : 1.10,\n\"n/x\":[1.50, \"\\u0041 b\"], \"e\":1E2, \"t\":true}",
         "{\"v\":1.10,\"n/x\":[1.50,\"\\u0041 b\"],\"e\":1E2,\"t\":true}",
         "{\"v\":1.10,\"x\":[1.50,\"\\u0041 b\"],\"e\":1E2,\"t\":true}"},
        {"{\"scope\":\"a\\u0020b\",\"n/f\":2.0}", "{\"scope\":\"a b\",\"n/f\":2.0}",
         "{\"scope\":\"a b\",\"f\":2.0}"},
        {"{\"\\u0061\":1.0}", "{\"a\":1}", "{\"a\":1}"},
        {"{}", "{}", "{}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct claims *claims =
            claims_new(parse(cases[i].claims), str_from(cases[i].claims), ALG_RS256, CLAIMS_ANY);
        const struct sheet *whole = claims_sheet(claims, STR(""));
        const struct sheet *plain = claims_sheet(claims, STR("n/"));
        if (!str_eq(sheet_text(whole), str_from(cases[i].whole)))
            fail_msg("%.*s, not %s", STR_ARG(sheet_text(whole)), cases[i].whole);
        if (!str_eq(sheet_text(plain), str_from(cases[i].plain)))
            fail_msg("%.*s, not %s", STR_ARG(sheet_text(plain)), cases[i].plain);
        check_places(whole);
        check_places(plain);
        claims_unref(claims);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_object),
        cmocka_unit_test(finds_members),
        cmocka_unit_test(refuses_what_it_cannot_hold),
        cmocka_unit_test(strips_namespaces),
        cmocka_unit_test(leaves_no_half_characters),
        cmocka_unit_test(makes_lists),
        cmocka_unit_test(maps_no_more_than_it_can_hold),
        cmocka_unit_test(is_kept_with_the_claims),
        cmocka_unit_test(spells_as_the_token_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
