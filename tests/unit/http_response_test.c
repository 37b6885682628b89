/* Answers as bytes. */
#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "http/date.h"
#include "http/response.h"

static void test_reason_phrases(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *phrase;
    } cases[] = {
        {100, "Continue"},
        {103, "Early Hints"},
        {200, "OK"},
        {208, "Already Reported"},
        {209, "unknown"},
        {226, "IM Used"},
        {227, "unknown"},
        {304, "Not Modified"},
        {308, "Permanent Redirect"},
        {404, "Not Found"},
        {413, "Content Too Large"},
        {418, "unknown"},
        {422, "Unprocessable Content"},
        {431, "Request Header Fields Too Large"},
        {451, "Unavailable For Legal Reasons"},
        {452, "unknown"},
        {500, "Internal Server Error"},
        {509, "unknown"},
        {511, "Network Authentication Required"},
        {512, "unknown"},
        {600, "unknown"},
        {999, "unknown"},
        {99, "unknown"},
        {0, "unknown"},
        {-1, "unknown"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(response_reason(cases[i].status), cases[i].phrase);
}

struct head_case {
    struct response res;
    int version_minor;
    bool keep_alive;
    const char *rest; /* behind the Date line */
};

#define BODY                                                                                       \
    {                                                                                              \
        "hello", 5                                                                                 \
    }

static void test_heads(void **state)
{
    (void)state;
    static const struct head_case cases[] = {
        {{.status = 200, .body = BODY}, 1, true, "Content-Length: 5\r\n\r\n"},
        {{.status = 200, .body = BODY}, 1, false, "Content-Length: 5\r\nConnection: close\r\n\r\n"},
        {{.status = 200}, 0, true, "Content-Length: 0\r\nConnection: keep-alive\r\n\r\n"},
        {{.status = 204, .body = BODY}, 1, true, "\r\n"},
        {{.status = 304}, 1, true, "\r\n"},
        {{.status = 304, .body = BODY}, 1, true, "Content-Length: 5\r\n\r\n"},
        {{.status = 200, .streamed = true}, 1, true, "Transfer-Encoding: chunked\r\n\r\n"},
        {{.status = 200, .streamed = true}, 0, false, "Connection: close\r\n\r\n"},
        {{.status = 204, .streamed = true}, 1, true, "\r\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct request req = {.version_minor = cases[i].version_minor};
        struct buf out = BUF_INIT;
        char expected[256];
        response_write_head(&cases[i].res, &req, cases[i].keep_alive, &out);
        buf_add_char(&out, '\0');
        struct str date = date_now();
        snprintf(expected, sizeof(expected), "HTTP/1.1 %d %s\r\nDate: %.*s\r\n%s",
                 cases[i].res.status, response_reason(cases[i].res.status), STR_ARG(date),
                 cases[i].rest);
        assert_int_equal(out.len, strlen(expected) + 1);
        size_t start = strcspn(expected, "\n"); /* the second may turn between the two dates */
        assert_memory_equal(out.data, expected, start);
        assert_string_equal(strstr(out.data, "GMT\r\n"), strstr(expected, "GMT\r\n"));
        buf_free(&out);
    }
}

static void test_framing_is_not_the_handlers(void **state)
{
    (void)state;
    static const char *const reserved[] = {"Date",           "DATE",       "Content-Length",
                                           "content-length", "Connection", "transfer-encoding"};
    struct arena arena;
    struct request req = {.version_minor = 1};
    struct response res = {.status = 200};
    struct buf out = BUF_INIT;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
        struct str name = str_from(reserved[i]);
        assert_int_equal(headers_add(&res.headers, &arena, name, STR("evil")), 0);
    }
    assert_int_equal(headers_add(&res.headers, &arena, STR("X-Date"), STR("kept")), 0);
    response_write_head(&res, &req, true, &out);
    buf_add_char(&out, '\0');
    assert_null(strstr(out.data, "evil"));
    assert_non_null(strstr(out.data, "\r\nX-Date: kept\r\n"));
    buf_free(&out);
    arena_free(&arena);
}

static void test_errors_are_json(void **state)
{
    (void)state;
    struct arena arena;
    struct response res = {0};
    arena_init(&arena);
    assert_int_equal(
        response_set_error(&res, &arena, 400, STR("bad_request"), STR("a \"b\"\n\xff")), 0);
    assert_int_equal(res.status, 400);
    assert_true(str_eq(res.body, STR("{\"error\":\"bad_request\",\"error_description\":"
                                     "\"a \\\"b\\\"\\n\xef\xbf\xbd\"}")));
    assert_true(str_eq(*headers_get(&res.headers, STR("content-type")), STR("application/json")));
    assert_true(str_eq(*headers_get(&res.headers, STR("x-content-type-options")), STR("nosniff")));
    assert_int_equal(response_set_body(&res, &arena, 200, STR("text/plain"), STR("x")), 0);
    assert_int_equal(headers_count(&res.headers, STR("content-type")), 1);
    arena_free(&arena);
}

static void test_bodies_by_status(void **state)
{
    (void)state;
    static const int without[] = {100, 101, 199, 204, 205, 304};
    static const int with[] = {200, 201, 206, 301, 400, 500, 999};
    for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++)
        assert_false(response_has_body(without[i]));
    for (size_t i = 0; i < sizeof(with) / sizeof(with[0]); i++)
        assert_true(response_has_body(with[i]));
}

static void test_date(void **state)
{
    (void)state;
    time_t before = time(NULL);
    struct str date = date_now();
    char text[30] = "";
    assert_int_equal(date.len, 29);
    memcpy(text, date.ptr, date.len);
    struct tm tm = {0};
    const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    assert_non_null(end);
    assert_string_equal(end, "");
    time_t then = timegm(&tm);
    assert_true(then >= before && then <= time(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reason_phrases),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_framing_is_not_the_handlers),
        cmocka_unit_test(test_errors_are_json),
        cmocka_unit_test(test_bodies_by_status),
        cmocka_unit_test(test_date),
    };
    return cmocka_run_group_tests_name("http_response", tests, NULL, NULL);
}
