/* See dump.h. jansson passes over a piece that its callback refuses; a buffer stays failed. */
#include "json/dump.h"

static int add(const char *bytes, size_t len, void *out)
{
    buf_add(out, bytes, len);
    return 0;
}

void dump_json(struct buf *out, const json_t *value, size_t flags)
{
    if (json_dump_callback(value, add, out, flags) != 0)
        out->failed = true;
}

char *dump_json_text(const json_t *value, size_t flags)
{
    struct buf text = BUF_INIT;
    dump_json(&text, value, flags);
    buf_add_char(&text, '\0');
    if (buf_failed(&text))
        buf_free(&text);
    return text.data;
}
