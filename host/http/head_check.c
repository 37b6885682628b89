/* Target, Host, framing, Expect, Connection: the rules that need the whole head. */
#include "http/head_check.h"

#include <arpa/inet.h>

#include "http/chars.h"

#define BAD(name, sentence)                                                                        \
    static const struct http_fault name = {400, "bad_request", "Bad request: " sentence}

BAD(bad_target, "the target is neither a path nor an http URL");
BAD(no_host, "HTTP/1.1 needs exactly one Host header");
BAD(bad_host, "the host is malformed");
BAD(other_host, "the host of the target is not that of the Host header");
BAD(bad_length, "Content-Length is not one decimal number");
BAD(two_framings, "both Content-Length and Transfer-Encoding");
BAD(old_chunked, "Transfer-Encoding in HTTP/1.0");
BAD(bad_coding, "Transfer-Encoding is malformed");

static const struct http_fault unknown_coding = {501, "not_implemented",
                                                 "Only the transfer coding chunked is implemented"};
static const struct http_fault unknown_expectation = {417, "expectation_failed",
                                                      "Only Expect: 100-continue can be met"};

/* The fields that decide. */
struct fields {
    struct str host, length, coding, expect;
    unsigned hosts, lengths, codings, expects;
    bool close, keep_alive, upgrade, websocket;
};

static void read_connection(struct fields *f, struct str value)
{
    struct str option;
    while (str_split_next(&value, ',', &option)) {
        option = str_trim(option);
        f->close |= str_eq_nocase(option, STR("close"));
        f->keep_alive |= str_eq_nocase(option, STR("keep-alive"));
        f->upgrade |= str_eq_nocase(option, STR("upgrade"));
    }
}

static void read_upgrade(struct fields *f, struct str value)
{
    struct str protocol;
    while (str_split_next(&value, ',', &protocol))
        f->websocket |= str_eq_nocase(str_trim(protocol), STR("websocket"));
}

static void read_field(struct fields *f, const struct header *h)
{
    if (str_eq(h->name, STR("host"))) {
        f->host = h->value;
        f->hosts++;
    } else if (str_eq(h->name, STR("content-length"))) {
        f->length = h->value;
        f->lengths++;
    } else if (str_eq(h->name, STR("transfer-encoding"))) {
        f->coding = h->value;
        f->codings++;
    } else if (str_eq(h->name, STR("expect"))) {
        f->expect = h->value;
        f->expects++;
    } else if (str_eq(h->name, STR("connection"))) {
        read_connection(f, h->value);
    } else if (str_eq(h->name, STR("upgrade"))) {
        read_upgrade(f, h->value);
    }
}

static bool port_is_valid(struct str port)
{
    uint64_t number = 0;
    return port.len == 0 || str_to_u64(port, 65535, &number) == 0;
}

/* The length of "[" IPv6 address "]" in front, or 0. */
static size_t literal_length(struct str host)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr parsed;
    size_t end = str_find(host, ']');
    if (end == host.len || end > sizeof(address))
        return 0;
    memcpy(address, host.ptr + 1, end - 1);
    address[end - 1] = '\0';
    return inet_pton(AF_INET6, address, &parsed) == 1 ? end + 1 : 0;
}

bool head_host_is_valid(struct str host)
{
    size_t i = 0;
    if (host.len > 0 && host.ptr[0] == '[')
        i = literal_length(host);
    while (host.len > 0 && host.ptr[0] != '[' && i < host.len &&
           http_char_is(host.ptr[i], CHAR_HOST))
        i++;
    if (i == 0)
        return false;
    return i == host.len || (host.ptr[i] == ':' && port_is_valid(str_skip(host, i + 1)));
}

static void split_target(struct request *req)
{
    size_t mark = str_find(req->target, '?');
    req->path = (struct str){req->target.ptr, mark};
    req->query = mark < req->target.len ? str_skip(req->target, mark + 1) : (struct str){NULL, 0};
}

static size_t scheme_length(struct str target)
{
    static const struct str schemes[] = {{"http://", 7}, {"https://", 8}};
    for (size_t i = 0; i < 2; i++) {
        struct str start = {target.ptr, schemes[i].len};
        if (target.len >= start.len && str_eq_nocase(start, schemes[i]))
            return start.len;
    }
    return 0;
}

/* "http://host/path": the host is taken from here (RFC 9112 3.2.2), the rest is the origin form. */
static const struct http_fault *take_absolute(struct request *req, struct arena *arena)
{
    size_t scheme = scheme_length(req->target);
    if (scheme == 0)
        return &bad_target;
    struct str rest = str_skip(req->target, scheme);
    size_t end = 0;
    while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?')
        end++;
    struct str authority = {rest.ptr, end};
    if (!head_host_is_valid(authority))
        return &bad_host;
    if (req->host.len > 0 && !str_eq_nocase(req->host, authority))
        return &other_host;
    req->host = authority;
    req->target = str_skip(rest, end);
    if (req->target.len == 0)
        req->target = STR("/");
    else if (req->target.ptr[0] == '?')
        req->target = arena_printf(arena, "/%.*s", STR_ARG(req->target));
    return req->target.ptr == NULL ? &fault_no_memory : NULL;
}

static const struct http_fault *check_target(struct request *req, struct arena *arena)
{
    const struct http_fault *fault = NULL;
    bool is_star = str_eq(req->target, STR("*"));
    if (is_star ? req->method != METHOD_OPTIONS : req->target.len == 0)
        return &bad_target;
    if (!is_star && req->target.ptr[0] != '/')
        fault = take_absolute(req, arena);
    if (fault == NULL)
        split_target(req);
    return fault;
}

static const struct http_fault *check_host(struct request *req, const struct fields *f)
{
    if (f->hosts > 1 || (f->hosts == 0 && req->version_minor > 0))
        return &no_host;
    if (f->hosts == 1 && !head_host_is_valid(f->host))
        return &bad_host;
    req->host = f->host;
    return NULL;
}

static const struct http_fault *check_length(const struct fields *f, struct head_framing *framing)
{
    bool padded = f->length.len > 1 && f->length.ptr[0] == '0';
    if (f->lengths != 1 || padded || str_to_u64(f->length, UINT64_MAX, &framing->length) != 0)
        return &bad_length;
    framing->body = BODY_LENGTH;
    return NULL;
}

/* A coding that nobody here speaks is 501 (RFC 9112 6.1); what is no list of codings, or has
 * chunked anywhere but once at its end, is 400 (6.3). */
static const struct http_fault *check_coding(struct str coding)
{
    if (str_eq_nocase(coding, STR("chunked")))
        return NULL;
    bool unknown = false, chunked = false;
    struct str part;
    while (str_split_next(&coding, ',', &part)) {
        part = str_trim(part);
        if (chunked || !header_name_is_valid(part)) /* codings are tokens too */
            return &bad_coding;
        chunked = str_eq_nocase(part, STR("chunked"));
        unknown |= !chunked;
    }
    return unknown ? &unknown_coding : &bad_coding;
}

static const struct http_fault *check_framing(const struct request *req, const struct fields *f,
                                              struct head_framing *framing)
{
    *framing = (struct head_framing){.body = BODY_NONE};
    if (f->codings == 0)
        return f->lengths > 0 ? check_length(f, framing) : NULL;
    if (f->lengths > 0)
        return &two_framings;
    if (req->version_minor == 0)
        return &old_chunked;
    if (f->codings > 1)
        return &bad_coding;
    framing->body = BODY_CHUNKED;
    return check_coding(f->coding);
}

/* Expectations are for HTTP/1.1 only (RFC 9110 10.1.1). */
static const struct http_fault *check_expect(struct request *req, const struct fields *f)
{
    if (f->expects == 0 || req->version_minor == 0)
        return NULL;
    if (f->expects > 1 || !str_eq_nocase(f->expect, STR("100-continue")))
        return &unknown_expectation;
    req->expects_continue = true;
    return NULL;
}

const struct http_fault *head_check(struct request *req, struct arena *arena,
                                    struct head_framing *framing)
{
    struct fields f = {0};
    for (uint32_t i = 0; i < req->headers.len; i++)
        read_field(&f, &req->headers.items[i]);
    req->keep_alive = !f.close && (req->version_minor > 0 || f.keep_alive);
    const struct http_fault *fault = check_framing(req, &f, framing);
    /* RFC 6455 section 4.1: a GET of HTTP/1.1 without a body; some say its length: 0. */
    req->upgrade = f.upgrade && f.websocket && req->method == METHOD_GET &&
                   req->version_minor > 0 && framing->body != BODY_CHUNKED && framing->length == 0;
    if (fault == NULL)
        fault = check_host(req, &f);
    if (fault == NULL)
        fault = check_target(req, arena);
    if (fault == NULL)
        fault = check_expect(req, &f);
    return fault;
}
