/* Queues, batches and what becomes of them. */
#include "otlp/otlp.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/log.h"
#include "http/date.h"
#include "http/encoding.h"
#include "json/strict.h"
#include "otlp/otlp_metrics.h"

/* Of one request. */
struct chunk {
    struct chunk *next;
    unsigned count;
    size_t len;
    char data[];
};

struct queue {
    struct otlp *otlp;
    enum otlp_signal signal;
    struct chunk *first, *last; /* owned; NULL: none wait */
    unsigned count;             /* of elements */
    size_t bytes;
    uv_timer_t timer;         /* the next batch, or the next try of one */
    struct client_call *call; /* under way; NULL: none */
    struct buf body;          /* of the batch; empty: none */
    bool packed;              /* by gzip */
    unsigned batch_count, tries;
};

struct otlp {
    struct otlp_settings settings;
    struct otlp_options options;
    struct redact_names *names;
    struct queue queues[OTLP_SIGNALS];
    struct otlp_stats stats;
    uint8_t instance[16];
    uint64_t told_ns, untold; /* when a fault was told; what was dropped since */
    bool closed;
    unsigned open; /* timers */
    uv_timer_t flush_timer;
    void (*flushed)(void *arg); /* NULL: nobody waits for it */
    void *flushed_arg;
};

static void send_next(struct queue *queue);
static void settle(struct otlp *otlp);

/* ---- time, and what is random ---- */

uint64_t otlp_time(uint64_t monotonic_ns)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t wall = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return wall - (clock_monotonic_ns() - monotonic_ns);
}

void otlp_random(uint8_t *out, size_t len)
{
    static uint8_t pool[256];
    static size_t left;
    if (left < len) {
        if (getrandom(pool, sizeof(pool), 0) != (ssize_t)sizeof(pool)) {
            uint64_t now = clock_monotonic_ns(); /* better than the same id twice */
            memcpy(pool + sizeof(pool) - sizeof(now), &now, sizeof(now));
        }
        left = sizeof(pool);
    }
    memcpy(out, pool + sizeof(pool) - left, len);
    left -= len;
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++)
        any |= out[i];
    out[0] |= any == 0;
}

/* ---- a request to the collector: ResourceSpans { resource = 1, scope_spans = 2 } and the like
 * ----
 */

static void write_resource(struct otlp_writer *w, const struct otlp *otlp)
{
    const struct otlp_settings *s = &otlp->settings;
    const uint8_t *id = otlp->instance;
    char host[256] = "", uuid[37];
    gethostname(host, sizeof(host) - 1);
    snprintf(uuid, sizeof(uuid),
             "%02x%02x%02x%02x-%02x%02x-4%x%02x-%x%x%02x-%02x%02x%02x%02x%02x%02x", id[0], id[1],
             id[2], id[3], id[4], id[5], id[6] & 0xf, id[7], 8 | (id[8] & 3), id[8] >> 4, id[9],
             id[10], id[11], id[12], id[13], id[14], id[15]);
    size_t mark = otlp_open(w, 1, "resource");
    otlp_list(w, "attributes");
    otlp_attribute(w, 1, "service.name", s->service);
    otlp_attribute(w, 1, "service.instance.id", str_from(uuid));
    otlp_attribute(w, 1, "host.name", str_from(host));
    otlp_attribute(w, 1, "telemetry.sdk.name", STR("luafn"));
    otlp_attribute(w, 1, "telemetry.sdk.language", STR("c"));
    otlp_attribute(w, 1, "telemetry.sdk.version", STR(LUAFN_VERSION));
    for (unsigned i = 0; i < s->resource_count; i++)
        otlp_attribute(w, 1, s->resource[i].name.ptr, s->resource[i].value);
    otlp_list_end(w);
    otlp_close(w, mark);
}

static void drop_first(struct queue *queue)
{
    struct chunk *chunk = queue->first;
    queue->first = chunk->next;
    queue->count -= chunk->count;
    queue->bytes -= chunk->len;
    free(chunk);
}

/* Takes chunks until the batch is full: how many elements that are. */
static unsigned take_chunks(struct queue *queue, struct otlp_writer *w)
{
    unsigned max = queue->otlp->settings.batch_max, taken = 0;
    while (queue->first != NULL) {
        struct chunk *chunk = queue->first;
        if (taken > 0 && (taken + chunk->count > max || w->out.len > LIMIT_OTLP_REQUEST))
            break;
        otlp_elements(w, (struct str){chunk->data, chunk->len});
        taken += chunk->count;
        drop_first(queue);
    }
    return taken;
}

static unsigned write_metrics(struct otlp *otlp, struct otlp_writer *w)
{
    struct buf text = BUF_INIT;
    unsigned count = 0;
    if (otlp->options.count(otlp->options.arg, &text) && !buf_failed(&text))
        count = otlp_metrics_write(w, buf_str(&text), otlp->options.since_ns,
                                   otlp_time(clock_monotonic_ns()));
    buf_free(&text);
    return count;
}

static void write_request(struct queue *queue, struct otlp_writer *w)
{
    static const char *const names[OTLP_SIGNALS][3] = {
        {"resourceSpans", "scopeSpans", "spans"},
        {"resourceMetrics", "scopeMetrics", "metrics"},
        {"resourceLogs", "scopeLogs", "logRecords"}};
    const char *const *name = names[queue->signal];
    if (w->json)
        buf_add_char(&w->out, '{');
    otlp_list(w, name[0]);
    size_t all = otlp_open(w, 1, NULL);
    write_resource(w, queue->otlp);
    otlp_list(w, name[1]);
    size_t scoped = otlp_open(w, 2, NULL), scope = otlp_open(w, 1, "scope");
    otlp_text(w, 1, "name", STR("luafn"));
    otlp_text(w, 2, "version", STR(LUAFN_VERSION));
    otlp_close(w, scope);
    otlp_list(w, name[2]);
    queue->batch_count =
        queue->signal == OTLP_METRICS ? write_metrics(queue->otlp, w) : take_chunks(queue, w);
    otlp_list_end(w);
    otlp_close(w, scoped);
    otlp_list_end(w);
    otlp_close(w, all);
    otlp_list_end(w);
    if (w->json)
        buf_add_char(&w->out, '}');
}

/* ---- what is lost ---- */

static void tell(struct otlp *otlp, const struct queue *queue, const char *text)
{
    uint64_t now = clock_monotonic_ns();
    if (otlp->told_ns != 0 && now - otlp->told_ns < 60 * UINT64_C(1000000000))
        return;
    otlp->told_ns = now;
    log_message(LOG_WARN, "OTLP: %.*s: %s; spans and log records dropped: %llu",
                STR_ARG(otlp->settings.targets[queue->signal].url), text,
                (unsigned long long)otlp->untold);
    otlp->untold = 0;
}

static void lose(struct queue *queue, unsigned count, const char *text)
{
    struct otlp *otlp = queue->otlp;
    if (queue->signal != OTLP_METRICS) {
        otlp->stats.dropped += count;
        otlp->untold += count;
    }
    tell(otlp, queue, text);
}

/* ---- sending ---- */

static void end_batch(struct queue *queue)
{
    buf_free(&queue->body);
    queue->batch_count = queue->tries = 0;
}

/* Seconds before the next try: what the collector asks for, or twice as long each time. */
static double pause_of(const struct queue *queue, const struct client_response *res)
{
    uint8_t random[2];
    otlp_random(random, sizeof(random));
    double pause = (double)(1u << queue->tries) / 2 * (0.5 + random[0] / 255.0);
    for (unsigned i = 0; res->error == 0 && i < res->header_count; i++) {
        struct str value = res->headers[i].value;
        uint64_t seconds;
        if (!str_eq(res->headers[i].name, STR("retry-after")))
            continue;
        int64_t date = date_parse(value);
        if (str_to_u64(value, UINT32_MAX, &seconds) == 0)
            pause = (double)seconds;
        else if (date >= 0)
            pause = (double)(date - (int64_t)time(NULL));
    }
    pause = pause > 0 ? pause : 0;
    return pause < LIMIT_OTLP_PAUSE ? pause : LIMIT_OTLP_PAUSE;
}

static void schedule(struct queue *queue, double seconds);

/* What is wrong with the body of a good answer, ExportServiceResponse { partial_success = 1 };
 * NULL: nothing. What was rejected is not sent again. */
static const char *fault_of(const struct otlp_target *target, struct str body)
{
    static const char *const partial = "the collector rejects some of what it is sent";
    static const char *const nonsense = "the collector's answer is no answer of OTLP";
    if (body.len == 0)
        return NULL;
    if (!target->json)
        return body.ptr[0] != 0x0a ? nonsense : body.len > 2 ? partial : NULL;
    json_t *answer = strict_json_watched(body, 0, NULL);
    const json_t *told = json_object_get(answer, "partialSuccess");
    const char *fault = !json_is_object(answer)      ? nonsense
                        : json_object_size(told) > 0 ? partial
                                                     : NULL;
    json_decref(answer);
    return fault;
}

static void on_answer(void *arg, const struct client_response *res)
{
    struct queue *queue = arg;
    struct otlp *otlp = queue->otlp;
    queue->call = NULL;
    bool again = res->error != 0 || res->status == 429 || res->status == 502 ||
                 res->status == 503 || res->status == 504;
    if (res->error == 0 && res->status >= 200 && res->status < 300) {
        otlp->stats.sent += queue->signal == OTLP_METRICS ? 0 : queue->batch_count;
        end_batch(queue);
        const char *fault = fault_of(&otlp->settings.targets[queue->signal], res->body);
        if (fault != NULL)
            tell(otlp, queue, fault);
    } else {
        char text[160];
        otlp->stats.failures++;
        if (res->error != 0)
            snprintf(text, sizeof(text), "%.150s", res->error_text);
        else
            snprintf(text, sizeof(text), "the answer is %ld", res->status);
        if (again && ++queue->tries < LIMIT_OTLP_TRIES && otlp->flushed == NULL) {
            tell(otlp, queue, text);
            schedule(queue, pause_of(queue, res));
            return;
        }
        lose(queue, queue->batch_count, text);
        end_batch(queue);
    }
    if (queue->signal == OTLP_METRICS)
        schedule(queue, otlp->settings.interval);
    else if (queue->count >= otlp->settings.batch_max || otlp->flushed != NULL)
        send_next(queue);
    else if (queue->count > 0)
        schedule(queue, otlp->settings.delay);
    settle(otlp);
}

static void send_body(struct queue *queue)
{
    struct otlp *otlp = queue->otlp;
    const struct otlp_target *target = &otlp->settings.targets[queue->signal];
    struct header headers[LIMIT_OTLP_HEADERS + 3];
    unsigned count = 0;
    struct err err;
    headers[count++] =
        (struct header){STR("content-type"),
                        target->json ? STR("application/json") : STR("application/x-protobuf")};
    headers[count++] =
        (struct header){STR("user-agent"), STR("OTel-OTLP-Exporter-luafn/" LUAFN_VERSION)};
    if (queue->packed)
        headers[count++] = (struct header){STR("content-encoding"), STR("gzip")};
    for (unsigned i = 0; i < target->header_count; i++)
        headers[count++] = target->headers[i];
    const struct client_request req = {
        .method = STR("POST"),
        .url = target->url,
        .headers = headers,
        .header_count = count,
        .body = buf_str(&queue->body),
        .timeout = target->timeout,
        .max_bytes = LIMIT_OTLP_ANSWER,
        .no_redirect = true,
        .rules = {.hosts = target->host, .host_count = 1},
    };
    if (client_start(otlp->options.client, &req, on_answer, queue, &queue->call, &err) == 0)
        return;
    queue->call = NULL;
    otlp->stats.failures++;
    lose(queue, queue->batch_count, err.text);
    end_batch(queue);
}

/* Makes the next batch, unless one is under way. */
static void send_next(struct queue *queue)
{
    struct otlp *otlp = queue->otlp;
    if (queue->call != NULL || queue->body.len > 0 || otlp->closed)
        return;
    if (queue->signal != OTLP_METRICS && queue->count == 0)
        return;
    struct otlp_writer w = otlp_writer(otlp, queue->signal);
    write_request(queue, &w);
    if (buf_failed(&w.out)) {
        buf_free(&w.out);
        lose(queue, queue->batch_count, "out of memory");
        end_batch(queue);
        return;
    }
    struct buf packed = BUF_INIT;
    queue->packed = otlp->settings.targets[queue->signal].gzip &&
                    encoding_squeeze(ENCODING_GZIP, buf_str(&w.out), &packed) == 0;
    queue->body = queue->packed ? packed : w.out;
    buf_free(queue->packed ? &w.out : &packed);
    send_body(queue);
}

static void on_due(uv_timer_t *timer)
{
    struct queue *queue = container_of(timer, struct queue, timer);
    if (queue->call == NULL && queue->body.len > 0)
        send_body(queue);
    else
        send_next(queue);
}

static void schedule(struct queue *queue, double seconds)
{
    if (!queue->otlp->closed)
        uv_timer_start(&queue->timer, on_due, (uint64_t)(seconds * 1000) + 1, 0);
}

/* ---- what comes ---- */

struct otlp_writer otlp_writer(const struct otlp *otlp, enum otlp_signal signal)
{
    return (struct otlp_writer){.json = otlp->settings.targets[signal].json};
}

void otlp_add(struct otlp *otlp, enum otlp_signal signal, struct str elements, unsigned count)
{
    struct queue *queue = &otlp->queues[signal];
    if (otlp->closed || count == 0 || !redact_is_whole())
        return;
    bool full = queue->count + count > otlp->settings.queue_max ||
                queue->bytes + elements.len > LIMIT_OTLP_BYTES;
    struct chunk *chunk = full ? NULL : malloc(sizeof(*chunk) + elements.len);
    if (chunk == NULL) {
        lose(queue, count, full ? "what waits for the collector is too much" : "out of memory");
        return;
    }
    chunk->count = count;
    chunk->len = elements.len;
    memcpy(chunk->data, elements.ptr, elements.len);
    chunk->next = NULL;
    if (queue->first != NULL)
        queue->last->next = chunk;
    else
        queue->first = chunk;
    queue->last = chunk;
    queue->count += count;
    queue->bytes += chunk->len;
    if (queue->call != NULL || queue->body.len > 0)
        return;
    if (queue->count >= otlp->settings.batch_max)
        schedule(queue, 0);
    else if (!uv_is_active((uv_handle_t *)&queue->timer))
        schedule(queue, otlp->settings.delay);
}

int otlp_set_names(struct otlp *otlp, const struct str *names, unsigned count)
{
    redact_names_unref(otlp->names);
    otlp->names = redact_names_new(names, count);
    otlp->closed = otlp->closed || otlp->names == NULL;
    return otlp->names != NULL ? 0 : -ENOMEM;
}

struct redact_names *otlp_names(struct otlp *otlp)
{
    return redact_names_ref(otlp->names);
}

const struct otlp_settings *otlp_settings(const struct otlp *otlp)
{
    return &otlp->settings;
}

bool otlp_wants(const struct otlp *otlp, enum otlp_signal signal)
{
    return otlp->settings.targets[signal].on;
}

struct otlp_stats otlp_stats(const struct otlp *otlp)
{
    return otlp->stats;
}

/* ---- life ---- */

struct otlp *otlp_new(struct otlp_settings *settings, const struct otlp_options *options)
{
    struct otlp *otlp = calloc(1, sizeof(*otlp));
    if (otlp == NULL) {
        otlp_settings_free(settings);
        return NULL;
    }
    otlp->settings = *settings;
    otlp->options = *options;
    if (options->instance != NULL)
        memcpy(otlp->instance, options->instance, sizeof(otlp->instance));
    else
        otlp_random(otlp->instance, sizeof(otlp->instance));
    for (enum otlp_signal signal = OTLP_TRACES; signal < OTLP_SIGNALS; signal++) {
        struct queue *queue = &otlp->queues[signal];
        queue->otlp = otlp;
        queue->signal = signal;
        uv_timer_init(options->loop, &queue->timer);
    }
    uv_timer_init(options->loop, &otlp->flush_timer);
    otlp->open = OTLP_SIGNALS + 1;
    if (options->count != NULL && otlp_wants(otlp, OTLP_METRICS))
        schedule(&otlp->queues[OTLP_METRICS], otlp->settings.interval);
    return otlp;
}

/* Is nothing left to be sent? */
static bool is_empty(const struct otlp *otlp)
{
    for (unsigned i = 0; i < OTLP_SIGNALS; i++) {
        if (otlp->queues[i].count > 0 || otlp->queues[i].body.len > 0)
            return false;
    }
    return true;
}

static void end_flush(struct otlp *otlp)
{
    void (*flushed)(void *arg) = otlp->flushed;
    otlp->flushed = NULL;
    uv_timer_stop(&otlp->flush_timer);
    flushed(otlp->flushed_arg);
}

static void settle(struct otlp *otlp)
{
    if (otlp->flushed != NULL && is_empty(otlp))
        end_flush(otlp);
}

static void on_late(uv_timer_t *timer)
{
    struct otlp *otlp = container_of(timer, struct otlp, flush_timer);
    for (unsigned i = 0; i < OTLP_SIGNALS; i++)
        otlp->untold += otlp->queues[i].count + otlp->queues[i].batch_count;
    log_message(LOG_WARN,
                "OTLP: the collector has not taken all in time; spans and log records "
                "dropped: %llu",
                (unsigned long long)otlp->untold);
    end_flush(otlp);
}

void otlp_flush(struct otlp *otlp, void (*done)(void *arg), void *arg)
{
    otlp->flushed = done;
    otlp->flushed_arg = arg;
    uv_timer_start(&otlp->flush_timer, on_late, (uint64_t)(LIMIT_OTLP_FLUSH * 1000), 0);
    for (unsigned i = 0; i < OTLP_SIGNALS; i++) {
        struct queue *queue = &otlp->queues[i];
        uv_timer_stop(&queue->timer);
        if (queue->call == NULL && queue->body.len > 0)
            send_body(queue);
        else if (i != OTLP_METRICS || (otlp->options.count != NULL && otlp_wants(otlp, i)))
            send_next(queue);
    }
    settle(otlp);
}

static void on_closed(uv_handle_t *handle)
{
    struct otlp *otlp = handle->data;
    if (--otlp->open > 0)
        return;
    redact_names_unref(otlp->names);
    otlp_settings_free(&otlp->settings);
    free(otlp);
}

void otlp_free(struct otlp *otlp)
{
    if (otlp == NULL)
        return;
    otlp->closed = true;
    for (unsigned i = 0; i < OTLP_SIGNALS; i++) {
        struct queue *queue = &otlp->queues[i];
        if (queue->call != NULL)
            client_cancel(queue->call);
        buf_free(&queue->body);
        while (queue->first != NULL)
            drop_first(queue);
        queue->timer.data = otlp;
        uv_close((uv_handle_t *)&queue->timer, on_closed);
    }
    otlp->flush_timer.data = otlp;
    uv_close((uv_handle_t *)&otlp->flush_timer, on_closed);
}
