/* The sockets of outbound connections, and whether one may carry another request.
 *
 * HTTP/1.1 tells answers apart by their order alone. Whatever waits in a connection before the
 * request has left is the rest of somebody else's answer, and libcurl (7.88) would take it for the
 * next one. So libcurl's pool is held against the sockets themselves: nothing may wait in them, in
 * TLS or in the kernel. */
#include "client/client_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct client_socket {
    struct list node; /* in client->sockets */
    int fd;           /* libcurl's */
    int port;         /* its own end's, once a request has gone over it; before that 0 */
    const struct client_call *opener; /* before that; then NULL */
};

static void forget(struct client_socket *known)
{
    list_remove(&known->node);
    free(known);
}

static void forget_fd(struct client *client, int fd)
{
    list_each(node, &client->sockets)
    {
        struct client_socket *known = container_of(node, struct client_socket, node);
        if (known->fd == fd)
            forget(known);
    }
}

int client_socket_open(struct client_call *call, const struct curl_sockaddr *address)
{
    struct client_socket *opened = malloc(sizeof(*opened));
    int fd = opened == NULL
                 ? -1
                 : socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0) {
        free(opened);
        return -1;
    }
    forget_fd(call->client, fd);
    *opened = (struct client_socket){.fd = fd, .opener = call};
    list_push(&call->client->sockets, &opened->node);
    return fd;
}

int client_socket_on_close(void *arg, curl_socket_t fd)
{
    forget_fd(arg, fd);
    return close(fd);
}

static int port_of(int fd)
{
    union { /* both families have the port in the same place */
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_storage room;
    } own = {.room = {0}};
    socklen_t len = sizeof(own);
    return getsockname(fd, &own.any, &len) == 0 ? ntohs(own.v4.sin_port) : 0;
}

void client_socket_use(struct client_call *call, int own_port)
{
    list_each(node, &call->client->sockets)
    {
        struct client_socket *known = container_of(node, struct client_socket, node);
        if (known->opener != call)
            continue;
        known->opener = NULL;
        known->port = port_of(known->fd);
        if (known->port != own_port) /* libcurl has closed what did not win */
            forget(known);
    }
}

void client_socket_give_up(struct client_call *call)
{
    list_each(node, &call->client->sockets)
    {
        struct client_socket *known = container_of(node, struct client_socket, node);
        if (known->opener == call)
            forget(known);
    }
}

/* Anything in the kernel: bytes, an end, an error? */
static bool is_readable(int fd)
{
    char byte;
    ssize_t n;
    do
        n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

/* HTTP/2 numbers its answers, and what waits may be a ping. */
static bool is_h2(const SSL *tls)
{
    const unsigned char *name = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(tls, &name, &len);
    return len == 2 && memcmp(name, "h2", 2) == 0;
}

bool client_socket_is_quiet(struct client_call *call, int own_port)
{
    struct curl_tlssessioninfo *session = NULL;
    curl_easy_getinfo(call->easy, CURLINFO_TLS_SSL_PTR, &session);
    bool secure = session != NULL && session->backend == CURLSSLBACKEND_OPENSSL;
    const SSL *tls = secure ? session->internals : NULL;
    if (tls != NULL && is_h2(tls))
        return true;
    if (tls != NULL && SSL_has_pending(tls) != 0)
        return false;
    /* Two may have the same port, at different addresses: then both must be quiet. */
    unsigned found = 0;
    list_each(node, &call->client->sockets)
    {
        struct client_socket *known = container_of(node, struct client_socket, node);
        if (known->port != own_port)
            continue;
        if (is_readable(known->fd))
            return false;
        found++;
    }
    return found > 0;
}
