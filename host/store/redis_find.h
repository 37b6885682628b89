/* Asks the Sentinels of KV_URL, one after the other, where the primary is. Who does not answer
 * within LIMIT_KV_SENTINEL_MS is passed over, and is the last to be asked the next time;
 * the last one is waited for until redis_find_cancel. */
#pragma once

#include <uv.h>

#include "store/redis_server.h"

struct redis_find;

/* `place` is valid during the call; NULL: `why`. The search is gone. */
typedef void redis_on_found(void *arg, const struct redis_place *place, const char *why);

/* The callback comes once, later. NULL when out of memory. */
struct redis_find *redis_find_new(uv_loop_t *loop, struct redis_server *server,
                                  redis_on_found *done, void *arg);

/* There is no callback any more. NULL is fine. */
void redis_find_cancel(struct redis_find *find);
