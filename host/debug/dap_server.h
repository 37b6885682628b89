/* Where debuggers connect: a socket of loopback that listens, on the worker's loop. */
#pragma once

#include <uv.h>

#include "debug/dap.h"

struct dap_server;

/* Takes over `fd`, which listens. The options are copied. NULL when out of memory, or where the
 * socket cannot be used. */
struct dap_server *dap_server_new(uv_loop_t *loop, int fd, const struct dap_options *options);
/* Scripts were loaded anew. NULL is fine. */
void dap_server_reloaded(struct dap_server *server);
/* For who lets one run be debugged (options.again): it begins; does anybody stand in it; is there a
 * client; it has ended, and so the client leaves. */
void dap_server_begin_run(struct dap_server *server);
bool dap_server_stands(const struct dap_server *server);
bool dap_server_is_attached(const struct dap_server *server);
void dap_server_terminate(struct dap_server *server);
/* Tells the client, if there is one, in its console. */
void dap_server_tell(struct dap_server *server, struct str text);
/* Says good-bye to all clients: what stands goes on. Freed when the loop has closed its handles.
 * NULL is fine. */
void dap_server_close(struct dap_server *server);
