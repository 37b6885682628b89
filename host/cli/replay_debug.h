/* A replay that a debugger steps through: it waits until one has attached, stands where that one
 * wants, and is begun anew when it wants to go back. */
#pragma once

#include <uv.h>

#include "cli/debug_socket.h"

struct app;
struct dap_server;

struct replay_debug {
    struct debug_socket socket; /* `wanted` is set by the caller; NULL: there is no debugger */
    uv_loop_t loop;             /* its own: the app's is another one in each run */
    struct dap_server *server;  /* owned; NULL: not yet */
    uint64_t script;            /* of the first run: origin_hash */
    bool configured, again, is_open;
};

/* Binds the socket. 0 or an exit status. */
int replay_debug_open(struct replay_debug *debug, const struct command *command,
                      const char *config_file);
void replay_debug_close(struct replay_debug *debug);

/* A run begins, of a script of that hash; the first one once a debugger has attached and said where
 * to stand. `app` is borrowed, and has the same address in each run. 0 or an exit status. */
int replay_debug_begin(struct replay_debug *debug, struct app *app, uint64_t script);
/* Takes what the debugger says. False: this run is over, and the next shall begin. */
bool replay_debug_turn(struct replay_debug *debug);
/* Does a script stand? Then waits for what the debugger says. */
bool replay_debug_rest(struct replay_debug *debug);
/* The last run has ended; says so, and what `told` says (empty: nothing), and waits until the
 * debugger has left. */
void replay_debug_end(struct replay_debug *debug, struct str told);
