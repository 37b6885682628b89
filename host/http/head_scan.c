/* The scanner: one state a byte, with short loops where runs of equal bytes are common. */
#include "http/head_scan.h"

#include <stdint.h>
#include <string.h>

#include "http/chars.h"
#include "base/limits.h"

/* A robust server skips an empty line before the request (RFC 9112 2.2); no client sends many. */
enum { EMPTY_LINES_MAX = 2, METHOD_BYTES_MAX = 32 };

#define BAD(name, sentence)                                                                        \
    static const struct http_fault name = {400, "bad_request", "Bad request: " sentence}

BAD(bad_start, "too many empty lines before the request line");
BAD(bad_line_end, "a line does not end with CR LF");
BAD(bad_method, "the method holds a character that is not allowed");
BAD(bad_target, "the target holds a character that is not allowed");
BAD(no_target, "the request line is not METHOD SP TARGET SP HTTP/1.1");
BAD(bad_version, "the HTTP version is malformed");
BAD(bad_name, "a header name holds a character that is not allowed");
BAD(empty_name, "a header has no name");
BAD(bad_value, "a header value holds a character that is not allowed");
BAD(folded, "a header is folded over two lines");

static const struct http_fault unknown_method = {501, "not_implemented",
                                                 "The method is not implemented"};
static const struct http_fault unknown_version = {505, "http_version_not_supported",
                                                  "Only HTTP/1.0 and HTTP/1.1 are spoken here"};
static const struct http_fault long_target = {414, "uri_too_long",
                                              "The request target is too long"};
static const struct http_fault large_head = {431, "headers_too_large",
                                             "The header fields are too large"};
static const struct http_fault many_headers = {431, "headers_too_large",
                                               "There are too many header fields"};

void head_scan_init(struct head_scan *scan, size_t limit)
{
    *scan = (struct head_scan){.state = HEAD_START, .limit = limit, .method = METHOD_COUNT};
}

void head_scan_init_trailers(struct head_scan *scan, size_t limit)
{
    *scan = (struct head_scan){
        .state = HEAD_LINE, .trailers = true, .limit = limit, .method = METHOD_COUNT};
}

static const struct http_fault *on_start(struct head_scan *scan, char c)
{
    if (c == '\n' && scan->state == HEAD_START_LF) {
        scan->state = HEAD_START;
        scan->skipped += 2;
        scan->bytes = 0;
        return scan->skipped > EMPTY_LINES_MAX * 2 ? &bad_start : NULL;
    }
    if (scan->state == HEAD_START_LF || c == '\n')
        return &bad_line_end;
    if (c == '\r') {
        scan->state = HEAD_START_LF;
        return NULL;
    }
    if (!http_char_is(c, CHAR_TOKEN))
        return &bad_method;
    scan->state = HEAD_METHOD;
    scan->word[0] = c;
    scan->at = 1;
    return NULL;
}

static const struct http_fault *on_method(struct head_scan *scan, char c)
{
    if (c == ' ') {
        struct str name = {scan->word, scan->at};
        if (scan->at > sizeof(scan->word) || request_method_parse(name, &scan->method) != 0)
            return &unknown_method;
        scan->state = HEAD_TARGET;
        return NULL;
    }
    if (!http_char_is(c, CHAR_TOKEN))
        return c == '\r' || c == '\n' ? &no_target : &bad_method;
    if (scan->at < sizeof(scan->word))
        scan->word[scan->at] = c;
    return ++scan->at > METHOD_BYTES_MAX ? &unknown_method : NULL;
}

static const struct http_fault *on_target_end(struct head_scan *scan, char c)
{
    if (c == '\r' || c == '\n' || (c == ' ' && scan->target_len == 0))
        return &no_target;
    if (c != ' ')
        return &bad_target;
    scan->state = HEAD_VERSION;
    scan->at = 0;
    return NULL;
}

/* "HTTP/1.x" and CR: exactly one space before, nothing behind. */
static const struct http_fault *on_version(struct head_scan *scan, char c)
{
    static const char form[] = "HTTP/d.d\r"; /* d: any digit */
    char want = form[scan->at];
    if (want == 'd') {
        if (c < '0' || c > '9')
            return &bad_version;
        scan->word[scan->at == 5 ? 0 : 1] = c;
    } else if (c != want) {
        return scan->at == 8 && c == '\n' ? &bad_line_end : &bad_version;
    }
    if (scan->at == 7 && (scan->word[0] != '1' || scan->word[1] > '1'))
        return &unknown_version;
    if (scan->at == 8) {
        scan->version_minor = scan->word[1] - '0';
        scan->state = HEAD_VERSION_LF;
    }
    scan->at++;
    return NULL;
}

static const struct http_fault *on_line(struct head_scan *scan, char c)
{
    if (c == '\r') {
        scan->state = HEAD_END_LF;
        return NULL;
    }
    if (c == ' ' || c == '\t')
        return &folded;
    if (c == '\n')
        return &bad_line_end;
    if (c == ':')
        return &empty_name;
    if (!http_char_is(c, CHAR_TOKEN))
        return &bad_name;
    scan->state = HEAD_NAME;
    return ++scan->lines > LIMIT_HEADER_COUNT ? &many_headers : NULL;
}

static const struct http_fault *on_value_end(struct head_scan *scan, char c)
{
    if (c == '\n')
        return &bad_line_end;
    if (c != '\r')
        return &bad_value;
    scan->state = HEAD_VALUE_LF;
    return NULL;
}

/* LF after CR, in every place where a line ends. */
static const struct http_fault *on_line_feed(struct head_scan *scan, char c)
{
    if (c != '\n')
        return &bad_line_end;
    scan->state = scan->state == HEAD_END_LF ? HEAD_DONE : HEAD_LINE;
    return NULL;
}

static const struct http_fault *on_byte(struct head_scan *scan, char c)
{
    switch (scan->state) {
    case HEAD_START:
    case HEAD_START_LF:
        return on_start(scan, c);
    case HEAD_METHOD:
        return on_method(scan, c);
    case HEAD_TARGET:
        return on_target_end(scan, c);
    case HEAD_VERSION:
        return on_version(scan, c);
    case HEAD_LINE:
        return on_line(scan, c);
    case HEAD_NAME:
        if (c != ':')
            return &bad_name;
        scan->state = HEAD_VALUE;
        return NULL;
    case HEAD_VALUE:
        return on_value_end(scan, c);
    case HEAD_VERSION_LF:
    case HEAD_VALUE_LF:
    case HEAD_END_LF:
        return on_line_feed(scan, c);
    case HEAD_DONE:
        break;
    }
    return NULL;
}

/* Tokens and cookies are most of a head's bytes. */
static void note_credential(struct head_scan *scan, struct str name, size_t at, size_t len)
{
    enum { LONG = 128, EDGE = 16 }; /* its ends are left out, and with them whatever is around it */
    if (len >= LONG &&
        (str_eq_nocase(name, STR("authorization")) || str_eq_nocase(name, STR("cookie")))) {
        scan->credential = at + EDGE;
        scan->credential_len = len - 2 * (size_t)EDGE;
    }
}

/* Whole lines, as nearly all are: NAME ":" VALUE CR LF. What is otherwise, or has not come yet, is
 * left to on_byte. */
static size_t skip_lines(struct head_scan *scan, const char *p, const char *end)
{
    const char *from = p;
    while (scan->lines < LIMIT_HEADER_COUNT) {
        const char *colon = p + http_char_run(p, end, CHAR_TOKEN);
        if (colon == p || colon == end || *colon != ':')
            break;
        const char *behind = colon + 1 + http_char_run(colon + 1, end, CHAR_VALUE);
        if (end - behind < 2 || behind[0] != '\r' || behind[1] != '\n')
            break;
        scan->lines++;
        note_credential(scan, (struct str){p, (size_t)(colon - p)},
                        scan->bytes + (size_t)(colon + 1 - from), (size_t)(behind - colon - 1));
        p = behind + 2;
    }
    return (size_t)(p - from);
}

static size_t skip_target(struct head_scan *scan, const char *p, const char *end)
{
    size_t room = LIMIT_TARGET_BYTES - scan->target_len;
    if ((size_t)(end - p) > room)
        end = p + room;
    size_t run = http_char_run(p, end, CHAR_TARGET);
    scan->target_len += run;
    return run;
}

/* The usual version and the end of its line. */
static size_t skip_version(struct head_scan *scan, const char *p, const char *end)
{
    static const char usual[] = "HTTP/1.1\r\n";
    size_t len = sizeof(usual) - 1;
    if (scan->at > 0 || (size_t)(end - p) < len || memcmp(p, usual, len) != 0)
        return 0;
    scan->version_minor = 1;
    scan->state = HEAD_LINE;
    return len;
}

/* What is common, quickly: runs of equal kind, the bulk of every head, and whole lines. The byte
 * behind them goes to on_byte. */
static size_t skip(struct head_scan *scan, const char *p, const char *end)
{
    switch (scan->state) {
    case HEAD_VALUE:
        return http_char_run(p, end, CHAR_VALUE);
    case HEAD_NAME:
        return http_char_run(p, end, CHAR_TOKEN);
    case HEAD_LINE:
        return skip_lines(scan, p, end);
    case HEAD_TARGET:
        return skip_target(scan, p, end);
    case HEAD_VERSION:
        return skip_version(scan, p, end);
    default:
        return 0;
    }
}

static const struct http_fault *over_limit(const struct head_scan *scan)
{
    return !scan->trailers && scan->state < HEAD_VERSION ? &long_target : &large_head;
}

const struct http_fault *head_scan_feed(struct head_scan *scan, struct str input, size_t *used)
{
    size_t i = 0;
    const struct http_fault *fault = NULL;
    while (i < input.len && scan->state != HEAD_DONE && fault == NULL) {
        size_t room = scan->limit - scan->bytes;
        size_t left = input.len - i;
        size_t run = skip(scan, input.ptr + i, input.ptr + i + (left < room ? left : room));
        scan->bytes += run;
        i += run;
        if (scan->bytes == scan->limit && i < input.len) {
            fault = over_limit(scan);
        } else if (i < input.len) {
            bool at_limit = scan->state == HEAD_TARGET && scan->target_len == LIMIT_TARGET_BYTES;
            if (at_limit && http_char_is(input.ptr[i], CHAR_TARGET))
                fault = &long_target;
            else
                fault = on_byte(scan, input.ptr[i]);
            i++;
            scan->bytes += scan->state != HEAD_START;
        }
    }
    *used = i;
    return fault;
}
