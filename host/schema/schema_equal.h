/* JSON values as JSON Schema compares them: 1 and 1.0 are one number, members have no order. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

bool schema_equal(const json_t *a, const json_t *b);

/* Equal values have the same; `key` is secret. */
uint64_t schema_equal_hash(const json_t *value, const uint64_t key[2]);

/* How many values it is made of, itself among them. */
size_t schema_equal_size(const json_t *value);

/* Of two numbers: below 0, 0 or above 0. */
int schema_equal_order(const json_t *a, const json_t *b);

/* Is the number a whole one, 1.0 too? */
bool schema_equal_is_whole(const json_t *number);

/* Is the number a multiple of the other, which is above 0? Fractions are taken as they are written:
 * 19.99 is a multiple of 0.01. */
bool schema_equal_is_multiple(const json_t *number, const json_t *of);
