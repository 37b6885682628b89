/* Where debuggers attach: loopback alone, since they may run anything. */
#include "cli/debug_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "process/listener.h"

bool debug_socket_is_loopback(const char *address)
{
    if (listener_names_file(address))
        return true;
    const char *colon = strrchr(address, ':');
    if (colon == NULL)
        return true;
    char host[128];
    snprintf(host, sizeof(host), "%.*s", (int)(colon - address), address);
    struct in_addr v4;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0;
}

int debug_socket_open(const struct command *command, const char *config_file,
                      struct debug_socket *debug)
{
    struct listener listener;
    struct err err;
    if (debug->wanted == NULL)
        return 0;
    const char *address = *debug->wanted != '\0' ? debug->wanted : "127.0.0.1:4711";
    if (!debug_socket_is_loopback(address) || listener_names_file(address))
        return cli_usage(command,
                         "--debug is an address of loopback, not '%s': a debugger can run anything",
                         address);
    int rc = listener_bind("--debug", address, "dap", &listener, &err);
    if (rc != 0)
        return rc == -EINVAL ? cli_usage(command, "%s", err.text) : cli_fault("%s", err.text);
    debug->fd = listener.fd;
    snprintf(debug->address, sizeof(debug->address), "%s", listener.url + strlen("dap://"));
    debug->token = dev_token_get(config_file, "debug-token", &debug->text);
    return debug->token.len > 0 ? 0 : cli_fault("there are no random bytes for a token");
}

void debug_socket_tell(const struct debug_socket *debug)
{
    if (debug->token.len > 0)
        fprintf(stderr, "a debugger can attach to %s, with \"token\": \"%.*s\"\n", debug->address,
                STR_ARG(debug->token));
}
