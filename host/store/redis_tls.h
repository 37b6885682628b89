/* TLS towards the server of KV_URL, over memory: what arrives is given to it, and what it gives is
 * to be sent. From 1.2 on; the server's certificate must be for the host that was dialled and be
 * signed by KV_URL's `ca`, or one of the system's.
 *
 * The files are read again for a new connection when they have changed, so a renewed certificate
 * needs no restart. Texts of what is wrong are valid until the next call. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "store/redis_url.h"

struct redis_tls; /* the files of an address as they were last read; zero or one an address */
struct redis_session;

/* Can its files be used? 0 or a negative errno with the reason. */
int redis_tls_check(const struct redis_address *address, struct err *err)
    __attribute__((warn_unused_result));

/* The client's end of a handshake with `host`. *tls is made where it is NULL. NULL with the reason.
 */
struct redis_session *redis_tls_begin(struct redis_tls **tls, const struct redis_address *address,
                                      const char *host, struct err *err);
void redis_tls_end(struct redis_session *session); /* NULL is fine */
void redis_tls_free(struct redis_tls *tls);        /* NULL is fine */

/* Takes bytes of the network; what they hold is appended to `plain`. */
int redis_tls_take(struct redis_session *session, struct str bytes, struct buf *plain,
                   struct err *err) __attribute__((warn_unused_result));

/* Appends to `out` what is to be sent: of the handshake, and, once that is over, all of `plain`,
 * which is emptied then. */
int redis_tls_give(struct redis_session *session, struct buf *plain, struct buf *out,
                   struct err *err) __attribute__((warn_unused_result));
