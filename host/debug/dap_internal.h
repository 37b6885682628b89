/* What the files of dap.h share. */
#pragma once

#include <jansson.h>

#include "debug/dap.h"

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

/* A member; "" where there is no text of that name. */
static inline const char *dap_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

/* The same; 0 where there is no number that could be one of ours. */
static inline unsigned dap_number(const json_t *object, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(object, name));
    return value > 0 && value <= INT32_MAX ? (unsigned)value : 0;
}

/* Fills the body of the response and returns NULL, or says what is wrong: a text that lives until
 * the response is out. */
typedef const char *dap_handler(struct dap *dap, const json_t *arguments, json_t *body);
static const char *const dap_not_stopped = "notStopped";

/* ---- dap_source.c ---- */

struct str dap_root(const struct dap *dap);
/* A path of the client here, in `out`, and its name in Lua. False: it is not a file of this host.
 */
bool dap_find_source(const struct dap *dap, const char *path, char out[4096], const char **name);
/* {name, path} of a source of Lua; one that is no file has no path. */
json_t *dap_make_source(const struct dap *dap, const char *source);

/* ---- dap_look.c ---- */

/* The thread that the request names; NULL: it runs, or there is none. */
struct debugger_thread *dap_standing(struct dap *dap, const json_t *arguments);
/* A text under the mouse is looked up, never run. */
dap_handler dap_evaluate;
dap_handler dap_exception_info, dap_scopes, dap_set_variable, dap_stack_trace, dap_threads,
    dap_variables;
