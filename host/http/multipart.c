/* Parts of a form. */
#include "http/multipart.h"

#include <stddef.h>
#include <string.h>

const struct http_fault multipart_bad_part = {400, "invalid_form",
                                              "What stands there is no part with a name"};
const struct http_fault multipart_long_head = {413, "too_large", "The head of a part is too long"};
const struct http_fault multipart_too_many = {413, "too_large", "The form has too many parts"};

/* ---- headers ---- */

/* The end of a quoted text that begins at 1. */
static size_t quoted_end(struct str s)
{
    size_t i = 1;
    while (i < s.len && s.ptr[i] != '"')
        i += s.ptr[i] == '\\' && i + 1 < s.len && s.ptr[i + 1] == '"' ? 2 : 1;
    return i;
}

/* ;name=value, taken off the front. False: there is none. */
static bool take_parameter(struct str *rest, struct str *name, struct str *value)
{
    *rest = str_trim(*rest);
    if (rest->len == 0 || rest->ptr[0] != ';')
        return false;
    *rest = str_trim(str_skip(*rest, 1));
    size_t equals = str_find(*rest, '=');
    if (equals == rest->len)
        return false;
    *name = str_trim((struct str){rest->ptr, equals});
    *rest = str_trim(str_skip(*rest, equals + 1));
    bool quoted = rest->len > 0 && rest->ptr[0] == '"';
    size_t end = quoted ? quoted_end(*rest) : str_find(*rest, ';');
    if (quoted && end >= rest->len)
        return false;
    *value = quoted ? (struct str){rest->ptr + 1, end - 1} : str_trim((struct str){rest->ptr, end});
    *rest = str_skip(*rest, quoted ? end + 1 : end);
    return name->len > 0;
}

/* Each parameter behind a header's value; false when what stands there is none. */
static bool each_parameter(struct str header,
                           void (*fn)(void *arg, struct str name, struct str value), void *arg)
{
    struct str rest = str_trim(str_skip(header, str_find(header, ';'))), name, value;
    while (rest.len > 0) {
        if (!take_parameter(&rest, &name, &value))
            return false;
        fn(arg, name, value);
        rest = str_trim(rest);
    }
    return true;
}

static bool is_type(struct str header, struct str type)
{
    return str_eq_nocase(str_trim((struct str){header.ptr, str_find(header, ';')}), type);
}

static void take_boundary(void *arg, struct str name, struct str value)
{
    if (str_eq_nocase(name, STR("boundary")))
        *(struct str *)arg = value;
}

bool multipart_boundary(struct str content_type, struct str *out)
{
    *out = (struct str){NULL, 0};
    return is_type(content_type, STR("multipart/form-data")) &&
           each_parameter(content_type, take_boundary, out) && out->len > 0 &&
           out->len <= MULTIPART_BOUNDARY_MAX && memchr(out->ptr, '\r', out->len) == NULL &&
           memchr(out->ptr, '\n', out->len) == NULL;
}

static void take_name(void *arg, struct str name, struct str value)
{
    struct multipart_part *part = arg;
    if (str_eq_nocase(name, STR("name")))
        part->name = value;
    else if (str_eq_nocase(name, STR("filename")))
        part->filename = value;
}

/* One line of a part's head. False: it is none. */
static bool read_line(struct str line, struct multipart_part *out)
{
    size_t colon = str_find(line, ':');
    if (colon == 0 || colon == line.len)
        return false;
    struct str name = {line.ptr, colon}, value = str_trim(str_skip(line, colon + 1));
    if (str_eq_nocase(name, STR("content-type")))
        out->type = value;
    if (!str_eq_nocase(name, STR("content-disposition")))
        return true;
    return is_type(value, STR("form-data")) && out->name.ptr == NULL &&
           each_parameter(value, take_name, out);
}

/* A head without its empty line. */
static bool read_head(struct str head, struct multipart_part *out)
{
    *out = (struct multipart_part){.name = {NULL, 0}};
    while (head.len > 0) {
        size_t end = str_find_text(head, STR("\r\n"));
        if (!read_line((struct str){head.ptr, end}, out))
            return false;
        head = str_skip(head, end < head.len ? end + 2 : end);
    }
    return out->name.ptr != NULL;
}

/* ---- the lines between parts ---- */

enum verdict { NO, MAYBE, LINE, LAST_LINE };

/* Does `text` begin with a boundary's line? Behind the boundary are blanks and the end of the line,
 * or two dashes; else it is but data that begins alike. MAYBE: it ends too early to tell. *len:
 * how long the line is. */
static enum verdict judge(const struct multipart_reader *r, struct str text, size_t *len)
{
    struct str line = r->line;
    size_t common = text.len < line.len ? text.len : line.len;
    if (memcmp(text.ptr, line.ptr, common) != 0)
        return NO;
    if (text.len < line.len)
        return MAYBE;
    struct str rest = str_skip(text, line.len);
    while (rest.len > 0 && (rest.ptr[0] == ' ' || rest.ptr[0] == '\t'))
        rest = str_skip(rest, 1);
    if ((size_t)(rest.ptr - text.ptr) > line.len + MULTIPART_PADDING_MAX)
        return NO;
    *len = (size_t)(rest.ptr - text.ptr) + 2;
    if (rest.len >= 2)
        return str_starts_with(rest, STR("\r\n")) ? LINE
               : str_starts_with(rest, STR("--")) ? LAST_LINE
                                                  : NO;
    return rest.len == 0 || rest.ptr[0] == '\r' || rest.ptr[0] == '-' ? MAYBE : NO;
}

/* The first place in `text` where such a line begins, or may; its length if none does. */
static size_t find_line(const struct multipart_reader *r, struct str text, enum verdict *verdict,
                        size_t *len)
{
    size_t cut_off = r->line.len - 1; /* so much of one may stand at the end */
    for (size_t at = 0; at < text.len; at++) {
        const char *found = memmem(text.ptr + at, text.len - at, r->line.ptr, r->line.len);
        if (found == NULL) {
            at = text.len - at > cut_off ? text.len - cut_off : at;
            found = memchr(text.ptr + at, '\r', text.len - at);
        }
        if (found == NULL)
            break;
        at = (size_t)(found - text.ptr);
        *verdict = judge(r, str_skip(text, at), len);
        if (*verdict != NO)
            return at;
    }
    *verdict = NO;
    return text.len;
}

static void pass_line(struct multipart_reader *r, enum verdict verdict)
{
    r->state = verdict == LAST_LINE ? MULTIPART_OVER : MULTIPART_IN_HEAD;
    r->head_len = 0;
    if (verdict == LAST_LINE)
        r->due = MULTIPART_END;
}

static void hold(struct multipart_reader *r, struct str *bytes)
{
    memcpy(r->held + r->held_len, bytes->ptr, bytes->len);
    r->held_len += bytes->len;
    *bytes = str_skip(*bytes, bytes->len);
}

/* What was held, now that more is known: r->data is what proved to be data. */
static void settle_held(struct multipart_reader *r, struct str *bytes)
{
    char joined[MULTIPART_LINE_MAX * 2];
    size_t len = 0, at = 0,
           more = bytes->len < MULTIPART_LINE_MAX ? bytes->len : MULTIPART_LINE_MAX;
    enum verdict verdict = NO;
    memcpy(joined, r->held, r->held_len);
    memcpy(joined + r->held_len, bytes->ptr, more);
    while (at < r->held_len &&
           (verdict = judge(r, (struct str){joined + at, r->held_len + more - at}, &len)) == NO)
        at++;
    r->data = (struct str){r->out, at > r->held_virtual ? at - r->held_virtual : 0};
    memcpy(r->out, joined + r->held_virtual, r->data.len);
    size_t kept = r->held_len - at;
    r->held_virtual = r->held_virtual > at ? r->held_virtual - at : 0;
    r->held_len = verdict == MAYBE ? kept : 0;
    memcpy(r->held, joined + at, r->held_len);
    if (verdict == MAYBE)
        hold(r, bytes);
    else
        r->held_virtual = 0;
    if (verdict == LINE || verdict == LAST_LINE) {
        *bytes = str_skip(*bytes, len - kept);
        pass_line(r, verdict);
    }
}

static void take_data(struct multipart_reader *r, struct str *bytes)
{
    enum verdict verdict;
    size_t len = 0, at = find_line(r, *bytes, &verdict, &len);
    r->data = (struct str){bytes->ptr, at};
    *bytes = str_skip(*bytes, at);
    if (verdict == MAYBE) {
        hold(r, bytes);
    } else if (verdict != NO) {
        *bytes = str_skip(*bytes, len);
        pass_line(r, verdict);
    }
}

/* ---- the reader ---- */

/* The line end before the first boundary may be missing, and the one of a head's empty line is that
 * of a boundary, too. */
static void expect_line(struct multipart_reader *r)
{
    memcpy(r->held, "\r\n", 2);
    r->held_len = r->held_virtual = 2;
}

void multipart_init(struct multipart_reader *reader, struct str boundary)
{
    memset(reader, 0, offsetof(struct multipart_reader, head));
    reader->head_len = reader->parts = 0;
    reader->fault = NULL;
    memcpy(reader->line_text, "\r\n--", 4);
    memcpy(reader->line_text + 4, boundary.ptr, boundary.len);
    reader->line = (struct str){reader->line_text, boundary.len + 4};
    expect_line(reader);
}

static enum multipart_event fail(struct multipart_reader *r, const struct http_fault *fault)
{
    r->fault = fault;
    return r->due = MULTIPART_FAULT;
}

static enum multipart_event begin_part(struct multipart_reader *r, size_t head_len)
{
    if (!read_head((struct str){r->head, head_len}, &r->part))
        return fail(r, &multipart_bad_part);
    if (r->parts == LIMIT_FORM_FIELDS)
        return fail(r, &multipart_too_many);
    r->parts++;
    r->state = MULTIPART_IN_DATA;
    expect_line(r);
    return MULTIPART_PART;
}

static enum multipart_event take_head(struct multipart_reader *r, struct str *bytes)
{
    size_t before = r->head_len, room = sizeof(r->head) - before;
    size_t count = bytes->len < room ? bytes->len : room;
    memcpy(r->head + before, bytes->ptr, count);
    r->head_len += count;
    struct str head = {r->head, r->head_len};
    if (str_starts_with(head, STR("\r\n")))
        return fail(r, &multipart_bad_part);
    size_t from = before > 3 ? before - 3 : 0;
    size_t end = from + str_find_text(str_skip(head, from), STR("\r\n\r\n"));
    if (end < head.len) {
        *bytes = str_skip(*bytes, end + 4 - before);
        return begin_part(r, end);
    }
    *bytes = str_skip(*bytes, count);
    return r->head_len == sizeof(r->head) ? fail(r, &multipart_long_head) : MULTIPART_MORE;
}

static enum multipart_event feed(struct multipart_reader *r, struct str *bytes)
{
    if (r->state == MULTIPART_IN_HEAD)
        return take_head(r, bytes);
    bool is_data = r->state == MULTIPART_IN_DATA;
    if (r->held_len > 0)
        settle_held(r, bytes);
    else
        take_data(r, bytes);
    return is_data && r->data.len > 0 ? MULTIPART_DATA : MULTIPART_MORE;
}

enum multipart_event multipart_feed(struct multipart_reader *reader, struct str *bytes)
{
    while (reader->due == MULTIPART_MORE && bytes->len > 0) {
        enum multipart_event event = feed(reader, bytes);
        if (event != MULTIPART_MORE)
            return event;
    }
    if (reader->due == MULTIPART_END)
        *bytes = str_skip(*bytes, bytes->len);
    return reader->due;
}
