/* Values of a token inside the texts of refusals, as the original prints them.
 *
 * The original is JavaScript, so a missing member shows as "undefined", an object as "[object
 * Object]", an array as its elements joined by commas. What is shown is cut at SHOWN_BYTES, on a
 * UTF-8 boundary. */
#pragma once

#include <jansson.h>

#include "base/str.h"

enum { SHOWN_BYTES = 256 };

struct shown {
    char text[SHOWN_BYTES];
    size_t len;
    bool full; /* something was cut: nothing may follow */
};

/* The value in a template; NULL is a missing member. */
struct str shown_value(struct shown *shown, const json_t *value);

/* An audience: a list's elements joined by ", ", one value by itself, nothing for null and NULL. */
struct str shown_audience(struct shown *shown, const json_t *value);

/* The name of the value's JavaScript type: "undefined", "object", "number", ... Static. */
const char *shown_type(const json_t *value);

/* Text without control over its length, cut. */
struct str shown_text(struct shown *shown, struct str text);

/* "2020-07-17T15:33:20.750Z"; `seconds` since 1970, in the years 0 to 9999. */
struct str shown_date(struct shown *shown, double seconds);
