/* Bytes off the socket: freed of a PROXY header, decrypted where need be, and handed to the
 * protocol, which they choose. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "http/proxy_header.h"
#include "server/conn.h"
#include "server/h2.h"

/* What comes next, and first of all what was kept back. */
static void hand_on(struct conn *conn, struct str kept, struct str bytes)
{
    conn->server->current = conn;
    if (kept.len > 0)
        conn->protocol->input(conn, kept);
    if (bytes.len > 0 && conn->state == CONN_OPEN)
        conn->protocol->input(conn, bytes);
    conn->server->current = NULL;
}

/* Under TLS the handshake has told. Else the first bytes do: those that may yet become HTTP/2's
 * preface are kept back; `probed` counts them. */
static void choose(struct conn *conn, struct str bytes)
{
    const struct str preface = H2_PREFACE;
    struct str kept = {preface.ptr, conn->probed}, rest = bytes;
    uint8_t len = conn->probed;
    bool h2 = conn->tls != NULL && tls_wants_h2(conn->tls);
    if (conn->tls == NULL && conn->server->limits.h2c) {
        for (; rest.len > 0 && len < preface.len && rest.ptr[0] == preface.ptr[len]; len++)
            rest = str_skip(rest, 1);
        conn->probed = len;
        h2 = len == preface.len;
        if (!h2 && rest.len == 0)
            return;
    }
    conn->probed = (uint8_t)preface.len;
    if (h2 && conn_speak(conn, &h2_protocol) != 0)
        conn_close(conn);
    else if (h2 && conn->tls == NULL)
        hand_on(conn, preface, rest);
    else
        hand_on(conn, kept, bytes);
}

static void take(struct conn *conn, struct str bytes)
{
    if (conn->probed == H2_PREFACE.len)
        hand_on(conn, STR(""), bytes);
    else
        choose(conn, bytes);
}

/* Plaintext that there is no room for waits with the protocol, so that nothing is left behind in
 * the session. */
static int input(struct conn *conn, struct str bytes)
{
    if (conn->tls == NULL) {
        take(conn, bytes);
        return 0;
    }
    char *plain = conn->server->plain;
    long count = tls_feed(conn->tls, bytes);
    if (count == 0) {
        while (conn->state == CONN_OPEN &&
               (count = tls_read(conn->tls, plain, CONN_INPUT_BYTES)) > 0)
            take(conn, (struct str){plain, (size_t)count});
    }
    if (conn->state == CONN_CLOSED)
        return 0;
    return count == -ECONNRESET ? UV_EOF : count < 0 ? (int)count : 0;
}

/* Until all of it is there nothing else is looked at; what came with its end is handed on. */
static int take_announcement(struct conn *conn, struct str bytes)
{
    struct buf *kept = conn->announced;
    struct proxy_header said;
    buf_add_str(kept, bytes);
    long len = buf_failed(kept) ? UV_ENOMEM : proxy_header_read(buf_str(kept), &said);
    if (len < 0) {
        log_message(LOG_DEBUG, "closed: %s sends no PROXY header, or a bad one", conn->ip);
        conn->server->stats.unannounced++;
    }
    if (len <= 0)
        return (int)len;
    if (said.ip[0] != '\0')
        memcpy(conn->ip, said.ip, sizeof(conn->ip));
    conn->secure |= said.secure;
    conn->announced = NULL;
    int rc = 0;
    if (!conn_count_in(conn))
        conn_turn_away(conn);
    else if ((size_t)len < kept->len)
        rc = input(conn, str_skip(buf_str(kept), (size_t)len));
    buf_free(kept);
    free(kept);
    return rc;
}

int conn_input(struct conn *conn, struct str bytes)
{
    return conn->announced == NULL ? input(conn, bytes) : take_announcement(conn, bytes);
}
