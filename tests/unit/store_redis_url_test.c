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
        if (redis_url_parse(str_from(rows[i].url), &a, &err) != 0)
            fail_msg("%s: %s", rows[i].url, err.text);
        assert_string_equal(a.host, rows[i].host);
        assert_string_equal(a.port, rows[i].port);
        assert_string_equal(a.user, rows[i].user);
        assert_string_equal(a.password, rows[i].password);
        assert_string_equal(a.database, rows[i].database);
        assert_string_equal(a.prefix, rows[i].prefix);
    }
}

static void refuse(struct str url, const char *part)
{
    struct redis_address a;
    struct err err = {""};
    assert_int_equal(redis_url_parse(url, &a, &err), -EINVAL);
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
        {"rediss://h", "TLS to the store is not supported"},
        {"valkeys://h", "TLS to the store is not supported"},
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
                assert_int_equal(redis_url_parse(str_from(url), &a, NULL), 0);
        }
    }
    refuse((struct str){"redis://a\0b", 11}, "host or");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_it_may_be),
        cmocka_unit_test(test_what_it_may_not_be),
        cmocka_unit_test(test_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
