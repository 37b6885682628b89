/* One state a byte of overhead, one slice a run of data. */
#include "http/chunked.h"

#include "http/body.h"
#include "http/chars.h"
#include "base/limits.h"

enum { SIZE_DIGITS_MAX = 16 };

static const struct http_fault bad_size = {400, "bad_request",
                                           "Bad request: a chunk size is malformed"};
static const struct http_fault bad_end = {400, "bad_request",
                                          "Bad request: a chunk does not end with CR LF"};
static const struct http_fault wasteful = {413, "payload_too_large",
                                           "The body's chunks hold too little data for their size"};

void chunked_init(struct chunked *chunked, uint64_t limit)
{
    *chunked = (struct chunked){.state = CHUNKED_SIZE, .limit = limit};
}

static const struct http_fault *on_size(struct chunked *chunked, char c)
{
    int digit = str_hex_value(c);
    if (digit >= 0) {
        if (++chunked->digits > SIZE_DIGITS_MAX)
            return &bad_size;
        chunked->left = chunked->left * 16 + (unsigned)digit;
        return chunked->left > chunked->limit - chunked->data ? &body_too_large : NULL;
    }
    if (chunked->digits == 0 || (c != ';' && c != '\r'))
        return &bad_size;
    chunked->state = c == ';' ? CHUNKED_EXTENSION : CHUNKED_SIZE_LF;
    return NULL;
}

/* Behind a name or a value: blanks, which another part must follow, the next part, or the end. */
static int extension_part_ends(char c, int blank)
{
    if (c == ' ' || c == '\t')
        return blank;
    if (c == '=' && blank == CHUNKED_EXT_NAME_BLANK)
        return CHUNKED_EXT_EQUALS;
    if (c == ';')
        return CHUNKED_EXTENSION;
    return c == '\r' ? CHUNKED_SIZE_LF : -1;
}

/* RFC 9112 7.1.1: *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ), but nothing
 * between size and ';'. The state after `c`, or -1. */
static int extension_next(enum chunked_state state, char c)
{
    bool blank = c == ' ' || c == '\t';
    bool token = http_char_is(c, CHAR_TOKEN);
    switch (state) {
    case CHUNKED_EXTENSION:
        return blank ? CHUNKED_EXTENSION : token ? CHUNKED_EXT_NAME : -1;
    case CHUNKED_EXT_NAME:
        return token ? CHUNKED_EXT_NAME : extension_part_ends(c, CHUNKED_EXT_NAME_BLANK);
    case CHUNKED_EXT_EQUALS:
        if (c == '"')
            return CHUNKED_EXT_QUOTED;
        return blank ? CHUNKED_EXT_EQUALS : token ? CHUNKED_EXT_VALUE : -1;
    case CHUNKED_EXT_VALUE:
        return token ? CHUNKED_EXT_VALUE : extension_part_ends(c, CHUNKED_EXT_VALUE_BLANK);
    case CHUNKED_EXT_QUOTED:
        if (c == '"' || c == '\\')
            return c == '"' ? CHUNKED_EXT_QUOTED_END : CHUNKED_EXT_ESCAPED;
        return http_char_is(c, CHAR_VALUE) ? CHUNKED_EXT_QUOTED : -1;
    case CHUNKED_EXT_ESCAPED:
        return http_char_is(c, CHAR_VALUE) ? CHUNKED_EXT_QUOTED : -1;
    case CHUNKED_EXT_QUOTED_END:
        return extension_part_ends(c, CHUNKED_EXT_VALUE_BLANK);
    default: /* blanks behind a name or a value */
        return c == '\r' ? -1 : extension_part_ends(c, (int)state);
    }
}

static const struct http_fault *on_extension(struct chunked *chunked, char c)
{
    int next = extension_next(chunked->state, c);
    if (next < 0)
        return &bad_size;
    chunked->state = (enum chunked_state)next;
    return NULL;
}

static const struct http_fault *on_size_end(struct chunked *chunked, char c)
{
    if (c != '\n')
        return &bad_end;
    chunked->data += chunked->left;
    chunked->digits = 0;
    chunked->state = chunked->left > 0 ? CHUNKED_DATA : CHUNKED_TRAILERS;
    if (chunked->left == 0)
        head_scan_init_trailers(&chunked->trailers, LIMIT_TRAILER_BYTES);
    return NULL;
}

static const struct http_fault *on_data_end(struct chunked *chunked, char c)
{
    if (c != (chunked->state == CHUNKED_DATA_CR ? '\r' : '\n'))
        return &bad_end;
    chunked->state = chunked->state == CHUNKED_DATA_CR ? CHUNKED_DATA_LF : CHUNKED_SIZE;
    return NULL;
}

static const struct http_fault *on_overhead(struct chunked *chunked, char c)
{
    if (++chunked->overhead > LIMIT_CHUNK_OVERHEAD + 2 * chunked->data)
        return &wasteful;
    switch (chunked->state) {
    case CHUNKED_SIZE:
        return on_size(chunked, c);
    case CHUNKED_SIZE_LF:
        return on_size_end(chunked, c);
    case CHUNKED_DATA_CR:
    case CHUNKED_DATA_LF:
        return on_data_end(chunked, c);
    default:
        return on_extension(chunked, c);
    }
}

static struct str take_data(struct chunked *chunked, struct str *input)
{
    size_t len = input->len < chunked->left ? input->len : (size_t)chunked->left;
    struct str data = {input->ptr, len};
    *input = str_skip(*input, len);
    chunked->left -= len;
    if (chunked->left == 0)
        chunked->state = CHUNKED_DATA_CR;
    return data;
}

const struct http_fault *chunked_feed(struct chunked *chunked, struct str *input, struct str *data)
{
    const struct http_fault *fault = NULL;
    *data = (struct str){NULL, 0};
    while (input->len > 0 && chunked->state != CHUNKED_DONE && fault == NULL) {
        if (chunked->state == CHUNKED_DATA) {
            *data = take_data(chunked, input);
            return NULL;
        }
        size_t used = 1;
        if (chunked->state == CHUNKED_TRAILERS)
            fault = head_scan_feed(&chunked->trailers, *input, &used);
        else
            fault = on_overhead(chunked, input->ptr[0]);
        *input = str_skip(*input, used);
        if (chunked->state == CHUNKED_TRAILERS && chunked->trailers.state == HEAD_DONE)
            chunked->state = CHUNKED_DONE;
    }
    return fault;
}
