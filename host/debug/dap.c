/* Requests of the Debug Adapter Protocol.
 *
 * A handler fills the body of the response and returns NULL, or says what is wrong. What lets a
 * script go on is done once the response is out: so it comes before the next event. */
#include "debug/dap.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "http/exchange.h"
#include "run/invocation.h"

struct dap {
    struct dap_place *place;
    void (*send)(void *arg, struct str message);
    void *arg;
    struct debugger_listener listener;
    json_int_t seq;
    int line_shift;                 /* what a client adds to its lines for ours: 0 or 1 */
    char *local_root, *remote_root; /* owned: of attach; NULL: paths are the same there and here */
    bool over;
    /* to be done after the response */
    struct debugger_thread *go, *back;
    enum debugger_mode mode;
    bool to_breakpoint;
    bool tell_initialized, tell_configured;
};

/* ---- messages ---- */

/* Steals `message`. */
static void send_message(struct dap *dap, json_t *message)
{
    if (message != NULL)
        (void)json_object_set_new(message, "seq", json_integer(++dap->seq));
    char *text = message != NULL ? json_dumps(message, JSON_COMPACT) : NULL;
    json_decref(message);
    if (text != NULL)
        dap->send(dap->arg, str_from(text));
    else
        dap->over = true;
    free(text);
}

/* Steals `body`; NULL: none. */
static void send_event(struct dap *dap, const char *event, json_t *body)
{
    json_t *message = json_pack("{s:s,s:s}", "type", "event", "event", event);
    if (body != NULL && message != NULL)
        (void)json_object_set(message, "body", body);
    json_decref(body);
    send_message(dap, message);
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static unsigned number_of(const json_t *object, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(object, name));
    return value > 0 && value <= INT32_MAX ? (unsigned)value : 0;
}

/* ---- paths: the client's, and names of sources in Lua ---- */

/* The rest of `path` below `folder`, without the slash between; ptr NULL: it is not below it. */
static struct str below(struct str path, struct str folder)
{
    while (folder.len > 0 && folder.ptr[folder.len - 1] == '/')
        folder.len--;
    if (!str_starts_with(path, folder) || path.len <= folder.len || path.ptr[folder.len] != '/')
        return (struct str){NULL, 0};
    return str_skip(path, folder.len + 1);
}

static bool join(struct str folder, struct str rest, char *out, size_t size)
{
    int len = snprintf(out, size, "%.*s/%.*s", STR_ARG(folder), STR_ARG(rest));
    return len > 0 && (size_t)len < size;
}

static struct str root_of(const struct dap *dap)
{
    return dap->place->options.root(dap->place->options.arg);
}

/* A path of the client here, in `out`, and its name in Lua. False: it is not a file of this host.
 */
static bool find_source(const struct dap *dap, const char *path, char out[4096], const char **name)
{
    char real[4096], real_root[4096], root[4096];
    struct str rest = {NULL, 0};
    snprintf(root, sizeof(root), "%.*s", STR_ARG(root_of(dap)));
    if (dap->local_root != NULL)
        rest = below(str_from(path), str_from(dap->local_root));
    if (rest.ptr == NULL || !join(str_from(dap->remote_root), rest, out, 4096))
        snprintf(out, 4096, "%s", path);
    rest = below(str_from(out), str_from(root));
    if (rest.ptr == NULL && realpath(out, real) != NULL && realpath(root, real_root) != NULL) {
        snprintf(out, 4096, "%s", real);
        rest = below(str_from(out), str_from(real_root));
    }
    const char *slash = strrchr(out, '/');
    *name = rest.ptr != NULL ? rest.ptr : slash != NULL ? slash + 1 : out;
    return **name != '\0';
}

/* {name, path} of a source of Lua; one that is no file has no path. */
static json_t *make_source(const struct dap *dap, const char *source)
{
    char path[4096], there[4096];
    if (*source != '@')
        return json_pack("{s:s}", "name", *source == '=' ? source + 1 : "(text)");
    const char *slash = strrchr(source, '/');
    const char *name = slash != NULL ? slash + 1 : source + 1;
    if (!join(root_of(dap), str_from(source + 1), path, sizeof(path)))
        return json_pack("{s:s}", "name", name);
    struct str rest = dap->local_root != NULL ? below(str_from(path), str_from(dap->remote_root))
                                              : (struct str){NULL, 0};
    bool mapped = rest.ptr != NULL && join(str_from(dap->local_root), rest, there, sizeof(there));
    return json_pack("{s:s,s:s}", "name", name, "path", mapped ? there : path);
}

/* ---- what the debugger tells ---- */

static void on_stopped(void *arg, struct debugger_thread *thread, const char *text)
{
    json_t *body = json_pack("{s:s,s:i,s:b}", "reason", thread->reason, "threadId", (int)thread->id,
                             "allThreadsStopped", false);
    if (text != NULL && body != NULL)
        (void)json_object_set_new(body, "text", json_string(text));
    if (thread->breakpoint != 0 && body != NULL)
        (void)json_object_set_new(body, "hitBreakpointIds",
                                  json_pack("[i]", (int)thread->breakpoint));
    send_event(arg, "stopped", body);
}

static void on_gone(void *arg, unsigned id)
{
    send_event(arg, "thread", json_pack("{s:s,s:i}", "reason", "exited", "threadId", (int)id));
}

static void on_again(void *arg)
{
    const struct dap *dap = arg;
    dap->place->options.again(dap->place->options.run_arg);
}

static void on_output(void *arg, struct str text, const char *source, int line)
{
    struct dap *dap = arg;
    json_t *body = json_pack("{s:s,s:s%}", "category", "console", "output", text.ptr, text.len);
    if (source != NULL && body != NULL) {
        (void)json_object_set_new(body, "source", make_source(dap, source));
        (void)json_object_set_new(body, "line", json_integer(line - dap->line_shift));
    }
    if (body != NULL)
        send_event(dap, "output", body);
}

/* ---- requests: to begin ---- */

typedef const char *handler(struct dap *dap, const json_t *arguments, json_t *body);

static const char *on_initialize(struct dap *dap, const json_t *arguments, json_t *body)
{
    static const char *const able[] = {"supportsConfigurationDoneRequest",
                                       "supportsConditionalBreakpoints",
                                       "supportsHitConditionalBreakpoints",
                                       "supportsLogPoints",
                                       "supportsEvaluateForHovers",
                                       "supportsSetVariable",
                                       "supportsDelayedStackTraceLoading",
                                       "supportsExceptionInfoRequest",
                                       "supportsSingleThreadExecutionRequests"};
    if (strcmp(text_of(arguments, "pathFormat"), "uri") == 0)
        return "paths are wanted, no URIs: pathFormat \"path\"";
    dap->line_shift = json_is_false(json_object_get(arguments, "linesStartAt1")) ? 1 : 0;
    for (size_t i = 0; i < sizeof(able) / sizeof(able[0]); i++)
        (void)json_object_set_new(body, able[i], json_true());
    if (dap->place->options.again != NULL)
        (void)json_object_set_new(body, "supportsStepBack", json_true());
    (void)json_object_set_new(
        body, "exceptionBreakpointFilters",
        json_pack("[{s:s,s:s,s:s,s:b}]", "filter", "uncaught", "label", "Uncaught errors",
                  "description",
                  "Stops at an error that the script does not catch, where it is raised", "default",
                  true));
    return NULL;
}

static char *copy_root(const json_t *arguments, const char *name)
{
    const char *text = text_of(arguments, name);
    return *text != '\0' ? strdup(text) : NULL;
}

/* `launch`, too: clients that know nothing else mean the host that runs. */
static const char *on_attach(struct dap *dap, const json_t *arguments, json_t *body)
{
    (void)body;
    struct dap_place *place = dap->place;
    struct str token = place->options.token, given = str_from(text_of(arguments, "token"));
    if (given.len != token.len || CRYPTO_memcmp(given.ptr, token.ptr, token.len) != 0)
        return "the token of the host is wanted as \"token\"; it was printed at the start";
    if (place->attached != NULL)
        return place->attached == dap ? "this client is attached already"
                                      : "another debugger is attached; one can be at a time";
    dap->local_root = copy_root(arguments, "localRoot");
    dap->remote_root = dap->local_root != NULL ? copy_root(arguments, "remoteRoot") : NULL;
    if (dap->local_root != NULL && dap->remote_root == NULL) {
        struct str root = root_of(dap);
        dap->remote_root = strndup(root.ptr, root.len);
    }
    if (dap->local_root != NULL && dap->remote_root == NULL)
        return "out of memory";
    place->attached = dap;
    debugger_open(&place->debugger, &dap->listener);
    const json_t *entry = json_object_get(arguments, "stopOnEntry");
    place->debugger.stops_at_entry =
        json_is_boolean(entry) ? json_is_true(entry) : place->options.stops_at_entry;
    dap->tell_initialized = true;
    return NULL;
}

static const char *on_configured(struct dap *dap, const json_t *arguments, json_t *body)
{
    (void)arguments, (void)body;
    dap->tell_configured = true;
    return NULL;
}

static const char *on_disconnect(struct dap *dap, const json_t *arguments, json_t *body)
{
    (void)arguments, (void)body;
    dap->over = true;
    return NULL;
}

/* ---- requests: where to stand ---- */

static json_t *shift_lines(const json_t *list, int shift)
{
    json_t *copy = list != NULL ? json_deep_copy(list) : json_array(), *one;
    size_t i;
    json_array_foreach(copy, i, one)
    {
        json_t *line = json_object_get(one, "line");
        if (line != NULL)
            (void)json_integer_set(line, json_integer_value(line) + shift);
    }
    return copy;
}

static const char *on_breakpoints(struct dap *dap, const json_t *arguments, json_t *body)
{
    char path[4096];
    const char *name, *why = "out of memory";
    const char *asked = text_of(json_object_get(arguments, "source"), "path");
    if (!find_source(dap, asked, path, &name))
        return "a source with a path is wanted";
    json_t *wanted = shift_lines(json_object_get(arguments, "breakpoints"), dap->line_shift);
    json_t *answer = json_array();
    int rc = wanted != NULL && answer != NULL ? breakpoints_set(&dap->place->debugger.breakpoints,
                                                                name, path, wanted, answer, &why)
                                              : -1;
    json_decref(wanted);
    if (rc == 0)
        (void)json_object_set_new(body, "breakpoints", shift_lines(answer, -dap->line_shift));
    json_decref(answer);
    return rc == 0 ? NULL : why;
}

static const char *on_exception_breakpoints(struct dap *dap, const json_t *arguments, json_t *body)
{
    (void)body;
    const json_t *filter;
    size_t i;
    dap->place->debugger.stops_at_errors = false;
    json_array_foreach(json_object_get(arguments, "filters"), i, filter)
    {
        if (json_is_string(filter) && strcmp(json_string_value(filter), "uncaught") == 0)
            dap->place->debugger.stops_at_errors = true;
    }
    return NULL;
}

void dap_terminate(struct dap *dap)
{
    send_event(dap, "terminated", NULL);
}

static void on_moved(void *arg, const struct breakpoint *breakpoint, const char *name)
{
    struct dap *dap = arg;
    char source[4096];
    json_t *told = breakpoints_json(breakpoint);
    if (told == NULL || snprintf(source, sizeof(source), "@%s", name) >= (int)sizeof(source)) {
        json_decref(told);
        return;
    }
    (void)json_object_set_new(told, "line", json_integer(breakpoint->line - dap->line_shift));
    (void)json_object_set_new(told, "source", make_source(dap, source));
    json_t *body = json_pack("{s:s,s:o}", "reason", "changed", "breakpoint", told);
    if (body != NULL)
        send_event(dap, "breakpoint", body);
}

void dap_reloaded(struct dap *dap)
{
    breakpoints_verify(&dap->place->debugger.breakpoints, on_moved, dap);
}

/* ---- requests: what there is ---- */

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

static const char *on_threads(struct dap *dap, const json_t *arguments, json_t *body)
{
    (void)arguments;
    const struct dap_options *options = &dap->place->options;
    struct listing listing = {dap, json_array()};
    options->each_function(options->arg, add_threads, &listing);
    (void)json_object_set_new(body, "threads", listing.list);
    return NULL;
}

/* NULL: it runs, or there is none. */
static struct debugger_thread *standing(struct dap *dap, const json_t *arguments)
{
    struct debugger_thread *thread =
        debugger_find(&dap->place->debugger, number_of(arguments, "threadId"));
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

static const char *const not_stopped = "notStopped";

static void add_frame(void *arg, const struct inspect_frame *frame)
{
    struct listing *listing = arg;
    (void)json_array_append_new(
        listing->list, json_pack("{s:i,s:s,s:o,s:i,s:i}", "id", (int)frame->id, "name", frame->name,
                                 "source", make_source(listing->dap, frame->source), "line",
                                 frame->line - listing->dap->line_shift, "column", 1));
}

static const char *on_stack_trace(struct dap *dap, const json_t *arguments, json_t *body)
{
    struct debugger_thread *thread = standing(dap, arguments);
    struct listing listing = {dap, json_array()};
    unsigned total = thread != NULL
                         ? inspect_frames(&thread->place, number_of(arguments, "startFrame"),
                                          number_of(arguments, "levels"), add_frame, &listing)
                         : 0;
    (void)json_object_set_new(body, "stackFrames", listing.list);
    (void)json_object_set_new(body, "totalFrames", json_integer(total));
    return thread != NULL ? NULL : not_stopped;
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

static const char *on_scopes(struct dap *dap, const json_t *arguments, json_t *body)
{
    struct inspect_result result;
    unsigned frame = number_of(arguments, "frameId");
    struct debugger_thread *thread = frame != 0 ? owner_of(dap, frame) : NULL;
    if (thread == NULL)
        return not_stopped;
    inspect_scopes(&thread->place, frame, &result);
    return take_result(dap, &result, "scopes", body);
}

static const char *on_variables(struct dap *dap, const json_t *arguments, json_t *body)
{
    struct inspect_result result;
    unsigned ref = number_of(arguments, "variablesReference");
    struct debugger_thread *thread = ref != 0 ? owner_of(dap, ref) : NULL;
    const char *filter = text_of(arguments, "filter");
    if (thread == NULL)
        return not_stopped;
    inspect_variables(&thread->place, ref, *filter != '\0' ? filter : NULL,
                      number_of(arguments, "start"), number_of(arguments, "count"), &result);
    return take_result(dap, &result, "variables", body);
}

static const char *on_set_variable(struct dap *dap, const json_t *arguments, json_t *body)
{
    struct inspect_result result;
    unsigned ref = number_of(arguments, "variablesReference");
    struct debugger_thread *thread = ref != 0 ? owner_of(dap, ref) : NULL;
    if (thread == NULL)
        return not_stopped;
    inspect_set(&thread->place, ref, text_of(arguments, "name"),
                str_from(text_of(arguments, "value")), &result);
    return take_result(dap, &result, NULL, body);
}

/* A text under the mouse is looked up, never run. */
static const char *on_evaluate(struct dap *dap, const json_t *arguments, json_t *body)
{
    struct inspect_result result;
    unsigned frame = number_of(arguments, "frameId");
    const char *text = text_of(arguments, "expression");
    struct debugger_thread *thread = owner_of(dap, frame);
    if (thread == NULL)
        return not_stopped;
    if (strcmp(text_of(arguments, "context"), "hover") == 0 &&
        strcspn(text, "(){}=\"'`;") < strlen(text))
        return "only names are looked up here";
    inspect_evaluate(&thread->place, frame, str_from(text), &result);
    return take_result(dap, &result, NULL, body);
}

static const char *on_exception_info(struct dap *dap, const json_t *arguments, json_t *body)
{
    struct debugger_thread *thread = standing(dap, arguments);
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

/* ---- requests: to go on ---- */

static const char *let_go(struct dap *dap, const json_t *arguments, enum debugger_mode mode)
{
    dap->go = standing(dap, arguments);
    dap->mode = mode;
    return dap->go != NULL ? NULL : not_stopped;
}

static const char *on_continue(struct dap *dap, const json_t *arguments, json_t *body)
{
    (void)json_object_set_new(body, "allThreadsContinued", json_false());
    return let_go(dap, arguments, DEBUGGER_RUN);
}

static const char *on_next(struct dap *dap, const json_t *arguments, json_t *body)
{
    (void)body;
    return let_go(dap, arguments, DEBUGGER_NEXT);
}

static const char *on_step_in(struct dap *dap, const json_t *arguments, json_t *body)
{
    (void)body;
    return let_go(dap, arguments, DEBUGGER_IN);
}

static const char *on_step_out(struct dap *dap, const json_t *arguments, json_t *body)
{
    (void)body;
    return let_go(dap, arguments, DEBUGGER_OUT);
}

static const char *go_back(struct dap *dap, const json_t *arguments, bool to_breakpoint)
{
    if (dap->place->options.again == NULL)
        return "only a recorded request goes back: `luafn replay ID --debug`";
    dap->back = standing(dap, arguments);
    dap->to_breakpoint = to_breakpoint;
    return dap->back != NULL ? NULL : not_stopped;
}

static const char *on_step_back(struct dap *dap, const json_t *arguments, json_t *body)
{
    (void)body;
    return go_back(dap, arguments, false);
}

static const char *on_reverse_continue(struct dap *dap, const json_t *arguments, json_t *body)
{
    (void)body;
    return go_back(dap, arguments, true);
}

static const char *on_pause(struct dap *dap, const json_t *arguments, json_t *body)
{
    (void)body;
    struct debugger_thread *thread =
        debugger_find(&dap->place->debugger, number_of(arguments, "threadId"));
    if (thread == NULL)
        return "there is no such request any more";
    debugger_pause(thread);
    return NULL;
}

/* ---- the way of a request ---- */

static const struct {
    const char *command;
    bool early; /* before the client is attached */
    handler *handle;
} commands[] = {
    {"attach", true, on_attach},
    {"configurationDone", false, on_configured},
    {"continue", false, on_continue},
    {"disconnect", true, on_disconnect},
    {"evaluate", false, on_evaluate},
    {"exceptionInfo", false, on_exception_info},
    {"initialize", true, on_initialize},
    {"launch", true, on_attach},
    {"next", false, on_next},
    {"pause", false, on_pause},
    {"reverseContinue", false, on_reverse_continue},
    {"scopes", false, on_scopes},
    {"setBreakpoints", false, on_breakpoints},
    {"setExceptionBreakpoints", false, on_exception_breakpoints},
    {"setVariable", false, on_set_variable},
    {"stackTrace", false, on_stack_trace},
    {"stepBack", false, on_step_back},
    {"stepIn", false, on_step_in},
    {"stepOut", false, on_step_out},
    {"threads", false, on_threads},
    {"variables", false, on_variables},
};

static const char *handle(struct dap *dap, const char *command, const json_t *arguments,
                          json_t *body)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].command, command) != 0)
            continue;
        if (!commands[i].early && dap->place->attached != dap)
            return "attach with the host's token first";
        return commands[i].handle(dap, arguments, body);
    }
    return "this request is not known here";
}

/* Steals `body`. */
static void respond(struct dap *dap, const json_t *request, const char *command, const char *why,
                    json_t *body)
{
    json_t *seq = json_object_get(request, "seq");
    json_t *message =
        json_pack("{s:s,s:I,s:s,s:b}", "type", "response", "request_seq", json_integer_value(seq),
                  "command", command, "success", why == NULL);
    if (message != NULL && why != NULL) {
        (void)json_object_set_new(message, "message", json_string(why));
        (void)json_object_set_new(
            message, "body",
            json_pack("{s:{s:i,s:s,s:b}}", "error", "id", 1, "format", why, "showUser", false));
    } else if (message != NULL) {
        (void)json_object_set(message, "body", body);
    }
    json_decref(body);
    send_message(dap, message);
}

static void go_on(struct dap *dap)
{
    struct debugger_thread *thread = dap->go, *back = dap->back;
    bool initialized = dap->tell_initialized, configured = dap->tell_configured;
    dap->go = dap->back = NULL;
    dap->tell_initialized = dap->tell_configured = false;
    if (initialized)
        send_event(dap, "initialized", NULL);
    if (thread != NULL)
        debugger_go_on(thread, dap->mode);
    if (back != NULL)
        debugger_go_back(&dap->place->debugger, back, dap->to_breakpoint);
    if (configured && dap->place->options.configured != NULL)
        dap->place->options.configured(dap->place->options.run_arg);
}

bool dap_take(struct dap *dap, struct str message)
{
    json_t *request = json_loadb(message.ptr, message.len, 0, NULL);
    const char *command = json_string_value(json_object_get(request, "command"));
    json_t *body = json_object();
    if (command == NULL || body == NULL || strcmp(text_of(request, "type"), "request") != 0) {
        json_decref(body);
        json_decref(request);
        return false;
    }
    const char *why = handle(dap, command, json_object_get(request, "arguments"), body);
    respond(dap, request, command, why, body);
    json_decref(request);
    go_on(dap);
    return !dap->over;
}

/* ---- life ---- */

struct dap *dap_new(struct dap_place *place, void (*send)(void *arg, struct str message), void *arg)
{
    struct dap *dap = calloc(1, sizeof(*dap));
    if (dap == NULL)
        return NULL;
    dap->place = place;
    dap->send = send;
    dap->arg = arg;
    dap->listener = (struct debugger_listener){
        .stopped = on_stopped, .gone = on_gone, .output = on_output, .arg = dap};
    if (place->options.again != NULL)
        dap->listener.again = on_again;
    return dap;
}

void dap_free(struct dap *dap)
{
    if (dap == NULL)
        return;
    if (dap->place->attached == dap) {
        debugger_close(&dap->place->debugger);
        dap->place->attached = NULL;
    }
    free(dap->local_root);
    free(dap->remote_root);
    free(dap);
}
