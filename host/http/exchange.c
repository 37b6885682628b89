/* The life of an exchange, and its names: request id and trace. */
#include "http/exchange.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"

/* Kept for reuse, so that a steady load allocates nothing. A debug build keeps none: there a use
 * after the last release must meet freed memory. */
#ifdef LUAFN_DEBUG
enum { POOL_MAX = 0 };
#else
enum { POOL_MAX = 64 };
#endif
enum { SMALL_BODY = 16 * 1024 };

static struct exchange *pool[POOL_MAX + 1];
static unsigned pool_len;

struct exchange *exchange_new(const struct exchange_sink *sink, void *conn)
{
    struct arena arena;
    struct exchange *ex;
    if (pool_len > 0) {
        ex = pool[--pool_len];
        arena = ex->arena;
    } else {
        ex = malloc(sizeof(*ex));
        arena_init(&arena);
    }
    if (ex == NULL)
        return NULL;
    *ex = (struct exchange){
        .magic = EXCHANGE_MAGIC, .refs = 1, .arena = arena, .sink = sink, .conn = conn};
    list_init(&ex->in_conn);
    holding_init(&ex->holding);
    return ex;
}

void exchange_hold(struct exchange *ex)
{
    assert(ex->magic == EXCHANGE_MAGIC && ex->refs > 0);
    ex->refs++;
}

/* Once; a stream is settled at its end. */
static void settle(struct exchange *ex, bool whole)
{
    void (*on_settled)(struct exchange *, bool) = ex->on_settled;
    if (on_settled == NULL)
        return;
    ex->on_settled = NULL;
    on_settled(ex, whole && ex->res.status >= 200 && ex->res.status < 300);
}

void exchange_release(struct exchange *ex)
{
    assert(ex->magic == EXCHANGE_MAGIC && ex->refs > 0);
    if (--ex->refs > 0)
        return;
    settle(ex, false);
    if (ex->on_over != NULL)
        ex->on_over(ex);
    list_remove(&ex->in_conn);
    buf_free(&ex->stream);
    encoding_free(ex->encoder);
    if (ex->body != NULL)
        body_free(ex->body);
    ex->magic = 0;
    arena_reset(&ex->arena);
    if (pool_len != POOL_MAX) {
        pool[pool_len++] = ex;
        return;
    }
    arena_free(&ex->arena);
    free(ex);
}

void exchange_pool_free(void)
{
    while (pool_len > 0) {
        struct exchange *ex = pool[--pool_len];
        arena_free(&ex->arena);
        free(ex);
    }
}

/* ---- the request's body ---- */

const struct http_fault *exchange_limit_body(struct exchange *ex, uint64_t limit)
{
    if (ex->body != NULL)
        return body_set_limit(ex->body, limit);
    return ex->req.body.len > limit ? &body_too_large : NULL;
}

/* All of it is the request's from now on. */
static void settle_body(struct exchange *ex)
{
    struct str whole = body_take_all(ex->body, &ex->arena);
    if (whole.ptr == NULL) {
        ex->body->fault = &fault_no_memory;
        return;
    }
    ex->req.body = whole;
    ex->body = NULL;
    ex->state = EXCHANGE_WORKING;
}

void exchange_tell_body(struct exchange *ex)
{
    void (*on_body)(struct exchange *) = ex->on_body;
    struct body *body = ex->body;
    if (on_body == NULL || !body_is_ready(body))
        return;
    body->asked = false;
    if (body->mode == BODY_WHOLE && body->fault == NULL)
        settle_body(ex);
    ex->on_body = NULL;
    on_body(ex);
}

/* Reads on, unless what is wanted is there. */
static void pull(struct exchange *ex, void (*on_body)(struct exchange *ex))
{
    ex->on_body = on_body;
    if (body_is_ready(ex->body))
        exchange_tell_body(ex);
    else if (ex->conn != NULL)
        ex->sink->pull(ex);
}

void exchange_read_whole(struct exchange *ex, void (*on_body)(struct exchange *ex))
{
    if (ex->body == NULL) {
        ex->state = EXCHANGE_WORKING;
        on_body(ex);
        return;
    }
    ex->body->mode = BODY_WHOLE;
    ex->state = EXCHANGE_BODY;
    pull(ex, on_body);
}

void exchange_read_piece(struct exchange *ex, void (*on_body)(struct exchange *ex))
{
    assert(ex->body != NULL);
    ex->body->mode = BODY_PIECES;
    ex->body->asked = true;
    pull(ex, on_body);
}

void exchange_stop_reading(struct exchange *ex)
{
    ex->on_body = NULL;
    ex->body->asked = false;
}

struct str exchange_piece(const struct exchange *ex)
{
    return body_piece(ex->body);
}

void exchange_take_piece(struct exchange *ex, size_t len)
{
    body_take(ex->body, len);
    if (ex->conn != NULL && !ex->body->complete && ex->body->fault == NULL)
        ex->sink->pull(ex);
}

/* ---- the answer ---- */

/* Nobody but the encoder has anything to do with it any more. */
static void wait_for_encoder(struct exchange *ex)
{
    ex->state = EXCHANGE_ENCODING;
    ex->on_gone = NULL;
    ex->on_drained = NULL;
}

void exchange_answer(struct exchange *ex)
{
    assert(ex->magic == EXCHANGE_MAGIC);
    if (ex->state > EXCHANGE_WORKING)
        return;                                  /* never a second response */
    bool may_wait = exchange_has_body_whole(ex); /* else the client still sends */
    ex->state = ex->res.streamed ? EXCHANGE_STREAMING : EXCHANGE_ANSWERED;
    if (!ex->res.streamed) {
        ex->on_body = NULL;
        settle(ex, true);
    }
    if (ex->conn == NULL)
        return;
    if (ex->decorate != NULL)
        ex->decorate(ex);
    if (ex->encode != NULL && !ex->res.upgraded && !ex->encode(ex, may_wait))
        wait_for_encoder(ex);
    else
        ex->sink->answer(ex);
}

void exchange_send(struct exchange *ex)
{
    assert(ex->magic == EXCHANGE_MAGIC && ex->state == EXCHANGE_ENCODING);
    ex->state = EXCHANGE_ANSWERED;
    if (ex->conn != NULL)
        ex->sink->answer(ex);
}

void exchange_answer_error(struct exchange *ex, int status, struct str code, struct str text)
{
    if (ex->state > EXCHANGE_WORKING)
        return; /* what was answered may still wait to be sent: leave it as it is */
    ex->res.streamed = false;
    if (response_set_error(&ex->res, &ex->arena, status, code, text) != 0) {
        bool close = ex->res.close;
        ex->res = (struct response){.status = 500, .close = close};
    }
    exchange_answer(ex);
}

void exchange_answer_no_memory(struct exchange *ex)
{
    exchange_answer_error(ex, 500, STR("out_of_memory"), STR("The host is out of memory"));
}

void exchange_refuse(struct exchange *ex, const struct http_fault *fault)
{
    ex->error_code = fault->code;
    exchange_answer_error(ex, fault->status, str_from(fault->code), str_from(fault->text));
}

/* A piece as the client gets it. Without memory the stream is of no use any more. */
static size_t send_encoded(struct exchange *ex, struct str piece, bool last)
{
    struct buf out = BUF_INIT;
    size_t waiting = 0;
    if (encoding_write(ex->encoder, piece, last, &out) == 0)
        waiting = ex->sink->stream_write(ex, buf_str(&out));
    else
        exchange_stream_abort(ex);
    buf_free(&out);
    return waiting;
}

size_t exchange_stream_write(struct exchange *ex, struct str bytes)
{
    if (ex->state != EXCHANGE_STREAMING || ex->conn == NULL)
        return 0;
    if (ex->encoder != NULL)
        return bytes.len > 0 ? send_encoded(ex, bytes, false) : 0;
    return ex->sink->stream_write(ex, bytes);
}

static void end_stream(struct exchange *ex, void (*tell)(struct exchange *ex), bool whole)
{
    if (ex->state != EXCHANGE_STREAMING)
        return;
    settle(ex, whole);
    ex->state = EXCHANGE_ANSWERED;
    ex->on_drained = NULL;
    ex->on_body = NULL;
    if (ex->conn == NULL)
        return;
    assert(tell != NULL);
    tell(ex);
}

void exchange_stream_end(struct exchange *ex)
{
    if (ex->encoder != NULL && ex->state == EXCHANGE_STREAMING && ex->conn != NULL)
        send_encoded(ex, STR(""), true);
    end_stream(ex, ex->sink != NULL ? ex->sink->stream_end : NULL, true);
}

void exchange_stream_abort(struct exchange *ex)
{
    end_stream(ex, ex->sink != NULL ? ex->sink->stream_abort : NULL, false);
}

/* What the log tells, to another arena; of the request's fields only those that go on in what is
 * asked on its behalf. False: out of memory. */
static bool copy_texts(struct request *req, struct str *trace, const char **function,
                       struct arena *to)
{
    struct headers fields = {0};
    bool good = true;
    for (uint32_t i = 0; good && i < req->headers.len; i++) {
        const struct header *h = &req->headers.items[i];
        if (!str_eq(h->name, STR("tracestate")))
            continue;
        struct str value = arena_copy(to, h->value);
        good = value.ptr != NULL && headers_add(&fields, to, STR("tracestate"), value) == 0;
    }
    req->headers = fields;
    req->path = arena_copy(to, req->path);
    req->client_ip = arena_copy(to, req->client_ip);
    *trace = trace->len > 0 ? arena_copy(to, *trace) : STR("");
    if (*function != NULL) {
        *function = arena_copy(to, str_from(*function)).ptr;
        good &= *function != NULL;
    }
    return good && req->path.ptr != NULL && req->client_ip.ptr != NULL && trace->ptr != NULL;
}

void *exchange_lighten(struct exchange *ex, size_t own, struct arena *before)
{
    struct request req = ex->req;
    struct str trace = ex->traceparent;
    const char *function = ex->function;
    struct arena arena;
    if (ex->state != EXCHANGE_STREAMING || !ex->head_sent || ex->hook != NULL ||
        ex->on_settled != NULL)
        return NULL;
    arena_init_with(&arena, arena_size(own) + arena_size(sizeof(*ex->body)) +
                                arena_size(req.path.len + 1) + arena_size(req.client_ip.len + 1) +
                                (trace.len > 0 ? arena_size(trace.len + 1) : 0) +
                                (function != NULL ? arena_size(strlen(function) + 1) : 0));
    bool copied = copy_texts(&req, &trace, &function, &arena);
    void *block = arena_alloc(&arena, own);
    struct body *body = ex->body != NULL ? arena_alloc(&arena, sizeof(*body)) : NULL;
    if (!copied || block == NULL || (ex->body != NULL && body == NULL)) {
        arena_free(&arena);
        return NULL;
    }
    if (body != NULL)
        *body = *ex->body;
    const struct str none = {NULL, 0};
    req.target = req.path;
    req.query = req.host = req.client_cert = req.cert_header = none;
    req.note = NULL;
    ex->req = req;
    ex->body = body;
    ex->traceparent = trace;
    ex->function = function;
    ex->res.headers = (struct headers){0};
    ex->once = NULL;
    ex->dpop_nonce = ex->session_cookie = none;
    *before = ex->arena;
    ex->arena = arena;
    return block;
}

void exchange_put(struct exchange *ex, size_t count)
{
    ex->used += count;
    if (!ex->res.streamed || ex->used < ex->stream.len)
        return;
    if (exchange_holds(ex) > 0)
        buf_free(&ex->stream);
    buf_clear(&ex->stream);
    ex->used = 0;
}

void exchange_add(struct exchange *ex, struct str bytes)
{
    if (ex->used > 0)
        buf_consume(&ex->stream, ex->used);
    ex->used = 0;
    buf_add_str(&ex->stream, bytes);
}

size_t exchange_holds(const struct exchange *ex)
{
    size_t bytes = ex->res.streamed ? ex->stream.cap : ex->res.body.len;
    return bytes > SMALL_BODY ? bytes : 0;
}

void exchange_detach(struct exchange *ex)
{
    assert(ex->magic == EXCHANGE_MAGIC);
    void (*on_gone)(struct exchange *) = ex->on_gone;
    ex->conn = NULL;
    ex->on_gone = NULL;
    ex->on_drained = NULL;
    ex->on_body = NULL;
    if (on_gone != NULL && !exchange_is_complete(ex))
        on_gone(ex);
}

/* One system call for many ids. Ids need not be secret, only distinct: a failing source leaves the
 * time and the counter that is mixed in. */
static void random_bytes(unsigned char *out, size_t len)
{
    static unsigned char stock[4096];
    static size_t used = sizeof(stock);
    static uint64_t counter;
    if (sizeof(stock) - used < len) {
        if (getrandom(stock, sizeof(stock), GRND_NONBLOCK) != (ssize_t)sizeof(stock))
            counter++;
        used = 0;
    }
    memcpy(out, stock + used, len);
    for (size_t i = 0; i < len && i < sizeof(counter); i++)
        out[i] ^= (unsigned char)(counter >> (8 * i));
    used += len;
}

void exchange_make_id(char out[27])
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    struct timespec now;
    unsigned char random[16];
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    for (int i = 9; i >= 0; i--) {
        out[i] = digits[ms & 31];
        ms >>= 5;
    }
    random_bytes(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        out[10 + i] = digits[random[i] & 31];
    out[26] = '\0';
}

/* Will it do no harm in logs, headers and file names? */
static bool id_is_harmless(struct str id)
{
    if (id.len == 0 || id.len >= sizeof(((struct exchange *)0)->request_id))
        return false;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        if (!str_is_alnum(c) && strchr("-_.:=+@", c) == NULL)
            return false;
    }
    return true;
}

static bool is_hex_field(struct str field, size_t len)
{
    bool zero = true;
    for (size_t i = 0; i < field.len; i++) {
        char c = field.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        zero &= c == '0';
    }
    return field.len == len && (!zero || len == 2);
}

/* W3C Trace Context 3.2.2: version 00, or a later one with more fields behind. */
static bool traceparent_is_valid(struct str value)
{
    static const size_t lengths[] = {2, 32, 16, 2};
    if (str_starts_with(value, STR("ff")) || (str_starts_with(value, STR("00")) && value.len != 55))
        return false;
    struct str field;
    for (size_t i = 0; i < 4; i++) {
        if (!str_split_next(&value, '-', &field) || !is_hex_field(field, lengths[i]))
            return false;
    }
    return true;
}

void exchange_identify(struct exchange *ex)
{
    ex->started_ns = clock_monotonic_ns();
    const struct str *id = NULL;
    const struct str *trace = NULL;
    unsigned traces = 0;
    const struct headers *headers = &ex->req.headers;
    for (uint32_t i = 0; i < headers->len; i++) {
        if (str_eq(headers->items[i].name, STR("x-request-id")) && id == NULL)
            id = &headers->items[i].value;
        else if (str_eq(headers->items[i].name, STR("traceparent")) && ++traces == 1)
            trace = &headers->items[i].value;
    }
    if (id != NULL && id_is_harmless(*id))
        memcpy(ex->request_id, id->ptr, id->len);
    else
        exchange_make_id(ex->request_id);
    if (traces == 1 && traceparent_is_valid(*trace))
        ex->traceparent = *trace;
}
