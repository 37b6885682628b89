/* A recorded request, run again. */
#include "run/rerun.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json/dump.h"
#include "lua/told.h"
#include "run/invocation.h"

static const char *member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static int out_of_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "out of memory");
}

/* ---- the request ---- */

/* "[env:NAME]" is the present value of that variable again. */
static void expand(const struct services *services, struct str text, struct buf *out)
{
    static const struct str mark = {"[env:", 5};
    size_t at;
    while ((at = str_find_text(text, mark)) < text.len) {
        struct str rest = str_skip(text, at + mark.len);
        size_t end = str_find(rest, ']');
        char name[256];
        snprintf(name, sizeof(name), "%.*s", (int)(end < 255 ? end : 255), rest.ptr);
        const char *value = end < rest.len && services->getenv != NULL
                                ? services->getenv(services->env_arg, name)
                                : NULL;
        buf_add(out, text.ptr, value != NULL ? at : at + mark.len);
        if (value != NULL)
            buf_add_str(out, str_from(value));
        text = value != NULL ? str_skip(rest, end + 1) : rest;
    }
    buf_add_str(out, text);
}

static int add_headers(struct rerun *r, const json_t *request, const struct services *services,
                       struct err *err)
{
    const json_t *list = json_object_get(request, "headers"), *pair;
    size_t i;
    int rc = 0;
    json_array_foreach(list, i, pair)
    {
        const json_t *name = json_array_get(pair, 0), *value = json_array_get(pair, 1);
        struct buf text = BUF_INIT;
        struct err why;
        expand(services, (struct str){json_string_value(value), json_string_length(value)}, &text);
        if (rc == 0 && json_is_string(name) && !buf_failed(&text))
            rc = request_add_header(&r->ex->req, &r->ex->arena, str_from(json_string_value(name)),
                                    buf_str(&text), &why);
        buf_free(&text);
    }
    return rc == 0 ? 0 : err_set(err, rc, "a header of the record cannot be read");
}

static int set_body(struct rerun *r, const json_t *body, const struct services *services,
                    struct err *err)
{
    struct request *req = &r->ex->req;
    struct buf text = BUF_INIT, plain = BUF_INIT;
    int rc = 0;
    if (json_object_get(body, "cut") != NULL)
        return err_set(err, -EINVAL,
                       "the request's body was too long to be kept: it cannot be run again");
    if (body == NULL || !told_read_text(body, &text))
        return 0;
    expand(services, buf_str(&text), &plain);
    req->body = arena_copy(&r->ex->arena, buf_str(&plain));
    if (buf_failed(&plain) || req->body.ptr == NULL)
        rc = out_of_memory(err);
    buf_free(&text);
    buf_free(&plain);
    return rc;
}

static int make_request(struct rerun *r, const struct services *services, struct err *err)
{
    const json_t *request = json_object_get(r->record, "request");
    struct exchange *ex = r->ex;
    struct request *req = &ex->req;
    struct err why;
    if (request_method_parse(str_from(member(r->record, "method")), &req->method) != 0 ||
        request_set_target(req, &ex->arena, str_from(member(r->record, "target")), &why) != 0)
        return err_set(err, -EINVAL,
                       "the request of the record cannot be made: it was not kept whole");
    req->method_name = str_from(request_method_name(req->method));
    req->host = arena_copy(&ex->arena, str_from(member(request, "host")));
    req->client_ip = arena_copy(&ex->arena, str_from(member(request, "ip")));
    req->scheme = strcmp(member(request, "scheme"), "https") == 0 ? STR("https") : STR("http");
    req->version_minor = 1;
    int rc = add_headers(r, request, services, err);
    return rc != 0 ? rc : set_body(r, json_object_get(request, "body"), services, err);
}

static int make_claims(struct rerun *r, struct err *err)
{
    const json_t *claims = json_object_get(r->record, "claims");
    char *text = claims != NULL ? dump_json_text(claims, JSON_COMPACT) : NULL;
    if (text == NULL)
        return claims == NULL ? 0 : out_of_memory(err);
    r->claims = claims_new(json_deep_copy(claims), str_from(text), ALG_RS256, false);
    free(text);
    return r->claims != NULL ? 0 : out_of_memory(err);
}

static void read_job(struct rerun *r)
{
    const json_t *job = json_object_get(r->record, "job");
    r->is_job = job != NULL;
    r->job =
        (struct job_call){.id = str_from(member(job, "id")),
                          .key = str_from(member(job, "key")),
                          .attempt = (unsigned)json_integer_value(json_object_get(job, "attempt"))};
}

/* ---- the other end of its exchange ---- */

static void on_answer(struct exchange *ex)
{
    struct rerun *r = ex->conn;
    redact_learn_headers(replayer_redact(r->replayer), &ex->res.headers); /* as a record does */
    r->answered = !ex->res.streamed;
}

static size_t on_stream_write(struct exchange *ex, struct str bytes)
{
    struct rerun *r = ex->conn;
    buf_add_str(&r->streamed, bytes);
    return 0;
}

static void on_stream_end(struct exchange *ex)
{
    struct rerun *r = ex->conn;
    r->answered = true;
}

static const struct exchange_sink sink = {.answer = on_answer,
                                          .stream_write = on_stream_write,
                                          .stream_end = on_stream_end,
                                          .stream_abort = on_stream_end};

struct str rerun_body(const struct rerun *r)
{
    const struct response *res = &r->ex->res;
    return res->streamed ? buf_str(&r->streamed) : res->body;
}

/* ---- life ---- */

int rerun_check(const json_t *record, struct err *err)
{
    const char *error = member(record, "error");
    if (json_object_get(record, "start_us") != NULL)
        return 0;
    return err_set(err, -EINVAL, "no handler ran for %s%s%s: there is nothing to run again",
                   member(record, "id"), error[0] != '\0' ? ", which was refused: " : "", error);
}

int rerun_open(struct rerun *r, const json_t *record, struct journal *journal,
               const struct services *services, struct err *err)
{
    *r = (struct rerun){.record = record, .streamed = BUF_INIT};
    if (rerun_check(record, err) != 0)
        return -EINVAL;
    r->ex = exchange_new(&sink, r);
    r->replayer = replayer_new(record, journal);
    if (r->ex == NULL || r->replayer == NULL)
        return out_of_memory(err);
    int rc = make_request(r, services, err);
    if (rc == 0)
        rc = make_claims(r, err);
    if (rc != 0)
        return rc;
    read_job(r);
    r->ex->state = EXCHANGE_WORKING;
    exchange_identify(r->ex);
    snprintf(r->ex->request_id, sizeof(r->ex->request_id), "%s", member(record, "id"));
    replayer_listen(r->replayer, r->ex);
    return 0;
}

void rerun_close(struct rerun *r)
{
    if (r->ex != NULL) {
        exchange_detach(r->ex);
        exchange_release(r->ex);
    }
    claims_unref(r->claims);
    replayer_free(r->replayer);
    buf_free(&r->streamed);
}

/* ---- turns ---- */

/* Does it go on by itself? What waits for the record, or for tasks of the run, does not. */
static bool goes_on(const struct task *task)
{
    if (task->state != TASK_WAITING || task->pending == NULL)
        return true;
    return task->pending->wait.call == 0 && !task->pending->type->waits_for_tasks;
}

static bool is_busy(const struct function *function)
{
    list_each(node, &function->invocations)
    {
        const struct invocation *inv = container_of(node, struct invocation, in_function);
        list_each(each, &inv->tasks)
        {
            if (goes_on(container_of(each, struct task, siblings)))
                return true;
        }
    }
    return false;
}

/* Nothing can end any more: it was ended from outside when it was recorded, or a call is lacking.
 */
static bool end_as_recorded(const struct rerun *r)
{
    const char *error = member(r->record, "error");
    bool timeout = strcmp(error, "timeout") == 0;
    if ((!timeout && strcmp(error, "cancelled") != 0) || r->answered || r->ex->owner == NULL)
        return false;
    invocation_cancel(r->ex->owner, timeout ? BUDGET_TIMEOUT : BUDGET_CANCELLED);
    return true;
}

enum rerun_turn rerun_turn(struct rerun *r, const struct function *function)
{
    if (r->answered && function_is_idle(function))
        return RERUN_OVER;
    if (replayer_step(r->replayer))
        return RERUN_MOVED;
    if (is_busy(function))
        return RERUN_BUSY;
    return end_as_recorded(r) || replayer_skip(r->replayer) ? RERUN_MOVED : RERUN_WAITS;
}
