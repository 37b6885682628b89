/* What a request tells becomes a line of JSON. */
#include "journal/record.h"

#include <math.h>

#include "auth/claims.h"
#include "base/clock.h"
#include "base/limits.h"
#include "json/dump.h"

struct slice {
    uint64_t end_ns, took_ns;
};

/* In the exchange's arena. */
struct record {
    struct hook hook;
    struct redact redact;    /* where no other hook has one */
    struct journal *journal; /* borrowed: lives longer than exchanges */
    bool sampled;
    unsigned call_count;  /* that were begun, */
    unsigned calls_kept;  /* and that are in: */
    struct buf calls;     /* owned: what begins and ends, in order, each as JSON with a comma */
    struct buf logs;      /* owned: the same of log lines */
    struct slice first;   /* slice: most have no other */
    struct slice *slices; /* in the arena: LIMIT_JOURNAL_SLICES, from the second on */
    unsigned slice_count;
    uint64_t called_ns, started_ns, answered_ns, sent_ns; /* 0: it did not come to that */
    struct hook_end end;
    struct str fault;    /* JSON, in the arena; empty: none */
    struct str body;     /* of the answer, before it was encoded; borrowed from its response */
    struct buf streamed; /* owned: the same of one in pieces, as far as it is kept */
    uint64_t streamed_bytes;
    struct claims *claims; /* reference; NULL: none */
    struct str job, key;   /* in the arena: of a job: its id, and its key; ptr NULL: it is none */
    unsigned attempt;
    bool cut;
};

static struct record *record_of(struct hook *hook)
{
    return container_of(hook, struct record, hook);
}

/* Microseconds since the head was complete. */
static long long since(const struct record *r, uint64_t ns)
{
    return ns > r->hook.ex->started_ns ? (long long)((ns - r->hook.ex->started_ns) / 1000) : 0;
}

/* May so many bytes more be kept? */
static bool has_room(struct record *r, size_t bytes)
{
    if (r->calls.len + r->logs.len + r->streamed.len + bytes <= LIMIT_JOURNAL_RECORD)
        return true;
    r->cut = true;
    return false;
}

/* ---- what is told ---- */

static unsigned on_begin(struct hook *hook, const struct hook_call *call)
{
    struct record *r = record_of(hook);
    unsigned number = ++r->call_count;
    if (r->cut || number > LIMIT_JOURNAL_CALLS ||
        !has_room(r, call->arguments.len + call->place.len + 64)) {
        r->cut = true;
        return number;
    }
    r->calls_kept = number;
    struct buf *out = &r->calls;
    buf_printf(out, "{\"n\":%u,\"call\":\"%s\",\"task\":%u,\"us\":%lld", number, call->name,
               call->task, since(r, clock_monotonic_ns()));
    if (call->place.len > 0) {
        buf_add_str(out, STR(",\"at\":"));
        buf_add_json(out, call->place);
    }
    if (call->arguments.len > 0) {
        buf_add_str(out, STR(",\"args\":"));
        buf_add_str(out, call->arguments);
    }
    buf_add_str(out, STR("},"));
    return number;
}

static void on_end(struct hook *hook, unsigned call, struct str answer)
{
    struct record *r = record_of(hook);
    if (call == 0 || call > r->calls_kept)
        return;
    bool fits = has_room(r, answer.len + 64);
    buf_printf(&r->calls, "{\"n\":%u,\"us\":%lld", call, since(r, clock_monotonic_ns()));
    if (fits && answer.len > 0) {
        buf_add_str(&r->calls, STR(",\"answer\":"));
        buf_add_str(&r->calls, answer);
    } else if (!fits) {
        buf_printf(&r->calls, ",\"answer\":{\"cut\":%zu}", answer.len);
    }
    buf_add_str(&r->calls, STR("},"));
}

static void on_log(struct hook *hook, const char *level, struct str message, struct str fields)
{
    struct record *r = record_of(hook);
    if (!has_room(r, message.len + fields.len + 64))
        return;
    buf_printf(&r->logs,
               "{\"us\":%lld,\"level\":\"%s\",\"message\":", since(r, clock_monotonic_ns()), level);
    redact_add_text(hook->redact, message, LIMIT_JOURNAL_TEXT, &r->logs);
    if (fields.len > 0) {
        buf_add_str(&r->logs, STR(",\"fields\":"));
        redact_add_json(hook->redact, fields, &r->logs);
    }
    buf_add_str(&r->logs, STR("},"));
}

static void on_slice(struct hook *hook, uint64_t took_ns)
{
    struct record *r = record_of(hook);
    struct slice *slice = r->slice_count == 0 ? &r->first : NULL;
    if (slice == NULL && r->slices == NULL)
        r->slices = arena_alloc(&hook->ex->arena, LIMIT_JOURNAL_SLICES * sizeof(*r->slices));
    if (slice == NULL && r->slices != NULL && r->slice_count < LIMIT_JOURNAL_SLICES)
        slice = &r->slices[r->slice_count];
    if (slice == NULL)
        return;
    *slice = (struct slice){clock_monotonic_ns(), took_ns};
    r->slice_count++;
}

static void on_moment(struct hook *hook, enum hook_moment moment)
{
    struct record *r = record_of(hook);
    uint64_t *to[] = {&r->called_ns, &r->started_ns, &r->sent_ns};
    *to[moment] = clock_monotonic_ns();
}

static void on_ended(struct hook *hook, const struct hook_end *end)
{
    record_of(hook)->end = *end;
}

static void on_fault(struct hook *hook, const struct hook_fault *fault)
{
    struct record *r = record_of(hook);
    struct buf *out = hook_text(hook);
    buf_add_str(out, STR("{\"type\":"));
    redact_add_text(hook->redact, fault->type, LIMIT_JOURNAL_TEXT, out);
    buf_add_str(out, STR(",\"message\":"));
    redact_add_text(hook->redact, fault->message, LIMIT_JOURNAL_TEXT, out);
    if (fault->trace.len > 0) {
        buf_add_str(out, STR(",\"trace\":"));
        redact_add_text(hook->redact, fault->trace, LIMIT_JOURNAL_TEXT, out);
    }
    buf_add_char(out, '}');
    if (!buf_failed(out))
        r->fault = arena_copy(&hook->ex->arena, buf_str(out));
}

static void on_written(struct hook *hook, struct str bytes)
{
    struct record *r = record_of(hook);
    r->streamed_bytes += bytes.len;
    if (r->streamed.len >= LIMIT_JOURNAL_TEXT)
        return;
    size_t room = LIMIT_JOURNAL_TEXT - r->streamed.len;
    buf_add(&r->streamed, bytes.ptr, bytes.len < room ? bytes.len : room);
}

static void on_claims(struct hook *hook, struct claims *claims)
{
    struct record *r = record_of(hook);
    if (claims != NULL && r->claims == NULL)
        r->claims = claims_ref(claims);
}

static void on_job(struct hook *hook, struct str id, struct str key, unsigned attempt)
{
    struct record *r = record_of(hook);
    r->job = arena_copy(&hook->ex->arena, id);
    r->key = arena_copy(&hook->ex->arena, key);
    r->attempt = attempt;
}

static void on_answer(struct hook *hook)
{
    struct record *r = record_of(hook);
    r->answered_ns = clock_monotonic_ns();
    r->body = hook->ex->res.body;
}

static uint64_t on_hash(struct hook *hook, struct str value)
{
    return journal_hash(record_of(hook)->journal, value);
}

/* ---- the line ---- */

static void add_text(struct record *r, const char *key, struct str text, struct buf *out)
{
    if (text.len == 0)
        return;
    buf_printf(out, ",\"%s\":", key);
    redact_add_text(r->hook.redact, text, LIMIT_JOURNAL_TEXT, out);
}

/* A body: no longer than there is room, and at least the beginning of it. */
static void add_body(struct record *r, struct str body, struct buf *out)
{
    size_t room = out->len < LIMIT_JOURNAL_RECORD - 4096 ? LIMIT_JOURNAL_RECORD - out->len : 4096;
    size_t max = room < LIMIT_JOURNAL_TEXT ? room : LIMIT_JOURNAL_TEXT;
    if (body.ptr == NULL)
        return;
    r->cut = r->cut || body.len > max;
    buf_add_str(out, STR(",\"body\":"));
    redact_add_text(r->hook.redact, body, max, out);
}

static void add_request(struct record *r, struct buf *out)
{
    const struct request *req = &r->hook.ex->req;
    buf_add_str(out, STR(",\"request\":{\"scheme\":"));
    buf_add_json(out, req->scheme);
    buf_add_str(out, STR(",\"headers\":"));
    redact_add_headers(r->hook.redact, req->headers.items, req->headers.len, out);
    add_text(r, "host", req->host, out);
    add_text(r, "ip", req->client_ip, out);
    buf_printf(out, ",\"http\":%d", req->version_minor);
    add_body(r, req->body, out);
    buf_add_char(out, '}');
}

static void add_answer(struct record *r, struct buf *out)
{
    const struct exchange *ex = r->hook.ex;
    struct str body = r->answered_ns != 0 ? r->body : ex->res.body;
    buf_add_str(out, STR(",\"answer\":{\"headers\":"));
    r->hook.redact->hides_place = ex->secret_place;
    redact_add_headers(r->hook.redact, ex->res.headers.items, ex->res.headers.len, out);
    if (ex->res.file != NULL && ex->res.file->file != NULL)
        buf_add_str(out, STR(",\"file\":true"));
    else
        add_body(r, r->streamed_bytes > 0 ? buf_str(&r->streamed) : body, out);
    if (r->streamed_bytes > 0)
        buf_printf(out, ",\"streamed\":%llu", (unsigned long long)r->streamed_bytes);
    r->cut = r->cut || r->streamed_bytes > r->streamed.len;
    buf_add_char(out, '}');
}

/* What was gathered, without the comma at its end. */
static void add_list(const char *key, const struct buf *items, struct buf *out)
{
    if (items->len == 0)
        return;
    buf_printf(out, ",\"%s\":[", key);
    buf_add(out, items->data, items->len - 1);
    buf_add_char(out, ']');
}

static void add_times(const struct record *r, struct buf *out)
{
    if (r->started_ns > 0) {
        buf_printf(out, ",\"queue_us\":%lld", since(r, r->started_ns) - since(r, r->called_ns));
        buf_printf(out, ",\"start_us\":%lld", since(r, r->started_ns));
        buf_printf(out, ",\"cpu_us\":%llu", (unsigned long long)r->end.cpu_ns / 1000);
        buf_printf(out, ",\"memory\":{\"used\":%zu,\"limit\":%zu},\"seed\":%u", r->end.memory,
                   r->end.memory_limit, r->end.seed);
    }
    if (r->slice_count == 0)
        return;
    buf_add_str(out, STR(",\"slices\":["));
    for (unsigned i = 0; i < r->slice_count; i++) {
        const struct slice *s = i == 0 ? &r->first : &r->slices[i];
        buf_printf(out, "%s[%lld,%llu]", i > 0 ? "," : "", since(r, s->end_ns - s->took_ns),
                   (unsigned long long)s->took_ns / 1000);
    }
    buf_add_char(out, ']');
}

static void add_claims(struct record *r, struct buf *out)
{
    if (r->claims == NULL)
        return;
    struct buf text = BUF_INIT;
    dump_json(&text, r->claims->json, JSON_COMPACT);
    add_text(r, "user", r->claims->subject, out);
    buf_add_str(out, STR(",\"claims\":"));
    redact_add_json(r->hook.redact, buf_str(&text), out);
    out->failed |= buf_failed(&text);
    buf_free(&text);
}

static void add_job(struct record *r, struct buf *out)
{
    if (r->job.ptr == NULL)
        return;
    buf_printf(out, ",\"job\":{\"attempt\":%u", r->attempt);
    add_text(r, "id", r->job, out);
    add_text(r, "key", r->key, out);
    buf_add_char(out, '}');
}

static uint64_t end_of(const struct record *r)
{
    uint64_t ns = r->sent_ns != 0 ? r->sent_ns : r->answered_ns;
    return ns != 0 ? ns : clock_monotonic_ns();
}

static void add_target(struct record *r, struct buf *out)
{
    const struct exchange *ex = r->hook.ex;
    if (!ex->secret_query) {
        add_text(r, "target", ex->req.target, out);
        return;
    }
    struct str clean = redact_clean_place(r->hook.redact, ex->req.target);
    buf_add_str(out, STR(",\"target\":"));
    buf_add_json(out, clean.ptr != NULL ? clean : STR(REDACT_TEXT));
}

static void write_line(struct record *r, struct buf *out)
{
    const struct exchange *ex = r->hook.ex;
    double age = (double)(clock_monotonic_ns() - ex->started_ns) / 1e9;
    buf_add_str(out, STR("{\"v\":1,\"id\":"));
    buf_add_json(out, str_from(ex->request_id));
    buf_printf(out, ",\"time\":%.3f,\"ms\":%.3f,\"method\":", clock_now() - age,
               (double)since(r, end_of(r)) / 1000);
    buf_add_json(out, ex->req.method_name);
    add_target(r, out);
    buf_printf(out, ",\"status\":%d", ex->res.status);
    if (ex->function != NULL) {
        add_text(r, "function", str_from(ex->function), out);
        buf_printf(out, ",\"generation\":%u", ex->generation);
    }
    if (ex->error_code != NULL)
        add_text(r, "error", str_from(ex->error_code), out);
    add_claims(r, out);
    add_job(r, out);
    add_times(r, out);
    if (r->fault.len > 0) {
        buf_add_str(out, STR(",\"fault\":"));
        buf_add_str(out, r->fault);
    }
    add_list("calls", &r->calls, out);
    add_list("logs", &r->logs, out);
    add_request(r, out);
    add_answer(r, out);
    if (r->cut)
        buf_add_str(out, STR(",\"cut\":true"));
    buf_add_char(out, '}');
}

/* ---- life ---- */

static void free_record(struct record *r)
{
    redact_free(&r->redact);
    buf_free(&r->hook.text);
    buf_free(&r->calls);
    buf_free(&r->logs);
    buf_free(&r->streamed);
    claims_unref(r->claims);
}

/* A file or a redirect that went well has nothing to tell. */
static bool is_kept(const struct record *r)
{
    const struct journal_rules *rules = journal_rules(r->journal);
    const struct exchange *ex = r->hook.ex;
    bool failed = ex->res.status >= 500 || r->fault.len > 0;
    bool told = ex->function != NULL || ex->res.status >= 400;
    return rules->on && redact_is_whole() && ex->res.status != 0 &&
           ((told && (rules->all || r->sampled)) || (rules->errors && failed));
}

static void on_over(struct hook *hook)
{
    struct record *r = record_of(hook);
    if (is_kept(r)) {
        struct buf line = BUF_INIT;
        redact_learn_headers(hook->redact, &hook->ex->res.headers);
        write_line(r, &line);
        if (!buf_failed(&line))
            journal_write(r->journal, buf_str(&line));
        buf_free(&line);
    }
    free_record(r);
}

static const struct hook_type record_type = {
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
    .over = on_over,
};

void record_begin(struct journal *journal, struct exchange *ex)
{
    const struct journal_rules *rules = journal_rules(journal);
    bool sampled = rules->all || (rules->sample > 0 && journal_draws(journal));
    struct hook *outer = ex->hook;
    if (!rules->on || (!sampled && !rules->errors) ||
        (outer != NULL && (hook_replays(outer) || outer->type == &record_type || outer->inner)))
        return;
    struct record *r = arena_zalloc(&ex->arena, sizeof(*r));
    if (r == NULL)
        return;
    r->journal = journal;
    r->sampled = sampled;
    r->hook.type = &record_type;
    r->hook.ex = ex;
    if (outer != NULL) {
        r->hook.redact = outer->redact;
        outer->inner = &r->hook;
        return;
    }
    r->hook.redact = &r->redact;
    r->redact.names = journal_names(journal);
    r->redact.request = &ex->req.headers;
    hook_listen(&r->hook);
}
