/* Answers on the wire, and the few shapes of answer that C itself gives. */
#include "http/response.h"

#include <errno.h>

#include "http/date.h"

static const char *const reasons_1xx[] = {"Continue", "Switching Protocols", "Processing",
                                          "Early Hints"};
static const char *const reasons_2xx[] = {"OK",
                                          "Created",
                                          "Accepted",
                                          "Non-Authoritative Information",
                                          "No Content",
                                          "Reset Content",
                                          "Partial Content",
                                          "Multi-Status",
                                          "Already Reported",
                                          [26] = "IM Used"};
static const char *const reasons_3xx[] = {
    "Multiple Choices", "Moved Permanently",  "Found",
    "See Other",        "Not Modified",       "Use Proxy",
    "Switch Proxy",     "Temporary Redirect", "Permanent Redirect"};
static const char *const reasons_4xx[] = {
    [0] = "Bad Request",
    [1] = "Unauthorized",
    [2] = "Payment Required",
    [3] = "Forbidden",
    [4] = "Not Found",
    [5] = "Method Not Allowed",
    [6] = "Not Acceptable",
    [7] = "Proxy Authentication Required",
    [8] = "Request Timeout",
    [9] = "Conflict",
    [10] = "Gone",
    [11] = "Length Required",
    [12] = "Precondition Failed",
    [13] = "Content Too Large",
    [14] = "URI Too Long",
    [15] = "Unsupported Media Type",
    [16] = "Range Not Satisfiable",
    [17] = "Expectation Failed",
    [21] = "Misdirected Request",
    [22] = "Unprocessable Content",
    [23] = "Locked",
    [24] = "Failed Dependency",
    [25] = "Too Early",
    [26] = "Upgrade Required",
    [28] = "Precondition Required",
    [29] = "Too Many Requests",
    [31] = "Request Header Fields Too Large",
    [51] = "Unavailable For Legal Reasons",
};
static const char *const reasons_5xx[] = {
    [0] = "Internal Server Error",
    [1] = "Not Implemented",
    [2] = "Bad Gateway",
    [3] = "Service Unavailable",
    [4] = "Gateway Timeout",
    [5] = "HTTP Version Not Supported",
    [6] = "Variant Also Negotiates",
    [7] = "Insufficient Storage",
    [8] = "Loop Detected",
    [10] = "Not Extended",
    [11] = "Network Authentication Required",
};

static const struct {
    const char *const *phrases;
    size_t count;
} reasons[] = {
    {reasons_1xx, sizeof(reasons_1xx) / sizeof(reasons_1xx[0])},
    {reasons_2xx, sizeof(reasons_2xx) / sizeof(reasons_2xx[0])},
    {reasons_3xx, sizeof(reasons_3xx) / sizeof(reasons_3xx[0])},
    {reasons_4xx, sizeof(reasons_4xx) / sizeof(reasons_4xx[0])},
    {reasons_5xx, sizeof(reasons_5xx) / sizeof(reasons_5xx[0])},
};

const char *response_reason(int status)
{
    const char *phrase = NULL;
    if (status >= 100 && status <= 599) {
        size_t class = (size_t)status / 100 - 1;
        size_t index = (size_t)status % 100;
        if (index < reasons[class].count)
            phrase = reasons[class].phrases[index];
    }
    return phrase != NULL ? phrase : "unknown";
}

bool response_has_body(int status)
{
    return status >= 200 && status != 204 && status != 205 && status != 304;
}

/* Of the message, not of the resource: the serializer's own. */
bool response_is_framing(struct str name)
{
    switch (name.len) {
    case 4:
        return str_eq_nocase(name, STR("date"));
    case 10:
        return str_eq_nocase(name, STR("connection"));
    case 14:
        return str_eq_nocase(name, STR("content-length"));
    case 17:
        return str_eq_nocase(name, STR("transfer-encoding"));
    default:
        return false;
    }
}

/* ---- the head, in the room that was made for all of it ---- */

enum { FIXED_BYTES = 256 }; /* more than the status line, Date and framing ever take */

static char *put(char *at, struct str s)
{
    if (s.len > 0)
        memcpy(at, s.ptr, s.len);
    return at + s.len;
}

static char *put_number(char *at, uint64_t value)
{
    size_t len = 1;
    for (uint64_t rest = value; rest >= 10; rest /= 10)
        len++;
    for (size_t i = len; i > 0; value /= 10)
        at[--i] = (char)('0' + value % 10);
    return at + len;
}

static char *put_status_line(char *at, int status)
{
    at = put(at, STR("HTTP/1.1 "));
    at = put_number(at, (uint64_t)status);
    *at++ = ' ';
    at = put(at, str_from(response_reason(status)));
    at = put(at, STR("\r\nDate: "));
    at = put(at, date_now());
    return put(at, STR("\r\n"));
}

static char *put_framing(char *at, const struct response *res, const struct request *req)
{
    if (res->status < 200 || res->status == 204 || res->unsized)
        return at;
    if (res->streamed && !res->sized) {
        if (req->version_minor > 0 && res->status != 304)
            at = put(at, STR("Transfer-Encoding: chunked\r\n"));
        return at;
    }
    if (res->status == 304 && !res->sized && res->body.len == 0)
        return at; /* the length of the full answer is not known: 0 would be a lie */
    at = put(at, STR("Content-Length: "));
    at = put_number(at, response_length(res));
    return put(at, STR("\r\n"));
}

static size_t most_bytes(const struct headers *headers)
{
    size_t most = FIXED_BYTES;
    for (uint32_t i = 0; i < headers->len; i++)
        most += headers->items[i].name.len + headers->items[i].value.len + strlen(": \r\n");
    return most;
}

void response_write_head(const struct response *res, const struct request *req, bool keep_alive,
                         struct buf *out)
{
    if (buf_reserve(out, most_bytes(&res->headers)) != 0)
        return;
    char *at = put_status_line(out->data + out->len, res->status);
    for (uint32_t i = 0; i < res->headers.len; i++) {
        const struct header *h = &res->headers.items[i];
        if (response_is_framing(h->name))
            continue;
        at = put(at, h->name);
        at = put(at, STR(": "));
        at = put(at, h->value);
        at = put(at, STR("\r\n"));
    }
    at = put_framing(at, res, req);
    if (res->status == 101)
        at = put(at, STR("Connection: Upgrade\r\n"));
    else if (res->status == 426) /* RFC 9110 15.5.22, 7.8 */
        at = put(at, keep_alive ? STR("Connection: Upgrade\r\n")
                                : STR("Connection: close, Upgrade\r\n"));
    else if (!keep_alive)
        at = put(at, STR("Connection: close\r\n"));
    else if (req->version_minor == 0)
        at = put(at, STR("Connection: keep-alive\r\n"));
    at = put(at, STR("\r\n"));
    out->len = (size_t)(at - out->data);
}

int response_set_body(struct response *res, struct arena *arena, int status,
                      struct str content_type, struct str body)
{
    int error = headers_set(&res->headers, arena, STR("Content-Type"), content_type);
    if (error != 0)
        return error;
    res->status = status;
    res->body = body;
    return 0;
}

void response_write_error(struct buf *out, struct str code, struct str text)
{
    buf_add_str(out, STR("{\"error\":"));
    buf_add_json(out, code);
    buf_add_str(out, STR(",\"error_description\":"));
    buf_add_json(out, text);
    buf_add_char(out, '}');
}

static struct str error_json(struct arena *arena, struct str code, struct str text)
{
    struct buf json = BUF_INIT;
    response_write_error(&json, code, text);
    struct str copy = {NULL, 0};
    if (!buf_failed(&json))
        copy = arena_copy(arena, buf_str(&json));
    buf_free(&json);
    return copy;
}

int response_set_error(struct response *res, struct arena *arena, int status, struct str code,
                       struct str text)
{
    struct str body = error_json(arena, code, text);
    if (body.ptr == NULL)
        return -ENOMEM;
    int error = headers_set(&res->headers, arena, STR("X-Content-Type-Options"), STR("nosniff"));
    if (error != 0)
        return error;
    return response_set_body(res, arena, status, STR("application/json"), body);
}

/* An interim status as the final answer would leave the client waiting for ever. */
static void mend_status(struct response *res, struct arena *arena)
{
    if ((res->status >= 200 && res->status <= 999) || res->upgraded)
        return;
    *res = (struct response){.status = 500, .close = res->close || res->streamed};
    if (response_set_error(res, arena, 500, STR("internal_error"), STR("Invalid status")) != 0)
        res->headers.len = 0;
}

/* The answer of last resort is a bare status, for want of memory. It gets the frame of every other
 * error here, after the last that may change the headers: from a list that is everybody's. */
static void mend_bare(struct response *res)
{
    static struct header plain[] = {{{"Content-Type", 12}, {"application/json", 16}},
                                    {{"X-Content-Type-Options", 22}, {"nosniff", 7}}};
    if (res->status < 500 || res->streamed || res->body.len > 0 ||
        headers_get(&res->headers, STR("Content-Type")) != NULL)
        return;
    res->headers = (struct headers){.items = plain, .len = 2, .cap = 2};
    res->body = STR("{\"error\":\"out_of_memory\",\"error_description\":"
                    "\"The host is out of memory\"}");
}

/* RFC 9110 15.3.6: no content, and this is said by a length of 0. */
static void mend_reset(struct response *res)
{
    if (res->status != 205)
        return;
    res->body = STR("");
    res->file = NULL;
    res->streamed = res->sized = res->unsized = false;
}

void response_mend(struct response *res, struct arena *arena)
{
    mend_status(res, arena);
    mend_bare(res);
    mend_reset(res);
}
