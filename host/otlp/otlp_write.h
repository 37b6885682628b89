/* Messages of OTLP, in either of their two forms.
 *
 * One walk writes both: protobuf by field numbers (opentelemetry-proto 1.x), or JSON by names, with
 * what differs from plain proto3 JSON: ids are hexadecimal, enums are numbers. Integers of 64 bits
 * are decimal texts there. Numbers and names are the ones of the .proto files. */
#pragma once

#include "base/buf.h"

struct otlp_writer {
    bool json;
    struct buf out; /* owned */
};

/* A message as a member, or (`name` NULL) as an element of the list that is open. Returns what
 * otlp_close wants. */
size_t otlp_open(struct otlp_writer *w, unsigned field, const char *name);
void otlp_close(struct otlp_writer *w, size_t mark);
/* The elements of a repeated field stand between these. */
void otlp_list(struct otlp_writer *w, const char *name);
void otlp_list_end(struct otlp_writer *w);
/* Elements that another writer of the same form has written. */
void otlp_elements(struct otlp_writer *w, struct str written);

/* Bytes that are not UTF-8 become U+FFFD. */
void otlp_text(struct otlp_writer *w, unsigned field, const char *name, struct str text);
void otlp_id(struct otlp_writer *w, unsigned field, const char *name, const uint8_t *id,
             size_t len);
void otlp_fixed64(struct otlp_writer *w, unsigned field, const char *name, uint64_t value);
void otlp_fixed32(struct otlp_writer *w, unsigned field, const char *name, uint32_t value);
void otlp_double(struct otlp_writer *w, unsigned field, const char *name, double value);
/* An enum or a bool: a small number. */
void otlp_enum(struct otlp_writer *w, unsigned field, const char *name, unsigned value);
void otlp_true(struct otlp_writer *w, unsigned field, const char *name);
/* Lists of numbers: packed in protobuf. */
void otlp_fixed64s(struct otlp_writer *w, unsigned field, const char *name, const uint64_t *values,
                   size_t count);
void otlp_doubles(struct otlp_writer *w, unsigned field, const char *name, const double *values,
                  size_t count);

/* A KeyValue of the list `attributes`, whose number is `field`. Texts that are empty are left out.
 */
void otlp_attribute(struct otlp_writer *w, unsigned field, const char *key, struct str text);
void otlp_attribute_number(struct otlp_writer *w, unsigned field, const char *key, int64_t value);
