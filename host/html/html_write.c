/* Values as they are written into a page. */
#include "html/html_write.h"

static void write_text(struct buf *out, struct str text)
{
    size_t plain = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *entity = NULL;
        switch (text.ptr[i]) {
        case '&':
            entity = "&amp;";
            break;
        case '<':
            entity = "&lt;";
            break;
        case '>':
            entity = "&gt;";
            break;
        case '"':
            entity = "&#34;";
            break;
        case '\'':
            entity = "&#39;";
            break;
        default:
            continue;
        }
        buf_add(out, text.ptr + plain, i - plain);
        buf_add_str(out, str_from(entity));
        plain = i + 1;
    }
    if (plain < text.len)
        buf_add(out, text.ptr + plain, text.len - plain);
}

/* Percent-encodes all but letters, digits and `also`. None of what is left needs an entity but "&",
 * and the quote of one kind. */
static void write_encoded(struct buf *out, struct str text, const char *also)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '&' && strchr(also, '&') != NULL)
            buf_add_str(out, STR("&amp;"));
        else if (str_is_alnum(c) || (c != '\0' && strchr(also, c) != NULL))
            buf_add_char(out, c);
        else
            buf_printf(out, "%%%02X", (unsigned char)c);
    }
}

static bool has_good_scheme(struct str url)
{
    static const char *const schemes[] = {"http", "https", "mailto", "tel"};
    size_t end = 0;
    while (end < url.len && strchr(":/?#", url.ptr[end]) == NULL)
        end++;
    if (end == url.len || url.ptr[end] != ':')
        return true; /* none: it is relative */
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (str_eq_nocase((struct str){url.ptr, end}, str_from(schemes[i])))
            return true;
    }
    return false;
}

static void write_url(struct buf *out, struct str url)
{
    if (has_good_scheme(url))
        write_encoded(out, url, "-._~:/?#[]@!$&()*+,;=%");
    else
        buf_add_str(out, STR("about:invalid"));
}

/* Words, numbers, colours, percentages. */
static void write_style(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!str_is_alnum(c) && (c == '\0' || strchr(" _.#%,+-", c) == NULL)) {
            buf_add_str(out, STR("unset"));
            return;
        }
    }
    buf_add_str(out, text);
}

/* What could end the script, or is a line's end to old ones, is escaped; it stands in strings
 * alone.
 */
static void write_json(struct buf *out, struct str json)
{
    for (size_t i = 0; i < json.len; i++) {
        char c = json.ptr[i];
        struct str rest = {json.ptr + i, json.len - i};
        bool separator = str_starts_with(rest, STR("\xe2\x80\xa8")) ||
                         str_starts_with(rest, STR("\xe2\x80\xa9"));
        if (c == '<' || c == '>' || c == '&' || c == '\'')
            buf_printf(out, "\\u%04x", (unsigned)c);
        else if (separator)
            buf_printf(out, "\\u%04x", rest.ptr[2] == '\xa8' ? 0x2028u : 0x2029u);
        else
            buf_add_char(out, c);
        i += separator ? 2 : 0;
    }
}

static void write_json_attribute(struct buf *out, struct str json)
{
    struct buf script = BUF_INIT;
    write_json(&script, json);
    write_text(out, buf_str(&script));
    out->failed = out->failed || buf_failed(&script);
    buf_free(&script);
}

void html_write(struct buf *out, enum html_sink sink, struct str text)
{
    switch (sink) {
    case HTML_TEXT:
        write_text(out, text);
        break;
    case HTML_URL:
        write_url(out, text);
        break;
    case HTML_URL_PART:
        write_encoded(out, text, "-._~");
        break;
    case HTML_JSON:
        write_json(out, text);
        break;
    case HTML_JSON_ATTR:
        write_json_attribute(out, text);
        break;
    case HTML_STYLE:
        write_style(out, text);
        break;
    case HTML_NOTHING:
        break;
    }
}
