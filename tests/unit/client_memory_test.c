/* The outbound client while libcurl has no memory: each of its allocations during one call fails,
 * alone or with all that follow; and the call after it is answered as if nothing had been. */
#include "unit.h"

#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "fake_http.h"
#include "client/client.h"

/* ---- libcurl's allocations ---- */

static unsigned seen, fail_at; /* 0: none */
static bool and_all_after;

static bool fails(void)
{
    seen++;
    return fail_at != 0 && (seen == fail_at || (seen > fail_at && and_all_after));
}

static void *failing_malloc(size_t size)
{
    return fails() ? NULL : malloc(size);
}

static void *failing_calloc(size_t count, size_t size)
{
    return fails() ? NULL : calloc(count, size);
}

static void *failing_realloc(void *old, size_t size)
{
    return fails() ? NULL : realloc(old, size);
}

static char *failing_strdup(const char *text)
{
    return fails() ? NULL : strdup(text);
}

static int take_over_allocations(void **state)
{
    (void)state;
    return curl_global_init_mem(CURL_GLOBAL_DEFAULT, failing_malloc, free, failing_realloc,
                                failing_strdup, failing_calloc) != CURLE_OK;
}

/* ---- calls ---- */

struct outcome {
    uv_loop_t *loop;
    bool done;
    int error;
    long status;
};

static void on_done(void *arg, const struct client_response *res)
{
    struct outcome *out = arg;
    out->done = true;
    out->error = res->error;
    out->status = res->status;
    uv_stop(out->loop);
}

static struct outcome get(struct client *client, uv_loop_t *loop, int port)
{
    char url[64];
    struct str host = STR("127.0.0.1");
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/a", port);
    struct client_request req = {.url = str_from(url),
                                 .timeout = 5,
                                 .max_bytes = 1000,
                                 .fresh = true, /* opening is where most is allocated */
                                 .rules = {.hosts = &host, .host_count = 1}};
    struct outcome out = {.loop = loop};
    struct client_call *call = NULL;
    struct err err;
    int code = client_start(client, &req, on_done, &out, &call, &err);
    if (code != 0)
        return (struct outcome){.done = true, .error = code};
    while (!out.done)
        assert_true(uv_run(loop, UV_RUN_DEFAULT) != 0 || out.done);
    return out;
}

static void sweep(struct client *client, uv_loop_t *loop, int port)
{
    unsigned failed = 0;
    assert_int_equal(get(client, loop, port).status, 200);
    for (unsigned n = 1;; n++) {
        seen = 0;
        fail_at = n;
        struct outcome out = get(client, loop, port);
        bool struck = seen >= n;
        fail_at = 0;
        if (out.error == 0)
            assert_int_equal(out.status, 200);
        else
            failed++;
        out = get(client, loop, port);
        if (out.error != 0 || out.status != 200)
            fail_msg("after allocation %u: error %d, status %ld", n, out.error, out.status);
        if (!struck)
            break;
    }
    assert_true(failed > 20); /* the functions above are libcurl's */
}

static void a_call_without_memory_harms_no_other(void **state)
{
    (void)state;
    for (int all = 0; all < 2; all++) {
        uv_loop_t loop;
        struct fake fake = {0};
        and_all_after = all == 1;
        assert_int_equal(uv_loop_init(&loop), 0);
        struct client *client = client_new(&loop);
        assert_non_null(client);
        fake_start(&fake, &loop, 0);
        fake_route(&fake, "/a")->body = "hello";
        sweep(client, &loop, fake.port);
        client_free(client);
        fake_stop(&fake);
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&loop), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_call_without_memory_harms_no_other)};
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, take_over_allocations, NULL);
}
