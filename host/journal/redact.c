/* Replacing secrets: values first, then what stands under a name, which is redact_names.c. */
#include "journal/redact.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "journal/redact_names.h"

/* ---- values that the process knows ---- */

struct secret {
    struct str name;   /* "[env:KEY]" or REDACT_TEXT: what stands in its place; owned */
    struct str value;  /* owned; as it is */
    struct str quoted; /* owned; as it stands within a JSON string; empty: the same */
};

static struct {
    struct secret list[LIMIT_REDACT_SECRETS];
    unsigned count;
    bool overflowed;
} known;

static void free_text(struct str text)
{
    free((void *)(uintptr_t)text.ptr);
}

static void free_secret(struct secret *secret)
{
    free_text(secret->name);
    free_text(secret->value);
    free_text(secret->quoted);
    *secret = (struct secret){{NULL, 0}, {NULL, 0}, {NULL, 0}};
}

static bool same_secret(const struct secret *secret, struct str place, struct str value)
{
    return str_eq(secret->value, value) && str_eq(secret->name, place);
}

/* The value as a JSON string has it, where that differs. False: no memory. */
static bool quote(struct secret *secret)
{
    struct buf text = BUF_INIT;
    buf_add_json(&text, secret->value);
    bool ok = !buf_failed(&text);
    if (ok && text.len != secret->value.len + 2) {
        secret->quoted = str_copy((struct str){text.data + 1, text.len - 2});
        ok = secret->quoted.ptr != NULL;
    }
    buf_free(&text);
    return ok;
}

bool redact_learn(struct str name, struct str value)
{
    if (value.len < LIMIT_REDACT_VALUE_MIN)
        return true;
    struct buf place = BUF_INIT;
    if (name.len > 0)
        buf_printf(&place, "[env:%.*s]", STR_ARG(name));
    else
        buf_add_str(&place, STR(REDACT_TEXT));
    for (unsigned i = 0; i < known.count && !buf_failed(&place); i++) {
        if (same_secret(&known.list[i], buf_str(&place), value)) {
            buf_free(&place);
            return true;
        }
    }
    struct secret secret = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    bool ok = !buf_failed(&place) && known.count < LIMIT_REDACT_SECRETS;
    if (ok) {
        secret.name = str_copy(buf_str(&place));
        secret.value = str_copy(value);
        ok = secret.name.ptr != NULL && secret.value.ptr != NULL && quote(&secret);
    }
    buf_free(&place);
    if (ok)
        known.list[known.count++] = secret;
    else
        free_secret(&secret);
    known.overflowed = known.overflowed || !ok;
    return ok;
}

struct str redact_learned(struct str name)
{
    for (unsigned i = known.count; i > 0; i--) {
        const struct secret *secret = &known.list[i - 1];
        struct str inner = secret->name;
        if (!str_starts_with(inner, STR("[env:")))
            continue;
        inner = str_skip(inner, 5);
        inner.len--;
        if (str_eq(inner, name))
            return secret->value;
    }
    return (struct str){NULL, 0};
}

bool redact_is_whole(void)
{
    return !known.overflowed;
}

void redact_forget(void)
{
    while (known.count > 0)
        free_secret(&known.list[--known.count]);
    known.overflowed = false;
}

/* ---- headers ---- */

static bool is_cookie(struct str name)
{
    return str_eq_nocase(name, STR("cookie")) || str_eq_nocase(name, STR("set-cookie"));
}

bool redact_is_header(const struct redact *redact, struct str name)
{
    return str_eq_nocase(name, STR("authorization")) ||
           str_eq_nocase(name, STR("proxy-authorization")) || str_eq_nocase(name, STR("dpop")) ||
           is_cookie(name) || redact_names_have(redact->names, name);
}

/* ---- what the request brought ---- */

static void learn_value(struct redact *redact, struct str value)
{
    for (unsigned i = 0; i < redact->value_count; i++) {
        if (str_eq(redact->values[i], value))
            return;
    }
    if (value.len < LIMIT_REDACT_VALUE_MIN)
        return;
    if (redact->values == NULL)
        redact->values = calloc(LIMIT_REDACT_REQUEST, sizeof(*redact->values));
    if (redact->values == NULL)
        known.overflowed = true; /* nothing is written down any more */
    else if (redact->value_count < LIMIT_REDACT_REQUEST)
        redact->values[redact->value_count++] = value;
}

void redact_learn_header(struct redact *redact, struct str name, struct str value)
{
    struct str part;
    if (is_cookie(name)) {
        bool set = name.len == 10;
        for (bool first = true; str_split_next(&value, ';', &part); first = false) {
            size_t equals = str_find(part, '=');
            if (equals < part.len && (first || !set))
                learn_value(redact, str_trim(str_skip(part, equals + 1)));
        }
        return;
    }
    /* The scheme of Authorization is none. */
    size_t space = str_find(value, ' ');
    learn_value(redact, space < value.len ? str_trim(str_skip(value, space)) : value);
}

void redact_learn_headers(struct redact *redact, const struct headers *headers)
{
    for (uint32_t i = 0; i < headers->len; i++) {
        if (redact_is_header(redact, headers->items[i].name))
            redact_learn_header(redact, headers->items[i].name, headers->items[i].value);
    }
}

void redact_free(struct redact *redact)
{
    redact_names_unref(redact->names);
    redact->names = NULL;
    free(redact->values);
    redact->values = NULL;
    redact->value_count = 0;
    buf_free(&redact->first);
    buf_free(&redact->second);
}

/* ---- values in texts ---- */

/* Replaces every `value` of `text`; what stands there then lies in `out`, unless there was none. */
static struct str replace(struct str text, struct str value, struct str by, struct buf *out)
{
    size_t at = str_find_text(text, value);
    if (value.len == 0 || at == text.len)
        return text;
    buf_clear(out);
    while (at < text.len) {
        buf_add(out, text.ptr, at);
        buf_add_str(out, by);
        text = str_skip(text, at + value.len);
        at = str_find_text(text, value);
    }
    buf_add_str(out, text);
    return buf_str(out);
}

/* The buffer in which `text` does not lie. */
static struct buf *other(struct redact *redact, struct str text)
{
    return text.ptr == redact->first.data ? &redact->second : &redact->first;
}

static struct str replace_values(struct redact *redact, struct str text)
{
    for (unsigned i = 0; i < redact->value_count && text.ptr != NULL; i++)
        text = replace(text, redact->values[i], STR(REDACT_TEXT), other(redact, text));
    for (unsigned i = 0; i < known.count && text.ptr != NULL; i++) {
        const struct secret *secret = &known.list[i];
        text = replace(text, secret->value, secret->name, other(redact, text));
        if (secret->quoted.len > 0)
            text = replace(text, secret->quoted, secret->name, other(redact, text));
    }
    return text;
}

/* ---- together ---- */

struct str redact_clean(struct redact *redact, struct str text)
{
    if (redact->request != NULL) {
        redact_learn_headers(redact, redact->request);
        redact->request = NULL;
    }
    buf_clear(&redact->first);
    buf_clear(&redact->second);
    if (text.len == 0)
        return (struct str){"", 0};
    text = replace_values(redact, text);
    if (text.ptr == NULL || redact->first.failed || redact->second.failed)
        return (struct str){NULL, 0};
    if (redact->names == NULL || redact->names->count == 0)
        return text;
    struct buf *out = other(redact, text);
    buf_clear(out);
    redact_names_clean(redact->names, text, out);
    return buf_failed(out) ? (struct str){NULL, 0} : buf_str(out);
}

static void add_base64(struct str bytes, struct buf *out)
{
    buf_add_str(out, STR("{\"base64\":\""));
    if (buf_reserve(out, BASE64_ENCODED_MAX(bytes.len)) == 0)
        out->len += base64_encode(bytes, BASE64_STANDARD, out->data + out->len);
    buf_add_str(out, STR("\"}"));
}

/* Not within a character. */
static struct str shorten(struct str text, size_t max)
{
    while (max > 0 && ((unsigned char)text.ptr[max] & 0xc0) == 0x80)
        max--;
    return (struct str){text.ptr, max};
}

struct str redact_clean_place(struct redact *redact, struct str url)
{
    size_t mark = str_find(url, '?');
    struct str clean = redact_clean(redact, (struct str){url.ptr, mark});
    if (mark == url.len || clean.ptr == NULL)
        return clean;
    struct buf *out = other(redact, clean);
    buf_clear(out);
    buf_add_str(out, clean);
    buf_add_str(out, STR("?" REDACT_TEXT));
    return buf_failed(out) ? (struct str){NULL, 0} : buf_str(out);
}

void redact_add_text(struct redact *redact, struct str text, size_t max, struct buf *out)
{
    size_t length = text.len;
    /* What is cut off could be the end of a secret: some more is looked at than is shown. */
    bool cut = length > max;
    if (cut && length > 2 * max)
        text.len = 2 * max;
    text = redact_clean(redact, text);
    if (text.ptr == NULL) {
        buf_add_str(out, STR("{\"lost\":true}"));
        return;
    }
    cut = cut || text.len > max;
    if (cut) {
        buf_printf(out, "{\"cut\":%zu,\"text\":", length);
        buf_add_json(out, text.len > max ? shorten(text, max) : text);
        buf_add_char(out, '}');
    } else if (str_is_utf8(text)) {
        buf_add_json(out, text);
    } else {
        add_base64(text, out);
    }
}

void redact_add_json(struct redact *redact, struct str json, struct buf *out)
{
    struct str clean = redact_clean(redact, json);
    buf_add_str(out, clean.ptr != NULL && clean.len > 0 ? clean : STR("null"));
}

/* "a=1; b=2" keeps its names; of Set-Cookie the attributes stay, too. */
static void add_cookies(struct str name, struct str value, struct buf *out)
{
    struct buf text = BUF_INIT;
    struct str part;
    bool set = name.len == 10;
    for (bool first = true; str_split_next(&value, ';', &part); first = false) {
        size_t equals = str_find(part, '=');
        bool secret = first || !set;
        if (!first)
            buf_add_char(&text, ';');
        if (secret && equals < part.len) {
            buf_add(&text, part.ptr, equals + 1);
            buf_add_str(&text, STR(REDACT_TEXT));
        } else {
            buf_add_str(&text, secret && part.len > 0 ? STR(REDACT_TEXT) : part);
        }
    }
    buf_add_json(out, buf_failed(&text) ? STR(REDACT_TEXT) : buf_str(&text));
    buf_free(&text);
}

/* "Bearer " of "Bearer abc": which scheme it is is no secret, where it is one that is known. */
static struct str scheme_of(struct str name, struct str value)
{
    static const struct str schemes[] = {
        {"Bearer ", 7}, {"DPoP ", 5}, {"Basic ", 6}, {"Digest ", 7}, {"Token ", 6}};
    if (!str_ends_with(name, STR("uthorization")))
        return STR("");
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        struct str start = {value.ptr, schemes[i].len};
        if (value.len >= start.len && str_eq_nocase(start, schemes[i]))
            return start;
    }
    return STR("");
}

static void add_header(struct redact *redact, struct str name, struct str value, struct buf *out)
{
    char text[32];
    bool named = redact_names_have(redact->names, name);
    struct str clean;
    if (is_cookie(name) && !named) {
        add_cookies(name, value, out);
        return;
    }
    if (redact_is_header(redact, name)) {
        struct str scheme = named ? STR("") : scheme_of(name, value);
        int len = snprintf(text, sizeof(text), "%.*s" REDACT_TEXT, STR_ARG(scheme));
        clean = (struct str){text, (size_t)len};
    } else if (redact->hides_place && str_eq_nocase(name, STR("location"))) {
        clean = redact_clean_place(redact, value);
    } else {
        clean = redact_clean(redact, value);
    }
    buf_add_json(out, clean.ptr != NULL ? clean : STR(REDACT_TEXT));
}

void redact_add_headers(struct redact *redact, const struct header *headers, unsigned count,
                        struct buf *out)
{
    buf_add_char(out, '[');
    for (unsigned i = 0; i < count; i++) {
        buf_add_str(out, i > 0 ? STR(",[") : STR("["));
        buf_add_json(out, headers[i].name);
        buf_add_char(out, ',');
        add_header(redact, headers[i].name, headers[i].value, out);
        buf_add_char(out, ']');
    }
    buf_add_char(out, ']');
}
