/* What a request tells becomes spans and log records. */
#include "otlp/trace.h"

#include <stdio.h>
#include <string.h>

#include "auth/claims.h"
#include "base/clock.h"
#include "base/limits.h"
#include "journal/hook.h"
#include "json/dump.h"
#include "json/strict.h"
#include "otlp/trace_url.h"

enum { TRACE_BYTES = 16, SPAN_BYTES = 8 };
enum kind { INTERNAL = 1, SERVER = 2, CLIENT = 3 };
enum { STATUS_ERROR = 2 };
enum { FLAG_SAMPLED = 1, FLAG_KNOWN = 0x100, FLAG_REMOTE = 0x200 };
enum { WAITED_NS = 1000000 }; /* in the queue: less is nobody's concern */

/* Statements are told here alone: the journal's record does not number them. */
#define OWN_CALL 0x80000000u

/* A call that has begun; in the arena. */
struct open_span {
    struct open_span *next;
    unsigned call;
    const char *name;
    uint64_t began_ns;
    uint8_t id[SPAN_BYTES];
    struct str what, method; /* URL, key or statement; of fetch */
};

/* In the exchange's arena. */
struct trace {
    struct hook hook;
    struct redact redact; /* where the record has none */
    struct otlp *otlp;    /* borrowed: lives longer than exchanges */
    uint8_t trace_id[TRACE_BYTES], id[SPAN_BYTES], parent[SPAN_BYTES];
    uint8_t next_id[SPAN_BYTES]; /* of the fetch that begins next, */
    bool has_next;               /* if it was told what that is */
    bool remote;                 /* `parent` came with the request */
    bool spans_on, sampled, judged;
    struct str route;
    uint64_t passed_ns, called_ns, started_ns, answered_ns,
        sent_ns; /* 0: it did not come to that */
    struct open_span *opened;
    unsigned calls, span_count, spans_left_out, log_count;
    struct otlp_writer spans, logs; /* what has ended */
    struct str fault_type, fault_message, fault_trace;
    uint64_t fault_ns;
};

static const struct hook_type trace_type;

static struct trace *trace_of(struct hook *hook)
{
    return container_of(hook, struct trace, hook);
}

/* Nobody needs more of a text. */
static struct str shorten(struct str text)
{
    return (struct str){text.ptr, text.len < LIMIT_OTLP_TEXT ? text.len : LIMIT_OTLP_TEXT};
}

/* Without secrets. */
static struct str clean(struct trace *t, struct str text)
{
    return text.len > 0 ? shorten(redact_clean(t->hook.redact, text)) : text;
}

/* ---- spans: Span { trace_id = 1, span_id = 2, parent = 4, name = 5, kind = 6, start = 7, end = 8,
 *      attributes = 9, events = 11, status = 15, flags = 16 } ---- */

static size_t open_span(struct trace *t, const uint8_t *id, const uint8_t *parent, struct str name,
                        enum kind kind, uint64_t began_ns, uint64_t ended_ns)
{
    struct otlp_writer *w = &t->spans;
    bool root = parent == t->parent;
    size_t mark = otlp_open(w, 2, NULL);
    otlp_id(w, 1, "traceId", t->trace_id, TRACE_BYTES);
    otlp_id(w, 2, "spanId", id, SPAN_BYTES);
    if (!root || t->remote)
        otlp_id(w, 4, "parentSpanId", parent, SPAN_BYTES);
    otlp_text(w, 5, "name", name);
    otlp_enum(w, 6, "kind", kind);
    otlp_fixed64(w, 7, "startTimeUnixNano", otlp_time(began_ns));
    otlp_fixed64(w, 8, "endTimeUnixNano", otlp_time(ended_ns > began_ns ? ended_ns : began_ns));
    otlp_fixed32(w, 16, "flags", FLAG_SAMPLED | FLAG_KNOWN | (root && t->remote ? FLAG_REMOTE : 0));
    otlp_list(w, "attributes");
    t->span_count++;
    return mark;
}

static void attribute(struct trace *t, const char *key, struct str text)
{
    otlp_attribute(&t->spans, 9, key, text);
}

static void write_error(struct trace *t, struct str message)
{
    size_t mark = otlp_open(&t->spans, 15, "status");
    if (message.len > 0)
        otlp_text(&t->spans, 2, "message", message);
    otlp_enum(&t->spans, 3, "code", STATUS_ERROR);
    otlp_close(&t->spans, mark);
}

/* One of the host's own between two moments. */
static void write_stage(struct trace *t, const char *name, uint64_t began, uint64_t ended,
                        const char *error)
{
    uint8_t id[SPAN_BYTES];
    otlp_random(id, sizeof(id));
    size_t mark = open_span(t, id, t->id, str_from(name), INTERNAL, began, ended);
    if (error != NULL)
        attribute(t, "error.type", str_from(error));
    otlp_list_end(&t->spans);
    otlp_close(&t->spans, mark);
}

/* ---- calls ---- */

static bool is_of_interest(const char *name)
{
    return strcmp(name, "fetch") == 0 || strncmp(name, "kv.", 3) == 0 || strcmp(name, "sql") == 0 ||
           strcmp(name, "sleep") == 0;
}

static struct str keep_member(struct trace *t, const json_t *object, const char *name)
{
    const json_t *value = name != NULL ? json_object_get(object, name) : object;
    const struct str text = {json_string_value(value), json_string_length(value)};
    return text.ptr != NULL ? arena_copy(&t->hook.ex->arena, shorten(text)) : (struct str){NULL, 0};
}

static void read_arguments(struct trace *t, struct open_span *span, struct str json)
{
    json_t *args =
        json.len > 0 ? strict_json_watched(json, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
    if (strcmp(span->name, "fetch") == 0) {
        span->what = keep_member(t, args, "url");
        span->method = keep_member(t, args, "method");
        if (span->method.len == 0)
            span->method = STR("GET");
    } else {
        span->what = keep_member(t, args, span->name[0] == 'k' ? "key" : NULL);
    }
    json_decref(args);
}

static void begin_span(struct trace *t, const struct hook_call *call, unsigned number)
{
    bool is_fetch = strcmp(call->name, "fetch") == 0;
    if (!t->sampled || !is_of_interest(call->name))
        return;
    struct open_span *span =
        t->span_count < LIMIT_OTLP_SPANS ? arena_zalloc(&t->hook.ex->arena, sizeof(*span)) : NULL;
    if (span == NULL) {
        t->spans_left_out++;
        return;
    }
    span->call = number;
    span->name = call->name;
    span->began_ns = clock_monotonic_ns();
    if (is_fetch && t->has_next)
        memcpy(span->id, t->next_id, SPAN_BYTES);
    else
        otlp_random(span->id, SPAN_BYTES);
    t->has_next = false;
    read_arguments(t, span, call->arguments);
    span->next = t->opened;
    t->opened = span;
}

/* "... (ECONNREFUSED)" */
static struct str errno_of(struct str text)
{
    size_t open = text.len;
    while (open > 0 && text.ptr[open - 1] != '(')
        open--;
    bool found = open > 0 && text.ptr[text.len - 1] == ')';
    return found ? (struct str){text.ptr + open, text.len - open - 1} : STR("_OTHER");
}

static void write_fetch(struct trace *t, const struct open_span *span, const json_t *answer)
{
    const json_t *error = json_object_get(answer, "error");
    const struct str text = {json_string_value(error), json_string_length(error)};
    int64_t status = json_integer_value(json_object_get(answer, "status"));
    char code[24];
    snprintf(code, sizeof(code), "%lld", (long long)status);
    attribute(t, "http.request.method", span->method);
    trace_url_write(&t->spans, span->what);
    if (status > 0)
        otlp_attribute_number(&t->spans, 9, "http.response.status_code", status);
    if (text.len > 0 || status >= 400)
        attribute(t, "error.type", text.len > 0 ? errno_of(text) : str_from(code));
    otlp_list_end(&t->spans);
    if (text.len > 0 || status >= 400)
        write_error(t, shorten(text));
}

static void write_other(struct trace *t, const struct open_span *span, const json_t *answer)
{
    const json_t *error = json_object_get(answer, "error");
    const struct str text = {json_string_value(error), json_string_length(error)};
    if (span->name[0] == 'k')
        attribute(t, "db.operation.name", str_from(span->name + 3));
    attribute(t, span->name[0] == 'k' ? "luafn.key" : "db.query.text", span->what);
    if (text.len > 0)
        attribute(t, "error.type", STR("_OTHER"));
    otlp_list_end(&t->spans);
    if (text.len > 0)
        write_error(t, shorten(text));
}

static void end_span(struct trace *t, const struct open_span *span, struct str json)
{
    bool is_fetch = strcmp(span->name, "fetch") == 0;
    json_t *answer = json.len > 0 ? strict_json_watched(json, JSON_ALLOW_NUL, NULL) : NULL;
    size_t mark = open_span(t, span->id, t->id, is_fetch ? span->method : str_from(span->name),
                            strcmp(span->name, "sleep") == 0 ? INTERNAL : CLIENT, span->began_ns,
                            clock_monotonic_ns());
    if (is_fetch)
        write_fetch(t, span, answer);
    else
        write_other(t, span, answer);
    otlp_close(&t->spans, mark);
    json_decref(answer);
}

static unsigned on_begin(struct hook *hook, const struct hook_call *call)
{
    struct trace *t = trace_of(hook);
    unsigned number;
    if (strcmp(call->name, "sql") == 0)
        number = ++t->calls | OWN_CALL;
    else
        number = hook->inner != NULL ? hook->inner->type->begin(hook->inner, call) : ++t->calls;
    begin_span(t, call, number);
    return number;
}

static void on_end(struct hook *hook, unsigned call, struct str answer)
{
    struct trace *t = trace_of(hook);
    struct open_span **at = &t->opened;
    while (*at != NULL && (*at)->call != call)
        at = &(*at)->next;
    if (*at != NULL) {
        end_span(t, *at, answer);
        *at = (*at)->next;
    }
    if (hook->inner != NULL && (call & OWN_CALL) == 0)
        hook->inner->type->end(hook->inner, call, answer);
}

/* "00-<trace>-<span>-01" */
static struct str on_traceparent(struct hook *hook, bool *goes_on)
{
    struct trace *t = trace_of(hook);
    struct exchange *ex = hook->ex;
    if (!t->spans_on) {
        *goes_on = ex->traceparent.len > 0;
        return *goes_on ? ex->traceparent : STR("");
    }
    char text[56];
    size_t len = (size_t)snprintf(text, sizeof(text), "00-");
    otlp_random(t->next_id, SPAN_BYTES);
    t->has_next = true;
    for (size_t i = 0; i < TRACE_BYTES; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%02x", t->trace_id[i]);
    text[len++] = '-';
    for (size_t i = 0; i < SPAN_BYTES; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%02x", t->next_id[i]);
    snprintf(text + len, sizeof(text) - len, "-0%d", t->sampled);
    *goes_on = t->remote;
    return arena_copy(&ex->arena, str_from(text));
}

/* ---- log records: LogRecord { time = 1, severity = 2, text = 3, body = 5, attributes = 6,
 *      trace_id = 9, span_id = 10 } ---- */

static unsigned severity_of(const char *level)
{
    return level[0] == 'd' ? 5 : level[0] == 'i' ? 9 : level[0] == 'w' ? 13 : 17;
}

/* Each field is an attribute; what is neither text nor a whole number is JSON. */
static void write_fields(struct trace *t, struct str fields)
{
    struct buf *text = hook_text(&t->hook);
    redact_add_json(t->hook.redact, fields, text);
    json_t *object =
        buf_failed(text) ? NULL : strict_json_watched(buf_str(text), JSON_ALLOW_NUL, NULL);
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        if (json_is_integer(value)) {
            otlp_attribute_number(&t->logs, 6, key, json_integer_value(value));
            continue;
        }
        char *json =
            json_is_string(value) ? NULL : dump_json_text(value, JSON_COMPACT | JSON_ENCODE_ANY);
        const struct str one =
            json != NULL ? str_from(json)
                         : (struct str){json_string_value(value), json_string_length(value)};
        otlp_attribute(&t->logs, 6, key, shorten(one));
        free(json);
    }
    json_decref(object);
}

static void write_log(struct trace *t, const char *level, struct str message, struct str fields)
{
    struct otlp_writer *w = &t->logs;
    const struct exchange *ex = t->hook.ex;
    uint64_t now = otlp_time(clock_monotonic_ns());
    size_t mark = otlp_open(w, 2, NULL);
    otlp_fixed64(w, 1, "timeUnixNano", now);
    otlp_fixed64(w, 11, "observedTimeUnixNano", now);
    otlp_enum(w, 2, "severityNumber", severity_of(level));
    otlp_text(w, 3, "severityText", str_from(level));
    size_t body = otlp_open(w, 5, "body");
    otlp_text(w, 1, "stringValue", clean(t, message));
    otlp_close(w, body);
    otlp_list(w, "attributes");
    if (ex->function != NULL)
        otlp_attribute(w, 6, "luafn.function", str_from(ex->function));
    otlp_attribute(w, 6, "luafn.request_id", str_from(ex->request_id));
    if (fields.len > 0)
        write_fields(t, fields);
    otlp_list_end(w);
    otlp_fixed32(w, 8, "flags", t->sampled);
    if (t->spans_on || t->remote) {
        otlp_id(w, 9, "traceId", t->trace_id, TRACE_BYTES);
        otlp_id(w, 10, "spanId", t->spans_on ? t->id : t->parent, SPAN_BYTES);
    }
    otlp_close(w, mark);
    t->log_count++;
}

static void on_log(struct hook *hook, const char *level, struct str message, struct str fields)
{
    struct trace *t = trace_of(hook);
    if (otlp_wants(t->otlp, OTLP_LOGS) && t->log_count < LIMIT_OTLP_LOGS)
        write_log(t, level, message, fields);
    if (hook->inner != NULL)
        hook->inner->type->log(hook->inner, level, message, fields);
}

/* ---- the rest of what is told ---- */

static void on_slice(struct hook *hook, uint64_t took_ns)
{
    if (hook->inner != NULL)
        hook->inner->type->slice(hook->inner, took_ns);
}

static void on_moment(struct hook *hook, enum hook_moment moment)
{
    struct trace *t = trace_of(hook);
    uint64_t *to[] = {&t->called_ns, &t->started_ns, &t->sent_ns};
    *to[moment] = clock_monotonic_ns();
    hook_moment(hook->inner, moment);
}

static void on_ended(struct hook *hook, const struct hook_end *end)
{
    if (hook->inner != NULL)
        hook->inner->type->ended(hook->inner, end);
}

static struct str keep_clean(struct trace *t, struct str text)
{
    return text.len > 0 ? arena_copy(&t->hook.ex->arena, clean(t, text)) : text;
}

static void on_fault(struct hook *hook, const struct hook_fault *fault)
{
    struct trace *t = trace_of(hook);
    t->fault_ns = clock_monotonic_ns();
    t->fault_type = keep_clean(t, fault->type);
    t->fault_message = keep_clean(t, fault->message);
    t->fault_trace = keep_clean(t, fault->trace);
    if (hook->inner != NULL)
        hook->inner->type->fault(hook->inner, fault);
}

static void on_written(struct hook *hook, struct str bytes)
{
    if (hook->inner != NULL)
        hook->inner->type->written(hook->inner, bytes);
}

static void on_claims(struct hook *hook, struct claims *claims)
{
    struct trace *t = trace_of(hook);
    if (t->passed_ns == 0)
        t->passed_ns = clock_monotonic_ns();
    if (hook->inner != NULL)
        hook->inner->type->claims(hook->inner, claims);
}

static void on_job(struct hook *hook, struct str id, struct str key, unsigned attempt)
{
    if (hook->inner != NULL)
        hook->inner->type->job(hook->inner, id, key, attempt);
}

static uint64_t on_hash(struct hook *hook, struct str value)
{
    return hook->inner != NULL ? hook->inner->type->hash(hook->inner, value) : 0;
}

static void on_answer(struct hook *hook)
{
    trace_of(hook)->answered_ns = clock_monotonic_ns();
    if (hook->inner != NULL)
        hook->inner->type->answer(hook->inner);
}

/* ---- the request's own span ---- */

static void write_request(struct trace *t)
{
    const struct request *req = &t->hook.ex->req;
    size_t colon = str_find(req->host, ':');
    bool bracketed = req->host.len > 0 && req->host.ptr[0] == '[';
    uint64_t port = 0;
    const struct str *agent = headers_get(&req->headers, STR("user-agent"));
    attribute(t, "http.request.method", str_from(request_method_name(req->method)));
    attribute(t, "url.path", clean(t, (struct str){req->target.ptr, str_find(req->target, '?')}));
    attribute(t, "url.query",
              t->hook.ex->secret_query && req->query.len > 0 ? STR(REDACT_TEXT)
                                                             : clean(t, req->query));
    attribute(t, "url.scheme", req->scheme);
    attribute(t, "http.route", t->route);
    attribute(t, "server.address",
              bracketed
                  ? req->host
                  : (struct str){req->host.ptr, colon < req->host.len ? colon : req->host.len});
    if (!bracketed && colon < req->host.len &&
        str_to_u64(str_skip(req->host, colon + 1), 65535, &port) == 0)
        otlp_attribute_number(&t->spans, 9, "server.port", (int64_t)port);
    attribute(t, "client.address", req->client_ip);
    attribute(t, "network.protocol.version", req->version_minor == 0 ? STR("1.0") : STR("1.1"));
    if (agent != NULL)
        attribute(t, "user_agent.original", clean(t, *agent));
}

static void write_outcome(struct trace *t)
{
    const struct exchange *ex = t->hook.ex;
    char code[12];
    snprintf(code, sizeof(code), "%d", ex->res.status);
    if (ex->res.status > 0)
        otlp_attribute_number(&t->spans, 9, "http.response.status_code", ex->res.status);
    if (t->fault_type.len > 0)
        attribute(t, "error.type", t->fault_type);
    else if (ex->error_code != NULL || ex->res.status >= 500)
        attribute(t, "error.type",
                  ex->error_code != NULL ? str_from(ex->error_code) : str_from(code));
    if (ex->function != NULL) {
        attribute(t, "luafn.function", str_from(ex->function));
        otlp_attribute_number(&t->spans, 9, "luafn.generation", ex->generation);
    }
    attribute(t, "luafn.request_id", str_from(ex->request_id));
    if (t->spans_left_out > 0)
        otlp_attribute_number(&t->spans, 9, "luafn.spans_left_out", t->spans_left_out);
}

/* Event { time = 1, name = 2, attributes = 3 } */
static void write_exception(struct trace *t)
{
    struct otlp_writer *w = &t->spans;
    otlp_list(w, "events");
    size_t mark = otlp_open(w, 11, NULL);
    otlp_fixed64(w, 1, "timeUnixNano", otlp_time(t->fault_ns));
    otlp_text(w, 2, "name", STR("exception"));
    otlp_list(w, "attributes");
    otlp_attribute(w, 3, "exception.type", t->fault_type);
    otlp_attribute(w, 3, "exception.message", t->fault_message);
    otlp_attribute(w, 3, "exception.stacktrace", t->fault_trace);
    otlp_list_end(w);
    otlp_close(w, mark);
    otlp_list_end(w);
}

static void write_own_span(struct trace *t)
{
    const struct exchange *ex = t->hook.ex;
    char name[256];
    const char *method = request_method_name(ex->req.method);
    snprintf(name, sizeof(name), "%s%s%.*s", method, t->route.len > 0 ? " " : "",
             (int)(t->route.len < 200 ? t->route.len : 200), t->route.len > 0 ? t->route.ptr : "");
    uint64_t end = t->sent_ns != 0 ? t->sent_ns : t->answered_ns;
    size_t mark = open_span(t, t->id, t->parent, str_from(name), SERVER, ex->started_ns,
                            end != 0 ? end : clock_monotonic_ns());
    write_request(t);
    write_outcome(t);
    otlp_list_end(&t->spans);
    if (t->fault_ns != 0)
        write_exception(t);
    if (ex->res.status >= 500 || ex->res.status == 0)
        write_error(t, (struct str){NULL, 0});
    otlp_close(&t->spans, mark);
}

static void write_spans(struct trace *t)
{
    const struct exchange *ex = t->hook.ex;
    uint64_t judged = t->passed_ns != 0 ? t->passed_ns : t->answered_ns;
    while (t->opened != NULL) { /* cancelled */
        end_span(t, t->opened, STR("{\"error\":\"cancelled\"}"));
        t->opened = t->opened->next;
    }
    if (t->judged && judged != 0)
        write_stage(t, "policy", ex->started_ns, judged, t->passed_ns == 0 ? ex->error_code : NULL);
    if (t->called_ns != 0 && t->started_ns > t->called_ns + WAITED_NS)
        write_stage(t, "queue", t->called_ns, t->started_ns, NULL);
    write_own_span(t);
}

static void give(struct trace *t, enum otlp_signal signal, struct otlp_writer *w, unsigned count)
{
    if (count > 0 && !buf_failed(&w->out))
        otlp_add(t->otlp, signal, buf_str(&w->out), count);
    buf_free(&w->out);
}

static void on_over(struct hook *hook)
{
    struct trace *t = trace_of(hook);
    if (t->sampled)
        write_spans(t);
    give(t, OTLP_TRACES, &t->spans, t->span_count);
    give(t, OTLP_LOGS, &t->logs, t->log_count);
    if (hook->inner != NULL)
        hook->inner->type->over(hook->inner);
    redact_free(&t->redact);
    buf_free(&hook->text);
}

static const struct hook_type trace_type = {
    .begin = on_begin,
    .end = on_end,
    .log = on_log,
    .slice = on_slice,
    .moment = on_moment,
    .ended = on_ended,
    .fault = on_fault,
    .written = on_written,
    .claims = on_claims,
    .job = on_job,
    .hash = on_hash,
    .answer = on_answer,
    .statements = true,
    .traceparent = on_traceparent,
    .over = on_over,
};

/* ---- whose it is ---- */

static void read_hex(const char *text, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(str_hex_value(text[2 * i]) * 16 + str_hex_value(text[2 * i + 1]));
}

/* The last 56 bits of the trace's id against the ratio (W3C Trace Context, level 2). */
static bool is_drawn(const struct trace *t, const struct otlp_settings *s)
{
    uint64_t random = 0;
    for (size_t i = TRACE_BYTES - 7; i < TRACE_BYTES; i++)
        random = random << 8 | t->trace_id[i];
    return s->sampler == OTLP_ALWAYS_ON ||
           (s->sampler == OTLP_RATIO && (double)random < s->ratio * 0x1p56);
}

static void identify(struct trace *t)
{
    const struct otlp_settings *s = otlp_settings(t->otlp);
    struct str came = t->hook.ex->traceparent;
    bool parent_sampled = false;
    t->remote = s->propagates && came.len > 0;
    if (t->remote) {
        read_hex(came.ptr + 3, t->trace_id, TRACE_BYTES);
        read_hex(came.ptr + 36, t->parent, SPAN_BYTES);
        parent_sampled = (str_hex_value(came.ptr[54]) & 1) != 0;
    } else {
        otlp_random(t->trace_id, TRACE_BYTES);
    }
    otlp_random(t->id, SPAN_BYTES);
    t->spans_on = otlp_wants(t->otlp, OTLP_TRACES);
    t->sampled = t->spans_on && (t->remote && s->follows_parent ? parent_sampled : is_drawn(t, s));
}

static struct trace *new_trace(struct otlp *otlp, struct exchange *ex)
{
    struct trace *t = arena_zalloc(&ex->arena, sizeof(*t));
    if (t == NULL)
        return NULL;
    t->otlp = otlp;
    t->hook.type = &trace_type;
    t->hook.ex = ex;
    t->spans = otlp_writer(otlp, OTLP_TRACES);
    t->logs = otlp_writer(otlp, OTLP_LOGS);
    t->hook.inner = ex->hook;
    if (t->hook.inner != NULL) {
        t->hook.redact = t->hook.inner->redact;
    } else {
        t->redact.names = otlp_names(otlp);
        t->redact.request = &ex->req.headers;
        t->hook.redact = &t->redact;
    }
    identify(t);
    hook_listen(&t->hook);
    return t;
}

void trace_begin(struct otlp *otlp, struct exchange *ex, struct str route, bool judged)
{
    if (!otlp_wants(otlp, OTLP_TRACES) && !otlp_wants(otlp, OTLP_LOGS))
        return;
    bool begun = ex->hook != NULL && ex->hook->type == &trace_type;
    struct trace *t = begun ? trace_of(ex->hook) : new_trace(otlp, ex);
    if (t == NULL || route.len == 0)
        return;
    t->route = arena_copy(&ex->arena, route);
    t->judged = judged;
}
