#include "app/job_request.h"

#include <errno.h>

#include "json/dump.h"
#include "json/strict.h"
#include "store/job.h"

/* ---- writing ---- */

static void add_number(struct buf *out, uint32_t number)
{
    buf_add(out, &number, sizeof(number));
}

static void add_text(struct buf *out, struct str text)
{
    add_number(out, (uint32_t)text.len);
    if (text.ptr != NULL)
        buf_add_str(out, text);
}

/* One that may be absent, which is not the same as empty. */
static void add_optional(struct buf *out, struct str text)
{
    buf_add_char(out, text.ptr != NULL);
    add_text(out, text.ptr != NULL ? text : STR(""));
}

/* As they came, where that is known. */
static void add_claims(struct buf *out, const struct claims *claims)
{
    struct buf made = BUF_INIT;
    struct str text = {NULL, 0};
    if (claims != NULL && claims->text_len > 0) {
        text = (struct str){claims->text, claims->text_len};
    } else if (claims != NULL) {
        dump_json(&made, claims->json, JSON_COMPACT);
        text = buf_str(&made);
    }
    out->failed |= buf_failed(&made);
    add_text(out, text);
    buf_free(&made);
}

void job_request_write(struct buf *out, const struct exchange *ex, struct str path,
                       const struct claims *claims, struct str token)
{
    const struct request *req = &ex->req;
    job_begin_payload(out, JOB_CALL);
    add_text(out, req->method_name);
    add_text(out, req->target);
    add_text(out, req->path);
    add_optional(out, req->query);
    add_text(out, req->host);
    add_text(out, req->scheme);
    add_text(out, req->client_ip);
    add_text(out, str_from(ex->request_id));
    add_text(out, path);
    add_optional(out, claims != NULL ? token : (struct str){NULL, 0});
    add_number(out, claims != NULL ? (uint32_t)claims->alg : 0);
    add_claims(out, claims);
    add_number(out, (uint32_t)req->forwarded);
    buf_add_char(out, req->forwarded_host);
    add_text(out, req->cert_header);
    add_number(out, req->headers.len);
    for (uint32_t i = 0; i < req->headers.len; i++) {
        add_text(out, req->headers.items[i].name);
        add_text(out, req->headers.items[i].value);
    }
    add_optional(out, req->body);
}

/* ---- reading ---- */

/* What is left to read, in the arena; `rc` stays at the first fault. */
struct reader {
    struct str rest;
    int rc;
};

static uint32_t take_number(struct reader *r)
{
    uint32_t number = 0;
    if (r->rc == 0 && !str_take(&r->rest, &number, sizeof(number)))
        r->rc = -EINVAL;
    return number;
}

static struct str take_text(struct reader *r)
{
    uint32_t len = take_number(r);
    if (r->rc == 0 && r->rest.len < len)
        r->rc = -EINVAL;
    if (r->rc != 0)
        return (struct str){NULL, 0};
    struct str text = {r->rest.ptr, len};
    r->rest = str_skip(r->rest, len);
    return text;
}

static bool take_bool(struct reader *r)
{
    char set = 0;
    if (r->rc == 0 && !str_take(&r->rest, &set, sizeof(set)))
        r->rc = -EINVAL;
    return set != 0;
}

static struct str take_optional(struct reader *r)
{
    bool there = take_bool(r);
    struct str text = take_text(r);
    return there ? text : (struct str){NULL, 0};
}

static void take_headers(struct reader *r, struct exchange *ex)
{
    uint32_t count = take_number(r);
    for (uint32_t i = 0; r->rc == 0 && i < count; i++) {
        struct str name = take_text(r), value = take_text(r);
        if (r->rc == 0)
            r->rc = headers_add(&ex->req.headers, &ex->arena, name, value);
    }
}

static void take_claims(struct reader *r, struct job_request *out)
{
    out->token = take_optional(r);
    uint32_t alg = take_number(r);
    struct str text = take_text(r);
    if (r->rc == 0 && alg >= ALG_COUNT)
        r->rc = -EINVAL;
    if (r->rc != 0 || out->token.ptr == NULL)
        return;
    json_t *json = strict_json_watched(text, 0, NULL);
    if (!json_is_object(json))
        r->rc = -EINVAL;
    else if ((out->claims = claims_new(json_incref(json), text, (enum alg)alg, CLAIMS_ANY)) == NULL)
        r->rc = -ENOMEM;
    json_decref(json);
}

static int read_call(struct reader *r, struct exchange *ex, struct job_request *out)
{
    struct request *req = &ex->req;
    req->method_name = take_text(r);
    req->target = take_text(r);
    req->path = take_text(r);
    req->query = take_optional(r);
    req->host = take_text(r);
    req->scheme = take_text(r);
    req->client_ip = take_text(r);
    struct str id = take_text(r);
    out->path = take_text(r);
    take_claims(r, out);
    uint32_t forwarded = take_number(r);
    req->forwarded = (enum forwarded_by)forwarded;
    req->forwarded_host = take_bool(r);
    req->cert_header = take_text(r);
    take_headers(r, ex);
    req->body = take_optional(r);
    if (r->rc == 0 &&
        (request_method_parse(req->method_name, &req->method) != 0 ||
         id.len >= sizeof(ex->request_id) || forwarded > FORWARDED_BY_RFC7239 || r->rest.len != 0))
        r->rc = -EINVAL;
    if (r->rc == 0 && id.ptr != NULL)
        memcpy(ex->request_id, id.ptr, id.len);
    return r->rc;
}

static int read_value(struct reader *r, struct exchange *ex)
{
    struct request *req = &ex->req;
    struct headers *headers = &req->headers;
    req->method = METHOD_POST;
    req->method_name = STR("POST");
    req->body = r->rest;
    req->host = STR("localhost");
    req->scheme = STR("http");
    req->client_ip = STR("127.0.0.1");
    bool ok = headers_add(headers, &ex->arena, STR("content-type"), STR("application/json")) == 0 &&
              headers_add(headers, &ex->arena, STR("user-agent"), STR("luafn queue")) == 0 &&
              headers_add(headers, &ex->arena, STR("x-nf-event"), STR("queue")) == 0;
    return ok ? 0 : -ENOMEM;
}

int job_request_read(struct str payload, struct exchange *ex, struct job_request *out)
{
    struct str copy = arena_copy(&ex->arena, payload);
    *out = (struct job_request){0};
    if (copy.ptr == NULL)
        return -ENOMEM;
    enum job_kind kind;
    if (!job_read_head(copy, &kind))
        return -EINVAL;
    ex->req.version_minor = 1;
    struct reader r = {.rest = str_skip(copy, JOB_HEAD_BYTES)};
    int rc = kind == JOB_VALUE ? read_value(&r, ex) : read_call(&r, ex, out);
    if (rc != 0) {
        claims_unref(out->claims);
        out->claims = NULL;
    }
    return rc;
}
