/* Whose word counts about who is behind a proxy, and what is made of it. */
#include "unit.h"

#include "base/limits.h"
#include "http/forwarded.h"

#define MOST 4

static struct network parse(const char *text)
{
    struct network network;
    assert_true(forwarded_parse_network(str_from(text), &network));
    return network;
}

static void networks_are_whole(void **state)
{
    (void)state;
    static const char *const good[] = {"10.0.0.0/8", "127.0.0.1",     "0.0.0.0/0", "::/0",
                                       "::1",        "2001:db8::/32", "1.2.3.4/32"};
    static const char *const bad[] = {
        "",       "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/",  "10.0.0.0/08", "10.0.0",
        "::1/64", "::/129",     "example.com", "1.2.3.4:80", "[::1]",       "fe80::1%eth0"};
    struct network out;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(forwarded_parse_network(str_from(good[i]), &out));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(forwarded_parse_network(str_from(bad[i]), &out));
}

struct
try {
    const char *peer, *lines[MOST], *client; /* lines: of the header that is believed */
};

/* From 127.0.0.1, 10/8 and fd00::/8. */
static void judge(const struct try *t, enum forwarded_by by, struct request *req,
                  struct arena *arena)
{
    struct network from[] = {parse("127.0.0.1"), parse("10.0.0.0/8"), parse("fd00::/8")};
    struct proxies proxies = {.from = from, .from_count = 3, .header = by};
    *req = (struct request){.client_ip = str_from(t->peer), .scheme = STR("http")};
    for (unsigned i = 0; i < MOST && t->lines[i] != NULL; i++)
        assert_int_equal(
            headers_add(&req->headers, arena,
                        by == FORWARDED_BY_X ? STR("x-forwarded-for") : STR("forwarded"),
                        str_from(t->lines[i])),
            0);
    assert_int_equal(forwarded_apply(&proxies, req, arena), 0);
}

static void check_all(const struct try *cases, size_t count, enum forwarded_by by)
{
    for (size_t i = 0; i < count; i++) {
        struct arena arena;
        struct request req;
        arena_init(&arena);
        judge(&cases[i], by, &req, &arena);
        if (!str_eq(req.client_ip, str_from(cases[i].client)))
            print_message("# case %zu, %s: %.*s\n", i, cases[i].lines[0], STR_ARG(req.client_ip));
        assert_true(str_eq(req.client_ip, str_from(cases[i].client)));
        arena_free(&arena);
    }
}

static void the_nearest_that_is_not_trusted_is_the_client(void **state)
{
    (void)state;
    static const struct try cases[] = {
        {"192.0.2.1", {"1.2.3.4"}, "192.0.2.1"}, /* who is not trusted says nothing */
        {"127.0.0.1", {NULL}, "127.0.0.1"},
        {"127.0.0.1", {"1.2.3.4"}, "1.2.3.4"},
        {"127.0.0.1", {"6.6.6.6, 1.2.3.4"}, "1.2.3.4"}, /* the client's own claim stands left */
        {"127.0.0.1", {"6.6.6.6", "1.2.3.4, 10.1.1.1"}, "1.2.3.4"},
        {"127.0.0.1", {"1.2.3.4,10.1.1.1 ,\t10.2.2.2"}, "1.2.3.4"},
        {"127.0.0.1", {"10.1.1.1, 10.2.2.2"}, "10.1.1.1"}, /* all are trusted: the farthest */
        {"127.0.0.1", {"1.2.3.4:80"}, "1.2.3.4"},
        {"127.0.0.1", {"[2001:DB8::1]"}, "2001:db8::1"},
        {"127.0.0.1", {"[2001:db8:0::1]:443"}, "2001:db8::1"},
        {"127.0.0.1", {"2001:db8::1"}, "2001:db8::1"},
        {"127.0.0.1", {"::ffff:1.2.3.4"}, "1.2.3.4"},
        {"127.0.0.1", {"1.2.3.4, ::ffff:10.0.0.9"}, "1.2.3.4"},
        {"fd00::1", {"1.2.3.4, fd12::9"}, "1.2.3.4"},
        {"127.0.0.1", {"1.2.3.4, unknown"}, "127.0.0.1"}, /* beyond it nothing is known */
        {"127.0.0.1", {"1.2.3.4, unknown, 10.1.1.1"}, "10.1.1.1"},
        {"127.0.0.1", {"1.2.3.4, "}, "127.0.0.1"},
        {"127.0.0.1", {""}, "127.0.0.1"},
        {"127.0.0.1", {"1.2.3.4:"}, "127.0.0.1"},
        {"127.0.0.1", {"1.2.3.4:x"}, "127.0.0.1"},
        {"127.0.0.1", {"[1.2.3.4]"}, "127.0.0.1"},
        {"127.0.0.1", {"[::1"}, "127.0.0.1"},
        {"127.0.0.1", {"[::1]x"}, "127.0.0.1"},
        {"127.0.0.1", {"fe80::1%eth0"}, "127.0.0.1"},
        {"127.0.0.1", {"01.2.3.4"}, "127.0.0.1"},
        {"127.0.0.1", {"1.2.3"}, "127.0.0.1"},
        {"127.0.0.1", {"example.com"}, "127.0.0.1"},
    };
    check_all(cases, sizeof(cases) / sizeof(cases[0]), FORWARDED_BY_X);
}

static void elements_of_rfc_7239(void **state)
{
    (void)state;
    static const struct try cases[] = {
        {"127.0.0.1", {"for=1.2.3.4"}, "1.2.3.4"},
        {"127.0.0.1", {"For=\"1.2.3.4:80\";proto=https;by=_x"}, "1.2.3.4"},
        {"127.0.0.1", {"for=\"[2001:db8::1]:4711\""}, "2001:db8::1"},
        {"127.0.0.1", {"for=6.6.6.6, for=1.2.3.4;host=a, for=10.0.0.1"}, "1.2.3.4"},
        {"127.0.0.1", {"for=6.6.6.6;host=\"a,b\"", ";for=1.2.3.4;"}, "1.2.3.4"},
        {"127.0.0.1", {",, for=1.2.3.4 , ,"}, "1.2.3.4"},
        {"127.0.0.1", {"for=1.2.3.4;x=\"a\\\"b\""}, "1.2.3.4"},
        {"127.0.0.1", {"for=1.2.3.4, for=unknown"}, "127.0.0.1"},
        {"127.0.0.1", {"for=1.2.3.4, for=_hidden"}, "127.0.0.1"},
        {"127.0.0.1", {"for=1.2.3.4, proto=https"}, "127.0.0.1"},
        {"127.0.0.1", {"for=1.2.3.4;for=1.2.3.5"}, "127.0.0.1"},
        {"127.0.0.1", {"for =1.2.3.4"}, "127.0.0.1"},
        {"127.0.0.1", {"for= 1.2.3.4"}, "127.0.0.1"},
        {"127.0.0.1", {"for=1.2.3.4 ;proto=https"}, "127.0.0.1"},
        {"127.0.0.1", {"for=[::1]"}, "127.0.0.1"}, /* it must be quoted */
        {"127.0.0.1", {"1.2.3.4"}, "127.0.0.1"},
        /* a client's quoted text that does not end takes nothing of what its proxy adds */
        {"127.0.0.1", {"for=6.6.6.6;x=\", for=1.2.3.4"}, "1.2.3.4"},
        {"127.0.0.1", {"for=6.6.6.6;x=\", for=\"1.2.3.4:80\";by=\"[::1]\""}, "1.2.3.4"},
        {"127.0.0.1", {"for=\"6.6.6.6\\", "for=1.2.3.4"}, "1.2.3.4"},
    };
    check_all(cases, sizeof(cases) / sizeof(cases[0]), FORWARDED_BY_RFC7239);
}

static void too_many_hops_are_none(void **state)
{
    (void)state;
    char text[LIMIT_FORWARDED_BYTES + 64] = "1.2.3.4";
    struct try t = {"127.0.0.1", {text}, ""};
    for (unsigned i = 1; i <= LIMIT_FORWARDED_HOPS; i++) {
        struct arena arena;
        struct request req;
        arena_init(&arena);
        judge(&t, FORWARDED_BY_X, &req, &arena);
        assert_true(str_eq(req.client_ip, STR("1.2.3.4")));
        arena_free(&arena);
        strcat(text, ",10.0.0.1");
    }
    struct arena arena;
    struct request req;
    arena_init(&arena);
    judge(&t, FORWARDED_BY_X, &req, &arena);
    assert_true(str_eq(req.client_ip, STR("127.0.0.1")));
    memset(text, ' ', LIMIT_FORWARDED_BYTES + 1);
    strcpy(text + LIMIT_FORWARDED_BYTES + 1, "1.2.3.4");
    judge(&t, FORWARDED_BY_X, &req, &arena);
    assert_true(str_eq(req.client_ip, STR("127.0.0.1")));
    arena_free(&arena);
}

static void scheme_and_host_are_the_nearest_proxys(void **state)
{
    (void)state;
    static const struct {
        const char *header, *value;
        bool trust_host;
        const char *scheme, *host;
    } cases[] = {
        {"x-forwarded-proto", "https", false, "https", "own"},
        {"x-forwarded-proto", "http, HTTPS", false, "https", "own"},
        {"x-forwarded-proto", "https, gopher", false, "http", "own"},
        {"x-forwarded-host", "a.example", false, "http", "own"},
        {"x-forwarded-host", "a.example:8443", true, "http", "a.example:8443"},
        {"x-forwarded-host", "evil.example, a.example", true, "http", "a.example"},
        {"x-forwarded-host", "a/b", true, "http", "own"},
        {"x-forwarded-host", "a\"b", true, "http", "own"},
        {"x-forwarded-host", "", true, "http", "own"},
    };
    struct network from = parse("127.0.0.1");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena arena;
        struct proxies proxies = {.from = &from,
                                  .from_count = 1,
                                  .header = FORWARDED_BY_X,
                                  .trust_host = cases[i].trust_host};
        struct request req = {
            .client_ip = STR("127.0.0.1"), .scheme = STR("http"), .host = STR("own")};
        arena_init(&arena);
        assert_int_equal(
            headers_add(&req.headers, &arena, str_from(cases[i].header), str_from(cases[i].value)),
            0);
        assert_int_equal(forwarded_apply(&proxies, &req, &arena), 0);
        assert_true(str_eq(req.scheme, str_from(cases[i].scheme)));
        assert_true(str_eq(req.host, str_from(cases[i].host)));
        arena_free(&arena);
    }
}

static void a_unix_socket_is_a_peer_of_its_own(void **state)
{
    (void)state;
    struct network all = parse("0.0.0.0/0");
    struct proxies none = {.from = &all, .from_count = 1}, unix_too = {.from_unix = true};
    assert_false(forwarded_trusts(&none, FORWARDED_UNIX));
    assert_true(forwarded_trusts(&none, STR("1.2.3.4")));
    assert_true(forwarded_trusts(&unix_too, FORWARDED_UNIX));
    assert_false(forwarded_trusts(&unix_too, STR("1.2.3.4")));
    assert_false(forwarded_trusts(&unix_too, STR("")));
}

static void a_handler_sees_what_was_believed(void **state)
{
    (void)state;
    static const struct {
        enum forwarded_by by;
        bool host;
        const char *name;
        bool shown;
    } cases[] = {
        {FORWARDED_BY_NOBODY, false, "x-forwarded-for", false},
        {FORWARDED_BY_NOBODY, false, "x-forwarded-port", false},
        {FORWARDED_BY_NOBODY, false, "forwarded", false},
        {FORWARDED_BY_NOBODY, false, "x-forwarding", true},
        {FORWARDED_BY_X, false, "x-forwarded-for", true},
        {FORWARDED_BY_X, false, "x-forwarded-host", false},
        {FORWARDED_BY_X, true, "x-forwarded-host", true},
        {FORWARDED_BY_X, true, "forwarded", false},
        {FORWARDED_BY_RFC7239, true, "forwarded", true},
        {FORWARDED_BY_RFC7239, true, "x-forwarded-for", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct request req = {.forwarded = cases[i].by, .forwarded_host = cases[i].host};
        assert_int_equal(forwarded_may_show(&req, str_from(cases[i].name)), cases[i].shown);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_are_whole),
        cmocka_unit_test(the_nearest_that_is_not_trusted_is_the_client),
        cmocka_unit_test(elements_of_rfc_7239),
        cmocka_unit_test(too_many_hops_are_none),
        cmocka_unit_test(scheme_and_host_are_the_nearest_proxys),
        cmocka_unit_test(a_unix_socket_is_a_peer_of_its_own),
        cmocka_unit_test(a_handler_sees_what_was_believed),
    };
    return cmocka_run_group_tests_name("http_forwarded", tests, NULL, NULL);
}
