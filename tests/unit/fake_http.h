/* A tiny HTTP server in the test's own loop: counts what is asked and answers what the test wrote.
 */
#pragma once

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

enum { FAKE_ROUTES = 16 };

struct fake_route {
    const char *path;
    int status; /* 0: 200 */
    const char *reason;
    const char *headers; /* whole lines with CRLF, or NULL */
    const char *body;    /* NULL: empty */
    size_t body_len;     /* 0: strlen */
    const char *raw;     /* instead of all that: these bytes, then close */
    bool hang;           /* never answer */
    bool drop;           /* close without an answer */
    unsigned hits;       /* requests seen */
    char request[16384]; /* the last one */
};

struct fake_conn {
    uv_tcp_t tcp;
    struct fake *fake;
    struct fake_conn *next;
    char in[16384];
    size_t len;
    bool closing;
};

struct fake {
    uv_loop_t *loop;
    uv_tcp_t listener;
    int port;
    struct fake_conn *conns;
    unsigned accepted;
    struct fake_route routes[FAKE_ROUTES];
};

static inline struct fake_route *fake_route(struct fake *fake, const char *path)
{
    for (int i = 0; i < FAKE_ROUTES; i++) {
        struct fake_route *route = &fake->routes[i];
        if (route->path == NULL) {
            route->path = path;
        }
        if (strcmp(route->path, path) == 0) {
            return route;
        }
    }
    abort();
}

static inline void fake_on_conn_closed(uv_handle_t *handle)
{
    struct fake_conn *conn = handle->data;
    for (struct fake_conn **at = &conn->fake->conns; *at != NULL; at = &(*at)->next) {
        if (*at == conn) {
            *at = conn->next;
            break;
        }
    }
    free(conn);
}

static inline void fake_conn_close(struct fake_conn *conn)
{
    if (!conn->closing) {
        conn->closing = true;
        uv_close((uv_handle_t *)&conn->tcp, fake_on_conn_closed);
    }
}

struct fake_write {
    uv_write_t req;
    struct fake_conn *conn;
    bool last;
    char *text;
};

static inline void fake_on_written(uv_write_t *req, int status)
{
    struct fake_write *write = req->data;
    if (write->last && status == 0) {
        fake_conn_close(write->conn);
    }
    free(write->text);
    free(write);
}

static inline void fake_send(struct fake_conn *conn, char *text, size_t len, bool last)
{
    struct fake_write *write = calloc(1, sizeof(*write));
    *write = (struct fake_write){.conn = conn, .last = last, .text = text};
    write->req.data = write;
    uv_buf_t buf = uv_buf_init(text, (unsigned)len);
    uv_write(&write->req, (uv_stream_t *)&conn->tcp, &buf, 1, fake_on_written);
}

static inline void fake_answer(struct fake_conn *conn, const struct fake_route *route, bool head)
{
    if (route->drop) {
        fake_conn_close(conn);
        return;
    }
    if (route->hang) {
        return;
    }
    if (route->raw != NULL) {
        fake_send(conn, strdup(route->raw), strlen(route->raw), true);
        return;
    }
    size_t body_len = route->body_len > 0   ? route->body_len
                      : route->body != NULL ? strlen(route->body)
                                            : 0;
    char *text = malloc(4096 + body_len);
    int len = snprintf(text, 4096, "HTTP/1.1 %d %s\r\n%sContent-Length: %zu\r\n\r\n",
                       route->status != 0 ? route->status : 200,
                       route->reason != NULL ? route->reason : "OK",
                       route->headers != NULL ? route->headers : "", body_len);
    if (route->body != NULL && !head) {
        memcpy(text + len, route->body, body_len);
        len += (int)body_len;
    }
    fake_send(conn, text, (size_t)len, false);
}

/* Answers the request at the front of the input. False: it is not complete. */
static inline bool fake_take_request(struct fake_conn *conn)
{
    char *end = strstr(conn->in, "\r\n\r\n");
    if (end == NULL) {
        return false;
    }
    char *length = strcasestr(conn->in, "\r\ncontent-length:");
    size_t whole = (size_t)(end + 4 - conn->in);
    if (length != NULL && length < end) {
        whole += strtoul(length + 17, NULL, 10);
    }
    if (conn->len < whole) {
        return false;
    }
    char method[16], path[1024];
    struct fake_route *route = NULL;
    static struct fake_route missing = {.status = 404, .reason = "Not Found", .body = "{}"};
    if (sscanf(conn->in, "%15s %1023s", method, path) == 2) {
        path[strcspn(path, "?")] = '\0';
        for (int i = 0; i < FAKE_ROUTES && route == NULL; i++) {
            if (conn->fake->routes[i].path != NULL &&
                strcmp(conn->fake->routes[i].path, path) == 0) {
                route = &conn->fake->routes[i];
            }
        }
        route = route != NULL ? route : &missing;
        route->hits++;
        memcpy(route->request, conn->in, whole);
        route->request[whole] = '\0';
        fake_answer(conn, route, strcmp(method, "HEAD") == 0);
    }
    memmove(conn->in, conn->in + whole, conn->len - whole + 1);
    conn->len -= whole;
    return true;
}

static inline void fake_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    (void)size;
    struct fake_conn *conn = handle->data;
    *buf = uv_buf_init(conn->in + conn->len, (unsigned)(sizeof(conn->in) - 1 - conn->len));
}

static inline void fake_on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    (void)buf;
    struct fake_conn *conn = stream->data;
    if (count < 0) {
        fake_conn_close(conn);
        return;
    }
    conn->len += (size_t)count;
    conn->in[conn->len] = '\0';
    while (!conn->closing && fake_take_request(conn)) {
    }
}

static inline void fake_on_connection(uv_stream_t *listener, int status)
{
    struct fake *fake = listener->data;
    if (status != 0) {
        return;
    }
    struct fake_conn *conn = calloc(1, sizeof(*conn));
    conn->fake = fake;
    conn->next = fake->conns;
    fake->conns = conn;
    fake->accepted++;
    uv_tcp_init(fake->loop, &conn->tcp);
    conn->tcp.data = conn;
    uv_accept(listener, (uv_stream_t *)&conn->tcp);
    uv_read_start((uv_stream_t *)&conn->tcp, fake_alloc, fake_on_read);
}

/* Listens on 127.0.0.1; port 0 picks one. */
static inline void fake_start(struct fake *fake, uv_loop_t *loop, int port)
{
    fake->loop = loop;
    uv_tcp_init(loop, &fake->listener);
    fake->listener.data = fake;
    struct sockaddr_in address;
    int len = sizeof(address);
    uv_ip4_addr("127.0.0.1", port, &address);
    uv_tcp_bind(&fake->listener, (const struct sockaddr *)&address, 0);
    if (uv_listen((uv_stream_t *)&fake->listener, 512, fake_on_connection) != 0) {
        abort();
    }
    uv_tcp_getsockname(&fake->listener, (struct sockaddr *)&address, &len);
    fake->port = ntohs(address.sin_port);
}

/* Closes listener and connections; the handles go when the loop has turned. */
static inline void fake_stop(struct fake *fake)
{
    if (!uv_is_closing((uv_handle_t *)&fake->listener)) {
        uv_close((uv_handle_t *)&fake->listener, NULL);
    }
    for (struct fake_conn *conn = fake->conns; conn != NULL; conn = conn->next) {
        fake_conn_close(conn);
    }
}
