/* Parts of a form. */
#include "http/multipart.h"

#include <errno.h>
#include <string.h>

enum { BOUNDARY_MAX = 70, HEAD_MAX = 8 * 1024, DELIMITER_MAX = BOUNDARY_MAX + 4 };

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
           out->len <= BOUNDARY_MAX && memchr(out->ptr, '\r', out->len) == NULL &&
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

/* ---- parts ---- */

static struct str find(struct str in, struct str what)
{
    const char *at = in.len > 0 ? memmem(in.ptr, in.len, what.ptr, what.len) : NULL;
    return at != NULL ? str_skip(in, (size_t)(at - in.ptr)) : (struct str){NULL, 0};
}

/* CRLF, two dashes, the boundary. */
static struct str delimiter(struct str boundary, char out[DELIMITER_MAX])
{
    memcpy(out, "\r\n--", 4);
    memcpy(out + 4, boundary.ptr, boundary.len);
    return (struct str){out, boundary.len + 4};
}

/* Behind a boundary: blanks and the end of the line, or two dashes. Else it was but data that
 * begins alike. */
static bool ends_line(struct str rest)
{
    while (rest.len > 0 && (rest.ptr[0] == ' ' || rest.ptr[0] == '\t'))
        rest = str_skip(rest, 1);
    return str_starts_with(rest, STR("\r\n")) || str_starts_with(rest, STR("--"));
}

/* Where the next delimiter begins; ptr NULL: there is none. */
static struct str find_delimiter(struct str in, struct str line)
{
    struct str found = find(in, line);
    while (found.ptr != NULL && !ends_line(str_skip(found, line.len)))
        found = find(str_skip(found, line.len), line);
    return found;
}

bool multipart_begin(struct str body, struct str boundary, struct str *rest)
{
    char text[DELIMITER_MAX];
    struct str line = delimiter(boundary, text), first = str_skip(line, 2), found;
    if (str_starts_with(body, first) && ends_line(str_skip(body, first.len))) {
        *rest = str_skip(body, first.len);
        return true;
    }
    found = find_delimiter(body, line); /* behind a preamble, which nobody reads */
    *rest = found.ptr != NULL ? str_skip(found, line.len) : found;
    return found.ptr != NULL;
}

static int read_head(struct str *rest, struct multipart_part *out)
{
    while (!str_starts_with(*rest, STR("\r\n"))) {
        struct str end = find(*rest, STR("\r\n"));
        if (end.ptr == NULL || end.ptr - rest->ptr > HEAD_MAX ||
            !read_line((struct str){rest->ptr, (size_t)(end.ptr - rest->ptr)}, out))
            return -EINVAL;
        *rest = str_skip(end, 2);
    }
    return out->name.ptr != NULL ? 0 : -EINVAL;
}

int multipart_next(struct str *rest, struct str boundary, struct multipart_part *out)
{
    char text[DELIMITER_MAX];
    struct str line = delimiter(boundary, text);
    *out = (struct multipart_part){.name = {NULL, 0}};
    if (str_starts_with(*rest, STR("--")))
        return 0;
    struct str head = find(*rest, STR("\r\n"));
    *rest = head.ptr != NULL ? str_skip(head, 2) : head;
    if (head.ptr == NULL || read_head(rest, out) != 0)
        return -EINVAL;
    struct str begin = str_skip(*rest, 2), end = find_delimiter(*rest, line);
    if (end.ptr == NULL)
        return -EINVAL;
    /* An empty part has its one line end before both its data and the boundary. */
    out->data = (struct str){begin.ptr, end.ptr > begin.ptr ? (size_t)(end.ptr - begin.ptr) : 0};
    *rest = str_skip(end, line.len);
    return 1;
}
