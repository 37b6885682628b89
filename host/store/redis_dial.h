/* Looks a host up and connects to the first of its addresses that takes a connection. */
#pragma once

#include <uv.h>

struct redis_dial;

/* `tcp`: connected; the receiver's from now on, to be closed and then freed. NULL: `status` says
 * why. The dial is gone. */
typedef void redis_on_dialled(void *arg, uv_tcp_t *tcp, int status);

/* The callback comes once, later. NULL when out of memory. */
struct redis_dial *redis_dial_new(uv_loop_t *loop, const char *host, const char *port,
                                  redis_on_dialled *done, void *arg);

/* There is no callback any more. NULL is fine. */
void redis_dial_cancel(struct redis_dial *dial);
