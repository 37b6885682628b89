/* Requests of the Debug Adapter Protocol that look at what stands: threads, frames, variables. */
#include <string.h>

#include "debug/dap_internal.h"
#include "http/exchange.h"
#include "run/invocation.h"

struct listing {
    struct dap *dap;
    json_t *list;
};

static void add_thread(struct listing *listing, struct task *task)
{
    const struct debugger_thread *thread = debugger_thread_of(&listing->dap->place->debugger, task);
    const struct invocation *inv = task->invocation;
    const struct request *req = &inv->ex->req;
    struct buf name = BUF_INIT;
    if (thread == NULL)
        return;
    buf_printf(&name, "%.*s %.*s (%.*s)", STR_ARG(req->method_name), STR_ARG(req->path),
               STR_ARG(inv->instance->spec.name));
    if (task != inv->main)
        buf_printf(&name, " beside it, %u", thread->id);
    if (!buf_failed(&name) && str_is_utf8(buf_str(&name)))
        (void)json_array_append_new(listing->list, json_pack("{s:i,s:s%}", "id", (int)thread->id,
                                                             "name", name.data, name.len));
    buf_free(&name);
}

static void add_threads(void *arg, struct function *function)
{
    list_each(node, &function->invocations)
    {
        struct invocation *inv = container_of(node, struct invocation, in_function);
        for (struct list *one = inv->tasks.next; one != &inv->tasks; one = one->next)
            add_thread(arg, container_of(one, struct task, siblings));
    }
}

const char *dap_threads(struct dap *dap, const json_t *arguments, json_t *body)
{
    (void)arguments;
    const struct dap_options *options = &dap->place->options;
    struct listing listing = {dap, json_array()};
    options->each_function(options->arg, add_threads, &listing);
    (void)json_object_set_new(body, "threads", listing.list);
    return NULL;
}

struct debugger_thread *dap_standing(struct dap *dap, const json_t *arguments)
{
    struct debugger_thread *thread =
        debugger_find(&dap->place->debugger, dap_number(arguments, "threadId"));
    return thread != NULL && thread->stands ? thread : NULL;
}

/* The one that stands and whose frame or variables have this number; 0: any that stands. */
static struct debugger_thread *owner_of(struct dap *dap, unsigned id)
{
    struct debugger_thread *thread = dap->place->debugger.threads;
    while (thread != NULL && !(thread->stands && (id == 0 || inspect_knows(&thread->place, id))))
        thread = thread->next;
    return thread;
}

static void add_frame(void *arg, const struct inspect_frame *frame)
{
    struct listing *listing = arg;
    (void)json_array_append_new(
        listing->list, json_pack("{s:i,s:s,s:o,s:i,s:i}", "id", (int)frame->id, "name", frame->name,
                                 "source", dap_make_source(listing->dap, frame->source), "line",
                                 frame->line - listing->dap->line_shift, "column", 1));
}

const char *dap_stack_trace(struct dap *dap, const json_t *arguments, json_t *body)
{
    struct debugger_thread *thread = dap_standing(dap, arguments);
    struct listing listing = {dap, json_array()};
    unsigned total = thread != NULL
                         ? inspect_frames(&thread->place, dap_number(arguments, "startFrame"),
                                          dap_number(arguments, "levels"), add_frame, &listing)
                         : 0;
    (void)json_object_set_new(body, "stackFrames", listing.list);
    (void)json_object_set_new(body, "totalFrames", json_integer(total));
    return thread != NULL ? NULL : dap_not_stopped;
}

/* `key` NULL: the value's members are the body's. */
static const char *take_result(struct dap *dap, struct inspect_result *result, const char *key,
                               json_t *body)
{
    static char why[sizeof(result->why)]; /* until the response is out */
    (void)dap;
    memcpy(why, result->why, sizeof(why));
    if (result->value == NULL)
        return why;
    if (key != NULL)
        (void)json_object_set(body, key, result->value);
    else
        (void)json_object_update(body, result->value);
    json_decref(result->value);
    return NULL;
}

const char *dap_scopes(struct dap *dap, const json_t *arguments, json_t *body)
{
    struct inspect_result result;
    unsigned frame = dap_number(arguments, "frameId");
    struct debugger_thread *thread = frame != 0 ? owner_of(dap, frame) : NULL;
    if (thread == NULL)
        return dap_not_stopped;
    inspect_scopes(&thread->place, frame, &result);
    return take_result(dap, &result, "scopes", body);
}

const char *dap_variables(struct dap *dap, const json_t *arguments, json_t *body)
{
    struct inspect_result result;
    unsigned ref = dap_number(arguments, "variablesReference");
    struct debugger_thread *thread = ref != 0 ? owner_of(dap, ref) : NULL;
    const char *filter = dap_text(arguments, "filter");
    if (thread == NULL)
        return dap_not_stopped;
    inspect_variables(&thread->place, ref, *filter != '\0' ? filter : NULL,
                      dap_number(arguments, "start"), dap_number(arguments, "count"), &result);
    return take_result(dap, &result, "variables", body);
}

const char *dap_set_variable(struct dap *dap, const json_t *arguments, json_t *body)
{
    struct inspect_result result;
    unsigned ref = dap_number(arguments, "variablesReference");
    struct debugger_thread *thread = ref != 0 ? owner_of(dap, ref) : NULL;
    if (thread == NULL)
        return dap_not_stopped;
    inspect_set(&thread->place, ref, dap_text(arguments, "name"),
                str_from(dap_text(arguments, "value")), &result);
    return take_result(dap, &result, NULL, body);
}

const char *dap_evaluate(struct dap *dap, const json_t *arguments, json_t *body)
{
    struct inspect_result result;
    unsigned frame = dap_number(arguments, "frameId");
    const char *text = dap_text(arguments, "expression");
    struct debugger_thread *thread = owner_of(dap, frame);
    if (thread == NULL)
        return dap_not_stopped;
    if (strcmp(dap_text(arguments, "context"), "hover") == 0 &&
        strcspn(text, "(){}=\"'`;") < strlen(text))
        return "only names are looked up here";
    inspect_evaluate(&thread->place, frame, str_from(text), &result);
    return take_result(dap, &result, NULL, body);
}

const char *dap_exception_info(struct dap *dap, const json_t *arguments, json_t *body)
{
    struct debugger_thread *thread = dap_standing(dap, arguments);
    struct buf text = BUF_INIT;
    if (thread == NULL || !thread->at_error)
        return "this request does not stand at an error";
    inspect_error(&thread->place, &text);
    (void)json_object_set_new(body, "exceptionId", json_string("error"));
    (void)json_object_set_new(body, "breakMode", json_string("unhandled"));
    if (!buf_failed(&text))
        (void)json_object_set_new(body, "description", json_stringn(text.data, text.len));
    buf_free(&text);
    return NULL;
}
