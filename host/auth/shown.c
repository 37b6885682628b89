/* Values of a token as the original prints them, cut to a bounded text. */
#include "auth/shown.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void begin(struct shown *shown)
{
    shown->len = 0;
    shown->full = false;
}

static struct str end(const struct shown *shown)
{
    return (struct str){shown->text, shown->len};
}

static void add(struct shown *shown, struct str s)
{
    size_t room = shown->full ? 0 : sizeof(shown->text) - shown->len;
    if (s.len > room) {
        shown->full = true;
        s.len = room;
        while (s.len > 0 && ((unsigned char)s.ptr[s.len] & 0xc0) == 0x80)
            s.len--;
    }
    if (s.len > 0)
        memcpy(shown->text + shown->len, s.ptr, s.len);
    shown->len += s.len;
}

/* The shortest decimal that reads back as the same double. */
static void add_real(struct shown *shown, double value)
{
    char text[32];
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(text, sizeof(text), "%.*g", precision, value);
        if (strtod(text, NULL) == value)
            break;
    }
    add(shown, str_from(text));
}

static void add_number(struct shown *shown, const json_t *value)
{
    if (json_is_real(value)) {
        add_real(shown, json_real_value(value));
        return;
    }
    char text[32];
    snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    add(shown, str_from(text));
}

static void add_value(struct shown *shown, const json_t *value);

static void add_list(struct shown *shown, const json_t *list, struct str separator)
{
    for (size_t i = 0; i < json_array_size(list) && !shown->full; i++) {
        const json_t *item = json_array_get(list, i);
        if (i > 0)
            add(shown, separator);
        if (!json_is_null(item))
            add_value(shown, item);
    }
}

/* Recursion is bounded by the depth that token_parse lets through. */
static void add_value(struct shown *shown, const json_t *value)
{
    if (value == NULL)
        add(shown, STR("undefined"));
    else if (json_is_string(value))
        add(shown, (struct str){json_string_value(value), json_string_length(value)});
    else if (json_is_number(value))
        add_number(shown, value);
    else if (json_is_array(value))
        add_list(shown, value, STR(","));
    else if (json_is_object(value))
        add(shown, STR("[object Object]"));
    else
        add(shown, json_is_null(value)   ? STR("null")
                   : json_is_true(value) ? STR("true")
                                         : STR("false"));
}

struct str shown_value(struct shown *shown, const json_t *value)
{
    begin(shown);
    add_value(shown, value);
    return end(shown);
}

struct str shown_audience(struct shown *shown, const json_t *value)
{
    begin(shown);
    if (json_is_array(value))
        add_list(shown, value, STR(", "));
    else if (value != NULL && !json_is_null(value))
        add_value(shown, value);
    return end(shown);
}

const char *shown_type(const json_t *value)
{
    if (value == NULL)
        return "undefined";
    if (json_is_string(value))
        return "string";
    if (json_is_number(value))
        return "number";
    return json_is_boolean(value) ? "boolean" : "object";
}

struct str shown_text(struct shown *shown, struct str text)
{
    begin(shown);
    add(shown, text);
    return end(shown);
}

struct str shown_date(struct shown *shown, double seconds)
{
    int64_t ms = (int64_t)trunc(seconds * 1000);
    int64_t fraction = ((ms % 1000) + 1000) % 1000;
    time_t whole = (time_t)((ms - fraction) / 1000);
    struct tm tm = {0};
    char text[64];
    gmtime_r(&whole, &tm);
    snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)fraction);
    begin(shown);
    add(shown, str_from(text));
    return end(shown);
}
