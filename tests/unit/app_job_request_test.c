/* What a job carries: it comes back as it was, and nothing that is cut off or foreign is taken for
 * one. */
#include "unit.h"
#include "failing_malloc.h"

#include <errno.h>
#include <string.h>

#include "app/job_request.h"
#include "store/job.h"

static const char token[] = "a.b.c";
static const char claims_text[] = "{\"sub\":\"u1\",\"n\":1.10}";

static struct exchange *new_exchange(void)
{
    struct exchange *ex = exchange_new(NULL, NULL);
    assert_non_null(ex);
    ex->state = EXCHANGE_WORKING;
    return ex;
}

static struct claims *new_claims(void)
{
    json_t *json = json_loads(claims_text, 0, NULL);
    struct claims *claims = claims_new(json, str_from(claims_text), ALG_ES256, CLAIMS_ANY);
    assert_non_null(claims);
    return claims;
}

static void make_call(struct exchange *ex)
{
    struct request *req = &ex->req;
    req->method = METHOD_PUT;
    req->method_name = STR("PUT");
    req->target = STR("/a?b=c");
    req->path = STR("/a");
    req->query = STR("b=c");
    req->host = STR("h");
    req->scheme = STR("https");
    req->client_ip = STR("192.0.2.1");
    req->body = (struct str){"\0body", 5};
    assert_int_equal(headers_add(&req->headers, &ex->arena, STR("x-a"), STR("1")), 0);
    assert_int_equal(headers_add(&req->headers, &ex->arena, STR("x-a"), STR("")), 0);
    memcpy(ex->request_id, "01REQUEST", 10);
}

static void assert_text(struct str got, const char *expected)
{
    assert_true(str_eq(got, str_from(expected)));
}

static void write_call(struct buf *out, bool with_claims)
{
    struct exchange *ex = new_exchange();
    struct claims *claims = with_claims ? new_claims() : NULL;
    make_call(ex);
    job_request_write(out, ex, STR("/api/a"), claims, with_claims ? STR(token) : STR(""));
    claims_unref(claims);
    exchange_release(ex);
}

static int read_job(struct str payload, struct exchange **ex, struct job_request *out)
{
    *ex = new_exchange();
    return job_request_read(payload, *ex, out);
}

static void test_call(void **state)
{
    (void)state;
    for (unsigned with_claims = 0; with_claims < 2; with_claims++) {
        struct buf payload = BUF_INIT;
        struct exchange *ex;
        struct job_request job;
        write_call(&payload, with_claims);
        assert_int_equal(read_job(buf_str(&payload), &ex, &job), 0);
        const struct request *req = &ex->req;
        assert_int_equal(req->method, METHOD_PUT);
        assert_text(req->target, "/a?b=c");
        assert_text(req->query, "b=c");
        assert_text(req->client_ip, "192.0.2.1");
        assert_text(req->scheme, "https");
        assert_true(str_eq(req->body, (struct str){"\0body", 5}));
        assert_int_equal(req->headers.len, 2);
        assert_text(req->headers.items[1].value, "");
        assert_string_equal(ex->request_id, "01REQUEST");
        assert_text(job.path, "/api/a");
        assert_int_equal(job.claims != NULL, with_claims);
        if (job.claims != NULL) {
            assert_text(job.token, token);
            assert_int_equal(job.claims->alg, ALG_ES256);
            assert_text((struct str){job.claims->text, job.claims->text_len}, claims_text);
        }
        claims_unref(job.claims);
        exchange_release(ex);
        buf_free(&payload);
    }
}

static void test_value(void **state)
{
    struct buf payload = BUF_INIT;
    struct exchange *ex;
    struct job_request job;
    (void)state;
    job_begin_payload(&payload, JOB_VALUE);
    buf_add_str(&payload, STR("[1]"));
    assert_int_equal(read_job(buf_str(&payload), &ex, &job), 0);
    assert_int_equal(ex->req.method, METHOD_POST);
    assert_text(ex->req.body, "[1]");
    assert_null(job.claims);
    assert_null(job.path.ptr);
    exchange_release(ex);
    buf_free(&payload);
}

static void assert_refused(struct str payload)
{
    struct exchange *ex;
    struct job_request job;
    assert_int_equal(read_job(payload, &ex, &job), -EINVAL);
    assert_null(job.claims);
    exchange_release(ex);
}

static void test_cut_off_and_foreign(void **state)
{
    struct buf payload = BUF_INIT;
    (void)state;
    write_call(&payload, true);
    for (size_t len = 0; len < payload.len; len++)
        assert_refused((struct str){payload.data, len});
    buf_add_char(&payload, 'x'); /* one byte too many */
    assert_refused(buf_str(&payload));
    payload.len--;
    payload.data[2] = JOB_VERSION + 1;
    assert_refused(buf_str(&payload));
    payload.data[2] = JOB_VERSION;
    payload.data[3] = 'z';
    assert_refused(buf_str(&payload));
    payload.data[3] = JOB_CALL;
    payload.data[JOB_HEAD_BYTES + 4] = '?'; /* "?UT" is no method */
    assert_refused(buf_str(&payload));
    buf_free(&payload);
}

/* Each number in it may be anything. */
static void test_bytes_that_are_changed(void **state)
{
    struct buf payload = BUF_INIT;
    (void)state;
    write_call(&payload, true);
    for (size_t at = 0; at < payload.len; at++) {
        struct exchange *ex;
        struct job_request job;
        char was = payload.data[at];
        payload.data[at] = (char)0xff;
        int rc = read_job(buf_str(&payload), &ex, &job);
        assert_true(rc == 0 || rc == -EINVAL);
        claims_unref(job.claims);
        exchange_release(ex);
        payload.data[at] = was;
    }
    buf_free(&payload);
}

static void test_no_memory(void **state)
{
    struct buf payload = BUF_INIT;
    int rc = -ENOMEM;
    (void)state;
    if (!owns_malloc())
        skip();
    write_call(&payload, true);
    for (unsigned long n = 1; rc != 0; n++) {
        struct job_request job;
        struct exchange *ex = new_exchange();
        struck = false;
        countdown = n;
        rc = job_request_read(buf_str(&payload), ex, &job);
        countdown = 0;
        assert_true(rc == 0 || (struck && job.claims == NULL));
        claims_unref(job.claims);
        exchange_release(ex);
    }
    buf_free(&payload);
}

/* Claims of which there is no text are written whole, or the payload has failed. */
static void test_no_memory_to_write(void **state)
{
    struct buf whole = BUF_INIT;
    bool failed = true;
    (void)state;
    if (!owns_malloc())
        skip();
    struct exchange *ex = new_exchange();
    struct claims *claims = new_claims();
    claims->text_len = 0;
    make_call(ex);
    job_request_write(&whole, ex, STR("/api/a"), claims, STR(token));
    for (unsigned long n = 1; failed; n++) {
        struct buf payload = BUF_INIT;
        struck = false;
        countdown = n;
        job_request_write(&payload, ex, STR("/api/a"), claims, STR(token));
        countdown = 0;
        failed = buf_failed(&payload);
        assert_true(failed ? struck : str_eq(buf_str(&payload), buf_str(&whole)));
        buf_free(&payload);
    }
    claims_unref(claims);
    exchange_release(ex);
    buf_free(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call),
        cmocka_unit_test(test_value),
        cmocka_unit_test(test_cut_off_and_foreign),
        cmocka_unit_test(test_bytes_that_are_changed),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_no_memory_to_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
