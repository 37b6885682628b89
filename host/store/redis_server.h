/* The server of KV_URL, as all connections of a process to it share it: where it is, what the log
 * was told of it, its certificates, and which Sentinel answered last. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/redis_url.h"

struct redis_tls;

struct redis_server {
    const struct redis_address *address; /* borrowed */
    char shown[512];                     /* where it is, for the log */
    bool down_told;                      /* the log says that it is down */
    uint64_t quiet_ms;                   /* of the loop's clock: no line before */
    struct redis_tls *tls;               /* owned; NULL: not used yet */
    unsigned ups;                        /* connections that were begun */
    unsigned sentinel; /* the place to ask first: who answered last, or is behind who did not */
};

void redis_server_init(struct redis_server *server, const struct redis_address *address);
void redis_server_free(struct redis_server *server);

/* Lines for the log, one in ten seconds: a server may come and go with each command. */
void redis_server_tell_down(struct redis_server *server, uint64_t now_ms, const char *why);
void redis_server_tell_up(struct redis_server *server);
/* It refuses a command, by what it says. */
void redis_server_tell_refused(struct redis_server *server, uint64_t now_ms, const char *what);
