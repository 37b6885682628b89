/* HTTP/2: a request's head, written down as one of HTTP/1.1 for the parser. */
#include "server/h2_internal.h"

/* What would end the request line early; the parser judges the rest. */
static bool is_one_word(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.ptr[i] <= ' ' || text.ptr[i] == 0x7f)
            return false;
    }
    return text.len > 0;
}

/* RFC 8441 section 4; nghttp2 lets it pass with CONNECT alone. */
static void add_protocol(struct h2_stream *s, struct str value)
{
    static const struct http_fault unknown = {501, "not_implemented",
                                              "CONNECT can open a WebSocket, and nothing else"};
    if (str_eq(value, STR("websocket")))
        s->tunnel = true;
    else
        s->fault = &unknown;
}

/* The method comes in any order with the path, so both are kept until the line can be written. */
static bool add_pseudo(struct h2_stream *s, struct str name, struct str value)
{
    struct arena *arena = &s->ex->arena;
    if (str_eq(name, STR(":method")))
        s->ex->req.method_name = arena_copy(arena, value);
    else if (str_eq(name, STR(":path")))
        s->ex->req.target = arena_copy(arena, value);
    else if (str_eq(name, STR(":authority")))
        s->authority = arena_copy(arena, value);
    else if (str_eq(name, STR(":protocol")))
        add_protocol(s, value);
    return !str_eq(name, STR(":method")) && !str_eq(name, STR(":path")) ? true : is_one_word(value);
}

/* RFC 9113 8.2.3: what a client has cut into fields is one field elsewhere. */
static void add_cookie(struct h2_stream *s, struct str crumb)
{
    if (s->cookie.len > 0)
        buf_add_str(&s->cookie, STR("; "));
    buf_add_str(&s->cookie, crumb);
}

static void add_field(struct h2_stream *s, struct str name, struct str value)
{
    if (s->head.len + s->cookie.len > s->h2->conn->server->parser_limits.header_bytes)
        return; /* enough to be refused for */
    if (str_eq(name, STR("cookie"))) {
        add_cookie(s, value);
        return;
    }
    if (str_eq(name, STR("host")) && s->authority.len > 0 && str_eq_nocase(value, s->authority))
        return;
    s->unsized = s->unsized && !str_eq(name, STR("content-length"));
    buf_add_str(&s->head, name);
    buf_add_str(&s->head, STR(": "));
    buf_add_str(&s->head, value);
    buf_add_str(&s->head, STR("\r\n"));
}

int h2_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                 size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
    (void)flags;
    (void)arg;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (s == NULL || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0; /* trailers */
    struct str n = {(const char *)name, name_len};
    struct str v = {(const char *)value, value_len};
    if (n.len > 0 && n.ptr[0] == ':')
        return add_pseudo(s, n, v) ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    add_field(s, n, v);
    return 0;
}
