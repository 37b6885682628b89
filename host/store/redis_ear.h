/* What is published on channels of a server, heard over a connection of its own. After it was lost
 * it is made anew, and the listener says again what is to be heard; what was published meanwhile is
 * gone. A server that is silent is asked now and then whether it is there. */
#pragma once

#include "store/redis_link.h"
#include "store/store.h"

struct redis_ear;

/* All borrowed. NULL when out of memory. */
struct redis_ear *redis_ear_new(uv_loop_t *loop, struct redis_server *server,
                                const struct store_listener *listener);
/* 0 or a status: then it is not heard, and there is no further word. */
int redis_ear_hear(struct redis_ear *ear, struct str name, bool yes)
    __attribute__((warn_unused_result));
void redis_ear_close(struct redis_ear *ear);
/* When the loop is empty. NULL is fine. */
void redis_ear_free(struct redis_ear *ear);
