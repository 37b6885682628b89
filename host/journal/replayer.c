/* A record as the outside of a run. */
#include "journal/replayer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/list.h"
#include "http/exchange.h"
#include "json/dump.h"
#include "json/strict.h"

struct call {
    const char *name, *place; /* of the record */
    json_int_t task;
    const json_t *arguments, *answer; /* NULL: none */
    bool made, ended;
    bool at_once;  /* it ended before anything else began or ended */
    bool answered; /* the record has its end */
};

struct replayer {
    struct hook hook;
    struct redact redact;
    const json_t *record;
    struct journal *journal;
    struct call *calls; /* owned; the first has number 1 */
    unsigned *ends;     /* owned; numbers of calls in the order of their ends */
    unsigned count, end_count, next_end;
    struct list waiting; /* struct hook_wait */
    struct buf divergence, fault, changed_env;
};

static struct replayer *replayer_of(struct hook *hook)
{
    return container_of(hook, struct replayer, hook);
}

static void diverge(struct replayer *r, struct str text)
{
    if (r->divergence.len == 0)
        buf_add_str(&r->divergence, text);
}

/* ---- reading the record ---- */

static void read_entry(struct replayer *r, const json_t *entry, unsigned *before)
{
    json_int_t number = json_integer_value(json_object_get(entry, "n"));
    if (number < 1 || number > (json_int_t)r->count)
        return;
    struct call *call = &r->calls[number];
    const char *name = json_string_value(json_object_get(entry, "call"));
    if (name != NULL) {
        call->name = name;
        call->place = json_string_value(json_object_get(entry, "at"));
        call->task = json_integer_value(json_object_get(entry, "task"));
        call->arguments = json_object_get(entry, "args");
    } else {
        call->answer = json_object_get(entry, "answer");
        call->answered = true;
        call->at_once = *before == (unsigned)number;
        r->ends[r->end_count++] = (unsigned)number;
    }
    *before = name != NULL ? (unsigned)number : 0;
}

static bool read_calls(struct replayer *r)
{
    const json_t *list = json_object_get(r->record, "calls"), *entry;
    size_t i, total = json_array_size(list);
    json_array_foreach(list, i, entry)
    {
        json_int_t number = json_integer_value(json_object_get(entry, "n"));
        if (number > (json_int_t)r->count && number <= LIMIT_JOURNAL_CALLS)
            r->count = (unsigned)number;
    }
    r->calls = calloc(r->count + 1, sizeof(*r->calls));
    r->ends = calloc(total + 1, sizeof(*r->ends));
    if (r->calls == NULL || r->ends == NULL)
        return false;
    unsigned before = 0;
    json_array_foreach(list, i, entry) read_entry(r, entry, &before);
    return true;
}

/* ---- what the run asks for ---- */

/* The next of that task. 0: none. */
static unsigned next_of(const struct replayer *r, unsigned task)
{
    for (unsigned i = 1; i <= r->count; i++) {
        const struct call *call = &r->calls[i];
        if (!call->made && call->name != NULL && call->task == (json_int_t)task)
            return i;
    }
    return 0;
}

static bool same_arguments(const struct call *recorded, struct str arguments)
{
    if (arguments.len == 0)
        return recorded->arguments == NULL;
    json_t *now = strict_json_watched(arguments, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    bool same = now != NULL && recorded->arguments != NULL &&
                json_equal(now, (json_t *)(uintptr_t)recorded->arguments) == 1;
    json_decref(now);
    return same;
}

static void tell_other_call(struct replayer *r, const struct hook_call *call,
                            const struct call *recorded)
{
    struct buf text = BUF_INIT;
    buf_printf(&text, "%.*s: the script calls %s(%.*s)", STR_ARG(call->place), call->name,
               STR_ARG(call->arguments));
    if (recorded == NULL) {
        buf_add_str(&text, json_is_true(json_object_get(r->record, "cut"))
                               ? STR(", which was not kept: the record is cut")
                               : STR(", where the record has no more calls"));
    } else {
        char *arguments = recorded->arguments != NULL
                              ? dump_json_text(recorded->arguments, JSON_COMPACT | JSON_ENCODE_ANY)
                              : NULL;
        buf_printf(&text, ", where the record has %s(%s) at %s", recorded->name,
                   arguments != NULL ? arguments : "",
                   recorded->place != NULL ? recorded->place : "?");
        free(arguments);
    }
    diverge(r, buf_failed(&text) ? STR("out of memory") : buf_str(&text));
    buf_free(&text);
}

static unsigned on_begin(struct hook *hook, const struct hook_call *call)
{
    struct replayer *r = replayer_of(hook);
    unsigned number = r->divergence.len == 0 ? next_of(r, call->task) : 0;
    struct call *recorded = number > 0 ? &r->calls[number] : NULL;
    if (recorded != NULL && strcmp(recorded->name, call->name) == 0 &&
        same_arguments(recorded, call->arguments)) {
        recorded->made = true;
        return number;
    }
    tell_other_call(r, call, recorded);
    return 0;
}

static void on_end(struct hook *hook, unsigned call, struct str answer)
{
    (void)answer;
    replayer_of(hook)->calls[call].ended = true;
}

static const json_t *on_recorded(struct hook *hook, unsigned number)
{
    struct replayer *r = replayer_of(hook);
    const struct call *call = &r->calls[number];
    char text[256];
    const json_t *parts[] = {call->answer, json_object_get(call->answer, "body"),
                             json_object_get(call->answer, "value")};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (json_object_get(parts[i], "cut") == NULL)
            continue;
        snprintf(text, sizeof(text), "%s: what %s answered was too long to be kept",
                 call->place != NULL ? call->place : "?", call->name);
        diverge(r, str_from(text));
        return NULL;
    }
    static json_t none = {JSON_NULL, (size_t)-1};
    return call->answer != NULL ? call->answer : &none;
}

static void on_wait(struct hook *hook, struct hook_wait *wait)
{
    struct replayer *r = replayer_of(hook);
    list_push(&r->waiting, &wait->node);
    if (!r->calls[wait->call].at_once)
        return;
    r->calls[wait->call].ended = true;
    list_remove(&wait->node);
    wait->complete(wait);
}

bool replayer_step(struct replayer *r)
{
    while (r->next_end < r->end_count && r->calls[r->ends[r->next_end]].ended)
        r->next_end++;
    if (r->next_end == r->end_count)
        return false;
    unsigned number = r->ends[r->next_end];
    list_each(node, &r->waiting)
    {
        struct hook_wait *wait = container_of(node, struct hook_wait, node);
        if (wait->call != number)
            continue;
        r->calls[number].ended = true;
        list_remove(&wait->node);
        wait->complete(wait);
        return true;
    }
    return false;
}

bool replayer_skip(struct replayer *r)
{
    if (r->next_end >= r->end_count)
        return false;
    r->calls[r->ends[r->next_end]].ended = true;
    return true;
}

static uint64_t on_hash(struct hook *hook, struct str value)
{
    return journal_hash(replayer_of(hook)->journal, value);
}

static void on_env(struct hook *hook, const char *name)
{
    struct replayer *r = replayer_of(hook);
    if (r->changed_env.len == 0)
        buf_add_str(&r->changed_env, str_from(name));
}

static void on_fault(struct hook *hook, const struct hook_fault *fault)
{
    struct replayer *r = replayer_of(hook);
    struct str clean = redact_clean(hook->redact, fault->message);
    buf_clear(&r->fault);
    buf_add_str(&r->fault, clean.ptr != NULL && clean.len > 0 ? clean : STR("?"));
}

/* ---- what it does not care for ---- */

static void on_log(struct hook *hook, const char *level, struct str message, struct str fields)
{
    (void)hook, (void)level, (void)message, (void)fields;
}

static void on_slice(struct hook *hook, uint64_t took_ns)
{
    (void)hook, (void)took_ns;
}

static void on_moment(struct hook *hook, enum hook_moment moment)
{
    (void)hook, (void)moment;
}

static void on_ended(struct hook *hook, const struct hook_end *end)
{
    (void)hook, (void)end;
}

static void on_written(struct hook *hook, struct str bytes)
{
    (void)hook, (void)bytes;
}

static void on_claims(struct hook *hook, struct claims *claims)
{
    (void)hook, (void)claims;
}

static void on_answer(struct hook *hook)
{
    (void)hook;
}

static const struct hook_type replayer_type = {
    .begin = on_begin,
    .end = on_end,
    .log = on_log,
    .slice = on_slice,
    .moment = on_moment,
    .ended = on_ended,
    .fault = on_fault,
    .written = on_written,
    .claims = on_claims,
    .hash = on_hash,
    .answer = on_answer,
    .recorded = on_recorded,
    .wait = on_wait,
    .other_env = on_env,
};

/* ---- life ---- */

struct replayer *replayer_new(const json_t *record, struct journal *journal)
{
    struct replayer *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return NULL;
    r->record = record;
    r->journal = journal;
    r->hook.type = &replayer_type;
    r->hook.redact = &r->redact;
    r->redact.names = journal_names(journal);
    list_init(&r->waiting);
    if (read_calls(r))
        return r;
    replayer_free(r);
    return NULL;
}

void replayer_free(struct replayer *r)
{
    if (r == NULL)
        return;
    redact_free(&r->redact);
    buf_free(&r->hook.text);
    buf_free(&r->divergence);
    buf_free(&r->fault);
    buf_free(&r->changed_env);
    free(r->calls);
    free(r->ends);
    free(r);
}

void replayer_listen(struct replayer *r, struct exchange *ex)
{
    r->hook.ex = ex;
    ex->hook = &r->hook;
}

struct str replayer_divergence(struct replayer *r)
{
    for (unsigned i = 1; i <= r->count && r->divergence.len == 0; i++) {
        const struct call *call = &r->calls[i];
        if (call->name != NULL && !call->made)
            buf_printf(&r->divergence, "the script never calls %s, as it did at %s", call->name,
                       call->place != NULL ? call->place : "?");
    }
    return buf_str(&r->divergence);
}

struct str replayer_changed_env(const struct replayer *r)
{
    return buf_str(&r->changed_env);
}

struct str replayer_fault(const struct replayer *r)
{
    return buf_str(&r->fault);
}

unsigned replayer_calls(const struct replayer *r)
{
    return r->count;
}

struct redact *replayer_redact(struct replayer *r)
{
    return &r->redact;
}
