/* A connection under TLS: what is between the socket and the parser. */
#include <stdlib.h>

#include "server/conn.h"

int conn_tls_start(struct conn *conn)
{
    conn->tls = tls_session_new(conn->server->tls);
    return conn->tls != NULL ? 0 : UV_ENOMEM;
}

/* Plaintext that the parser has no room for waits in the stash, so that nothing is left behind in
 * the session. */
void conn_tls_input(struct conn *conn, struct str bytes)
{
    long count = tls_feed(conn->tls, bytes);
    while (count == 0 && conn->state == CONN_OPEN) {
        count = tls_read(conn->tls, conn->server->plain, CONN_INPUT_BYTES);
        if (count <= 0)
            break;
        conn_input(conn, (struct str){conn->server->plain, (size_t)count});
        count = 0;
    }
    if (conn->state == CONN_CLOSED)
        return;
    conn_send(conn, STR(""), STR(""), NULL); /* the handshake's part, alerts */
    if (count == -ECONNRESET)
        conn_eof(conn);
    else if (count < 0)
        conn_close(conn);
}

bool conn_tls_seal(struct conn *conn, struct str *head, struct str *body)
{
    if (tls_write(conn->tls, *head) != 0 || tls_write(conn->tls, *body) != 0)
        return false;
    *head = tls_outgoing(conn->tls);
    *body = STR("");
    return true;
}

void conn_tls_bye(struct conn *conn)
{
    if (conn->failed || conn->resets)
        return;
    tls_close(conn->tls);
    conn_send(conn, STR(""), STR(""), NULL);
}
