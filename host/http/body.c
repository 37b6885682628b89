/* What has come of a body, and whether it may go on. */
#include "http/body.h"

#include <stdlib.h>

#include "base/limits.h"

const struct http_fault body_too_large = {413, "payload_too_large", "The body is too large"};

struct body *body_new(struct arena *arena, uint64_t announced)
{
    struct body *body = arena_zalloc(arena, sizeof(*body));
    if (body != NULL) {
        body->announced = announced;
        body->limit = UINT64_MAX;
    }
    return body;
}

void body_free(struct body *body)
{
    buf_free(&body->buf);
}

const struct http_fault *body_set_limit(struct body *body, uint64_t limit)
{
    body->limit = limit;
    if (body->fault == NULL &&
        (body->received > limit || (body->announced != BODY_UNSIZED && body->announced > limit)))
        body->fault = &body_too_large;
    return body->fault;
}

static size_t waiting(const struct body *body)
{
    return body->buf.len - body->used;
}

/* ---- the connection's side ---- */

bool body_has_room(const struct body *body)
{
    return body->mode == BODY_WHOLE ||
           (body->mode == BODY_PIECES && body->asked && waiting(body) < BODY_PIECE_BYTES);
}

void body_listen(struct body *body, uint64_t now_ms)
{
    body->listening_since = body->heard_at = now_ms;
}

void body_push(struct body *body, struct str bytes, uint64_t now_ms)
{
    if (body->fault != NULL || bytes.len == 0)
        return;
    if (bytes.len > body->limit - body->received) {
        body->fault = &body_too_large;
        return;
    }
    body->received += bytes.len;
    if (body->mode == BODY_WHOLE || body->asked)
        body->listened += now_ms - body->listening_since;
    body->listening_since = body->heard_at = now_ms;
    if (body->used > 0)
        buf_consume(&body->buf, body->used);
    body->used = 0;
    buf_add_str(&body->buf, bytes);
    if (buf_failed(&body->buf))
        body->fault = &fault_no_memory;
}

bool body_is_late(const struct body *body, uint64_t now_ms, uint64_t silence_ms)
{
    uint64_t listened = body->listened + now_ms - body->listening_since;
    return now_ms - body->heard_at >= silence_ms ||
           listened >= silence_ms + body->received * 1000 / LIMIT_BODY_RATE;
}

/* ---- the side of who pulls ---- */

bool body_is_ready(const struct body *body)
{
    if (body->complete || body->fault != NULL)
        return body->mode != BODY_UNWANTED;
    return body->mode == BODY_PIECES && body->asked && waiting(body) > 0;
}

struct str body_piece(const struct body *body)
{
    struct str all = buf_str(&body->buf);
    all = body->used > 0 ? str_skip(all, body->used) : all;
    if (all.len > BODY_PIECE_BYTES)
        all.len = BODY_PIECE_BYTES;
    return all;
}

void body_take(struct body *body, size_t len)
{
    body->used += len;
    if (body->used == body->buf.len) {
        buf_clear(&body->buf);
        body->used = 0;
    }
}

struct str body_take_all(struct body *body, struct arena *arena)
{
    struct str all = buf_str(&body->buf);
    if (all.len == 0)
        return STR("");
    if (arena_defer(arena, free, body->buf.data) != 0)
        return (struct str){NULL, 0};
    body->buf = BUF_INIT;
    return all;
}
