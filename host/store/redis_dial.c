#include "store/redis_dial.h"

#include <stdlib.h>

struct redis_dial {
    uv_loop_t *loop;
    uv_getaddrinfo_t lookup;
    uv_connect_t connect;
    struct addrinfo *addresses, *next; /* found, and the next to try */
    uv_tcp_t *tcp;                     /* that is being connected; NULL: none */
    redis_on_dialled *done;            /* NULL: cancelled */
    void *arg;
};

static void on_closed(uv_handle_t *tcp)
{
    free(tcp);
}

static void finish(struct redis_dial *dial, uv_tcp_t *tcp, int status)
{
    redis_on_dialled *done = dial->done;
    void *arg = dial->arg;
    uv_freeaddrinfo(dial->addresses);
    free(dial);
    if (done != NULL)
        done(arg, tcp, status);
}

static void try_next(struct redis_dial *dial, int status);

static void on_connected(uv_connect_t *connect, int status)
{
    struct redis_dial *dial = connect->data;
    uv_tcp_t *tcp = dial->tcp;
    dial->tcp = NULL;
    if (status == 0 && dial->done != NULL) {
        finish(dial, tcp, 0);
        return;
    }
    if (!uv_is_closing((uv_handle_t *)tcp))
        uv_close((uv_handle_t *)tcp, on_closed);
    try_next(dial, status);
}

/* `status`: why the address before was not good. */
static void try_next(struct redis_dial *dial, int status)
{
    while (dial->done != NULL && dial->next != NULL) {
        const struct addrinfo *address = dial->next;
        uv_tcp_t *tcp = malloc(sizeof(*tcp));
        dial->next = address->ai_next;
        if (tcp == NULL) {
            status = UV_ENOMEM;
            break;
        }
        uv_tcp_init(dial->loop, tcp);
        status = uv_tcp_connect(&dial->connect, tcp, address->ai_addr, on_connected);
        if (status == 0) {
            dial->tcp = tcp;
            return;
        }
        uv_close((uv_handle_t *)tcp, on_closed);
    }
    finish(dial, NULL, status);
}

static void on_looked_up(uv_getaddrinfo_t *lookup, int status, struct addrinfo *addresses)
{
    struct redis_dial *dial = lookup->data;
    dial->addresses = dial->next = addresses;
    try_next(dial, status);
}

struct redis_dial *redis_dial_new(uv_loop_t *loop, const char *host, const char *port,
                                  redis_on_dialled *done, void *arg)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct redis_dial *dial = calloc(1, sizeof(*dial));
    if (dial == NULL)
        return NULL;
    dial->loop = loop;
    dial->done = done;
    dial->arg = arg;
    dial->lookup.data = dial->connect.data = dial;
    if (uv_getaddrinfo(loop, &dial->lookup, on_looked_up, host, port, &hints) != 0) {
        free(dial);
        return NULL;
    }
    return dial;
}

void redis_dial_cancel(struct redis_dial *dial)
{
    if (dial == NULL)
        return;
    dial->done = NULL; /* the callback that is under way frees it */
    uv_cancel((uv_req_t *)&dial->lookup);
    if (dial->tcp != NULL)
        uv_close((uv_handle_t *)dial->tcp, on_closed);
}
