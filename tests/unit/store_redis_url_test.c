/* KV_URL: what it may be, and what is said of everything else. */
#include "unit.h"

#include <errno.h>

#include <stdio.h>
#include <string.h>

#include "store/redis_url.h"

static void test_what_it_may_be(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host, *port, *user, *password, *database, *prefix;
    } rows[] = {
        {"redis://h", "h", "6379", "", "", "", "luafn"},
        {"redis://h/", "h", "6379", "", "", "", "luafn"},
        {"valkey://kv.example:7000/15", "kv.example", "7000", "", "", "15", "luafn"},
        {"redis://:pw@h:1", "h", "1", "", "pw", "", "luafn"},
        {"redis://u:pw@h:65535/0", "h", "65535", "u", "pw", "0", "luafn"},
        {"redis://u%40:p%3A%2f%25w@h", "h", "6379", "u@", "p:/%w", "", "luafn"},
        {"redis://u:a@b:c@h", "h", "6379", "u", "a@b:c", "", "luafn"},
        {"redis://[::1]", "::1", "6379", "", "", "", "luafn"},
        {"redis://:p@[fe80::1]:7/3?prefix=a%20b", "fe80::1", "7", "", "p", "3", "a b"},
        {"redis://h?prefix=shop", "h", "6379", "", "", "", "shop"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct redis_address a;
        struct err err = {""};
        if (redis_url_parse(str_from(rows[i].url), STR("/d"), &a, &err) != 0)
            fail_msg("%s: %s", rows[i].url, err.text);
        assert_string_equal(a.places[0].host, rows[i].host);
        assert_string_equal(a.places[0].port, rows[i].port);
        assert_string_equal(a.user, rows[i].user);
        assert_string_equal(a.password, rows[i].password);
        assert_string_equal(a.database, rows[i].database);
        assert_string_equal(a.prefix, rows[i].prefix);
    }
}

static void test_tls_and_sentinel(void **state)
{
    (void)state;
    struct redis_address a;
    struct err err = {""};
    const char *url = "rediss://u:p@kv.example:7/2?ca=ca%20a.pem&cert=/x/c.pem&prefix=shop&key=k";
    assert_int_equal(redis_url_parse(str_from(url), STR("/d"), &a, &err), 0);
    assert_true(a.tls);
    assert_string_equal(a.places[0].host, "kv.example");
    assert_string_equal(a.ca, "/d/ca a.pem");
    assert_string_equal(a.cert, "/x/c.pem");
    assert_string_equal(a.key, "/d/k");
    assert_string_equal(a.prefix, "shop");
    assert_string_equal(a.primary, "");
    assert_int_equal(redis_url_parse(STR("valkeys://h"), STR("/d"), &a, &err), 0);
    assert_true(a.tls);
    assert_string_equal(a.ca, "");
    url = "redis+sentinel://u:a@b@h1,h2:7,[::1]:8,[::2]/my%2fmaster/3?prefix=x";
    assert_int_equal(redis_url_parse(str_from(url), STR("/d"), &a, &err), 0);
    static const struct redis_place places[] = {
        {"h1", "26379"}, {"h2", "7"}, {"::1", "8"}, {"::2", "26379"}};
    assert_false(a.tls);
    assert_int_equal(a.place_count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(a.places[i].host, places[i].host);
        assert_string_equal(a.places[i].port, places[i].port);
    }
    assert_string_equal(a.primary, "my/master");
    assert_string_equal(a.database, "3");
    assert_string_equal(a.password, "a@b");
    assert_int_equal(redis_url_parse(STR("rediss+sentinel://h/m"), STR("/d"), &a, &err), 0);
    assert_true(a.tls);
    assert_string_equal(a.primary, "m");
    assert_string_equal(a.database, "");
}

static void refuse(struct str url, const char *part)
{
    struct redis_address a;
    struct err err = {""};
    assert_int_equal(redis_url_parse(url, STR("/d"), &a, &err), -EINVAL);
    if (strstr(err.text, part) == NULL || strstr(err.text, "secret") != NULL)
        fail_msg("%.*s: %s", STR_ARG(url), err.text);
}

static void test_what_it_may_not_be(void **state)
{
    (void)state;
    static const struct {
        const char *url, *part;
    } rows[] = {
        {"", "redis://[[user]:password@]host"},
        {"h:6379", "redis://[[user]:password@]host"},
        {"REDIS://h", "redis://[[user]:password@]host"},
        {"unix:///run/redis.sock", "redis://[[user]:password@]host"},
        {"redis+cluster://h", "redis://[[user]:password@]host"},
        {"redis://h,i", "host or host:port"},
        {"redis+sentinel://h,/m", "host or host:port"},
        {"redis+sentinel://a,b,c,d,e,f,g,h,i/m", "one to 8"},
        {"redis+sentinel://h", "the name that Sentinel has"},
        {"redis+sentinel://h/", "the name that Sentinel has"},
        {"redis+sentinel://h//0", "the name that Sentinel has"},
        {"redis+sentinel://u:secret@h/m/x", "what follows the name is the number"},
        {"redis+sentinel://u:secret@h/m/0/1", "what follows the name is the number"},
        {"redis://h?ca=x", "rediss://'s"},
        {"rediss://u:secret@h?ca=", "ca=FILE"},
        {"rediss://h?CA=x", "ca=FILE"},
        {"rediss://h?cert=x", "belong together"},
        {"rediss://h?key=x", "belong together"},
        {"redis://", "host or host:port"},
        {"redis://:1", "host or host:port"},
        {"redis://h:0", "host or host:port"},
        {"redis://h:65536", "host or host:port"},
        {"redis://h:1x", "host or host:port"},
        {"redis://[::1", "host or host:port"},
        {"redis://[::1]x", "host or host:port"},
        {"redis://u:secret@", "host or host:port"},
        {"redis://secret@h", "before the @"},
        {"redis://u:@h", "before the @"},
        {"redis://u:secret%@h", "before the @"},
        {"redis://u:secret%4@h", "before the @"},
        {"redis://u:secret%4g@h", "before the @"},
        {"redis://u:secret%00@h", "before the @"},
        {"redis://h/x", "number of a database"},
        {"redis://h/-1", "number of a database"},
        {"redis://h/1000000", "number of a database"},
        {"redis://h/0/1", "number of a database"},
        {"redis://h?db=1", "prefix=TEXT"},
        {"redis://h?prefix=", "prefix=TEXT"},
        {"redis://h?prefix", "prefix=TEXT"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        refuse(str_from(rows[i].url), rows[i].part);
}

/* What does not fit is refused, never cut. */
static void test_lengths(void **state)
{
    (void)state;
    static const struct {
        const char *format;
        size_t fits;
        const char *part;
    } rows[] = {
        {"redis://%s", 255, "host or"},
        {"redis://%s:secret@h", 127, "before the @"},
        {"redis://:%s@h", 511, "before the @"},
        {"redis://h?prefix=%s", 63, "prefix=TEXT"},
        {"redis+sentinel://h/%s", 127, "the name that"},
        {"rediss://h?ca=/%s", 510, "ca=FILE"},
        {"rediss://h?ca=%s", 508, "ca=FILE"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t more = 0; more < 2; more++) {
            char text[600], url[700];
            struct redis_address a;
            memset(text, 'a', rows[i].fits + more);
            text[rows[i].fits + more] = '\0';
            const char *rest = strstr(rows[i].format, "%s");
            snprintf(url, sizeof(url), "%.*s%s%s", (int)(rest - rows[i].format), rows[i].format,
                     text, rest + 2);
            if (more > 0)
                refuse(str_from(url), rows[i].part);
            else
                assert_int_equal(redis_url_parse(str_from(url), STR("/d"), &a, NULL), 0);
        }
    }
    refuse((struct str){"redis://a\0b", 11}, "host or");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_it_may_be),
        cmocka_unit_test(test_tls_and_sentinel),
        cmocka_unit_test(test_what_it_may_not_be),
        cmocka_unit_test(test_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
