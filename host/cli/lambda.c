/* luafn lambda: the functions as one function of AWS Lambda. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"
#include "auth/key.h"
#include "base/clock.h"
#include "base/log.h"
#include "bindings/bindings.h"
#include "cli/cli.h"
#include "cli/lambda_event.h"
#include "cli/lambda_runtime.h"
#include "cli/local.h"
#include "shared/carried.h"
#include "shared/replay.h"

struct lambda {
    const char *config_file;
    bool stream;
    struct local local;
    struct lambda_runtime runtime;
    struct carried carried;
    uint64_t until_ns; /* of the event at hand; 0: as long as it takes */
    struct buf answer;
};

/* ---- the end ---- */

/* Nothing is lost when who waits for an event ends at once; who has one sends its answer first. */
static volatile sig_atomic_t waiting, ending;

static void on_terminate(int signal)
{
    (void)signal;
    if (waiting != 0)
        _exit(EXIT_GOOD);
    ending = 1;
}

/* ---- what is common to all events ---- */

static void read_deadline(struct lambda *l)
{
    double left = (double)l->runtime.deadline_ms / 1e3 - clock_now() - LIMIT_LAMBDA_MARGIN;
    l->until_ns = 0;
    if (l->runtime.deadline_ms > 0)
        l->until_ns = clock_monotonic_ns() + (left > 0.001 ? (uint64_t)(left * 1e9) : 1000000);
}

static bool is_late(const struct lambda *l)
{
    return l->until_ns != 0 && clock_monotonic_ns() >= l->until_ns;
}

static void send_call(struct lambda *l, struct local_call *call)
{
    call->id = str_from(l->runtime.id);
    call->ex->until_ns = l->until_ns;
    local_send(&l->local, call);
}

/* Until the answer is there; its head, where that is enough. False: it never will be. */
static bool wait_for(struct lambda *l, const struct local_call *call, bool head)
{
    while (!call->answered && !(head && call->begun)) {
        if (uv_run(&l->local.loop, UV_RUN_ONCE) == 0 && !call->answered)
            return false;
    }
    return true;
}

/* The answer is out; what runs on after it has its time now, as the process may be frozen when the
 * next event is asked for. */
static void finish(struct lambda *l, struct local_call *call)
{
    app_finished(&l->local.app, call->ex);
    local_call_free(call);
    local_finish(&l->local);
    log_flush();
}

static int refused(int rc, const struct err *err)
{
    if (rc > 0)
        log_message(LOG_ERROR, "%s", err->text);
    return rc > 0 ? 0 : rc;
}

/* ---- HTTP ---- */

/* In place of what there is. */
static void replace_answer(const struct lambda_event *event, struct local_call *call,
                           const char *code, const char *text, struct buf *out)
{
    struct exchange *ex = call->ex;
    log_message(LOG_ERROR, "%s", text);
    buf_free(&call->streamed);
    call->taken = 0;
    ex->error_code = code;
    ex->res = (struct response){.status = 502};
    if (response_set_error(&ex->res, &ex->arena, 502, str_from(code), str_from(text)) != 0)
        ex->res.status = 502;
    buf_clear(out);
    lambda_event_answer(event, call, false, out);
}

static int answer_whole(struct lambda *l, const struct lambda_event *event, struct local_call *call,
                        struct err *err)
{
    struct buf *out = &l->answer;
    char text[200];
    bool whole = wait_for(l, call, false) && !call->broken && !buf_failed(&call->streamed);
    buf_clear(out);
    call->ex->bytes_sent = local_body(call).len;
    lambda_event_answer(event, call, false, out);
    if (!whole || buf_failed(out)) {
        replace_answer(event, call, "broken_answer", "The answer ended before its end", out);
    } else if (out->len > LIMIT_LAMBDA_ANSWER) {
        snprintf(
            text, sizeof(text),
            "The answer has %zu bytes as Lambda wants it, which takes %d at most in one piece: "
            "`luafn lambda --stream` sends it in pieces",
            out->len, LIMIT_LAMBDA_ANSWER);
        replace_answer(event, call, "answer_too_large", text, out);
    }
    int rc = lambda_runtime_answer(&l->runtime, buf_str(out), err);
    if (out->cap > LIMIT_LAMBDA_ANSWER / 4)
        buf_free(out);
    return rc;
}

struct streaming {
    struct lambda *lambda;
    struct local_call *call;
    struct buf *head; /* what is left of it */
};

static long give(char *out, size_t size, struct str from)
{
    size_t count = from.len < size ? from.len : size;
    memcpy(out, from.ptr, count);
    return (long)count;
}

/* Turns the loop for as long as there is nothing to be sent. */
static long on_body(void *arg, char *out, size_t size)
{
    struct streaming *s = arg;
    struct local_call *call = s->call;
    if (s->head->len > 0) {
        long count = give(out, size, buf_str(s->head));
        buf_consume(s->head, (size_t)count);
        return count;
    }
    while (exchange_sends_body(call->ex)) {
        struct str body = local_body(call);
        if (body.len > 0) {
            long count = give(out, size, body);
            call->ex->bytes_sent += (uint64_t)count;
            local_take(call, (size_t)count);
            return count;
        }
        if (call->broken || buf_failed(&call->streamed))
            return LAMBDA_BODY_BROKEN;
        if (call->answered)
            return 0;
        if (uv_run(&s->lambda->local.loop, UV_RUN_ONCE) == 0 && !call->answered)
            return LAMBDA_BODY_BROKEN;
    }
    return 0;
}

/* The head as JSON, eight zeros, then the body as it is. */
static int answer_streamed(struct lambda *l, const struct lambda_event *event,
                           struct local_call *call, struct err *err)
{
    static const char zeros[8];
    struct streaming s = {l, call, &l->answer};
    if (!wait_for(l, call, true))
        return answer_whole(l, event, call, err);
    buf_clear(&l->answer);
    lambda_event_answer(event, call, true, &l->answer);
    buf_add(&l->answer, zeros, sizeof(zeros));
    if (buf_failed(&l->answer))
        return err_set(err, -ENOMEM, "out of memory");
    return lambda_runtime_stream(&l->runtime, on_body, &s, err);
}

static int serve_http(struct lambda *l, const struct lambda_event *event, struct err *err)
{
    struct local_call call = {.ex = NULL};
    if (local_call_new(&call) != 0)
        return err_set(err, -ENOMEM, "out of memory");
    call.paced = l->stream;
    int rc = lambda_event_request(event, &call, err);
    if (rc == -EINVAL) {
        exchange_identify(call.ex);
        call.ex->state = EXCHANGE_WORKING;
        exchange_answer_error(call.ex, 400, STR("bad_request"), str_from(err->text));
        rc = 0;
    } else if (rc == 0) {
        send_call(l, &call);
    }
    if (rc == 0)
        rc = l->stream ? answer_streamed(l, event, &call, err) : answer_whole(l, event, &call, err);
    finish(l, &call);
    return refused(rc, err);
}

/* ---- queues ---- */

/* Whose messages they are: what the Lambda function's `Handler` names, else what the queue does. */
static struct function *find_function(const struct lambda *l, struct str queue)
{
    const char *handler = getenv("_HANDLER");
    struct function *function =
        handler != NULL ? deployment_find(l->local.app.current, str_from(handler)) : NULL;
    return function != NULL ? function : deployment_find(l->local.app.current, queue);
}

/* Who runs a message waits for its end, also where the function would run in the background. */
static bool run_record(struct lambda *l, const struct lambda_record *record,
                       struct function *function)
{
    struct job_call job = {.id = record->id, .attempt = record->attempt};
    struct local_call call = {.ex = NULL};
    struct str prefix = l->local.app.current->config->prefix;
    bool good = false;
    if (local_call_new(&call) != 0)
        return false;
    call.function = function;
    call.job = &job;
    if (lambda_event_job(record, &call, prefix, function->base->name) == 0) {
        send_call(l, &call);
        good = wait_for(l, &call, false) && !call.broken && call.ex->res.status < 500;
    }
    finish(l, &call);
    return good;
}

static void add_failure(struct buf *out, struct str id)
{
    buf_add_str(out, out->data[out->len - 1] == '[' ? STR("") : STR(","));
    buf_add_str(out, STR("{\"itemIdentifier\":"));
    buf_add_json(out, id);
    buf_add_char(out, '}');
}

/* One after the other: of a FIFO queue nothing may be done past one that failed. */
static int serve_queue(struct lambda *l, const struct lambda_event *event, struct err *err)
{
    struct buf *out = &l->answer;
    struct lambda_record record;
    bool stopped = false;
    buf_clear(out);
    buf_add_str(out, STR("{\"batchItemFailures\":["));
    for (size_t i = 0; i < lambda_event_records(event) && !buf_failed(out); i++) {
        if (lambda_event_record(event, i, &record) != 0)
            return refused(lambda_runtime_fail(&l->runtime, "Runtime.BadEvent",
                                               "A record is no message of SQS", err),
                           err);
        struct function *function = find_function(l, record.queue);
        if (function == NULL) {
            struct err reason;
            err_set(&reason, 0,
                    "There is no function '%.*s': name one as the Lambda function's Handler, or "
                    "the queue like one",
                    STR_ARG(record.queue));
            return refused(
                lambda_runtime_fail(&l->runtime, "Runtime.NoSuchFunction", reason.text, err), err);
        }
        bool good = !stopped && !is_late(l) && run_record(l, &record, function);
        stopped |= !good && record.ordered;
        if (!good)
            add_failure(out, record.id);
    }
    buf_add_str(out, STR("]}"));
    if (buf_failed(out))
        return err_set(err, -ENOMEM, "out of memory");
    return refused(lambda_runtime_answer(&l->runtime, buf_str(out), err), err);
}

/* ---- the loop ---- */

static int serve_one(struct lambda *l, struct err *err)
{
    struct lambda_event event;
    waiting = 1;
    if (ending != 0) /* the signal came before the line above */
        return 0;
    int rc = lambda_runtime_next(&l->runtime, err);
    waiting = 0;
    if (rc != 0)
        return rc;
    uv_update_time(&l->local.loop); /* it may have been frozen for hours */
    read_deadline(l);
    lambda_event_read(&event, buf_str(&l->runtime.event));
    if (event.form == LAMBDA_HTTP_1 || event.form == LAMBDA_HTTP_2)
        rc = serve_http(l, &event, err);
    else if (event.form == LAMBDA_QUEUE)
        rc = serve_queue(l, &event, err);
    else
        rc = refused(lambda_runtime_fail(
                         &l->runtime, "Runtime.UnknownEvent",
                         event.root == NULL
                             ? "The event is no JSON"
                             : "The event is none of a function URL, API Gateway, a load balancer "
                               "or SQS",
                         err),
                     err);
    lambda_event_free(&event);
    if (l->runtime.event.cap > LIMIT_LAMBDA_EVENT / 16)
        buf_free(&l->runtime.event);
    return rc;
}

/* What workers of a host share, this one process has for itself. */
static int open_tables(struct lambda *l)
{
    if (carried_open(&l->carried, -1, 1) != 0)
        return -ENOMEM;
    replay_share(l->carried.proofs);
    revocations_share(l->carried.revocations);
    nonce_secret_share(l->carried.nonces);
    return 0;
}

static int load(struct lambda *l)
{
    static char kv_file[4096];
    char folder[4000];
    bool keeps = cli_state_folder(l->config_file, NULL, folder, sizeof(folder)) == 0;
    snprintf(kv_file, sizeof(kv_file), "%s/kv.mdb", keeps ? folder : "");
    const struct local_options options = {.config_file = l->config_file,
                                          .serve = true,
                                          .bindings = bindings,
                                          .rates = l->carried.rates,
                                          .deliveries = l->carried.deliveries,
                                          .kv_file = keeps ? kv_file : NULL};
    return key_start() == 0 ? local_open(&l->local, &options) : EXIT_FAULT;
}

static int serve(struct lambda *l)
{
    struct err err = {.text = ""};
    int rc = open_tables(l) == 0 ? load(l) : EXIT_FAULT;
    log_flush();
    if (rc != 0) {
        const char *reason = l->local.app.config_error.text;
        if (lambda_runtime_fail_init(&l->runtime, "Runtime.LoadFailed",
                                     reason[0] != '\0' ? reason : "luafn cannot start", &err) != 0)
            log_message(LOG_ERROR, "%s", err.text);
        return EXIT_FAULT;
    }
    while (rc == 0 && ending == 0)
        rc = serve_one(l, &err);
    return rc == 0 ? EXIT_GOOD : cli_fault("%s", err.text);
}

static int run(int argc, char **argv)
{
    static struct lambda l;
    struct err err;
    const struct option options[] = {{"--stream", OPTION_FLAG, &l.stream},
                                     {"--config", OPTION_TEXT, &l.config_file},
                                     {NULL, OPTION_FLAG, NULL}};
    l.config_file = "functions.lua";
    int rc = cli_parse(&command_lambda, argc, argv, options, NULL, 0, NULL);
    if (rc != 0)
        return rc;
    const char *address = getenv("AWS_LAMBDA_RUNTIME_API");
    if (address == NULL || address[0] == '\0')
        return cli_usage(&command_lambda, "AWS_LAMBDA_RUNTIME_API is not set: AWS Lambda starts "
                                          "this command, with it");
    log_setup(LOG_FORMAT_JSON, LOG_INFO);
    signal(SIGTERM, on_terminate);
    rc =
        lambda_runtime_open(&l.runtime, address, &err) == 0 ? serve(&l) : cli_fault("%s", err.text);
    local_close(&l.local);
    if (l.carried.directory != NULL)
        carried_close(&l.carried);
    lambda_runtime_close(&l.runtime);
    buf_free(&l.answer);
    return rc;
}

const struct command command_lambda = {"lambda", run};
