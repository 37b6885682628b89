/* TLS of the server, without sockets: ciphertext in, plaintext out, and back.
 *
 * TLS 1.2 and 1.3, ciphers with forward secrecy only, session tickets (their keys are made once, so
 * that workers forked later understand each other's). Nothing asks for a password on a terminal.
 * This file and tls.c are the only ones of the server that know OpenSSL. */
#ifndef LUAFN_SERVER_TLS_H
#define LUAFN_SERVER_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct tls;         /* a certificate and its key */
struct tls_session; /* one connection */

/* Reads PEM files: the certificate and its chain, and the key that belongs to it. Where they do not
 * load it uses these texts, those of an earlier time, if there are any, and the log says why. NULL
 * with the reason. The names must outlive it. */
struct tls *tls_new(const char *cert_file, const char *key_file, struct str cert, struct str key,
                    struct err *err);
void tls_free(struct tls *tls); /* may be NULL; sessions go on */

/* The PEM that it uses; borrowed until the next refresh. */
void tls_pem(const struct tls *tls, struct str *cert, struct str *key);

/* Reads the files again if they have changed. New connections use what is new; while it does not
 * load, the old one serves and the log says why. True when there is another one. */
bool tls_refresh(struct tls *tls);

/* NULL when out of memory. */
struct tls_session *tls_session_new(struct tls *tls);
void tls_session_free(struct tls_session *session); /* may be NULL */

/* Takes bytes of the peer. 0 or -ENOMEM. */
int tls_feed(struct tls_session *session, struct str bytes) __attribute__((warn_unused_result));
/* Plaintext of what was fed: its length; 0 when there is no more; -ECONNRESET when the peer has
 * closed its side in order; -EPROTO when it breaks the protocol. Advances the handshake. */
long tls_read(struct tls_session *session, char *out, size_t size);
/* Encrypts. 0, -EPROTO or -ENOMEM. */
int tls_write(struct tls_session *session, struct str bytes) __attribute__((warn_unused_result));
/* Ends our side in order. */
void tls_close(struct tls_session *session);
/* Ciphertext for the peer, borrowed; after tls_sent it is gone. */
struct str tls_outgoing(struct tls_session *session);
void tls_sent(struct tls_session *session);

/* Did both sides agree on HTTP/2? */
bool tls_wants_h2(const struct tls_session *session);
/* Is the handshake over? */
bool tls_is_open(const struct tls_session *session);

#endif
