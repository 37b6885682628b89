/* The variables OTEL_*. */
#include "otlp/otlp_settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/log.h"
#include "client/client.h"

struct reader {
    struct otlp_settings *to;
    otlp_getenv *get;
    const void *arg;
    bool tell;   /* what is wrong */
    bool failed; /* no memory */
};

static const char *const names[OTLP_SIGNALS] = {"TRACES", "METRICS", "LOGS"};
static const char *const paths[OTLP_SIGNALS] = {"v1/traces", "v1/metrics", "v1/logs"};

/* ---- values ---- */

/* Empty is as good as unset. */
static struct str value_of(const struct reader *r, const char *name)
{
    const char *value = r->get(r->arg, name);
    return value != NULL ? str_trim(str_from(value)) : (struct str){NULL, 0};
}

/* OTEL_EXPORTER_OTLP_TRACES_X, else OTEL_EXPORTER_OTLP_X; *name is the one that it was. */
static struct str exporter_value(const struct reader *r, enum otlp_signal signal, const char *what,
                                 char name[64])
{
    snprintf(name, 64, "OTEL_EXPORTER_OTLP_%s_%s", names[signal], what);
    struct str value = value_of(r, name);
    if (value.len > 0)
        return value;
    snprintf(name, 64, "OTEL_EXPORTER_OTLP_%s", what);
    return value_of(r, name);
}

static void refuse(const struct reader *r, const char *name, struct str value, const char *instead)
{
    if (r->tell)
        log_message(LOG_WARN, "%s: '%.*s' cannot be used: %s", name,
                    (int)(value.len < 100 ? value.len : 100), value.ptr, instead);
}

/* A number in [min, max]; else `standard`. */
static double number(const struct reader *r, const char *name, double standard, double min,
                     double max)
{
    struct str value = value_of(r, name);
    if (value.len == 0)
        return standard;
    char *end;
    double got = strtod(value.ptr, &end);
    if (end == value.ptr + value.len && got >= min && got <= max)
        return got;
    char instead[96];
    snprintf(instead, sizeof(instead), "write a number from %g to %g; %g counts", min, max,
             standard);
    refuse(r, name, value, instead);
    return standard;
}

static struct str copy(struct reader *r, struct str text)
{
    struct str copied = arena_copy(&r->to->arena, text);
    r->failed = r->failed || copied.ptr == NULL;
    return copied;
}

static struct str decoded(struct reader *r, struct str text)
{
    struct str out = copy(r, text);
    char *to = (char *)out.ptr;
    if (to == NULL)
        return out;
    out.len = 0;
    for (size_t i = 0; i < text.len; i++) {
        bool escaped = text.ptr[i] == '%' && i + 2 < text.len &&
                       str_hex_value(text.ptr[i + 1]) >= 0 && str_hex_value(text.ptr[i + 2]) >= 0;
        to[out.len++] =
            escaped ? (char)(str_hex_value(text.ptr[i + 1]) * 16 + str_hex_value(text.ptr[i + 2]))
                    : text.ptr[i];
        i += escaped ? 2 : 0;
    }
    to[out.len] = '\0';
    return out;
}

/* "k=v,k2=v2": values are percent-encoded. One bad pair, and none counts. */
static struct header *pairs(struct reader *r, const char *name, struct str text, unsigned *count)
{
    const struct str all = text;
    struct str pair;
    *count = 0;
    struct header *list = arena_alloc(&r->to->arena, (str_count(text, ',') + 1) * sizeof(*list));
    r->failed = r->failed || list == NULL;
    while (!r->failed && text.len > 0 && str_split_next(&text, ',', &pair)) {
        pair = str_trim(pair);
        size_t equals = str_find(pair, '=');
        if (pair.len == 0)
            continue;
        if (equals == 0 || equals == pair.len) {
            refuse(r, name, all, "write NAME=VALUE,NAME=VALUE; none of it counts");
            *count = 0;
            return list;
        }
        list[*count].name = copy(r, str_trim((struct str){pair.ptr, equals}));
        list[(*count)++].value = decoded(r, str_trim(str_skip(pair, equals + 1)));
    }
    return list;
}

/* ---- where to ---- */

/* OTEL_TRACES_EXPORTER and the like: "otlp", "none". */
static bool is_chosen(const struct reader *r, enum otlp_signal signal, bool *named)
{
    char name[64];
    snprintf(name, sizeof(name), "OTEL_%s_EXPORTER", names[signal]);
    struct str list = value_of(r, name), part;
    *named = list.len > 0;
    bool chosen = list.len == 0;
    while (list.len > 0 && str_split_next(&list, ',', &part)) {
        part = str_trim(part);
        if (str_eq_nocase(part, STR("otlp")))
            chosen = true;
        else if (!str_eq_nocase(part, STR("none")))
            refuse(r, name, part, "there are otlp and none");
    }
    return chosen;
}

static bool read_url(struct reader *r, enum otlp_signal signal, struct otlp_target *target,
                     bool named)
{
    char name[64];
    snprintf(name, sizeof(name), "OTEL_EXPORTER_OTLP_%s_ENDPOINT", names[signal]);
    struct str url = value_of(r, name);
    bool whole = url.len > 0; /* it is used as it is */
    if (!whole) {
        snprintf(name, sizeof(name), "OTEL_EXPORTER_OTLP_ENDPOINT");
        url = value_of(r, name);
    }
    if (url.len == 0 && !named)
        return false;
    if (url.len == 0)
        url = STR("http://localhost:4318");
    target->url = whole ? copy(r, url)
                        : arena_printf(&r->to->arena, "%.*s%s%s", STR_ARG(url),
                                       str_ends_with(url, STR("/")) ? "" : "/", paths[signal]);
    struct client_url parts;
    struct err err;
    if (target->url.ptr == NULL || client_parse_url(target->url, &parts, &err) != 0) {
        refuse(r, name, url, "write a URL as http://localhost:4318; nothing is exported there");
        return false;
    }
    target->host[0] = copy(r, str_from(parts.host));
    return true;
}

static void read_target(struct reader *r, enum otlp_signal signal)
{
    struct otlp_target *target = &r->to->targets[signal];
    char name[64];
    bool named;
    if (!is_chosen(r, signal, &named) || !read_url(r, signal, target, named))
        return;
    struct str value = exporter_value(r, signal, "PROTOCOL", name);
    target->json = str_eq_nocase(value, STR("http/json"));
    if (value.len > 0 && !target->json && !str_eq_nocase(value, STR("http/protobuf")))
        refuse(r, name, value, "there are http/protobuf and http/json; the first counts");
    value = exporter_value(r, signal, "COMPRESSION", name);
    target->gzip = str_eq_nocase(value, STR("gzip"));
    if (value.len > 0 && !target->gzip && !str_eq_nocase(value, STR("none")))
        refuse(r, name, value, "there are gzip and none; none counts");
    value = exporter_value(r, signal, "HEADERS", name);
    target->headers = pairs(r, name, value, &target->header_count);
    if (target->header_count > LIMIT_OTLP_HEADERS) {
        refuse(r, name, value, "these are too many; none of it counts");
        target->header_count = 0;
    }
    (void)exporter_value(r, signal, "TIMEOUT", name); /* which of the two it is */
    target->timeout = number(r, name, 10000, 1, 600000) / 1000;
    static const char *const files[] = {"CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        value = exporter_value(r, signal, files[i], name);
        if (value.len > 0 && signal == OTLP_TRACES)
            refuse(r, name, value, "the system's certificates count");
    }
    target->on = true;
    r->to->any = true;
}

/* ---- which spans ---- */

static void read_sampler(struct reader *r)
{
    static const struct {
        const char *name;
        enum otlp_sampler sampler;
        bool follows;
    } known[] = {
        {"parentbased_always_on", OTLP_ALWAYS_ON, true},
        {"parentbased_always_off", OTLP_ALWAYS_OFF, true},
        {"parentbased_traceidratio", OTLP_RATIO, true},
        {"always_on", OTLP_ALWAYS_ON, false},
        {"always_off", OTLP_ALWAYS_OFF, false},
        {"traceidratio", OTLP_RATIO, false},
    };
    struct str value = value_of(r, "OTEL_TRACES_SAMPLER");
    r->to->follows_parent = true;
    bool found = value.len == 0;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (!str_eq_nocase(value, str_from(known[i].name)))
            continue;
        r->to->sampler = known[i].sampler;
        r->to->follows_parent = known[i].follows;
        found = true;
    }
    if (!found)
        refuse(r, "OTEL_TRACES_SAMPLER", value, "parentbased_always_on counts");
    r->to->ratio = 1;
    if (r->to->sampler == OTLP_RATIO)
        r->to->ratio = number(r, "OTEL_TRACES_SAMPLER_ARG", 1, 0, 1);
}

static void read_propagators(struct reader *r)
{
    struct str list = value_of(r, "OTEL_PROPAGATORS"), part;
    r->to->propagates = list.len == 0;
    while (list.len > 0 && str_split_next(&list, ',', &part)) {
        part = str_trim(part);
        if (str_eq_nocase(part, STR("tracecontext")))
            r->to->propagates = true;
        else if (!str_eq_nocase(part, STR("none")) && !str_eq_nocase(part, STR("baggage")))
            refuse(r, "OTEL_PROPAGATORS", part, "there are tracecontext and none");
    }
}

static void read_resource(struct reader *r, struct str service)
{
    struct otlp_settings *to = r->to;
    to->resource = pairs(r, "OTEL_RESOURCE_ATTRIBUTES", value_of(r, "OTEL_RESOURCE_ATTRIBUTES"),
                         &to->resource_count);
    struct str name = value_of(r, "OTEL_SERVICE_NAME");
    unsigned kept = 0;
    for (unsigned i = 0; !r->failed && i < to->resource_count; i++) {
        if (!str_eq(to->resource[i].name, STR("service.name")))
            to->resource[kept++] = to->resource[i];
        else if (name.len == 0)
            name = to->resource[i].value;
    }
    to->resource_count = kept;
    to->service = copy(r, name.len > 0 ? name : service);
}

bool otlp_settings_read(struct otlp_settings *settings, otlp_getenv *get, const void *arg,
                        struct str service, bool tell)
{
    struct reader r = {.to = settings, .get = get, .arg = arg, .tell = tell};
    *settings = (struct otlp_settings){.any = false};
    arena_init(&settings->arena);
    if (str_eq_nocase(value_of(&r, "OTEL_SDK_DISABLED"), STR("true")))
        return true;
    for (enum otlp_signal signal = OTLP_TRACES; signal < OTLP_SIGNALS; signal++)
        read_target(&r, signal);
    if (settings->any) {
        read_sampler(&r);
        read_propagators(&r);
        read_resource(&r, service);
        settings->delay = number(&r, "OTEL_BSP_SCHEDULE_DELAY", 5000, 1, 3600000) / 1000;
        settings->queue_max =
            (unsigned)number(&r, "OTEL_BSP_MAX_QUEUE_SIZE", 2048, 1, LIMIT_OTLP_QUEUE);
        settings->batch_max =
            (unsigned)number(&r, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 1, LIMIT_OTLP_QUEUE);
        settings->interval = number(&r, "OTEL_METRIC_EXPORT_INTERVAL", 60000, 10, 86400000) / 1000;
    }
    settings->any = settings->any && !r.failed;
    return !r.failed;
}

void otlp_settings_free(struct otlp_settings *settings)
{
    arena_free(&settings->arena);
}
