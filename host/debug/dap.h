/* The Debug Adapter Protocol of one client: requests in, responses and events out.
 *
 * Nothing but `initialize` is answered before the client has attached with the token. One client is
 * attached at a time. When it leaves, whatever stands goes on. */
#pragma once

#include "base/str.h"
#include "debug/debugger.h"

struct function;
struct dap;

/* What the debugger is told of where it is. All borrowed. */
struct dap_options {
    struct str token;
    /* Calls visit(visit_arg, function) for each that may have requests under way. */
    void (*each_function)(void *arg, void (*visit)(void *visit_arg, struct function *function),
                          void *visit_arg);
    /* The folder of functions.lua, absolute. */
    struct str (*root)(void *arg);
    void *arg;
    /* Where one run is debugged, with run_arg; NULL: many are. Somebody has attached and said where
     * to stand. */
    void (*configured)(void *run_arg);
    /* The run is over and shall be made again, from the loop's next turn on; then
     * debugger_begin_run(). NULL: runs cannot be, and nobody steps back. */
    void (*again)(void *run_arg);
    void *run_arg;
    bool stops_at_entry; /* where the client does not say otherwise */
};

/* What all clients share. */
struct dap_place {
    struct dap_options options;
    struct debugger debugger;
    struct dap *attached; /* NULL: nobody */
};

/* `send` takes a message, JSON that the caller frees afterwards. NULL when out of memory. */
struct dap *dap_new(struct dap_place *place, void (*send)(void *arg, struct str message),
                    void *arg);
/* Detaches, if it is attached. */
void dap_free(struct dap *dap);

/* Scripts were loaded anew: the client is told of breakpoints that are elsewhere now. */
void dap_reloaded(struct dap *dap);

/* There is nothing more to debug: the client is told, and leaves. */
void dap_terminate(struct dap *dap);

/* A message from the client. False: it has said good-bye, or nothing more is to be had of it. */
bool dap_take(struct dap *dap, struct str message);
