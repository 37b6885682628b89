/* JSON values as JSON Schema compares them. */
#include "schema/schema_equal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/siphash.h"
#include "schema/schema_internal.h"

/* ---- numbers ---- */

#define BEYOND_64_BITS 9223372036854775808.0

/* Is it a whole number of 64 bits? */
static bool as_integer(const json_t *number, json_int_t *out)
{
    double real = json_real_value(number);
    if (json_is_integer(number)) {
        *out = json_integer_value(number);
        return true;
    }
    if (real != floor(real) || real < -BEYOND_64_BITS || real >= BEYOND_64_BITS)
        return false;
    *out = (json_int_t)real;
    return true;
}

bool schema_equal_is_whole(const json_t *number)
{
    return json_is_integer(number) || floor(json_real_value(number)) == json_real_value(number);
}

/* An integer against a number that is none of 64 bits. */
static int order_mixed(json_int_t integer, double real)
{
    if (real >= BEYOND_64_BITS || real < -BEYOND_64_BITS)
        return real > 0 ? -1 : 1;
    json_int_t below = (json_int_t)floor(real); /* which is not `real` itself */
    return integer <= below ? -1 : 1;
}

int schema_equal_order(const json_t *a, const json_t *b)
{
    json_int_t x, y;
    bool is_x = as_integer(a, &x), is_y = as_integer(b, &y);
    if (is_x && is_y)
        return (x > y) - (x < y);
    if (is_x)
        return order_mixed(x, json_real_value(b));
    if (is_y)
        return -order_mixed(y, json_real_value(a));
    double p = json_real_value(a), q = json_real_value(b);
    return (p > q) - (p < q);
}

/* A number as it is written: digits times a power of ten. */
struct decimal {
    uint64_t digits; /* below 10^19 */
    int exponent;
};

/* As few digits as tell it from all others. */
static struct decimal decimal_of(const json_t *number)
{
    struct decimal d = {0, 0};
    char text[40] = "";
    double real = fabs(json_real_value(number));
    if (json_is_integer(number))
        snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(number));
    for (int precision = 14; json_is_real(number) && precision <= 16 && strtod(text, NULL) != real;
         precision++)
        snprintf(text, sizeof(text), "%.*e", precision, real);
    char *p = text + (text[0] == '-');
    for (bool fraction = false; *p != '\0' && *p != 'e'; p++) {
        fraction = fraction || *p == '.';
        if (*p == '.')
            continue;
        d.digits = d.digits * 10 + (uint64_t)(*p - '0');
        d.exponent -= fraction;
    }
    d.exponent += *p == 'e' ? (int)strtol(p + 1, NULL, 10) : 0;
    while (d.digits != 0 && d.digits % 10 == 0) {
        d.digits /= 10;
        d.exponent++;
    }
    return d;
}

bool schema_equal_is_multiple(const json_t *number, const json_t *of)
{
    if (json_is_integer(number) && json_is_integer(of))
        return json_integer_value(number) % json_integer_value(of) == 0;
    struct decimal a = decimal_of(number), b = decimal_of(of);
    int tens = a.exponent - b.exponent;
    for (; tens < 0 && a.digits % 10 == 0 && a.digits != 0; tens++)
        a.digits /= 10;
    if (tens < 0 || b.digits == 0 || b.digits > UINT64_MAX / 10)
        return a.digits == 0;
    for (a.digits %= b.digits; tens > 0 && a.digits != 0; tens--)
        a.digits = a.digits * 10 % b.digits;
    return a.digits == 0;
}

/* ---- values ---- */

static bool equal_arrays(const json_t *a, const json_t *b)
{
    size_t count = json_array_size(a);
    bool same = count == json_array_size(b);
    for (size_t i = 0; same && i < count; i++)
        same = schema_equal(json_array_get(a, i), json_array_get(b, i));
    return same;
}

static bool equal_objects(const json_t *a, const json_t *b)
{
    bool same = json_object_size(a) == json_object_size(b);
    for (void *it = schema_first(a); same && it != NULL; it = schema_next(a, it)) {
        struct str name = schema_key(it);
        const json_t *other = json_object_getn(b, name.ptr, name.len);
        same = other != NULL && schema_equal(json_object_iter_value(it), other);
    }
    return same;
}

bool schema_equal(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return schema_equal_order(a, b) == 0;
    if (json_typeof(a) != json_typeof(b))
        return false;
    switch (json_typeof(a)) {
    case JSON_OBJECT:
        return equal_objects(a, b);
    case JSON_ARRAY:
        return equal_arrays(a, b);
    case JSON_STRING:
        return str_eq(schema_string(a), schema_string(b));
    default:
        return true;
    }
}

size_t schema_equal_size(const json_t *value)
{
    size_t size = 1;
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++)
            size += schema_equal_size(json_array_get(value, i));
    } else if (json_is_object(value)) {
        for (void *it = schema_first(value); it != NULL; it = schema_next(value, it))
            size += schema_equal_size(json_object_iter_value(it));
    }
    return size;
}

static uint64_t hash_bytes(const void *bytes, size_t len, const uint64_t key[2])
{
    return siphash(key, (struct str){bytes, len}).low;
}

static uint64_t hash_number(const json_t *number, const uint64_t key[2])
{
    json_int_t integer;
    double real = json_real_value(number);
    return as_integer(number, &integer) ? hash_bytes(&integer, sizeof(integer), key)
                                        : hash_bytes(&real, sizeof(real), key) + 1;
}

static uint64_t hash_array(const json_t *array, const uint64_t key[2])
{
    uint64_t pair[2] = {json_array_size(array), 0};
    for (size_t i = 0; i < json_array_size(array); i++) {
        pair[1] = schema_equal_hash(json_array_get(array, i), key);
        pair[0] = hash_bytes(pair, sizeof(pair), key);
    }
    return pair[0] + 2;
}

/* A sum, as members have no order. */
static uint64_t hash_object(const json_t *object, const uint64_t key[2])
{
    uint64_t sum = 3;
    for (void *it = schema_first(object); it != NULL; it = schema_next(object, it)) {
        struct str name = schema_key(it);
        uint64_t pair[2] = {hash_bytes(name.ptr, name.len, key),
                            schema_equal_hash(json_object_iter_value(it), key)};
        sum += hash_bytes(pair, sizeof(pair), key);
    }
    return sum;
}

uint64_t schema_equal_hash(const json_t *value, const uint64_t key[2])
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return hash_object(value, key);
    case JSON_ARRAY:
        return hash_array(value, key);
    case JSON_STRING:
        return hash_bytes(json_string_value(value), json_string_length(value), key) + 4;
    case JSON_INTEGER:
    case JSON_REAL:
        return hash_number(value, key);
    default:
        return (uint64_t)json_typeof(value);
    }
}
