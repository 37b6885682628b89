/* A debugger of a replay. All that it wants is taken between two turns of the app's loop. */
#include "cli/replay_debug.h"

#include "app/app.h"
#include "debug/dap_server.h"

static void on_configured(void *arg)
{
    struct replay_debug *debug = arg;
    debug->configured = true;
}

static void on_again(void *arg)
{
    struct replay_debug *debug = arg;
    debug->again = true;
}

int replay_debug_open(struct replay_debug *debug, const struct command *command,
                      const char *config_file)
{
    if (debug->socket.wanted == NULL)
        return 0;
    if (uv_loop_init(&debug->loop) != 0)
        return cli_fault("no descriptors are left: raise `ulimit -n`");
    debug->is_open = true;
    return debug_socket_open(command, config_file, &debug->socket);
}

void replay_debug_close(struct replay_debug *debug)
{
    if (!debug->is_open)
        return;
    dap_server_close(debug->server);
    uv_run(&debug->loop, UV_RUN_DEFAULT);
    uv_loop_close(&debug->loop);
}

static int make_server(struct replay_debug *debug, struct app *app)
{
    struct dap_options options = app_debug_options(app, debug->socket.token);
    options.configured = on_configured;
    options.again = on_again;
    options.run_arg = debug;
    options.stops_at_entry = true;
    debug->server = dap_server_new(&debug->loop, debug->socket.fd, &options);
    if (debug->server == NULL)
        return cli_fault("out of memory");
    debug_socket_tell(&debug->socket);
    while (!debug->configured)
        uv_run(&debug->loop, UV_RUN_ONCE);
    return 0;
}

int replay_debug_begin(struct replay_debug *debug, struct app *app, uint64_t script)
{
    static const char changed[] = "the script is another one now than in the run before\n";
    if (!debug->is_open)
        return 0;
    int rc = debug->server == NULL ? make_server(debug, app) : 0;
    if (rc != 0)
        return rc;
    if (debug->again) {
        dap_server_reloaded(debug->server);
        if (debug->script != script)
            dap_server_tell(debug->server, STR(changed));
    }
    debug->script = script;
    debug->again = false;
    dap_server_begin_run(debug->server);
    return 0;
}

bool replay_debug_turn(struct replay_debug *debug)
{
    if (debug->is_open)
        uv_run(&debug->loop, UV_RUN_NOWAIT);
    return !debug->again;
}

bool replay_debug_rest(struct replay_debug *debug)
{
    if (!debug->is_open || !dap_server_stands(debug->server))
        return false;
    uv_run(&debug->loop, UV_RUN_ONCE);
    return true;
}

void replay_debug_end(struct replay_debug *debug, struct str told)
{
    if (!debug->is_open)
        return;
    if (told.len > 0)
        dap_server_tell(debug->server, told);
    dap_server_terminate(debug->server);
    while (dap_server_is_attached(debug->server))
        uv_run(&debug->loop, UV_RUN_ONCE);
}
