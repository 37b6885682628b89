/* What the variables OTEL_* say: where spans, metrics and logs go, and which spans there are.
 *
 * Nothing is exported unless an endpoint or an exporter is named. A value that cannot be used is
 * told once and the default stands, as OpenTelemetry's specification wants it. */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"
#include "http/headers.h"

enum otlp_signal { OTLP_TRACES, OTLP_METRICS, OTLP_LOGS, OTLP_SIGNALS };
enum otlp_sampler { OTLP_ALWAYS_ON, OTLP_ALWAYS_OFF, OTLP_RATIO };

struct otlp_target {
    bool on;
    bool json;          /* http/json; else http/protobuf */
    bool gzip;          /* bodies are compressed */
    double timeout;     /* seconds */
    struct str url;     /* in the arena, as all texts here */
    struct str host[1]; /* of it: what its calls may reach */
    struct header *headers;
    unsigned header_count;
};

struct otlp_settings {
    struct arena arena; /* owned */
    struct otlp_target targets[OTLP_SIGNALS];
    bool any; /* of them is on */
    enum otlp_sampler sampler;
    bool follows_parent; /* the sampler is asked for roots alone */
    double ratio;
    bool propagates;    /* traceparent, in and out */
    double delay;       /* seconds between two batches of spans or logs */
    unsigned queue_max; /* spans that wait, and log records */
    unsigned batch_max;
    double interval;         /* seconds between two exports of metrics */
    struct str service;      /* service.name */
    struct header *resource; /* further attributes */
    unsigned resource_count;
};

typedef const char *otlp_getenv(const void *arg, const char *name);

/* Reads them; `service` where none is named; `tell`: what is wrong. False: out of memory, and
 * nothing is on. */
bool otlp_settings_read(struct otlp_settings *settings, otlp_getenv *get, const void *arg,
                        struct str service, bool tell);
void otlp_settings_free(struct otlp_settings *settings);
