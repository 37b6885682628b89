/* One HTTP request after the other, each waited for: for commands, not for the server. */
#pragma once

#include "client/client.h"

struct probe {
    uv_loop_t loop;
    struct client *client;
    struct client_rules rules; /* of the requests that follow */
    struct str body;           /* the same; borrowed; ptr NULL: they have none */
};

struct probe_answer {
    long status;     /* 0: no answer */
    char error[128]; /* why there is none */
    struct buf body; /* owned by the caller, who clears it */
};

/* 0 or -ENOMEM. */
int probe_open(struct probe *probe) __attribute__((warn_unused_result));
void probe_close(struct probe *probe);

/* Fills the answer, whose body may hold something of the last one. */
void probe_send(struct probe *probe, struct str method, struct str url,
                const struct header *headers, unsigned header_count, struct probe_answer *answer);
