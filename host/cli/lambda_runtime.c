/* The Runtime API over libcurl's easy interface. */
#include "cli/lambda_runtime.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/limits.h"
#include "base/str.h"

int lambda_runtime_open(struct lambda_runtime *r, const char *address, struct err *err)
{
    *r = (struct lambda_runtime){.curl = curl_easy_init(), .share = curl_share_init()};
    if (r->curl == NULL || r->share == NULL ||
        curl_share_setopt(r->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_CONNECT) != CURLSHE_OK)
        return err_set(err, -ENOMEM, "out of memory");
    int len = snprintf(r->base, sizeof(r->base), "http://%s/2018-06-01/runtime/", address);
    if (len < 0 || (size_t)len >= sizeof(r->base) - 128)
        return err_set(err, -EINVAL, "AWS_LAMBDA_RUNTIME_API is too long for an address");
    return 0;
}

void lambda_runtime_close(struct lambda_runtime *r)
{
    curl_easy_cleanup(r->curl);
    curl_share_cleanup(r->share);
    buf_free(&r->event);
    buf_free(&r->answer);
}

/* ---- one call ---- */

static size_t on_bytes(char *bytes, size_t size, size_t count, void *arg)
{
    struct lambda_runtime *r = arg;
    if (r->answer.len + size * count > LIMIT_LAMBDA_EVENT) {
        r->too_large = true;
        return 0;
    }
    buf_add(&r->answer, bytes, size * count);
    return buf_failed(&r->answer) ? 0 : size * count;
}

/* `path` is below `base`. */
static void begin(struct lambda_runtime *r, const char *path)
{
    char url[sizeof(r->base) + 128];
    snprintf(url, sizeof(url), "%s%s", r->base, path);
    buf_clear(&r->answer);
    r->reason[0] = '\0';
    curl_easy_reset(r->curl);
    curl_easy_setopt(r->curl, CURLOPT_URL, url);
    curl_easy_setopt(r->curl, CURLOPT_SHARE, r->share);
    curl_easy_setopt(r->curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(r->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(r->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(r->curl, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(r->curl, CURLOPT_USERAGENT, "luafn/" LUAFN_VERSION);
    curl_easy_setopt(r->curl, CURLOPT_ERRORBUFFER, r->reason);
    curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, r);
}

/* NULL and *status, or why there is no answer. */
static const char *perform(struct lambda_runtime *r, long *status)
{
    CURLcode code = curl_easy_perform(r->curl);
    if (code != CURLE_OK)
        return r->too_large           ? "the event is too large"
               : r->reason[0] != '\0' ? r->reason
                                      : curl_easy_strerror(code);
    curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, status);
    return NULL;
}

/* ---- the next event ---- */

static struct str header(struct lambda_runtime *r, const char *name)
{
    struct curl_header *found;
    if (curl_easy_header(r->curl, name, 0, CURLH_HEADER, -1, &found) != CURLHE_OK)
        return (struct str){NULL, 0};
    return str_from(found->value);
}

static bool is_id(struct str id, size_t size)
{
    for (size_t i = 0; i < id.len; i++) {
        if (!str_is_alnum(id.ptr[i]) && id.ptr[i] != '-' && id.ptr[i] != '_')
            return false;
    }
    return id.len > 0 && id.len < size;
}

int lambda_runtime_next(struct lambda_runtime *r, struct err *err)
{
    long status = 0;
    uint64_t deadline = 0;
    begin(r, "invocation/next");
    const char *fault = perform(r, &status);
    if (fault != NULL)
        return err_set(err, -EIO, "Lambda's Runtime API does not answer: %s", fault);
    struct str id = header(r, "Lambda-Runtime-Aws-Request-Id");
    if (status != 200)
        return err_set(err, -EPROTO,
                       "Lambda's Runtime API answers %ld where the next event was "
                       "asked for",
                       status);
    if (!is_id(id, sizeof(r->id)))
        return err_set(err, -EPROTO,
                       "Lambda's Runtime API gives an event without a "
                       "Lambda-Runtime-Aws-Request-Id that can be used");
    memcpy(r->id, id.ptr, id.len);
    r->id[id.len] = '\0';
    struct str until = header(r, "Lambda-Runtime-Deadline-Ms");
    r->deadline_ms = str_to_u64(until, INT64_MAX, &deadline) == 0 ? (int64_t)deadline : 0;
    struct buf event = r->event;
    r->event = r->answer;
    r->answer = event;
    return 0;
}

/* ---- what came of it ---- */

/* What was refused is of this event alone; 500 means that the process is to end. */
static int judge(struct lambda_runtime *r, long status, struct err *err)
{
    if (status >= 200 && status < 300)
        return 0;
    struct str text = buf_str(&r->answer);
    text.len = text.len < 256 ? text.len : 256;
    err_set(err, 0, "Lambda does not take the answer: %ld %.*s", status, STR_ARG(text));
    return status >= 400 && status < 500 ? 1 : -EPROTO;
}

/* `list` is stolen, and may be NULL for want of memory. The next line; NULL likewise. */
static struct curl_slist *add(struct curl_slist *list, const char *line)
{
    struct curl_slist *longer = list != NULL ? curl_slist_append(list, line) : NULL;
    if (longer == NULL)
        curl_slist_free_all(list);
    return longer;
}

/* Without a word about Expect libcurl waits for a 100 before a large body. */
static struct curl_slist *headers_of(const char *type)
{
    return add(curl_slist_append(NULL, "Expect:"), type);
}

/* Steals the headers. Lambda closes the connection when it refuses what has not come whole, which
 * may be seen before its answer is: whether it is still there the next event shows. */
static int post(struct lambda_runtime *r, struct curl_slist *headers, struct err *err)
{
    long status = 0;
    if (headers == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    curl_easy_setopt(r->curl, CURLOPT_POST, 1L);
    curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, headers);
    const char *fault = perform(r, &status);
    curl_slist_free_all(headers);
    if (fault == NULL)
        return judge(r, status, err);
    err_set(err, 0, "Lambda does not take the answer: %s", fault);
    return 1;
}

static void set_body(struct lambda_runtime *r, struct str body)
{
    curl_easy_setopt(r->curl, CURLOPT_POSTFIELDS, body.ptr != NULL ? body.ptr : "");
    curl_easy_setopt(r->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
}

static void begin_of(struct lambda_runtime *r, const char *what)
{
    char path[sizeof(r->id) + 32];
    snprintf(path, sizeof(path), "invocation/%s/%s", r->id, what);
    begin(r, path);
}

int lambda_runtime_answer(struct lambda_runtime *r, struct str body, struct err *err)
{
    begin_of(r, "response");
    set_body(r, body);
    return post(r, headers_of("Content-Type: application/json"), err);
}

/* ---- in pieces ---- */

struct sending {
    lambda_body_fn *body;
    void *arg;
    bool broken;
};

static size_t on_read(char *out, size_t size, size_t count, void *arg)
{
    struct sending *s = arg;
    long got = s->body(s->arg, out, size * count);
    s->broken = got < 0;
    return got > 0 ? (size_t)got : 0;
}

#define BROKEN_TYPE "Runtime.BrokenAnswer"
#define BROKEN_TEXT                                                                                \
    "{\"errorType\":\"" BROKEN_TYPE "\",\"errorMessage\":\"The answer ended before its end\"}"

static int on_trailers(struct curl_slist **list, void *arg)
{
    const struct sending *s = arg;
    char line[64 + BASE64_ENCODED_MAX(sizeof(BROKEN_TEXT))] =
        "Lambda-Runtime-Function-Error-Body: ";
    if (!s->broken)
        return CURL_TRAILERFUNC_OK;
    size_t start = strlen(line);
    size_t len = base64_encode(STR(BROKEN_TEXT), BASE64_STANDARD, line + start);
    line[start + len] = '\0';
    *list = add(curl_slist_append(NULL, "Lambda-Runtime-Function-Error-Type: " BROKEN_TYPE), line);
    return *list != NULL ? CURL_TRAILERFUNC_OK : CURL_TRAILERFUNC_ABORT;
}

/* libcurl (7.88) sends trailers once in the life of a handle; the second time it writes before its
 * buffer. */
static int renew(struct lambda_runtime *r)
{
    CURL *fresh = curl_easy_init();
    if (fresh == NULL)
        return -ENOMEM;
    curl_easy_cleanup(r->curl);
    r->curl = fresh;
    return 0;
}

int lambda_runtime_stream(struct lambda_runtime *r, lambda_body_fn *body, void *arg,
                          struct err *err)
{
    if (renew(r) != 0)
        return err_set(err, -ENOMEM, "out of memory");
    struct sending sending = {body, arg, false};
    struct curl_slist *headers =
        headers_of("Content-Type: application/vnd.awslambda.http-integration-response");
    headers = add(headers, "Lambda-Runtime-Function-Response-Mode: streaming");
    headers = add(headers, "Transfer-Encoding: chunked");
    headers = add(headers, "Trailer: Lambda-Runtime-Function-Error-Type, "
                           "Lambda-Runtime-Function-Error-Body");
    begin_of(r, "response");
    curl_easy_setopt(r->curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(r->curl, CURLOPT_READDATA, &sending);
    curl_easy_setopt(r->curl, CURLOPT_TRAILERFUNCTION, on_trailers);
    curl_easy_setopt(r->curl, CURLOPT_TRAILERDATA, &sending);
    return post(r, headers, err);
}

/* ---- faults ---- */

static int post_fault(struct lambda_runtime *r, const char *type, const char *text, struct err *err)
{
    struct buf body = BUF_INIT;
    char line[128];
    snprintf(line, sizeof(line), "Lambda-Runtime-Function-Error-Type: %s", type);
    buf_add_str(&body, STR("{\"errorType\":"));
    buf_add_json(&body, str_from(type));
    buf_add_str(&body, STR(",\"errorMessage\":"));
    buf_add_json(&body, str_from(text));
    buf_add_str(&body, STR(",\"stackTrace\":[]}"));
    set_body(r, buf_failed(&body) ? STR("{}") : buf_str(&body));
    int rc =
        post(r, add(headers_of("Content-Type: application/vnd.aws.lambda.error+json"), line), err);
    buf_free(&body);
    return rc;
}

int lambda_runtime_fail(struct lambda_runtime *r, const char *type, const char *text,
                        struct err *err)
{
    begin_of(r, "error");
    return post_fault(r, type, text, err);
}

int lambda_runtime_fail_init(struct lambda_runtime *r, const char *type, const char *text,
                             struct err *err)
{
    begin(r, "init/error");
    return post_fault(r, type, text, err);
}
