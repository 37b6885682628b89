/* Messages of OTLP as protobuf or JSON. */
#include "otlp/otlp_write.h"

#include <math.h>
#include <string.h>

enum wire { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

/* ---- the two forms ---- */

static size_t varint(uint64_t value, char *out)
{
    size_t len = 0;
    for (; value >= 0x80; value >>= 7)
        out[len++] = (char)(unsigned char)(value | 0x80);
    out[len++] = (char)value;
    return len;
}

static void add_varint(struct otlp_writer *w, uint64_t value)
{
    char bytes[10] = "";
    size_t len = varint(value, bytes);
    buf_add(&w->out, bytes, len);
}

/* Little endian. */
static void add_fixed(struct otlp_writer *w, uint64_t value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        buf_add_char(&w->out, (char)(value >> (8 * i)));
}

static void separate(struct otlp_writer *w)
{
    char last = w->out.len > 0 ? w->out.data[w->out.len - 1] : '{';
    if (last != '{' && last != '[')
        buf_add_char(&w->out, ',');
}

/* What comes before a value. */
static void begin(struct otlp_writer *w, unsigned field, enum wire wire, const char *name)
{
    if (!w->json) {
        add_varint(w, (uint64_t)field << 3 | wire);
        return;
    }
    separate(w);
    if (name != NULL)
        buf_printf(&w->out, "\"%s\":", name);
}

/* ---- messages ---- */

size_t otlp_open(struct otlp_writer *w, unsigned field, const char *name)
{
    begin(w, field, BYTES, name);
    if (w->json)
        buf_add_char(&w->out, '{');
    return w->out.len;
}

/* The length goes before what was written since. */
void otlp_close(struct otlp_writer *w, size_t mark)
{
    if (w->json) {
        buf_add_char(&w->out, '}');
        return;
    }
    if (buf_failed(&w->out))
        return;
    char bytes[10];
    size_t len = w->out.len - mark, size = varint(len, bytes);
    if (buf_reserve(&w->out, size) != 0)
        return;
    memmove(w->out.data + mark + size, w->out.data + mark, len);
    memcpy(w->out.data + mark, bytes, size);
    w->out.len += size;
}

void otlp_list(struct otlp_writer *w, const char *name)
{
    if (!w->json)
        return;
    separate(w);
    buf_printf(&w->out, "\"%s\":[", name);
}

void otlp_list_end(struct otlp_writer *w)
{
    if (w->json)
        buf_add_char(&w->out, ']');
}

void otlp_elements(struct otlp_writer *w, struct str written)
{
    if (w->json && written.len > 0)
        separate(w);
    buf_add_str(&w->out, written);
}

/* ---- values ---- */

static void add_utf8(struct buf *out, struct str text)
{
    while (text.len > 0) {
        size_t good = str_is_utf8(text) ? text.len : str_utf8_length(text);
        buf_add(out, text.ptr, good);
        text = str_skip(text, good);
        if (good == 0) {
            buf_add_str(out, STR("\xef\xbf\xbd"));
            text = str_skip(text, str_utf8_broken(text));
        }
    }
}

void otlp_text(struct otlp_writer *w, unsigned field, const char *name, struct str text)
{
    begin(w, field, BYTES, name);
    if (w->json) {
        buf_add_json(&w->out, text);
        return;
    }
    size_t mark = w->out.len;
    add_utf8(&w->out, text);
    otlp_close(w, mark);
}

void otlp_id(struct otlp_writer *w, unsigned field, const char *name, const uint8_t *id, size_t len)
{
    begin(w, field, BYTES, name);
    if (!w->json) {
        add_varint(w, len);
        buf_add(&w->out, id, len);
        return;
    }
    buf_add_char(&w->out, '"');
    for (size_t i = 0; i < len; i++)
        buf_printf(&w->out, "%02x", id[i]);
    buf_add_char(&w->out, '"');
}

void otlp_fixed64(struct otlp_writer *w, unsigned field, const char *name, uint64_t value)
{
    begin(w, field, FIXED64, name);
    if (w->json)
        buf_printf(&w->out, "\"%llu\"", (unsigned long long)value);
    else
        add_fixed(w, value, 8);
}

void otlp_fixed32(struct otlp_writer *w, unsigned field, const char *name, uint32_t value)
{
    begin(w, field, FIXED32, name);
    if (w->json)
        buf_printf(&w->out, "%u", value);
    else
        add_fixed(w, value, 4);
}

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

void otlp_double(struct otlp_writer *w, unsigned field, const char *name, double value)
{
    begin(w, field, FIXED64, name);
    if (!w->json)
        add_fixed(w, bits_of(value), 8);
    else if (isfinite(value))
        buf_add_float(&w->out, value);
    else
        buf_add_str(&w->out, isnan(value) ? STR("\"NaN\"")
                             : value > 0  ? STR("\"Infinity\"")
                                          : STR("\"-Infinity\""));
}

void otlp_enum(struct otlp_writer *w, unsigned field, const char *name, unsigned value)
{
    begin(w, field, VARINT, name);
    if (w->json)
        buf_printf(&w->out, "%u", value);
    else
        add_varint(w, value);
}

void otlp_true(struct otlp_writer *w, unsigned field, const char *name)
{
    begin(w, field, VARINT, name);
    if (w->json)
        buf_add_str(&w->out, STR("true"));
    else
        add_varint(w, 1);
}

/* Of eight bytes each. */
static void begin_packed(struct otlp_writer *w, unsigned field, const char *name, size_t count)
{
    otlp_list(w, name);
    if (w->json)
        return;
    begin(w, field, BYTES, NULL);
    add_varint(w, count * 8);
}

void otlp_fixed64s(struct otlp_writer *w, unsigned field, const char *name, const uint64_t *values,
                   size_t count)
{
    begin_packed(w, field, name, count);
    for (size_t i = 0; i < count; i++) {
        if (w->json)
            buf_printf(&w->out, "%s\"%llu\"", i > 0 ? "," : "", (unsigned long long)values[i]);
        else
            add_fixed(w, values[i], 8);
    }
    otlp_list_end(w);
}

void otlp_doubles(struct otlp_writer *w, unsigned field, const char *name, const double *values,
                  size_t count)
{
    begin_packed(w, field, name, count);
    for (size_t i = 0; i < count; i++) {
        if (w->json && i > 0)
            buf_add_char(&w->out, ',');
        if (w->json)
            buf_add_float(&w->out, values[i]);
        else
            add_fixed(w, bits_of(values[i]), 8);
    }
    otlp_list_end(w);
}

/* ---- attributes: KeyValue { key = 1, value = 2 }, AnyValue { string = 1, int = 3 } ---- */

static size_t open_attribute(struct otlp_writer *w, unsigned field, const char *key, size_t *value)
{
    size_t mark = otlp_open(w, field, NULL);
    otlp_text(w, 1, "key", str_from(key));
    *value = otlp_open(w, 2, "value");
    return mark;
}

void otlp_attribute(struct otlp_writer *w, unsigned field, const char *key, struct str text)
{
    if (text.len == 0)
        return;
    size_t value, mark = open_attribute(w, field, key, &value);
    otlp_text(w, 1, "stringValue", text);
    otlp_close(w, value);
    otlp_close(w, mark);
}

void otlp_attribute_number(struct otlp_writer *w, unsigned field, const char *key, int64_t number)
{
    size_t value, mark = open_attribute(w, field, key, &value);
    begin(w, 3, VARINT, "intValue");
    if (w->json)
        buf_printf(&w->out, "\"%lld\"", (long long)number);
    else
        add_varint(w, (uint64_t)number);
    otlp_close(w, value);
    otlp_close(w, mark);
}
