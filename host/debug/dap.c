/* Requests of the Debug Adapter Protocol.
 *
 * A handler fills the body of the response and returns NULL, or says what is wrong. What lets a
 * script go on is done once the response is out: so it comes before the next event. */
#include "debug/dap.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "debug/dap_internal.h"
#include "json/dump.h"
#include "json/strict.h"

/* ---- messages ---- */

/* Steals `message`. */
static void send_message(struct dap *dap, json_t *message)
{
    if (message != NULL)
        (void)json_object_set_new(message, "seq", json_integer(++dap->seq));
    char *text = message != NULL ? dump_json_text(message, JSON_COMPACT) : NULL;
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
        (void)json_object_set_new(body, "source", dap_make_source(dap, source));
        (void)json_object_set_new(body, "line", json_integer(line - dap->line_shift));
    }
    if (body != NULL)
        send_event(dap, "output", body);
}

/* ---- requests: to begin ---- */

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
    if (strcmp(dap_text(arguments, "pathFormat"), "uri") == 0)
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
    const char *text = dap_text(arguments, name);
    return *text != '\0' ? strdup(text) : NULL;
}

/* `launch`, too: clients that know nothing else mean the host that runs. */
static const char *on_attach(struct dap *dap, const json_t *arguments, json_t *body)
{
    (void)body;
    struct dap_place *place = dap->place;
    struct str token = place->options.token, given = str_from(dap_text(arguments, "token"));
    if (given.len != token.len || CRYPTO_memcmp(given.ptr, token.ptr, token.len) != 0)
        return "the token of the host is wanted as \"token\"; it was printed at the start";
    if (place->attached != NULL)
        return place->attached == dap ? "this client is attached already"
                                      : "another debugger is attached; one can be at a time";
    dap->local_root = copy_root(arguments, "localRoot");
    dap->remote_root = dap->local_root != NULL ? copy_root(arguments, "remoteRoot") : NULL;
    if (dap->local_root != NULL && dap->remote_root == NULL) {
        struct str root = dap_root(dap);
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
    const char *asked = dap_text(json_object_get(arguments, "source"), "path");
    if (!dap_find_source(dap, asked, path, &name))
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
    (void)json_object_set_new(told, "source", dap_make_source(dap, source));
    json_t *body = json_pack("{s:s,s:o}", "reason", "changed", "breakpoint", told);
    if (body != NULL)
        send_event(dap, "breakpoint", body);
}

void dap_reloaded(struct dap *dap)
{
    breakpoints_verify(&dap->place->debugger.breakpoints, on_moved, dap);
}

/* ---- requests: to go on ---- */

static const char *let_go(struct dap *dap, const json_t *arguments, enum debugger_mode mode)
{
    dap->go = dap_standing(dap, arguments);
    dap->mode = mode;
    return dap->go != NULL ? NULL : dap_not_stopped;
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
    dap->back = dap_standing(dap, arguments);
    dap->to_breakpoint = to_breakpoint;
    return dap->back != NULL ? NULL : dap_not_stopped;
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
        debugger_find(&dap->place->debugger, dap_number(arguments, "threadId"));
    if (thread == NULL)
        return "there is no such request any more";
    debugger_pause(thread);
    return NULL;
}

/* ---- the way of a request ---- */

static const struct {
    const char *command;
    bool early; /* before the client is attached */
    dap_handler *handle;
} commands[] = {
    {"attach", true, on_attach},
    {"configurationDone", false, on_configured},
    {"continue", false, on_continue},
    {"disconnect", true, on_disconnect},
    {"evaluate", false, dap_evaluate},
    {"exceptionInfo", false, dap_exception_info},
    {"initialize", true, on_initialize},
    {"launch", true, on_attach},
    {"next", false, on_next},
    {"pause", false, on_pause},
    {"reverseContinue", false, on_reverse_continue},
    {"scopes", false, dap_scopes},
    {"setBreakpoints", false, on_breakpoints},
    {"setExceptionBreakpoints", false, on_exception_breakpoints},
    {"setVariable", false, dap_set_variable},
    {"stackTrace", false, dap_stack_trace},
    {"stepBack", false, on_step_back},
    {"stepIn", false, on_step_in},
    {"stepOut", false, on_step_out},
    {"threads", false, dap_threads},
    {"variables", false, dap_variables},
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
    json_t *request = strict_json_watched(message, 0, NULL);
    const char *command = json_string_value(json_object_get(request, "command"));
    json_t *body = json_object();
    if (command == NULL || body == NULL || strcmp(dap_text(request, "type"), "request") != 0) {
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
