/* The outbound client against a small server in the same loop. */
#include "client_fixture.h"

#include <errno.h>

#include "base/limits.h"
#include "client/client_rules.h"

/* What a call came to. */
struct outcome {
    struct fixture *fx;
    bool done;
    int error;
    long status;
    char text[256], url[256], body[4096], headers[2048];
    size_t body_len;
    struct client_call **also_cancel; /* in the callback */
    bool free_client;
};

static void on_done(void *arg, const struct client_response *res)
{
    struct outcome *out = arg;
    assert_false(out->done);
    out->done = true;
    uv_stop(&out->fx->loop); /* a turn whose timers ran would wait for the next event */
    out->error = res->error;
    out->status = res->status;
    snprintf(out->text, sizeof(out->text), "%s", res->error_text != NULL ? res->error_text : "");
    snprintf(out->url, sizeof(out->url), "%.*s", STR_ARG(res->url));
    out->body_len = res->body.len;
    snprintf(out->body, sizeof(out->body), "%.*s", STR_ARG(res->body));
    size_t at = 0;
    for (unsigned i = 0; i < res->header_count && at < sizeof(out->headers); i++) {
        at += (size_t)snprintf(out->headers + at, sizeof(out->headers) - at, "%.*s=%.*s\n",
                               STR_ARG(res->headers[i].name), STR_ARG(res->headers[i].value));
    }
    if (out->also_cancel != NULL) {
        client_cancel(*out->also_cancel);
    }
    if (out->free_client) {
        client_free(out->fx->client);
        out->fx->client = NULL;
    }
}

static int setup(void **state)
{
    *state = client_fixture_new(STR("127.0.0.1"));
    return 0;
}

static int teardown(void **state)
{
    client_fixture_free(*state);
    return 0;
}

static struct client_request request_to(struct fixture *fx, char *url, size_t size,
                                        const char *path)
{
    snprintf(url, size, "http://127.0.0.1:%d%s", fx->fake.port, path);
    return (struct client_request){.url = str_from(url),
                                   .timeout = 5,
                                   .max_bytes = 100000,
                                   .rules = {.hosts = fx->listed, .host_count = 1}};
}

static int start(struct fixture *fx, const struct client_request *req, struct outcome *out)
{
    struct client_call *call = NULL;
    struct err err = {.text = ""};
    *out = (struct outcome){.fx = fx};
    int code = client_start(fx->client, req, on_done, out, &call, &err);
    if (code != 0) {
        assert_true(err.text[0] != '\0');
    } else {
        assert_non_null(call);
        assert_false(out->done); /* never from within */
    }
    return code;
}

static void wait_for(struct fixture *fx, const bool *done)
{
    while (!*done) {
        assert_true(uv_run(&fx->loop, UV_RUN_DEFAULT) != 0 || *done);
    }
}

/* Starts and waits; what client_start refuses is an outcome as well. */
static struct outcome call_with(struct fixture *fx, const struct client_request *req)
{
    struct outcome out;
    int code = start(fx, req, &out);
    if (code != 0) {
        out.error = code;
        return out;
    }
    wait_for(fx, &out.done);
    return out;
}

static struct outcome get(struct fixture *fx, const char *path)
{
    char url[256];
    struct client_request req = request_to(fx, url, sizeof(url), path);
    return call_with(fx, &req);
}

static void answers_arrive_whole(void **state)
{
    struct fixture *fx = *state;
    *fake_route(&fx->fake, "/a") =
        (struct fake_route){.path = "/a",
                            .status = 201,
                            .headers = "X-One: 1\r\nSET-COOKIE: a\r\nSet-Cookie: b\r\nX-Empty:\r\n",
                            .body = "hello"};
    struct outcome out = get(fx, "/a?q=a%20b#part");
    assert_int_equal(out.error, 0);
    assert_int_equal(out.status, 201);
    assert_string_equal(out.body, "hello");
    assert_string_equal(out.headers,
                        "x-one=1\nset-cookie=a\nset-cookie=b\nx-empty=\ncontent-length=5\n");
    assert_non_null(strstr(out.url, "/a?q=a%20b"));
    assert_null(strchr(out.url, '#'));
    const char *sent = fake_route(&fx->fake, "/a")->request;
    assert_non_null(strstr(sent, "GET /a?q=a%20b HTTP/1.1\r\n"));
    assert_non_null(strstr(sent, "User-Agent: luafn/"));
    assert_non_null(strstr(sent, "Accept-Encoding: "));
}

static void interim_answers_are_no_answers(void **state)
{
    struct fixture *fx = *state;
    fake_route(&fx->fake, "/a")->raw = "HTTP/1.1 103 Early Hints\r\nLink: early\r\n\r\n"
                                       "HTTP/1.1 200 OK\r\nX: late\r\n\r\nbody";
    struct outcome out = get(fx, "/a");
    assert_int_equal(out.status, 200);
    assert_string_equal(out.headers, "x=late\n");
    assert_string_equal(out.body, "body");
}

static void fresh_calls_leave_no_connection(void **state)
{
    struct fixture *fx = *state;
    for (int fresh = 0; fresh < 2; fresh++) {
        char url[256];
        struct client_request req = request_to(fx, url, sizeof(url), "/a");
        req.fresh = fresh == 1;
        fake_route(&fx->fake, "/a")->body = "x";
        assert_int_equal(call_with(fx, &req).status, 200);
        /* What is left is that of the first, which is not fresh. */
        assert_non_null(fx->fake.conns);
        while (fx->fake.conns->next != NULL)
            uv_run(&fx->loop, UV_RUN_ONCE);
        for (int turns = 0; turns < 20; turns++)
            uv_run(&fx->loop, UV_RUN_NOWAIT);
        assert_non_null(fx->fake.conns);
    }
}

static void methods_and_bodies(void **state)
{
    static const struct {
        const char *method, *body, *line, *length;
    } cases[] = {
        {"", NULL, "GET /m HTTP/1.1\r\n", NULL},
        {"HEAD", NULL, "HEAD /m HTTP/1.1\r\n", NULL},
        {"DELETE", NULL, "DELETE /m HTTP/1.1\r\n", NULL},
        {"OPTIONS", NULL, "OPTIONS /m HTTP/1.1\r\n", NULL},
        {"POST", NULL, "POST /m HTTP/1.1\r\n", "Content-Length: 0\r\n"},
        {"POST", "a=1", "POST /m HTTP/1.1\r\n", "Content-Length: 3\r\n"},
        {"PUT", "a=1", "PUT /m HTTP/1.1\r\n", "Content-Length: 3\r\n"},
        {"PATCH", "a=1", "PATCH /m HTTP/1.1\r\n", "Content-Length: 3\r\n"},
        {"DELETE", "a=1", "DELETE /m HTTP/1.1\r\n", "Content-Length: 3\r\n"},
    };
    struct fixture *fx = *state;
    struct fake_route *route = fake_route(&fx->fake, "/m");
    route->body = "ok";
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char url[256];
        struct client_request req = request_to(fx, url, sizeof(url), "/m");
        req.method = str_from(cases[i].method);
        req.body = str_from(cases[i].body);
        struct outcome out = call_with(fx, &req);
        assert_int_equal(out.status, 200);
        assert_int_equal(out.body_len, strcmp(cases[i].method, "HEAD") == 0 ? 0 : 2);
        assert_true(strncmp(route->request, cases[i].line, strlen(cases[i].line)) == 0);
        assert_int_equal(cases[i].length != NULL,
                         strstr(route->request, "Content-Length:") != NULL);
        assert_true(cases[i].length == NULL || strstr(route->request, cases[i].length) != NULL);
        assert_null(strstr(route->request, "Content-Type"));
        if (cases[i].body != NULL) {
            assert_non_null(strstr(route->request, "\r\n\r\na=1"));
        }
    }
}

static void large_bodies_are_sent_at_once(void **state)
{
    struct fixture *fx = *state;
    char url[256];
    char body[8001] = "";
    memset(body, 'x', sizeof(body) - 1);
    struct client_request req = request_to(fx, url, sizeof(url), "/m");
    struct header type = {STR("content-type"), STR("text/plain")};
    req.method = STR("POST");
    req.body = str_from(body);
    req.headers = &type;
    req.header_count = 1;
    struct fake_route *route = fake_route(&fx->fake, "/m");
    assert_int_equal(call_with(fx, &req).status, 200);
    assert_non_null(strstr(route->request, "content-type: text/plain\r\n"));
    assert_null(strcasestr(route->request, "expect"));
    assert_int_equal(strlen(strstr(route->request, "\r\n\r\n") + 4), 8000);
}

static void headers_are_checked(void **state)
{
    static const struct {
        struct header header;
        int error;
        const char *sent; /* NULL: not on the wire */
    } cases[] = {
        {{{"X-A", 3}, {"1", 1}}, 0, "X-A: 1\r\n"},
        {{{"X-Empty", 7}, {"", 0}}, 0, "X-Empty:"},
        {{{"Host", 4}, {"other.test", 10}}, 0, NULL},
        {{{"Connection", 10}, {"close", 5}}, 0, NULL},
        {{{"Content-Length", 14}, {"99", 2}}, 0, NULL},
        {{{"Transfer-Encoding", 17}, {"chunked", 7}}, 0, NULL},
        {{{"X-A", 3}, {"1\r\nX-B: 2", 9}}, -EINVAL, NULL},
        {{{"X-A", 3}, {"1\n", 2}}, -EINVAL, NULL},
        {{{"X A", 3}, {"1", 1}}, -EINVAL, NULL},
        {{{"X-A:", 4}, {"1", 1}}, -EINVAL, NULL},
        {{{"", 0}, {"1", 1}}, -EINVAL, NULL},
    };
    struct fixture *fx = *state;
    struct fake_route *route = fake_route(&fx->fake, "/h");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char url[256];
        struct client_request req = request_to(fx, url, sizeof(url), "/h");
        req.headers = &cases[i].header;
        req.header_count = 1;
        assert_int_equal(call_with(fx, &req).error, cases[i].error);
        if (cases[i].sent != NULL) {
            assert_non_null(strstr(route->request, cases[i].sent));
        } else if (cases[i].error == 0) {
            char line[64];
            snprintf(line, sizeof(line), "%.*s: %.*s\r\n", STR_ARG(cases[i].header.name),
                     STR_ARG(cases[i].header.value));
            assert_null(strcasestr(route->request, line));
        }
    }
    char url[256];
    struct client_request req = request_to(fx, url, sizeof(url), "/h");
    req.method = STR("GET / HTTP/1.1\r\n");
    assert_int_equal(call_with(fx, &req).error, -EINVAL);
}

static void urls_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        int error;
    } cases[] = {
        {"http://example.com/", 0},
        {"https://example.com:8443/a b", 0},
        {"http://user:pass@example.com/", 0},
        {"ftp://example.com/", -EINVAL},
        {"file:///etc/passwd", -EINVAL},
        {"/relative", -EINVAL},
        {"example.com", -EINVAL},
        {"", -EINVAL},
        {"http://", -EINVAL},
        {"http://a\nb/", -EINVAL},
        {"http://[fe80::1%25eth0]/", -EINVAL},
        {"http://127.0.0.1/", -EACCES},
        {"http://0x7f.1/", -EACCES},
        {"http://2130706433/", -EACCES},
        {"http://[::1]/", -EACCES},
        {"http://[::ffff:10.0.0.1]/", -EACCES},
        {"http://169.254.169.254/latest/meta-data", -EACCES},
        {"http://example.com@10.0.0.1/", -EACCES},
        {"http://93.184.216.34/", 0},
        {"http://[2606:2800:220:1::1]/", 0},
    };
    const struct client_rules rules = {.any_public = true};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {.text = ""};
        int code = client_check_url(&rules, str_from(cases[i].url), &err);
        if (code != cases[i].error) {
            print_message("%s: %d %s\n", cases[i].url, code, err.text);
        }
        assert_int_equal(code, cases[i].error);
        assert_int_equal(code != 0, err.text[0] != '\0');
    }
}

static void rules_decide_by_text(void **state)
{
    (void)state;
    static const struct str hosts[] = {{"api.test", 8},
                                       {"*.inside.test", 13},
                                       {"10.0.0.1:8080", 13},
                                       {"[fd00::1]", 9},
                                       {"port.test:443", 13}};
    static const struct str star[] = {{"*", 1}};
    const struct client_rules listed = {.hosts = hosts, .host_count = 5};
    const struct client_rules anybody = {.hosts = star, .host_count = 1};
    const struct client_rules dev = {.any_public = true, .allow_loopback = true};
    const struct client_rules tls = {
        .any_public = true, .allow_loopback = true, .https_only = true};
    const struct {
        const struct client_rules *rules;
        const char *url;
        int error;
    } cases[] = {
        {&listed, "http://api.test/", 0},
        {&listed, "http://API.test.:8080/", 0},
        {&listed, "http://api.test.evil/", -EACCES},
        {&listed, "http://a.inside.test/", 0},
        {&listed, "http://inside.test/", -EACCES},
        {&listed, "http://10.0.0.1:8080/", 0},
        {&listed, "http://10.0.0.1/", -EACCES},
        {&listed, "http://[fd00::1]/", 0},
        {&listed, "http://[fd00::2]/", -EACCES},
        {&listed, "https://port.test/", 0},
        {&listed, "http://port.test/", -EACCES},
        {&listed, "http://api.test@other.test/", -EACCES},
        {&anybody, "http://other.test/", 0},
        {&anybody, "http://127.0.0.1/", -EACCES},
        {&dev, "http://localhost:1/", 0},
        {&dev, "http://127.0.0.1:1/", 0},
        {&dev, "http://10.0.0.1/", -EACCES},
        {&tls, "https://other.test/", 0},
        {&tls, "http://other.test/", -EACCES},
        {&tls, "http://127.0.0.1/", 0},
        {&tls, "http://localhost/", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int code = client_check_url(cases[i].rules, str_from(cases[i].url), NULL);
        if (code != cases[i].error) {
            print_message("%s: %d\n", cases[i].url, code);
        }
        assert_int_equal(code, cases[i].error);
    }
}

static void addresses_have_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        unsigned kind;
    } cases[] = {
        {"8.8.8.8", REACH_PUBLIC},
        {"127.0.0.1", REACH_LOOPBACK},
        {"127.255.0.9", REACH_LOOPBACK},
        {"0.0.0.0", REACH_INSIDE},
        {"10.1.2.3", REACH_INSIDE},
        {"11.0.0.1", REACH_PUBLIC},
        {"100.63.0.1", REACH_PUBLIC},
        {"100.64.0.1", REACH_INSIDE},
        {"100.127.9.9", REACH_INSIDE},
        {"100.128.0.1", REACH_PUBLIC},
        {"169.254.169.254", REACH_INSIDE},
        {"172.15.0.1", REACH_PUBLIC},
        {"172.16.0.1", REACH_INSIDE},
        {"172.31.255.1", REACH_INSIDE},
        {"172.32.0.1", REACH_PUBLIC},
        {"192.168.1.1", REACH_INSIDE},
        {"192.0.2.1", REACH_INSIDE},
        {"198.18.0.1", REACH_INSIDE},
        {"198.20.0.1", REACH_PUBLIC},
        {"224.0.0.1", REACH_INSIDE},
        {"240.0.0.1", REACH_INSIDE},
        {"255.255.255.255", REACH_INSIDE},
        {"::", REACH_INSIDE},
        {"::1", REACH_LOOPBACK},
        {"::2", REACH_INSIDE},
        {"::ffff:127.0.0.1", REACH_LOOPBACK},
        {"::ffff:10.0.0.1", REACH_INSIDE},
        {"::ffff:8.8.8.8", REACH_PUBLIC},
        {"::8.8.8.8", REACH_INSIDE},
        {"64:ff9b::8.8.8.8", REACH_PUBLIC},
        {"64:ff9b::127.0.0.1", REACH_INSIDE},
        {"64:ff9b:1::1", REACH_INSIDE},
        {"2002:0808:0808::1", REACH_PUBLIC},
        {"2002:0a00:0001::1", REACH_INSIDE},
        {"2001::1", REACH_INSIDE},
        {"2001:db8::1", REACH_INSIDE},
        {"2001:4860::8888", REACH_PUBLIC},
        {"fc00::1", REACH_INSIDE},
        {"fd12::1", REACH_INSIDE},
        {"fe80::1", REACH_INSIDE},
        {"ff02::1", REACH_INSIDE},
        {"3fff::1", REACH_INSIDE},
        {"2606:4700::1", REACH_PUBLIC},
        {"example.com", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (client_reach_of_text(cases[i].address) != cases[i].kind) {
            print_message("%s\n", cases[i].address);
        }
        assert_int_equal(client_reach_of_text(cases[i].address), cases[i].kind);
    }
}

/* A name that the rules let through, but that resolves to loopback. */
static void resolved_addresses_are_checked(void **state)
{
    struct fixture *fx = *state;
    char url[64];
    snprintf(url, sizeof(url), "http://localhost:%d/a", fx->fake.port);
    struct client_request req = {
        .url = str_from(url), .timeout = 5, .max_bytes = 100, .rules = {.any_public = true}};
    struct fake_route *route = fake_route(&fx->fake, "/a");
    struct outcome out = call_with(fx, &req);
    assert_int_equal(out.error, -EACCES);
    assert_int_equal(fx->fake.accepted, 0);
    req.rules.allow_loopback = true;
    assert_int_equal(call_with(fx, &req).status, 200);
    assert_int_equal(route->hits, 1);
}

/* One function's connection is not another's way around its rules. */
static void reused_connections_are_checked(void **state)
{
    struct fixture *fx = *state;
    char url[64];
    snprintf(url, sizeof(url), "http://localhost:%d/a", fx->fake.port);
    static const struct str listed[] = {{"localhost", 9}};
    struct client_request open = {.url = str_from(url),
                                  .timeout = 5,
                                  .max_bytes = 100,
                                  .rules = {.hosts = listed, .host_count = 1}};
    struct client_request closed = open;
    closed.rules = (struct client_rules){.any_public = true};
    struct fake_route *route = fake_route(&fx->fake, "/a");
    assert_int_equal(call_with(fx, &open).status, 200);
    assert_int_equal(call_with(fx, &open).status, 200);
    assert_int_equal(fx->fake.accepted, 1); /* it is reused */
    struct outcome out = call_with(fx, &closed);
    assert_int_equal(out.error, -EACCES);
    assert_non_null(strstr(out.text, "EACCES"));
    assert_int_equal(route->hits, 2);
    assert_int_equal(call_with(fx, &open).status, 200);
    assert_int_equal(route->hits, 3);
}

static void redirects_change_the_method(void **state)
{
    static const struct {
        int status;
        const char *method, *then;
        bool body;
    } cases[] = {
        {301, "POST", "GET /to", false}, {302, "POST", "GET /to", false},
        {303, "POST", "GET /to", false}, {303, "PUT", "GET /to", false},
        {302, "PUT", "PUT /to", true},   {307, "POST", "POST /to", true},
        {308, "POST", "POST /to", true}, {303, "HEAD", "HEAD /to", false},
        {301, "GET", "GET /to", false},
    };
    struct fixture *fx = *state;
    struct fake_route *from = fake_route(&fx->fake, "/from");
    struct fake_route *to = fake_route(&fx->fake, "/to");
    from->headers = "Location: /to?x=1\r\nX-Hop: first\r\n";
    from->body = "moved";
    to->body = "there";
    static const struct header headers[] = {{{"Authorization", 13}, {"Bearer t", 8}},
                                            {{"Content-Type", 12}, {"text/a", 6}}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char url[256];
        struct client_request req = request_to(fx, url, sizeof(url), "/from");
        from->status = cases[i].status;
        req.method = str_from(cases[i].method);
        req.body = strcmp(cases[i].method, "HEAD") == 0 || strcmp(cases[i].method, "GET") == 0
                       ? (struct str){0}
                       : STR("data");
        req.headers = headers;
        req.header_count = 2;
        req.max_redirects = 2;
        struct outcome out = call_with(fx, &req);
        assert_int_equal(out.status, 200);
        assert_non_null(strstr(out.url, "/to?x=1"));
        assert_null(strstr(out.headers, "x-hop"));
        assert_true(strncmp(to->request, cases[i].then, strlen(cases[i].then)) == 0);
        assert_int_equal(strstr(to->request, "\r\n\r\ndata") != NULL, cases[i].body);
        assert_non_null(strstr(to->request, "Authorization: Bearer t"));
        if (strcmp(cases[i].method, "POST") == 0) {
            assert_int_equal(strstr(to->request, "Content-Type") != NULL, cases[i].body);
        }
    }
}

static void redirects_are_bounded_and_optional(void **state)
{
    struct fixture *fx = *state;
    struct fake_route *loop = fake_route(&fx->fake, "/loop");
    loop->status = 302;
    loop->headers = "Location: /loop\r\n";
    char url[256];
    struct client_request req = request_to(fx, url, sizeof(url), "/loop");
    struct outcome out = call_with(fx, &req);
    assert_int_equal(out.error, 0);
    assert_int_equal(out.status, 302);
    assert_int_equal(loop->hits, 1);
    req.max_redirects = 3;
    out = call_with(fx, &req);
    assert_int_equal(out.error, -ELOOP);
    assert_int_equal(loop->hits, 5);
    loop->headers = ""; /* without Location it is an answer */
    assert_int_equal(call_with(fx, &req).status, 302);
}

static void redirects_stay_within_the_rules(void **state)
{
    static const struct {
        const char *location;
        int error;
    } cases[] = {
        {"http://10.0.0.1/", -EACCES},
        {"http://other.test/", -EACCES},
        {"http://[::1]/", -EACCES},
        {"//169.254.169.254/", -EACCES},
        {"file:///etc/passwd", -EINVAL},
        {"http://", -EIO},
        {"/to", 0},
    };
    struct fixture *fx = *state;
    struct fake_route *from = fake_route(&fx->fake, "/from");
    fake_route(&fx->fake, "/to");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char url[256], headers[128];
        struct client_request req = request_to(fx, url, sizeof(url), "/from");
        snprintf(headers, sizeof(headers), "Location: %s\r\n", cases[i].location);
        from->status = 302;
        from->headers = headers;
        req.max_redirects = 5;
        struct outcome out = call_with(fx, &req);
        if (out.error != cases[i].error) {
            print_message("%s: %d %s\n", cases[i].location, out.error, out.text);
        }
        assert_int_equal(out.error, cases[i].error);
    }
}

static void secrets_stay_with_their_origin(void **state)
{
    struct fixture *fx = *state;
    char url[256], location[128];
    static const struct str both[] = {{"127.0.0.1", 9}, {"localhost", 9}};
    static const struct header headers[] = {{{"authorization", 13}, {"Bearer t", 8}},
                                            {{"Cookie", 6}, {"c=1", 3}},
                                            {{"X-Kept", 6}, {"yes", 3}}};
    snprintf(location, sizeof(location), "Location: http://localhost:%d/to\r\n", fx->fake.port);
    fake_route(&fx->fake, "/from")->status = 307;
    fake_route(&fx->fake, "/from")->headers = location;
    struct fake_route *to = fake_route(&fx->fake, "/to");
    struct client_request req = request_to(fx, url, sizeof(url), "/from");
    req.rules.hosts = both;
    req.rules.host_count = 2;
    req.headers = headers;
    req.header_count = 3;
    req.max_redirects = 1;
    assert_int_equal(call_with(fx, &req).status, 200);
    assert_non_null(strstr(fake_route(&fx->fake, "/from")->request, "Bearer t"));
    assert_null(strstr(to->request, "Bearer t"));
    assert_null(strstr(to->request, "c=1"));
    assert_non_null(strstr(to->request, "X-Kept: yes"));
}

static void answers_are_bounded(void **state)
{
    struct fixture *fx = *state;
    struct fake_route *route = fake_route(&fx->fake, "/a");
    char url[256];
    struct client_request req = request_to(fx, url, sizeof(url), "/a");
    req.max_bytes = 5;
    route->body = "12345";
    assert_int_equal(call_with(fx, &req).status, 200);
    route->body = "123456";
    struct outcome out = call_with(fx, &req);
    assert_int_equal(out.error, -EMSGSIZE);
    assert_int_equal(out.body_len, 0);

    char *head = calloc(1, LIMIT_FETCH_HEADER_BYTES + 100);
    memset(head, 'x', LIMIT_FETCH_HEADER_BYTES);
    memcpy(head, "X: ", 3);
    char *raw = calloc(1, LIMIT_FETCH_HEADER_BYTES + 400);
    snprintf(raw, LIMIT_FETCH_HEADER_BYTES + 400, "HTTP/1.1 200 OK\r\n%s\r\n\r\n", head);
    route->raw = raw;
    assert_int_equal(call_with(fx, &req).error, -EMSGSIZE);
    strcpy(raw, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < LIMIT_FETCH_HEADER_COUNT; i++) {
        strcat(raw, "A: b\r\n");
    }
    strcat(raw, "\r\n");
    assert_int_equal(call_with(fx, &req).error, -EMSGSIZE);
    free(head);
    free(raw);
}

/* What counts is the size after unpacking. */
static void compressed_answers_are_unpacked(void **state)
{
    struct fixture *fx = *state;
    enum { PLAIN_BYTES = 50000 }; /* so often the letter z */
    static const unsigned char packed[] = {
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xed, 0xc1, 0x01, 0x0d,
        0x00, 0x00, 0x00, 0xc2, 0xa0, 0xde, 0x4f, 0x6f, 0x0f, 0x07, 0x14, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x4f, 0x06, 0x64, 0xcf, 0xbb, 0x1f, 0x50, 0xc3, 0x00, 0x00};
    struct fake_route *route = fake_route(&fx->fake, "/z");
    route->headers = "Content-Encoding: gzip\r\n";
    route->body = (const char *)packed;
    route->body_len = sizeof(packed);
    char url[256];
    struct client_request req = request_to(fx, url, sizeof(url), "/z");
    struct outcome out = call_with(fx, &req);
    assert_int_equal(out.error, 0);
    assert_int_equal(out.body_len, PLAIN_BYTES);
    req.max_bytes = PLAIN_BYTES - 1;
    assert_int_equal(call_with(fx, &req).error, -EMSGSIZE);
}

static int port_of_nobody(int *fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(*fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(*fd, (struct sockaddr *)&address, &len), 0);
    return ntohs(address.sin_port);
}

static void failures_have_names(void **state)
{
    struct fixture *fx = *state;
    char url[256];
    fake_route(&fx->fake, "/hang")->hang = true;
    fake_route(&fx->fake, "/drop")->drop = true;
    fake_route(&fx->fake, "/junk")->raw = "\x01\x02garbage\r\n\r\n";
    fake_route(&fx->fake, "/cut")->raw = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort";
    struct client_request req = request_to(fx, url, sizeof(url), "/hang");
    req.timeout = 0.05;
    struct outcome out = call_with(fx, &req);
    assert_int_equal(out.error, -ETIMEDOUT);
    assert_non_null(strstr(out.text, "(ETIMEDOUT)"));
    out = get(fx, "/drop");
    assert_int_equal(out.error, -ECONNRESET);
    assert_non_null(strstr(out.text, "(ECONNRESET)"));
    assert_int_equal(get(fx, "/cut").error, -ECONNRESET);
    assert_int_equal(get(fx, "/junk").error, -EBADMSG);

    int nobody = -1; /* has a port, and does not listen there */
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/", port_of_nobody(&nobody));
    req.url = str_from(url);
    req.timeout = 5;
    out = call_with(fx, &req);
    assert_int_equal(out.error, -ECONNREFUSED);
    assert_string_equal(out.text, "connection refused (ECONNREFUSED)");
    close(nobody);
}

static void cancelled_calls_are_silent(void **state)
{
    struct fixture *fx = *state;
    fake_route(&fx->fake, "/hang")->hang = true;
    fake_route(&fx->fake, "/a")->body = "ok";
    char url[256];
    struct client_request req = request_to(fx, url, sizeof(url), "/hang");
    /* After each number of turns: unsent, connecting, waiting. */
    for (int turns = 0; turns < 6; turns++) {
        struct outcome out = {.fx = fx};
        struct client_call *call;
        assert_int_equal(client_start(fx->client, &req, on_done, &out, &call, NULL), 0);
        for (int i = 0; i < turns; i++) {
            uv_run(&fx->loop, UV_RUN_NOWAIT);
        }
        client_cancel(call);
        uv_run(&fx->loop, UV_RUN_NOWAIT);
        assert_false(out.done);
    }
    assert_int_equal(get(fx, "/a").status, 200);
}

/* A callback may cancel another call, finished in the same turn or not, and free the client. */
static void callbacks_may_cancel_others(void **state)
{
    struct fixture *fx = *state;
    char url[256], hang_url[256];
    fake_route(&fx->fake, "/hang")->hang = true;
    struct client_request quick = request_to(fx, url, sizeof(url), "/a");
    struct client_request slow = request_to(fx, hang_url, sizeof(hang_url), "/hang");
    struct client_call *first, *second;
    struct outcome a = {.fx = fx}, b = {.fx = fx};
    a.also_cancel = &second;
    assert_int_equal(client_start(fx->client, &quick, on_done, &a, &first, NULL), 0);
    assert_int_equal(client_start(fx->client, &slow, on_done, &b, &second, NULL), 0);
    wait_for(fx, &a.done);
    assert_false(b.done);
}

static void callbacks_may_free_the_client(void **state)
{
    struct fixture *fx = *state;
    char url[256];
    struct client_request req = request_to(fx, url, sizeof(url), "/a");
    struct outcome outs[8];
    for (int i = 0; i < 8; i++) {
        assert_int_equal(start(fx, &req, &outs[i]), 0);
        outs[i].free_client = true;
    }
    int finished = 0;
    while (finished == 0) {
        uv_run(&fx->loop, UV_RUN_ONCE);
        for (int i = 0; i < 8; i++) {
            finished += outs[i].done;
        }
    }
    assert_int_equal(finished, 1); /* the others ended without callback */
    assert_null(fx->client);
}

static void many_calls_share_connections(void **state)
{
    struct fixture *fx = *state;
    fake_route(&fx->fake, "/a")->body = "ok";
    char url[256];
    struct client_request req = request_to(fx, url, sizeof(url), "/a");
    static struct outcome outs[100];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++) {
            assert_int_equal(start(fx, &req, &outs[i]), 0);
        }
        for (int i = 0; i < 100; i++) {
            wait_for(fx, &outs[i].done);
            assert_int_equal(outs[i].status, 200);
        }
    }
    assert_int_equal(fake_route(&fx->fake, "/a")->hits, 300);
    assert_true(fx->fake.accepted <= 100);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_have_kinds),
        CASE(answers_are_bounded),
        CASE(answers_arrive_whole),
        CASE(callbacks_may_cancel_others),
        CASE(callbacks_may_free_the_client),
        CASE(cancelled_calls_are_silent),
        CASE(compressed_answers_are_unpacked),
        CASE(failures_have_names),
        CASE(headers_are_checked),
        CASE(fresh_calls_leave_no_connection),
        CASE(interim_answers_are_no_answers),
        CASE(large_bodies_are_sent_at_once),
        CASE(many_calls_share_connections),
        CASE(methods_and_bodies),
        CASE(redirects_are_bounded_and_optional),
        CASE(redirects_change_the_method),
        CASE(redirects_stay_within_the_rules),
        CASE(resolved_addresses_are_checked),
        CASE(reused_connections_are_checked),
        cmocka_unit_test(rules_decide_by_text),
        CASE(secrets_stay_with_their_origin),
        cmocka_unit_test(urls_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
